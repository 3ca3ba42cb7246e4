"""The way of one batch through the package, from the step to the update."""

import pathlib
import sys

import keras
import pytest

import keras_c2kd
from keras_c2kd import C2KD
from tests.helpers.toys import toy_data
from tests.helpers.toys import toy_distiller

PACKAGE = pathlib.Path(keras_c2kd.__file__).parent
# What a reader has to open to follow one step of C2KD. Less is better.
MOST_FILES = 22
MOST_FUNCTIONS = 68


def walk_of_a_step():
    """Files and functions of the package, in the order of their first call."""
    distiller = toy_distiller(C2KD())
    inputs, labels = toy_data(16)
    distiller.train_on_batch(inputs, labels)
    walk, is_over = [], []

    def note(frame, event, _):
        code = frame.f_code
        path = pathlib.Path(code.co_filename)
        if event != "call" or is_over or PACKAGE not in path.parents:
            return
        if code.co_name == "update_metrics":
            is_over.append(True)
        elif not code.co_name.startswith("<"):  # Not comprehensions.
            name = path.relative_to(PACKAGE).as_posix(), code.co_qualname
            if name not in walk:
                walk.append(name)

    sys.setprofile(note)
    try:
        distiller.train_step((inputs, labels))
    finally:
        sys.setprofile(None)
    return walk


@pytest.mark.skipif(
    keras.backend.backend() != "torch",
    reason="a step runs in Python on PyTorch; elsewhere it is traced once",
)
def test_the_way_of_a_batch_is_short():
    walk = walk_of_a_step()
    files = list(dict.fromkeys(path for path, _ in walk))
    printed = "\n".join(f"{path}  {name}" for path, name in walk)
    assert len(files) > 10
    assert len(files) <= MOST_FILES, printed
    assert len(walk) <= MOST_FUNCTIONS, printed
