"""The precision in which losses, correlations and masks are computed."""

import keras
from keras import ops


def full_precision_dtype():
    """Return the dtype that losses, correlations and masks are computed in.

    Returns:
        `"float64"` if `keras.config.floatx()` is `"float64"`, else
        `"float32"`.
    """
    return "float64" if keras.config.floatx() == "float64" else "float32"


def full_precision(tensor):
    """Cast a tensor to `full_precision_dtype()`.

    Half-precision networks give half-precision logits; what is computed
    *from* logits is computed in full precision whatever their dtype is.

    Args:
        tensor: Tensor of any shape and numeric dtype.

    Returns:
        Tensor of the same shape in `full_precision_dtype()`.
    """
    return ops.cast(tensor, full_precision_dtype())
