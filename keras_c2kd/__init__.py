"""Cross-modal knowledge distillation (C2KD, CVPR 2024) for Keras 3."""

import importlib
from typing import Any

from keras_c2kd import layers
from keras_c2kd import losses
from keras_c2kd import methods
from keras_c2kd import models
from keras_c2kd import ops
from keras_c2kd import selection
from keras_c2kd.backend.distribution import distribute
from keras_c2kd.backend.keras_internals import check_version
from keras_c2kd.distiller.callbacks import ProfileSteps
from keras_c2kd.distiller.cross_modal_distiller import CrossModalDistiller
from keras_c2kd.methods import C2KD
from keras_c2kd.methods import KnowledgeDistillation
from keras_c2kd.methods import Supervised
from keras_c2kd.version import __version__

__all__ = [
    "C2KD",
    "CrossModalDistiller",
    "KnowledgeDistillation",
    "ProfileSteps",
    "Supervised",
    "Training",
    "__version__",
    "compare",
    "distribute",
    "layers",
    "losses",
    "methods",
    "models",
    "ops",
    "selection",
]

check_version()


def __getattr__(name: str) -> Any:
    """Import what training does not need when somebody asks for it."""
    if name in ("analysis", "comparison", "data"):
        return importlib.import_module(f"{__name__}.{name}")
    if name in ("Training", "compare"):
        return getattr(importlib.import_module(f"{__name__}.comparison"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
