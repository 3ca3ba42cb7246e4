"""Few labels, many pairs: a gain in one direction, a loss in the other.

Of 800 training pairs of a wrist sensor and a camera 40 have a label. Each
network learns alone, by self-training, and from the other one over all pairs.
The camera sees more clearly: it can teach the wrist, the wrist cannot teach
it. What `modality_gap` says of the two networks beforehand is printed too.

    KERAS_BACKEND=jax python recipes/examples/unlabeled_pairs.py
"""

import keras
import numpy as np

import keras_c2kd
from keras_c2kd.analysis import modality_gap
from keras_c2kd.data import PairedSplits

CLASSES, ROWS, LABELED = 8, 2400, 40


def pairs():
    """Draw events that both sensors see; the first 40 rows are labelled."""
    random = np.random.default_rng(0)
    rows = np.arange(ROWS)
    labels = rows % CLASSES
    event = random.normal(2.0 * random.normal(size=(CLASSES, 12))[labels])
    camera = np.tanh(event @ random.normal(size=(12, 40)) / 4)
    wrist = random.normal(np.tanh(event @ random.normal(size=(12, 16)) / 4))
    return PairedSplits.from_arrays(
        {"wrist": wrist, "camera": camera},
        labels,
        test=rows >= 1200,
        validation=(rows >= 800) & (rows < 1200),
        unlabeled=(rows >= LABELED) & (rows < 800),
    )


def network(size):
    """Build one hidden layer and a classifier."""
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((size,)), layers.Dense(64, "relu"), layers.Dense(CLASSES)]
    )


recordings = pairs()
result = keras_c2kd.compare(
    recordings,
    {"wrist": lambda: network(16), "camera": lambda: network(40)},
    student="both",
    methods=["kd"],
    seeds=3,
    training=keras_c2kd.Training(epochs=8, learning_rate=5e-3),
    folder="unlabeled_pairs",
)
print(result)
result.plot("unlabeled_pairs.png")

alone = {
    record["settings"]["student"]: keras.saving.load_model(
        result.folder / record["network"]
    )
    for record in result.records
    if record["settings"]["method"] == "alone"
}
gap = modality_gap(
    alone["camera"],
    alone["wrist"],
    recordings.validation,
    teacher_modality="camera",
    student_modality="wrist",
    verbose=0,
)
print(gap)
