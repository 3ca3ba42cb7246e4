"""Batch normalisation as the reference implementations have it."""

from typing import Any

import keras
from keras import ops

from keras_c2kd.backend.keras_internals import BatchNormalizationByMoments
from keras_c2kd.backend.keras_internals import reduction_axes
from keras_c2kd.typing import Tensor


@keras.saving.register_keras_serializable("keras_c2kd")
class BatchNormalization(BatchNormalizationByMoments):
    """Keras' batch normalisation with PyTorch's defaults and a safe variance.

    Epsilon is `1e-5` and the momentum `0.9` (Keras: `1e-3` and `0.99`). The
    variance is the mean squared distance from the mean, which is never
    negative; Keras on PyTorch takes the difference of two large means, which
    can be, and normalises a large constant to NaN. As in Keras, the moving
    variance is that of the batch; PyTorch's own layer keeps the unbiased
    estimate.

    Args:
        epsilon: Float. Defaults to `1e-5`.
        momentum: Float, of the moving statistics. Defaults to `0.9`.
        **kwargs: As for `keras.layers.BatchNormalization`.

    Example:
    >>> layer = BatchNormalization()
    >>> outputs = layer(np.array([[1.0], [3.0]]), training=True)
    >>> print(ops.convert_to_numpy(outputs).round(3).ravel())
    [-1.  1.]

    Reference: Ioffe and Szegedy, ICML 2015.
    """

    def __init__(
        self, epsilon: float = 1e-5, momentum: float = 0.9, **kwargs: Any
    ) -> None:
        super().__init__(epsilon=epsilon, momentum=momentum, **kwargs)

    def moments(
        self, inputs: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return mean and variance of a batch, `(channels,)`."""
        if mask is not None or self.synchronized:
            return super().moments(inputs, mask)
        axes = reduction_axes(self)
        mean = ops.mean(inputs, axis=axes, keepdims=True)
        variance = ops.mean(ops.square(inputs - mean), axis=axes)
        return ops.squeeze(mean, axes), variance
