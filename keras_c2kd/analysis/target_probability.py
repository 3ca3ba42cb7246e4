"""How sure a network is of the right class."""

from typing import Any

import keras

from keras_c2kd.networks.modalities import modality_input
from keras_c2kd.networks.modalities import predict_on_batch
from keras_c2kd.ops import full_precision
from keras_c2kd.ops import target_log_probabilities


def mean_target_probability(
    network: keras.Model, modality: str | tuple[str, ...], dataset: Any
) -> float:
    """Return the mean probability that a network gives the label's class.

    `mean(softmax(f)[y])` over all samples, in inference mode.

    Args:
        network: `keras.Model` that ends in logits `(batch, num_classes)`.
        modality: Key of its input in a batch, or a tuple of keys.
        dataset: Batches `(inputs, labels)` with a length and an index, such
            as an `EpochDataset`; labels are integers `(batch,)`.

    Returns:
        Float in `[0, 1]`.

    Reference: Huo et al., CVPR 2024, Fig. 1 (a) and Table 2 ("proba.").
    """
    total, count = 0.0, 0
    for index in range(len(dataset)):
        inputs, labels = dataset[index]
        own_input = modality_input(inputs, modality, network)
        logits = predict_on_batch(network, own_input)
        logarithms = target_log_probabilities(full_precision(logits), labels)
        probabilities = keras.ops.exp(logarithms[..., 0])
        total += float(keras.ops.sum(probabilities))
        count += len(labels)
    return total / count
