"""KerasHub, imported when it is needed."""


def keras_hub():
    """Return the module `keras_hub`.

    Raises:
        ImportError: If it is not installed.
    """
    try:
        import keras_hub
    except ImportError as error:
        raise ImportError(
            "This network is built on KerasHub, which is not installed: "
            'pip install "keras_c2kd[hub]"'
        ) from error
    return keras_hub
