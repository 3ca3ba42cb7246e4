"""What a supervised loss compares: classes, probabilities or numbers."""

import inspect
import math
from typing import Any

import keras

# Of Keras' own losses, those that compare classes with labels.
_OF_CLASSES = ("crossentropy", "categorical")


def compares_numbers(loss: Any) -> bool:
    """Whether a loss compares numbers, and not classes with labels.

    Args:
        loss: What `compile` received, one loss. One that is not Keras' own
            is taken for a loss of classes.
    """
    loss = keras.losses.get(loss)
    owner = loss
    if not inspect.isfunction(loss):
        owner = next(
            kind
            for kind in type(loss).__mro__
            if kind.__module__.startswith("keras.") or kind is object
        )
    is_base = owner in (keras.losses.Loss, object) or (
        owner.__name__ == "LossFunctionWrapper"
    )
    if is_base or not owner.__module__.startswith("keras."):
        return False
    name = owner.__name__.lower().replace("_", "")
    return not any(word in name for word in _OF_CLASSES)


def compares_probabilities(loss: Any) -> bool:
    """Whether a loss takes a label from 0 to 1 for each output of a network.

    Args:
        loss: What `compile` received, one loss.
    """
    loss = keras.losses.get(loss)
    kinds = [getattr(loss, "__name__", type(loss).__name__)]
    kinds += [kind.__name__ for kind in type(loss).__mro__]
    return any(
        kind.lower().replace("_", "").startswith("binary") for kind in kinds
    )


def label_interval(loss: Any, needs_logits: bool) -> tuple[float, float] | None:
    """Return two numbers between which labels lie, None if they are classes.

    Args:
        loss: What `compile` received, one loss.
        needs_logits: Whether the method compares classes.
    """
    if needs_logits:
        return None
    if compares_probabilities(loss):
        return 0, 1
    return (-math.inf, math.inf) if compares_numbers(loss) else None


def name_of_loss(loss: Any) -> str:
    """Return what a loss is called in errors."""
    if isinstance(loss, str):
        return loss
    return getattr(loss, "__name__", type(loss).__name__)
