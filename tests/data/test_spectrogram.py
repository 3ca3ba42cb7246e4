import numpy as np
import pytest

from keras_c2kd.data.spectrogram import LogSpectrogram
from keras_c2kd.data.spectrogram import part_of

pytestmark = pytest.mark.backend_free

CREMA_D = LogSpectrogram(22050, 3, 512, 353)
VGGSOUND = LogSpectrogram(16000, 5, 256, 128)
AVE = LogSpectrogram(16000, 10, 512, 159, "density", standardize=True)
ALL = {"crema_d": CREMA_D, "vggsound": VGGSOUND, "ave": AVE}


def dft(frame):
    """The transform of one frame from its definition."""
    places = np.arange(len(frame))
    bins = np.arange(len(frame) // 2 + 1)
    return np.exp(-2j * np.pi * np.outer(bins, places) / len(frame)) @ frame


def by_hand(settings, wave, column):
    """One column of the spectrogram, from the formulas."""
    n, hop, tukey = settings.window, settings.hop, settings.tukey_shape
    places = np.arange(n)
    if settings.kind == "magnitude":
        window = np.sin(np.pi * places / n) ** 2
        first = column * hop - n // 2
        frame = [
            wave[i] if 0 <= i < len(wave) else 0.0
            for i in range(first, first + n)
        ]
        return np.log(np.abs(dft(np.asarray(frame) * window)) + 1e-7)
    # A Tukey window (periodic): cosine flanks, of an eighth by default.
    edge = tukey * n / 2
    window = np.ones(n)
    rise = places < edge
    window[rise] = 0.5 - 0.5 * np.cos(np.pi * places[rise] / edge)
    fall = places > n - edge
    window[fall] = 0.5 - 0.5 * np.cos(np.pi * (n - places[fall]) / edge)
    frame = wave[column * hop : column * hop + n]
    power = np.abs(dft((frame - frame.mean()) * window)) ** 2
    power /= settings.rate * (window**2).sum()
    power[1:-1] *= 2.0  # Both halves of the spectrum.
    return np.log(power + 1e-7)


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        (CREMA_D, (257, 188, 1)),
        (VGGSOUND, (129, 626, 1)),
        (AVE, (257, 1004, 1)),
        (
            LogSpectrogram(8000, 1, 64, 50, "density", tukey_shape=0.5),
            (33, 159, 1),
        ),
    ],
    ids=[*ALL, "another window"],
)
def test_shapes_and_values(settings, shape):
    wave = np.random.default_rng(0).uniform(-1.3, 1.3, settings.samples + 100)
    found = settings(wave, start=100)
    assert found.shape == settings.shape == shape
    assert found.dtype == "float32"
    wave = np.clip(wave[100:], -1, 1)
    if settings.standardize:
        assert found.mean() == pytest.approx(0, abs=1e-4)
        assert found.std() == pytest.approx(1, abs=1e-4)
        plain = LogSpectrogram(16000, 10, 512, 159, "density")(wave)
        expected = (plain - plain.mean()) / plain.std()
        np.testing.assert_allclose(found, expected, atol=1e-4)
        found = plain
    # Both ends, where frames reach beyond the wave, and between.
    for column in (0, 1, shape[1] // 2, shape[1] - 2, shape[1] - 1):
        np.testing.assert_allclose(
            found[:, column, 0], by_hand(settings, wave, column), atol=1e-4
        )


def test_equals_scipy():
    import scipy.signal

    wave = np.random.default_rng(0).uniform(-1, 1, CREMA_D.samples)
    window = scipy.signal.get_window("hann", 512)
    _, _, values = scipy.signal.stft(
        wave, window=window, nperseg=512, noverlap=512 - 353, padded=False
    )
    expected = np.log(np.abs(values * window.sum()) + 1e-7)
    np.testing.assert_allclose(CREMA_D(wave)[..., 0], expected, atol=1e-4)


@pytest.mark.parametrize("settings", ALL.values(), ids=ALL)
def test_short_and_silent_waves(settings):
    short = np.random.default_rng(0).uniform(-1, 1, 700)
    long = np.tile(short, 1 + settings.samples // 700)
    np.testing.assert_array_equal(settings(short), settings(long))
    silent = settings(np.zeros(50))
    assert np.isfinite(silent).all()
    expected = 0.0 if settings.standardize else np.log(1e-7)
    np.testing.assert_allclose(silent, expected, atol=1e-5)


def test_parts():
    wave = np.arange(5)
    np.testing.assert_array_equal(part_of(wave, 3, 4), [3, 4, 0, 1])
    np.testing.assert_array_equal(part_of(wave, 0, 2), [0, 1])
    for bad in (np.zeros(0), np.zeros((2, 5))):
        with pytest.raises(ValueError, match="at least one sample"):
            part_of(bad, 0, 3)


def test_bad_arguments():
    with pytest.raises(ValueError, match="kind='mel'"):
        LogSpectrogram(16000, 5, 256, 128, "mel")
    with pytest.raises(ValueError, match="fits into the wave.*100 samples"):
        LogSpectrogram(100, 1, 256, 128)
