"""Labels and weights of a batch in the form in which methods take them."""

from keras import ops
from keras.src.backend import get_keras_mask

from keras_c2kd import devices
from keras_c2kd.methods import Targets
from keras_c2kd.ops import full_precision_dtype


def batch_targets(
    y, logits, sample_weight, loss, ignore_class=None, sparse=None
):
    """Bring labels, sample weights and ignored rows into one shape.

    Rows that a layer has masked, padding for example, are ignored as Keras'
    losses ignore them.

    Args:
        y: Labels as they came: integers or one-hot, one a row of the logits.
        logits: Tensor `(batch, ..., num_classes)`.
        sample_weight: Weights, one a sample or one a row, or None.
        loss: Function `(labels, logits, weights)` to the scalar supervised
            loss, the labels as they came, the weights one a row.
        ignore_class: Label whose rows do not count, or None.
        sparse: Whether the loss takes integers; None if both will do. It
            decides where TensorFlow does not know the labels' last size.

    Returns:
        `Targets`.
    """
    labels = y
    if len(y.shape) == len(logits.shape):
        is_one_hot = y.shape[-1] == logits.shape[-1]
        if y.shape[-1] is None:
            is_one_hot = not sparse
        labels = ops.argmax(y, -1) if is_one_hot else y[..., 0]
    labels = ops.cast(labels, "int32")
    valid, share = get_keras_mask(logits), None
    if valid is not None:
        valid = ops.cast(valid, "bool")
    if ignore_class is not None:
        counts = labels != ignore_class
        valid = counts if valid is None else ops.logical_and(valid, counts)
        labels = ops.where(counts, labels, ops.zeros_like(labels))
    weights_of_rows = weights = row_weights(sample_weight, logits)
    if valid is not None:
        counted = ops.cast(valid, full_precision_dtype())
        own_share = share = ops.mean(counted)
        if devices.number() > 1:
            rows, _ = devices.share_of_rows(ops.shape(counted)[0])
            share = devices.add_up(share * rows) / devices.number()
        counted = ops.divide_no_nan(counted, share)
        weights = counted if weights is None else weights * counted

    def supervised_loss(logits):
        value = loss(y, logits, copied(weights_of_rows))
        if valid is None or devices.number() == 1:
            return value
        # Keras takes the mean over the rows that count on this device.
        return value * ops.divide_no_nan(own_share, share)

    return Targets(
        labels=labels,
        weights=weights,
        valid=valid,
        supervised_loss=supervised_loss,
        sample_weights=_mean_of_samples(sample_weight),
        given_labels=y,
        loss=loss,
        valid_share=share,
    )


def _mean_of_samples(weights):
    """Return one weight a sample, `(batch,)`, or None."""
    if weights is None:
        return None
    weights = ops.cast(weights, full_precision_dtype())
    axes = tuple(range(1, len(weights.shape)))
    return ops.mean(weights, axis=axes) if axes else weights


def row_weights(weights, logits):
    """Return one weight a row of logits, or None.

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


def copied(weights):
    """Copy weights: on PyTorch, Keras' losses write the mask into theirs."""
    return None if weights is None else ops.copy(weights)
