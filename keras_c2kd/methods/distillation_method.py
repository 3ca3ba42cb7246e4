"""The contract of a distillation method."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_c2kd.ops import kendall_rank_correlation
from keras_c2kd.selection import KendallSelection

TEACHER_UPDATES = ("all", "top", "none")


@dataclasses.dataclass(frozen=True)
class Targets:
    """What the outputs of one batch are compared with.

    Attributes:
        labels: Integer tensor, one class a row (sample or pixel), shape of
            the logits without the last axis. Ignored rows hold 0.
        weights: Float tensor of the shape of `labels`, or None. Sample
            weights and ignored rows in one: the mean of `loss * weights` over
            all rows is the weighted mean over the rows that count.
        valid: Boolean tensor of the shape of `labels`, or None if no row is
            ignored.
        supervised_loss: Function from logits to the scalar loss given to
            `compile()`, sample weights included.
    """

    labels: Any
    weights: Any
    valid: Any
    supervised_loss: Callable

    def mean(self, values):
        """Mean over the rows that are not ignored, without sample weights."""
        if self.valid is None:
            return ops.mean(values)
        valid = ops.cast(self.valid, values.dtype)
        return ops.divide_no_nan(ops.sum(values * valid), ops.sum(valid))


class DistillationMethod(keras.layers.Layer):
    """Which networks train, and which loss terms join which outputs.

    A method is a Keras layer, so that its heads, queues and random state are
    tracked, trained and saved with the distiller. It belongs to one distiller.
    A subclass says what it needs in the class attributes, creates its heads
    in `build`, runs them in `call`, and returns named loss terms from
    `compute_losses`.

    Attributes:
        needs_teacher: Whether there must be a teacher.
        needs_logits: Whether the networks must end in logits; only plain
            supervision is content with probabilities.
        student_features: Names of the feature maps it reads of the student.
        teacher_features: Names of the feature maps it reads of the teacher.
        loss_names: Names of the terms that `compute_losses` returns.
        diagnostic_names: Names of the further figures it returns.

    Args:
        teacher_update: Which layers of the teacher are trained with the
            student: `"all"`, `"top"` (the distiller's `teacher_top_layers`)
            or `"none"`.
        update_frozen_statistics: Whether the layers of the teacher that are
            *not* trained still run in training mode, so that batch
            normalisation uses and updates batch statistics (and dropout
            drops). `False` (default) is Keras' meaning of a frozen layer,
            `True` what the authors' code does.
        **kwargs: As for every Keras layer.

    Raises:
        ValueError: If `teacher_update` is unknown.
    """

    needs_teacher = True
    needs_logits = True
    student_features = ()
    teacher_features = ()
    loss_names = ("student_supervised",)
    diagnostic_names = ()

    def __init__(
        self, teacher_update="none", update_frozen_statistics=False, **kwargs
    ):
        super().__init__(autocast=False, **kwargs)
        if teacher_update not in TEACHER_UPDATES:
            raise ValueError(
                f"`teacher_update` must be one of {TEACHER_UPDATES}. "
                f"Received: teacher_update={teacher_update!r}"
            )
        self.teacher_update = teacher_update
        self.update_frozen_statistics = update_frozen_statistics

    def build(self, outputs_shape):
        """Create the method's heads and state.

        Args:
            outputs_shape: `{"student": {"logits": shape, feature: shape},
                "teacher": {...}}`, static, batch axis first.
        """
        self.built = True

    def call(self, outputs, training=False):
        """Run the method's heads on the networks' outputs.

        Args:
            outputs: `{"student": {"logits": ..., feature: ...}, "teacher":
                {...}}`; no `"teacher"` if there is none.
            training: Boolean.

        Returns:
            Dict from a head's name to its output. Empty by default.
        """
        return {}

    def compute_losses(self, outputs, targets):
        """Return the loss terms of one batch and the diagnostics.

        Args:
            outputs: What `call` received, with what it returned under
                `"heads"`.
            targets: `Targets`.

        Returns:
            Two dicts from names to scalars: the terms, weighted and ready to
            be added up (`loss_names`), and figures that are only logged
            (`diagnostic_names`).
        """
        raise NotImplementedError(
            f"{type(self).__name__} is a DistillationMethod and must "
            "implement `compute_losses(outputs, targets)`."
        )

    def modify_gradients(self, gradients, variables, outputs, labels):
        """Return the gradients that the optimizer applies.

        Args:
            gradients: List of tensors (or None), scaled if the optimizer
                scales the loss.
            variables: List of variables, in the same order.
            outputs: As in `compute_losses`.
            labels: The batch's labels as they came.

        Returns:
            List in the same order. By default, `gradients` unchanged.
        """
        return gradients

    def select(self, selection, teacher, student, targets):
        """Apply a selection to two sets of logits.

        Args:
            selection: `SampleSelection`.
            teacher: Teacher logits to score, `(..., num_classes)`.
            student: Student logits to score, of the same shape.
            targets: `Targets`.

        Returns:
            The weight of each row, selection and sample weight in one, shape
            `(...)`; and the diagnostics `selected_share` and `kendall`.
        """
        selected, score = selection(
            teacher, student, targets.labels, valid=targets.valid
        )
        if not isinstance(selection, KendallSelection):
            score = kendall_rank_correlation(teacher, student)
        weights = selected
        if targets.weights is not None:
            weights = selected * ops.cast(targets.weights, selected.dtype)
        return weights, {
            "selected_share": targets.mean(selected),
            "kendall": targets.mean(score),
        }

    def get_config(self):
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "teacher_update": self.teacher_update,
            "update_frozen_statistics": self.update_frozen_statistics,
        }
