"""The precision in which losses, correlations and masks are computed."""

from collections.abc import Sequence

import keras
from keras import ops

from keras_c2kd.typing import Tensor


def full_precision_dtype() -> str:
    """Return the dtype that losses, correlations and masks are computed in.

    Returns:
        `"float64"` if `keras.config.floatx()` is `"float64"`, else
        `"float32"`.

    Example:
    >>> full_precision_dtype()
    'float32'
    """
    return "float64" if keras.config.floatx() == "float64" else "float32"


def full_precision(tensor: Tensor) -> Tensor:
    """Cast a tensor to `full_precision_dtype()`.

    Half-precision networks give half-precision logits; what is computed
    *from* logits is computed in full precision whatever their dtype is.

    Args:
        tensor: Tensor of any shape and numeric dtype.

    Returns:
        Tensor of the same shape in `full_precision_dtype()`.

    Example:
    >>> logits = full_precision(ops.ones((2, 3), "float16"))
    >>> keras.backend.standardize_dtype(logits.dtype)
    'float32'
    """
    return ops.cast(tensor, full_precision_dtype())


def check_same_shape(
    first: Sequence[int | None], second: Sequence[int | None], rule: str
) -> None:
    """Raise a ValueError if the known sizes of two shapes differ.

    Args:
        first: Tuple, `None` for a size that is not known.
        second: Tuple.
        rule: String, a sentence that the two fulfil.
    """
    first, second = tuple(first), tuple(second)
    if len(first) != len(second) or any(
        None not in sizes and sizes[0] != sizes[1]
        for sizes in zip(first, second)
    ):
        raise ValueError(f"{rule} Received: shapes {first} and {second}")


def safe_divide(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Divide; 0 with gradient 0 where the denominator is 0.

    `keras.ops.divide_no_nan` has the value 0 there too, but on PyTorch its
    gradient is NaN.

    Args:
        numerator: Float tensor.
        denominator: Float tensor, broadcastable to `numerator`.

    Returns:
        Float tensor of the broadcast shape.

    Example:
    >>> numerator = ops.convert_to_tensor([1.0, 2.0])
    >>> denominator = ops.convert_to_tensor([0.0, 4.0])
    >>> print(ops.convert_to_numpy(safe_divide(numerator, denominator)))
    [0.  0.5]
    """
    is_zero = ops.equal(denominator, 0)
    safe = ops.where(is_zero, ops.ones_like(denominator), denominator)
    quotient = numerator / safe
    return ops.where(is_zero, ops.zeros_like(quotient), quotient)
