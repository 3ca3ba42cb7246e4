import numpy as np
import pytest

from keras_c2kd.data.crema_d import AUDIO
from keras_c2kd.data.crema_d import VISUAL
from keras_c2kd.data.media import MediaError
from keras_c2kd.data.modality_readers import AudioReader
from keras_c2kd.data.modality_readers import FrameReader
from keras_c2kd.data.modality_readers import ImageReader
from keras_c2kd.data.modality_readers import NumpyReader
from keras_c2kd.data.paired_dataset import Source
from keras_c2kd.data.spectrogram import LogSpectrogram

pytestmark = pytest.mark.backend_free

MEAN = np.asarray([0.485, 0.456, 0.406])
DEVIATION = np.asarray([0.229, 0.224, 0.225])


def ramp(height=60, width=80, frames=1):
    """Red grows to the right, green downwards, blue with the time."""
    rows, columns = np.mgrid[:height, :width]
    images = np.zeros((frames, height, width, 3))
    images[..., 0] = 255 * columns / (width - 1)
    images[..., 1] = 255 * rows[None] / (height - 1)
    images[..., 2] = 255 * np.arange(frames)[:, None, None] / max(frames - 1, 1)
    return images.astype("uint8")


def pixels(view):
    return view * DEVIATION + MEAN


def test_the_settings_of_the_authors():
    assert AUDIO.shape == (257, 188, 1)
    assert VISUAL.shape == (224, 224, 3)


def test_evaluation_sees_the_whole_frame():
    view = FrameReader(size=20).view(ramp())
    assert view.shape == (20, 20, 3) and view.dtype == "float32"
    found = pixels(view)
    expected = (np.arange(20) + 0.5) / 20
    np.testing.assert_allclose(found[10, :, 0], expected, atol=0.02)
    np.testing.assert_allclose(found[:, 10, 1], expected, atol=0.02)


def test_evaluation_takes_frames_at_equal_distances():
    reader = FrameReader(size=8, frames=3)
    found = pixels(reader.view(ramp(frames=9)))
    assert found.shape == (3, 8, 8, 3) == (*reader.shape,)
    # Frames 1, 4 and 7 of 0 to 8.
    np.testing.assert_allclose(
        found[:, 0, 0, 2], np.asarray([1, 4, 7]) / 8, atol=0.01
    )
    # Fewer than asked for are repeated.
    found = pixels(reader.view(ramp(frames=2)))
    np.testing.assert_allclose(found[:, 0, 0, 2], [0, 1, 1], atol=0.01)


def test_training_crops_and_mirrors():
    reader = FrameReader(size=16)
    areas, mirrored = [], 0
    for seed in range(300):
        found = pixels(reader.view(ramp(), np.random.default_rng(seed)))
        across = found[8, -1, 0] - found[8, 0, 0]
        down = found[-1, 8, 1] - found[0, 8, 1]
        assert down > 0  # Never upside down.
        mirrored += across < 0
        # Centres of the outer pixels: 15 of 16 parts of the box.
        width, height = abs(across) * 16 / 15 * 79, down * 16 / 15 * 59
        areas.append(width * height / (60 * 80))
        assert 0.6 < width / height < 1.6
    assert 120 < mirrored < 180
    assert min(areas) < 0.15 and max(areas) > 0.8
    same = [reader.view(ramp(), np.random.default_rng(7)) for _ in range(2)]
    np.testing.assert_array_equal(*same)


def test_the_crop_can_be_changed_and_turned_off():
    """And the draws of the others stay as they are."""
    whole = FrameReader(size=16, crop_area=None, mirrored_fraction=1.0)
    found = whole.view(ramp(), np.random.default_rng(0))
    plain = FrameReader(size=16).view(ramp())
    np.testing.assert_array_equal(found, plain[:, ::-1])
    reader = FrameReader(
        size=16, crop_area=(0.25, 0.25), crop_ratio=(1.0, 1.0), mirror=False
    )
    for seed in range(20):
        found = pixels(reader.view(ramp(), np.random.default_rng(seed)))
        across = (found[8, -1, 0] - found[8, 0, 0]) * 16 / 15 * 79
        down = (found[-1, 8, 1] - found[0, 8, 1]) * 16 / 15 * 59
        assert across == pytest.approx(down, abs=2.5)
        assert across * down == pytest.approx(0.25 * 60 * 80, rel=0.1)
    # No draw fits: the middle square.
    reader = FrameReader(
        size=16, crop_ratio=(9.0, 9.0), crop_area=(0.9, 1.0), crop_draws=1
    )
    found = pixels(reader.view(ramp(), np.random.default_rng(0)))
    assert abs(found[8, -1, 0] - found[8, 0, 0]) < 0.75
    image = ImageReader(size=16, crop_area=None, mirror=False)
    np.testing.assert_array_equal(
        image.view(ramp(), np.random.default_rng(0)), plain
    )


@pytest.mark.parametrize(
    "number",
    [
        {"crop_area": (0.0, 1.0)},
        {"crop_area": (0.9, 0.1)},
        {"crop_area": (0.1, 1.1)},
        {"crop_area": 0.5},
        {"crop_ratio": (0.0, 1.0)},
        {"crop_ratio": None},
        {"crop_draws": 0},
        {"mirrored_fraction": 1.1},
        {"size": 0},
        {"frames": 1.5},
        {"per_second": 0},
        {"stored_side": -1},
    ],
)
def test_numbers_without_meaning(number):
    (name,) = number
    with pytest.raises(ValueError, match=f"{name}.*Received: {name}="):
        FrameReader(**number)


def test_training_draws_frames():
    """Each is taken at times; several are distinct and in order."""
    one, two = FrameReader(size=8), FrameReader(size=8, frames=2)
    seen = set()
    for seed in range(60):
        random = np.random.default_rng(seed)
        seen.add(round(8 * pixels(one.view(ramp(frames=9), random))[0, 0, 2]))
        first, second = pixels(two.view(ramp(frames=9), random))[:, 0, 0, 2]
        assert first < second
    assert seen == set(range(9))


def test_all_frames_of_a_sample_are_cropped_alike():
    view = FrameReader(size=8, frames=3).view(
        ramp(frames=9), np.random.default_rng(0)
    )
    np.testing.assert_array_equal(view[0, ..., :2], view[2, ..., :2])


def test_a_narrow_frame_has_a_crop():
    view = FrameReader(size=8).view(ramp(4, 400), np.random.default_rng(0))
    assert view.shape == (8, 8, 3) and np.isfinite(view).all()


def test_windows_of_a_wave():
    spectrogram = LogSpectrogram(1000, 1, window=10, hop=10, kind="density")
    # The loudness tells the place.
    wave = np.repeat(np.linspace(0.01, 0.9, 30), 100)
    wave = wave * np.tile([1, -1], 1500)

    def loudness(view):
        return np.exp(view.astype("float64")).sum(axis=0).mean()

    plain = AudioReader(spectrogram)
    drawn = AudioReader(spectrogram, random_window=True)
    random = np.random.default_rng(0)
    np.testing.assert_array_equal(plain.view(wave), plain.view(wave, random))
    np.testing.assert_array_equal(
        drawn.view(wave), spectrogram(wave, start=1000)
    )
    found = [loudness(drawn.view(wave, random)) for _ in range(40)]
    assert min(found) < loudness(spectrogram(wave, start=300))
    assert max(found) > loudness(spectrogram(wave, start=1700))
    # A short one is repeated before a part is drawn.
    repeated = AudioReader(spectrogram, random_window=True, at_least=3.0)
    np.testing.assert_array_equal(
        repeated.view(wave[:700]), spectrogram(wave[:700], start=1000)
    )
    assert drawn.view(wave[:700]).shape == spectrogram.shape


@pytest.mark.parametrize("side", [30, 1000])
def test_the_stored_frames(tmp_path, side):
    from keras_c2kd.data.paired_dataset import Source
    from tests.data.media_files import write_video

    write_video(tmp_path / "x.mp4", [(200, 0, 0)] * 25)
    reader = FrameReader(stored_side=side)
    frames = reader.prepare(Source(tmp_path / "x.mp4"))
    size = (30, 40) if side == 30 else (48, 64)
    assert frames.shape == (3, *size, 3) and frames.dtype == "uint8"


@pytest.mark.parametrize("dtype", ["float64", "int8", "bool"])
def test_numpy_files_are_read_as_they_are(tmp_path, dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    np.save(tmp_path / "x.npy", array)
    source = Source(tmp_path / "x.npy")
    for reader in (NumpyReader(), NumpyReader(shape=[2, 3])):
        found = reader.view(reader.prepare(source), np.random.default_rng(0))
        np.testing.assert_array_equal(found, array)
        assert found.dtype == dtype


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be opened (No such file or directory)"),
        (b"", "is no whole .npy file of numbers"),
        (b"a text", "is no whole .npy file of numbers"),
        (np.zeros(3), "has the shape (3,), not (2, 3)"),
        (np.array([{}]), "is no whole .npy file of numbers"),
    ],
)
def test_numpy_files_that_cannot_be_used(tmp_path, content, reason):
    path = tmp_path / "x.npy"
    if isinstance(content, np.ndarray):
        np.save(path, content)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(MediaError) as caught:
        NumpyReader(shape=(2, 3)).prepare(Source(path))
    assert caught.value.reason == reason


def test_a_numpy_file_that_is_cut(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.zeros(100))
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(MediaError, match="no whole .npy file"):
        NumpyReader().prepare(Source(path))
