"""What the outputs of one batch are compared with."""

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import keras
from keras import ops

from keras_c2kd.ops import full_precision_dtype
from keras_c2kd.typing import Tensor

# Stands for what a distiller always gives, or `__post_init__` fills in.
_LATER: Any = None


@dataclasses.dataclass(frozen=True)
class Targets:
    """What the outputs of one batch are compared with.

    A sample has one class, or in dense prediction one at each pixel: below,
    "samples" are pixels there.

    Attributes:
        labels: Integer tensor, the classes of the samples, shape of the
            logits without the last axis. 0 for ignored samples, for
            unlabelled ones the class that the teacher thinks most probable.
            Without meaning where the loss compares numbers.
        weights: Float tensor of the shape of `labels`, or None. Sample
            weights and ignored samples in one: the mean of `loss * weights`
            over all samples is the weighted mean over those that count.
        valid: Boolean tensor of the shape of `labels`, or None if no sample
            is ignored.
        supervised_loss: Function from logits to the scalar loss given to
            `compile()`, sample weights included.
        sample_weights: Float tensor `(batch,)`, or None: of dense weights,
            the mean over the pixels of each image.
        given_labels: The labels as they came, integers or one-hot.
        loss: Function `(given labels, logits, sample weights)` to the scalar
            loss given to `compile()`, for other samples than the batch's.
        valid_fraction: Scalar, the fraction of valid samples in the batch; on
            several devices in that of all of them. None for `valid`'s own.
        labeled: Boolean tensor of the shape of `labels`, or None if every
            valid sample has a label. Unlabelled samples are valid.
        has_class: Boolean tensor of the shape of `labels`, the samples for
            terms that need a class: without unlabelled ones of whose class
            the teacher is not sure enough. Defaults to `valid`.
        class_weights: As `weights`, of the samples of `has_class`. Defaults
            to `weights`.
        weights_where: Function from a boolean tensor of the shape of `labels`
            to weights as `weights`, of these samples alone. Defaults to that
            of one device.
        feature_weights: Float tensor `(batch,)`, or None: `sample_weights`
            for terms on feature maps, 0 where all pixels of an image are
            ignored. Defaults to `sample_weights`.
        named_scope: Function from a name to a context that gives this name,
            in a trace, to what is computed in it.

    Example:
    >>> targets = Targets(
    ...     labels=np.array([2, 0, 0]),
    ...     weights=np.array([1.5, 1.5, 0.0]),
    ...     valid=np.array([True, True, False]),
    ...     supervised_loss=lambda logits: ops.mean(logits),
    ... )
    >>> float(targets.mean(ops.convert_to_tensor([1.0, 2.0, 9.0])))
    1.5
    """

    labels: Tensor
    weights: Tensor | None
    valid: Tensor | None
    supervised_loss: Callable[[Tensor], Tensor]
    sample_weights: Tensor | None = None
    given_labels: Tensor = _LATER
    loss: Callable[[Tensor, Tensor, Tensor | None], Tensor] = _LATER
    valid_fraction: Tensor | None = None
    labeled: Tensor | None = None
    has_class: Tensor | None = None
    class_weights: Tensor | None = None
    weights_where: Callable[[Tensor], Tensor] = _LATER
    feature_weights: Tensor | None = None
    named_scope: Callable[[str], AbstractContextManager[object]] = (
        keras.name_scope
    )

    def __post_init__(self) -> None:
        for name, other in (
            ("has_class", self.valid),
            ("class_weights", self.weights),
            ("weights_where", self._weights_where),
            ("feature_weights", self.sample_weights),
        ):
            if getattr(self, name) is None:
                object.__setattr__(self, name, other)

    def _weights_where(self, mask: Tensor) -> Tensor:
        mask = ops.cast(mask, full_precision_dtype())
        weights = ops.divide_no_nan(mask, ops.mean(mask))
        if self.weights is None:
            return weights
        # These hold the factor for the mean over all valid samples.
        weights = weights * ops.cast(self.weights, weights.dtype)
        if self.valid is None:
            return weights
        return weights * ops.mean(ops.cast(self.valid, weights.dtype))

    def weights_for(self, divergence: keras.losses.Loss) -> Tensor | None:
        """Return the weights of the samples that a divergence counts.

        Args:
            divergence: `keras.losses.Loss`. One with `takes_labels = True`
                needs the class of a sample.
        """
        takes_labels = getattr(divergence, "takes_labels", False)
        return self.class_weights if takes_labels else self.weights

    def split(self, weights: Tensor) -> tuple[Tensor, Tensor | None]:
        """Split weights into those of labelled and of unlabelled samples.

        Args:
            weights: Float tensor of the shape of `labels`.

        Returns:
            Two such tensors, 0 on the other samples; None for the second if
            all samples have a label.
        """
        if self.labeled is None:
            return weights, None
        labeled = ops.cast(self.labeled, weights.dtype)
        return weights * labeled, weights * (1.0 - labeled)

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over the valid samples, without sample weights."""
        if self.valid is None:
            return ops.mean(values)
        valid = ops.cast(self.valid, values.dtype)
        fraction = ops.mean(valid)
        if self.valid_fraction is not None:
            fraction = ops.cast(self.valid_fraction, values.dtype)
        return ops.divide_no_nan(ops.mean(values * valid), fraction)
