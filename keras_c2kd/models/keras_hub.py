"""KerasHub, imported when it is needed."""

from keras_c2kd.extras import import_extra


def keras_hub():
    """Return the module `keras_hub`.

    Raises:
        ImportError: If it is not installed.
    """
    return import_extra("keras_hub", "hub", "Building this network")
