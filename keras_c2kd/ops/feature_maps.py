"""Feature maps in one form and size, channels last."""

from collections.abc import Callable
from collections.abc import Sequence

import numpy as np
from keras import ops

from keras_c2kd.typing import Array
from keras_c2kd.typing import Shape
from keras_c2kd.typing import Tensor


def as_map(features: Tensor) -> Tensor:
    """View features of any network as `(batch, height, width, channels)`.

    A pooled vector is a map of one position, a sequence a map of width 1, and
    the frames of a video are averaged.

    Args:
        features: Float tensor `(batch, channels)`, `(batch, time, channels)`,
            `(batch, height, width, channels)` or
            `(batch, frames, height, width, channels)`.

    Returns:
        Float tensor of rank 4.

    Raises:
        ValueError: If the rank is not from 2 to 5.

    Example:
    >>> sequence = ops.ones((2, 10, 8))
    >>> tuple(as_map(sequence).shape)
    (2, 10, 1, 8)
    """
    map_shape(features.shape)
    rank = len(features.shape)
    if rank == 5:
        return ops.mean(features, axis=1)
    if rank == 3:
        return ops.expand_dims(features, 2)
    if rank == 2:
        return ops.expand_dims(ops.expand_dims(features, 1), 1)
    return features


def map_shape(features_shape: Sequence[int | None]) -> Shape:
    """Return the shape that `as_map` gives to features of a shape.

    Args:
        features_shape: Tuple, batch axis first.

    Returns:
        Tuple `(batch, height, width, channels)`.

    Raises:
        ValueError: If the rank is not from 2 to 5.

    Example:
    >>> map_shape((None, 10, 8))
    (None, 10, 1, 8)
    """
    shape = tuple(features_shape)
    if len(shape) == 2:
        return (shape[0], 1, 1, shape[1])
    if len(shape) == 3:
        return (shape[0], shape[1], 1, shape[2])
    if len(shape) == 4:
        return shape
    if len(shape) == 5:
        return (shape[0], *shape[2:])
    raise ValueError(
        "Features are vectors (batch, channels) or channels-last maps with 1 "
        "to 3 axes between batch and channels. Received: features of shape "
        f"{shape}. Tap another layer with `student_features=` / "
        "`teacher_features=`."
    )


def global_average_pool(features: Tensor, mask: Tensor | None = None) -> Tensor:
    """Average over all axes between the first and the last.

    Args:
        features: Float tensor of rank 2 or more, channels last.
        mask: Boolean tensor `(batch, ...)` of the shape of the features or of
            its first axes, False at positions that do not count; or None.

    Returns:
        Float tensor `(batch, channels)`; 0 where no position counts.

    Example:
    >>> sequence = ops.convert_to_tensor([[[1.0], [3.0], [9.0]]])
    >>> mask = ops.convert_to_tensor([[True, True, False]])
    >>> print(ops.convert_to_numpy(global_average_pool(sequence, mask)))
    [[2.]]
    """
    axes = tuple(range(1, len(features.shape) - 1))
    if mask is None or not axes:
        return ops.mean(features, axis=axes) if axes else features
    counted = ops.cast(mask, features.dtype)
    while len(counted.shape) < len(features.shape):
        counted = ops.expand_dims(counted, -1)
    counted = ops.broadcast_to(counted, ops.shape(features))
    total = ops.sum(ops.multiply(features, counted), axis=axes)
    return ops.divide_no_nan(total, ops.sum(counted, axis=axes))


def resize_nearest(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize maps by taking the nearest position, rounding down.

    `output[i] = input[floor(i * old / new)]` in each direction, as PyTorch
    does it; `keras.ops.image.resize` takes the centres of the pixels, which
    differs for factors that are not whole.

    Args:
        maps: Tensor `(batch, height, width, channels)`, static height and
            width.
        size: Two integers, the new height and width.

    Returns:
        Tensor `(batch, *size, channels)`.

    Example:
    >>> maps = ops.reshape(ops.arange(4.0), (1, 1, 4, 1))
    >>> print(ops.convert_to_numpy(resize_nearest(maps, (1, 2))).ravel())
    [0. 2.]
    """
    for axis, new in zip((1, 2), size):
        old = maps.shape[axis]
        if old != new:
            positions = np.arange(new) * old // new
            maps = ops.take(maps, positions.astype("int32"), axis=axis)
    return maps


def resize_bilinear(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize maps bilinearly so that their corners stay where they are.

    PyTorch's `align_corners=True`: the first and the last position of an
    axis keep their values, the others are interpolated at equal distances. An
    axis of length 1 is repeated, an axis that becomes 1 keeps its first
    position.

    Args:
        maps: Float tensor `(batch, height, width, channels)`, static height
            and width.
        size: Two integers, the new height and width.

    Returns:
        Float tensor `(batch, *size, channels)`.

    Example:
    >>> maps = ops.reshape(ops.arange(2.0), (1, 1, 2, 1))
    >>> print(ops.convert_to_numpy(resize_bilinear(maps, (1, 3))).ravel())
    [0.  0.5 1. ]
    """
    return _resample(maps, size, _interpolation)


def adaptive_average_pool(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Average maps over a given number of bins, which may overlap.

    Bin `i` of `n` holds the positions from `floor(i * old / n)` to
    `ceil((i + 1) * old / n)`, as PyTorch has it. `keras.ops` has this pooling
    too, but on TensorFlow it fails for sizes such as 6 to 4.

    Args:
        maps: Float tensor `(batch, height, width, channels)`, static height
            and width.
        size: Two integers, the new height and width.

    Returns:
        Float tensor `(batch, *size, channels)`.

    Example:
    >>> maps = ops.reshape(ops.arange(4.0), (1, 1, 4, 1))
    >>> pooled = adaptive_average_pool(maps, (1, 3))
    >>> print(ops.convert_to_numpy(pooled).ravel())
    [0.5 1.5 2.5]
    """
    return _resample(maps, size, _binning)


def _resample(
    maps: Tensor, size: tuple[int, int], weights_of: Callable[[int, int], Array]
) -> Tensor:
    """Apply a `(new, old)` matrix of weights to each direction."""
    height, width = maps.shape[1:3]
    if height != size[0]:
        weights = ops.convert_to_tensor(weights_of(height, size[0]), maps.dtype)
        maps = ops.einsum("oh,bhwc->bowc", weights, maps)
    if width != size[1]:
        weights = ops.convert_to_tensor(weights_of(width, size[1]), maps.dtype)
        maps = ops.einsum("ow,bhwc->bhoc", weights, maps)
    return maps


def _binning(old: int, new: int) -> Array:
    """Return the `(new, old)` matrix of means over bins."""
    positions = np.arange(old)
    bins = np.arange(new)[:, None]
    first, last = bins * old // new, -(-(bins + 1) * old // new)
    counted = (first <= positions) & (positions < last)
    return counted / counted.sum(axis=1, keepdims=True)


def _interpolation(old: int, new: int) -> Array:
    """Return the `(new, old)` matrix of linear interpolation."""
    positions = np.arange(new) * ((old - 1) / max(new - 1, 1))
    lower = np.minimum(positions.astype("int64"), max(old - 2, 0))
    fraction = positions - lower
    weights = np.zeros((new, old))
    weights[np.arange(new), lower] += 1.0 - fraction
    weights[np.arange(new), np.minimum(lower + 1, old - 1)] += fraction
    return weights
