"""Every private part of Keras that is used here, and the versions tested."""

import warnings

import keras

# Minor versions: where what is private changes without a word.
TESTED_KERAS = ("3.15", "3.16")


def check_version():
    """Warn if Keras is of a minor version that nobody has tested."""
    minor = ".".join(keras.__version__.split(".")[:2])
    if minor not in TESTED_KERAS:
        warnings.warn(
            "keras_c2kd needs private parts of Keras and was tested with "
            f"Keras {' and '.join(TESTED_KERAS)}. Received: Keras "
            f"{keras.__version__}. What you train may differ or fail: install "
            "one of the tested versions, or run the tests of keras_c2kd.",
            stacklevel=3,
        )
