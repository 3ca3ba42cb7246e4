"""What all methods share that distil logits by one loss."""

from typing import Any

import keras

from keras_c2kd.methods.distillation_method import DistillationMethod
from keras_c2kd.methods.search_space import WARM_UP
from keras_c2kd.methods.search_space import WEIGHT
from keras_c2kd.methods.search_space import SearchSpace
from keras_c2kd.methods.targets import Targets
from keras_c2kd.selection import SampleSelection
from keras_c2kd.selection import SelectAll
from keras_c2kd.selection.sample_selection import check_selection
from keras_c2kd.typing import Config
from keras_c2kd.typing import NamedTensors
from keras_c2kd.typing import Outputs
from keras_c2kd.typing import Tensor
from keras_c2kd.utils.argument_checks import check_weights


class LogitDistillation(DistillationMethod):
    """The student imitates the teacher's logits, by the measure of a loss.

    `L = w_s H(f_S, y) + w_d r(step) D(f_T, f_S)`, the divergence `D` over the
    selected samples, its target held constant. If the teacher is trained
    (`teacher_update`), it is by its own supervised loss alone, the term
    `teacher_supervised`.

    Args:
        divergence: `keras.losses.Loss` of `keras_c2kd.losses`, of each sample
            or relational, on (target logits, learner logits).
        supervised_weight: Float, `w_s`.
        distillation_weight: Float, `w_d`.
        warmup_steps: Integer. The distillation weight grows linearly from 0
            at the first training step to its value after so many steps,
            `r = min(1, step / warmup_steps)`. 0: it is constant.
        selection: `SampleSelection` of the samples that are distilled, on
            the networks' logits. Defaults to `SelectAll()`. With
            `KendallSelection()` it is the row "+KRC" of Table 2, with
            `RandomSelection()` the row "+Random".
        **kwargs: `teacher_update`, `update_frozen_statistics`, `name` and
            `dtype`, see `DistillationMethod`.

    Raises:
        ValueError: If `selection` is no `SampleSelection`, or a weight is
            negative, not finite, or both are 0.

    Logged besides the terms: `selected_fraction` and `kendall`.
    """

    diagnostic_names = ("selected_fraction", "kendall")
    warms_up = True
    # Arguments that the constructor hands on to the divergence.
    divergence_arguments: tuple[str, ...] = ()
    final_names = (*DistillationMethod.final_names, "divergence")

    search_space: SearchSpace = {
        "distillation_weight": WEIGHT,
        "warmup_steps": WARM_UP,
    }

    def __init__(
        self,
        divergence: keras.losses.Loss,
        /,
        supervised_weight: float = 1.0,
        distillation_weight: float = 1.0,
        warmup_steps: int = 0,
        selection: SampleSelection | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(warmup_steps=warmup_steps, **kwargs)
        check_weights(
            supervised_weight=supervised_weight,
            distillation_weight=distillation_weight,
        )
        if not supervised_weight and not distillation_weight:
            raise ValueError(
                "At least one term must train the student. Received: "
                f"supervised_weight={supervised_weight}, "
                f"distillation_weight={distillation_weight}"
            )
        self.divergence = divergence
        self.supervised_weight = supervised_weight
        self.distillation_weight = distillation_weight
        self.selection = SelectAll() if selection is None else selection
        check_selection(self.selection)
        names = ["student_supervised", "distillation"]
        if self.teacher_update != "none":
            names.append("teacher_supervised")
        self.loss_names = tuple(names)

    def compute_losses(
        self, outputs: Outputs, targets: Targets
    ) -> tuple[NamedTensors, NamedTensors]:
        """Return the supervised terms and the distillation term."""
        student = outputs["student"]["logits"]
        teacher = outputs["teacher"]["logits"]
        weights: Tensor | None = targets.weights
        diagnostics: NamedTensors = {}
        if self.needs_logits:
            weights, diagnostics = self.select(
                self.selection, teacher, student, targets, self.divergence
            )
        # D(f_T, f_S) over the selected samples.
        distillation = self.diverge(
            self.divergence, teacher, student, targets.labels, weights
        )
        losses = {
            # w_s H(f_S, y)
            "student_supervised": self.supervised_weight
            * targets.supervised_loss(student),
            # w_d r(step) D(f_T, f_S)
            "distillation": self.distillation_weight
            * self.warm_up()
            * distillation,
        }
        if "teacher_supervised" in self.loss_names:
            # H(f_T, y)
            losses["teacher_supervised"] = targets.supervised_loss(teacher)
        return losses, diagnostics

    def get_config(self) -> Config:
        """Return the constructor's arguments that all these methods have."""
        return {
            **super().get_config(),
            "supervised_weight": self.supervised_weight,
            "distillation_weight": self.distillation_weight,
            "selection": keras.saving.serialize_keras_object(self.selection),
            **{
                name: getattr(self.divergence, name)
                for name in self.divergence_arguments
            },
        }
