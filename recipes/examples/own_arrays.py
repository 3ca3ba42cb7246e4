"""A wrist sensor learns from a camera: few labels, many pairs, own method."""

import keras
import numpy as np

import keras_c2kd as c2kd
from keras_c2kd.comparison import Training

random, rows = np.random.default_rng(0), np.arange(1200)
motion, person = random.integers(0, 8, 1200), rows % 24
event = 1.2 * random.normal(size=(8, 12))[motion]
event += random.normal(size=(1200, 12))
camera = np.tanh(event @ random.normal(size=(12, 40)) / 2)
wrist = np.tanh(event @ random.normal(size=(12, 16)) / 2)
wrist += random.normal(size=wrist.shape)


def network(size):
    hidden = [keras.layers.Dense(64, activation="relu") for _ in "12"]
    logits = keras.layers.Dense(8)
    return keras.Sequential([keras.Input((size,)), *hidden, logits])


class LogitMatching(c2kd.methods.DistillationMethod):
    loss_names = ("student_supervised", "matching")

    def compute_losses(self, outputs, targets):
        wrist, camera = (outputs[x]["logits"] for x in ("student", "teacher"))
        matching = 0.3 * keras.ops.mean((wrist - camera) ** 2)
        return dict(zip(self.loss_names, (targets.supervised_loss(wrist), matching))), {}


if __name__ == "__main__":
    parts = {"test": range(16, 24), "validation": range(12, 16), "unlabeled": range(2, 12)}
    pairs = c2kd.data.PairedSplits.from_arrays({"wrist": wrist, "camera": camera}, motion, groups=person, **parts)
    networks = {"wrist": lambda: network(16), "camera": lambda: network(40)}
    training = Training(epochs=20, learning_rate=3e-3)
    result = c2kd.compare(pairs, networks, "wrist", ["kd", LogitMatching], training=training, folder="results/own_arrays")
    print(result)
    result.plot("results/own_arrays/table.png")
