"""Networks whose logits are known, and their report."""

import keras
import numpy as np

from keras_c2kd.analysis import modality_gap


def identity_network(name, num_classes, rank=1):
    """A network whose logits are its input."""
    inputs = keras.Input((None,) * (rank - 1) + (num_classes,))
    outputs = keras.layers.Dense(
        num_classes, use_bias=False, kernel_initializer="identity"
    )(inputs)
    return keras.Model(inputs, outputs, name=name)


def random_logits(samples, num_classes, seed=0, strength=2.0):
    """Labels, and logits of both sides that know something of them."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, num_classes, samples)
    habits = {}
    for side, factor in (("audio", 1.0), ("visual", 0.5)):
        habit = random.normal(size=(num_classes, num_classes))
        logits = habit[labels] + random.normal(size=(samples, num_classes))
        logits[np.arange(samples), labels] += factor * strength
        habits[side] = logits.astype("float32")
    return habits, labels


def gap_of(logits, labels, **options):
    """The report of two networks with these logits."""
    rank = logits["audio"].ndim - 1
    networks = [
        identity_network(name, logits[name].shape[-1], rank)
        for name in ("audio", "visual")
    ]
    return modality_gap(
        *networks, (logits, labels), **{"verbose": 0, **options}
    )
