"""Distillation losses on logits and features, as `keras.losses.Loss`."""

from keras_c2kd.losses.cross_image_relation import CrossImageRelation
from keras_c2kd.losses.decoupled_kd import DKDLoss
from keras_c2kd.losses.decoupled_kd import NonTargetKLDivergence
from keras_c2kd.losses.decoupled_kd import TargetKLDivergence
from keras_c2kd.losses.dist import DISTLoss
from keras_c2kd.losses.feature_losses import FeatureMeanSquaredError
from keras_c2kd.losses.feature_losses import HierarchicalContextLoss
from keras_c2kd.losses.kl_divergence import KLDivergence
from keras_c2kd.losses.nkd import NKDLoss
from keras_c2kd.losses.relational_kd import RelationalAngle
from keras_c2kd.losses.relational_kd import RelationalDistance
from keras_c2kd.losses.relational_loss import RelationalLoss

__all__ = [
    "CrossImageRelation",
    "DISTLoss",
    "DKDLoss",
    "FeatureMeanSquaredError",
    "HierarchicalContextLoss",
    "KLDivergence",
    "NKDLoss",
    "NonTargetKLDivergence",
    "RelationalAngle",
    "RelationalDistance",
    "RelationalLoss",
    "TargetKLDivergence",
]
