"""What the labels of a batch say: which samples count for which term.

Where logits are dense, what is said of samples holds for their pixels.
"""

import dataclasses
import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from typing import Self
from typing import cast

import keras
from keras import ops

from keras_c2kd.backend.keras_internals import mask_of
from keras_c2kd.distiller.label_spec import LabelSpec
from keras_c2kd.methods import Targets
from keras_c2kd.ops import full_precision
from keras_c2kd.ops import full_precision_dtype
from keras_c2kd.typing import Tensor


@dataclasses.dataclass(frozen=True)
class Labels:
    """Labels of one batch, as its `LabelSpec` reads them.

    Attributes:
        classes: Integers, one a sample; 0 where the sample has no class.
        given: Labels as they came, a class of weight 0 for unlabelled samples.
        valid: Boolean, samples that are not ignored; None for all.
        labeled: Boolean, samples that are not ignored and have a label; None
            for all that are valid.
    """

    classes: Tensor
    given: Tensor
    valid: Tensor | None
    labeled: Tensor | None


@dataclasses.dataclass(frozen=True)
class CountedSamples:
    """Samples that a term counts, on this device and on all.

    Attributes:
        mask: Boolean tensor, or None for all samples.
        own_fraction: Their fraction of this device's samples; None for all.
        fraction: Their fraction of the samples of all devices; the same
            object with one device.
    """

    mask: Tensor | None = None
    own_fraction: Tensor | None = None
    fraction: Tensor | None = None

    @classmethod
    def of(
        cls,
        mean_over_replicas: Callable[[Tensor, Any], Tensor] | None,
        mask: Tensor | None,
    ) -> Self:
        """Count the samples of a boolean mask; None stands for all."""
        if mask is None:
            return cls()
        counted = ops.cast(mask, full_precision_dtype())
        own = fraction = ops.mean(counted)
        if mean_over_replicas is not None:
            fraction = mean_over_replicas(own, ops.shape(counted)[0])
        return cls(mask, own, fraction)

    def weights(self, weights: Tensor | None) -> Tensor | None:
        """Return weights whose mean of products is the mean of these samples.

        Args:
            weights: One weight a sample, or None.
        """
        if self.mask is None:
            return weights
        counted: Tensor = ops.divide_no_nan(
            ops.cast(self.mask, full_precision_dtype()), self.fraction
        )
        return counted if weights is None else weights * counted


def count_labeled(spec: LabelSpec, y: Tensor, logits: Tensor) -> Tensor:
    """Return how many samples or pixels of a batch have a label.

    Args:
        spec: Of a distiller with unlabelled samples.
        y: Labels as they came.
        logits: The student's, `(batch, ..., num_classes)`.
    """
    labels = read_labels(spec, aligned_labels(y, logits), logits)
    return ops.sum(ops.cast(labels.labeled, full_precision_dtype()))


def read_labels(spec: LabelSpec, y: Tensor, logits: Tensor) -> Labels:
    """Return the labels of a batch, and which samples count and have one.

    Args:
        spec: What loss and distiller say about labels.
        y: Labels as they came, integers or one-hot.
        logits: Tensor `(batch, ..., num_classes)`.
    """
    classes = y
    if len(y.shape) == len(logits.shape):
        is_one_hot = y.shape[-1] == logits.shape[-1]
        if y.shape[-1] is None:
            is_one_hot = not spec.sparse
        classes = ops.argmax(y, -1) if is_one_hot else y[..., 0]
    classes = ops.cast(classes, "int32")
    valid, labeled, given = mask_of(logits), None, y
    if valid is not None:
        valid = ops.cast(valid, "bool")
    if spec.ignore_class is not None:
        counts = classes != spec.ignore_class
        valid = counts if valid is None else ops.logical_and(valid, counts)
        classes = ops.where(counts, classes, ops.zeros_like(classes))
    if spec.unlabeled_class is not None:
        if spec.sparse is False:
            unlabeled = ops.max(ops.abs(y), axis=-1) == 0
        else:
            unlabeled = classes == spec.unlabeled_class
        labeled = ops.logical_not(unlabeled)
        if valid is not None:
            labeled = ops.logical_and(labeled, valid)
        classes = ops.where(unlabeled, ops.zeros_like(classes), classes)
        if spec.sparse:
            # A class that the loss does not ignore; its weight is 0.
            neutral = int(spec.ignore_class == 0)
            unlabeled = ops.reshape(unlabeled, ops.shape(y))
            given = ops.where(unlabeled, ops.full_like(y, neutral), y)
    return Labels(classes, given, valid, labeled)


def targets_of_batch(
    spec: LabelSpec,
    y: Tensor,
    logits: Tensor,
    sample_weight: Tensor | None,
    loss: Callable[..., Tensor],
    teacher_logits: Tensor | None = None,
    mean_over_replicas: Callable[[Tensor, Any], Tensor] | None = None,
    named_scope: Callable[
        [str], AbstractContextManager[Any]
    ] = keras.name_scope,
) -> Targets:
    """Bring labels and weights of a batch into the form that methods take.

    Args:
        spec: What loss and distiller say about labels.
        y: Labels as they came: integers or one-hot, one for each sample (or
            pixel) of the logits.
        logits: The student's, `(batch, ..., num_classes)`.
        sample_weight: Weights, one a sample or one a pixel, or None.
        loss: Function `(labels, logits, weights)` to the scalar supervised
            loss, the labels as they came, the weights of the logits' shape
            without the classes.
        teacher_logits: The teacher's logits, of the same shape, or None where
            there is none.
        mean_over_replicas: Function of this device's mean and its number of
            samples to the mean of all devices; None with one device.
        named_scope: See `Targets`.
    """
    y = aligned_labels(y, logits)
    labels = read_labels(spec, y, logits)
    weights = None
    if sample_weight is not None:
        weights = broadcast_weights(sample_weight, logits)
    count = functools.partial(CountedSamples.of, mean_over_replicas)
    valid = count(labels.valid)
    classes, with_class, labeled = labels.classes, valid, valid
    if labels.labeled is not None:
        labeled = with_class = count(labels.labeled)
        if teacher_logits is not None:
            teacher_logits = ops.stop_gradient(full_precision(teacher_logits))
            classes, has_class = _classes_of_teacher(
                spec, labels, teacher_logits
            )
            with_class = count(has_class)

    def supervised_loss(logits: Tensor) -> Tensor:
        if labels.labeled is None:
            # On PyTorch, Keras' losses write the mask into the weights.
            own_weights = None if weights is None else ops.copy(weights)
            value = loss(labels.given, logits, own_weights)
        else:
            mask = ops.cast(labels.labeled, full_precision_dtype())
            counted = mask if weights is None else weights * mask
            value = loss(labels.given, logits, counted)
        # Keras takes the mean over this device's samples that it does not
        # ignore; it is to be over the labelled ones of all devices.
        if spec.reduction not in ("sum_over_batch_size", "mean"):
            return value
        own: Any = valid.own_fraction
        if labeled.fraction is own:  # None too: there is nothing to mend.
            return value
        own = 1.0 if own is None else own
        return value * ops.divide_no_nan(own, labeled.fraction)

    of_samples = None
    if sample_weight is not None:
        of_samples = _mean_of_samples(sample_weight)
    of_features = of_samples
    if labels.valid is not None:
        # A sample of which all is ignored has no feature to learn either.
        axes = tuple(range(1, len(labels.valid.shape)))
        some = ops.any(labels.valid, axis=axes) if axes else labels.valid
        of_features = count(some).weights(of_samples)
    return Targets(
        labels=classes,
        weights=valid.weights(weights),
        valid=labels.valid,
        supervised_loss=supervised_loss,
        sample_weights=of_samples,
        given_labels=y,
        loss=loss,
        valid_fraction=valid.fraction,
        labeled=labels.labeled,
        has_class=with_class.mask,
        class_weights=with_class.weights(weights),
        weights_where=lambda mask: cast(Tensor, count(mask).weights(weights)),
        feature_weights=of_features,
        named_scope=named_scope,
    )


def _classes_of_teacher(
    spec: LabelSpec, labels: Labels, teacher_logits: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Give unlabelled samples the teacher's class; say which have one."""
    guess = ops.cast(ops.argmax(teacher_logits, axis=-1), "int32")
    classes = ops.where(labels.labeled, labels.classes, guess)
    if not spec.unlabeled_confidence:
        return classes, labels.valid
    sure = ops.max(ops.softmax(teacher_logits, axis=-1), axis=-1)
    has_class = ops.logical_or(
        labels.labeled, sure >= spec.unlabeled_confidence
    )
    if labels.valid is not None:
        has_class = ops.logical_and(has_class, labels.valid)
    return classes, has_class


def broadcast_weights(weights: Tensor | None, logits: Tensor) -> Tensor | None:
    """Return weights of the shape of logits without the classes, or None.

    Keras' losses put a dimension behind the weights at most: one weight a
    sample would meet the wrong axis of the losses of dense logits.
    """
    if weights is None:
        return None
    weights = ops.cast(weights, full_precision_dtype())
    rank = len(logits.shape) - 1
    if len(weights.shape) > rank:
        weights = ops.squeeze(weights, -1)
    while len(weights.shape) < rank:
        weights = ops.expand_dims(weights, -1)
    return ops.broadcast_to(weights, ops.shape(logits)[:-1])


def aligned_labels(y: Tensor, outputs: Tensor) -> Tensor:
    """Return labels with the axes of the outputs they are compared with.

    Args:
        y: Labels, one for each sample or pixel of the outputs.
        outputs: Tensor `(batch, ..., num_outputs)`.

    Raises:
        ValueError: If dense labels have another size than the outputs.
    """
    if getattr(y.shape, "rank", 0) is None:
        # TensorFlow forgets the rank of labels that came in two forms.
        one = outputs.shape[-1] == 1
        return ops.reshape(y, ops.shape(outputs)) if one else y
    size, own = outputs.shape[1:-1], y.shape[1 : len(outputs.shape) - 1]
    if any(None not in pair and pair[0] != pair[1] for pair in zip(size, own)):
        raise ValueError(
            "Dense labels must have the size of the logits, "
            f"{tuple(size)}. Received: labels of size {tuple(own)}. Let the "
            "network resize its logits to the labels' size, or take every "
            "n-th label, labels[:, ::n, ::n]."
        )
    if outputs.shape[-1] == 1 and len(y.shape) == len(outputs.shape) - 1:
        return ops.expand_dims(y, -1)
    return y


def copied(weights: Tensor | None) -> Tensor | None:
    """Copy weights: on PyTorch, Keras' losses write the mask into theirs."""
    return None if weights is None else ops.copy(weights)


def _mean_of_samples(weights: Tensor) -> Tensor:
    """Return one weight a sample, `(batch,)`."""
    weights = ops.cast(weights, full_precision_dtype())
    axes = tuple(range(1, len(weights.shape)))
    return ops.mean(weights, axis=axes) if axes else weights
