"""Losses of a batch as a whole, not of its samples one by one."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_c2kd.ops import full_precision
from keras_c2kd.ops import full_precision_dtype
from keras_c2kd.ops import safe_divide
from keras_c2kd.ops.numerics import check_same_shape
from keras_c2kd.typing import DType
from keras_c2kd.typing import Tensor


class RelationalLoss(keras.losses.Loss):
    """A loss on the relations between the samples of a batch.

    Such a loss is one number, so that sample weights cannot multiply its
    terms afterwards: they enter the relations. With weights `w`, means over
    samples (or over pairs, `w_i w_j`) become weighted means, and the whole is
    multiplied by `mean(w)`. Samples of weight 0 are as if they were not there;
    twice the weights give twice the loss, as for every Keras loss.

    Subclasses implement `relate`.

    Args:
        reduction: `"sum_over_batch_size"` or `"mean"`: only means exist.
        name: Name of the loss.
        dtype: As for every Keras loss.

    Raises:
        ValueError: If `reduction` is another one; if target, learner and
            weights have unequal numbers of samples.

    Call arguments:
        y_true: What the target gives, `(batch, ...)`. It is held constant.
        y_pred: What the learner gives.
        sample_weight: Optional non-negative weights of the samples.

    Example:
    >>> class MeanGap(RelationalLoss):
    ...     def relate(self, target, learner, weights):
    ...         gap = ops.mean(target, axis=0) - ops.mean(learner, axis=0)
    ...         return ops.sum(ops.square(gap))
    >>> target, learner = np.array([[1.0], [3.0]]), np.zeros((2, 1))
    >>> float(MeanGap()(target, learner))
    4.0
    """

    needs_global_batch = True

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: DType | None = None,
    ) -> None:
        if reduction not in ("sum_over_batch_size", "mean"):
            raise ValueError(
                f"{type(self).__name__} relates all samples of a batch and has "
                'no value for each. `reduction` must be "sum_over_batch_size" '
                f'or "mean". Received: reduction={reduction!r}'
            )
        dtype = full_precision_dtype() if dtype is None else dtype
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def __call__(
        self,
        y_true: Tensor,
        y_pred: Tensor,
        sample_weight: Tensor | None = None,
    ) -> Tensor:
        """Return the loss, a scalar."""
        if sample_weight is None:
            sample_weight = ops.ones(self.weights_shape(y_pred))
        # To Keras it is the loss of a batch of one sample.
        return super().__call__(
            {"target": y_true, "weights": sample_weight}, y_pred
        )

    def weights_shape(self, y_pred: Tensor) -> Any:
        """Return the shape of the weights: all axes but the last."""
        return ops.shape(y_pred)[:-1]

    def call(self, y_true: Mapping[str, Tensor], y_pred: Tensor) -> Tensor:
        """Return the loss of the batch, shape `(1,)`."""
        weights = full_precision(y_true["weights"])
        rank = len(self.weights_shape(y_pred))
        if len(weights.shape) == rank + 1 and weights.shape[-1] == 1:
            weights = ops.squeeze(weights, -1)
        check_same_shape(
            weights.shape, y_pred.shape[:rank], "Each sample has one weight."
        )
        target = ops.stop_gradient(full_precision(y_true["target"]))
        check_same_shape(
            target.shape[:1],
            y_pred.shape[:1],
            "Target and learner have equally many samples.",
        )
        relation = self.relate(target, full_precision(y_pred), weights)
        return ops.reshape(ops.mean(weights) * relation, (1,))

    def relate(
        self, target: Tensor, learner: Tensor, weights: Tensor
    ) -> Tensor:
        """Return the loss of weighted samples, a scalar.

        Args:
            target: Tensor, constant.
            learner: Tensor.
            weights: Non-negative tensor, one number a sample. A common factor
                must not change the result.
        """
        raise NotImplementedError(
            f"{type(self).__name__} is a RelationalLoss and must implement "
            "`relate(target, learner, weights)`."
        )


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Mean of values with weights of the same shape; 0 without any weight."""
    return safe_divide(ops.sum(values * weights), ops.sum(weights))
