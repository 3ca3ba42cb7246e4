"""Pseudo-labels: the teacher's classes for samples without a label."""

from typing import Any

import keras
from keras import ops

from keras_c2kd.methods.distillation_method import DistillationMethod
from keras_c2kd.methods.search_space import WEIGHT
from keras_c2kd.methods.search_space import SearchRange
from keras_c2kd.methods.targets import Targets
from keras_c2kd.ops import full_precision
from keras_c2kd.typing import Config
from keras_c2kd.typing import NamedTensors
from keras_c2kd.typing import Outputs
from keras_c2kd.typing import Tensor
from keras_c2kd.utils.argument_checks import check_number
from keras_c2kd.utils.argument_checks import check_weights


@keras.saving.register_keras_serializable("keras_c2kd")
class PseudoLabels(DistillationMethod):
    """The student learns the teacher's classes where there is no label.

    `L = H(f_S, y) + w_p H(f_S, argmax_c f_T)`: the supervised loss over the
    labelled samples and, over the unlabelled ones, the cross-entropy with the
    class that the fixed teacher thinks most probable. Each is the mean over
    its own samples. The label -1 marks the unlabelled ones for
    `CrossModalDistiller(unlabeled_class=-1)`.

    With a teacher of another modality it is the transfer of supervision
    between modalities. With a teacher of the student's own,
    `teacher_modality == student_modality`, it is *self-training*: the
    baseline that any cross-modal gain has to beat.

    Args:
        confidence: Float from 0 to 1. The term leaves out unlabelled
            samples to whose class the teacher gives a smaller probability.
            Defaults to `0.0`: all take part.
        pseudo_label_weight: Float, `w_p`. Defaults to `1.0`.
        **kwargs: `update_frozen_statistics` of `DistillationMethod`, `name`
            and `dtype`.

    Raises:
        ValueError: If `confidence` is not between 0 and 1, or the weight is
            negative or not finite.

    Logged besides the terms: `pseudo_label_fraction`, the fraction of the
    samples that learn a class of the teacher's.

    Example:
    >>> network = keras.Sequential([keras.Input((8,)), keras.layers.Dense(5)])
    >>> distiller = CrossModalDistiller(
    ...     student=network,
    ...     teacher=keras.models.clone_model(network),
    ...     student_modality="wrist",
    ...     teacher_modality="camera",
    ...     method=PseudoLabels(confidence=0.8),
    ...     unlabeled_class=-1,
    ... )
    >>> distiller.method.loss_names
    ('student_supervised', 'pseudo_labels')

    Reference: Lee, ICML 2013 workshop, Eq. 15, where the network itself is
    the teacher and the weight grows; Gupta et al., CVPR 2016 (supervision
    transfer between modalities); Xue et al., ICCV 2021 (a student of another
    modality trained on pseudo-labels).
    """

    fixes_teacher = True
    loss_names = ("student_supervised", "pseudo_labels")
    diagnostic_names = ("pseudo_label_fraction",)

    search_space = {
        "pseudo_label_weight": WEIGHT,
        "confidence": SearchRange(0.0, 0.95),
    }

    def __init__(
        self,
        confidence: float = 0.0,
        pseudo_label_weight: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_number(minimum=0, maximum=1, confidence=confidence)
        check_weights(pseudo_label_weight=pseudo_label_weight)
        self.confidence = confidence
        self.pseudo_label_weight = pseudo_label_weight

    def compute_losses(
        self, outputs: Outputs, targets: Targets
    ) -> tuple[NamedTensors, NamedTensors]:
        """Return the supervised term and that of the pseudo-labels."""
        student = full_precision(outputs["student"]["logits"])
        losses = {
            # H(f_S, y)
            "student_supervised": targets.supervised_loss(student),
            "pseudo_labels": ops.zeros((), dtype=student.dtype),
        }
        fraction = ops.zeros((), dtype=student.dtype)
        if targets.labeled is not None:
            teacher = full_precision(outputs["teacher"]["logits"])
            unlabeled = ops.logical_not(targets.labeled)
            if targets.valid is not None:
                unlabeled = ops.logical_and(unlabeled, targets.valid)
            sure = ops.max(ops.softmax(teacher, axis=-1), axis=-1)
            chosen = ops.logical_and(unlabeled, sure >= self.confidence)
            if targets.has_class is not None:
                chosen = ops.logical_and(chosen, targets.has_class)
            # Eq. 15: w_p H(f_S, argmax_c f_T), labels holding the argmax
            losses["pseudo_labels"] = (
                self.pseudo_label_weight
                * self.reduce_samples(
                    _cross_entropy(targets.labels, student),
                    targets.weights_where(chosen),
                )
            )
            fraction = targets.mean(ops.cast(chosen, student.dtype))
        return losses, {"pseudo_label_fraction": fraction}

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "confidence": self.confidence,
            "pseudo_label_weight": self.pseudo_label_weight,
        }


def _cross_entropy(labels: Tensor, logits: Tensor) -> Tensor:
    """Return `-log softmax(logits)[label]` of each sample, `(...)`."""
    log_p = ops.log_softmax(logits, axis=-1)
    chosen = ops.take_along_axis(log_p, ops.expand_dims(labels, -1), axis=-1)
    return -ops.squeeze(chosen, -1)
