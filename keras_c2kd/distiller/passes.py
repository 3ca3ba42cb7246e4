"""Passes over data: an epoch or an evaluation without a batch is an error."""

import contextlib
import itertools
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import keras

from keras_c2kd.backend.keras_internals import model_of

_EMPTY = (
    "Every epoch and every evaluation needs samples. Received: an empty data "
    "set, not a single batch. Check the path, the split, `filter`, and "
    "`drop_remainder` / `drop_last` with a large batch size; a generator is "
    "read once and must have the batches of all epochs."
)


class NoEmptyPass(keras.callbacks.Callback):
    """Raises a ValueError if an epoch or an evaluation has no batch.

    Keras would log zeros, or what the epoch before has left.
    """

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """No batch was begun."""
        self._begun = False

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """One was; with TensorFlow and JAX before it is read."""
        self._begun = True
        setattr(model_of(self), "batch_of_pass", batch)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """There must have been a batch."""
        if not self._begun:
            raise ValueError(_EMPTY)

    def on_test_begin(self, logs: Any = None) -> None:
        """No batch was begun."""
        self._test_begun = False

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        """As in training."""
        self._test_begun = True
        setattr(model_of(self), "batch_of_pass", batch)

    def on_test_end(self, logs: Any = None) -> None:
        """There must have been a batch."""
        if not self._test_begun:
            raise ValueError(_EMPTY)


def never_empty(step: Callable[..., Any], model: Any) -> Callable[..., Any]:
    """Return a step of Keras that raises if a pass has no first batch.

    TensorFlow has an error of its own for the end of the data.
    """

    def checked(*arguments: Any) -> Any:
        try:
            return step(*arguments)
        except Exception as end:
            ends = type(end).__name__ in ("StopIteration", "OutOfRangeError")
            if ends and model.batch_of_pass == 0:
                raise ValueError(_EMPTY) from None
            raise

    return checked


def first_batch(iterator: Any) -> Iterator[tuple[int, int, Any]]:
    """Yield the first batch of Keras' iterator; raise if there is none."""
    for begin, end, batches in iterator:
        if not isinstance(batches, (list, tuple)):
            batches = list(itertools.islice(batches, 1))
        if batches:
            yield begin, end, batches
        break
    raise ValueError(_EMPTY)


@contextlib.contextmanager
def in_front(
    own: list[keras.callbacks.Callback], callbacks: Any, model: keras.Model
) -> Iterator[Any]:
    """Return a context with callbacks and, before them, our own.

    Args:
        own: List of callbacks.
        callbacks: What the user gave to `fit` or `evaluate`: None, callbacks,
            or a `keras.callbacks.CallbackList`, which is as it was afterwards.
        model: The model.

    Returns:
        Context with the list of all.
    """
    if not isinstance(callbacks, keras.callbacks.CallbackList):
        given = [] if callbacks is None else keras.tree.flatten(callbacks)
        yield [*own, *given]
        return
    for callback in own:
        callback.set_model(model)
        callback.set_params(callbacks.params)
    given = callbacks.callbacks
    callbacks.callbacks = [*own, *given]
    try:
        yield callbacks
    finally:
        callbacks.callbacks = given
