"""Keras' layers as JAX runs them best, for the length of a forward pass.

On the CPU, XLA has fast convolutions, and loops that take a hundred times as
long: those it takes as soon as the kernel is larger than the map, as in the
last stage of a ResNet on images of 64 x 64 (3 x 3 on 2 x 2). The gradient is a
convolution of what comes out, with the same rule.
"""

import contextlib
import itertools
import operator
from contextlib import AbstractContextManager

import jax
import jax.numpy as jnp
import keras
from jax import lax

from keras_c2kd.backend.keras_internals import replaced_layers


def fast_layers(distiller: keras.Model) -> AbstractContextManager[None]:
    """Return a context in which convolutions of small maps are products.

    The numbers are the same up to rounding. On a GPU it does nothing.
    """
    if jax.default_backend() != "cpu":
        return contextlib.nullcontext()
    return replaced_layers(distiller, _FASTER)


def _convolve(
    layer: keras.layers.Conv2D, inputs: jax.Array, kernel: keras.Variable
) -> jax.Array:
    """Convolution of small maps, `(..., patch) x (patch, filters)`."""
    sizes = inputs.shape[1:3]
    sizes += layer.compute_output_shape(inputs.shape)[1:3]
    is_slow = any(map(operator.gt, 2 * layer.kernel_size, sizes))
    is_plain = layer.data_format == "channels_last" and layer.groups == 1
    if not (is_slow and is_plain):
        return type(layer).convolution_op(layer, inputs, kernel)
    kernel = keras.ops.convert_to_tensor(kernel)
    patches = _patches(layer, inputs.astype(kernel.dtype))
    return patches @ kernel.reshape(-1, layer.filters)


def _patches(layer: keras.layers.Conv2D, maps: jax.Array) -> jax.Array:
    """Return what the kernel meets at each position.

    Args:
        layer: `keras.layers.Conv2D`.
        maps: Array `(batch, height, width, channels)`.

    Returns:
        Array `(batch, new_height, new_width, kernel_size * channels)`.
    """
    reach = [
        dilation * (length - 1) + 1
        for dilation, length in zip(layer.dilation_rate, layer.kernel_size)
    ]
    padding = lax.padtype_to_pads(
        maps.shape[1:3], reach, layer.strides, layer.padding.upper()
    )
    height, width = layer.compute_output_shape(maps.shape)[1:3]
    maps = jnp.pad(maps, ((0, 0), *padding, (0, 0)))
    rows, columns = (
        [
            slice(i * dilation, i * dilation + stride * (size - 1) + 1, stride)
            for i in range(length)
        ]
        for length, dilation, stride, size in zip(
            layer.kernel_size,
            layer.dilation_rate,
            layer.strides,
            (height, width),
        )
    )
    offsets = itertools.product(rows, columns)
    parts = [maps[:, row, column] for row, column in offsets]
    return jnp.concatenate(parts, axis=-1)


_FASTER = {keras.layers.Conv2D: ("convolution_op", _convolve)}
