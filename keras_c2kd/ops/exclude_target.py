"""Logits without the target class."""

from keras import ops

from keras_c2kd.ops.numerics import check_same_shape
from keras_c2kd.typing import Tensor


def exclude_target(logits: Tensor, labels: Tensor) -> Tensor:
    """Drop the target class from the logits of every sample.

    `excluded[j] = logits[j]` for `j < label` and `logits[j + 1]` otherwise,
    so that a softmax over the result is the distribution *among the
    non-target classes*: the target takes no part in it at all. Nothing is
    multiplied by zero and no large number is subtracted, so the result is
    exact for logits of any size. Gradients pass to the non-target logits
    only.

    Args:
        logits: Float tensor of shape `(..., num_classes)`.
        labels: Integer tensor of shape `(...)` with values in
            `[0, num_classes)`. Values outside are not checked here.

    Returns:
        Float tensor of shape `(..., num_classes - 1)`.

    Raises:
        ValueError: If there are fewer than 2 classes, or the labels have
            another shape.

    Example:
    >>> logits, labels = np.array([[1.0, 2.0, 3.0]]), np.array([1])
    >>> print(ops.convert_to_numpy(exclude_target(logits, labels)))
    [[1. 3.]]

    Reference: Huo et al., CVPR 2024, Eq. 2 and Eq. 6 (`i != t`). The
    authors' code instead sets the target logit to 0 and keeps it as a class,
    see `zero_target`.
    """
    logits, labels = _logits_and_labels(logits, labels)
    if logits.shape[-1] < 2:
        raise ValueError(
            "Beside the label's class there must be another: logits have at "
            "least 2 classes on the last axis. Received: logits of shape "
            f"{tuple(logits.shape)}"
        )
    labels = ops.expand_dims(labels, -1)
    before = ops.arange(logits.shape[-1] - 1, dtype="int32") < labels
    return ops.where(before, logits[..., :-1], logits[..., 1:])


def zero_target(logits: Tensor, labels: Tensor) -> Tensor:
    """Set the target logit of every sample to 0 and keep it as a class.

    This is what the authors' published C2KD code does in place of leaving
    the target out: the target still takes part in the softmax, as a class
    with logit 0. It exists to reproduce that code; `exclude_target` is the
    paper's definition.

    Args:
        logits: Float tensor of shape `(..., num_classes)`.
        labels: Integer tensor of shape `(...)`.

    Returns:
        Float tensor of shape `(..., num_classes)`.

    Raises:
        ValueError: If the labels have another shape.

    Example:
    >>> logits, labels = np.array([[1.0, 2.0, 3.0]]), np.array([1])
    >>> print(ops.convert_to_numpy(zero_target(logits, labels)))
    [[1. 0. 3.]]
    """
    logits, labels = _logits_and_labels(logits, labels)
    is_target = ops.one_hot(labels, logits.shape[-1], dtype="bool")
    return ops.where(is_target, ops.zeros_like(logits), logits)


def non_target_log_softmax(
    logits: Tensor, labels: Tensor, temperature: float = 1.0
) -> Tensor:
    """Log-probabilities among the non-target classes.

    `log p_i = z_i / T - logsumexp_{j != t}(z_j / T)` for `i != t`, in class
    order with the target left out.

    Args:
        logits: Float tensor of shape `(..., num_classes)`.
        labels: Integer tensor of shape `(...)`.
        temperature: Positive float, divides the logits. Defaults to `1.0`.

    Returns:
        Float tensor of shape `(..., num_classes - 1)`. With two classes it
        is exactly 0: one class is left and it has probability 1.

    Example:
    >>> logits, labels = np.array([[1.0, 9.0, 1.0]]), np.array([1])
    >>> logs = non_target_log_softmax(logits, labels)
    >>> print(ops.convert_to_numpy(logs).round(3))
    [[-0.693 -0.693]]

    Reference: Huo et al., CVPR 2024, Eq. 2 (`p-hat`); Zhao et al., CVPR
    2022 (DKD), the same quantity.
    """
    return ops.log_softmax(exclude_target(logits, labels) / temperature, -1)


def _logits_and_labels(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    logits = ops.convert_to_tensor(logits)
    labels = ops.cast(labels, "int32")
    check_same_shape(
        logits.shape[:-1],
        labels.shape,
        "Each sample or pixel has logits and one label.",
    )
    return logits, labels
