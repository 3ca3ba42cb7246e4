"""A wrist sensor learns from a camera: few labels, many pairs, own method."""

import keras
import numpy as np

import keras_c2kd
from keras_c2kd.comparison import Training

random, person = np.random.default_rng(0), np.arange(1200) % 24
motion = random.integers(0, 8, 1200)  # Put your arrays in place of these.
event = random.normal(1.2 * random.normal(size=(8, 12))[motion])
camera = np.tanh(event @ random.normal(size=(12, 40)) / 2)
wrist = random.normal(np.tanh(event @ random.normal(size=(12, 16)) / 2))
people = dict(test=range(8), validation=[8, 9, 10], unlabeled=range(11, 22))
pairs = keras_c2kd.data.PairedSplits.from_arrays(
    {"wrist": wrist, "camera": camera}, motion, groups=person, **people
)


def network(size):
    hidden = [keras.layers.Dense(64, activation="relu") for _ in range(2)]
    layers = [keras.Input((size,)), *hidden, keras.layers.Dense(8)]
    return keras.Sequential(layers)


class LogitMatching(keras_c2kd.methods.DistillationMethod):
    loss_names = ("student_supervised", "matching")

    def compute_losses(self, outputs, targets):
        wrist, camera = (outputs[x]["logits"] for x in ("student", "teacher"))
        matching = keras.ops.mean((wrist - camera) ** 2)
        terms = (targets.supervised_loss(wrist), matching)
        return dict(zip(self.loss_names, terms)), {}  # Nothing only logged.


networks = {"wrist": lambda: network(16), "camera": lambda: network(40)}
options = {"training": Training(epochs=10, learning_rate=5e-3), "seeds": 3}
methods = ["kd", LogitMatching]
result = keras_c2kd.compare(pairs, networks, "wrist", methods, **options)
print(result)
result.plot("own_arrays.png")
