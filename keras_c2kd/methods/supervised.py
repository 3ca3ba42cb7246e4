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
        modulation: `OGM` to balance the encoders of a network that `fuse`
            built, the student here, or None (default).
        **kwargs: `name` and `dtype`, see `DistillationMethod`.

    Reference: Huo et al., CVPR 2024, Tables 1 to 6, "w/o KD".
    """

    needs_teacher = False
    needs_logits = False

    def __init__(self, modulation=None, **kwargs):
        super().__init__(**kwargs)
        self.modulation = modulation
        if modulation is not None:
            self.needs_logits = True
            self.student_features = modulation.taps

    def attach(self, student, teacher):
        """Show the network to the modulation."""
        if self.modulation is not None:
            self.modulation.attach(student)

    def compute_losses(self, outputs, targets):
        """Return the supervised loss of the student."""
        logits = outputs["student"]["logits"]
        return {"student_supervised": targets.supervised_loss(logits)}, {}

    @property
    def modifies_gradients(self):
        """Whether there is a modulation."""
        return self.modulation is not None

    def modify_gradients(self, gradients, variables, outputs, labels):
        """Modulate the gradients of the encoders, if asked to."""
        if self.modulation is None:
            return gradients
        return self.modulation.modulate(
            gradients, variables, outputs["student"], labels
        )

    def get_config(self):
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "modulation": keras.saving.serialize_keras_object(self.modulation),
        }
