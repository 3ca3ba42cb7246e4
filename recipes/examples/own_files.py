"""A table of files: a small sound and a small picture of each event.

Writes 240 pairs of a WAV and a PNG file and their CSV table into the folder
`own_files`, as your recorder would. Of 144 training pairs 16 have a label. The
picture's network, which is deployed, learns from the sound's, which hears
through the noise.

    KERAS_BACKEND=jax python recipes/examples/own_files.py
"""

import csv
import pathlib

import keras
import numpy as np
import soundfile
from PIL import Image

import keras_c2kd
from keras_c2kd.data import AudioReader
from keras_c2kd.data import ImageReader
from keras_c2kd.data import LogSpectrogram
from keras_c2kd.data import PairedSplits

MACHINES = ("drill", "fan", "pump", "saw")
PARTS = ("train", "validation", "test")
RATE = 4000
FOLDER = pathlib.Path("own_files")


def tone(kind, random):
    """Half a second of a machine: a tone of its own, and noise."""
    pitch = (220, 440, 660, 880)[kind] * random.uniform(0.95, 1.05)
    wave = np.sin(2 * np.pi * pitch * np.arange(RATE // 2) / RATE)
    return 0.2 * wave + 0.1 * random.normal(size=len(wave))


def picture(kind, random):
    """A blurred plate of the machine: stripes of its own direction."""
    rows, columns = np.mgrid[:24, :24]
    angle = np.pi * kind / 4 + random.normal(scale=0.15)
    phase = random.uniform(0, 2 * np.pi)
    along = rows * np.cos(angle) + columns * np.sin(angle)
    grey = 128 + 40 * np.sin(along + phase) + 45 * random.normal(size=(24, 24))
    return np.repeat(grey.clip(0, 255).astype("uint8")[..., None], 3, axis=-1)


def write_files():
    """Write the files and their table; empty labels are no labels."""
    FOLDER.mkdir(exist_ok=True)
    random = np.random.default_rng(0)
    with open(FOLDER / "pairs.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("sound", "plate", "machine", "split"))
        for number in range(240):
            kind, name = number % 4, f"{number:03d}"
            soundfile.write(FOLDER / f"{name}.wav", tone(kind, random), RATE)
            Image.fromarray(picture(kind, random)).save(FOLDER / f"{name}.png")
            part = PARTS[(number >= 144) + (number >= 176)]
            label = "" if 16 <= number < 144 else MACHINES[kind]
            table.writerow((f"{name}.wav", f"{name}.png", label, part))


def network(shape):
    """Build two convolutions, pooling and a classifier."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(shape),
            layers.Conv2D(16, 5, strides=2, activation="relu"),
            layers.Conv2D(24, 3, strides=2, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(len(MACHINES)),
        ]
    )


write_files()
heard = LogSpectrogram(RATE, 0.5, window=128, hop=64, standardize=True)
pairs = PairedSplits.from_csv(
    FOLDER / "pairs.csv",
    modalities={
        "sound": AudioReader(heard),
        "plate": ImageReader(24, mirror=False, crop_area=None),
    },
    label="machine",
    split="split",
    class_names=MACHINES,
    cache=FOLDER / "cache",
    batch_size=48,
)
networks = {
    "plate": lambda: network((24, 24, 3)),
    "sound": lambda: network(heard.shape),
}
result = keras_c2kd.compare(
    pairs,
    networks,
    student="plate",
    methods=["kd"],
    seeds=3,
    training=keras_c2kd.Training(epochs=25, learning_rate=1e-2),
)
print(result)
result.plot("own_files.png")
