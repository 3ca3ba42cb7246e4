"""What the two networks must be before anything is trained."""

import keras


def check_pair(student, teacher, teacher_modality, method):
    """Refuse a pair that is not two networks, or that the method cannot use.

    Args:
        student: `keras.Model`.
        teacher: `keras.Model` or None.
        teacher_modality: What the distiller was given.
        method: `DistillationMethod`.

    Raises:
        ValueError: If the method was used before, a teacher or its modality
            is missing, or the networks are one or share variables.
    """
    if method.built:
        raise ValueError(
            "A method holds the heads of one distiller. Received a "
            f"{type(method).__name__} that another distiller has built. "
            "Create a new one for each distiller."
        )
    if teacher is None:
        if method.needs_teacher:
            raise ValueError(
                f"{type(method).__name__} needs a teacher. Received: "
                "teacher=None. Pass teacher= and teacher_modality=, or use "
                "method=Supervised()."
            )
        return
    if teacher is student:
        raise ValueError(
            "Teacher and student must be two models. Received the same "
            f"object twice: {student.name!r}. Copy it with "
            "keras.models.clone_model."
        )
    if teacher_modality is None:
        raise ValueError(
            "`teacher_modality` names the teacher's input in the batch. "
            "Received: teacher_modality=None"
        )
    mine = {id(variable) for variable in getattr(student, "variables", ())}
    shared = [
        variable.path
        for variable in getattr(teacher, "variables", ())
        if id(variable) in mine
    ]
    if shared:
        raise ValueError(
            "Teacher and student must not share variables. Received: "
            f"{len(shared)} shared ones, such as {shared[0]!r}"
        )


def check_logits(shapes):
    """Refuse logits that cannot be compared row by row.

    Args:
        shapes: Dict from the side to `{"logits": shape or None, ...}`.

    Raises:
        ValueError: If the numbers of classes or of rows differ, or if there
            are fewer than two classes.
    """
    counts = {
        side: shape["logits"][-1]
        for side, shape in shapes.items()
        if shape["logits"] is not None
    }
    if len(set(counts.values())) > 1:
        raise ValueError(
            "Teacher and student must have equally many classes, in the same "
            f"order. Received: {counts}"
        )
    if min(counts.values(), default=2) < 2:
        raise ValueError(
            "There must be at least 2 classes, one logit each. Received: "
            f"{counts}. Give a binary classifier two logits."
        )
    sizes = {
        side: shape["logits"][1:-1]
        for side, shape in shapes.items()
        if shape["logits"] is not None
    }
    unequal = len(set(map(len, sizes.values()))) > 1 or any(
        len({length for length in lengths if length is not None}) > 1
        for lengths in zip(*sizes.values())
    )
    if unequal:
        raise ValueError(
            "Teacher and student must have one row of logits each for a "
            "sample, or for the same pixels. Received: logits of the sizes "
            f"{sizes} between batch and classes. Resize one to the other."
        )


def check_activation(model, side, loss, needs_logits):
    """Refuse a softmax where logits are wanted, and the reverse.

    Args:
        model: `keras.Model`.
        side: `"student"` or `"teacher"`, for the error.
        loss: What `compile` received.
        needs_logits: Whether the method compares logits.

    Raises:
        ValueError: If the last activation contradicts the method or the loss.
    """
    activation = _last_activation(model)
    if activation is None:
        return
    is_probability = activation in (
        keras.activations.softmax,
        keras.activations.sigmoid,
    )
    if is_probability and needs_logits:
        raise ValueError(
            f"Distillation needs logits, but the {side} {model.name!r} ends "
            f"in a {activation.__name__}. Remove the activation of its last "
            "layer and use a loss with from_logits=True."
        )
    if isinstance(loss, str):
        from_logits = False if "crossentropy" in loss else None
    else:
        config = loss.get_config() if hasattr(loss, "get_config") else {}
        from_logits = config.get("from_logits")
    if from_logits is None or from_logits != is_probability:
        return
    ends_in = activation.__name__ if is_probability else "logits"
    raise ValueError(
        f"The loss says from_logits={from_logits}, but the {side} "
        f"{model.name!r} ends in {ends_in}. Use for example "
        "keras.losses.SparseCategoricalCrossentropy("
        f"from_logits={not is_probability})."
    )


def _last_activation(model):
    """Return the activation that ends a model, or None if it is not known."""
    while model is not None:
        if isinstance(model, keras.layers.Softmax):
            return keras.activations.softmax
        if isinstance(model, keras.Sequential):
            model = model.layers[-1] if model.layers else None
        elif isinstance(model, keras.Model):
            output = getattr(model, "output", None)
            history = getattr(output, "_keras_history", None)
            model = history.operation if history else None
        else:
            return getattr(model, "activation", None)
    return None
