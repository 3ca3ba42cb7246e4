"""One training step a backend: forward, gradients, update, metrics."""

import importlib

import keras


def train_step_of_backend():
    """Return the `train_step` function of the backend that is in use.

    Raises:
        ValueError: If Keras runs on another backend than TensorFlow, PyTorch
            or JAX.
    """
    backend = keras.backend.backend()
    if backend not in ("tensorflow", "torch", "jax"):
        raise ValueError(
            "Training needs the tensorflow, torch or jax backend. Received: "
            f"KERAS_BACKEND={backend}"
        )
    return importlib.import_module(
        f"keras_c2kd.train_steps.{backend}"
    ).train_step
