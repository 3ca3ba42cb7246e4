"""Keras has backends that do not train: there, a student still predicts."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.backend_free

SCRIPT = """
import keras
import numpy as np

from keras_c2kd import CrossModalDistiller
from keras_c2kd import KnowledgeDistillation

layers = keras.layers
distiller = CrossModalDistiller(
    student=keras.Sequential([keras.Input((4,)), layers.Dense(3)]),
    teacher=keras.Sequential([keras.Input((5,)), layers.Dense(3)]),
    student_modality="wrist",
    teacher_modality="camera",
    method=KnowledgeDistillation(),
)
inputs = {"wrist": np.zeros((2, 4)), "camera": np.zeros((2, 5))}
print(distiller.predict(inputs, verbose=0).shape)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
distiller.compile("sgd", loss)
try:
    distiller.fit(inputs, np.zeros(2, "int32"), verbose=0)
except ValueError as error:
    print(error)
"""


def test_a_backend_that_predicts_only():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={"KERAS_BACKEND": "numpy", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    shape, refusal = done.stdout.splitlines()
    assert shape == "(2, 3)"
    assert "needs the tensorflow, torch or jax backend" in refusal
    assert refusal.endswith("Received: KERAS_BACKEND=numpy")
