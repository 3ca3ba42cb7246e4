import pytest

from keras_c2kd.data.paired_splits import split_off

pytestmark = pytest.mark.backend_free


def test_a_share_is_split_off():
    names = [f"clip_{number}" for number in range(1000)]
    taken, rest = split_off(names, 0.1)
    assert len(taken) == 100
    assert sorted(taken + rest) == sorted(names)
    # From everywhere, in order, and otherwise with another seed.
    assert 20 < sum(name < "clip_5" for name in taken) < 80
    assert taken == [name for name in names if name in taken]
    assert taken != split_off(names, 0.1, seed=1)[0]
    assert split_off(names, 0.0) == ([], names)


def test_names_that_are_missing_leave_the_others_where_they_are():
    names = [f"clip_{number}" for number in range(1000)]
    taken, rest = split_off(names, 0.1)
    fewer = [name for name in names if not name.endswith("7")]
    taken_of_fewer, rest_of_fewer = split_off(fewer, 0.1)
    moved = (set(taken) & set(rest_of_fewer)) | (
        set(rest) & set(taken_of_fewer)
    )
    assert len(moved) < 20
