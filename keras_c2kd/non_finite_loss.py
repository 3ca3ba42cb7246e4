"""Stopping when a loss is no longer a number."""

import math

import keras


class StopOnNonFiniteLoss(keras.callbacks.Callback):
    """Stops training with an error that names the term.

    The distiller adds it to every `fit`, before the user's callbacks, so that
    no checkpoint of a broken epoch is written.

    Args:
        terms: Names of the loss terms in the logs.

    Raises:
        FloatingPointError: As soon as a term is NaN or infinite.
    """

    # Reads nothing but the logs, so it need not hold up the device.
    async_safe = True

    def __init__(self, terms):
        super().__init__()
        self._terms = terms

    def on_train_batch_end(self, batch, logs=None):
        """Check the running means; a NaN stays in them."""
        logs = logs or {}
        broken = [
            f"{name}={float(logs[name])}"
            for name in (*self._terms, "loss")
            if name in logs and not math.isfinite(float(logs[name]))
        ]
        if broken:
            raise FloatingPointError(
                "Every loss must stay finite. Received by training batch "
                f"{batch} of this epoch: {', '.join(broken)}. Usual causes: "
                "a learning rate that is too high, NaN or infinite inputs, "
                "labels out of range, or float16 without loss scaling."
            )
