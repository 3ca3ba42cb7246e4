"""Cross-image relational knowledge distillation (CIRKD)."""

from typing import Any
from typing import cast

import keras
import numpy as np
from keras import ops

from keras_c2kd.layers import ConvolutionBlock
from keras_c2kd.losses import CrossImageRelation
from keras_c2kd.losses import KLDivergence
from keras_c2kd.methods.distillation_method import DistillationMethod
from keras_c2kd.methods.search_space import WEIGHT
from keras_c2kd.methods.search_space import SearchRange
from keras_c2kd.methods.targets import Targets
from keras_c2kd.ops import as_map
from keras_c2kd.ops import full_precision
from keras_c2kd.ops import full_precision_dtype
from keras_c2kd.ops import kl_divergence
from keras_c2kd.ops import resize_bilinear
from keras_c2kd.ops import resize_nearest
from keras_c2kd.ops import safe_divide
from keras_c2kd.ops import unit_vectors
from keras_c2kd.typing import Config
from keras_c2kd.typing import NamedTensors
from keras_c2kd.typing import Outputs
from keras_c2kd.typing import OutputShapes
from keras_c2kd.typing import Shape
from keras_c2kd.typing import Tensor
from keras_c2kd.utils.argument_checks import check_integer
from keras_c2kd.utils.argument_checks import check_weights


@keras.saving.register_keras_serializable("keras_c2kd")
class CIRKD(DistillationMethod):
    """Similarities between images, within the batch and to a memory.

    `L = H(f_S, y) + w_d KL(p_T || p_S) + w_b L_batch + w_p L_pixel +
    w_r L_region`. The teacher is fixed.

    - `mini_batch`, `L_batch`: `keras_c2kd.losses.CrossImageRelation` of both
      maps.
    - `pixel_memory` and `region_memory`, `L_pixel` and `L_region`: for each
      position that has a label, `KL(softmax(<a_T, m> / tau) ||
      softmax(<a_S, m> / tau))` of its unit vectors `a` over random vectors `m`
      in a memory of the teacher's, the mean over these positions. The
      student's map goes through a projection first (1x1 convolution, BN,
      ReLU, 1x1 convolution to the teacher's width).

    The memories hold `pixel_memory` vectors and `region_memory` mean vectors
    a class, random at first. Each step first writes: of each image and class
    in it, up to `pixels_per_class` random positions of the class and the
    mean of all of them. A write that reaches the end of a memory fills its
    last slots and starts over at 0. Then it takes one random set of slots, the
    same for all classes. Memories, pointers and random state are saved.

    Dense labels are resized to the map (nearest); a sample's only label holds
    at each position of it. The method neither compares nor writes ignored
    positions and samples of weight 0. It resizes a student's map of another
    size bilinearly to the teacher's, as two modalities need (our choice).

    Reads one feature map of each network, `features`, by default the input
    of the classifier.

    Args:
        distillation_weight: Float, `w_d`. Defaults to `1.0`.
        mini_batch_weight: Float, `w_b`. Defaults to `1.0`.
        pixel_weight: Float, `w_p`. Defaults to `0.1`.
        region_weight: Float, `w_r`. Defaults to `0.1`.
        temperature: Positive float, `tau`, of all similarities. Defaults to
            `0.1`. The logits have temperature 1.
        pixel_memory: Integer, slots a class. Defaults to `20000`.
        region_memory: Integer, slots a class. Defaults to `2000`.
        pixels_per_class: Integer. Defaults to `16`.
        contrast_pixels: Integer; `contrast_pixels // num_classes + 1` slots a
            class are compared (at most all). Defaults to `4096`.
        contrast_regions: The same for the regions. Defaults to `1024`.
        seed: Integer seed of memories and random choices. Defaults to `0`.
        **kwargs: `update_frozen_statistics`, `name` and `dtype`, see
            `DistillationMethod`.

    Raises:
        ValueError: If a memory has no slots, or the maps' sizes are not known.

    Example:
    >>> method = CIRKD(pixel_memory=100, region_memory=10)
    >>> method.loss_names[2:]
    ('mini_batch', 'pixel_memory', 'region_memory')

    Reference: Yang et al., CVPR 2022, Eq. 5 to 14; the weights and sizes are
    those of their Cityscapes configuration. Their code takes the pixels to
    write from the first positions of the image instead of those of the class,
    and gives NaN where all positions are ignored; this class does neither.
    """

    fixes_teacher = True
    student_features = ("features",)
    teacher_features = ("features",)
    needs_global_batch = True
    loss_names = (
        "student_supervised",
        "distillation",
        "mini_batch",
        "pixel_memory",
        "region_memory",
    )

    search_space = {
        "distillation_weight": WEIGHT,
        "mini_batch_weight": WEIGHT,
        "pixel_weight": SearchRange(0.01, 1.0, log=True),
        "region_weight": SearchRange(0.01, 1.0, log=True),
    }

    def __init__(
        self,
        distillation_weight: float = 1.0,
        mini_batch_weight: float = 1.0,
        pixel_weight: float = 0.1,
        region_weight: float = 0.1,
        temperature: float = 0.1,
        pixel_memory: int = 20000,
        region_memory: int = 2000,
        pixels_per_class: int = 16,
        contrast_pixels: int = 4096,
        contrast_regions: int = 1024,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_weights(
            distillation_weight=distillation_weight,
            mini_batch_weight=mini_batch_weight,
            pixel_weight=pixel_weight,
            region_weight=region_weight,
        )
        check_integer(
            minimum=1,
            why="The memories need at least one slot, and at least one pixel "
            "is written.",
            pixel_memory=pixel_memory,
            region_memory=region_memory,
            pixels_per_class=pixels_per_class,
        )
        check_integer(
            contrast_pixels=contrast_pixels,
            contrast_regions=contrast_regions,
            seed=seed,
        )
        self.distillation_weight = distillation_weight
        self.mini_batch_weight = mini_batch_weight
        self.pixel_weight = pixel_weight
        self.region_weight = region_weight
        self.temperature = temperature
        self.pixel_memory = pixel_memory
        self.region_memory = region_memory
        self.pixels_per_class = pixels_per_class
        self.contrast_pixels = contrast_pixels
        self.contrast_regions = contrast_regions
        self.seed = seed
        self.generator = keras.random.SeedGenerator(seed)
        self.divergence = KLDivergence()
        self.relation = CrossImageRelation(temperature)

    def build(self, outputs_shape: OutputShapes) -> None:
        """Create the projection and the memories."""
        student, teacher = (
            self.static_map_shape(outputs_shape, role, "features")
            for role in ("student", "teacher")
        )
        self.num_classes = outputs_shape["student"]["logits"][-1]
        self.size, width = teacher[1:3], teacher[3]
        forms: tuple[dict[str, Any], ...] = (
            {"negative_slope": 0.0},
            {"normalize": False},
        )
        self.projection = [
            ConvolutionBlock(
                width,
                dtype=self.dtype_policy,
                name=f"student_projection_{number}",
                **options,
            )
            for number, options in enumerate(forms)
        ]
        self.projection[0].build((None, *self.size, student[3]))
        self.projection[1].build((None, *self.size, width))
        self.pixels, self.pixel_pointers = self._memory(
            "pixel", self.pixel_memory, width
        )
        self.regions, self.region_pointers = self._memory(
            "region", self.region_memory, width
        )
        self.built = True

    def _memory(
        self, name: str, slots: int, width: int
    ) -> tuple[keras.Variable, keras.Variable]:
        """Return the slots of all classes, and where each writes next."""

        def random_unit_vectors(shape: Shape, dtype: Any = None) -> Tensor:
            # From numpy, so that every backend starts from the same ones.
            generator = np.random.default_rng(self.seed)
            vectors = generator.normal(size=cast(tuple[int, ...], shape))
            vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
            return ops.convert_to_tensor(vectors, dtype=dtype)

        memory = self.add_weight(
            shape=(self.num_classes, slots, width),
            initializer=random_unit_vectors,
            dtype=full_precision_dtype(),
            trainable=False,
            name=f"{name}_memory",
        )
        pointers = self.add_weight(
            shape=(self.num_classes,),
            initializer="zeros",
            dtype="int32",
            trainable=False,
            name=f"{name}_pointers",
        )
        return memory, pointers

    def call(self, outputs: Outputs, training: bool = False) -> NamedTensors:
        """Return the student's map in the teacher's size, and projected."""
        maps = resize_bilinear(
            as_map(outputs["student"]["features"]), self.size
        )
        projected = maps
        for block in self.projection:
            projected = block(projected, training=training)
        return {"map": maps, "projection": projected}

    def compute_losses(
        self, outputs: Outputs, targets: Targets
    ) -> tuple[NamedTensors, NamedTensors]:
        """Return the five terms, and write to the memories."""
        logits = outputs["student"]["logits"]
        teacher = ops.stop_gradient(
            full_precision(as_map(outputs["teacher"]["features"]))
        )
        labels, valid, weights = self._positions(targets)
        teacher_vectors = unit_vectors(self._flat(teacher))
        student_vectors = unit_vectors(
            self._flat(full_precision(outputs["heads"]["projection"]))
        )
        written = valid * ops.cast(weights > 0, valid.dtype)
        pixels, regions = self._write(teacher_vectors, labels, written)

        def contrast(memory: Tensor, number: int) -> Tensor:
            return self._contrast(
                teacher_vectors,
                student_vectors,
                self._choose(memory, number // self.num_classes + 1),
                valid,
                weights,
            )

        losses = {
            # H(f_S, y)
            "student_supervised": targets.supervised_loss(logits),
            # w_d KL(p_T || p_S)
            "distillation": self.distillation_weight
            * self.diverge(
                self.divergence,
                outputs["teacher"]["logits"],
                logits,
                targets.labels,
                targets.weights,
            ),
            # w_b L_batch
            "mini_batch": self.mini_batch_weight
            * self.relation(
                teacher,
                outputs["heads"]["map"],
                sample_weight=targets.feature_weights,
            ),
            # w_p L_pixel
            "pixel_memory": self.pixel_weight
            * contrast(pixels, self.contrast_pixels),
            # w_r L_region
            "region_memory": self.region_weight
            * contrast(regions, self.contrast_regions),
        }
        return losses, {}

    def _flat(self, maps: Tensor) -> Tensor:
        """Return `(batch, positions, channels)`."""
        positions = self.size[0] * self.size[1]
        return ops.reshape(maps, (-1, positions, maps.shape[-1]))

    def _positions(self, targets: Targets) -> tuple[Tensor, Tensor, Tensor]:
        """Return label, validity and weight of each position of the map."""
        labels, valid = targets.labels, targets.has_class
        if valid is None:
            valid = ops.ones_like(labels)
        both = ops.stack([labels, ops.cast(valid, labels.dtype)], axis=-1)
        if len(labels.shape) == 2:
            both = both[:, :, None]  # A sequence is a map of width 1.
        if len(labels.shape) == 1:
            both = both[:, None, None]
            ones = np.ones((1, *self.size, 1), dtype="int32")
            both = both * ops.convert_to_tensor(ones, dtype=both.dtype)
        both = self._flat(resize_nearest(both, self.size))
        valid = ops.cast(both[..., 1], full_precision_dtype())
        weights = ops.ones_like(valid)
        if targets.sample_weights is not None:
            weights = weights * targets.sample_weights[:, None]
        return both[..., 0], valid, weights

    def _write(
        self, vectors: Tensor, labels: Tensor, written: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Write the teacher's vectors, image by image; return the memories."""
        members = ops.one_hot(labels, self.num_classes, dtype=vectors.dtype)
        members = ops.transpose(members * written[..., None], (0, 2, 1))
        positions = vectors.shape[1]
        most = min(self.pixels_per_class, positions, self.pixel_memory)
        # A random order of the positions of each class, others at the end.
        scores = keras.random.uniform(
            (ops.shape(members)[0], self.num_classes, positions),
            dtype=vectors.dtype,
            seed=self.generator,
        )
        order = ops.where(members > 0, scores, -ops.ones_like(scores))
        chosen = ops.cast(ops.top_k(order, most)[1], "int32")

        def write_image(
            image: Tensor, state: tuple[Tensor, ...]
        ) -> tuple[Tensor, ...]:
            pixels, pixel_pointers, regions, region_pointers = state
            own_vectors, own_members, own_chosen = (
                ops.take(tensor, image, axis=0)
                for tensor in (vectors, members, chosen)
            )
            counts = ops.cast(ops.sum(own_members, axis=1), "int32")
            pixels, pixel_pointers = _write_slots(
                pixels,
                pixel_pointers,
                ops.take(own_vectors, own_chosen, axis=0),
                ops.minimum(counts, most),
            )
            # The mean's length does not matter: it becomes a unit vector.
            sums = ops.matmul(own_members, own_vectors)
            regions, region_pointers = _write_slots(
                regions,
                region_pointers,
                unit_vectors(sums)[:, None],
                ops.minimum(counts, 1),
            )
            return pixels, pixel_pointers, regions, region_pointers

        variables = (
            self.pixels,
            self.pixel_pointers,
            self.regions,
            self.region_pointers,
        )
        state = ops.fori_loop(
            0,
            ops.shape(vectors)[0],
            write_image,
            tuple(ops.convert_to_tensor(v) for v in variables),
        )
        state = [ops.stop_gradient(tensor) for tensor in state]
        for variable, tensor in zip(variables, state):
            variable.assign(tensor)
        return state[0], state[2]

    def _choose(self, memory: Tensor, number: int) -> Tensor:
        """Return vectors of random slots, `(classes * number, width)`."""
        slots, width = memory.shape[1:]
        scores = keras.random.uniform((slots,), seed=self.generator)
        chosen = ops.top_k(scores, min(number, slots))[1]
        vectors = ops.take(memory, ops.cast(chosen, "int32"), axis=1)
        return ops.reshape(vectors, (-1, width))

    def _contrast(
        self,
        teacher: Tensor,
        student: Tensor,
        memory: Tensor,
        valid: Tensor,
        weights: Tensor,
    ) -> Tensor:
        """Return the mean divergence of similarities over valid positions."""
        # <a_T, m> / tau and <a_S, m> / tau
        target, learner = (
            ops.matmul(vectors, ops.transpose(memory)) / self.temperature
            for vectors in (teacher, student)
        )
        # KL(softmax(<a_T, m> / tau) || softmax(<a_S, m> / tau))
        divergence = kl_divergence(target, learner)
        mean = safe_divide(
            ops.sum(divergence * valid * weights), ops.sum(valid)
        )
        return self.reduce_samples(ops.reshape(mean, (1,)))

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "distillation_weight": self.distillation_weight,
            "mini_batch_weight": self.mini_batch_weight,
            "pixel_weight": self.pixel_weight,
            "region_weight": self.region_weight,
            "temperature": self.temperature,
            "pixel_memory": self.pixel_memory,
            "region_memory": self.region_memory,
            "pixels_per_class": self.pixels_per_class,
            "contrast_pixels": self.contrast_pixels,
            "contrast_regions": self.contrast_regions,
            "seed": self.seed,
        }


def _write_slots(
    memory: Tensor, pointers: Tensor, vectors: Tensor, counts: Tensor
) -> tuple[Tensor, Tensor]:
    """Write the first `counts` vectors of each class; move its pointer.

    Args:
        memory: Tensor `(classes, slots, width)`.
        pointers: Integers `(classes,)`.
        vectors: Tensor `(classes, at most, width)`, at most `slots`.
        counts: Integers `(classes,)`.

    Returns:
        The new memory and the new pointers.
    """
    classes, slots, _ = memory.shape
    most = vectors.shape[1]
    ends = pointers + counts
    overflows = ends >= slots
    starts = ops.where(overflows, slots - counts, pointers)
    steps = np.arange(most, dtype="int32")[None]
    # Slots behind the last vector are rewritten with what they hold: modulo
    # the size no slot is named twice.
    positions = (starts[:, None] + steps) % slots
    old = ops.take_along_axis(memory, positions[..., None], axis=1)
    is_new = ops.convert_to_tensor(steps) < counts[:, None]
    vectors = ops.where(is_new[..., None], vectors, old)
    owners = np.repeat(np.arange(classes, dtype="int32"), most)
    index = ops.stack(
        [ops.convert_to_tensor(owners), ops.reshape(positions, (-1,))], axis=1
    )
    updates = ops.reshape(vectors, (classes * most, memory.shape[2]))
    pointers = ops.where(overflows, ops.zeros_like(ends), ends)
    return ops.scatter_update(memory, index, updates), pointers
