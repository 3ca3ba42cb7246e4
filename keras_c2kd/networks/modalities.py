"""Finding a network's input in a batch keyed by modality."""

from collections.abc import Mapping

import keras

from keras_c2kd.networks.graph import graph_input
from keras_c2kd.networks.graph import reads_list
from keras_c2kd.typing import Array
from keras_c2kd.typing import Modality
from keras_c2kd.typing import Network
from keras_c2kd.typing import Tensors


def modality_keys(modality: Modality) -> tuple[str, ...]:
    """Return the keys of a modality: one, or several for a tuple."""
    return modality if isinstance(modality, tuple) else (modality,)


def has_modality(inputs: Tensors, modality: Modality) -> bool:
    """Whether a batch holds all that a network of the modality reads."""
    return isinstance(inputs, dict) and set(modality_keys(modality)) <= set(
        inputs
    )


def modality_input(
    inputs: Mapping[str, Tensors], modality: Modality, network: Network
) -> Tensors:
    """Return a network's input: one entry of the batch, or several.

    Args:
        inputs: Dict keyed by modality.
        modality: A key; or a tuple of keys for a network that reads several
            modalities, as a dict by these keys or as a list in their order.
        network: `keras.Model` that reads them.
    """
    if not isinstance(modality, tuple):
        return inputs[modality]
    if len(modality) > 1 and reads_list(network, graph_input(network)):
        return [inputs[key] for key in modality]
    return {key: inputs[key] for key in modality}


def predict_on_batch(
    network: Network, inputs: Tensors, prepared: bool = False
) -> Array:
    """Return `network.predict_on_batch(inputs)`, each row once.

    With a strategy, Keras returns the rows once for each device.

    Args:
        network: `keras.Model`.
        inputs: Array, or dict of arrays.
        prepared: Whether a KerasHub task is not to preprocess them again.
    """
    rows = len(keras.tree.flatten(inputs)[0])
    kind = keras.Model if prepared else type(network)
    return kind.predict_on_batch(network, inputs)[:rows]
