"""CREMA-D as it lies on disk, in small: tones and colours are emotions."""

import hashlib
import shutil

import keras
import numpy as np
import pytest
import soundfile

from keras_c2kd import CrossModalDistiller
from keras_c2kd.data.crema_d import EMOTIONS
from keras_c2kd.data.crema_d import load_crema_d
from keras_c2kd.data.epoch_dataset import FollowEpochs
from keras_c2kd.data.media import MediaError
from keras_c2kd.data.modality_readers import AudioReader
from keras_c2kd.data.modality_readers import FrameReader
from keras_c2kd.data.spectrogram import LogSpectrogram
from keras_c2kd.methods import DML
from tests.data.media_files import tone
from tests.data.media_files import write_video

pytestmark = pytest.mark.backend_free

ACTORS = range(1001, 1006)
COLOURS = [
    (220, 20, 20),
    (20, 220, 20),
    (20, 20, 220),
    (220, 220, 20),
    (20, 220, 220),
    (220, 20, 220),
]
STUB = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
SMALL_AUDIO = AudioReader(LogSpectrogram(16000, 1, window=128, hop=100))
SMALL_VISUAL = FrameReader(size=16, stored_side=24)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("CREMA-D")
    (root / "AudioWAV").mkdir()
    (root / "VideoFlash").mkdir()
    for actor in ACTORS:
        for label, emotion in enumerate(EMOTIONS):
            name = f"{actor}_DFA_{emotion}_XX"
            wave = tone(300 * (label + 1), 0.8 if label else 2.0, 16000)
            soundfile.write(root / f"AudioWAV/{name}.wav", wave[0], 16000)
            write_video(
                root / f"VideoFlash/{name}.flv",
                [COLOURS[label]] * 15,
                tone(300, 1.5),
                video_codec="flv",
                audio_codec="libmp3lame",
            )
    return root


def load(root, **kwargs):
    return load_crema_d(
        root,
        audio=SMALL_AUDIO,
        visual=SMALL_VISUAL,
        batch_size=kwargs.pop("batch_size", 8),
        **kwargs,
    )


def names(dataset):
    return {sample.name for sample in dataset.samples}


def test_every_clip_is_in_one_split(root):
    data = load(root)
    parts = [names(x) for x in (data.train, data.validation, data.test)]
    assert [len(part) for part in parts] == [24, 3, 3]
    assert len(set.union(*parts)) == 30
    # Five clips of each class, of which a part has one at most.
    for part in parts[1:]:
        assert len({name.split("_")[2] for name in part}) == 3
    assert data.provenance["sizes"]["train"] == 24
    # Splits are the same whatever the seed of training is.
    assert names(load(root, seed=5).test) == parts[2]


def test_actors_are_in_one_split(root):
    data = load(
        root, split="actors", validation_fraction=0.2, test_fraction=0.2
    )
    parts = [
        {name[:4] for name in names(x)}
        for x in (data.train, data.validation, data.test)
    ]
    assert [len(part) for part in parts] == [3, 1, 1]
    assert len(set.union(*parts)) == 5


def test_lists(root, tmp_path):
    rows = [f"1001_DFA_{e}_XX,{e}" for e in EMOTIONS]
    train, test = tmp_path / "train.csv", tmp_path / "test.csv"
    rows.append("1009_DFA_ANG_XX,ANG")
    train.write_bytes("\r\n".join(rows).encode("utf-8-sig"))
    test.write_text("1002_DFA_SAD_XX,SAD\n\n")
    data = load(
        root, split="lists", lists=(train, test), validation_fraction=0.3
    )
    assert names(data.test) == {"1002_DFA_SAD_XX"}
    assert len(data.train.samples) + len(data.validation.samples) == 6
    assert data.provenance["missing"] == [
        {"name": "1009_DFA_ANG_XX", "reason": "is in a list but not on disk"}
    ]
    test.write_text("1001_DFA_SAD_XX,SAD\n")
    with pytest.raises(ValueError, match="in both lists.*1001_DFA_SAD_XX"):
        load(root, split="lists", lists=(train, test))
    test.write_text("1002_DFA_SAD_XX,ANG\n")
    with pytest.raises(ValueError, match="SAD_XX,ANG' in row 1"):
        load(root, split="lists", lists=(train, test))
    test.write_text("1002_DFA_SAD_XX,SAD", encoding="utf-16")
    with pytest.raises(ValueError, match="text file in UTF-8.*test.csv"):
        load(root, split="lists", lists=(train, test))
    test.write_text("1002_DFA_SAD_XX,SAD\n" * 2)
    data = load(
        root, split="lists", lists=(train, test), validation_fraction=0.3
    )
    assert len(data.test.samples) == 1
    with pytest.raises(ValueError, match="lists=None"):
        load(root, split="lists")
    with pytest.raises(ValueError, match="split='official'"):
        load(root, split="official")


def test_validation_on_the_test_clips_is_asked_for_by_name(root):
    data = load(root, validate_on="test")
    assert names(data.validation) == names(data.test)
    assert len(data.train.samples) == 27
    assert data.provenance["split"] == "random, validation on the test part"
    with pytest.raises(ValueError, match="validate_on='train'"):
        load(root, validate_on="train")


def test_clips_that_are_known_to_be_damaged(root, tmp_path):
    damaged = tmp_path / "CREMA-D"
    shutil.copytree(root, damaged)
    for folder, ending in (("AudioWAV", "wav"), ("VideoFlash", "flv")):
        source = damaged / folder / f"1001_DFA_DIS_XX.{ending}"
        shutil.copy(source, source.with_name(f"1064_IEO_DIS_MD.{ending}"))
    data = load(damaged)
    assert data.provenance["excluded"] == [
        {
            "name": "1064_IEO_DIS_MD",
            "reason": "has a video of a minute with several emotions",
        }
    ]
    kept = load(damaged, drop_known_damage=False)
    assert kept.provenance["excluded"] == []
    sizes = [sum(x.provenance["sizes"].values()) for x in (data, kept)]
    assert sizes == [30, 31]


def test_evaluation_is_the_same_every_time(root):
    dataset = load(root).test
    (first, labels), (again, _) = dataset[0], dataset[0]
    dataset.on_epoch_end()
    later, _ = dataset[0]
    for modality, shape in (
        ("audio", (3, *SMALL_AUDIO.shape)),
        ("visual", (3, 16, 16, 3)),
    ):
        assert first[modality].shape == shape
        assert first[modality].dtype == "float32"
        np.testing.assert_array_equal(first[modality], again[modality])
        np.testing.assert_array_equal(first[modality], later[modality])
    # The colour of the frame's right half is the emotion.
    pixels = first["visual"][:, 8, 14] * (0.229, 0.224, 0.225)
    pixels += (0.485, 0.456, 0.406)
    expected = np.asarray([COLOURS[label] for label in labels]) / 255
    np.testing.assert_allclose(pixels, expected, atol=0.15)
    # The loudest bin is the tone.
    bins = np.exp(first["audio"][..., 0]).mean(axis=2).argmax(axis=1)
    frequencies = bins * 16000 / 128
    np.testing.assert_allclose(frequencies, 300 * (labels + 1), atol=80)


def test_training_batches_depend_on_seed_and_epoch_alone(root, tmp_path):
    def batches(dataset):
        found = [dataset[i] for i in reversed(range(len(dataset)))]
        return [array for x, y in found for array in (*x.values(), y)]

    one, same = load(root).train, load(root, cache=tmp_path, workers=2).train
    other = load(root, seed=1).train
    for _ in range(2):
        first, second = batches(one), batches(same)
        for left, right in zip(first, second):
            np.testing.assert_array_equal(left, right)
        assert not np.array_equal(first[-1], batches(other)[-1])
        one.on_epoch_end()
        same.on_epoch_end()
        assert not np.array_equal(batches(one)[1], first[1])
    # Go on where another run was.
    resumed = load(root).train
    resumed.epoch = one.epoch
    np.testing.assert_array_equal(batches(resumed)[0], batches(one)[0])


def test_a_sample_is_drawn_anew_in_each_epoch(root):
    """Other crops, not only another order."""
    data = load(root, batch_size=24).train
    data.samples = data.samples[:1]
    views = []
    for _ in range(4):
        views.append(data[0][0]["visual"])
        data.on_epoch_end()
    assert len({view.tobytes() for view in views}) > 1


def test_files_that_cannot_be_read_are_listed(root, tmp_path):
    broken = tmp_path / "CREMA-D"
    for folder in ("AudioWAV", "VideoFlash"):
        (broken / folder).mkdir(parents=True)
        for path in (root / folder).iterdir():
            (broken / folder / path.name).symlink_to(path)

    def replace(name, content):
        (broken / name).unlink()
        (broken / name).write_bytes(content)

    replace("AudioWAV/1001_DFA_NEU_XX.wav", STUB.encode())
    replace("VideoFlash/1002_DFA_NEU_XX.flv", b"nothing")
    (broken / "VideoFlash/1003_DFA_NEU_XX.flv").unlink()
    (broken / "AudioWAV/1004_DFA_NEU_X.wav").write_bytes(b"")
    (broken / "AudioWAV/1004_DFA_NEU_XX.wav").unlink()
    silent = broken / "AudioWAV/1004_DFA_NEU_XX.wav"
    soundfile.write(silent, np.zeros(16000), 16000)
    data = load(broken)
    assert data.provenance["missing"] == [
        {"name": "1003_DFA_NEU_XX", "reason": "has no FLV file"},
        {"name": "1004_DFA_NEU_X", "reason": "has no FLV file"},
    ]
    found = []
    for part in (data.train, data.validation, data.test):
        before = len(part.samples)
        left_out = part.prepare(max_missing_fraction=1.0, verbose=0)
        assert len(part.samples) == before - len(left_out)
        found += [(x["name"], x["modality"], x["reason"]) for x in left_out]
    assert [x[:2] for x in sorted(found)] == [
        ("1001_DFA_NEU_XX", "audio"),
        ("1002_DFA_NEU_XX", "visual"),
        ("1004_DFA_NEU_XX", "audio"),
    ]
    reasons = [x[2] for x in sorted(found)]
    assert "git lfs pull" in reasons[0]
    assert "is damaged" in reasons[1]
    assert reasons[2] == "is silent"
    # Too many of them are an error, and so is a batch that was not checked.
    data = load(broken, test_fraction=0.04, validation_fraction=0.04)
    with pytest.raises(ValueError, match=r"1.0% of the.*Received: . of 2\d"):
        data.train.prepare(verbose=0)
    with pytest.raises(MediaError):
        [data.train[i] for i in range(len(data.train))]


def test_shares_that_leave_nothing(root):
    with pytest.raises(ValueError, match="left to train on.*test_fraction=0.9"):
        load(root, test_fraction=0.9)


def test_an_empty_folder(tmp_path):
    with pytest.raises(ValueError, match="0 WAV and 0 FLV.*Git LFS"):
        load(tmp_path)


def digests(folder):
    return {
        path: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat())
        for path in sorted(folder.rglob("*.*"))
    }


@pytest.mark.slow
def test_a_pair_learns_from_the_cache(root, tmp_path, monkeypatch):
    """Prepared once; then the media are not touched, and both ways learn."""
    before = digests(root)
    data = load(root, cache=tmp_path)
    assert data.train.prepare(verbose=0) == []

    def refuse(*arguments):
        raise RuntimeError("The media were read again.")

    module = "keras_c2kd.data.modality_readers"
    monkeypatch.setattr(f"{module}.read_audio", refuse)
    monkeypatch.setattr(f"{module}.read_frames", refuse)
    layers = keras.layers
    networks = {}
    for modality, shape in (
        ("audio", SMALL_AUDIO.shape),
        ("visual", SMALL_VISUAL.shape),
    ):
        networks[modality] = keras.Sequential(
            [
                keras.Input(shape),
                layers.AveragePooling2D((1, shape[1])),
                layers.BatchNormalization(momentum=0.8),
                layers.Flatten(),
                layers.Dense(6),
            ],
            name=modality,
        )
    distiller = CrossModalDistiller(
        student=networks["visual"],
        teacher=networks["audio"],
        student_modality="visual",
        teacher_modality="audio",
        method=DML(),
    )
    distiller.compile(
        optimizer=keras.optimizers.SGD(0.02, momentum=0.9),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False
        if keras.backend.backend() == "tensorflow"
        else "auto",
    )
    seen = []
    view = SMALL_VISUAL.__class__.view

    def counted(reader, frames, random=None):
        seen.append(data.train.epoch)
        return view(reader, frames, random)

    monkeypatch.setattr(SMALL_VISUAL.__class__, "view", counted)
    history = distiller.fit(
        data.train,
        epochs=30,
        verbose=0,
        callbacks=[FollowEpochs(data.train)],
    ).history
    assert sorted(set(seen)) == list(range(30))
    assert seen[-24:] == [29] * 24
    assert history["accuracy"][-1] > 0.6
    assert history["teacher_accuracy"][-1] > 0.6
    assert digests(root) == before
