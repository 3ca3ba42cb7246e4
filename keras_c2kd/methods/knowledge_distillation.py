"""Classical knowledge distillation."""

from typing import Any

import keras

from keras_c2kd.losses import KLDivergence
from keras_c2kd.methods.logit_distillation import LogitDistillation
from keras_c2kd.methods.search_space import TEMPERATURE
from keras_c2kd.selection import SampleSelection


@keras.saving.register_keras_serializable("keras_c2kd")
class KnowledgeDistillation(LogitDistillation):
    """The student imitates the soft labels of the teacher.

    `L = w_s H(f_S, y) + w_d T^2 mean(eta KL(softmax(f_T / T) ||
    softmax(f_S / T)))`, with `eta` the selection (all samples by default).

    Args:
        temperature: Positive float, `T`. Defaults to `4.0`.
        supervised_weight: Float, `w_s`. Defaults to `0.1`.
        distillation_weight: Float, `w_d`. Defaults to `0.9`.
        selection: `SampleSelection`, see `LogitDistillation`.
        **kwargs: `warmup_steps`, `teacher_update`, `update_frozen_statistics`,
            `name` and `dtype`, see `LogitDistillation`.

    Example:
    >>> method = KnowledgeDistillation(temperature=2.0)
    >>> method.loss_names, method.distillation_weight
    (('student_supervised', 'distillation'), 0.9)

    Reference: Hinton et al., 2015, section 2: a weighted average of the two
    terms, with a considerably lower weight on the labels, and the factor
    `T^2`. They name no weights; the defaults are those of the common CIFAR
    configurations (mdistiller), whose ImageNet ones are T=1 with 0.5 and 0.5.
    Huo et al., CVPR 2024, Eq. 1 has weights of 1 and lambda, and publishes
    neither `T` nor `lambda`; the recipes here take T=4 with 1 and 1.
    """

    divergence_arguments = ("temperature",)

    search_space = {
        **LogitDistillation.search_space,
        "temperature": TEMPERATURE,
    }

    def __init__(
        self,
        temperature: float = 4.0,
        supervised_weight: float = 0.1,
        distillation_weight: float = 0.9,
        selection: SampleSelection | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            # T^2 KL(softmax(f_T / T) || softmax(f_S / T))
            KLDivergence(temperature),
            supervised_weight=supervised_weight,
            distillation_weight=distillation_weight,
            selection=selection,
            **kwargs,
        )
