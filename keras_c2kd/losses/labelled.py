"""Targets of the losses that treat the label's class separately."""

from keras_c2kd.typing import Tensor


def split_labels(y_true: object, loss: object) -> tuple[Tensor, Tensor | None]:
    """Return the logits and labels that a loss is given as its target.

    Args:
        y_true: Dict `{"logits": ..., "labels": ...}`, or `{"logits": ...}`
            if the label's class has been left out of the logits already.
        loss: The loss, for the error.

    Returns:
        The target's logits, and the labels or None.

    Raises:
        ValueError: If `y_true` is not such a dict.
    """
    if not isinstance(y_true, dict) or "logits" not in y_true:
        raise ValueError(
            f"{type(loss).__name__} needs the labels beside the target's "
            'logits: y_true={"logits": ..., "labels": ...}. Received: '
            f"y_true of type {type(y_true).__name__}"
        )
    return y_true["logits"], y_true.get("labels")
