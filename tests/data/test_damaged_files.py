import pytest

from tests.data import damaged_files

pytestmark = pytest.mark.backend_free


@pytest.mark.parametrize("kind", damaged_files.KINDS)
def test_damaged_files_are_read_or_refused(kind, tmp_path):
    """The soak, `python -m tests.data.damaged_files`, damages far more."""
    found = damaged_files.examine(kind, tmp_path, number=8)
    assert found["broken"] == []
    assert found["read"] + found["refused"] >= 15
