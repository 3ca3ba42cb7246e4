"""Keras' layers as PyTorch runs them best, for the length of a forward pass.

Keras on PyTorch copies channels-last maps to channels-first and back around
each convolution and pooling, reorders each kernel in each step, and normalises
batches by a dozen elementwise operations. PyTorch needs none of it.
"""

import contextlib
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any

import keras
import torch

from keras_c2kd.backend.keras_internals import has_other_moments
from keras_c2kd.backend.keras_internals import replaced_layers
from keras_c2kd.layers import BatchNormalization


@contextlib.contextmanager
def fast_layers(distiller: keras.Model) -> Iterator[None]:
    """Within this context, layers use PyTorch's own operations.

    The numbers are the same up to rounding. The kernels (and the optimizer's
    state of them) keep shape and values, in another order in memory.
    """
    if distiller.jit_compile:
        # `torch.compile` chooses operations and order itself.
        yield
        return
    order_kernels([*distiller.variables, *distiller.optimizer.variables])
    with replaced_layers(distiller, _FASTER):
        yield


def order_kernels(variables: Iterable[keras.Variable]) -> None:
    """Put kernels of two dimensions in the order in which PyTorch reads them.

    Gradients and the optimizer's updates are then in this order too. Processes
    that exchange variables want them as they are.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return
    for variable in variables:
        if len(variable.shape) != 4:
            continue
        kernel = variable.value.data.permute(3, 2, 0, 1)
        if not kernel.is_contiguous(memory_format=torch.channels_last):
            kernel = kernel.contiguous(memory_format=torch.channels_last)
            variable.value.data = kernel.permute(2, 3, 1, 0)


def _normalize(
    layer: keras.layers.BatchNormalization,
    inputs: torch.Tensor,
    training: bool | None = None,
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """Batch normalisation in one operation.

    As in Keras, the moving variance is that of the batch: PyTorch's estimate
    of the variance of the population is scaled back.
    """
    count = inputs.numel() // inputs.shape[layer.axis]
    # Keras computes everything else in float32, doubles too.
    is_single = layer.moving_mean.dtype == "float32"
    is_single = is_single and inputs.dtype != torch.float64
    is_plain = mask is None and not layer.renorm and not layer.synchronized
    # Several devices have their own way to the statistics of a batch.
    is_plain = is_plain and not has_other_moments(layer)
    trains = training and layer.trainable and count > 1
    if not (is_single and is_plain and trains):
        return type(layer).call(layer, inputs, training=training, mask=mask)
    mean = torch.zeros_like(layer.moving_mean.value)
    variance = torch.zeros_like(mean)
    outputs = torch.nn.functional.batch_norm(
        inputs.movedim(layer.axis, 1),
        mean,
        variance,
        weight=layer.gamma.value if layer.scale else None,
        bias=layer.beta.value if layer.center else None,
        training=True,
        momentum=1.0,
        eps=layer.epsilon,
    )
    with torch.no_grad():
        weight = 1 - layer.momentum
        layer.moving_mean.value.lerp_(mean, weight)
        variance = variance * ((count - 1) / count)
        layer.moving_variance.value.lerp_(variance, weight)
    return keras.ops.cast(outputs.movedim(1, layer.axis), layer.compute_dtype)


def _convolve(
    layer: keras.layers.Conv2D, inputs: torch.Tensor, kernel: keras.Variable
) -> torch.Tensor:
    """Convolution of maps as they lie in memory."""
    return _as_channels_first(type(layer).convolution_op, layer, inputs, kernel)


def _pool(
    layer: keras.layers.MaxPooling2D, inputs: torch.Tensor
) -> torch.Tensor:
    """Pooling of maps as they lie in memory."""
    return _as_channels_first(type(layer).call, layer, inputs)


def _as_channels_first(
    function: Callable[..., torch.Tensor],
    layer: keras.layers.Layer,
    maps: torch.Tensor,
    *arguments: Any,
) -> torch.Tensor:
    """Call a channels-last layer on a channels-first view of its maps."""
    if layer.data_format != "channels_last":
        return function(layer, maps, *arguments)
    maps = maps.permute(0, 3, 1, 2)
    maps = maps.contiguous(memory_format=torch.channels_last)
    layer.data_format = "channels_first"
    try:
        outputs = function(layer, maps, *arguments)
    finally:
        layer.data_format = "channels_last"
    return outputs.permute(0, 2, 3, 1)


_FASTER: dict[type, tuple[str, Callable[..., torch.Tensor]]] = {
    keras.layers.BatchNormalization: ("call", _normalize),
    BatchNormalization: ("call", _normalize),
    keras.layers.Conv2D: ("convolution_op", _convolve),
    keras.layers.MaxPooling2D: ("call", _pool),
}
