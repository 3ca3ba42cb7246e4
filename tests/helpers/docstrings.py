"""Runs the examples in the docstrings of a room's public names."""

import doctest
import inspect

import keras
import numpy as np

import keras_c2kd


def run_examples(room, without=(), **names):
    """Run the example of every public name of a room.

    Args:
        room: Module with `__all__`.
        without: Public names that have an example which cannot run.
        **names: What the examples use besides the room's public names.
    """
    shared = {
        **{name: getattr(room, name) for name in room.__all__},
        **names,
    }
    for name in room.__all__:
        thing = getattr(room, name)
        if name in without:
            assert "Example:\n```python" in inspect.getdoc(thing), name
        else:
            run_example(thing, **shared)


def run_example(thing, **names):
    """Run the example in the docstring of a class or a function.

    Args:
        thing: Class or function.
        **names: What the example uses besides keras, keras_c2kd and np.
    """
    shared = {"keras": keras, "keras_c2kd": keras_c2kd, "np": np, **names}
    finder = doctest.DocTestFinder(recurse=False)
    runner = doctest.DocTestRunner(verbose=False)
    report = []
    (examples,) = finder.find(
        thing, module=inspect.getmodule(thing), globs=shared
    )
    assert examples.examples, f"{thing.__qualname__} has no example"
    runner.run(examples, out=report.append)
    assert not runner.failures, "".join(report)
