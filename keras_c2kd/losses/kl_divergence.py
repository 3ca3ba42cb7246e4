"""Kullback-Leibler losses on logits."""

import keras
from keras import ops

from keras_c2kd.ops import full_precision_dtype
from keras_c2kd.ops import kl_divergence
from keras_c2kd.typing import Config
from keras_c2kd.typing import DType
from keras_c2kd.typing import Tensor
from keras_c2kd.typing import Tensors
from keras_c2kd.utils.argument_checks import check_positive


@keras.saving.register_keras_serializable("keras_c2kd")
class KLDivergence(keras.losses.Loss):
    """Divergence of a learner's logits from a target's logits.

    `loss = T^2 * KL(softmax(target / T) || softmax(learner / T))` for each
    sample. The target is held constant: no gradient reaches `y_true`.

    Unlike `keras.losses.KLDivergence` it takes logits, which is exact for
    logits of any size, and it is a distillation loss: the target teaches,
    the learner learns.

    Args:
        temperature: Positive float, softens both distributions. Defaults to
            `1.0`, the only value that C2KD uses.
        reduction: As for every Keras loss. Defaults to
            `"sum_over_batch_size"`, the mean over samples.
        name: Name of the loss.
        dtype: As for every Keras loss.

    Raises:
        ValueError: If `temperature` is not positive.

    Call arguments:
        y_true: Target logits, shape `(..., num_classes)`.
        y_pred: Learner logits, shape `(..., num_classes)`.
        sample_weight: Optional, shape `(...)`.

    Example:
    >>> teacher = np.array([[1.0, 2.0, 3.0], [3.0, 1.0, 2.0]])
    >>> student = np.array([[0.0, 2.0, 1.0], [1.0, 0.0, 0.0]])
    >>> loss = KLDivergence(temperature=4.0)
    >>> round(float(loss(teacher, student)), 3)
    0.235

    Reference: Hinton et al., 2015, section 2; Huo et al., CVPR 2024, Eq. 1.
    """

    def __init__(
        self,
        temperature: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "kl_divergence",
        dtype: DType | None = None,
    ) -> None:
        dtype = full_precision_dtype() if dtype is None else dtype
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        check_positive(temperature=temperature)
        self.temperature = temperature

    def call(self, y_true: Tensors, y_pred: Tensor) -> Tensor:
        """Return the divergence of each sample, shape `(...)`."""
        divergence = kl_divergence(
            ops.stop_gradient(y_true), y_pred, self.temperature
        )
        return self.temperature**2 * divergence

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {**super().get_config(), "temperature": self.temperature}
