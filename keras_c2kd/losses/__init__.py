"""Row-wise divergences on logits, as `keras.losses.Loss`."""

from keras_c2kd.losses.kl_divergence import KLDivergence
from keras_c2kd.losses.kl_divergence import NonTargetKLDivergence

__all__ = ["KLDivergence", "NonTargetKLDivergence"]
