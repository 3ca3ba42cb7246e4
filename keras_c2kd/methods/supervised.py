"""Plain supervised training: the paper's "w/o KD" row."""

from typing import Any

import keras

from keras_c2kd.methods.distillation_method import DistillationMethod
from keras_c2kd.methods.gradient_modulation import OGM
from keras_c2kd.methods.gradient_modulation import ModulatesGradients
from keras_c2kd.methods.targets import Targets
from keras_c2kd.typing import Config
from keras_c2kd.typing import NamedTensors
from keras_c2kd.typing import Outputs


@keras.saving.register_keras_serializable("keras_c2kd")
class Supervised(ModulatesGradients, DistillationMethod):
    """The student alone, with the loss given to `compile()`.

    `L = H(f_S, y)`. Needs no teacher. It is the baseline of every table
    ("w/o KD") and the way to pre-train a teacher: give that network as the
    student.

    Args:
        modulation: `OGM` to balance the encoders of a network that `fuse`
            built, the student here, or None (default).
        **kwargs: `name` and `dtype`, see `DistillationMethod`.

    Example:
    >>> method = Supervised()
    >>> method.loss_names, method.needs_teacher
    (('student_supervised',), False)

    Reference: Huo et al., CVPR 2024, Tables 1 to 6, "w/o KD".
    """

    needs_teacher = False
    needs_logits = False

    def __init__(self, modulation: OGM | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.modulation = modulation
        if modulation is not None:
            self.needs_logits = True
            self.student_features = modulation.taps

    def compute_losses(
        self, outputs: Outputs, targets: Targets
    ) -> tuple[NamedTensors, NamedTensors]:
        """Return the supervised loss of the student."""
        logits = outputs["student"]["logits"]
        # H(f_S, y)
        return {"student_supervised": targets.supervised_loss(logits)}, {}

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "modulation": keras.saving.serialize_keras_object(self.modulation),
        }
