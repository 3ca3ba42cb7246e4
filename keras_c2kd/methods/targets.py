"""What the outputs of one batch are compared with."""

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import keras
from keras import ops

from keras_c2kd.ops import full_precision_dtype


@dataclasses.dataclass(frozen=True)
class Targets:
    """What the outputs of one batch are compared with.

    Attributes:
        labels: Integer tensor, one class a row (sample or pixel), shape of
            the logits without the last axis. Ignored rows hold 0, unlabelled
            ones the class that the teacher thinks most probable. Without
            meaning where the loss compares numbers.
        weights: Float tensor of the shape of `labels`, or None. Sample
            weights and ignored rows in one: the mean of `loss * weights` over
            all rows is the weighted mean over the rows that count.
        valid: Boolean tensor of the shape of `labels`, or None if no row is
            ignored.
        valid_fraction: Scalar, the share of valid rows in the batch; on several
            devices in that of all of them. None for `valid`'s own.
        labeled: Boolean tensor of the shape of `labels`, or None if every
            valid row has a label. Unlabelled rows are valid.
        has_class: Boolean tensor of the shape of `labels`, rows for terms
            that need a class: without unlabelled ones of whose class the
            teacher is not sure enough. Defaults to `valid`.
        class_weights: As `weights`, of the rows of `has_class`. Defaults to
            `weights`.
        weights_where: Function from a boolean tensor of the shape of `labels`
            to weights as `weights`, of these rows alone. Defaults to that of
            one device.
        feature_weights: Float tensor `(batch,)`, or None: `sample_weights`
            for terms on whole samples, 0 where all rows of one are ignored.
            Defaults to `sample_weights`.
        supervised_loss: Function from logits to the scalar loss given to
            `compile()`, sample weights included.
        sample_weights: Float tensor `(batch,)`, or None: one weight a
            sample, the mean over its rows where they have several.
        given_labels: The labels as they came, integers or one-hot.
        loss: Function `(given labels, logits, sample weights)` to the scalar
            loss given to `compile()`, for other rows than the batch's.
        named_scope: Function from a name to a context that names what is
            computed in it in a trace.
    """

    labels: Any
    weights: Any
    valid: Any
    supervised_loss: Callable
    sample_weights: Any = None
    given_labels: Any = None
    loss: Callable | None = None
    valid_fraction: Any = None
    labeled: Any = None
    has_class: Any = None
    class_weights: Any = None
    weights_where: Callable | None = None
    feature_weights: Any = None
    named_scope: Callable[[str], AbstractContextManager] = keras.name_scope

    def __post_init__(self):
        for name, other in (
            ("has_class", self.valid),
            ("class_weights", self.weights),
            ("weights_where", self._weights_where),
            ("feature_weights", self.sample_weights),
        ):
            if getattr(self, name) is None:
                object.__setattr__(self, name, other)

    def _weights_where(self, mask):
        mask = ops.cast(mask, full_precision_dtype())
        weights = ops.divide_no_nan(mask, ops.mean(mask))
        if self.weights is None:
            return weights
        # Theirs hold the factor for the mean over all valid rows.
        weights = weights * ops.cast(self.weights, weights.dtype)
        if self.valid is None:
            return weights
        return weights * ops.mean(ops.cast(self.valid, weights.dtype))

    def weights_for(self, divergence):
        """Return the weights of the rows that a divergence counts.

        Args:
            divergence: `keras.losses.Loss`. One with `takes_labels = True`
                needs the class of a row.
        """
        takes_labels = getattr(divergence, "takes_labels", False)
        return self.class_weights if takes_labels else self.weights

    def split(self, weights):
        """Split weights of rows into those with and those without a label.

        Args:
            weights: Float tensor of the shape of `labels`.

        Returns:
            Two such tensors, 0 on the other rows; None for the second if all
            rows have a label.
        """
        if self.labeled is None:
            return weights, None
        labeled = ops.cast(self.labeled, weights.dtype)
        return weights * labeled, weights * (1.0 - labeled)

    def mean(self, values):
        """Mean over the rows that are not ignored, without sample weights."""
        if self.valid is None:
            return ops.mean(values)
        valid = ops.cast(self.valid, values.dtype)
        share = ops.mean(valid)
        if self.valid_fraction is not None:
            share = ops.cast(self.valid_fraction, values.dtype)
        return ops.divide_no_nan(ops.mean(values * valid), share)
