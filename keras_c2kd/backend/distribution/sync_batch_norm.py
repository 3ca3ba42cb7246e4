"""Batch normalisation on several devices that each see a part of the rows."""

import contextlib
import functools

import keras
from keras import ops

from keras_c2kd.backend import distribution
from keras_c2kd.backend.keras_internals import reduction_axes
from keras_c2kd.backend.keras_internals import set_moments
from keras_c2kd.utils.shared_context import SharedContext


class SyncBatchNorm:
    """What batch normalisation knows of the other devices in a training step.

    Keras synchronises it on TensorFlow only, and only in layers that are
    created for it, which no other backend can load. Here the layers of the
    user's networks stay as they are.

    Args:
        layers: Iterable of layers.
        synchronize: Whether the statistics of a batch are those of the rows
            of all devices. If not, each device normalises its own rows, and
            the moving statistics are the mean over devices.
    """

    def __init__(self, layers, synchronize):
        self.synchronize = synchronize
        self._layers = [
            layer
            for layer in layers
            if isinstance(layer, keras.layers.BatchNormalization)
        ]
        self._synchronized = SharedContext(self._enter, self._leave)

    def check(self):
        """Raise a ValueError if a device cannot have statistics of its own."""
        if not self.synchronize and distribution.is_spmd():
            raise ValueError(
                "On JAX batch normalisation takes its statistics from the "
                "samples of all devices: a program sees the whole batch. "
                "Received: synchronize_batch_norm=False. Leave it at True, "
                "or use TensorFlow or PyTorch."
            )

    @contextlib.contextmanager
    def applied(self):
        """Within this context the layers are those of several devices."""
        if not self._layers:
            yield
        elif self.synchronize:
            with self._synchronized:
                yield
        else:
            yield
            _average(
                [
                    variable
                    for layer in self._layers
                    for variable in (layer.moving_mean, layer.moving_variance)
                ]
            )

    def _enter(self):
        for layer in self._layers:
            set_moments(layer, functools.partial(_moments_of_all, layer))

    def _leave(self, _):
        for layer in self._layers:
            set_moments(layer, None)


def _moments_of_all(layer, inputs, mask):
    """Return mean and variance of the rows of all devices, `(channels,)`."""
    axes = reduction_axes(layer)
    if mask is None:
        weights = ops.ones_like(ops.take(inputs, [0], axis=layer.axis))
    else:
        weights = ops.cast(ops.expand_dims(mask, layer.axis), inputs.dtype)
    count = distribution.all_reduce_sum(ops.sum(weights))
    mean = (
        distribution.all_reduce_sum(ops.sum(inputs * weights, axis=axes))
        / count
    )
    shape = [1] * len(inputs.shape)
    shape[layer.axis] = -1
    distances = inputs - ops.reshape(mean, shape)
    squares = ops.sum(ops.square(distances) * weights, axis=axes)
    return mean, distribution.all_reduce_sum(squares) / count


def _average(variables):
    """Give each device the mean over devices, in one exchange."""
    flat = ops.concatenate(
        [ops.reshape(ops.cast(v, "float32"), (-1,)) for v in variables]
    )
    flat = (
        ops.stop_gradient(distribution.all_reduce_sum(flat))
        / distribution.num_replicas()
    )
    begin = 0
    for variable in variables:
        size = variable.shape[0]
        variable.assign(flat[begin : begin + size])
        begin += size
