"""Distillation from a stronger teacher (DIST)."""

import keras
from keras import ops

from keras_c2kd.losses.relational_loss import RelationalLoss
from keras_c2kd.losses.relational_loss import weighted_mean
from keras_c2kd.ops import pearson_correlation
from keras_c2kd.typing import Config
from keras_c2kd.typing import DType
from keras_c2kd.typing import Tensor
from keras_c2kd.utils.argument_checks import check_positive
from keras_c2kd.utils.argument_checks import check_weights


@keras.saving.register_keras_serializable("keras_c2kd.losses")
class DISTLoss(RelationalLoss):
    """One minus Pearson's correlation, between and within classes.

    With `p`, `q` the probabilities at temperature `T` of target and learner,

    - `inter = T^2 * (1 - mean_b rho(p[b, :], q[b, :]))`, over the classes of
      each sample,
    - `intra = T^2 * (1 - mean_c rho(p[:, c], q[:, c]))`, over the samples of
      each class,

    `loss = beta * inter + gamma * intra`, and `rho` as in
    `keras_c2kd.ops.pearson_correlation`: 0 where a sample or a class is
    constant. Dense logits count every pixel as a sample.

    A batch of one has no relation within a class: `intra` is `T^2`, without
    gradient.

    Args:
        inter_weight: Float, `beta`. Defaults to `1.0`.
        intra_weight: Float, `gamma`. Defaults to `1.0`.
        temperature: Positive float, `T`. Defaults to `1.0` (ImageNet; the
            CIFAR configurations use 4).
        reduction: `"sum_over_batch_size"` or `"mean"`.
        name: Name of the loss.
        dtype: As for every Keras loss.

    Raises:
        ValueError: If `temperature` is not positive, or a weight is negative
            or not finite, or both are 0.

    Call arguments:
        y_true: Target logits, shape `(..., num_classes)`.
        y_pred: Learner logits, of the same shape.
        sample_weight: Optional, shape `(...)`. It enters the correlations:
            samples of weight 0 are left out of them, and the loss is
            multiplied by the mean weight.

    Example:
    >>> teacher = np.array([[1.0, 2.0, 3.0], [3.0, 1.0, 2.0]])
    >>> student = np.array([[0.0, 2.0, 1.0], [1.0, 0.0, 0.0]])
    >>> loss = DISTLoss()
    >>> round(float(loss(teacher, student)), 3)
    0.516

    Reference: Huang et al., NeurIPS 2022, Eq. 7 to 9. How a selection enters
    the correlations (Huo et al., CVPR 2024, Table 4, "Ours + DIST") is our
    choice: their code for it is not published.
    """

    def __init__(
        self,
        inter_weight: float = 1.0,
        intra_weight: float = 1.0,
        temperature: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "dist",
        dtype: DType | None = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        check_positive(temperature=temperature)
        check_weights(inter_weight=inter_weight, intra_weight=intra_weight)
        if not inter_weight and not intra_weight:
            raise ValueError(
                "At least one relation must count. Received: "
                f"inter_weight={inter_weight}, intra_weight={intra_weight}"
            )
        self.inter_weight = inter_weight
        self.intra_weight = intra_weight
        self.temperature = temperature

    def relate(
        self, target: Tensor, learner: Tensor, weights: Tensor
    ) -> Tensor:
        """Return the weighted sum of both relations."""
        target, learner = (
            ops.reshape(
                ops.softmax(logits / self.temperature, axis=-1),
                (-1, logits.shape[-1]),
            )
            for logits in (target, learner)
        )
        weights = ops.reshape(weights, (-1,))
        samples = pearson_correlation(target, learner, axis=1)
        inter = 1.0 - weighted_mean(samples, weights)
        classes = pearson_correlation(
            target, learner, axis=0, weights=ops.expand_dims(weights, 1)
        )
        intra = 1.0 - ops.mean(classes)
        return self.temperature**2 * (
            self.inter_weight * inter + self.intra_weight * intra
        )

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "inter_weight": self.inter_weight,
            "intra_weight": self.intra_weight,
            "temperature": self.temperature,
        }
