"""Packages of the extras, imported when they are needed."""

import importlib

# Where the package has another name than its module.
_PACKAGES = {
    "sklearn": "scikit-learn",
    "PIL": "Pillow",
    "keras_hub": "KerasHub",
}


def import_extra(module, extra, purpose):
    """Import a module that an extra of this package installs.

    Args:
        module: String, such as `"scipy.stats"`.
        extra: String, the name of the extra.
        purpose: String, what needs it, such as `"Drawing a figure"`.

    Returns:
        The module.

    Raises:
        ImportError: If it cannot be imported; says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        raise ImportError(
            f"{purpose} needs {_PACKAGES.get(name, name)}, which cannot be "
            f"imported ({error}). Install it with: pip install "
            f'"keras_c2kd[{extra}]"'
        ) from error
