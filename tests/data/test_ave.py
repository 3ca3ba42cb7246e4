"""AVE as it lies on disk, in small."""

import numpy as np
import pytest

from keras_c2kd.data.ave import AUDIO
from keras_c2kd.data.ave import VISUAL
from keras_c2kd.data.ave import load_ave
from keras_c2kd.data.modality_readers import AudioReader
from keras_c2kd.data.modality_readers import FrameReader
from keras_c2kd.data.spectrogram import LogSpectrogram
from tests.data.media_files import tone
from tests.data.media_files import write_video

pytestmark = pytest.mark.backend_free

SMALL_AUDIO = AudioReader(LogSpectrogram(8000, 2, window=128, hop=100))
SMALL_VISUAL = FrameReader(size=16, stored_side=24)
RED, BLUE = (220, 20, 20), (20, 20, 220)
BARK, BELL = "Male speech, man speaking", "Church bell"
HEADER = "Category&VideoID&Quality&StartTime&EndTime\n"
LISTS = {
    "trainSet.txt": [
        f"{BELL}&-Ab_c&good&1&3",
        f"{BARK}&dup&good&0&2",
        f"{BELL}&dup&good&0&2",
        f"{BELL}&nothing&good&0&0",
        f"{BARK}&gone&good&0&10",
        f"{BELL}&leak&good&0&2",
        f"{BARK}&leak&good&0&2",
    ],
    "valSet.txt": [f"{BARK}&leak&good&0&2"],
    "testSet.txt": [f"{BELL}&last&good&0&10"],
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Each clip is red and low for a second, then blue and high."""
    root = tmp_path_factory.mktemp("AVE_Dataset")
    (root / "AVE").mkdir()
    wave = np.concatenate([tone(500, 1.0), tone(2000, 2.0)], axis=1)
    for video in ("-Ab_c", "dup", "nothing", "leak", "last"):
        path = root / "AVE" / f"{video}.mp4"
        write_video(path, [RED] * 10 + [BLUE] * 20, wave)
    for name, rows in LISTS.items():
        header = HEADER if name == "trainSet.txt" else ""
        (root / name).write_text(header + "\n".join(rows), encoding="utf-8")
    return root


def load(root, **kwargs):
    return load_ave(root, audio=SMALL_AUDIO, visual=SMALL_VISUAL, **kwargs)


def test_the_settings_of_the_authors():
    assert AUDIO.shape == (257, 1004, 1)
    assert VISUAL.shape == (224, 224, 3)


def test_the_lists(root):
    data = load(root)
    found = [(s.name, s.label) for s in data.train.samples]
    # In the order of the training list, the first class of two.
    assert found == [("-Ab_c", 0), ("dup", 1), ("leak", 0)]
    assert [s.label for s in data.validation.samples] == [1]
    assert [s.name for s in data.test.samples] == ["last"]
    assert data.provenance["classes"] == [BELL, BARK]
    # It is one video, in two rows.
    assert data.provenance["shared_with_train"] == 1
    assert data.provenance["missing"] == [
        {"name": "gone", "reason": "has no MP4 file"}
    ]
    assert data.provenance["excluded"] == [
        {"name": "dup", "reason": f"is listed before, and here as '{BELL}'"},
        {"name": "nothing", "reason": "has an event from 0 to 0 seconds"},
        {"name": "leak", "reason": f"is listed before, and here as '{BARK}'"},
    ]
    data = load(root, drop_shared=True)
    assert [s.name for s in data.train.samples] == ["-Ab_c", "dup"]


def test_only_the_event_is_read(root):
    data = load(root)
    for index, (channel, frequency) in enumerate([(2, 2000), (0, 500)]):
        sample = data.train.samples[index]
        source = sample.sources["visual"]
        frames = SMALL_VISUAL.prepare(source)
        # Seconds 1 and 2 of the first clip, 0 and 1 of the second.
        assert len(frames) == 2
        assert frames[0, 12, -4].argmax() == channel
        wave = SMALL_AUDIO.prepare(source)
        assert len(wave) == 16000
        spectrum = np.abs(np.fft.rfft(wave[1000:7000]))
        assert spectrum.argmax() * 8000 / 6000 == pytest.approx(
            frequency, abs=5
        )
    # An event that is longer than its clip is what there is.
    (inputs, labels), shape = data.test[0], SMALL_AUDIO.shape
    assert inputs["audio"].shape == (1, *shape) and labels.tolist() == [0]


def test_lists_that_cannot_be_read(root, tmp_path):
    with pytest.raises(ValueError, match="without trainSet.txt"):
        load(tmp_path)

    def write(**changes):
        for name, rows in {**LISTS, **changes}.items():
            (tmp_path / name).write_text("\n".join(rows))

    write(**{"valSet.txt": ["Bark,abc,good,0,10"]})
    with pytest.raises(ValueError, match="'Bark,abc,good,0,10' in row 1"):
        load(tmp_path)
    for times in ("-3&10", "0&" + "9" * 400, "0&1_0"):
        write(**{"valSet.txt": [f"{BELL}&abc&good&{times}"]})
        with pytest.raises(ValueError, match="times in whole seconds.*abc"):
            load(tmp_path)
    (tmp_path / "valSet.txt").write_text("Bell", encoding="utf-16")
    with pytest.raises(ValueError, match="text file in UTF-8.*valSet.txt"):
        load(tmp_path)
    write(**{"valSet.txt": [f"{BELL}&{'x' * 300}&good&0&10"]})
    with pytest.raises(ValueError, match="none for train, .*no MP4 file"):
        load(tmp_path)
    write(**{"testSet.txt": ["Cat&abc&good&0&10"]})
    with pytest.raises(ValueError, match="must be in trainSet.txt.*'Cat'"):
        load(tmp_path)
    write()
    with pytest.raises(ValueError, match="none for train, .*no MP4 file"):
        load(tmp_path)
