"""Which supervised losses a method can be trained with."""

import inspect
from typing import Any

import keras

from keras_c2kd.losses.kinds import compares_numbers
from keras_c2kd.losses.kinds import compares_probabilities
from keras_c2kd.losses.kinds import name_of_loss
from keras_c2kd.methods import DistillationMethod
from keras_c2kd.typing import Shape


def methods_of_any_loss() -> str:
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


def check_loss(
    loss: Any,
    loss_weights: Any,
    method: DistillationMethod,
    logits_shape: Shape | None,
) -> None:
    """Refuse a supervised loss that a method or a network cannot use.

    Args:
        loss: What `compile` received, one loss.
        loss_weights: What `compile` received: weights of outputs. The terms
            of the loss have weights of their own.
        method: `DistillationMethod`.
        logits_shape: Shape of the student's outputs, None if not known.

    Raises:
        ValueError: If the loss compares no classes and the method does, if
            the loss compares classes and there is one, or if a weight is
            not 1.
    """
    if method.needs_logits and compares_numbers(loss):
        raise ValueError(
            f"{type(method).__name__} compares logits of classes, and the "
            "supervised loss must do so too. Received: "
            f"loss={name_of_loss(loss)}. Use a (sparse) categorical "
            "cross-entropy, or one of the methods "
            f"that train with any loss: {methods_of_any_loss()}."
        )
    one = logits_shape is not None and logits_shape[-1] == 1
    numbers = compares_numbers(loss) or compares_probabilities(loss)
    if one and not numbers and "categorical" in name_of_loss(loss).lower():
        raise ValueError(
            "There must be at least 2 classes, one logit each, for a "
            f"categorical loss. Received: loss={name_of_loss(loss)} with "
            f"outputs of shape {logits_shape}. Use "
            "keras.losses.BinaryCrossentropy(from_logits=True) for one logit, "
            "or give the network two."
        )
    if loss_weights is None or all(
        weight == 1 for weight in keras.tree.flatten(loss_weights)
    ):
        return
    names = [n for n in method.get_config() if n.endswith("_weight")]
    raise ValueError(
        "`loss_weights` weigh the outputs of a network, and the student "
        "has one: the weights of the loss terms are arguments of the "
        f"method. Received: loss_weights={loss_weights!r}. "
        f"{type(method).__name__} has "
        + (f"{', '.join(names)}." if names else "none.")
        + " `sample_weight` and the learning rate scale all terms."
    )
