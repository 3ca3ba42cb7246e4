"""Only for the environment of the extra `tensorflow-io`: see .ci/run."""

import copy
import functools
import math

import keras
import numpy as np
import pytest

pytest.importorskip(
    "tensorflow_io",
    reason="has an environment of its own, with TensorFlow 2.17: see README.md",
)

import soundfile
import soxr
import tensorflow as tf

from keras_c2kd import CrossModalDistiller
from keras_c2kd.data import AudioReader
from keras_c2kd.data import FollowEpochs
from keras_c2kd.data import FrameReader
from keras_c2kd.data import LogSpectrogram
from keras_c2kd.data import PairedDataset
from keras_c2kd.data import Sample
from keras_c2kd.data import Source
from keras_c2kd.data import load_crema_d
from keras_c2kd.data.crema_d import EMOTIONS
from keras_c2kd.data.media import read_audio
from keras_c2kd.data.tensorflow_io import read_audio_in_graph
from keras_c2kd.data.tensorflow_io import tensorflow_io_batches
from keras_c2kd.methods import DML
from tests.data.media_files import tone
from tests.data.media_files import write_video

COLOURS = [
    (220, 20, 20),
    (20, 220, 20),
    (20, 20, 220),
    (220, 220, 20),
    (20, 220, 220),
    (220, 20, 220),
]
STUB = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
SMALL_AUDIO = AudioReader(LogSpectrogram(16000, 1, window=128, hop=100))
SMALL_VISUAL = FrameReader(size=16, stored_side=24)
RATES = [(16000, 22050), (44100, 16000), (48000, 16000), (22050, 16000)]


@functools.cache
def graph(rate):
    """The reader as tf.data runs it, traced once."""
    seconds = tf.TensorSpec((), tf.float64)
    return tf.function(
        lambda path, start, end: read_audio_in_graph(path, rate, start, end),
        input_signature=[tf.TensorSpec((), tf.string), seconds, seconds],
    )


def in_graph(path, rate, start=0.0, end=math.inf):
    return graph(rate)(str(path), start, end).numpy()


def noise(samples, rate=16000, band=None, channels=1):
    """Noise of a peak of 0.5, without what lies above a frequency."""
    wave = np.random.default_rng(0).normal(size=(samples, channels))
    spectrum = np.fft.rfft(wave, axis=0)
    if band is not None:
        spectrum[np.fft.rfftfreq(samples, 1 / rate) > band] = 0.0
    wave = np.fft.irfft(spectrum, samples, axis=0)
    return 0.5 * wave / np.abs(wave).max()


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("container", ["WAV", "WAVEX"])
@pytest.mark.parametrize("kind", ["PCM_U8", "PCM_16", "PCM_24", "FLOAT"])
def test_wav_samples_are_soundfiles(tmp_path, kind, container, channels):
    path = tmp_path / "x.wav"
    # An odd number of samples: those of 8 and 24 bits end within a word.
    wave = noise(1601, channels=channels)
    soundfile.write(path, wave, 16000, subtype=kind, format=container)
    expected, _ = soundfile.read(path, dtype="float32", always_2d=True)
    np.testing.assert_array_equal(in_graph(path, 16000), expected.mean(axis=1))


def test_wav_of_the_largest_values(tmp_path):
    values = np.asarray([-32768, -32767, -1, 0, 1, 32767], "int16")
    soundfile.write(tmp_path / "x.wav", values, 16000)
    found = in_graph(tmp_path / "x.wav", 16000)
    np.testing.assert_array_equal(found, values / np.float32(32768))


def test_wav_with_other_chunks(tmp_path):
    soundfile.write(tmp_path / "x.wav", noise(1600), 16000)
    content = (tmp_path / "x.wav").read_bytes()
    head, form, data = content[:12], content[12:36], content[36:]
    junk = b"JUNK" + (27).to_bytes(4, "little") + bytes(28)
    notes = b"LIST" + (4).to_bytes(4, "little") + b"INFO"
    expected = read_audio(tmp_path / "x.wav", 16000)
    for name, chunks in {
        "in front": [junk, form, data],
        "between": [form, notes, data],
        "behind": [form, data, notes],
    }.items():
        body = b"".join(chunks)
        size = (len(body) + 4).to_bytes(4, "little")
        path = tmp_path / f"{name}.wav"
        path.write_bytes(head[:4] + size + head[8:] + body)
        np.testing.assert_array_equal(in_graph(path, 16000), expected)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    ("suffix", "kind", "tolerance"),
    [
        ("flac", "PCM_S8", 0.0),
        ("flac", "PCM_16", 0.0),
        ("flac", "PCM_24", 0.0),
        ("ogg", "VORBIS", 1e-6),
        ("mp3", "MPEG_LAYER_III", 1e-6),
    ],
)
@pytest.mark.parametrize("rate", [11025, 22050, 44100])
def test_other_formats(tmp_path, suffix, kind, tolerance, channels, rate):
    path = tmp_path / f"x.{suffix}"
    wave = noise(20001, rate, 4000, channels)
    soundfile.write(path, wave, rate, subtype=kind)
    expected = read_audio(path, rate)
    found = in_graph(path, rate)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)
    # The rate of the header is the right one.
    assert len(in_graph(path, 8000)) == len(read_audio(path, 8000))


def test_mp3_with_tags(tmp_path):
    path = tmp_path / "x.mp3"
    soundfile.write(path, noise(20000, band=4000), 16000)
    expected = read_audio(path, 16000)
    # A size of 7 bits a byte: 1 * 128 + 72.
    tags = b"ID3\x03\x00\x00" + bytes([0, 0, 1, 72]) + bytes(200)
    path.write_bytes(tags + path.read_bytes())
    found = in_graph(path, 16000)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("own", "rate"), RATES)
def test_resampling_is_near_soxrs(tmp_path, own, rate):
    """The tolerances of the docstring, tone by tone and for noise."""
    half = min(own, rate) / 2
    times = np.arange(round(2.5 * own)) / own
    path = tmp_path / "x.wav"

    def both(wave):
        soundfile.write(path, wave, own, subtype="FLOAT")
        found, expected = in_graph(path, rate), read_audio(path, rate)
        assert found.shape == expected.shape
        difference = np.abs(found - expected)
        return difference[100:-100].max(), difference.max()

    for share in (0.01, 0.055, 0.125, 0.375, 0.625, 0.75, 0.8):
        inside, ends = both(0.5 * np.sin(2 * np.pi * share * half * times))
        assert inside < 3e-4 and ends < 3e-2, share
    inside, ends = both(noise(len(times), own, 0.8 * half)[:, 0])
    assert inside < 1e-4 and ends < 3e-2
    # What the docstring says of the rest is so, too: the filters differ.
    at_7k, _ = both(0.5 * np.sin(2 * np.pi * 0.875 * half * times))
    at_7k5, _ = both(0.5 * np.sin(2 * np.pi * 0.9375 * half * times))
    assert 1e-3 < at_7k < 2.5e-2 and 0.1 < at_7k5 < 0.36


def test_resampling_adds_no_delay(tmp_path):
    """A click stays where it is, and the last samples are there."""
    for own, rate in (*RATES, (8000, 16000), (44100, 22050)):
        wave = np.zeros(own, "float32")
        wave[own // 2] = 0.9
        wave[-1] = 0.9
        soundfile.write(tmp_path / "x.wav", wave, own, subtype="FLOAT")
        found = in_graph(tmp_path / "x.wav", rate)
        assert np.abs(found[: rate * 3 // 4]).argmax() == rate // 2
        # As much of it before the click as behind.
        before, behind = found[rate // 2 - 50 :][:50], found[rate // 2 + 1 :]
        np.testing.assert_allclose(before[::-1], behind[:50], atol=1e-3)
        assert np.abs(found[-3:]).max() > 0.1


def test_lengths_are_soxrs(tmp_path):
    for own, rate in (*RATES, (16000, 8000)):
        for samples in (2, 3, 100, 1001, 1234):
            wave = noise(samples, own)[:, 0]
            soundfile.write(tmp_path / "x.wav", wave, own)
            expected = len(soxr.resample(wave, own, rate, quality="HQ"))
            assert len(in_graph(tmp_path / "x.wav", rate)) == expected


def test_parts(tmp_path):
    path = tmp_path / "x.wav"
    soundfile.write(path, noise(16000), 16000)
    # Half a sample is rounded to even: 0.5, 1.5 and 2.5 to 0, 2 and 2.
    halves = [number / 32000 for number in (1, 3, 5)]
    for start, end in (
        (0.0, 0.25),
        (0.25, 0.5),
        (0.5, None),
        (0.5, 9.0),
        *((half, half + 0.1) for half in halves),
        *((0.0, 0.1 + half) for half in halves),
    ):
        found = in_graph(path, 16000, start, math.inf if end is None else end)
        expected = read_audio(path, 16000, start, end)
        np.testing.assert_array_equal(found, expected)
    found = read_audio_in_graph(path, 16000, start=0.5)
    np.testing.assert_array_equal(found, read_audio(path, 16000, start=0.5))
    # What lies outside does not reach into the part when it is resampled.
    found = in_graph(path, 22050, start=0.25, end=0.5)
    expected = in_graph(path, 16000, start=0.25, end=0.5)
    soundfile.write(path, expected, 16000, subtype="FLOAT")
    np.testing.assert_allclose(in_graph(path, 22050), found, atol=1e-6)


def test_files_that_cannot_be_read(tmp_path):
    def write(name, content):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    def sound(name, **kwargs):
        soundfile.write(tmp_path / name, noise(1600), 16000, **kwargs)
        return tmp_path / name

    whole = sound("whole.wav").read_bytes()
    flac = sound("whole.flac").read_bytes()
    for path, message in (
        (write("stub.wav", STUB), "is a Git LFS stub.*git lfs pull"),
        (write("empty.wav", b""), "is empty"),
        (write("noise.wav", bytes(range(256))), "is damaged"),
        (write("short.wav", whole[:10]), "is damaged"),
        (write("head.wav", whole[:44]), "is damaged"),
        (write("cut.wav", whole[:-100]), "is damaged or cut off"),
        (write("cut.flac", flac[: len(flac) // 2]), "is damaged or cut off"),
        # A second of this rate would be eight gigabytes.
        (
            write("rate.wav", whole[:24] + b"\xff" * 3 + b"\x7f" + whole[28:]),
            "is damaged",
        ),
        # 32-bit integers would pass for floats.
        (sound("long.wav", subtype="PCM_32"), "is damaged.*not of a format"),
        (sound("double.wav", subtype="DOUBLE"), "is damaged.*not of a format"),
        (sound("opus.ogg", subtype="OPUS"), "is damaged.*not of a format"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError) as caught:
            in_graph(path, 16000)
        assert caught.match(f"{path}: {message}")
        # As it is outside of tf.data.
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            read_audio_in_graph(path, 16000)
    with pytest.raises(tf.errors.NotFoundError, match="absent.wav"):
        in_graph(tmp_path / "absent.wav", 16000)
    path = sound("x.wav")
    message = f"{path}: has no sound from second 2"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        in_graph(path, 16000, start=2.0)
    soundfile.write(path, [0.5], 44100)
    message = "less sound than a sample at 16000 Hz"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        in_graph(path, 16000)


def test_files_do_not_get_mixed_up_in_parallel(tmp_path):
    paths = []
    for number in range(1, 9):
        paths.append(str(tmp_path / f"{number}.wav"))
        wave = np.full(20000 + number, number / 16)
        soundfile.write(paths[-1], wave, 16000)
    dataset = tf.data.Dataset.from_tensor_slices(paths * 20).map(
        lambda path: read_audio_in_graph(path, 16000), num_parallel_calls=8
    )
    for index, wave in enumerate(dataset):
        number = index % 8 + 1
        assert len(wave) == 20000 + number
        np.testing.assert_array_equal(wave, number / np.float32(16))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("CREMA-D")
    (root / "AudioWAV").mkdir()
    (root / "VideoFlash").mkdir()
    for actor in range(1001, 1006):
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


def load(root, audio=SMALL_AUDIO, **kwargs):
    return load_crema_d(
        root, audio=audio, visual=SMALL_VISUAL, batch_size=7, **kwargs
    )


def refuse_read_audio(monkeypatch):
    def refuse(*arguments):
        raise RuntimeError("The default reader was used.")

    monkeypatch.setattr("keras_c2kd.data.modality_readers.read_audio", refuse)


def assert_equal_batches(found, expected, tolerance=0.0):
    assert len(found) == len(expected)
    for batch, other in zip(found, expected, strict=True):
        tf.nest.assert_same_structure(batch, other)
        for left, right in zip(tf.nest.flatten(batch), tf.nest.flatten(other)):
            assert left.dtype == right.dtype
            np.testing.assert_allclose(left, right, rtol=0, atol=tolerance)


def batches_of(dataset):
    return [dataset[i] for i in range(len(dataset))]


def test_batches_of_evaluation(root, monkeypatch):
    data = load(root)
    for dataset in (data.validation, data.train.evaluation()):
        expected = batches_of(dataset)
        with monkeypatch.context() as patched:
            refuse_read_audio(patched)
            batches = tensorflow_io_batches(dataset)
            inputs, labels = batches.element_spec
            assert inputs["audio"].shape == (None, *SMALL_AUDIO.shape)
            assert inputs["visual"].shape == (None, 16, 16, 3)
            assert labels.shape == (None,) and labels.dtype == tf.int32
            for _ in range(2):
                assert_equal_batches(list(batches), expected)
    # Some of the samples.
    few = data.train.evaluation(largest=10)
    assert_equal_batches(list(tensorflow_io_batches(few)), batches_of(few))


def test_batches_of_training_in_two_epochs(root, monkeypatch):
    audio = AudioReader(
        SMALL_AUDIO.spectrogram, random_window=True, at_least=1.5
    )
    data = load(root, audio, seed=3).train
    data = data.select(("audio", "visual"), second_view="audio")
    expected = []
    for data.epoch in range(2):
        expected.append(batches_of(data))
    assert not np.array_equal(expected[0][0][1], expected[1][0][1])
    refuse_read_audio(monkeypatch)
    batches = tensorflow_io_batches(data)
    # A look at the first batch counts for nothing.
    next(iter(batches))
    for data.epoch in (0, 1, 0):
        assert_equal_batches(list(batches), expected[data.epoch])


def test_batches_of_resampled_sound(root):
    """Within a twentieth where the tones are, in the logarithm."""
    reader = AudioReader(LogSpectrogram(22050, 1, window=128, hop=100))
    data = load(root, reader).test
    data = data.select(("audio",))
    (found, _), (expected, _) = next(iter(tensorflow_io_batches(data))), data[0]
    found, expected = found["audio"].numpy(), expected["audio"]
    assert found.shape == expected.shape
    loud = expected > np.log(0.1)
    assert loud.mean() > 0.05
    np.testing.assert_allclose(found[loud], expected[loud], atol=0.05)


def test_parts_of_files(tmp_path):
    """As in AVE and VGGSound: several parts of one file, without a cache."""
    path = tmp_path / "x.wav"
    soundfile.write(path, noise(64000), 16000)
    parts = [(0.0, 1.0), (1.5, 3.0), (2.0, None), (1.5, 3.0)]
    samples = [
        Sample(str(i), i, {"audio": Source(path, *part)})
        for i, part in enumerate(parts)
    ]
    data = PairedDataset(samples, {"audio": SMALL_AUDIO}, batch_size=3)
    cached = PairedDataset(
        samples, {"audio": SMALL_AUDIO}, tmp_path / "cache", batch_size=3
    )
    for dataset in (data, cached):
        found = list(tensorflow_io_batches(dataset))
        assert_equal_batches(found, batches_of(data))
    assert not (tmp_path / "cache").exists()


def test_files_that_a_batch_cannot_read(root, tmp_path):
    def batches(audio=b"", visual=None):
        source = copy.copy(data.samples[1].sources)
        for modality, content in (("audio", audio), ("visual", visual)):
            if content is not None:
                path = tmp_path / f"{modality}{source[modality].path.suffix}"
                path.write_bytes(content)
                source[modality] = Source(path)
        broken = copy.copy(data)
        broken.samples = [data.samples[0], Sample("broken", 0, source)]
        return tensorflow_io_batches(broken)

    data = load(root).test
    silent = tmp_path / "silent.wav"
    soundfile.write(silent, np.zeros(16000), 16000)
    for content, message in (
        (b"", "audio.wav: is empty"),
        (STUB, "audio.wav: is a Git LFS stub"),
        (b"nothing", "audio.wav: is damaged"),
        (silent.read_bytes(), "audio.wav: is silent"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            list(batches(content))
    message = "MediaError: .*visual.flv: is damaged"
    with pytest.raises(tf.errors.UnknownError, match=message):
        list(batches(None, b"nothing"))
    source = {"audio": Source(tmp_path / "absent.wav")}
    absent = PairedDataset(
        [Sample("absent", 0, source)], {"audio": SMALL_AUDIO}
    )
    with pytest.raises(tf.errors.NotFoundError, match="absent.wav"):
        list(tensorflow_io_batches(absent))


def test_modalities_that_are_no_sound_of_the_batches(root):
    data = load(root).test
    for dataset, modality in (
        (data, "visual"),
        (data, "sound"),
        (data.select(("visual",)), "audio"),
    ):
        with pytest.raises(ValueError, match=f"modality='{modality}'"):
            tensorflow_io_batches(dataset, modality)


def classifier(name, shape):
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(shape),
            layers.AveragePooling2D((1, shape[1])),
            layers.BatchNormalization(momentum=0.8),
            layers.Flatten(),
            layers.Dense(6),
        ],
        name=name,
    )


def test_a_pair_learns(root, monkeypatch):
    """What `fit` sees is drawn anew in each epoch, and both ways learn."""
    assert keras.backend.backend() == "tensorflow"
    data = load(root)
    distiller = CrossModalDistiller(
        student=classifier("visual", SMALL_VISUAL.shape),
        teacher=classifier("audio", SMALL_AUDIO.shape),
        student_modality="visual",
        teacher_modality="audio",
        method=DML(),
    )
    distiller.compile(
        optimizer=keras.optimizers.SGD(0.02, momentum=0.9),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,
    )
    refuse_read_audio(monkeypatch)
    draws = []
    random_of = PairedDataset.random_of

    def counted(dataset, *numbers):
        if dataset.training:
            draws.append((dataset.epoch, *(int(number) for number in numbers)))
        return random_of(dataset, *numbers)

    monkeypatch.setattr(PairedDataset, "random_of", counted)
    history = distiller.fit(
        tensorflow_io_batches(data.train),
        epochs=10,
        shuffle=False,
        verbose=0,
        callbacks=[FollowEpochs(data.train)],
    ).history
    # Two draws a sample and epoch.
    assert len(data.train.samples) == 24
    for epoch in range(1, 10):
        assert sum(draw[0] == epoch for draw in draws) == 48
        assert len({draw for draw in draws if draw[0] == epoch}) == 48
    assert history["accuracy"][-1] > 0.6
    assert history["teacher_accuracy"][-1] > 0.6
    results = distiller.evaluate(
        tensorflow_io_batches(data.validation), verbose=0, return_dict=True
    )
    assert {"accuracy", "teacher_accuracy"} <= set(results)
