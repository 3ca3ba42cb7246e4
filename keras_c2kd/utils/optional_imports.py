"""Packages of the extras, imported when they are needed."""

import importlib
from typing import Any

# Where the package has another name than its module.
_PACKAGES = {
    "sklearn": "scikit-learn",
    "PIL": "Pillow",
    "keras_hub": "KerasHub",
}


def import_optional(module: str, extra: str, purpose: str) -> Any:
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
            f"imported ({error}). {install_command(extra)}"
        ) from error


def install_command(extra: str) -> str:
    """Return the sentence that says how to install an extra.

    Args:
        extra: String, the name of the extra.
    """
    return (
        f"It comes with the extra {extra!r}: in the clone of keras_c2kd, "
        f'pip install -e ".[{extra}]"'
    )
