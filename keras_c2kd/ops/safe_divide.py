"""Division that is 0, in value and gradient, where it divides by 0."""

from keras import ops


def safe_divide(numerator, denominator):
    """Divide; 0 with gradient 0 where the denominator is 0.

    `keras.ops.divide_no_nan` has the value 0 there too, but on PyTorch its
    gradient is NaN.

    Args:
        numerator: Float tensor.
        denominator: Float tensor, broadcastable to `numerator`.

    Returns:
        Float tensor of the broadcast shape.
    """
    is_zero = denominator == 0
    safe = ops.where(is_zero, ops.ones_like(denominator), denominator)
    quotient = numerator / safe
    return ops.where(is_zero, ops.zeros_like(quotient), quotient)
