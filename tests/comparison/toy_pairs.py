"""Pairs and networks that a comparison trains on in tenths of a second."""

import keras
import numpy as np

from keras_c2kd import methods
from keras_c2kd.data import PairedArrays
from keras_c2kd.data import PairedSplits

CLASSES = 3
SIZES = {"wrist": 6, "camera": 4}


def toy_pairs(seed=0, labeled=None, sizes=(48, 24, 24), **changes):
    """Return splits of two views of a class; `labeled` training rows."""
    random = np.random.default_rng(seed)
    parts = {}
    for part, size in zip(("train", "validation", "test"), sizes):
        labels = np.arange(size) % CLASSES
        inputs = {
            modality: random.normal(size=(size, width)).astype("float32")
            + 2 * np.eye(CLASSES, width, dtype="float32")[labels]
            for modality, width in SIZES.items()
        }
        if part == "train" and labeled is not None:
            labels = np.where(np.arange(size) < labeled, labels, -1)
        parts[part] = PairedArrays(
            inputs, labels, batch_size=12, training=part == "train"
        )
    provenance = {
        "data_set": "toy pairs",
        "split": "drawn",
        "classes": ["a", "b", "c"],
        "sizes": dict(zip(("train", "validation", "test"), sizes)),
        "labeled": sizes[0] if labeled is None else labeled,
        "unlabeled_class": None if labeled is None else -1,
        "missing": [],
        "unreadable": [],
        "excluded": [],
        **changes,
    }
    return PairedSplits(**parts, provenance=provenance)


def dense(width, units=8, stages=2):
    """Return a network with named stages."""
    inputs = x = keras.Input((width,))
    for number in range(stages):
        x = keras.layers.Dense(
            units, activation="relu", name=f"stage_{number + 1}"
        )(x)
    return keras.Model(inputs, keras.layers.Dense(CLASSES, name="logits")(x))


def wrist_network():
    return dense(SIZES["wrist"])


def camera_network():
    return dense(SIZES["camera"])


NETWORKS = {"wrist": wrist_network, "camera": camera_network}


class Mine(methods.KnowledgeDistillation):
    """A method of a user's own."""
