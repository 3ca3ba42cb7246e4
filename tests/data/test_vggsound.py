"""VGGSound's list and clips, in small."""

import shutil

import numpy as np
import pytest
import soundfile

from keras_c2kd.data.modality_readers import AudioReader
from keras_c2kd.data.modality_readers import FrameReader
from keras_c2kd.data.spectrogram import LogSpectrogram
from keras_c2kd.data.vggsound import AUDIO
from keras_c2kd.data.vggsound import CLASSES
from keras_c2kd.data.vggsound import VISUAL
from keras_c2kd.data.vggsound import load_vggsound
from tests.data.media_files import tone
from tests.data.media_files import write_video

pytestmark = pytest.mark.backend_free

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
    data = load(root, validation_fraction=0.34)
    parts = [data.train, data.validation, data.test]
    assert [len(part.samples) for part in parts] == [2, 1, 1]
    found = {s.name: s.label for part in parts for s in part.samples}
    assert found == {
        "--0PQ_-hqg_000030": 0,
        "abc_000007": 6,
        "abc_000100": 6,
        "test_1_000000": 1,
    }
    assert data.provenance["missing"] == [
        {"name": "gone_000005", "reason": "has no video file"}
    ]
    inputs, labels = data.test[0]
    assert inputs["audio"].shape == (1, *SMALL_AUDIO.shape)
    assert inputs["visual"].shape == (1, 3, 16, 16, 3)
    assert labels.tolist() == [1]
    for part in parts:
        assert part.prepare(verbose=0) == []


def test_validation_on_the_training_clips_is_asked_for_by_name(root):
    data = load(root, validate_on="train")
    parts = [{s.name for s in x.samples} for x in (data.train, data.validation)]
    assert parts[0] == parts[1] and len(parts[0]) == 3
    assert data.train.training and not data.validation.training
    assert data.provenance["split"] == "official, validation on the train part"
    with pytest.raises(ValueError, match="validate_on='test'"):
        load(root, validate_on="test")


def test_extracted_sound_is_read_instead_of_the_video(root, tmp_path):
    copy = tmp_path / "vggsound"
    shutil.copytree(root, copy)
    (copy / "sounds").mkdir()
    wave = tone(3000, 1.5, 8000)[0]
    soundfile.write(copy / "sounds" / "test_1_000000.wav", wave, 8000)
    sample = load(copy, validation_fraction=0.34).test.samples[0]
    assert sample.sources["visual"].path.suffix == ".mp4"
    found = SMALL_AUDIO.prepare(sample.sources["audio"])
    np.testing.assert_allclose(found, wave, atol=1e-4)


def test_lists_that_cannot_be_read(tmp_path):
    with pytest.raises(ValueError, match="vggsound.csv"):
        load(tmp_path)
    path = tmp_path / "vggsound.csv"
    path.write_text("abc_000007.mp4,helicopter\n")
    with pytest.raises(ValueError, match="abc_000007.mp4,helicopter' in row 1"):
        load(tmp_path)
    path.write_text("abc,²,helicopter,train\n", encoding="utf-8")
    with pytest.raises(ValueError, match="abc,²,helicopter,train' in row 1"):
        load(tmp_path)
    path.write_text("abc,7,helicopter,train\n")
    with pytest.raises(ValueError, match="'abc_000007'.*no video file"):
        load(tmp_path)


def test_a_clip_counts_where_it_is_listed_first(root, tmp_path):
    copy = tmp_path / "vggsound"
    shutil.copytree(root, copy)
    (copy / "train" / "party_²").with_suffix(".mp4").touch()
    expected = load(root, validation_fraction=0.34)
    with (copy / "vggsound.csv").open("a") as file:
        file.write('abc,7,"subway, metro, underground",test\n')
    data = load(copy, validation_fraction=0.34)
    for part in ("train", "validation", "test"):
        first, second = (getattr(x, part).samples for x in (data, expected))
        assert [x.name for x in first] == [x.name for x in second]
    assert data.provenance["excluded"] == [
        {"name": "abc_000007", "reason": "is listed before"}
    ]
