import numpy as np
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


def test_of_each_class_a_share_is_split_off():
    names = [f"clip_{number}" for number in range(1000)]
    # 900, 90 and 10 clips.
    labels = [2] * 10 + [1] * 90 + [0] * 900
    taken, rest = split_off(names, 0.1, labels=labels)
    assert sorted(taken + rest) == sorted(names)
    of_class = dict(zip(names, labels))
    counts = np.bincount([of_class[name] for name in taken])
    assert counts.tolist() == [90, 9, 1]
    assert taken == [name for name in names if name in taken]
    assert taken != split_off(names, 0.1, seed=1, labels=labels)[0]


def test_small_classes_share_what_whole_numbers_leave():
    names = [f"clip_{number}" for number in range(400)]
    labels = [number // 4 for number in range(400)]
    taken, _ = split_off(names, 0.1, labels=labels)
    of_class = dict(zip(names, labels))
    # A tenth of four is none, yet all in all there are forty.
    assert len(taken) == 40 == len({of_class[name] for name in taken})


def test_missing_names_leave_others_of_all_classes_where_they_are():
    names = [f"clip_{number}" for number in range(1000)]
    labels = [number % 3 for number in range(1000)]
    taken, _ = split_off(names, 0.1, labels=labels)
    kept = [n for n in range(1000) if n % 10 != 7]
    fewer, _ = split_off(
        [names[n] for n in kept], 0.1, labels=[labels[n] for n in kept]
    )
    assert len(set(fewer) - set(taken)) < 12


def test_names_that_are_missing_leave_the_others_where_they_are():
    names = [f"clip_{number}" for number in range(1000)]
    taken, rest = split_off(names, 0.1)
    fewer = [name for name in names if not name.endswith("7")]
    taken_of_fewer, rest_of_fewer = split_off(fewer, 0.1)
    moved = (set(taken) & set(rest_of_fewer)) | (
        set(rest) & set(taken_of_fewer)
    )
    assert len(moved) < 20
