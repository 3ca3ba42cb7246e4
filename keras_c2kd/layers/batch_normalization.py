"""Batch normalisation as the reference implementations have it."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_c2kd")
class BatchNormalization(keras.layers.BatchNormalization):
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

    Reference: Ioffe and Szegedy, ICML 2015.
    """

    def __init__(self, epsilon=1e-5, momentum=0.9, **kwargs):
        super().__init__(epsilon=epsilon, momentum=momentum, **kwargs)

    def _moments(self, inputs, mask):
        if mask is not None or self.synchronized:
            return super()._moments(inputs, mask)
        mean = ops.mean(inputs, axis=self._reduction_axes, keepdims=True)
        squares = ops.square(inputs - mean)
        variance = ops.mean(squares, axis=self._reduction_axes)
        return ops.squeeze(mean, self._reduction_axes), variance
