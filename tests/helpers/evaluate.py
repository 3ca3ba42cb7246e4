"""Calling a function of tensors on arrays, on whichever backend is in use."""

import keras
import numpy as np


def evaluate(function, *arrays, unknown_batch_size=False):
    """Call a function of tensors and return its result in numpy.

    On JAX it is jitted: compiling it step by step would take far longer.

    Args:
        function: Function of as many tensors as there are arrays.
        *arrays: Numpy arrays. Those of float64 are taken in
            `keras.config.floatx()`.
        unknown_batch_size: Whether TensorFlow traces the function for any
            size of the first axis, as `fit` does.

    Returns:
        What the function returns, in numpy.
    """
    arrays = [np.asarray(array) for array in arrays]
    arrays = [
        array.astype(keras.config.floatx())
        if array.dtype == "float64"
        else array
        for array in arrays
    ]
    if keras.backend.backend() == "jax":
        import jax

        function = jax.jit(function)
    elif keras.backend.backend() == "tensorflow" and unknown_batch_size:
        import tensorflow as tf

        signature = [
            tf.TensorSpec((None, *array.shape[1:]), array.dtype)
            for array in arrays
        ]
        function = tf.function(function, input_signature=signature)
    tensors = [keras.ops.convert_to_tensor(array) for array in arrays]
    return keras.tree.map_structure(
        keras.ops.convert_to_numpy, function(*tensors)
    )
