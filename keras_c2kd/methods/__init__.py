"""Distillation methods: which networks train, and by which terms."""

from keras_c2kd.methods.c2kd import C2KD
from keras_c2kd.methods.cirkd import CIRKD
from keras_c2kd.methods.decoupled_kd import DKD
from keras_c2kd.methods.deep_mutual_learning import DML
from keras_c2kd.methods.dist import DIST
from keras_c2kd.methods.distillation_method import DistillationMethod
from keras_c2kd.methods.fitnet import FitNet
from keras_c2kd.methods.gradient_modulation import OGM
from keras_c2kd.methods.knowledge_distillation import KnowledgeDistillation
from keras_c2kd.methods.last_minibatch import DLB
from keras_c2kd.methods.multimodal_teacher import MultimodalTeacher
from keras_c2kd.methods.multimodal_teacher import fuse
from keras_c2kd.methods.normalized_kd import NKD
from keras_c2kd.methods.pseudo_labels import PseudoLabels
from keras_c2kd.methods.relational_kd import RKD
from keras_c2kd.methods.review_kd import ReviewKD
from keras_c2kd.methods.search_space import SearchChoice
from keras_c2kd.methods.search_space import SearchRange
from keras_c2kd.methods.shake import SHAKE
from keras_c2kd.methods.supervised import Supervised
from keras_c2kd.methods.targets import Targets
from keras_c2kd.methods.uskd import USKD
from keras_c2kd.methods.zipf_kd import ZipfKD

__all__ = [
    "C2KD",
    "CIRKD",
    "DIST",
    "DKD",
    "DLB",
    "DML",
    "DistillationMethod",
    "FitNet",
    "KnowledgeDistillation",
    "MultimodalTeacher",
    "NKD",
    "OGM",
    "PseudoLabels",
    "RKD",
    "ReviewKD",
    "SHAKE",
    "SearchChoice",
    "SearchRange",
    "Supervised",
    "Targets",
    "USKD",
    "ZipfKD",
    "fuse",
]
