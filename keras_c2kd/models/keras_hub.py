"""KerasHub, imported when it is needed."""

from typing import Any

from keras_c2kd.utils.optional_imports import import_optional


def keras_hub() -> Any:
    """Return the module `keras_hub`.

    Raises:
        ImportError: If it is not installed.
    """
    return import_optional("keras_hub", "hub", "Building this network")
