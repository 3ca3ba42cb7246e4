"""How many labels does a second sensor replace? Few labels, many pairs.

One comparison for each number of labelled rows: the student alone,
self-training, and KD from the other sensor, whose network has no more labels
than the student but sees more clearly. Then the other direction, where the
teacher is the weaker one. Prints the table and draws both curves.

    KERAS_BACKEND=jax python recipes/examples/unlabeled_pairs.py
"""

import keras
import matplotlib
import numpy as np

import keras_c2kd
from keras_c2kd.data import PairedSplits

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402

CLASSES, ROWS = 8, 1600
LABELED = (16, 32, 64, 128, 256)
SHOWN = {"alone": "#666666", "self_training": "#E69F00", "kd": "#0072B2"}


def pairs_with(labeled):
    """Draw events seen by both sensors; the first rows are labelled."""
    random = np.random.default_rng(0)
    labels = np.arange(ROWS) % CLASSES
    event = random.normal(1.2 * random.normal(size=(CLASSES, 12))[labels])
    camera = np.tanh(event @ random.normal(size=(12, 40)) / 2)
    wrist = random.normal(np.tanh(event @ random.normal(size=(12, 16)) / 2))
    rows = np.arange(ROWS)
    return PairedSplits.from_arrays(
        {"wrist": wrist, "camera": camera},
        labels,
        test=rows >= 1000,
        validation=(rows >= 800) & (rows < 1000),
        unlabeled=(rows >= labeled) & (rows < 800),
    )


def network(size):
    """Build one hidden layer and a classifier."""
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((size,)), layers.Dense(64, "relu"), layers.Dense(CLASSES)]
    )


def scores_of(labeled):
    """Compare; return the rows by student and method."""
    result = keras_c2kd.compare(
        pairs_with(labeled),
        {"wrist": lambda: network(16), "camera": lambda: network(40)},
        student="both",
        methods=["kd"],
        seeds=3,
        training=keras_c2kd.Training(steps=130, learning_rate=5e-3),
    )
    return {(row.student, row.method): row.score for row in result.rows}


scores = {labeled: scores_of(labeled) for labeled in LABELED}
figure, axes = pyplot.subplots(1, 2, figsize=(9, 4), sharey=True)
for student, axis in zip(("wrist", "camera"), axes):
    print(f"\n{student}, test accuracy in % by labelled rows")
    print(f"{'':14}" + "".join(f"{labeled:8}" for labeled in LABELED))
    for method, colour in SHOWN.items():
        found = [scores[labeled][student, method] for labeled in LABELED]
        means = [100 * one.mean for one in found]
        print(f"{method:14}" + "".join(f"{mean:8.1f}" for mean in means))
        spread = [100 * one.std for one in found]
        axis.errorbar(
            LABELED, means, spread, color=colour, marker="o", label=method
        )
    axis.set(title=f"{student} deployed", xlabel="labelled rows of 800")
    axis.set_xscale("log", base=2, subs=[])
    axis.set_xticks(LABELED, LABELED)
axes[0].set_ylabel("test accuracy in %, mean and std of 3 seeds")
axes[0].legend()
figure.tight_layout()
figure.savefig("unlabeled_pairs.png", dpi=120)
