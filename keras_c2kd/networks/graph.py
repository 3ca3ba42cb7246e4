"""The graph of a network: its ends, its classifier, symbolic outputs."""

import inspect
from collections.abc import Iterator

import keras

from keras_c2kd.backend.keras_internals import functional_call
from keras_c2kd.backend.keras_internals import history_of
from keras_c2kd.backend.keras_internals import layers_within as layers_within
from keras_c2kd.backend.keras_internals import mask_of as mask_of
from keras_c2kd.backend.keras_internals import node_of
from keras_c2kd.typing import Config
from keras_c2kd.typing import Network
from keras_c2kd.typing import Tensors


def symbolic_output(
    model: Network, inputs: Tensors = None, connected: bool = False
) -> Tensors:
    """Run a model without a graph of its own on symbolic tensors.

    Args:
        model: Built `keras.Model` with a `call` of its own.
        inputs: Structure of tensors or arrays, of which shapes and types are
            read. Defaults to what the model was built with.
        connected: Whether the outputs are to know the layer they come from.

    Returns:
        The structure of `KerasTensor`s that `call` returns; None if the input
        is not known or `call` cannot be run on symbols.
    """
    run = model.call if connected else model.compute_output_spec
    options = {}
    if "training" in inspect.signature(model.call).parameters:
        options["training"] = False
    for tensors in _symbolic_inputs(model, inputs):
        try:
            return run(tensors, **options)
        except Exception:  # Whatever the user's `call` raises.
            continue
    return None


def _symbolic_inputs(model: Network, inputs: Tensors) -> Iterator[Tensors]:
    """Yield structures of tensors that a model might take."""
    if inputs is not None:
        try:
            yield keras.tree.map_structure(
                lambda leaf: keras.KerasTensor(
                    leaf.shape, keras.backend.standardize_dtype(leaf.dtype)
                ),
                inputs,
            )
        except (ValueError, AttributeError):
            return  # Texts, for example.
        return
    try:
        shapes = model.get_build_config()["input_shape"]
    except (KeyError, TypeError, NotImplementedError):
        return
    # The types are not kept: numbers, or the indices of tokens.
    for dtype in (model.compute_dtype, "int32"):
        yield keras.tree.map_shape_structure(
            lambda shape: keras.KerasTensor(tuple(shape), dtype), shapes
        )


def reads_list(model: Network, inputs: Tensors) -> bool:
    """Whether a model reads its inputs as a list, in their order.

    Args:
        model: `keras.Model`.
        inputs: The symbolic inputs of its graph, None if it has none.
    """
    if inputs is None:
        config: Config = getattr(model, "get_build_config", dict)() or {}
        shapes = config.get("input_shape")
        return isinstance(shapes, (list, tuple)) and not all(
            size is None or isinstance(size, int) for size in shapes
        )
    return isinstance(inputs, (list, tuple))


# A model with another `call` does not compute what its graph says.
_GRAPH_CALLS = (functional_call, keras.Sequential.call)


def classifier_of(model: Network, owner: str = "model") -> keras.layers.Layer:
    """Return the layer that turns features into logits.

    Args:
        model: Functional or sequential `keras.Model`.
        owner: What to call the network in errors.

    Returns:
        The last layer with weights: a `Dense` layer, or a convolution with a
        kernel of size 1.

    Raises:
        ValueError: If the model is no graph, or its last layer with weights
            is another one.
    """
    return _find_classifier(model, owner)[0]


def classifier_and_input(
    model: Network, owner: str = "model"
) -> tuple[keras.layers.Layer, keras.KerasTensor]:
    """Return the classifier, and the tensor of the model's graph it reads.

    Args:
        model: Functional or sequential `keras.Model`.
        owner: What to call the network in errors.

    Returns:
        Layer as `classifier_of` returns it, and a `KerasTensor`.

    Raises:
        ValueError: As `classifier_of`, or if the classifier is part of a
            nested model.
    """
    layer, tensor, graph = _find_classifier(model, owner)
    if graph is not model:
        raise ValueError(
            f"The {owner} network's classifier must be a layer of the model "
            f"itself. Received: {model.name!r}, whose classifier is in the "
            f"nested model {graph.name!r}. Pass that one."
        )
    return layer, tensor


def _find_classifier(
    model: Network, owner: str
) -> tuple[keras.layers.Layer, keras.KerasTensor, Network]:
    """Return the classifier, its input, and the graph that it is part of."""
    layer = None
    if is_graph(model):
        tensor = graph_ends(model)[1]
        while layer is None:
            operation, node, _ = history_of(tensor)
            if is_graph(operation):
                return _find_classifier(operation, owner)
            parents = node_of(operation, node).input_tensors
            if getattr(operation, "weights", None) or len(parents) != 1:
                layer = operation
            tensor = parents[0] if parents else tensor
    kernel = getattr(layer, "kernel", None)
    if kernel is None or any(size != 1 for size in kernel.shape[:-2]):
        raise ValueError(
            f"The method reads the {owner}'s classifier, a Dense layer (or a "
            "1x1 convolution) at its end. Received: "
            f"{model.name!r}, which ends in "
            f"{getattr(layer, 'name', 'no layer that is known')!r}."
        )
    return layer, tensor, model


def is_graph(model: Network) -> bool:
    """Whether a model is a graph of layers, and computes what that says."""
    return has_ends(model) and type(model).call in _GRAPH_CALLS


def has_ends(model: Network) -> bool:
    """Whether a model has symbolic inputs and outputs."""
    # A Sequential has inputs once it knows them, and as one tensor only.
    is_sequential = isinstance(model, keras.Sequential)
    return hasattr(model, "inputs" if is_sequential else "operations")


def graph_ends(model: Network) -> tuple[Tensors, Tensors]:
    """Return the symbolic inputs and outputs of a graph model."""
    if isinstance(model, keras.Sequential):
        return model.inputs[0], model.outputs[0]
    inputs = model.input
    if isinstance(inputs, (list, tuple)) and len(inputs) == 1:
        inputs = inputs[0]
    return inputs, model.output


def graph_input(model: Network) -> Tensors:
    """Return the symbolic inputs of a model, None if it has none.

    Args:
        model: Any `keras.Model`.

    Returns:
        `KerasTensor`, also for a sequential model, which has no `input`, and
        for one built from a list of one; dict or list of several; or None.
    """
    return graph_ends(model)[0] if has_ends(model) else None


def call_once(network: Network) -> None:
    """Call a network on zeros: Keras exports none that was never called.

    Args:
        network: `keras.Model`. One without a graph of layers, which does not
            say what it takes, is left as it is.
    """
    inputs = graph_input(network)
    if inputs is not None:
        example = keras.tree.map_structure(
            lambda spec: keras.ops.zeros(
                [2, *(size or 2 for size in spec.shape[1:])], spec.dtype
            ),
            inputs,
        )
        network(example, training=False)
