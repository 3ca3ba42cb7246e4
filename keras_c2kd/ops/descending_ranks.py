"""Ranks of the classes by their score."""

import numpy as np
from keras import ops

from keras_c2kd.typing import Tensor


def descending_ranks(scores: Tensor, break_ties: bool = False) -> Tensor:
    """Rank of each class: 1 for the highest score.

    Ties share the smallest rank, `1 + number of higher scores`; with
    `break_ties` they are ordered by their index, as a stable sort does. NaN
    is higher than nothing and ranks first. Memory grows with the square of
    the number of classes.

    Args:
        scores: Float or integer tensor `(..., num_classes)`.
        break_ties: Whether equal scores get different ranks. Defaults to
            `False`.

    Returns:
        Int32 tensor of the same shape, without gradient.

    Example:
    >>> scores = np.array([[0.1, 0.7, 0.7, 0.3]])
    >>> print(ops.convert_to_numpy(descending_ranks(scores)))
    [[4 1 1 3]]
    """
    scores = ops.stop_gradient(ops.convert_to_tensor(scores))
    own = ops.expand_dims(scores, -1)
    others = ops.expand_dims(scores, -2)
    ahead = others > own
    if break_ties:
        index = np.arange(scores.shape[-1])
        earlier = ops.convert_to_tensor(index[None, :] < index[:, None])
        tied_before = ops.logical_and(others == own, earlier)
        ahead = ops.logical_or(ahead, tied_before)
    return 1 + ops.sum(ops.cast(ahead, "int32"), axis=-1)
