"""Distillation losses on logits and features, as `keras.losses.Loss`."""

from keras_c2kd.losses.cross_image_relation import CrossImageRelation
from keras_c2kd.losses.decoupled_kd import DKD
from keras_c2kd.losses.decoupled_kd import TargetKLDivergence
from keras_c2kd.losses.dist import DIST
from keras_c2kd.losses.feature_losses import FeatureMeanSquaredError
from keras_c2kd.losses.feature_losses import HierarchicalContextLoss
from keras_c2kd.losses.kl_divergence import KLDivergence
from keras_c2kd.losses.kl_divergence import NonTargetKLDivergence
from keras_c2kd.losses.nkd import NKD
from keras_c2kd.losses.relational_kd import RelationalAngle
from keras_c2kd.losses.relational_kd import RelationalDistance
from keras_c2kd.losses.relational_loss import RelationalLoss

__all__ = [
    "CrossImageRelation",
    "DIST",
    "DKD",
    "FeatureMeanSquaredError",
    "HierarchicalContextLoss",
    "KLDivergence",
    "NKD",
    "NonTargetKLDivergence",
    "RelationalAngle",
    "RelationalDistance",
    "RelationalLoss",
    "TargetKLDivergence",
]
