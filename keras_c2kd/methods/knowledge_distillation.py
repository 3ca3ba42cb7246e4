"""Classical knowledge distillation from a fixed teacher."""

import keras

from keras_c2kd.losses import KLDivergence
from keras_c2kd.methods.distillation_method import DistillationMethod
from keras_c2kd.selection import SelectAll


@keras.saving.register_keras_serializable("keras_c2kd")
class KnowledgeDistillation(DistillationMethod):
    """The student imitates the soft labels of a fixed teacher.

    `L = w_s H(f_S, y) + w_d T^2 mean(eta KL(softmax(f_T / T) ||
    softmax(f_S / T)))`, with `eta` the selection (all samples by default).

    Args:
        temperature: Positive float, `T`. Defaults to `4.0`, the value of the
            common CIFAR configurations.
        supervised_weight: Float, `w_s`. Defaults to `1.0`.
        distillation_weight: Float, `w_d`, the `lambda` of Eq. 1. Defaults to
            `1.0`.
        selection: `SampleSelection` of the samples that are distilled, on
            the networks' logits. Defaults to `SelectAll()`. With
            `KendallSelection()` it is the row "+KRC" of Table 2, with
            `RandomSelection()` the row "+Random".
        **kwargs: `update_frozen_statistics` of `DistillationMethod`, and as
            for every Keras layer.

    Reference: Hinton et al., 2015; Huo et al., CVPR 2024, Eq. 1. The paper
    does not publish its `T` and `lambda`, so temperature and weights are our
    choice. Common code bases use T=4 with weights 0.1 and 0.9 (CIFAR), or T=1
    with 0.5 and 0.5 (ImageNet).
    """

    loss_names = ("student_supervised", "distillation")
    diagnostic_names = ("selected_share", "kendall")

    def __init__(
        self,
        temperature=4.0,
        supervised_weight=1.0,
        distillation_weight=1.0,
        selection=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if self.teacher_update != "none":
            raise ValueError(
                "The teacher of KnowledgeDistillation is fixed. Received: "
                f"teacher_update={self.teacher_update!r}. To train it too: "
                "C2KD(proxies=False, non_target=False, selection=SelectAll())."
            )
        self.divergence = KLDivergence(temperature)
        self.temperature = temperature
        self.supervised_weight = supervised_weight
        self.distillation_weight = distillation_weight
        self.selection = SelectAll() if selection is None else selection

    def compute_losses(self, outputs, targets):
        """Return the supervised and the distillation term."""
        student = outputs["student"]["logits"]
        teacher = outputs["teacher"]["logits"]
        weights, diagnostics = self.select(
            self.selection, teacher, student, targets
        )
        losses = {
            "student_supervised": self.supervised_weight
            * targets.supervised_loss(student),
            "distillation": self.distillation_weight
            * self.divergence(teacher, student, sample_weight=weights),
        }
        return losses, diagnostics

    def get_config(self):
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "temperature": self.temperature,
            "supervised_weight": self.supervised_weight,
            "distillation_weight": self.distillation_weight,
            "selection": keras.saving.serialize_keras_object(self.selection),
        }

    @classmethod
    def from_config(cls, config):
        """Rebuild the method from `get_config()`."""
        config = dict(config)
        config["selection"] = keras.saving.deserialize_keras_object(
            config["selection"]
        )
        return cls(**config)
