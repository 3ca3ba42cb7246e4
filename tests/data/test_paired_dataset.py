"""Samples of files: what they are checked for, and how the cache knows them."""

import fractions
import os
import pathlib
import shutil

import numpy as np
import pytest
import soundfile

from keras_c2kd.data import AudioReader
from keras_c2kd.data import ImageReader
from keras_c2kd.data import LogSpectrogram
from keras_c2kd.data import MediaError
from keras_c2kd.data import PairedDataset
from keras_c2kd.data import Sample
from keras_c2kd.data import Source
from keras_c2kd.data import TextReader
from tests.data.media_files import tone

pytestmark = pytest.mark.backend_free

AUDIO = AudioReader(LogSpectrogram(8000, 0.25, window=64, hop=50))


@pytest.mark.parametrize("label", [3, np.int64(3), np.uint8(3), np.int32(3)])
def test_labels_are_plain_integers(label):
    sample = Sample("x", label, {"text": "a text"})
    assert sample.label == 3 and type(sample.label) is int
    data = PairedDataset([sample], {"text": TextReader(None)})
    assert len(data.fingerprint()) == 16


@pytest.mark.parametrize(
    "label",
    [1.5, 1.0, "0", -1, True, np.True_, np.nan, 2**31, np.zeros(1)],
)
def test_labels_that_are_none(label):
    with pytest.raises(ValueError, match="(?s)abel.*Received: label=.*") as it:
        Sample("clip 7", label, {"text": "a text"})
    assert "clip 7" in str(it.value) and "from 0" in str(it.value)


def test_a_sample_without_a_label():
    samples = [Sample(x, y, {"t": x}) for x, y in (("a", None), ("b", 2))]
    data = PairedDataset(
        samples, {"t": TextReader(lambda texts: {"x": np.ones((1, 2))})}
    )
    assert data[0][1].tolist() == [-1, 2] and data[0][1].dtype == "int32"
    assert data.labels.tolist() == [-1, 2]
    assert [x.tolist() for _, x in [data.labeled()[0]]] == [[2]]


def test_a_path_stands_for_the_whole_file(tmp_path):
    path = tmp_path / "x.wav"
    sample = Sample("x", 0, {"audio": path, "text": "a text"})
    assert sample.sources == {"audio": Source(path), "text": "a text"}
    assert sample == Sample("x", 0, {"audio": Source(path), "text": "a text"})


@pytest.mark.parametrize("sources", [{}, None, [Source("x")], {"audio": None}])
def test_sources_that_are_none(sources):
    with pytest.raises(ValueError, match="(?s)Received: .*Source.path"):
        Sample("x", 0, sources)


@pytest.mark.parametrize(
    "part",
    [
        {"path": 3},
        {"path": None},
        {"path": b"x.wav"},
        {"start": -1.0},
        {"start": "0"},
        {"start": np.nan},
        {"end": np.inf},
        {"end": True},
        {"start": 2.0, "end": 2.0},
        {"start": 2, "end": 1},
    ],
)
def test_parts_that_are_none(part):
    with pytest.raises(ValueError, match="Received: "):
        Source(**{"path": "x.wav", **part})


def test_numbers_of_parts_are_plain():
    source = Source("x.wav", np.float32(0.5), fractions.Fraction(3, 2))
    assert (type(source.start), type(source.end)) == (float, float)
    assert source == Source("x.wav", 0.5, 1.5)


@pytest.mark.parametrize(
    ("reader", "source", "rule"),
    [
        (AUDIO, "x.wav", "AudioReader of 'x' reads a Source"),
        (ImageReader(), np.zeros((8, 8, 3)), "ImageReader of 'x' reads a"),
        (TextReader(None), Source("x.txt"), "TextReader of 'x' reads a str"),
    ],
)
def test_a_source_fits_its_reader(reader, source, rule):
    sample = Sample("clip 7", 0, {"x": source})
    with pytest.raises(ValueError, match=f"{rule}.*clip 7.*as Source.path"):
        PairedDataset([sample], {"x": reader})


def write_classes(root, names=("dog", "cat"), pitches=(300, 3000)):
    """Files of equal names, lengths and times in folders of their class."""
    samples = []
    for label, (name, pitch) in enumerate(zip(names, pitches)):
        (root / name).mkdir(parents=True)
        for number in range(2):
            path = root / name / f"{number}.wav"
            soundfile.write(path, tone(pitch, 0.25, 8000)[0], 8000)
            os.utime(path, (1e9, 1e9))
            source = {"audio": Source(path)}
            samples.append(Sample(f"{name}/{number}", label, source))
    return samples


def cached(samples, cache, **kwargs):
    data = PairedDataset(samples, {"audio": AUDIO}, cache, **kwargs)
    data.prepare(verbose=0)
    plain = PairedDataset(samples, {"audio": AUDIO})
    np.testing.assert_array_equal(data[0][0]["audio"], plain[0][0]["audio"])
    return len(list(pathlib.Path(cache).rglob("*.npy")))


def elsewhere(samples, root, folder):
    """The same samples in another folder."""
    return [
        Sample(
            sample.name,
            sample.label,
            {
                name: Source(folder / source.path.relative_to(root))
                for name, source in sample.sources.items()
            },
        )
        for sample in samples
    ]


@pytest.mark.parametrize("is_told", [True, False])
def test_files_of_equal_names_have_arrays_of_their_own(tmp_path, is_told):
    root, cache = tmp_path / "data", tmp_path / "cache"
    samples = write_classes(root)
    assert cached(samples, cache, root=root if is_told else None) == 4
    # Moved as a whole, and its archive unpacked elsewhere.
    moved = root.rename(tmp_path / "moved")
    copy = shutil.copytree(moved, tmp_path / "a" / "b")
    for folder in (moved, copy):
        there = elsewhere(samples, root, folder)
        assert cached(there, cache, root=folder if is_told else None) == 4


@pytest.mark.parametrize("is_told", [True, False])
def test_data_sets_may_share_a_cache(tmp_path, is_told):
    """Also if all they do not share is what the files contain."""
    cache = tmp_path / "cache"
    for pitches in ((300, 3000), (3000, 300)):
        root = tmp_path / str(pitches[0])
        samples = write_classes(root, pitches=pitches)
        cached(samples, cache, root=root if is_told else None)
    assert len(list(cache.rglob("*.npy"))) == 8


def test_a_file_that_may_not_be_read_is_left_out(tmp_path, monkeypatch):
    samples = write_classes(tmp_path / "data")
    data = PairedDataset(samples, {"audio": AUDIO}, tmp_path / "cache")
    closed, opened = samples[1].sources["audio"].path, open

    def refuse(path, *args, **kwargs):
        if str(path) == str(closed):
            raise PermissionError(13, "Permission denied")
        return opened(path, *args, **kwargs)

    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr("io.open", refuse)
    (left_out,) = data.prepare(max_missing_fraction=0.5, verbose=0)
    assert left_out == {
        "name": "dog/1",
        "modality": "audio",
        "reason": "cannot be opened (Permission denied)",
        "file": "dog/1.wav",
    }
    with pytest.raises(MediaError, match="cannot be opened"):
        AUDIO.prepare(Source(closed))
