"""Waves to log-spectrograms, as the audio-visual experiments take them."""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_c2kd.utils.argument_checks import check_number

KINDS = ("magnitude", "density")


@dataclasses.dataclass(frozen=True)
class LogSpectrogram:
    """A wave of fixed length to the logarithm of its spectrogram.

    - `kind="magnitude"`: `log(|S| + epsilon)` of a short-time Fourier
      transform with a periodic Hann window, frames centred on multiples of
      the hop and zeros beyond the ends; what librosa's `stft` gives.
    - `kind="density"`: `log(P + epsilon)` of the power spectral density with
      a Tukey window, each frame less its mean, frames inside the wave; what
      SciPy's `signal.spectrogram` gives.

    Args:
        rate: Integer, samples a second of the wave.
        seconds: Float, length that every wave is brought to.
        window: Integer, samples of a frame; `window // 2 + 1` bins.
        hop: Integer, samples from one frame to the next.
        kind: `"magnitude"` (default) or `"density"`.
        epsilon: Float below the logarithm. Defaults to `1e-7`.
        standardize: Whether the clip is brought to mean 0 and standard
            deviation 1.
            Defaults to `False`.
        rewrapped_frames: Integer, number of frames that the values are
            wrapped to row by row, as the authors' code does for AVE (1024):
            each bin then begins behind where the last one ended, and the
            picture is sheared. `None` (default) leaves them as they are.
        tukey_shape: Float, the part of the window of `"density"` that is
            tapered. Defaults to `0.25`.

    Raises:
        ValueError: If `kind` is another, a frame is longer than the wave, or
            `tukey_shape` is not from 0 to 1.

    Example:
    >>> LogSpectrogram(rate=22050, seconds=3, window=512, hop=353).shape
    (257, 188, 1)

    Reference: the authors' code for Huo et al., CVPR 2024: CREMA-D 22,050 Hz,
    3 s, 512 / 353; VGGSound 16,000 Hz, 5 s, 256 / 128; AVE 16,000 Hz, 10 s,
    512 / 159, `"density"`, standardised.
    """

    rate: int
    seconds: float
    window: int
    hop: int
    kind: str = "magnitude"
    epsilon: float = 1e-7
    standardize: bool = False
    rewrapped_frames: int | None = None
    tukey_shape: float = 0.25

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.kind not in KINDS:
            raise ValueError(
                f"`kind` is one of {KINDS}. Received: kind={self.kind!r}"
            )
        check_number(minimum=0, maximum=1, tukey_shape=self.tukey_shape)
        if not 0 < self.hop <= self.window <= self.samples:
            raise ValueError(
                "A frame is at least one hop long and fits into the wave. "
                f"Received: hop={self.hop}, window={self.window}, "
                f"{self.samples} samples"
            )

    @property
    def samples(self) -> int:
        """Length of the wave, in samples."""
        return round(self.rate * self.seconds)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the result: `(bins, frames, 1)`."""
        beyond = 0 if self.kind == "magnitude" else self.window
        frames = 1 + (self.samples - beyond) // self.hop
        frames = self.rewrapped_frames or frames
        return (self.window // 2 + 1, frames, 1)

    def __call__(
        self, wave: NDArray[Any], start: int = 0
    ) -> NDArray[np.float32]:
        """Return the spectrogram of a part of a wave.

        Args:
            wave: Float array `(samples,)`, at least one sample. It is
                repeated until it reaches to the end of the part.
            start: Integer, first sample of the part. Defaults to `0`.

        Returns:
            Float32 array of shape `self.shape`.
        """
        wave = part_of(wave, start, self.samples).astype("float64")
        wave = np.clip(wave, -1.0, 1.0)
        if self.kind == "magnitude":
            values = self._magnitude(wave)
        else:
            values = self._density(wave)
        values = np.log(values + self.epsilon)
        if self.standardize:
            values = values - values.mean()
            values = values / max(values.std(), 1e-9)
        if self.rewrapped_frames is not None:
            values = np.resize(values, self.shape[:2])
        return values.astype("float32")[..., None]

    def _magnitude(self, wave: NDArray[Any]) -> NDArray[Any]:
        half = self.window // 2
        frames = self._frames(np.pad(wave, half))
        window = 0.5 - 0.5 * np.cos(
            2.0 * np.pi * np.arange(self.window) / self.window
        )
        return np.abs(np.fft.rfft(frames * window, axis=-1)).T

    def _density(self, wave: NDArray[Any]) -> NDArray[Any]:
        import scipy.signal

        return scipy.signal.spectrogram(
            wave,
            self.rate,
            window=("tukey", self.tukey_shape),
            nperseg=self.window,
            noverlap=self.window - self.hop,
            detrend="constant",
        )[2]

    def _frames(self, wave: NDArray[Any]) -> NDArray[Any]:
        frames = np.lib.stride_tricks.sliding_window_view(wave, self.window)
        return frames[:: self.hop]


def part_of(wave: NDArray[Any], start: int, samples: int) -> NDArray[Any]:
    """Return a part of a wave that is repeated as often as needed.

    Args:
        wave: Array `(length,)`, at least one sample.
        start: Integer, first sample.
        samples: Integer, length of the part.

    Returns:
        Array `(samples,)`.

    Raises:
        ValueError: If the wave is empty or has several channels.
    """
    wave = np.asarray(wave)
    if wave.ndim != 1 or not len(wave):
        raise ValueError(
            "A wave has one axis and at least one sample. Received: shape "
            f"{wave.shape}"
        )
    repeats = -(-(start + samples) // len(wave))
    return np.tile(wave, repeats)[start : start + samples]
