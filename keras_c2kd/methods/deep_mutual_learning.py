"""Deep mutual learning."""

from typing import Any

import keras

from keras_c2kd.losses import KLDivergence
from keras_c2kd.methods.distillation_method import DistillationMethod
from keras_c2kd.methods.method_options import TeacherUpdate
from keras_c2kd.methods.search_space import TEMPERATURE
from keras_c2kd.methods.search_space import WEIGHT
from keras_c2kd.methods.targets import Targets
from keras_c2kd.typing import Config
from keras_c2kd.typing import NamedTensors
from keras_c2kd.typing import Outputs
from keras_c2kd.utils.argument_checks import check_weights


@keras.saving.register_keras_serializable("keras_c2kd")
class DML(DistillationMethod):
    """Student and teacher imitate each other, as peers.

    - `student_supervised` = H(f_S, y), `teacher_supervised` = H(f_T, y)
    - `student_mutual` = w_m T^2 KL(p_T || p_S), `teacher_mutual` =
      w_m T^2 KL(p_S || p_T), with `p = softmax(f / T)`; the first distribution
      is held constant.

    Each network is trained by its own supervised and mutual term, from the
    same forward pass.

    Args:
        mutual_weight: Float, `w_m`. Defaults to `1.0`.
        temperature: Positive float, `T`. Defaults to `1.0`.
        teacher_update: `"all"` (default) or `"top"`.
        **kwargs: `update_frozen_statistics`, `name` and `dtype`, see
            `DistillationMethod`.

    Raises:
        ValueError: If the teacher is fixed: nothing would be mutual.

    Example:
    >>> DML().loss_names[2:], DML().teacher_update
    (('student_mutual', 'teacher_mutual'), 'all')

    Reference: Zhang et al., CVPR 2018, Eq. 5 to 8. The paper recomputes the
    second network's prediction after the first one's update; common code, as
    here, takes one forward pass for both. In cross-modal distillation (Huo et
    al., CVPR 2024, Table 3) the second network is the pre-trained teacher.
    """

    loss_names = (
        "student_supervised",
        "teacher_supervised",
        "student_mutual",
        "teacher_mutual",
    )

    search_space = {
        "mutual_weight": WEIGHT,
        "temperature": TEMPERATURE,
    }

    def __init__(
        self,
        mutual_weight: float = 1.0,
        temperature: float = 1.0,
        teacher_update: TeacherUpdate = "all",
        **kwargs: Any,
    ) -> None:
        super().__init__(teacher_update=teacher_update, **kwargs)
        if teacher_update == "none":
            raise ValueError(
                "In mutual learning both networks learn. Received: "
                'teacher_update="none". Use KnowledgeDistillation() for a '
                "fixed teacher."
            )
        check_weights(mutual_weight=mutual_weight)
        self.mutual_weight = mutual_weight
        self.temperature = temperature
        self.divergence = KLDivergence(temperature)

    def compute_losses(
        self, outputs: Outputs, targets: Targets
    ) -> tuple[NamedTensors, NamedTensors]:
        """Return the supervised and the mutual term of each network."""
        student = outputs["student"]["logits"]
        teacher = outputs["teacher"]["logits"]
        labels, weights = targets.labels, targets.weights
        losses = {
            # H(f_S, y), H(f_T, y)
            "student_supervised": targets.supervised_loss(student),
            "teacher_supervised": targets.supervised_loss(teacher),
            # w_m T^2 KL(p_T || p_S)
            "student_mutual": self.mutual_weight
            * self.diverge(self.divergence, teacher, student, labels, weights),
            # w_m T^2 KL(p_S || p_T)
            "teacher_mutual": self.mutual_weight
            * self.diverge(self.divergence, student, teacher, labels, weights),
        }
        return losses, {}

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "mutual_weight": self.mutual_weight,
            "temperature": self.temperature,
        }
