"""FitNet: hints from a feature map of the teacher."""

from typing import Any
from typing import Literal
from typing import TypeAlias
from typing import get_args

import keras

from keras_c2kd.layers import ConvolutionBlock
from keras_c2kd.losses import FeatureMeanSquaredError
from keras_c2kd.methods.building_blocks import MapShape
from keras_c2kd.methods.distillation_method import DistillationMethod
from keras_c2kd.methods.search_space import SearchRange
from keras_c2kd.methods.targets import Targets
from keras_c2kd.ops import as_map
from keras_c2kd.ops import resize_bilinear
from keras_c2kd.typing import Config
from keras_c2kd.typing import NamedTensors
from keras_c2kd.typing import Outputs
from keras_c2kd.typing import OutputShapes
from keras_c2kd.utils.argument_checks import check_weights

Regressor: TypeAlias = Literal["resize", "convolution", "pointwise"]
_REGRESSORS = get_args(Regressor)


@keras.saving.register_keras_serializable("keras_c2kd")
class FitNet(DistillationMethod):
    """The student's feature map, after a regressor, imitates the teacher's.

    `L = H(f_S, y) + w mean((r(F_S) - F_T)^2)`, the mean over positions,
    channels and samples. The teacher is fixed.

    The regressor `r` is one convolution, of the first two with bias, batch
    normalisation and ReLU, so that negative values of the teacher cannot be
    matched:

    - `"resize"` brings the student's map to the teacher's size first
      (bilinear, corners kept), then 3x3: any two sizes, as maps of two
      modalities have. It is the form of C2KD's code, and the default.
    - `"convolution"` chooses by the heights: equal or larger, a kernel that
      is just large enough; twice as high, 3x3 with stride 2; half as high,
      4x4 transposed. It refuses other sizes.
    - `"pointwise"` is a 1x1 convolution alone, without bias, normalisation
      and activation, the common form for dense prediction. A map of another
      size than the teacher's is resized first, as for `"resize"`. Nothing
      bounds what it gives: a `hint_weight` of about 1 suits it, with 100 a
      rate that suits the others may diverge.

    A sequence counts as a map of width 1, a vector as one of a single position.

    Reads one feature map of each network, `features`; the method's papers tap
    the third of five stages.

    Args:
        hint_weight: Float, `w`. Defaults to `100.0`.
        regressor: `"resize"` (default), `"convolution"` or `"pointwise"`.
        **kwargs: `update_frozen_statistics`, `name` and `dtype`, see
            `DistillationMethod`.

    Raises:
        ValueError: If `regressor` is unknown or does not fit the maps, or the
            maps' sizes are not known.

    Example:
    >>> method = FitNet(hint_weight=1.0, regressor="pointwise")
    >>> method.loss_names, method.student_features
    (('student_supervised', 'hint'), ('features',))

    Reference: Romero et al., ICLR 2015, Eq. 3. The paper trains in two stages
    (hints, then distillation); common code, as here, trains jointly.
    """

    fixes_teacher = True
    needs_logits = False
    student_features = ("features",)
    teacher_features = ("features",)
    loss_names = ("student_supervised", "hint")

    search_space = {
        "hint_weight": SearchRange(1.0, 1000.0, log=True),
    }

    def __init__(
        self,
        hint_weight: float = 100.0,
        regressor: Regressor = "resize",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if regressor not in _REGRESSORS:
            raise ValueError(
                f"`regressor` must be one of {_REGRESSORS}. Received: "
                f"regressor={regressor!r}"
            )
        check_weights(hint_weight=hint_weight)
        self.hint_weight = hint_weight
        self.regressor = regressor
        self.hint_loss = FeatureMeanSquaredError()

    def build(self, outputs_shape: OutputShapes) -> None:
        """Create the regressor."""
        student, teacher = (
            self.static_map_shape(outputs_shape, role, "features")
            for role in ("student", "teacher")
        )
        self.size = teacher[1:3]
        options: dict[str, Any] = {"use_bias": True, "negative_slope": 0.0}
        if self.regressor == "convolution":
            options |= _fitting_convolution(student, teacher)
        else:
            student = (student[0], *self.size, student[3])
            if self.regressor == "resize":
                options["kernel_size"] = 3
            else:
                options = {"normalize": False}
        self.adaptation = ConvolutionBlock(
            teacher[3],
            dtype=self.dtype_policy,
            name="student_regressor",
            **options,
        )
        self.adaptation.build(student)
        self.built = True

    def call(self, outputs: Outputs, training: bool = False) -> NamedTensors:
        """Return the student's map in the teacher's form."""
        # r(F_S)
        student = as_map(outputs["student"]["features"])
        if self.regressor != "convolution":
            student = resize_bilinear(student, self.size)
        return {"hint": self.adaptation(student, training=training)}

    def compute_losses(
        self, outputs: Outputs, targets: Targets
    ) -> tuple[NamedTensors, NamedTensors]:
        """Return the supervised and the hint term."""
        # Eq. 3: mean((r(F_S) - F_T)^2)
        hint = self.hint_loss(
            as_map(outputs["teacher"]["features"]),
            outputs["heads"]["hint"],
            sample_weight=targets.feature_weights,
        )
        student = outputs["student"]["logits"]
        losses = {
            # H(f_S, y) + w hint
            "student_supervised": targets.supervised_loss(student),
            "hint": self.hint_weight * hint,
        }
        return losses, {}

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "hint_weight": self.hint_weight,
            "regressor": self.regressor,
        }


def _fitting_convolution(
    student: MapShape, teacher: MapShape
) -> dict[str, Any]:
    """Return the options of a convolution from one map's size to another's."""
    height, width = student[1:3]
    wanted = teacher[1:3]
    options: list[dict[str, Any]] = []
    if height == 2 * wanted[0]:
        options = [{"kernel_size": 3, "strides": 2}]
    elif 2 * height == wanted[0]:
        options = [{"transposed": True}]
    elif height >= wanted[0] and width >= wanted[1]:
        kernel = (1 + height - wanted[0], 1 + width - wanted[1])
        options = [{"kernel_size": kernel, "padding": 0}]
    for choice in options:
        block = ConvolutionBlock(teacher[3], **choice)
        if block.compute_output_shape(student)[1:3] == tuple(wanted):
            return choice
    raise ValueError(
        "No single convolution maps the student's features to the teacher's "
        f"size. Received: student {student}, teacher {teacher}. Use "
        'regressor="resize".'
    )
