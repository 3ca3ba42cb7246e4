"""Logits and named feature maps of one network in one forward pass."""

import difflib
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import Literal
from typing import TypeAlias

import keras

from keras_c2kd.backend.keras_internals import history_of
from keras_c2kd.backend.keras_internals import node_of
from keras_c2kd.networks.graph import graph_ends
from keras_c2kd.networks.graph import has_ends
from keras_c2kd.networks.graph import is_graph
from keras_c2kd.networks.graph import symbolic_output
from keras_c2kd.typing import Network
from keras_c2kd.typing import Shape
from keras_c2kd.typing import Tensor
from keras_c2kd.typing import Tensors

# Layers between a feature map and the classifier that a proxy head repeats.
_POOLING = (
    keras.layers.Dropout,
    keras.layers.Flatten,
    keras.layers.GlobalAveragePooling1D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalAveragePooling3D,
)

Tap: TypeAlias = (
    str
    | keras.KerasTensor
    | Callable[[Network], str | keras.KerasTensor]
    | None
)
"""Where a feature map is found, see `FeatureExtractor`."""

Features: TypeAlias = Tap | Sequence[Tap] | Mapping[str, Tap]
"""The taps of the names that a method reads."""

Place: TypeAlias = tuple[keras.Operation, int]
"""An operation of a graph, and the index of its output."""


class FeatureExtractor:
    """A network as a function from inputs to named tensors.

    The network itself stays as it is: same object, same variables, one
    output. The taps are a second graph over the *same layers*, so that one
    call runs every layer once; batch normalisation statistics move once.

    It is no Keras layer on purpose: Keras would list and save the variables
    of a layer a second time.

    Args:
        model: A functional or sequential `keras.Model` with one output, the
            logits. Without taps any built `keras.Model` will do.
        taps: Dict from a name to where the feature map is found:

            - a layer name; layers of nested models (a KerasHub backbone) are
              found too, `"backbone/layer"` names one of them exactly;
            - a `KerasTensor` of the model or of a model nested in it, for
              example `backbone.pyramid_outputs["P4"]`;
            - a callable that takes the model and returns one of the two;
            - `None`: the input of the classifier, before its pooling.
        owner: What to call the network in errors, `"student"` for example.

    Attributes:
        paths: Dict from the taps' names to `"backbone/layer"` paths, which
            find the same tensors again in a copy of the model.
        shapes: Dict from `"logits"` and the taps' names to static shapes;
            None for the logits of a model without a graph that shows no
            shape before it sees data; see `learn_logits`.

    Raises:
        ValueError: If the network is not built, has several outputs, or has
            taps and is not functional; if a tap is not found, is ambiguous or
            belongs to another model.

    Example:
    >>> inputs = keras.Input((8,))
    >>> hidden = keras.layers.Dense(4, name="hidden")(inputs)
    >>> model = keras.Model(inputs, keras.layers.Dense(3)(hidden))
    >>> extractor = FeatureExtractor(model, {"embedding": "hidden"})
    >>> extractor.shapes
    {'logits': (None, 3), 'embedding': (None, 4)}
    >>> tuple(extractor(np.ones((2, 8)))["embedding"].shape)
    (2, 4)
    """

    def __init__(
        self, model: Network, taps: Mapping[str, Tap], owner: str = "model"
    ) -> None:
        self._owner = owner
        self._model = model
        self._extractor: Network | None = None
        self._is_unknown = False  # Whether data did not show the shape either.
        self.paths: dict[str, str] = {}
        self.shapes: dict[str, Shape | None] = {
            "logits": _logits_shape(model, owner)
        }
        if not taps:
            return
        if not is_graph(model):
            raise ValueError(
                f"Feature maps {sorted(taps)} of the {owner} are asked for, "
                "and only functional and sequential models have inner tensors "
                f"to tap. Received: {owner}={model!r}. Build it with the "
                "functional API, without a `call` of its own, or choose a "
                "method that needs no features."
            )
        places = {
            name: _find(model, tap, f"{owner}_features[{name!r}]")
            for name, tap in taps.items()
        }
        self.paths = {
            name: _path(model, *place) for name, place in places.items()
        }
        self._extractor = _expose(model, places)
        self.shapes = {
            name: tuple(tensor.shape)
            for name, tensor in self._extractor.output.items()
        }

    def __call__(
        self, inputs: Tensors, training: bool = False
    ) -> dict[str, Tensor]:
        """Return `{"logits": ..., name: feature map, ...}`."""
        if self._extractor is None:
            logits = self._model(inputs, training=training)
            if isinstance(logits, (dict, list, tuple)):
                _shape_of_output(self._model, logits, self._owner)
            return {"logits": logits}
        return self._extractor(inputs, training=training)

    def learn_logits(self, inputs: Tensors) -> None:
        """Learn the shape of the logits from data, if it is not known.

        Args:
            inputs: Structure of arrays as the network takes it.

        Raises:
            ValueError: If the network has several outputs.
        """
        if self.shapes["logits"] is None and not self._is_unknown:
            output = symbolic_output(self._model, inputs)
            self.shapes["logits"] = _shape_of_output(
                self._model, output, self._owner
            )
            self._is_unknown = output is None


def extractor_for_method(
    model: Network,
    features: Features,
    defaults: Sequence[str] | Mapping[str, Tap],
    role: Literal["student", "teacher"],
) -> FeatureExtractor:
    """Match the user's taps with the names that a method reads.

    Args:
        model: The network.
        features: What the user gave: one tap, a dict from the method's names
            to taps, a list of taps in their order, or None.
        defaults: The method's names, or a dict from them to default taps.
        role: `"student"` or `"teacher"`.

    Returns:
        `FeatureExtractor`.

    Raises:
        ValueError: If a name is unknown or has no tap; as `FeatureExtractor`.
    """
    names = list(defaults)
    if isinstance(features, (list, tuple)) and len(features) == len(names):
        features = dict(zip(names, features))
    if not isinstance(features, dict):
        if features is not None and len(names) != 1:
            raise ValueError(
                f"The method reads the features {names} of the {role}. "
                f"Received: {role}_features={features!r}. Pass a dict from "
                "these names to taps, or a list of them in this order."
            )
        features = {name: features for name in names if features is not None}
    unknown = sorted(set(features) - set(names))
    if unknown:
        raise ValueError(
            f"{role}_features has names that the method does not read: "
            f"{unknown}. It reads {names}."
        )
    if isinstance(defaults, dict):
        features = {**defaults, **features}
    missing = [name for name in names if name not in features]
    if missing and len(names) > 1:
        raise ValueError(
            f"The method reads the features {names} of the {role}, and where "
            f"they are only you can say. Missing: {missing}. Pass "
            f"{role}_features= a dict from these names to layer names, or a "
            "list of them in this order."
        )
    taps = {name: features.get(name) for name in names}
    return FeatureExtractor(model, taps, owner=role)


def _logits_shape(model: Network, owner: str) -> Shape | None:
    """Return the static shape of the logits, or explain what is wrong."""
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"`{owner}` must be a keras.Model that maps one modality to "
            f"logits. Received: {model!r} of type {type(model).__name__}"
        )
    if not model.built:
        raise ValueError(
            f"The {owner} must be built, so that its variables exist before "
            f"the first step. Received: an unbuilt model {model.name!r}. "
            "Begin it with keras.Input, or call it once on a batch."
        )
    has_graph = has_ends(model)
    output = graph_ends(model)[1] if has_graph else symbolic_output(model)
    shape = _shape_of_output(model, output, owner)
    if shape is None or has_graph:
        return shape
    # It was built with the sizes of one batch, and may take others.
    return (*(None for _ in shape[:-1]), shape[-1])


def _shape_of_output(
    model: Network, output: Tensors, owner: str
) -> Shape | None:
    """Return the shape of a network's output, None if that is not known."""
    if output is None:
        return None
    if not isinstance(output, keras.KerasTensor):
        outputs = keras.tree.map_structure(
            lambda tensor: tuple(tensor.shape), output
        )
        raise ValueError(
            f"The {owner} must have one output, the logits. Received: "
            f"{model.name!r} with outputs of the shapes {outputs}. "
            + (
                "Wrap it: keras.Model(model.input, <the logits>)."
                if has_ends(model)
                else "Return the logits alone from its `call`."
            )
        )
    if len(output.shape) < 2:
        raise ValueError(
            f"The {owner} must give rows of numbers, (batch, classes) or "
            "(batch, height, width, classes). Received: "
            f"{model.name!r} with an output of shape {tuple(output.shape)}. "
            "Keep the last axis: one number a sample is (batch, 1)."
        )
    return tuple(output.shape)


def _find(model: Network, tap: Any, argument: str) -> Place:
    """Return (operation, index of its output) for what the user wrote."""
    if tap is None:
        return _classifier_input(model, argument)
    if callable(tap) and not isinstance(tap, keras.KerasTensor):
        tap = tap(model)
    if isinstance(tap, str):
        tap, _, index = tap.partition(":")
        matches = [
            (path, layer)
            for path, layer in _layers_by_path(model)
            if path == tap or layer.name == tap
        ]
        exact = [match for match in matches if match[0] == tap]
        matches = exact or matches
        if len(matches) == 1:
            return matches[0][1], int(index or 0)
        names = [path for path, _ in _layers_by_path(model)]
        if matches:
            raise ValueError(
                f"{argument}={tap!r} names several layers: "
                f"{[path for path, _ in matches]}. Give the whole path."
            )
        close = difflib.get_close_matches(tap, names, n=5, cutoff=0.4)
        raise ValueError(
            f"{argument}={tap!r} is not a layer of {model.name!r}. "
            f"Close to it: {close}. The last ones: {names[-8:]}"
        )
    history = history_of(tap)
    if history is None:
        raise ValueError(
            f"{argument} must be a layer name, a KerasTensor of the model, a "
            f"callable that returns one of the two, or None. Received: {tap!r}"
        )
    if not _contains(model, history.operation):
        raise ValueError(
            f"{argument} is a tensor of another model: the layer "
            f"{history.operation.name!r} is not part of {model.name!r}."
        )
    return history.operation, history.tensor_index


def _path(model: Network, operation: keras.Operation, index: int) -> str:
    """Return the path of an output, `"path:index"` where it has several."""
    for path, layer in _layers_by_path(model):
        if layer is operation:
            return path if index == 0 else f"{path}:{index}"
    raise ValueError(f"{operation.name!r} is not part of {model.name!r}.")


def _layers_by_path(
    model: Network, prefix: str = ""
) -> Iterator[tuple[str, keras.Operation]]:
    """Yield (path, operation) of a model and of the models nested in it."""
    for layer in _view(model).operations:
        yield prefix + layer.name, layer
        if isinstance(layer, keras.Model) and is_graph(layer):
            yield from _layers_by_path(layer, f"{prefix}{layer.name}/")


def _classifier_input(model: Network, argument: str) -> Place:
    """Find what enters the last layer with weights, before its pooling."""
    tensor, behind_classifier = graph_ends(model)[1], False
    while True:
        history = history_of(tensor)
        operation = history.operation
        is_layer = isinstance(operation, keras.layers.Layer)
        if not behind_classifier and is_graph(operation):
            return _classifier_input(operation, argument)
        if behind_classifier and not isinstance(operation, _POOLING):
            return operation, history.tensor_index
        behind_classifier |= is_layer and bool(operation.weights)
        arguments = node_of(operation, history.node_index).arguments
        kept = {k: v for k, v in arguments.kwargs.items() if k != "mask"}
        parents = [
            argument
            for argument in keras.tree.flatten((arguments.args, kept))
            if isinstance(argument, keras.KerasTensor)
        ]
        if len(parents) != 1:
            raise ValueError(
                "The input of the classifier is not a single tensor in "
                f"{model.name!r} (layer {operation.name!r}). Say which layer "
                f"to tap: {argument}=<layer name>."
            )
        tensor = parents[0]


def _contains(model: Network, operation: keras.Operation) -> bool:
    """Whether an operation belongs to a model or to a model nested in it."""
    members = _view(model).operations
    return any(member is operation for member in members) or any(
        isinstance(member, keras.Model)
        and is_graph(member)
        and _contains(member, operation)
        for member in members
    )


def _view(model: Network) -> Network:
    """Return a plain functional model over the same graph."""
    return keras.Model(*graph_ends(model))


def _expose(model: Network, places: Mapping[str, Place]) -> Network:
    """Build the model `inputs -> {"logits": ..., name: tensor}`.

    The graph is traced once more with the same layers. A nested model that
    holds a tapped layer is replaced, in the new graph only, by one that
    returns the tapped tensors beside its output.
    """
    found: dict[str, list[Tensor]] = {}

    def call(operation: keras.Operation, *args: Any, **kwargs: Any) -> Tensors:
        inside: dict[str, Place] = {}
        if isinstance(operation, keras.Model) and is_graph(operation):
            inside = {
                name: place
                for name, place in places.items()
                if place[0] is not operation and _contains(operation, place[0])
            }
        if inside:
            outputs = _expose(operation, inside)(*args, **kwargs)
            for name in inside:
                found.setdefault(name, []).append(outputs[name])
            outputs = outputs["logits"]
        else:
            outputs = operation(*args, **kwargs)
        for name, (tapped, index) in places.items():
            if tapped is operation:
                tensors = keras.tree.flatten(outputs)
                found.setdefault(name, []).append(tensors[index])
        return outputs

    view = _view(model)
    traced = keras.models.clone_model(
        view, clone_function=lambda layer: layer, call_function=call
    )
    for name, (tapped, _) in places.items():
        # Inputs are given, not called: a classifier may read them directly.
        for old, new in zip(view.inputs, traced.inputs):
            if history_of(old).operation is tapped:
                found[name] = [new]
        if len(found.get(name, ())) != 1:
            raise ValueError(
                f"The tap {name!r} must be computed exactly once in a forward "
                f"pass. The layer {tapped.name!r} of {model.name!r} runs "
                f"{len(found.get(name, ()))} times."
            )
    taps = {name: tensors[0] for name, tensors in found.items()}
    return keras.Model(traced.input, {"logits": traced.output, **taps})
