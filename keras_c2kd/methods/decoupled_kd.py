"""Decoupled knowledge distillation."""

from typing import Any

import keras

from keras_c2kd import losses
from keras_c2kd.methods.logit_distillation import LogitDistillation
from keras_c2kd.methods.search_space import TEMPERATURE
from keras_c2kd.methods.search_space import SearchRange
from keras_c2kd.selection import SampleSelection


@keras.saving.register_keras_serializable("keras_c2kd")
class DKD(LogitDistillation):
    """Confidence in the label's class and the rest, distilled apart.

    `L = w_s H(f_S, y) + w_d r(step) (alpha TCKD + beta NCKD)`, with the loss
    `keras_c2kd.losses.DKDLoss`. The rows of the paper's Table 2:

    - TCKD alone: `DKD(non_target_weight=0.0)`
    - NCKD alone: `DKD(target_weight=0.0, non_target_weight=1.0)`
    - with selection: `selection=KendallSelection()` or `RandomSelection()`

    Args:
        target_weight: Float, `alpha`. Defaults to `1.0`.
        non_target_weight: Float, `beta`. Defaults to `8.0`.
        temperature: Positive float, `T`. Defaults to `4.0`.
        supervised_weight: Float, `w_s`. Defaults to `1.0`.
        distillation_weight: Float, `w_d`. Defaults to `1.0`.
        warmup_steps: Integer, see `LogitDistillation`. Defaults to `0`; the
            authors' CIFAR configurations take 20 epochs (multiply by the
            steps of an epoch), with the weight constant within an epoch.
        selection: `SampleSelection`, see `LogitDistillation`.
        **kwargs: `teacher_update`, `update_frozen_statistics`, `name` and
            `dtype`, see `LogitDistillation`.

    Raises:
        ValueError: If both weights are 0.

    Example:
    >>> method = DKD(non_target_weight=2.0, warmup_steps=100)
    >>> config = method.get_config()
    >>> config["target_weight"], config["non_target_weight"]
    (1.0, 2.0)

    Reference: Zhao et al., CVPR 2022, Eq. 7; Huo et al., CVPR 2024, Eq. 2 and
    Table 2. Defaults: the authors' CIFAR configuration; ImageNet ResNet-34 to
    ResNet-18 takes `non_target_weight=0.5, temperature=1.0`.
    """

    divergence_arguments = ("target_weight", "non_target_weight", "temperature")

    search_space = {
        **LogitDistillation.search_space,
        "non_target_weight": SearchRange(0.5, 20.0, log=True),
        "temperature": TEMPERATURE,
    }

    def __init__(
        self,
        target_weight: float = 1.0,
        non_target_weight: float = 8.0,
        temperature: float = 4.0,
        supervised_weight: float = 1.0,
        distillation_weight: float = 1.0,
        warmup_steps: int = 0,
        selection: SampleSelection | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            # Eq. 7: alpha TCKD + beta NCKD
            losses.DKDLoss(target_weight, non_target_weight, temperature),
            supervised_weight=supervised_weight,
            distillation_weight=distillation_weight,
            warmup_steps=warmup_steps,
            selection=selection,
            **kwargs,
        )
