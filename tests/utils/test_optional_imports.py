import math
import sys

import pytest

from keras_c2kd.utils.optional_imports import import_optional

pytestmark = pytest.mark.backend_free


def test_a_module_that_is_there():
    assert import_optional("math", "data", "Counting") is math


@pytest.mark.parametrize(
    ("module", "package"),
    [("absent.part", "absent"), ("sklearn.datasets", "scikit-learn")],
)
def test_the_extra_of_a_missing_package_is_named(monkeypatch, module, package):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError) as caught:
        import_optional(module, "demo", "Reading the digits")
    told = str(caught.value)
    assert told.startswith(f"Reading the digits needs {package}, which cannot")
    assert "the extra 'demo'" in told and "in the clone" in told
    assert told.endswith('pip install -e ".[demo]"')
