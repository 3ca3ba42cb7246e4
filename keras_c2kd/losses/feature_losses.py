"""Distances between feature maps."""

import keras
from keras import ops

from keras_c2kd.ops import adaptive_average_pool
from keras_c2kd.ops import full_precision
from keras_c2kd.ops import full_precision_dtype
from keras_c2kd.ops.numerics import check_same_shape
from keras_c2kd.typing import DType
from keras_c2kd.typing import Tensor


@keras.saving.register_keras_serializable("keras_c2kd.losses")
class FeatureMeanSquaredError(keras.losses.Loss):
    """Mean squared difference of two feature maps, one number a sample.

    `loss_b = mean((target_b - learner_b)^2)` over all positions and channels.
    The target is held constant. Unlike Keras' `MeanSquaredError` it reduces
    whole samples, so that one weight a sample can be given.

    Args:
        reduction: As for every Keras loss.
        name: Name of the loss.
        dtype: As for every Keras loss.

    Call arguments:
        y_true: Target features, shape `(batch, ...)`.
        y_pred: Learner features, of the same shape.
        sample_weight: Optional, shape `(batch,)`.

    Example:
    >>> target = np.arange(32.0).reshape(2, 4, 4, 1)
    >>> learner = target + np.array([[[[1.0]]], [[[2.0]]]])
    >>> loss = FeatureMeanSquaredError()
    >>> round(float(loss(target, learner)), 3)
    2.5

    Reference: Romero et al., ICLR 2015, Eq. 3.
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "feature_mean_squared_error",
        dtype: DType | None = None,
    ) -> None:
        dtype = full_precision_dtype() if dtype is None else dtype
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the mean squared difference of each sample."""
        return _mean_squares(ops.stop_gradient(y_true), y_pred)


@keras.saving.register_keras_serializable("keras_c2kd.losses")
class HierarchicalContextLoss(keras.losses.Loss):
    """Squared differences of maps at several sizes (HCL of ReviewKD).

    The mean squared difference of the full maps has weight 1; maps pooled to
    `l x l`, for each `l` of 4, 2, 1 below the map's size, follow with weight
    1/2, 1/4, 1/8, halved for each size that is used. The sum is divided by
    the sum of the weights. A map that is not square is pooled to at most `l`
    positions in each direction.

    Args:
        reduction: As for every Keras loss.
        name: Name of the loss.
        dtype: As for every Keras loss.

    Call arguments:
        y_true: Target maps `(batch, height, width, channels)`, static height
            and width. They are held constant.
        y_pred: Learner maps of the same shape.
        sample_weight: Optional, shape `(batch,)`.

    Example:
    >>> target = np.arange(32.0).reshape(2, 4, 4, 1)
    >>> learner = target + np.array([[[[1.0]]], [[[2.0]]]])
    >>> loss = HierarchicalContextLoss()
    >>> round(float(loss(target, learner)), 3)
    2.5

    Reference: Chen et al., CVPR 2021 (ReviewKD), section 3.4 and Fig. 5. The
    authors' code takes one integer a level, that is square maps.
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "hierarchical_context_loss",
        dtype: DType | None = None,
    ) -> None:
        dtype = full_precision_dtype() if dtype is None else dtype
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the weighted mean over the sizes, of each sample."""
        y_true = ops.stop_gradient(y_true)
        height, width = y_pred.shape[1:3]
        loss = _mean_squares(y_true, y_pred)
        weight = total = 1.0
        for level in (4, 2, 1):
            if level >= max(height, width):
                continue
            weight /= 2.0
            total += weight
            size = (min(level, height), min(level, width))
            loss += weight * _mean_squares(
                *(
                    adaptive_average_pool(maps, size)
                    for maps in (y_true, y_pred)
                )
            )
        return loss / total


def _mean_squares(first: Tensor, second: Tensor) -> Tensor:
    first, second = full_precision(first), full_precision(second)
    check_same_shape(
        first.shape, second.shape, "Two feature maps are compared in one shape."
    )
    squares = ops.square(first - second)
    return ops.mean(squares, axis=tuple(range(1, len(squares.shape))))
