"""A trace of some training steps, in the form of the backend's own tools."""

import contextlib
import pathlib
import warnings

import keras

from keras_c2kd.train_steps import trace
from keras_c2kd.train_steps import traced_step


class ProfileSteps(keras.callbacks.Callback):
    """Writes the backend's own trace of some training steps.

    The steps are called `train` in it, and what belongs to `student`,
    `teacher`, `heads`, `losses`, `selection` (the rank correlations) and
    `update` carries these names: on PyTorch as spans, on TensorFlow and JAX in
    the names of the operations. PyTorch writes `trace.json` for
    `chrome://tracing` or Perfetto; TensorFlow and JAX write
    `plugins/profile/<time>/*.xplane.pb` for TensorBoard's profiler or XProf.

    Args:
        folder: Path of a folder for the trace.
        first: Integer, the step that the trace begins with, counted from 1
            over all epochs of a `fit`. Defaults to `4`: the first ones
            compile.
        steps: Integer, how many are traced. Defaults to `3`; each adds
            megabytes.

    Raises:
        ValueError: If `first` or `steps` is less than 1.

    Example:
    ```python
    distiller.fit(dataset, callbacks=[ProfileSteps("trace", first=10)])
    ```
    """

    # Not `async_safe`: Keras would call it in another thread, while the step
    # that it traces goes on.

    def __init__(self, folder, first=4, steps=3):
        super().__init__()
        for name, number in (("first", first), ("steps", steps)):
            if number < 1:
                raise ValueError(
                    f"`{name}` is a number of training steps, at least 1. "
                    f"Received: {name}={number}"
                )
        self.folder = pathlib.Path(folder)
        self.first = first
        self.steps = steps
        self._begun = 0
        self._trace = contextlib.ExitStack()
        self._step = contextlib.ExitStack()

    def on_train_begin(self, logs=None):
        """Count from 1 again."""
        self._begun = 0

    def on_train_batch_begin(self, batch, logs=None):
        """Begin the trace if it is time, and a step of it."""
        self._begun += 1
        if self._begun == self.first:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._trace.enter_context(trace(self.folder))
        if self.first <= self._begun < self.first + self.steps:
            self._step.enter_context(traced_step(self._begun))

    def on_train_batch_end(self, batch, logs=None):
        """End the step, and the trace after the last one."""
        if self._begun < self.first:
            return
        float((logs or {}).get("loss", 0.0))  # Waits until it is computed.
        self._step.close()
        if self._begun == self.first + self.steps - 1:
            self._trace.close()

    def on_train_failure(self):
        """Write what there is; the distiller calls it if `fit` raises."""
        self._step.close()
        self._trace.close()

    def on_train_end(self, logs=None):
        """Write what there is if training was shorter."""
        self._trace.close()
        if self._begun < self.first:
            warnings.warn(
                "No step was traced: training ended before the first one of "
                f"the trace. Received: first={self.first}, {self._begun} "
                "steps. Lower `first`.",
                stacklevel=2,
            )
