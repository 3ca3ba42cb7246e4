"""PyTorch Datasets: three of them, compared, under any KERAS_BACKEND.

The items are recordings of a wrist sensor and of a camera's joints, made up
here: five movements, each a rhythm of its own. A third of the training
recordings have a label. The wrist's random shift belongs into `augment`, so
that a batch depends on seed, epoch and sample alone.

    KERAS_BACKEND=torch python recipes/examples/torch_dataset.py
"""

import numpy as np
import torch

import keras_c2kd
from keras_c2kd.data import PairedSplits
from keras_c2kd.models import TimeSeriesNetwork

MOVEMENTS = ("walk", "run", "row", "wave", "climb")
STEPS = 48


class Recordings(torch.utils.data.Dataset):
    """`size` recordings; those after `labeled` have no label."""

    def __init__(self, size, seed, labeled=None):
        self.size, self.seed = size, seed
        self.labeled = size if labeled is None else labeled

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        random = np.random.default_rng([self.seed, index])
        movement = index % len(MOVEMENTS)
        speed = (1.0, 1.5, 2.0, 2.5, 3.0)[movement] * random.uniform(0.9, 1.1)
        beat = 2 * np.pi * speed * np.arange(STEPS) / 16
        waves = [np.sin(beat + p) for p in random.uniform(0, 6, size=6)]
        joints = np.stack(waves, axis=-1) + 0.3 * random.normal(size=(STEPS, 6))
        felt = np.stack(waves[:3], -1) + 1.2 * random.normal(size=(STEPS, 3))
        return {
            "wrist": torch.tensor(felt, dtype=torch.float32),
            "camera": torch.tensor(joints, dtype=torch.float32),
            "label": movement if index < self.labeled else -1,
        }


def shifted(recording, random):
    """Begin a recording elsewhere."""
    return np.roll(recording, random.integers(STEPS), axis=0)


pairs = PairedSplits.from_torch(
    Recordings(300, seed=0, labeled=40),
    Recordings(100, seed=1),
    Recordings(400, seed=2),
    modalities=("wrist", "camera"),
    augment={"wrist": shifted},
    class_names=MOVEMENTS,
    batch_size=50,
    name="made-up movements",
)


def network(channels):
    """Build a small 1-D network."""
    shape = (STEPS, channels)
    return TimeSeriesNetwork(shape, len(MOVEMENTS), (16, 24), dropout=0.1)


networks = {"wrist": lambda: network(3), "camera": lambda: network(6)}
result = keras_c2kd.compare(
    pairs,
    networks,
    student="wrist",
    methods=["kd"],
    seeds=3,
    training=keras_c2kd.Training(epochs=12, learning_rate=5e-3),
)
print(result)
result.plot("torch_dataset.png")
