"""One training step a backend: forward, gradients, update, metrics."""

import importlib
import math
import pathlib
import types
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from keras_c2kd.backend.joint_trainer import TRAINING_BACKENDS
from keras_c2kd.backend.joint_trainer import JointTrainer
from keras_c2kd.backend.joint_trainer import check_trains
from keras_c2kd.typing import Tensor


def _module() -> types.ModuleType:
    """Return the module of the backend that is in use.

    Raises:
        ValueError: If Keras runs on another backend than TensorFlow, PyTorch
            or JAX.
    """
    check_trains()
    backend = keras.backend.backend()
    return importlib.import_module(f"keras_c2kd.backend.{backend}")


def trainer() -> Any:
    """Return the class that trains, evaluates and logs on this backend.

    On a backend that does not train it is one that predicts only.
    """
    if keras.backend.backend() not in TRAINING_BACKENDS:
        return JointTrainer
    return _module().Trainer


def trace(folder: pathlib.Path) -> AbstractContextManager[Any]:
    """Return a context that writes the backend's trace of what runs in it.

    Args:
        folder: Path of a folder that exists.
    """
    return _module().trace(folder)


def traced_step(number: int) -> AbstractContextManager[Any]:
    """Return a context that marks a training step, `train`, in a trace."""
    return _module().traced_step(number)


def enable_compilation_cache(folder: str | pathlib.Path | None = None) -> None:
    """Keep compiled programs on disk, on JAX; other backends keep none.

    Every run builds new networks, which JAX would compile anew although the
    programs are the same. Call this before JAX compiles anything. JAX executes
    what lies in the folder: nobody but you may be able to write to it.

    On TensorFlow, XLA keeps its programs if the environment says so before
    TensorFlow is loaded:
    `TF_XLA_FLAGS=--tf_xla_persistent_cache_directory=FOLDER`. PyTorch runs the
    operations of a step one by one and compiles nothing.

    Args:
        folder: Path of the folder. Defaults to the environment's
            `JAX_COMPILATION_CACHE_DIR`, or else to `.cache/keras_c2kd/compiled`
            in the user's home, which is closed to others. If that folder
            cannot be made, a warning says so and JAX keeps nothing.

    Example:
    >>> from keras_c2kd.backend import enable_compilation_cache
    >>> enable_compilation_cache()
    """
    if keras.backend.backend() == "jax":
        _module().enable_compilation_cache(folder)


def are_finite(variables: Sequence[keras.Variable]) -> NDArray[np.bool_]:
    """Return for each variable whether all of its values are finite.

    If the sum of all values is finite, all values are: the host then reads one
    number. If it is not, the host asks for a flag of each variable.

    Args:
        variables: List of floating-point variables.

    Returns:
        Boolean numpy array `(variables,)`.
    """
    ops = keras.ops
    values = [ops.convert_to_tensor(v) for v in variables]
    total = ops.convert_to_numpy(_module().sum_of_all(values))
    if math.isfinite(total):
        return np.ones(len(values), bool)
    flags = [ops.all(ops.isfinite(value)) for value in values]
    return ops.convert_to_numpy(ops.stack(flags))


def sum_of_all(tensors: Sequence[Tensor]) -> Tensor:
    """Return the sum of the values of all tensors of a list, a scalar."""
    ops = keras.ops
    return ops.sum(
        ops.stack([ops.cast(ops.sum(t), "float32") for t in tensors])
    )
