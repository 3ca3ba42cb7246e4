"""Distillation from a stronger teacher."""

from typing import Any

import keras

from keras_c2kd import losses
from keras_c2kd.methods.logit_distillation import LogitDistillation
from keras_c2kd.methods.search_space import TEMPERATURE
from keras_c2kd.selection import SampleSelection


@keras.saving.register_keras_serializable("keras_c2kd")
class DIST(LogitDistillation):
    """The student imitates correlations instead of exact probabilities.

    `L = w_s H(f_S, y) + w_d (beta inter + gamma intra)`, with the loss
    `keras_c2kd.losses.DISTLoss`. "Ours + DIST" of the paper's Table 4 is
    `C2KD(divergence=keras_c2kd.losses.DISTLoss())`.

    Args:
        inter_weight: Float, `beta`. Defaults to `1.0`.
        intra_weight: Float, `gamma`. Defaults to `1.0`.
        temperature: Positive float. Defaults to `1.0` (ImageNet; CIFAR: 4).
        supervised_weight: Float, `w_s`. Defaults to `1.0`.
        distillation_weight: Float, `w_d`. Defaults to `2.0`; the authors take
            `1.0` for segmentation.
        selection: `SampleSelection`, see `LogitDistillation`.
        **kwargs: `warmup_steps`, `teacher_update`, `update_frozen_statistics`,
            `name` and `dtype`, see `LogitDistillation`.

    Example:
    >>> DIST(temperature=4.0).divergence.get_config()["intra_weight"]
    1.0

    Reference: Huang et al., NeurIPS 2022, Eq. 7 to 10.
    """

    divergence_arguments = ("inter_weight", "intra_weight", "temperature")

    search_space = {
        **LogitDistillation.search_space,
        "temperature": TEMPERATURE,
    }

    def __init__(
        self,
        inter_weight: float = 1.0,
        intra_weight: float = 1.0,
        temperature: float = 1.0,
        supervised_weight: float = 1.0,
        distillation_weight: float = 2.0,
        selection: SampleSelection | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            # beta inter + gamma intra
            losses.DISTLoss(inter_weight, intra_weight, temperature),
            supervised_weight=supervised_weight,
            distillation_weight=distillation_weight,
            selection=selection,
            **kwargs,
        )
