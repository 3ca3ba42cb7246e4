"""Which supervised losses a method can be trained with."""

import inspect
import math

import keras

# Of Keras' own losses, those that compare classes with labels.
_OF_CLASSES = ("crossentropy", "categorical")


def methods_of_any_loss():
    """Return the names of the methods that compare no classes, in words."""
    from keras_c2kd import methods

    names = [
        name
        for name, method in vars(methods).items()
        if inspect.isclass(method)
        and getattr(method, "needs_logits", None) is False
    ]
    return (
        ", ".join(sorted(names))
        + " and MultimodalTeacher(divergence=keras.losses.MeanSquaredError())"
    )


def compares_numbers(loss):
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


def compares_probabilities(loss):
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


def label_interval(loss, needs_logits):
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


def check_loss(loss, method, logits_shape):
    """Refuse a supervised loss that a method or a network cannot use.

    Args:
        loss: What `compile` received, one loss.
        method: `DistillationMethod`.
        logits_shape: Shape of the student's outputs, None if not known.

    Raises:
        ValueError: If the loss compares no classes and the method does, or
            the loss compares classes and there is one.
    """
    if method.needs_logits and compares_numbers(loss):
        raise ValueError(
            f"{type(method).__name__} compares logits of classes, and the "
            f"supervised loss must do so too. Received: loss={_name(loss)}. "
            "Use a (sparse) categorical cross-entropy, or one of the methods "
            f"that train with any loss: {methods_of_any_loss()}."
        )
    one = logits_shape is not None and logits_shape[-1] == 1
    numbers = compares_numbers(loss) or compares_probabilities(loss)
    if one and not numbers and "categorical" in _name(loss).lower():
        raise ValueError(
            "There must be at least 2 classes, one logit each, for a "
            f"categorical loss. Received: loss={_name(loss)} with outputs of "
            f"shape {tuple(logits_shape)}. Use keras.losses.BinaryCrossentropy("
            "from_logits=True) for one logit, or give the network two."
        )


def _name(loss):
    if isinstance(loss, str):
        return loss
    return getattr(loss, "__name__", type(loss).__name__)
