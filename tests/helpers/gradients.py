"""Gradients of a function of arrays, on whichever backend is in use."""

import functools

import keras
import numpy as np


def gradients(function, *arrays):
    """Differentiate a scalar function with respect to all its arguments.

    Args:
        function: Function of as many tensors as there are arrays, made of
            `keras.ops`, that returns a scalar tensor.
        *arrays: Where to differentiate; taken in `keras.config.floatx()`.

    Returns:
        List of numpy arrays, one an argument. Where no gradient arrives, it
        is exactly 0.
    """
    tensors = [
        keras.ops.convert_to_tensor(array, dtype=keras.config.floatx())
        for array in arrays
    ]
    found = globals()[f"_{keras.backend.backend()}"](function, tensors)
    return [
        np.zeros_like(array) if one is None else np.asarray(one)
        for one, array in zip(found, arrays)
    ]


def _tensorflow(function, tensors):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(tensors)
        value = function(*tensors)
    return tape.gradient(value, tensors)


def _torch(function, tensors):
    import torch

    for tensor in tensors:
        tensor.requires_grad_()
    value = function(*tensors)
    if not value.requires_grad:
        return [None] * len(tensors)
    return torch.autograd.grad(value, tensors, allow_unused=True)


def _jax(function, tensors):
    return _jitted_gradient(function, len(tensors))(*tensors)


@functools.lru_cache(maxsize=1)
def _jitted_gradient(function, number_of_arguments):
    """Keep the last one: the same function is often called again."""
    import jax

    return jax.jit(jax.grad(function, argnums=range(number_of_arguments)))
