"""The target class against all others."""

from keras import ops

from keras_c2kd.ops.exclude_target import exclude_target
from keras_c2kd.typing import Tensor


def target_log_probabilities(
    logits: Tensor, labels: Tensor, temperature: float = 1.0
) -> Tensor:
    """Logarithms of the probability of the label's class and of the rest.

    `log p_t = z_t - logsumexp(z)` and
    `log(1 - p_t) = logsumexp_{j != t}(z_j) - logsumexp(z)`, with `z` divided
    by the temperature. Both stay in log space, so that `1 - p_t` is never the
    difference of two nearly equal numbers: exact for logits of any size.

    Args:
        logits: Float tensor of shape `(..., num_classes)`.
        labels: Integer tensor of shape `(...)`.
        temperature: Positive float, divides the logits. Defaults to `1.0`.

    Returns:
        Float tensor of shape `(..., 2)`: target, rest.

    Example:
    >>> logits, labels = np.array([[0.0, 0.0, 0.0, 0.0]]), np.array([1])
    >>> logs = target_log_probabilities(logits, labels)
    >>> print(np.exp(ops.convert_to_numpy(logs)).round(3))
    [[0.25 0.75]]

    Reference: Zhao et al., CVPR 2022, Eq. 1 to 3 (the binary probabilities
    `b`). The authors' code sums probabilities and takes the logarithm
    afterwards, which is minus infinity for confident networks.
    """
    logits = ops.convert_to_tensor(logits) / temperature
    # Sums of numbers near 0 are exact, those of large numbers are rounded.
    logits -= ops.stop_gradient(ops.max(logits, axis=-1, keepdims=True))
    rest = ops.logsumexp(exclude_target(logits, labels), axis=-1)
    column = ops.expand_dims(ops.cast(labels, "int32"), -1)
    target = ops.squeeze(ops.take_along_axis(logits, column, axis=-1), -1)
    return ops.log_softmax(ops.stack([target, rest], axis=-1), axis=-1)
