"""Classical knowledge distillation."""

import keras

from keras_c2kd.losses import KLDivergence
from keras_c2kd.methods.logit_distillation import LogitDistillation


@keras.saving.register_keras_serializable("keras_c2kd")
class KnowledgeDistillation(LogitDistillation):
    """The student imitates the soft labels of the teacher.

    `L = w_s H(f_S, y) + w_d T^2 mean(eta KL(softmax(f_T / T) ||
    softmax(f_S / T)))`, with `eta` the selection (all samples by default).

    Args:
        temperature: Positive float, `T`. Defaults to `4.0`, the value of the
            common CIFAR configurations.
        supervised_weight: Float, `w_s`. Defaults to `1.0`.
        distillation_weight: Float, `w_d`, the `lambda` of Eq. 1. Defaults to
            `1.0`.
        selection: `SampleSelection`, see `LogitDistillation`.
        **kwargs: `warmup_steps`, `teacher_update` (default `"none"`: the
            teacher is fixed) and `update_frozen_statistics`, see
            `LogitDistillation`; and as for every Keras layer.

    Reference: Hinton et al., 2015; Huo et al., CVPR 2024, Eq. 1. The paper
    does not publish its `T` and `lambda`, so temperature and weights are our
    choice. Common code bases use T=4 with weights 0.1 and 0.9 (CIFAR), or T=1
    with 0.5 and 0.5 (ImageNet).
    """

    def __init__(
        self,
        temperature=4.0,
        supervised_weight=1.0,
        distillation_weight=1.0,
        selection=None,
        **kwargs,
    ):
        super().__init__(
            KLDivergence(temperature),
            supervised_weight=supervised_weight,
            distillation_weight=distillation_weight,
            selection=selection,
            **kwargs,
        )

    def get_config(self):
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "temperature": self.divergence.temperature,
        }
