"""A saved student needs neither this package nor the backend it learned on."""

import json
import pathlib
import subprocess
import sys

import keras
import keras_hub
import numpy as np
import pytest

from keras_c2kd import CrossModalDistiller
from keras_c2kd import models
from keras_c2kd.export import random_inputs
from keras_c2kd.methods import Supervised
from tests import environment
from tests.recipes.loading import load_recipe

BACKENDS = ("tensorflow", "torch", "jax")
SCRIPT = pathlib.Path(__file__).parent / "predict_alone.py"


def bert(folder):
    keras_hub.models.BertBackbone(
        vocabulary_size=20,
        num_layers=4,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=16,
        max_sequence_length=32,
    ).save_to_preset(folder)
    return models.BertBase(3, weights=str(folder))


def digits(name, shape):
    build = getattr(load_recipe("av_digits"), name)
    return build(shape, 10, None)


# One of each kind is loaded; the others are built of the same layers.
LOADED = {
    "resnet18_frames": lambda _: models.ResNet18((2, 32, 32, 3), 3),
    "deeplab": lambda _: models.DeepLabV3Plus("mobilenet_v2", (33, 32, 3), 3),
    "small_text_net": lambda _: models.SmallTextNet(3),
    "audio_digits": lambda _: digits("audio_network", (13, 5)),
    "bert": bert,
}
OTHERS = {
    "resnet50": lambda: models.ResNet50((32, 32, 1), 3),
    "mobilenet_v2": lambda: models.MobileNetV2((32, 32, 3), 3),
    "small_conv_net": lambda: models.SmallConvNet((2, 16, 16, 3), 3),
    "small_segmenter": lambda: models.SmallSegmenter((32, 32, 3), 3),
    "time_series_network": lambda: models.TimeSeriesNetwork((16, 6), 3),
    "image_digits": lambda: digits("image_network", (8, 8, 1)),
}


def train(student):
    distiller = CrossModalDistiller(
        student=student, student_modality="sensor", method=Supervised()
    )
    distiller.compile(
        optimizer=keras.optimizers.SGD(1e-3),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    labels = np.zeros((2, *student.output.shape[1:-1]), "int32")
    inputs = random_inputs(student, 2)
    distiller.train_on_batch({"sensor": inputs}, labels)


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Logits by network: where it was trained, and alone on each backend."""
    folder = tmp_path_factory.mktemp("students")
    expected = {}
    for name, build in LOADED.items():
        student = build(folder / "preset")
        train(student)
        inputs = random_inputs(student, 3, free_size=6)
        expected[name] = student.predict(inputs, verbose=0)
        student.save(folder / f"{name}.keras")
        if not isinstance(inputs, dict):
            inputs = {"images": inputs}
        np.savez(folder / f"{name}.npz", **inputs)
    files = [str(folder / f"{name}.keras") for name in LOADED]
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                "-I",
                SCRIPT,
                *files[:-1],
                "--keras_hub",
                files[-1],
            ],
            # Compiled as here, where it is to predict the same.
            env=None
            if backend == keras.backend.backend()
            else environment(backend),
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
        )
        for backend in BACKENDS
    ]
    for process in processes:
        _, errors = process.communicate()
        assert process.returncode == 0, errors[-2000:]
    return {
        name: (
            logits,
            {b: np.load(folder / f"{name}.{b}.npy") for b in BACKENDS},
        )
        for name, logits in expected.items()
    }


@pytest.mark.parametrize("name", LOADED)
def test_a_student_predicts_the_same_alone(answers, name):
    expected, alone = answers[name]
    scale = np.abs(expected).max()
    assert scale > 0
    for backend in BACKENDS:
        tolerance = 1e-6 if backend == keras.backend.backend() else 1e-4
        difference = np.abs(alone[backend] - expected).max() / scale
        assert difference < tolerance, backend


@pytest.mark.parametrize("build", OTHERS.values(), ids=OTHERS)
def test_a_network_is_built_of_layers_of_keras(build):
    config = json.dumps(keras.saving.serialize_keras_object(build()))
    assert "keras_c2kd" not in config
    assert "keras_hub" not in config
