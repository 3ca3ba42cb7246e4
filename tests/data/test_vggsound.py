"""VGGSound's list and clips, in small."""

import pytest

from keras_c2kd.data.modality_readers import AudioReader
from keras_c2kd.data.modality_readers import FrameReader
from keras_c2kd.data.spectrogram import LogSpectrogram
from keras_c2kd.data.vggsound import AUDIO
from keras_c2kd.data.vggsound import CLASSES
from keras_c2kd.data.vggsound import VISUAL
from keras_c2kd.data.vggsound import load_vggsound
from tests.data.media_files import tone
from tests.data.media_files import write_video

SMALL_AUDIO = AudioReader(
    LogSpectrogram(8000, 1, window=128, hop=100),
    random_window=True,
    at_least=2.0,
)
SMALL_VISUAL = FrameReader(size=16, frames=3, stored_side=24)
ROWS = """--0PQ_-hqg,30,waterfall burbling,train
abc,7,"subway, metro, underground",train
abc,100,"subway, metro, underground",train
gone,5,playing tennis,train
other,5,typing on computer keyboard,train
test_1,0,playing tennis,test
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Padded and unpadded names, flat and in folders."""
    root = tmp_path_factory.mktemp("vggsound")
    (root / "vggsound.csv").write_text(ROWS)
    for name in (
        "--0PQ_-hqg_000030.mp4",
        "train/abc_7.mp4",
        "train/abc_000100.mp4",
        "test/test_1_000000.mp4",
        "train/holiday.mp4",
    ):
        path = root / name
        path.parent.mkdir(exist_ok=True)
        write_video(path, [(20, 200, 20)] * 20, tone(500, 2.0))
    return root


def load(root, **kwargs):
    return load_vggsound(root, audio=SMALL_AUDIO, visual=SMALL_VISUAL, **kwargs)


def test_the_settings_of_the_authors():
    assert AUDIO.shape == (129, 626, 1)
    assert VISUAL.shape == (3, 224, 224, 3)
    assert len(set(CLASSES)) == 50


def test_the_list(root):
    data = load(root, validation_share=0.34)
    parts = [data.train, data.validation, data.test]
    assert [len(part.samples) for part in parts] == [2, 1, 1]
    found = {s.name: s.label for part in parts for s in part.samples}
    assert found == {
        "--0PQ_-hqg_000030": 0,
        "abc_000007": 6,
        "abc_000100": 6,
        "test_1_000000": 1,
    }
    assert data.provenance["left_out"] == [
        {"name": "gone_000005", "reason": "has no MP4 file"}
    ]
    inputs, labels = data.test[0]
    assert inputs["audio"].shape == (1, *SMALL_AUDIO.shape)
    assert inputs["visual"].shape == (1, 3, 16, 16, 3)
    assert labels.tolist() == [1]
    for part in parts:
        assert part.prepare(verbose=0) == []


def test_lists_that_cannot_be_read(tmp_path):
    with pytest.raises(ValueError, match="vggsound.csv"):
        load(tmp_path)
    path = tmp_path / "vggsound.csv"
    path.write_text("abc_000007.mp4,helicopter\n")
    with pytest.raises(ValueError, match="abc_000007.mp4,helicopter' in row 1"):
        load(tmp_path)
    path.write_text("abc,7,helicopter,train\n")
    with pytest.raises(ValueError, match="'abc_000007'.*no MP4 file"):
        load(tmp_path)
