"""Relational knowledge distillation."""

from typing import Any

import keras

from keras_c2kd.losses import RelationalAngle
from keras_c2kd.losses import RelationalDistance
from keras_c2kd.methods.distillation_method import DistillationMethod
from keras_c2kd.methods.search_space import SearchRange
from keras_c2kd.methods.targets import Targets
from keras_c2kd.ops import global_average_pool
from keras_c2kd.typing import Config
from keras_c2kd.typing import NamedTensors
from keras_c2kd.typing import Outputs
from keras_c2kd.utils.argument_checks import check_weights


@keras.saving.register_keras_serializable("keras_c2kd")
class RKD(DistillationMethod):
    """The student keeps the distances and angles between the samples.

    `L = H(f_S, y) + w_d L_distance + w_a L_angle`, with the losses
    `keras_c2kd.losses.RelationalDistance` and `RelationalAngle` on pooled
    embeddings. The two embeddings may have unequal widths. The teacher is
    fixed.

    Reads one feature of each network, `features`, and averages it over all
    positions.

    Args:
        distance_weight: Float, `w_d`. Defaults to `25.0`.
        angle_weight: Float, `w_a`. Defaults to `50.0`. Its memory grows with
            `batch_size ** 3`.
        **kwargs: `update_frozen_statistics`, `name` and `dtype`, see
            `DistillationMethod`.

    Raises:
        ValueError: If both weights are 0. Training refuses batches with fewer
            than three samples (two without angles); a last batch that is
            smaller adds 0.

    Example:
    >>> RKD(angle_weight=0.0).loss_names
    ('student_supervised', 'relational_distance')
    >>> RKD().min_batch_size
    3

    Reference: Park et al., CVPR 2019, Eq. 4 to 9. Default weights: the common
    re-implementation for classification; the authors' metric-learning scripts
    take 1 and 2, without supervised term.
    """

    fixes_teacher = True
    needs_logits = False
    student_features = ("features",)
    teacher_features = ("features",)
    needs_global_batch = True

    search_space = {
        "distance_weight": SearchRange(2.5, 250.0, log=True),
        "angle_weight": SearchRange(5.0, 500.0, log=True),
    }

    def __init__(
        self,
        distance_weight: float = 25.0,
        angle_weight: float = 50.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_weights(
            distance_weight=distance_weight, angle_weight=angle_weight
        )
        if not distance_weight and not angle_weight:
            raise ValueError(
                "At least one relation must count. Received: "
                f"distance_weight={distance_weight}, "
                f"angle_weight={angle_weight}"
            )
        self.distance_weight = distance_weight
        self.angle_weight = angle_weight
        self.min_batch_size = 3 if angle_weight else 2
        self._relations: dict[str, tuple[float, keras.losses.Loss]] = {}
        if distance_weight:
            loss = RelationalDistance()
            self._relations["relational_distance"] = (distance_weight, loss)
        if angle_weight:
            loss = RelationalAngle()
            self._relations["relational_angle"] = (angle_weight, loss)
        self.loss_names = ("student_supervised", *self._relations)

    def compute_losses(
        self, outputs: Outputs, targets: Targets
    ) -> tuple[NamedTensors, NamedTensors]:
        """Return the supervised term and the relations' terms."""
        student, teacher = (
            global_average_pool(outputs[role]["features"])
            for role in ("student", "teacher")
        )
        logits = outputs["student"]["logits"]
        # H(f_S, y)
        losses = {"student_supervised": targets.supervised_loss(logits)}
        # w_d L_distance and w_a L_angle
        for name, (weight, loss) in self._relations.items():
            losses[name] = weight * loss(
                teacher, student, sample_weight=targets.feature_weights
            )
        return losses, {}

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "distance_weight": self.distance_weight,
            "angle_weight": self.angle_weight,
        }
