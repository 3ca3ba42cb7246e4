"""Batch normalisation on several replicas that each see their own samples."""

import contextlib
import functools
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence

import keras
from keras import ops

from keras_c2kd.backend import distribution
from keras_c2kd.backend.keras_internals import reduction_axes
from keras_c2kd.backend.keras_internals import set_moments
from keras_c2kd.typing import Tensor
from keras_c2kd.utils.shared_context import SharedContext


class SyncBatchNorm:
    """Batch normalisation over the samples of all replicas in a training step.

    Keras synchronises it on TensorFlow only, and only in layers created for
    it, which no other backend can load. This class leaves the layers of the
    user's networks as they are.

    Args:
        layers: Iterable of layers.
        synchronize: Whether a batch has the statistics of the samples of all
            replicas. If not, each replica normalises its own samples, and the
            moving statistics are the mean over replicas.
    """

    def __init__(
        self, layers: Iterable[keras.layers.Layer], synchronize: bool
    ) -> None:
        self.synchronize = synchronize
        self._layers = [
            layer
            for layer in layers
            if isinstance(layer, keras.layers.BatchNormalization)
        ]
        self._synchronized = SharedContext(self._enter, self._leave)

    def check(self) -> None:
        """Raise a ValueError if a device cannot have statistics of its own."""
        if not self.synchronize and distribution.is_spmd():
            raise ValueError(
                "On JAX batch normalisation takes its statistics from the "
                "samples of all devices: a program sees the whole batch. "
                "Received: synchronize_batch_norm=False. Leave it at True, "
                "or use TensorFlow or PyTorch."
            )

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Within this context the layers normalise for all replicas."""
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

    def _enter(self) -> None:
        for layer in self._layers:
            set_moments(layer, functools.partial(_moments_of_all, layer))

    def _leave(self, _: None) -> None:
        for layer in self._layers:
            set_moments(layer, None)


def _moments_of_all(
    layer: keras.layers.BatchNormalization, inputs: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return mean and variance over all replicas, each `(channels,)`."""
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


def _average(variables: Sequence[keras.Variable]) -> None:
    """Assign to the variables their means over replicas, in one exchange."""
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
