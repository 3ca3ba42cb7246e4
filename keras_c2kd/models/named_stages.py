"""Networks of KerasHub and Keras, with names for their feature maps."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_c2kd.typing import Network
from keras_c2kd.typing import Tensors
from keras_c2kd.utils.optional_imports import import_optional


def keras_hub() -> Any:
    """Return the module `keras_hub`.

    Raises:
        ImportError: If it is not installed.
    """
    return import_optional("keras_hub", "hub", "Building this network")


def fold_frames(inputs: keras.KerasTensor) -> keras.KerasTensor:
    """`(batch, frames, ...)` to `(batch * frames, ...)`.

    Of Keras' own operations, as all that a network is built of here: a saved
    student loads without this package.
    """
    return ops.reshape(inputs, (-1, *inputs.shape[2:]))


def unfold_frames(
    inputs: keras.KerasTensor, frames: int | None
) -> keras.KerasTensor:
    """`(batch * frames, ...)` back to `(batch, frames, ...)`."""
    return ops.reshape(inputs, (-1, frames, *inputs.shape[1:]))


def named_stages(
    network: Network,
    stages: Mapping[str, str],
    frames: int | None = None,
    inputs: Tensors = None,
    first: keras.layers.Layer | None = None,
) -> Network:
    """Return the network with a layer of a given name behind some layers.

    The layers and their variables stay the same. The new ones change
    nothing; they are what `student_features={"level_1": "stage_1"}` finds.

    Args:
        network: Functional `keras.Model`.
        stages: Dict from the new names to the names of the network's layers.
        frames: Integer if the network runs on folded frames: the named maps
            are then `(batch, frames, height, width, channels)`. `None` for
            images.
        inputs: The new inputs, of known sizes where the network's are not
            known, in the form of `network.input`. `None` for the same ones.
        first: Layer that the one input goes through before the network's, or
            None.

    Returns:
        Functional `keras.Model` of the same outputs.

    Raises:
        ValueError: If the network lacks one of the layers.
    """
    names = {layer: name for name, layer in stages.items()}
    missing = set(names) - {layer.name for layer in network.layers}
    if missing:
        raise ValueError(
            f"{network.name!r} has no layers {sorted(missing)} to call "
            f"{sorted(names[layer] for layer in missing)}."
        )

    changed = None
    if first is not None:
        inputs = keras.Input(network.input.shape[1:])
        changed = first(inputs)

    def call(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Tensors:
        if changed is not None:
            args = tuple(
                changed if value is inputs else value for value in args
            )
        outputs = layer(*args, **kwargs)
        name = names.get(layer.name)
        if name is None:
            return outputs
        if frames is not None:
            outputs = unfold_frames(outputs, frames)
        outputs = keras.layers.Identity(name=name)(outputs)
        return outputs if frames is None else fold_frames(outputs)

    return keras.models.clone_model(
        network,
        input_tensors=inputs,
        clone_function=lambda layer: layer,
        call_function=call,
    )
