"""Scenes in colour and depth with a label a pixel, as paired batches."""

import dataclasses
import os
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_c2kd.data.epoch_dataset import Batch
from keras_c2kd.data.epoch_dataset import EpochDataset
from keras_c2kd.data.media import MediaError
from keras_c2kd.data.modality_readers import IMAGENET_MEAN
from keras_c2kd.data.modality_readers import IMAGENET_STD
from keras_c2kd.data.paired_dataset import PairedDataset
from keras_c2kd.data.paired_dataset import Reader
from keras_c2kd.data.paired_dataset import Sample
from keras_c2kd.utils.argument_checks import check_number
from keras_c2kd.utils.argument_checks import check_positive

# Label of the pixels that no loss and no metric counts, for
# `keras.losses.SparseCategoricalCrossentropy(ignore_class=IGNORED)` and
# `keras.metrics.MeanIoU(ignore_class=IGNORED)`. No number of classes makes it
# a class.
IGNORED = -1

# Key of the reader of labels; the others are modalities.
LABELS = "labels"

# Metres that are told apart; what is nearer or farther counts as at the end.
NEAREST, FARTHEST = 0.3, 10.0

# A function of metres, and the mean and standard deviation of its values. The
# first two are those of NYU-Depth V2's training images, 2.842 and 1.417 metres,
# as published with ESANet (Seichter et al., ICRA 2021); the others are those of
# log-normal depths with these two.
DEPTH_ENCODINGS = {
    "metres": (np.positive, 2.842, 1.417),
    "log": (np.log, 0.933, 0.471),
    "disparity": (np.reciprocal, 0.440, 0.219),
}


@dataclasses.dataclass(frozen=True)
class Window:
    """What is seen of a scene, and at which size.

    Args:
        size: Height and width of a view.
        rows: Float array, for each row of the view that lies in the scene the
            position in the scene's pixels; the rows below are padding.
        columns: The same for the columns, with the padding at the right.
        scale: Float, by which the scene is magnified. Defaults to `1.0`.
        mirrored: Whether left and right are exchanged, after the padding.
            Defaults to `False`.
    """

    size: tuple[int, int]
    rows: NDArray[Any]
    columns: NDArray[Any]
    scale: float = 1.0
    mirrored: bool = False

    def interpolate(self, image: NDArray[Any]) -> NDArray[Any]:
        """Return the part of an image that is seen, bilinear."""
        return _interpolate(_interpolate(image, self.rows, 0), self.columns, 1)

    def take(self, image: NDArray[Any]) -> NDArray[Any]:
        """Return the part that is seen, each pixel from the nearest one."""
        rows, columns = (
            np.floor(positions + 0.5).astype("int64")
            for positions in (self.rows, self.columns)
        )
        return image[rows[:, None], columns]

    def pad(self, part: NDArray[Any], value: float) -> NDArray[Any]:
        """Return a part in its position in the view, the rest a value."""
        if part.shape[:2] != tuple(self.size):
            view = np.full((*self.size, *part.shape[2:]), value, part.dtype)
            view[: part.shape[0], : part.shape[1]] = part
            part = view
        return part[:, ::-1] if self.mirrored else part


def _interpolate(
    image: NDArray[Any], positions: NDArray[Any], axis: int
) -> NDArray[Any]:
    """Return an image at some positions of an axis, linear between pixels."""
    last = image.shape[axis] - 1
    positions = np.clip(positions, 0, last)
    before = positions.astype("int64")
    weights = (positions - before).astype("float32")
    first = np.take(image, before, axis)
    if not weights.any():
        return first
    weights = weights.reshape(-1, *[1] * (image.ndim - 1 - axis))
    if axis:
        # Numpy is slow along axes as short as that of the channels.
        weights = np.broadcast_to(weights, first.shape[axis:]).copy()
    mixed = np.take(image, np.minimum(before + 1, last), axis)
    mixed = mixed.astype("float32")
    mixed -= first
    mixed *= weights
    mixed += first
    return mixed


@dataclasses.dataclass(frozen=True)
class ScenePlacement:
    """How scenes come into the views of a fixed size.

    In training a scene is resized by a random scale, padded below and at the
    right where it is then smaller than the crop, cropped at random, and
    mirrored at random. In evaluation it is seen whole and as it
    is, and only padded.

    Args:
        crop: Height and width of the views in training; None (default) for
            those of evaluation, so that one network of a fixed size reads
            both.
        evaluation_size: Height and width in evaluation, at least those of
            the scenes; None (default) for the scenes' own.
        scales: Floats, one of which is drawn. Defaults to `(1.0,)`.
        mirror: Whether training mirrors. Defaults to `True`.
        mirrored_fraction: Float, fraction of the scenes that it mirrors.
            Defaults to `0.5`.

    Raises:
        ValueError: If a size or a scale is not positive, or, when a scene is
            seen, `evaluation_size` would cut it.

    Example:
    >>> placement = ScenePlacement(crop=(24, 32), scales=(0.5, 1.0, 2.0))
    >>> placement.window(48, 64).size  # Evaluation sees the whole scene.
    (48, 64)
    >>> placement.window(48, 64, np.random.default_rng(0)).size
    (24, 32)

    Reference: Yang et al., CVPR 2022 (CIRKD), the authors' code: scales of
    0.5 to 2.0, padding, crop and mirror in this order.
    """

    crop: tuple[int, int] | None = None
    evaluation_size: tuple[int, int] | None = None
    scales: Sequence[float] = (1.0,)
    mirror: bool = True
    mirrored_fraction: float = 0.5

    def __post_init__(self) -> None:
        """Check the numbers."""
        check_number(
            minimum=0, maximum=1, mirrored_fraction=self.mirrored_fraction
        )
        sizes = [self.crop, self.evaluation_size]
        if any(len(size) != 2 or min(size) < 1 for size in sizes if size):
            raise ValueError(
                "A size is a height and a width, each at least 1. Received: "
                f"crop={self.crop}, evaluation_size={self.evaluation_size}"
            )
        if not self.scales or min(self.scales) <= 0:
            raise ValueError(
                "There must be scales, all above 0; (1.0,) leaves the scenes "
                f"as they are. Received: scales={self.scales}"
            )

    def window(
        self, height: int, width: int, random: np.random.Generator | None = None
    ) -> Window:
        """Return the `Window` of a scene.

        Args:
            height: Integer, the scene's.
            width: Integer, the scene's.
            random: Generator in training, None in evaluation. Equal ones
                give equal windows.
        """
        size = self.evaluation_size or (height, width)
        if size[0] < height or size[1] < width:
            raise ValueError(
                "Evaluation sees whole scenes, so `evaluation_size` is at "
                f"least theirs, {(height, width)}. Received: "
                f"evaluation_size={size}"
            )
        if random is None:
            return Window(size, np.arange(height), np.arange(width))
        size = self.crop or size
        scale = self.scales[int(random.integers(len(self.scales)))]
        rows, columns = (
            _seen(length, scale, wanted, random)
            for length, wanted in zip((height, width), size)
        )
        mirrored = self.mirror and random.random() < self.mirrored_fraction
        return Window(size, rows, columns, scale, mirrored)


def _seen(
    length: int, scale: float, wanted: int, random: np.random.Generator
) -> NDArray[Any]:
    """Draw which positions of a resized axis are seen, in its own pixels."""
    resized = max(round(length * scale), 1)
    start = random.integers(max(resized - wanted, 0) + 1)
    positions = start + np.arange(min(wanted, resized))
    # A pixel's position is its middle, before and after resizing.
    return (positions + 0.5) * length / resized - 0.5


@dataclasses.dataclass(frozen=True)
class SceneReader:
    """A part of a scene, from where it is kept to what is trained on.

    All parts of a sample are given equal random generators and draw nothing
    but the window, so that they lie on one another.

    Args:
        placement: `ScenePlacement`, the same for all parts.
        read: Function from a sample's source to the part, an array
            `(height, width, ...)`. Defaults to the source itself.
        settings: Dict of what the array depends on besides its file; None
            (default) for what needs no cache.
    """

    placement: ScenePlacement
    read: Callable[[Any], NDArray[Any]] = np.asarray
    settings: Mapping[str, Any] | None = None

    def prepare(self, source: Any) -> NDArray[Any]:
        """Return the part as it is kept."""
        return self.read(source)

    def _window(
        self, array: NDArray[Any], random: np.random.Generator | None
    ) -> Window:
        return self.placement.window(len(array), array.shape[1], random)


@dataclasses.dataclass(frozen=True)
class ColourReader(SceneReader):
    """Colour of 0 to 255 to normalised pixels `(height, width, 3)`.

    Resized bilinearly, without smoothing before it is made smaller. Padding
    is 0, the mean colour.

    Args:
        placement: As for `SceneReader`; so are `read` and `settings`.
        mean: Three floats that are taken from pixels of 0 to 1. Defaults to
            ImageNet's.
        standard_deviation: Three floats by which the rest is divided.
            Defaults to ImageNet's.

    Example:
    >>> reader = ColourReader(ScenePlacement())
    >>> view = reader.view(np.zeros((48, 64, 3), "uint8"))
    >>> view.shape, view.dtype
    ((48, 64, 3), dtype('float32'))
    """

    mean: tuple[float, float, float] = IMAGENET_MEAN
    standard_deviation: tuple[float, float, float] = IMAGENET_STD

    def view(
        self, array: NDArray[Any], random: np.random.Generator | None = None
    ) -> NDArray[np.float32]:
        """Return the normalised pixels; `random` is there in training."""
        window = self._window(array, random)
        pixels = window.interpolate(array).astype("float32", copy=False)
        # Rows of numbers, as numpy is slow along so short an axis.
        factor, offset = (
            np.broadcast_to(np.float32(values), pixels.shape[1:]).copy()
            for values in (
                1 / np.multiply(255, self.standard_deviation),
                np.divide(self.mean, self.standard_deviation),
            )
        )
        pixels *= factor
        pixels -= offset
        return window.pad(pixels, 0.0)


@dataclasses.dataclass(frozen=True)
class DepthReader(SceneReader):
    """Depth in metres to numbers of about mean 0 and standard deviation 1.

    `(e(min(max(depth, nearest), farthest)) - mean) / standard_deviation`, where
    `e` is the depth itself, its logarithm or its reciprocal, with the constants
    of `DEPTH_ENCODINGS`. A pixel of depth 0 was not measured: it is 0 in the
    result, and so is padding. Each pixel is taken from the nearest one, for a
    mean of two surfaces is a third one that is not there.

    Args:
        placement: As for `SceneReader`; so are `read` and `settings`.
        encoding: `"metres"` (default), `"log"` or `"disparity"`.
        channels: Integer, copies of the result: 3 for networks that were
            trained on colour before. Defaults to `1`.
        scale_depth: Whether the depth of a scene that is seen `s` times
            larger is divided by `s`, as if the camera had come so much
            nearer: sizes in pixels and depths then belong together as for one
            camera. Defaults to `True`.
        nearest: Float, metres; what is nearer counts as so far. Defaults to
            `NEAREST`, 0.3.
        farthest: Float, metres; what is farther counts as so far. Defaults to
            `FARTHEST`, 10.

    Raises:
        ValueError: If the encoding is unknown, there is no channel, or
            `nearest` is not above 0 and below `farthest`.

    Example:
    >>> reader = DepthReader(ScenePlacement(), encoding="log", channels=3)
    >>> reader.view(np.full((48, 64), 2.5, "float32")).shape
    (48, 64, 3)
    """

    encoding: str = "metres"
    channels: int = 1
    scale_depth: bool = True
    nearest: float = NEAREST
    farthest: float = FARTHEST

    def __post_init__(self) -> None:
        """Check the encoding."""
        if self.encoding not in DEPTH_ENCODINGS:
            raise ValueError(
                f"A depth encoding is one of {tuple(DEPTH_ENCODINGS)}. "
                f"Received: {self.encoding!r}"
            )
        if self.channels < 1:
            raise ValueError(
                "Depth has at least one channel. Received: "
                f"channels={self.channels}"
            )
        check_positive(nearest=self.nearest, farthest=self.farthest)
        if self.nearest >= self.farthest:
            raise ValueError(
                "Depths are told apart from `nearest` to `farthest`. Received: "
                f"nearest={self.nearest}, farthest={self.farthest}"
            )

    def prepare(self, source: Any) -> NDArray[Any]:
        """Return the depth as it is kept.

        Raises:
            MediaError: If it is not finite.
        """
        depth = super().prepare(source)
        if not np.isfinite(depth).all():
            raise MediaError(_name_of(source), "has a depth of NaN or infinity")
        return depth

    def view(
        self, array: NDArray[Any], random: np.random.Generator | None = None
    ) -> NDArray[np.float32]:
        """Return the encoded depth; `random` is there in training."""
        window = self._window(array, random)
        depth = window.take(array)
        measured = depth > 0
        if self.scale_depth and window.scale != 1.0:
            depth = depth / np.float32(window.scale)
        function, mean, standard_deviation = DEPTH_ENCODINGS[self.encoding]
        limits = float(self.nearest), float(self.farthest)
        values = function(np.clip(depth, *limits))
        values = (values - np.float32(mean)) / np.float32(standard_deviation)
        view = window.pad(values * measured, 0.0)
        return np.broadcast_to(view[..., None], (*view.shape, self.channels))


@dataclasses.dataclass(frozen=True)
class LabelReader(SceneReader):
    """A number a pixel to classes, int32 `(height, width)`.

    Each pixel is taken from the nearest one. Padding is `IGNORED`.

    Args:
        placement: As for `SceneReader`; so are `read` and `settings`.
        classes: Integer array: the class of each number, or `IGNORED`.

    Example:
    >>> reader = LabelReader(ScenePlacement(), classes=[-1, 0, 1])
    >>> reader.view(np.asarray([[0, 1], [2, 1]]))
    array([[-1,  0],
           [ 1,  0]], dtype=int32)
    """

    classes: Sequence[int] | NDArray[Any] = ()

    def prepare(self, source: Any) -> NDArray[Any]:
        """Return the numbers as they are kept.

        Raises:
            MediaError: If one of them has no class.
        """
        numbers = super().prepare(source)
        if not 0 <= numbers.min() <= numbers.max() < len(self.classes):
            raise MediaError(
                _name_of(source),
                f"has labels from {numbers.min()} to {numbers.max()}, which "
                f"go from 0 to {len(self.classes) - 1}",
            )
        return numbers

    def view(
        self, array: NDArray[Any], random: np.random.Generator | None = None
    ) -> NDArray[np.int32]:
        """Return the classes; `random` is there in training."""
        window = self._window(array, random)
        classes = np.asarray(self.classes, "int32")
        return window.pad(classes[window.take(array)], IGNORED)


def _name_of(source: Any) -> str | os.PathLike[str]:
    """Return the file of a part; those that are not read have none."""
    return getattr(source, "path", "an array")


class SceneDataset(PairedDataset):
    """Batches `({modality: array}, labels)` of scenes, a label a pixel.

    As `PairedDataset`, whose samples' `label` only enters the fingerprint
    here: it is any number that others' labels would not have. Scale, crop
    and mirror are drawn once for all parts of a sample. A second view of a
    modality, which labels must fit too, is the same view.

    Args:
        samples: List of `Sample`, with a source for each reader.
        readers: Dict from the modality to a `SceneReader`, and from
            `"labels"` to a `LabelReader`.
        **kwargs: As for `PairedDataset`.

    Example:
    >>> placement = ScenePlacement()
    >>> readers = {
    ...     "rgb": ColourReader(placement),
    ...     "labels": LabelReader(placement, classes=np.arange(2)),
    ... }
    >>> scene = {
    ...     "rgb": np.zeros((48, 64, 3), "uint8"),
    ...     "labels": np.zeros((48, 64), "uint8"),
    ... }
    >>> inputs, labels = SceneDataset([Sample("one", 0, scene)], readers)[0]
    >>> inputs["rgb"].shape, labels.shape
    ((1, 48, 64, 3), (1, 48, 64))
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        readers: Mapping[str, Reader],
        **kwargs: Any,
    ) -> None:
        super().__init__(samples, readers, **kwargs)
        self.chosen = tuple(name for name in readers if name != LABELS)

    def batch(self, indices: Sequence[int] | NDArray[Any]) -> Batch:
        """Return `(inputs, labels)` of some samples."""
        inputs, _ = super().batch(indices)
        return inputs, self._views(LABELS, indices)

    def _read_labels(self) -> NDArray[Any]:
        # No scene is read but for its labels.
        return EpochDataset._read_labels(self.select(()))

    def _views(
        self,
        modality: str,
        indices: Sequence[int] | NDArray[Any],
        view: int = 0,
    ) -> NDArray[Any]:
        """Return some samples' views, with the same draws for all parts."""
        reader = self.readers[modality]
        return np.stack(
            [
                reader.view(self._prepared(modality, i), self.random_of(i))
                for i in indices
            ]
        )
