"""The examples in the docstrings of public names run, on every backend."""

import doctest
import inspect

import keras
import numpy as np
import pytest

import keras_c2kd
from keras_c2kd import layers
from keras_c2kd import losses
from keras_c2kd import methods
from keras_c2kd import models
from keras_c2kd import ops
from keras_c2kd import selection

ROOMS = (ops, losses, selection, layers, methods, models)
NAMES = {name: getattr(room, name) for room in ROOMS for name in room.__all__}
NAMES |= {
    "CrossModalDistiller": keras_c2kd.CrossModalDistiller,
    "ProfileSteps": keras_c2kd.ProfileSteps,
    "keras": keras,
    "keras_c2kd": keras_c2kd,
    "models": models,
    "np": np,
    "ops": keras.ops,
}

# The networks' examples show shapes; initialising them takes JAX a minute.
PARAMETERS = [
    *ROOMS[:-1],
    pytest.param(models, marks=pytest.mark.one_backend),
]


def run_examples(room, names):
    finder = doctest.DocTestFinder()
    runner = doctest.DocTestRunner(verbose=False)
    report = []
    for name in names:
        thing = getattr(room, name)
        examples = finder.find(
            thing, name, inspect.getmodule(thing), NAMES.copy()
        )
        assert any(example.examples for example in examples), (
            f"{room.__name__}.{name} has no example"
        )
        for example in examples:
            runner.run(example, out=report.append)
    assert not runner.failures, "".join(report)


@pytest.mark.parametrize("room", PARAMETERS, ids=lambda room: room.__name__)
def test_examples(room):
    run_examples(room, room.__all__)


@pytest.mark.parametrize(
    "name", ["CrossModalDistiller", "ProfileSteps", "distribute"]
)
def test_examples_at_the_root(name):
    run_examples(keras_c2kd, [name])
