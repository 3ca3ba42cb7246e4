"""Shadow knowledge distillation (SHAKE)."""

from typing import Any

import keras
from keras import ops

from keras_c2kd.layers import ConvolutionBlock
from keras_c2kd.losses import KLDivergence
from keras_c2kd.methods.building_blocks import MapShape
from keras_c2kd.methods.distillation_method import DistillationMethod
from keras_c2kd.methods.linear_classifier import LinearClassifier
from keras_c2kd.methods.search_space import TEMPERATURE
from keras_c2kd.methods.search_space import WEIGHT
from keras_c2kd.methods.targets import Targets
from keras_c2kd.ops import as_map
from keras_c2kd.ops import full_precision
from keras_c2kd.ops import global_average_pool
from keras_c2kd.typing import Config
from keras_c2kd.typing import NamedTensors
from keras_c2kd.typing import Network
from keras_c2kd.typing import Outputs
from keras_c2kd.typing import OutputShapes
from keras_c2kd.typing import Tensor
from keras_c2kd.utils.argument_checks import check_integer
from keras_c2kd.utils.argument_checks import check_number
from keras_c2kd.utils.argument_checks import check_weights

_SCALE = 3.1415
_EPSILON = 1e-7


@keras.saving.register_keras_serializable("keras_c2kd")
class SHAKE(DistillationMethod):
    """A shadow head on the fixed teacher learns with the student.

    With the logits `s`, `t`, `h` of student, teacher and shadow, each
    normalised over the classes (mean 0, variance 1, times 3.1415), and
    `D(a, b) = T^2 KL(softmax(b / T) || softmax(a / T))`, `b` held constant:

    - `student_supervised` = gamma H(s, y), `distillation` = alpha D(s, t)
    - `shadow_supervised` = beta H(h, y)
    - `shadow_mutual` = beta (D(h, s) + D(s, h))
    - `shadow_hint` = beta mean((h - t)^2)

    The shadow fuses three maps of the teacher, from shallow to deep:
    `C3(C3(C3(t_1) + C1(t_2)) + C1(t_3))`, C a convolution with BN and ReLU,
    strided where the next map is half as high; then global pooling and the
    *teacher's own classifier* with constant weights. `val_loss` is `H(s, y)`
    of the normalised logits, too; metrics and the deployed student have the
    logits as they are, which changes no prediction.

    Reads `stage_1`, `stage_2`, `stage_3` of the teacher; say where they are:
    `teacher_features=["stage1", "stage2", "stage3"]`.

    The shadow head of C2KD's code: ReLU behind the 3x3 convolutions, a slope
    of 0.1 behind the 1x1 ones (AVE and CREMA-D; VGGSound has ReLU alone), 256
    channels, a classifier of its own, on the stem and the first two stages:
    `SHAKE(own_classifier=True, pointwise_negative_slope=0.1,
    shadow_channels=256)`.

    Args:
        supervised_weight: Float, `gamma`. Defaults to `1.0`.
        distillation_weight: Float, `alpha`. Defaults to `1.0`.
        shadow_weight: Float, `beta`. Defaults to `1.0`.
        temperature: Positive float, `T`. Defaults to `4.0`.
        own_classifier: Whether the shadow has a classifier of its own that
            is trained, as in C2KD's code, instead of the teacher's. Defaults
            to `False`.
        negative_slope: Float, slope of the shadow's activations below 0.
            Defaults to `0.0` (ReLU).
        pointwise_negative_slope: Float, slope of the activations behind the
            1x1 convolutions (`C1`), where it is another one. Defaults to
            `None`, `negative_slope` for all.
        shadow_channels: Integer, channels of the shadow's last convolution.
            Defaults to `None`, those of the third map. Others need
            `own_classifier=True`, or to be what the teacher's classifier
            reads.
        **kwargs: `update_frozen_statistics`, `name` and `dtype`, see
            `DistillationMethod`.

    Raises:
        ValueError: If the maps do not follow one another by a stride of 1 or
            2, or the shadow has not the width that the teacher's classifier
            reads; if a slope is negative or not finite, or
            `shadow_channels` no integer of at least 1.

    Example:
    >>> method = SHAKE(own_classifier=True, shadow_channels=64)
    >>> method.teacher_features
    ('stage_1', 'stage_2', 'stage_3')

    Reference: Li and Jin, NeurIPS 2022, Eq. 3 to 6. The authors publish no
    default for `alpha` and `beta`: 1 is our choice.
    """

    fixes_teacher = True
    teacher_features = ("stage_1", "stage_2", "stage_3")
    loss_names = (
        "student_supervised",
        "distillation",
        "shadow_supervised",
        "shadow_mutual",
        "shadow_hint",
    )

    search_space = {
        "distillation_weight": WEIGHT,
        "shadow_weight": WEIGHT,
        "temperature": TEMPERATURE,
    }

    def __init__(
        self,
        supervised_weight: float = 1.0,
        distillation_weight: float = 1.0,
        shadow_weight: float = 1.0,
        temperature: float = 4.0,
        own_classifier: bool = False,
        negative_slope: float = 0.0,
        pointwise_negative_slope: float | None = None,
        shadow_channels: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_weights(
            supervised_weight=supervised_weight,
            distillation_weight=distillation_weight,
            shadow_weight=shadow_weight,
        )
        check_number(minimum=0, negative_slope=negative_slope)
        self.supervised_weight = supervised_weight
        self.distillation_weight = distillation_weight
        self.shadow_weight = shadow_weight
        self.temperature = temperature
        self.own_classifier = own_classifier
        if pointwise_negative_slope is not None:
            check_number(
                minimum=0, pointwise_negative_slope=pointwise_negative_slope
            )
        if shadow_channels is not None:
            check_integer(minimum=1, shadow_channels=shadow_channels)
        self.negative_slope = negative_slope
        self.pointwise_negative_slope = pointwise_negative_slope
        self.shadow_channels = shadow_channels
        self.divergence = KLDivergence(temperature)

    def attach(self, student: Network, teacher: Network | None) -> None:
        """Find the teacher's classifier."""
        if not self.own_classifier:
            self._classifier = LinearClassifier(teacher, "teacher")

    def build(self, outputs_shape: OutputShapes) -> None:
        """Create the shadow head."""
        first, second, third = (
            self.static_map_shape(outputs_shape, "teacher", name)
            for name in self.teacher_features
        )
        num_classes = outputs_shape["student"]["logits"][-1]
        self.size = self.dense_size(
            outputs_shape["student"]["logits"], "student"
        )
        self.fuse_1 = self._block(second[3], 3, first, second, "fuse_1")
        self.skip_2 = self._block(second[3], 1, second, second, "skip_2")
        self.fuse_2 = self._block(third[3], 3, second, third, "fuse_2")
        self.skip_3 = self._block(third[3], 1, third, third, "skip_3")
        width = self.shadow_channels or third[3]
        self.fuse_3 = self._block(width, 3, third, third, "fuse_3")
        if self.own_classifier:
            self.classifier = keras.layers.Dense(
                num_classes, dtype=self.dtype_policy, name="shadow_classifier"
            )
            self.classifier.build((None, width))
        elif self._classifier.width != width:
            received = f"teacher_features['stage_3'] with {width} channels"
            if self.shadow_channels is not None:
                received = f"shadow_channels={width}"
            raise ValueError(
                "The shadow ends in the teacher's classifier, which reads "
                f"{self._classifier.width} features. Received: {received}. "
                "Tap the classifier's input, or use own_classifier=True."
            )
        self.built = True

    def _block(
        self,
        filters: int,
        kernel_size: int,
        maps: MapShape,
        wanted: MapShape,
        name: str,
    ) -> ConvolutionBlock:
        slope = self.negative_slope
        if kernel_size == 1 and self.pointwise_negative_slope is not None:
            slope = self.pointwise_negative_slope
        for strides in (1, 2):
            block = ConvolutionBlock(
                filters,
                kernel_size,
                strides=strides,
                negative_slope=slope,
                dtype=self.dtype_policy,
                name=f"shadow_{name}",
            )
            if block.compute_output_shape(maps)[1:3] == wanted[1:3]:
                block.build(maps)
                return block
        raise ValueError(
            "SHAKE's shadow halves the teacher's maps from one to the next, "
            f"or keeps their size. Received: teacher maps {maps} and then "
            f"{wanted}. Tap other layers with `teacher_features=`."
        )

    def call(self, outputs: Outputs, training: bool = False) -> NamedTensors:
        """Return the shadow's logits."""
        first, second, third = (
            as_map(outputs["teacher"][name]) for name in self.teacher_features
        )
        # C3(C3(C3(t_1) + C1(t_2)) + C1(t_3))
        maps = self.fuse_1(first, training=training)
        maps = maps + self.skip_2(second, training=training)
        maps = self.fuse_2(maps, training=training)
        maps = maps + self.skip_3(third, training=training)
        maps = self.fuse_3(maps, training=training)
        if self.size is None:
            maps = global_average_pool(maps)
        classify = self.classifier if self.own_classifier else self._classifier
        logits = full_precision(classify(maps))
        if self.size is not None:
            logits = ops.image.resize(
                logits, self.size, "bilinear", data_format="channels_last"
            )
        return {"shadow": logits}

    def supervised_logits(self, logits: Tensor) -> Tensor:
        """Return the normalised logits, whose classes keep their order."""
        return _normalized(logits)

    def compute_losses(
        self, outputs: Outputs, targets: Targets
    ) -> tuple[NamedTensors, NamedTensors]:
        """Return the five terms."""
        student = self.supervised_logits(outputs["student"]["logits"])
        teacher = _normalized(outputs["teacher"]["logits"])
        shadow = _normalized(outputs["heads"]["shadow"])
        labels, weights = targets.labels, targets.weights

        def divergence(learner: Tensor, target: Tensor) -> Tensor:
            # D(a, b) = T^2 KL(softmax(b / T) || softmax(a / T))
            return self.diverge(
                self.divergence, target, learner, labels, weights
            )

        losses = {
            # gamma H(s, y)
            "student_supervised": self.supervised_weight
            * targets.supervised_loss(student),
            # alpha D(s, t)
            "distillation": self.distillation_weight
            * divergence(student, teacher),
            # beta H(h, y)
            "shadow_supervised": self.shadow_weight
            * targets.supervised_loss(shadow),
            # beta (D(h, s) + D(s, h))
            "shadow_mutual": self.shadow_weight
            * (divergence(shadow, student) + divergence(student, shadow)),
            # beta mean((h - t)^2)
            "shadow_hint": self.shadow_weight
            * self.reduce_samples(
                ops.mean(ops.square(shadow - teacher), axis=-1), weights
            ),
        }
        return losses, {}

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "supervised_weight": self.supervised_weight,
            "distillation_weight": self.distillation_weight,
            "shadow_weight": self.shadow_weight,
            "temperature": self.temperature,
            "own_classifier": self.own_classifier,
            "negative_slope": self.negative_slope,
            "pointwise_negative_slope": self.pointwise_negative_slope,
            "shadow_channels": self.shadow_channels,
        }


def _normalized(logits: Tensor) -> Tensor:
    """Return logits of mean 0 and variance 1 over classes, times 3.1415."""
    logits = full_precision(logits)
    logits = logits - ops.mean(logits, axis=-1, keepdims=True)
    variance = ops.mean(ops.square(logits), axis=-1, keepdims=True)
    return _SCALE * logits / ops.sqrt(variance + _EPSILON)
