"""Distillation methods: which networks train, and by which terms."""

from keras_c2kd.methods.c2kd import C2KD
from keras_c2kd.methods.distillation_method import DistillationMethod
from keras_c2kd.methods.distillation_method import Targets
from keras_c2kd.methods.knowledge_distillation import KnowledgeDistillation
from keras_c2kd.methods.supervised import Supervised

__all__ = [
    "C2KD",
    "DistillationMethod",
    "KnowledgeDistillation",
    "Supervised",
    "Targets",
]
