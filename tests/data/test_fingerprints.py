"""By what data are known again: content, not places and times."""

import dataclasses
import functools
import os
import pathlib

import numpy as np
import pytest

from keras_c2kd.data import AudioReader
from keras_c2kd.data import LogSpectrogram
from keras_c2kd.data import NumpyReader
from keras_c2kd.data import PairedDataset
from keras_c2kd.data import Sample
from keras_c2kd.data import Source
from keras_c2kd.data import TextReader
from keras_c2kd.data.fingerprints import hash_of

pytestmark = pytest.mark.backend_free


def write(folder, contents):
    folder.mkdir()
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return folder


CONTENTS = {"a.npy": b"a" * 10_000, "b.npy": b"b" * 10}


def dataset(folder, reader=None, labels=(0, 1), texts=("one", "two"), **part):
    samples = [
        Sample(
            name,
            label,
            {"x": Source(folder / f"{name}.npy", **part), "t": text},
        )
        for name, label, text in zip("ab", labels, texts)
    ]
    readers = {"x": reader or NumpyReader(), "t": TextReader(len)}
    return PairedDataset(samples, readers)


def test_neither_folder_nor_time_counts(tmp_path):
    one = write(tmp_path / "one", CONTENTS)
    before = dataset(one).fingerprint()
    os.utime(one / "a.npy", (1e9, 1e9))
    assert dataset(one).fingerprint() == before
    other = one.rename(tmp_path / "other")
    assert dataset(other).fingerprint() == before


@pytest.mark.parametrize("position", [0, 4095, 5904, 9999])
def test_content_counts(tmp_path, position):
    folder = write(tmp_path / "x", CONTENTS)
    before = dataset(folder).fingerprint()
    changed = bytearray(CONTENTS["a.npy"])
    changed[position] += 1
    (folder / "a.npy").write_bytes(changed)
    assert dataset(folder).fingerprint() != before


def test_all_else_counts(tmp_path):
    folder = write(tmp_path / "x", CONTENTS)
    spectrogram = LogSpectrogram(8000, 1.0, window=256, hop=128)
    made = [
        dataset(folder),
        dataset(folder, NumpyReader(shape=(3,))),
        dataset(folder, AudioReader(spectrogram)),
        dataset(folder, AudioReader(spectrogram, random_window=True)),
        dataset(folder, labels=(1, 0)),
        dataset(folder, labels=(0, None)),
        dataset(folder, texts=("one", "three")),
        dataset(folder, start=1.0),
    ]
    (folder / "a.npy").write_bytes(CONTENTS["a.npy"][:-1] + b"aa")
    prints = [data.fingerprint() for data in made]
    (folder / "b.npy").unlink()
    prints.append(dataset(folder).fingerprint())
    assert len(set(prints)) == len(prints)


@dataclasses.dataclass(frozen=True)
class Rule:
    number: float
    function: object = abs
    known: dict = dataclasses.field(default_factory=dict, compare=False)


class Counter:
    def __init__(self, step):
        self.step = step
        self._seen = object()

    def __call__(self, value):
        return value + self.step


def shifted(by):
    return lambda x: x + by


def test_equal_things_have_equal_hashes():
    for first, second in (
        (shifted(3), shifted(3)),
        (Rule(1.5, known={1: 2}), Rule(1.5)),
        (Counter(2), Counter(2)),
        (functools.partial(shifted, by=2), functools.partial(shifted, by=2)),
        (np.arange(3), np.arange(3)),
        ({"a": [1, (2, None)]}, {"a": [1, (2, None)]}),
        ({"x", "y", "z"}, {"z", "y", "x"}),
        (Counter(1).__call__, Counter(1).__call__),
    ):
        assert hash_of(first) == hash_of(second)


def test_other_things_have_other_hashes(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("a")
    others = [
        shifted(3),
        shifted(4),
        lambda x: x - 3,
        lambda x, by=3: x + by,
        Rule(1.5),
        Rule(2.5),
        Rule(1.5, shifted(1)),
        Counter(1),
        Counter(2),
        Counter(1).__call__,
        functools.partial(shifted, by=2),
        functools.partial(shifted, by=3),
        np.arange(3),
        np.arange(3.0),
        np.zeros(3, "int32"),
        np.zeros(3, "float32"),
        np.arange(3)[:, None],
        np.array(["a", "b"], object),
        [1, 2],
        "1",
        1,
        str,
        np.asarray,
        path,
        b"a",
    ]
    assert len({hash_of(other) for other in others}) == len(others)
    before = hash_of(path)
    path.write_text("b")
    assert hash_of(pathlib.Path(path)) != before


def test_what_holds_itself_ends():
    ring = []
    ring.append(ring)
    assert hash_of(ring) == hash_of(ring)
