"""Decoupled knowledge distillation (DKD) and its halves, TCKD and NCKD."""

from collections.abc import Mapping

import keras
from keras import ops

from keras_c2kd.losses.kl_divergence import KLDivergence
from keras_c2kd.losses.labelled import split_labels
from keras_c2kd.ops import exclude_target
from keras_c2kd.ops import full_precision
from keras_c2kd.ops import kl_divergence
from keras_c2kd.ops import target_log_probabilities
from keras_c2kd.ops.numerics import check_same_shape
from keras_c2kd.typing import Config
from keras_c2kd.typing import DType
from keras_c2kd.typing import Tensor
from keras_c2kd.utils.argument_checks import check_weights


@keras.saving.register_keras_serializable("keras_c2kd.losses")
class DKDLoss(KLDivergence):
    """Distillation of the target class and of the other classes, separately.

    `loss = T^2 * (alpha * KL(b_T || b_S) + beta * KL(p_hat || q_hat))`, with
    `b = (p_t, 1 - p_t)` the label's class against all others (TCKD) and the
    hats the softmax without the label's class (NCKD). A half of weight 0 is
    not computed.

    The classical loss is the case that no two weights give: it is
    `TCKD + (1 - p_T,t) * NCKD`, sample by sample, which silences the second
    half where the teacher is confident.

    Args:
        target_weight: Float, `alpha`. Defaults to `1.0`. With 0 it is NCKD.
        non_target_weight: Float, `beta`. Defaults to `8.0`. With 0 it is
            TCKD.
        temperature: Positive float, `T`. Defaults to `4.0`.
        reduction: As for every Keras loss.
        name: Name of the loss.
        dtype: As for every Keras loss.

    Raises:
        ValueError: If a weight is negative or not finite, both are 0, or
            `temperature` is not positive.

    Call arguments:
        y_true: Dict `{"logits": ..., "labels": ...}`: the target's logits of
            shape `(..., num_classes)` and the integer labels `(...)`. Without
            the labels, the logits are taken to lack the label's class
            already, and only the second half is left.
        y_pred: Learner logits, of the same shape.
        sample_weight: Optional, shape `(...)`.

    Example:
    >>> teacher = np.array([[1.0, 2.0, 3.0], [3.0, 1.0, 2.0]])
    >>> student = np.array([[0.0, 2.0, 1.0], [1.0, 0.0, 0.0]])
    >>> labels = np.array([2, 0])
    >>> loss = DKDLoss()
    >>> round(float(loss({"logits": teacher, "labels": labels}, student)), 3)
    1.146

    Reference: Zhao et al., CVPR 2022, Eq. 7; Huo et al., CVPR 2024, Eq. 2 and
    Table 2. The authors' code takes logarithms of summed probabilities and
    subtracts 1000 from the target's logit; both are exact here.
    """

    takes_labels = True

    def __init__(
        self,
        target_weight: float = 1.0,
        non_target_weight: float = 8.0,
        temperature: float = 4.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "dkd",
        dtype: DType | None = None,
    ) -> None:
        super().__init__(temperature, reduction, name, dtype)
        check_weights(
            target_weight=target_weight, non_target_weight=non_target_weight
        )
        if not target_weight and not non_target_weight:
            raise ValueError(
                "At least one half of DKD must count. Received: "
                f"target_weight={target_weight}, "
                f"non_target_weight={non_target_weight}"
            )
        self.target_weight = target_weight
        self.non_target_weight = non_target_weight

    def call(self, y_true: Mapping[str, Tensor], y_pred: Tensor) -> Tensor:
        """Return the loss of each sample, shape `(...)`."""
        target, labels = split_labels(y_true, self)
        if labels is None and not self.non_target_weight:
            raise ValueError(
                "TCKD is about the label's class, which these logits lack. "
                'Received: y_true without "labels". In C2KD use it with '
                "non_target=False."
            )
        target = ops.stop_gradient(full_precision(target))
        learner = full_precision(y_pred)
        check_same_shape(
            target.shape, learner.shape, "DKD compares logits of one shape."
        )
        scale = self.temperature**2
        loss = ops.zeros_like(learner[..., 0])
        if self.target_weight and labels is not None:
            loss += (self.target_weight * scale) * _divergence(
                target_log_probabilities(target, labels, self.temperature),
                target_log_probabilities(learner, labels, self.temperature),
            )
        if self.non_target_weight:
            if labels is not None:
                target = exclude_target(target, labels)
                learner = exclude_target(learner, labels)
            loss += (self.non_target_weight * scale) * kl_divergence(
                target, learner, self.temperature
            )
        return loss

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "target_weight": self.target_weight,
            "non_target_weight": self.non_target_weight,
        }


class _Half(DKDLoss):
    """One half of `DKDLoss`, with weight 1; subclasses have its weights."""

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        config = super().get_config()
        del config["target_weight"], config["non_target_weight"]
        return config


@keras.saving.register_keras_serializable("keras_c2kd.losses")
class TargetKLDivergence(_Half):
    """Divergence of the confidence in the label's class: TCKD.

    `loss = T^2 * KL((p_t, 1 - p_t) || (q_t, 1 - q_t))`, which is
    `DKDLoss(1.0, 0.0, temperature)`.

    Args:
        temperature: Positive float, `T`. Defaults to `1.0`.
        reduction: As for every Keras loss.
        name: Name of the loss.
        dtype: As for every Keras loss.

    Call arguments:
        y_true: Dict `{"logits": ..., "labels": ...}` as for `DKDLoss`.
        y_pred: Learner logits, shape `(..., num_classes)`.
        sample_weight: Optional, shape `(...)`.

    Example:
    >>> teacher = np.array([[1.0, 2.0, 3.0], [3.0, 1.0, 2.0]])
    >>> student = np.array([[0.0, 2.0, 1.0], [1.0, 0.0, 0.0]])
    >>> labels = np.array([2, 0])
    >>> loss = TargetKLDivergence()
    >>> round(float(loss({"logits": teacher, "labels": labels}, student)), 3)
    0.205

    Reference: Zhao et al., CVPR 2022, Eq. 5; Huo et al., CVPR 2024, Eq. 2.
    """

    def __init__(
        self,
        temperature: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "target_kl_divergence",
        dtype: DType | None = None,
    ) -> None:
        super().__init__(1.0, 0.0, temperature, reduction, name, dtype)


@keras.saving.register_keras_serializable("keras_c2kd")
class NonTargetKLDivergence(_Half):
    """Divergence among the non-target classes only: NCKD.

    `loss = T^2 * KL(p_hat || q_hat)`, where `p_hat` and `q_hat` are the
    softmax of the target's and the learner's logits with the label's class
    left out, which is `DKDLoss(0.0, 1.0, temperature)`. The confidence in the
    label's class, where two modalities differ most, has no influence. With
    two classes it is exactly 0.

    Args:
        temperature: Positive float, `T`. Defaults to `1.0`.
        reduction: As for every Keras loss.
        name: Name of the loss.
        dtype: As for every Keras loss.

    Call arguments:
        y_true: Dict `{"logits": ..., "labels": ...}` as for `DKDLoss`.
        y_pred: Learner logits, shape `(..., num_classes)`.
        sample_weight: Optional, shape `(...)`.

    Example:
    >>> teacher = np.array([[1.0, 2.0, 3.0], [3.0, 1.0, 2.0]])
    >>> student = np.array([[0.0, 2.0, 1.0], [1.0, 0.0, 0.0]])
    >>> labels = np.array([2, 0])
    >>> loss = NonTargetKLDivergence()
    >>> round(float(loss({"logits": teacher, "labels": labels}, student)), 3)
    0.097

    Reference: Huo et al., CVPR 2024, Eq. 2 (NCKD) and Eq. 6; Zhao et al.,
    CVPR 2022. The authors' C2KD code zeroes the target logit instead, see
    `keras_c2kd.ops.zero_target`.
    """

    def __init__(
        self,
        temperature: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "non_target_kl_divergence",
        dtype: DType | None = None,
    ) -> None:
        super().__init__(0.0, 1.0, temperature, reduction, name, dtype)


def _divergence(target: Tensor, learner: Tensor) -> Tensor:
    """KL divergence of log-probabilities, summed over the last axis."""
    return ops.sum(ops.exp(target) * (target - learner), axis=-1)
