"""Checks of the two networks before anything is trained."""

import functools
from collections.abc import Mapping
from typing import Any

import keras

from keras_c2kd.backend.keras_internals import history_of
from keras_c2kd.backend.keras_internals import node_of
from keras_c2kd.networks.graph import graph_ends
from keras_c2kd.networks.graph import is_graph
from keras_c2kd.networks.graph import symbolic_output
from keras_c2kd.typing import Modality
from keras_c2kd.typing import Network


def check_pair(
    student: Network,
    teacher: Network | None,
    teacher_modality: Modality | None,
    method: keras.layers.Layer,
) -> None:
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
    students = {id(variable) for variable in getattr(student, "variables", ())}
    shared = [
        variable.path
        for variable in getattr(teacher, "variables", ())
        if id(variable) in students
    ]
    if shared:
        raise ValueError(
            "Teacher and student must not share variables. Received: "
            f"{len(shared)} shared ones, such as {shared[0]!r}. Build each "
            "network from layers of its own; keras.models.clone_model(network) "
            "makes a copy, and set_weights gives it the same weights."
        )


def check_logits(
    shapes: Mapping[str, Mapping[str, Any]],
    needs_logits: bool = True,
    other_methods: str = "methods that compare no classes",
) -> None:
    """Refuse outputs that cannot be compared sample by sample.

    Args:
        shapes: Dict from the role to `{"logits": shape or None, ...}`.
        needs_logits: Whether the method compares classes, of which there must
            be two.
        other_methods: Names of the methods that compare none, for the error.

    Raises:
        ValueError: If the numbers of classes or of pixels differ, or if there
            are fewer than two classes where they are compared.
    """
    counts = {
        role: shape["logits"][-1]
        for role, shape in shapes.items()
        if shape["logits"] is not None
    }
    if len(set(counts.values())) > 1:
        raise ValueError(
            "Teacher and student must have equally many classes, in the same "
            f"order. Received: {counts}"
        )
    if needs_logits and min(counts.values(), default=2) < 2:
        raise ValueError(
            "There must be at least 2 classes, one logit each. Received: "
            f"{counts}. Give a binary classifier two logits; one number a "
            f"sample or pixel can be trained by {other_methods}."
        )
    sizes = {
        role: shape["logits"][1:-1]
        for role, shape in shapes.items()
        if shape["logits"] is not None
    }
    unequal = len(set(map(len, sizes.values()))) > 1 or any(
        len({length for length in lengths if length is not None}) > 1
        for lengths in zip(*sizes.values())
    )
    if unequal:
        raise ValueError(
            "Teacher and student must both have logits of a sample, or of "
            "the same pixels. Received: logits of the sizes "
            f"{sizes} between batch and classes. Resize one to the other."
        )


def check_activation(
    model: Network | keras.KerasTensor,
    role: str,
    from_logits: bool | None,
    needs_logits: bool,
) -> None:
    """Refuse a softmax where logits are wanted, and the reverse.

    Args:
        model: `keras.Model`, or the symbolic output of one.
        role: `"student"` or `"teacher"`, for the error.
        from_logits: Whether the loss takes logits; None if it is not known.
        needs_logits: Whether the method compares logits.

    Raises:
        ValueError: If the end of the network contradicts the method or the
            loss, or the loss the method.
    """
    end, name = _end_of(model), getattr(model, "name", role)
    if end in _PROBABILITIES and needs_logits:
        raise ValueError(
            f"Distillation needs logits, but the {role} {name!r} ends "
            f"in a {end}. Remove the activation of its last "
            "layer and use a loss with from_logits=True."
        )
    if needs_logits and from_logits is False:
        raise ValueError(
            "Distillation compares logits, and the loss takes probabilities "
            "(from_logits=False, also the default of loss functions and of "
            f"names). Received for the {role}: such a loss. Use for example "
            "keras.losses.SparseCategoricalCrossentropy(from_logits=True), on "
            "networks that end without a softmax."
        )
    if end is None:
        return
    is_probability = end in _PROBABILITIES
    if from_logits is None or from_logits != is_probability:
        return
    ends_in = end if is_probability else "logits"
    raise ValueError(
        f"The loss says from_logits={from_logits}, but the {role} "
        f"{name!r} ends in {ends_in}. Use for example "
        "keras.losses.SparseCategoricalCrossentropy("
        f"from_logits={not is_probability})."
    )


_PROBABILITIES = ("softmax", "sigmoid", "hard_sigmoid", "sparsemax")
# Layers and operations after which probabilities are still probabilities: in
# evaluation they return their input, parts of it, or means.
_KEEPS_PROBABILITIES = {
    *("Reshape", "Flatten", "Permute", "Identity", "ActivityRegularization"),
    *("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"),
    *("AlphaDropout", "GaussianDropout", "GaussianNoise", "Masking"),
    *("UpSampling1D", "UpSampling2D", "UpSampling3D", "Resizing", "Resize"),
    *("Cropping1D", "Cropping2D", "Cropping3D", "RepeatVector", "Cast"),
    *("Squeeze", "ExpandDims", "Transpose", "Moveaxis", "Swapaxes", "Ravel"),
    *("Copy", "StopGradient", "GetItem", "Repeat", "BroadcastTo"),
}


def _end_of(model: Network | keras.KerasTensor) -> str | None:
    """Return the name of the activation that ends a network.

    Args:
        model: `keras.Model`, or the symbolic output of one.

    Returns:
        Its name, `"linear"` for logits; None if it is not known.
    """
    tensor = _output_of(model)
    while history_of(tensor) is not None:
        operation, node, index = history_of(tensor)
        kind = type(operation).__name__
        if isinstance(operation, keras.Model):
            tensor = _output_of(operation, index)
            continue
        activation = _activation_name(operation)
        keeps_them = kind in _KEEPS_PROBABILITIES or (
            kind == "Activation" and activation == "linear"
        )
        if not keeps_them:
            return activation
        parents = node_of(operation, node).input_tensors
        tensor = parents[0] if len(parents) == 1 else None
    return None


def _output_of(
    model: Network | keras.KerasTensor, index: int = 0
) -> keras.KerasTensor | None:
    """Return a symbolic output of a network that has a graph, or None."""
    if isinstance(model, keras.KerasTensor):
        return model
    outputs = None
    if is_graph(model):
        outputs = graph_ends(model)[1]
    elif isinstance(model, keras.Model):
        outputs = symbolic_output(model, connected=True)
    outputs = [] if outputs is None else keras.tree.flatten(outputs)
    return outputs[index] if index < len(outputs) else None


def _activation_name(operation: Any) -> str | None:
    """Return the activation that an operation ends with, or None."""
    if isinstance(operation, keras.layers.Softmax):
        return "softmax"
    activation = getattr(operation, "activation", None)
    while isinstance(activation, functools.partial):
        activation = activation.func
    if activation is None:
        name = type(operation).__name__
        is_own = type(operation).__module__.startswith("keras.")
        known = {"Softmax": "softmax", "Sigmoid": "sigmoid"}
        known |= {"HardSigmoid": "hard_sigmoid", "Sparsemax": "sparsemax"}
        return known.get(name) if is_own else None
    return getattr(activation, "__name__", type(activation).__name__.lower())
