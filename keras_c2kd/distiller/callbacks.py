"""Callbacks: a trace of steps, a stop at losses that are not finite."""

import contextlib
import math
import os
import pathlib
import warnings
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

import keras

from keras_c2kd.backend import are_finite
from keras_c2kd.backend import trace
from keras_c2kd.backend import traced_step
from keras_c2kd.backend.keras_internals import has_value
from keras_c2kd.backend.keras_internals import model_of
from keras_c2kd.backend.keras_internals import put_value
from keras_c2kd.distiller.two_optimizers import learning_rates


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
    >>> profile = ProfileSteps("trace", first=10)
    >>> profile.first, profile.steps
    (10, 3)

    It is one of the callbacks of `fit`:
    `distiller.fit(batches, callbacks=[profile])`.
    """

    # Not `async_safe`: Keras would call it in another thread, while the step
    # that it traces goes on.

    def __init__(
        self, folder: str | os.PathLike[str], first: int = 4, steps: int = 3
    ) -> None:
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

    def on_train_begin(self, logs: Any = None) -> None:
        """Count from 1 again."""
        self._begun = 0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Begin the trace if it is time, and a step of it."""
        self._begun += 1
        if self._begun == self.first:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._trace.enter_context(trace(self.folder))
        if self.first <= self._begun < self.first + self.steps:
            self._step.enter_context(traced_step(self._begun))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """End the step, and the trace after the last one."""
        if self._begun < self.first:
            return
        float((logs or {}).get("loss", 0.0))  # Waits until it is computed.
        self._step.close()
        if self._begun == self.first + self.steps - 1:
            self._trace.close()

    def on_train_failure(self) -> None:
        """Write what there is; the distiller calls it if `fit` raises."""
        self._step.close()
        self._trace.close()

    def on_train_end(self, logs: Any = None) -> None:
        """Write what there is if training was shorter."""
        self._trace.close()
        if self._begun < self.first:
            warnings.warn(
                "No step was traced: training ended before the first one of "
                f"the trace. Received: first={self.first}, {self._begun} "
                "steps. Lower `first`.",
                stacklevel=2,
            )


_CAUSES = (
    "Usual causes: a learning rate that is too high, NaN or infinite inputs, "
    "labels out of range, or float16 without loss scaling. "
    "CrossModalDistiller(stop_on_non_finite=False) trains on."
)


class StopOnNonFiniteLoss(keras.callbacks.Callback):
    """Stops training with an error that names the loss term, or the weights.

    The distiller adds it to every `fit`, before the user's callbacks, so that
    no checkpoint of a broken epoch is written. The losses are read where Keras
    has read them. The weights, which the last update may have broken after the
    last loss, are reduced to flags on the device: one read an epoch, or a step
    if a callback saves within epochs.

    Args:
        terms: Names of the loss terms in the logs.
        parts: Dict from a name to a layer whose weights must stay finite.
        each_step: Whether the weights are looked at after each step.

    Raises:
        FloatingPointError: As soon as a term is NaN or infinite, or at the
            end of an epoch if a weight is.
    """

    # Reads nothing but Keras' logs, so it need not hold up the device.
    async_safe = True

    def __init__(
        self,
        terms: Iterable[str],
        parts: Mapping[str, keras.layers.Layer],
        each_step: bool = False,
    ) -> None:
        super().__init__()
        self._terms = terms
        self._weights = [
            (f"{name} {weight.path}", weight)
            for name, part in parts.items()
            for weight in part.weights
            if "float" in weight.dtype
        ]
        self._each_step = each_step

    def on_train_begin(self, logs: Any = None) -> None:
        """Leave out constants that are infinite, such as masks."""
        broken = self._broken()
        trained = {id(v) for v in self.model.trainable_variables}
        self._weights = [
            (name, weight)
            for name, weight in self._weights
            if id(weight) in trained or name not in broken
        ]

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Check the running means; a NaN stays in them."""
        broken = [
            f"{name}={logs[name]}"
            for name in (*self._terms, "loss")
            if name in (logs or {}) and not math.isfinite(logs[name])
        ]
        if broken:
            raise FloatingPointError(
                "Every loss must stay finite. Received by training batch "
                f"{batch} of this epoch: {', '.join(broken)}. {_CAUSES}"
            )
        if self._each_step:
            self._check_weights(f"training batch {batch}")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Check the weights, before a callback of the user saves them."""
        self._check_weights(f"epoch {epoch + 1}")

    def _broken(self) -> list[str]:
        """Return the names of the weights that are not finite."""
        finite = are_finite([weight for _, weight in self._weights])
        return [
            name for (name, _), fine in zip(self._weights, finite) if not fine
        ]

    def _check_weights(self, when: str) -> None:
        # On JAX, `self.model` brings the weights back within an epoch.
        optimizer = self.model.optimizer
        broken = self._broken()
        if broken:
            others = f" and {len(broken) - 3} others" if broken[3:] else ""
            raise FloatingPointError(
                f"Every weight must stay finite. Received after {when}, with "
                f"learning_rate={learning_rates(optimizer)}: NaN or infinity "
                f"in {', '.join(broken[:3])}{others}. {_CAUSES}"
            )


class KeepVariables(keras.callbacks.Callback):
    """Keep the variables alive if a pass fails before its first step.

    On JAX, Keras takes the values out of the variables for the length of an
    epoch or of an evaluation, and has none to put back before a first step was
    done. A batch that is refused then would leave a distiller without weights.
    """

    # It reads nothing and waits for nothing.
    async_safe = True

    def __init__(self) -> None:
        super().__init__()
        self._values: list[tuple[keras.Variable, Any]] = []

    def on_train_begin(self, logs: Any = None) -> None:
        """Remember the values."""
        if keras.backend.backend() == "jax":
            variables = [*self.model.variables, *self.model.optimizer.variables]
            self._values = [(v, v.value) for v in variables]

    def on_test_begin(self, logs: Any = None) -> None:
        """Remember the values."""
        self.on_train_begin()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """After a first step, Keras has the values of the last one."""
        if batch:
            self._values = []

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        """As in training."""
        self.on_train_batch_begin(batch)

    def put_back(self) -> None:
        """Give the variables values where they have none."""
        model = model_of(self)
        if keras.backend.backend() == "jax" and model is not None:
            model.jax_state_sync()
        for variable, value in self._values:
            if not has_value(variable):
                put_value(variable, value)
