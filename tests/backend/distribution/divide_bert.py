"""Trains a small BERT teacher, whole or divided; prints the logs as JSON.

KERAS_BACKEND=jax python -m tests.backend.distribution.divide_bert 4
"""

import json
import sys

import jax
import keras
import keras_hub
import numpy as np

from keras_c2kd import CrossModalDistiller
from keras_c2kd.models import bert_layout_map
from tests.helpers.toys import VISUAL
from tests.helpers.toys import toy_data
from tests.helpers.toys import toy_network


def text_network():
    """BERT of two layers and four heads, and a classifier."""
    keras.utils.set_random_seed(1)
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=50,
        num_layers=2,
        num_heads=4,
        hidden_dim=16,
        intermediate_dim=32,
        dropout=0.0,
        max_sequence_length=8,
    )
    logits = keras.layers.Dense(4, name="logits")(
        backbone.output["pooled_output"]
    )
    return keras.Model(backbone.input, logits, name="text")


def train():
    """Return the history of two epochs, and how kernels are divided."""
    inputs, labels = toy_data(32)
    random = np.random.default_rng(0)
    tokens = random.integers(5, 50, (32, 8))
    tokens[:, 0] = 5 + labels
    text = {
        "token_ids": tokens,
        "segment_ids": np.zeros_like(tokens),
        "padding_mask": np.ones_like(tokens),
    }
    distiller = CrossModalDistiller(
        student=toy_network(VISUAL, seed=2),
        teacher=text_network(),
        student_modality="visual",
        teacher_modality="text",
    )
    distiller.compile(
        optimizer=keras.optimizers.SGD(0.02, momentum=0.9),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    history = distiller.fit(
        {"visual": inputs["visual"], "text": text},
        labels,
        batch_size=16,
        epochs=2,
        shuffle=False,
        verbose=0,
    ).history
    parts = {
        variable.path: [
            variable.shape,
            variable.value.sharding.shard_shape(tuple(variable.shape)),
        ]
        for variable in distiller.teacher.variables
    }
    return {"history": history, "parts": parts}


def main(number):
    """Train on one device, or on two halves of the batch and the network."""
    if number == 4:
        jax.config.update("jax_num_cpu_devices", 4)
        mesh = keras.distribution.DeviceMesh((2, 2), ("batch", "model"))
        keras.distribution.set_distribution(
            keras.distribution.ModelParallel(
                layout_map=bert_layout_map(mesh), batch_dim_name="batch"
            )
        )
    print(json.dumps(train()))


if __name__ == "__main__":
    main(int(sys.argv[1]))
