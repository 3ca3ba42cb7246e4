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


class KeepVariables(keras.callbacks.Callback):
    """Keep the variables alive if training fails before its first step.

    On JAX, Keras takes the values out of the variables for the length of an
    epoch and has none to put back before a first step was done. A batch that
    is refused then would leave a distiller without weights.
    """

    def __init__(self):
        super().__init__()
        self._values = []

    def on_train_begin(self, logs=None):
        """Remember the values."""
        if keras.backend.backend() == "jax":
            variables = [*self.model.variables, *self.model.optimizer.variables]
            self._values = [(v, v.value) for v in variables]

    def on_train_batch_end(self, batch, logs=None):
        """From now on, Keras remembers the values of the last step."""
        self._values = []

    def restore(self):
        """Put the values back where there is none."""
        for variable, value in self._values:
            if variable._value is None:
                variable._value = value
