"""Kullback-Leibler divergence between the logits of two networks."""

from keras import ops

from keras_c2kd.ops.numerics import check_same_shape
from keras_c2kd.ops.numerics import full_precision
from keras_c2kd.typing import Tensor


def kl_divergence(
    target_logits: Tensor, learner_logits: Tensor, temperature: float = 1.0
) -> Tensor:
    """Kullback-Leibler divergence from the target to the learner.

    `KL(p || q) = sum_c p_c (log p_c - log q_c)` with
    `p = softmax(target / T)` and `q = softmax(learner / T)`. Both logarithms
    come from log-softmax, so the result is finite for logits of any size.
    No factor `T^2` and no stop-gradient: a loss adds them.

    Args:
        target_logits: Float tensor of shape `(..., num_classes)`.
        learner_logits: Float tensor of the same shape.
        temperature: Positive float. Defaults to `1.0`.

    Returns:
        Float tensor of shape `(...)`, never negative up to rounding.

    Raises:
        ValueError: If the shapes differ.

    Example:
    >>> target, learner = np.array([[2.0, 0.0]]), np.array([[0.0, 0.0]])
    >>> divergence = kl_divergence(target, learner)
    >>> print(ops.convert_to_numpy(divergence).round(3))
    [0.328]

    Reference: Hinton et al., 2015; Huo et al., CVPR 2024, Eq. 1.
    """
    target, learner = map(full_precision, (target_logits, learner_logits))
    check_same_shape(
        target.shape,
        learner.shape,
        "A divergence compares logits of one shape.",
    )
    target = ops.log_softmax(target / temperature, -1)
    learner = ops.log_softmax(learner / temperature, -1)
    return ops.sum(ops.exp(target) * (target - learner), axis=-1)
