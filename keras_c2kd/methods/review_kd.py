"""Knowledge review: each level of the student learns from several."""

from typing import Any

import keras
from keras import ops

from keras_c2kd.layers import ConvolutionBlock
from keras_c2kd.losses import HierarchicalContextLoss
from keras_c2kd.methods.distillation_method import DistillationMethod
from keras_c2kd.methods.search_space import WARM_UP
from keras_c2kd.methods.search_space import WEIGHT
from keras_c2kd.methods.targets import Targets
from keras_c2kd.ops import as_map
from keras_c2kd.ops import resize_nearest
from keras_c2kd.typing import Config
from keras_c2kd.typing import NamedTensors
from keras_c2kd.typing import Outputs
from keras_c2kd.typing import OutputShapes
from keras_c2kd.typing import Tensor
from keras_c2kd.utils.argument_checks import check_integer
from keras_c2kd.utils.argument_checks import check_weights

_MOST_CHANNELS = 512


@keras.saving.register_keras_serializable("keras_c2kd")
class ReviewKD(DistillationMethod):
    """Feature maps of all levels, fused from deep to shallow, imitate.

    From the deepest level to the shallowest, the student's map is brought to
    a common width (1x1 convolution, BN), fused with what the deeper level
    hands on by attention (two gates from a 1x1 convolution and a sigmoid),
    resized to the teacher's map (nearest) and handed on; a 3x3 convolution
    and BN make it comparable with the teacher's map.

    `L = H(f_S, y) + w min(1, step / warmup_steps) sum_levels HCL`, with the
    loss `keras_c2kd.losses.HierarchicalContextLoss`. The teacher is fixed.

    Reads `level_1` (shallow) to `level_n` (deep) of each network; say where
    they are, for example
    `student_features=["stage1", "stage2", "stage3", "stage4", "pool"]`. The
    last one is a map or the pooled vector. The paper taps maps *before* the
    last ReLU of a stage. Maps need not be square nor of equal size.

    Args:
        levels: Integer, number of levels, at least 1. Defaults to `5`: four
            stages and the pooled vector.
        review_weight: Float, `w`. Defaults to `1.0` (ImageNet, ResNet pair);
            between 0.6 and 8 in the CIFAR configurations.
        warmup_steps: Integer. Defaults to `0`. The authors' CIFAR code takes
            20 epochs, with the weight constant within an epoch.
        width: Integer, the common width. Defaults to the channels of the
            student's deepest level, at most 512.
        **kwargs: `update_frozen_statistics`, `name` and `dtype`, see
            `DistillationMethod`.

    Raises:
        ValueError: If a level but the last is no map, or sizes are not known.

    Example:
    >>> method = ReviewKD(levels=3, width=64)
    >>> method.student_features
    ('level_1', 'level_2', 'level_3')

    Reference: Chen et al., CVPR 2021, section 3 and Fig. 4.
    """

    fixes_teacher = True
    needs_logits = False
    loss_names = ("student_supervised", "review")
    warms_up = True
    student_features: tuple[str, ...]

    search_space = {
        "review_weight": WEIGHT,
        "warmup_steps": WARM_UP,
    }

    def __init__(
        self,
        levels: int = 5,
        review_weight: float = 1.0,
        warmup_steps: int = 0,
        width: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(warmup_steps=warmup_steps, **kwargs)
        check_integer(
            minimum=1, why="ReviewKD needs at least one level.", levels=levels
        )
        if width is not None:
            check_integer(minimum=1, width=width)
        check_weights(review_weight=review_weight)
        self.levels = levels
        self.review_weight = review_weight
        self.width = width
        names = tuple(f"level_{number + 1}" for number in range(levels))
        self.student_features = self.teacher_features = names
        self.review_loss = HierarchicalContextLoss()

    def build(self, outputs_shape: OutputShapes) -> None:
        """Create one fusion a level."""
        names = self.student_features
        for role in ("student", "teacher"):
            for name in names[:-1]:
                shape = outputs_shape[role][name]
                if len(shape) < 3:
                    raise ValueError(
                        "ReviewKD compares feature maps; only its last level "
                        f"may be a vector. Received: {role}_features[{name!r}]"
                        f" of shape {tuple(shape)}. Tap layers that give maps, "
                        "or use a method on logits or embeddings."
                    )
        students, teachers = (
            [self.static_map_shape(outputs_shape, role, name) for name in names]
            for role in ("student", "teacher")
        )
        width = self.width or min(_MOST_CHANNELS, students[-1][3])
        self.student_sizes = [shape[1:3] for shape in students]
        self.teacher_sizes = [shape[1:3] for shape in teachers]
        self.entries, self.gates, self.exits = [], [], []
        for number, (student, teacher) in enumerate(zip(students, teachers)):
            maps = (None, *student[1:3], width)
            entry = self._convolution(width, 1, f"student_entry_{number}")
            entry.build(student)
            self.entries.append(entry)
            if number < self.levels - 1:
                gate = keras.layers.Conv2D(
                    2,
                    1,
                    activation="sigmoid",
                    data_format="channels_last",
                    dtype=self.dtype_policy,
                    name=f"student_gate_{number}",
                )
                gate.build((*maps[:3], 2 * width))
                self.gates.append(gate)
            last = self._convolution(teacher[3], 3, f"student_exit_{number}")
            last.build(maps)
            self.exits.append(last)
        self.built = True

    def _convolution(
        self, filters: int, kernel_size: int, name: str
    ) -> ConvolutionBlock:
        return ConvolutionBlock(
            filters,
            kernel_size,
            kernel_initializer=keras.initializers.VarianceScaling(
                scale=1.0, mode="fan_in", distribution="uniform"
            ),
            dtype=self.dtype_policy,
            name=name,
        )

    def call(self, outputs: Outputs, training: bool = False) -> NamedTensors:
        """Return the reviewed maps, `{"level_1": ..., ...}`."""
        reviewed: NamedTensors = {}
        residual: Tensor | None = None
        for number in reversed(range(self.levels)):
            name = self.student_features[number]
            maps = as_map(outputs["student"][name])
            maps = self.entries[number](maps, training=training)
            if residual is not None:  # Attention-based fusion.
                deeper = resize_nearest(residual, self.student_sizes[number])
                gates = self.gates[number](
                    ops.concatenate([maps, deeper], axis=-1)
                )
                maps = maps * gates[..., :1] + deeper * gates[..., 1:]
            residual = resize_nearest(maps, self.teacher_sizes[number])
            reviewed[name] = self.exits[number](residual, training=training)
        return reviewed

    def compute_losses(
        self, outputs: Outputs, targets: Targets
    ) -> tuple[NamedTensors, NamedTensors]:
        """Return the supervised and the review term."""
        # sum_levels HCL
        review = sum(
            self.review_loss(
                as_map(outputs["teacher"][name]),
                outputs["heads"][name],
                sample_weight=targets.feature_weights,
            )
            for name in self.student_features
        )
        logits = outputs["student"]["logits"]
        losses = {
            # H(f_S, y) + w min(1, step / warmup_steps) review
            "student_supervised": targets.supervised_loss(logits),
            "review": self.review_weight * self.warm_up() * review,
        }
        return losses, {}

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "levels": self.levels,
            "review_weight": self.review_weight,
            "width": self.width,
        }
