"""From a part of a media file to what a network reads.

A reader has two halves: `prepare`, slow and the same every time, whose result
is cached; and `view`, which draws a crop, a window or frames in training.
"""

import dataclasses
import math
import pathlib
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import ClassVar

import keras
import numpy as np
from numpy.typing import NDArray

from keras_c2kd.data.media import MediaError
from keras_c2kd.data.media import read_audio
from keras_c2kd.data.media import read_frames
from keras_c2kd.data.media import read_image
from keras_c2kd.data.paired_dataset import Reader
from keras_c2kd.data.paired_dataset import Source
from keras_c2kd.data.spectrogram import LogSpectrogram
from keras_c2kd.utils.argument_checks import check_integer
from keras_c2kd.utils.argument_checks import check_number
from keras_c2kd.utils.argument_checks import check_positive

# Mean and standard deviation of ImageNet's pixels, red, green, blue, of 0 to 1.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
IMAGENET_PIXELS = (IMAGENET_MEAN, IMAGENET_STD)


@dataclasses.dataclass(frozen=True)
class AudioReader:
    """Sound to a log-spectrogram `(bins, frames, 1)`.

    Args:
        spectrogram: `LogSpectrogram`, with the rate of the wave.
        random_window: Whether training takes a random part of the wave; the
            first part otherwise. In evaluation it is then the middle one.
            Defaults to `False`.
        at_least: Float, seconds that a wave is repeated to before a random
            part is taken. Defaults to `0.0`.

    Example:
    >>> reader = AudioReader(LogSpectrogram(8000, 1.0, window=256, hop=128))
    >>> path = pathlib.Path(tempfile.mkdtemp(), "tone.wav")
    >>> soundfile.write(path, np.sin(np.arange(8000) / 10), 8000)
    >>> wave = reader.prepare(Source(path))
    >>> wave.shape, reader.view(wave).shape, reader.shape
    ((8000,), (129, 63, 1), (129, 63, 1))
    """

    spectrogram: LogSpectrogram
    random_window: bool = False
    at_least: float = 0.0

    source_type: ClassVar[type] = Source

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of a view."""
        return self.spectrogram.shape

    @property
    def settings(self) -> dict[str, Any]:
        """What the prepared array depends on."""
        return {"audio": 3, "rate": self.spectrogram.rate}

    def prepare(self, source: Source) -> NDArray[np.float32]:
        """Return the wave of a `Source`, float32 `(samples,)`.

        Raises:
            MediaError: As `read_audio`, and if the wave is silent.
        """
        wave = read_audio(
            source.path, self.spectrogram.rate, source.start, source.end
        )
        if not wave.any():
            raise MediaError(source.path, "is silent")
        return wave

    def view(
        self, wave: NDArray[Any], random: np.random.Generator | None = None
    ) -> NDArray[np.float32]:
        """Return the spectrogram; `random` is a generator in training."""
        start = 0
        if self.random_window:
            length = max(
                len(wave), round(self.at_least * self.spectrogram.rate)
            )
            room = max(length - self.spectrogram.samples, 0)
            start = room // 2
            if random is not None:
                start = int(random.integers(room + 1))
        return self.spectrogram(wave, start)


@dataclasses.dataclass(frozen=True)
class FrameReader:
    """Video to normalised frames `(size, size, 3)`, or several of them.

    In training: a random crop, resized, mirrored in half of the cases; all
    frames of a sample alike. In evaluation: the whole frame resized to a
    square, its sides not kept.

    Args:
        size: Integer, height and width of a view. Defaults to `224`.
        frames: Integer, frames of a sample; `1` (default) has no axis of
            frames. In training they are drawn, in evaluation they lie at
            equal distances; too few are repeated.
        per_second: Float, frames a second that are drawn from. Defaults to
            `1.0`.
        stored_side: Integer, shorter side of the frames in the cache.
            Defaults to `256`; larger ones are resized to it.
        mirror: Whether training mirrors. Defaults to `True`.
        first_frames: Whether the first frames are taken in training and
            evaluation, as the authors' code does. Defaults to `False`.
        mean: Three floats that are taken from pixels of 0 to 1. Defaults to
            ImageNet's.
        standard_deviation: Three floats by which the rest is divided.
            Defaults to ImageNet's.
        crop_area: Two floats between which training draws the part of the
            area that is seen; `None` for the whole frame, as in evaluation.
            Defaults to `(0.08, 1.0)`.
        crop_ratio: Two floats between which it draws the crop's width over
            its height. Defaults to `(3 / 4, 4 / 3)`.
        crop_draws: Integer, how often it draws until a crop fits into the
            frame; then the middle square is taken. Defaults to `10`.
        mirrored_fraction: Float, fraction of the training views that are
            mirrored. Defaults to `0.5`.

    Raises:
        ValueError: If a number has no meaning.

    Example:
    >>> reader = FrameReader(size=32, frames=3)
    >>> frames = np.zeros((10, 48, 64, 3), "uint8")  # As `prepare` returns.
    >>> reader.view(frames).shape, reader.shape
    ((3, 32, 32, 3), (3, 32, 32, 3))

    Reference: the authors' code for Huo et al., CVPR 2024 (which draws frame
    numbers and then takes the first listed files; this takes those drawn).
    """

    size: int = 224
    frames: int = 1
    per_second: float = 1.0
    stored_side: int = 256
    mirror: bool = True
    first_frames: bool = False
    mean: tuple[float, float, float] = IMAGENET_MEAN
    standard_deviation: tuple[float, float, float] = IMAGENET_STD
    crop_area: tuple[float, float] | None = (0.08, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    crop_draws: int = 10
    mirrored_fraction: float = 0.5

    source_type: ClassVar[type] = Source

    def __post_init__(self) -> None:
        """Check the numbers."""
        check_integer(
            minimum=1,
            size=self.size,
            frames=self.frames,
            stored_side=self.stored_side,
            crop_draws=self.crop_draws,
        )
        check_positive(per_second=self.per_second)
        check_number(
            minimum=0, maximum=1, mirrored_fraction=self.mirrored_fraction
        )
        _check_range("crop_ratio", self.crop_ratio, math.inf)
        if self.crop_area is not None:
            _check_range("crop_area", self.crop_area, 1.0)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a view."""
        shape = (self.size, self.size, 3)
        return shape if self.frames == 1 else (self.frames, *shape)

    @property
    def settings(self) -> dict[str, Any]:
        """What the prepared array depends on."""
        return {
            "frames": 2,
            "per_second": self.per_second,
            "stored_side": self.stored_side,
        }

    def prepare(self, source: Source) -> NDArray[np.uint8]:
        """Return all frames of a `Source`, uint8 `(n, height, width, 3)`."""
        frames = read_frames(
            source.path, self.per_second, source.start, source.end
        )
        return np.stack([self._stored(frame) for frame in frames])

    def _stored(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = frame.shape[:2]
        scale = self.stored_side / min(height, width)
        if scale >= 1.0:
            return frame
        return _resized(frame, (round(width * scale), round(height * scale)))

    def view(
        self,
        frames: NDArray[np.uint8],
        random: np.random.Generator | None = None,
    ) -> NDArray[np.float32]:
        """Return normalised frames; `random` is a generator in training."""
        total, height, width = frames.shape[:3]
        chosen = self._choose(total, random)
        box, flip = (0, 0, width, height), False
        if random is not None:
            if self.crop_area is not None:
                box = self._random_box(height, width, self.crop_area, random)
            flip = self.mirror and random.random() < self.mirrored_fraction
        size = (self.size, self.size)
        views = [_resized(frames[i], size, box) for i in chosen]
        values = np.stack(views).astype("float32") / 255.0
        if flip:
            values = values[:, :, ::-1]
        values = values - np.asarray(self.mean, "float32")
        values = values / np.asarray(self.standard_deviation, "float32")
        return values[0] if self.frames == 1 else values

    def _random_box(
        self,
        height: int,
        width: int,
        crop_area: tuple[float, float],
        random: np.random.Generator,
    ) -> tuple[int, int, int, int]:
        """Draw `(left, upper, right, lower)`; the middle if none fits."""
        for _ in range(self.crop_draws):
            pixels = height * width * random.uniform(*crop_area)
            aspect = math.exp(random.uniform(*np.log(self.crop_ratio)))
            w = round(math.sqrt(pixels * aspect))
            h = round(math.sqrt(pixels / aspect))
            if 0 < w <= width and 0 < h <= height:
                left = int(random.integers(width - w + 1))
                upper = int(random.integers(height - h + 1))
                return left, upper, left + w, upper + h
        side = min(height, width)
        left, upper = (width - side) // 2, (height - side) // 2
        return left, upper, left + side, upper + side

    def _choose(
        self, total: int, random: np.random.Generator | None
    ) -> NDArray[Any]:
        """Return the numbers of the frames to take, in order."""
        if self.first_frames:
            return np.minimum(np.arange(self.frames), total - 1)
        if random is None:
            middles = (np.arange(self.frames) + 0.5) * total / self.frames
            return middles.astype(int)
        several = total < self.frames
        return np.sort(random.choice(total, self.frames, replace=several))


@dataclasses.dataclass(frozen=True)
class ImageReader(FrameReader):
    """A photograph to a normalised image `(size, size, 3)`.

    Cropped, resized and mirrored as by `FrameReader`.

    Args:
        size: As for `FrameReader`; so are all others but those of time.

    Example:
    >>> path = pathlib.Path(tempfile.mkdtemp(), "grey.png")
    >>> Image.new("RGB", (64, 48)).save(path)
    >>> reader = ImageReader(size=32)
    >>> reader.view(reader.prepare(Source(path))).shape
    (32, 32, 3)
    """

    @property
    def settings(self) -> dict[str, Any]:
        """What the prepared array depends on."""
        return {"image": 1, "stored_side": self.stored_side}

    def prepare(self, source: Source) -> NDArray[np.uint8]:
        """Return the image of a `Source`, uint8 `(1, height, width, 3)`."""
        return self._stored(read_image(source.path))[None]


@dataclasses.dataclass(frozen=True)
class TextReader:
    """A text to what a network for texts reads.

    Args:
        tokens: Function from a list of texts to a dict of arrays
            `(texts, length)`, such as `models.BertTokens`.
        clean: Function from a text to a text, applied before. Defaults to
            nothing.

    Example:
    >>> def tokens(texts):
    ...     return {"words": np.asarray([[len(x.split())] for x in texts])}
    >>> reader = TextReader(tokens, clean=str.lower)
    >>> reader.view(reader.prepare("Water is rising"))
    {'words': array([3])}
    """

    tokens: Callable[[list[str]], Mapping[str, NDArray[Any]]]
    clean: Callable[[str], str] = str

    source_type: ClassVar[type] = str

    # Tokenising takes a millisecond, in every epoch.
    _known: dict[str, dict[str, NDArray[Any]]] = dataclasses.field(
        default_factory=dict, repr=False, compare=False
    )

    # Nothing on disk is slow here.
    settings: ClassVar[None] = None

    def prepare(self, source: str) -> dict[str, NDArray[Any]]:
        """Return the tokens of a string, a dict of arrays `(length,)`."""
        if source not in self._known:
            found = self.tokens([self.clean(source)])
            self._known[source] = {n: array[0] for n, array in found.items()}
        return self._known[source]

    def view(
        self,
        arrays: dict[str, NDArray[Any]],
        random: np.random.Generator | None = None,
    ) -> dict[str, NDArray[Any]]:
        """Return the tokens: nothing is drawn."""
        return arrays


@dataclasses.dataclass(frozen=True)
class NumpyReader:
    """The array of an `.npy` file, as it is.

    Args:
        shape: Tuple of integers that every array must have, or None (default)
            for any.

    Example:
    >>> path = pathlib.Path(tempfile.mkdtemp(), "wrist.npy")
    >>> np.save(path, np.zeros((64, 3), "float32"))
    >>> reader = NumpyReader(shape=(64, 3))
    >>> reader.view(reader.prepare(Source(path))).shape
    (64, 3)
    """

    shape: tuple[int, ...] | None = None

    source_type: ClassVar[type] = Source

    # A copy in a cache would be read no faster.
    settings: ClassVar[None] = None

    def prepare(self, source: Source) -> NDArray[Any]:
        """Return the array of a `Source`.

        Raises:
            MediaError: If the file cannot be opened, is no `.npy` file, or
                has an array of another shape.
        """
        try:
            with open(source.path, "rb") as file:
                array = np.lib.format.read_array(file, allow_pickle=False)
        except OSError as error:
            reason = f"cannot be opened ({error.strerror})"
            raise MediaError(source.path, reason) from error
        # Headers that are damaged are answered with any exception.
        except Exception as error:
            reason = "is no whole .npy file of numbers"
            raise MediaError(source.path, reason) from error
        if self.shape is not None and array.shape != tuple(self.shape):
            raise MediaError(
                source.path,
                f"has the shape {array.shape}, not {tuple(self.shape)}",
            )
        return array

    def view(
        self, array: NDArray[Any], random: np.random.Generator | None = None
    ) -> NDArray[Any]:
        """Return the array: nothing is drawn."""
        return array


@dataclasses.dataclass(frozen=True)
class FunctionReader:
    """What a function returns for the path of a file.

    Args:
        function: Function from a `pathlib.Path` to an array, or to a dict of
            arrays. What it raises is the reason why a file cannot be read.
    """

    function: Callable[[pathlib.Path], Any]

    source_type: ClassVar[type] = Source

    # Any object may come back, which no cache could keep.
    settings: ClassVar[None] = None

    def prepare(self, source: Source) -> Any:
        """Return the arrays of a `Source`.

        Raises:
            MediaError: If the function raises.
        """
        path = pathlib.Path(source.path)
        try:
            return self.function(path)
        except MediaError:
            raise
        except Exception as error:
            # What an OSError says else names the file once more.
            said = getattr(error, "strerror", None) or error
            reason = f"cannot be read ({type(error).__name__}: {said})"
            raise MediaError(path, reason) from error

    def view(
        self, arrays: Any, random: np.random.Generator | None = None
    ) -> Any:
        """Return the arrays: nothing is drawn."""
        return arrays


@dataclasses.dataclass(frozen=True)
class AugmentedReader:
    """What another reader returns, changed at random in training.

    Args:
        reader: `Reader`.
        augment: Function of a view and a `numpy.random.Generator`.
    """

    reader: Reader
    augment: Callable[[Any, np.random.Generator], Any]

    @property
    def source_type(self) -> type:
        """Type of a source."""
        return getattr(self.reader, "source_type", object)

    @property
    def settings(self) -> Mapping[str, Any] | None:
        """What the prepared array depends on."""
        return self.reader.settings

    def prepare(self, source: Any) -> Any:
        """Return what the reader keeps."""
        return self.reader.prepare(source)

    def view(
        self, prepared: Any, random: np.random.Generator | None = None
    ) -> Any:
        """Return the reader's view; in training, what is made of a copy."""
        view = self.reader.view(prepared, random)
        if random is None:
            return view
        return self.augment(keras.tree.map_structure(np.array, view), random)


def _resized(
    frame: NDArray[np.uint8],
    size: tuple[int, int],
    box: tuple[int, int, int, int] | None = None,
) -> NDArray[np.uint8]:
    """Resize a part of an image bilinearly to `(width, height)`."""
    from PIL import Image

    image = Image.fromarray(frame)
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR, box=box))


def _check_range(name: str, limits: Any, most: float) -> None:
    """Raise a ValueError for what are no two numbers to draw between."""
    is_pair = isinstance(limits, Sequence) and len(limits) == 2
    if not is_pair or not 0 < limits[0] <= limits[1] <= most:
        raise ValueError(
            f"`{name}` has two numbers above 0, the smaller one first"
            + (f", at most {most}" if most < math.inf else "")
            + f". Received: {name}={limits!r}"
        )
