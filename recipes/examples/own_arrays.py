"""A wrist sensor learns from a camera: few labels, many pairs, own method."""

import keras
import numpy as np
from keras.layers import Dense

import keras_c2kd

random, person = np.random.default_rng(0), np.arange(1200) % 24
motion = random.integers(0, 8, 1200)  # Put your arrays in place of these.
event = random.normal(1.5 * random.normal(size=(8, 12))[motion])
camera = np.tanh(event @ random.normal(size=(12, 40)) / 2)
wrist = random.normal(np.tanh(event @ random.normal(size=(12, 24)) / 2))
people = dict(test=range(8), validation=[8, 9, 10], unlabeled=range(11, 23))
pairs = keras_c2kd.data.PairedSplits.from_arrays(
    {"wrist": wrist, "camera": camera}, motion, groups=person, **people
)


def network(size):
    return keras.Sequential([keras.Input((size,)), Dense(64, "relu"), Dense(8)])


class LogitMatching(keras_c2kd.methods.DistillationMethod):
    loss_names = ("student_supervised", "matching")

    def compute_losses(self, outputs, targets):
        wrist, camera = (outputs[x]["logits"] for x in ("student", "teacher"))
        match = keras.ops.mean((wrist - camera) ** 2)
        supervised = targets.supervised_loss(wrist)
        return {"student_supervised": supervised, "matching": match}, {}


networks = {"wrist": lambda: network(24), "camera": lambda: network(40)}
training = keras_c2kd.Training(epochs=10, learning_rate=5e-3)
result = keras_c2kd.compare(
    pairs, networks, "wrist", ["kd", LogitMatching], seeds=3, training=training
)
print(result)
result.plot("own_arrays.png")
