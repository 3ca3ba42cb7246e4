"""One training step a backend: forward, gradients, update, metrics."""

import importlib
import math

import keras
import numpy as np


def _module():
    """Return the module of the backend that is in use."""
    backend = keras.backend.backend()
    if backend not in ("tensorflow", "torch", "jax"):
        raise ValueError(
            "Training needs the tensorflow, torch or jax backend. Received: "
            f"KERAS_BACKEND={backend}"
        )
    return importlib.import_module(f"keras_c2kd.backend.{backend}")


def trainer():
    """Return the class that trains, evaluates and logs on this backend.

    Raises:
        ValueError: If Keras runs on another backend than TensorFlow, PyTorch
            or JAX.
    """
    return _module().Trainer


def trace(folder):
    """Return a context that writes the backend's trace of what runs in it.

    Args:
        folder: Path of a folder that exists.
    """
    return _module().trace(folder)


def traced_step(number):
    """Return a context that marks a training step, `train`, in a trace."""
    return _module().traced_step(number)


def enable_compilation_cache(folder=None):
    """Keep what is compiled on disk, where the backend can (JAX).

    Every run builds new networks, which JAX would compile anew although the
    programs are the same. Call it before anything is compiled. Only you may
    be able to write to the folder: what lies there is executed.

    On TensorFlow, XLA keeps its programs if it is told so in the environment
    before TensorFlow is loaded:
    `TF_XLA_FLAGS=--tf_xla_persistent_cache_directory=FOLDER`. PyTorch runs the
    operations of a step one by one and has nothing to keep.

    Args:
        folder: Path of the folder. Defaults to what the environment's
            `JAX_COMPILATION_CACHE_DIR` says, or else `keras_c2kd/compiled` in
            the user's cache folder, which is closed to others; if it cannot
            be, a warning says so and nothing is kept.
    """
    if keras.backend.backend() == "jax":
        _module().enable_compilation_cache(folder)


def are_finite(variables):
    """Return whether all values of a variable are finite, for each of them.

    The sum of all values is finite if each of them is, so that one number is
    read as a rule; where it is not, each variable is looked at.

    Args:
        variables: List of floating-point variables.

    Returns:
        Boolean numpy array.
    """
    ops = keras.ops
    values = [ops.convert_to_tensor(v) for v in variables]
    total = ops.convert_to_numpy(_module().sum_of_all(values))
    if math.isfinite(total):
        return np.ones(len(values), bool)
    flags = [ops.all(ops.isfinite(value)) for value in values]
    return ops.convert_to_numpy(ops.stack(flags))


def sum_of_all(tensors):
    """Return the sum of the values of all tensors of a list, a scalar."""
    ops = keras.ops
    return ops.sum(
        ops.stack([ops.cast(ops.sum(t), "float32") for t in tensors])
    )
