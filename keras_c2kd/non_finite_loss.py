"""Stopping when a loss or a weight is no longer a number."""

import math

import keras

from keras_c2kd.optimizer_of_sides import learning_rates
from keras_c2kd.train_steps import are_finite

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

    def __init__(self, terms, parts, each_step=False):
        super().__init__()
        self._terms = terms
        self._weights = [
            (f"{name} {weight.path}", weight)
            for name, part in parts.items()
            for weight in part.weights
            if "float" in weight.dtype
        ]
        self._each_step = each_step

    def on_train_begin(self, logs=None):
        """Leave out constants that are infinite, such as masks."""
        broken = self._broken()
        trained = {id(v) for v in self.model.trainable_variables}
        self._weights = [
            (name, weight)
            for name, weight in self._weights
            if id(weight) in trained or name not in broken
        ]

    def on_train_batch_end(self, batch, logs=None):
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

    def on_epoch_end(self, epoch, logs=None):
        """Check the weights, before a callback of the user saves them."""
        self._check_weights(f"epoch {epoch + 1}")

    def _broken(self):
        """Return the names of the weights that are not finite."""
        finite = are_finite([weight for _, weight in self._weights])
        return [
            name for (name, _), fine in zip(self._weights, finite) if not fine
        ]

    def _check_weights(self, when):
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
