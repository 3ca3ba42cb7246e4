"""Plain supervised training: the paper's "w/o KD" row."""

import keras

from keras_c2kd.methods.distillation_method import DistillationMethod


@keras.saving.register_keras_serializable("keras_c2kd")
class Supervised(DistillationMethod):
    """The student alone, with the loss given to `compile()`.

    `L = H(f_S, y)`. Needs no teacher. It is the baseline of every table
    ("w/o KD") and the way to pre-train a teacher: give that network as the
    student.

    Args:
        **kwargs: As for every Keras layer.

    Reference: Huo et al., CVPR 2024, Tables 1 to 6, "w/o KD".
    """

    needs_teacher = False
    needs_logits = False

    def __init__(self, **kwargs):
        super().__init__(**kwargs)

    def compute_losses(self, outputs, targets):
        """Return the supervised loss of the student."""
        logits = outputs["student"]["logits"]
        return {"student_supervised": targets.supervised_loss(logits)}, {}
