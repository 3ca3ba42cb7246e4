"""Normalized knowledge distillation."""

from typing import Any

import keras

from keras_c2kd import losses
from keras_c2kd.methods.logit_distillation import LogitDistillation
from keras_c2kd.methods.search_space import TEMPERATURE
from keras_c2kd.methods.search_space import SearchRange
from keras_c2kd.selection import SampleSelection


@keras.saving.register_keras_serializable("keras_c2kd")
class NKD(LogitDistillation):
    """Soft cross-entropy on the label's class, and on the normalised rest.

    `L = w_s H(f_S, y) + w_d NKD(f_T, f_S, y)`, with the loss
    `keras_c2kd.losses.NKDLoss`.

    Args:
        non_target_weight: Float, `gamma`. Defaults to `1.5`.
        temperature: Positive float, of the non-target part. Defaults to
            `1.0`. The authors' CIFAR configuration is 3.0 with
            `non_target_weight=3.5`.
        supervised_weight: Float, `w_s`. Defaults to `1.0`.
        distillation_weight: Float, `w_d`. Defaults to `1.0`.
        selection: `SampleSelection`, see `LogitDistillation`.
        **kwargs: `warmup_steps`, `teacher_update`, `update_frozen_statistics`,
            `name` and `dtype`, see `LogitDistillation`.

    Example:
    >>> method = NKD(temperature=3.0, non_target_weight=3.5)
    >>> method.loss_names, method.diagnostic_names
    (('student_supervised', 'distillation'), ('selected_fraction', 'kendall'))

    Reference: Yang et al., ICCV 2023, Eq. 8.
    """

    divergence_arguments = ("non_target_weight", "temperature")

    search_space = {
        **LogitDistillation.search_space,
        "non_target_weight": SearchRange(0.5, 5.0, log=True),
        "temperature": TEMPERATURE,
    }

    def __init__(
        self,
        non_target_weight: float = 1.5,
        temperature: float = 1.0,
        supervised_weight: float = 1.0,
        distillation_weight: float = 1.0,
        selection: SampleSelection | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            # Eq. 8: NKD(f_T, f_S, y)
            losses.NKDLoss(non_target_weight, temperature),
            supervised_weight=supervised_weight,
            distillation_weight=distillation_weight,
            selection=selection,
            **kwargs,
        )
