"""Normalized knowledge distillation (NKD)."""

from collections.abc import Mapping

import keras
from keras import ops

from keras_c2kd.losses.kl_divergence import KLDivergence
from keras_c2kd.losses.labelled import split_labels
from keras_c2kd.ops import exclude_target
from keras_c2kd.ops import full_precision
from keras_c2kd.ops import target_log_probabilities
from keras_c2kd.ops.numerics import check_same_shape
from keras_c2kd.typing import Config
from keras_c2kd.typing import DType
from keras_c2kd.typing import Tensor
from keras_c2kd.utils.argument_checks import check_weights


@keras.saving.register_keras_serializable("keras_c2kd.losses")
class NKDLoss(KLDivergence):
    """Cross-entropy with soft target and normalised non-target classes.

    `loss = -p_t log q_t - gamma * T^2 * sum_{i != t} p_hat_i log q_hat_i`,
    with `p` the target's and `q` the learner's probabilities, and the hats
    the softmax at temperature `T` of the logits without the label's class.
    The first part has temperature 1. It is a cross-entropy: its least value
    is not 0, its gradient is that of the divergence.

    Args:
        non_target_weight: Float, `gamma`. Defaults to `1.5`.
        temperature: Positive float, `T`. Defaults to `1.0`.
        reduction: As for every Keras loss.
        name: Name of the loss.
        dtype: As for every Keras loss.

    Call arguments:
        y_true: Dict `{"logits": ..., "labels": ...}`: the target's logits of
            shape `(..., num_classes)` and the integer labels `(...)`. Without
            the labels, the logits are taken to lack the label's class
            already, and only the second part is left.
        y_pred: Learner logits, of the same shape.
        sample_weight: Optional, shape `(...)`.

    Example:
    >>> teacher = np.array([[1.0, 2.0, 3.0], [3.0, 1.0, 2.0]])
    >>> student = np.array([[0.0, 2.0, 1.0], [1.0, 0.0, 0.0]])
    >>> labels = np.array([2, 0])
    >>> loss = NKDLoss()
    >>> round(float(loss({"logits": teacher, "labels": labels}, student)), 3)
    1.67

    Reference: Yang et al., ICCV 2023, Eq. 8. Their CIFAR configuration is
    `non_target_weight=3.5, temperature=3.0`. An early version of their code
    built the non-target mask wrongly; this is the corrected one.
    """

    takes_labels = True

    def __init__(
        self,
        non_target_weight: float = 1.5,
        temperature: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "nkd",
        dtype: DType | None = None,
    ) -> None:
        super().__init__(temperature, reduction, name, dtype)
        check_weights(non_target_weight=non_target_weight)
        self.non_target_weight = non_target_weight

    def call(self, y_true: Mapping[str, Tensor], y_pred: Tensor) -> Tensor:
        """Return the loss of each sample, shape `(...)`."""
        target, labels = split_labels(y_true, self)
        target = ops.stop_gradient(full_precision(target))
        learner = full_precision(y_pred)
        check_same_shape(
            target.shape, learner.shape, "NKD compares logits of one shape."
        )
        loss = ops.zeros_like(learner[..., 0])
        if labels is not None:
            log_p = target_log_probabilities(target, labels)[..., 0]
            log_q = target_log_probabilities(learner, labels)[..., 0]
            loss -= ops.exp(log_p) * log_q
            target = exclude_target(target, labels)
            learner = exclude_target(learner, labels)
        if target.shape[-1] == 1:
            return loss  # Of two classes the rest is one, and certain.
        soft = ops.softmax(target / self.temperature, axis=-1)
        log_q = ops.log_softmax(learner / self.temperature, axis=-1)
        scale = self.non_target_weight * self.temperature**2
        return loss - scale * ops.sum(soft * log_q, axis=-1)

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "non_target_weight": self.non_target_weight,
        }
