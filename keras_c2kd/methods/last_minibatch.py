"""Self-distillation from the last mini-batch (DLB)."""

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_c2kd.losses import KLDivergence
from keras_c2kd.methods.distillation_method import DistillationMethod
from keras_c2kd.methods.search_space import TEMPERATURE
from keras_c2kd.methods.search_space import WEIGHT
from keras_c2kd.methods.targets import Targets
from keras_c2kd.networks.graph import graph_input
from keras_c2kd.ops import full_precision
from keras_c2kd.ops import full_precision_dtype
from keras_c2kd.ops import safe_divide
from keras_c2kd.typing import Config
from keras_c2kd.typing import NamedTensors
from keras_c2kd.typing import Network
from keras_c2kd.typing import Outputs
from keras_c2kd.typing import OutputShapes
from keras_c2kd.typing import Tensor
from keras_c2kd.typing import Tensors
from keras_c2kd.utils.argument_checks import check_integer
from keras_c2kd.utils.argument_checks import check_weights


@keras.saving.register_keras_serializable("keras_c2kd")
class DLB(DistillationMethod):
    """The student agrees with its own logits of one step before; no teacher.

    Step `n` runs the batch of step `n - 1` once more, in its second view,
    together with the batch of step `n`, in one forward pass. With `o_(n-1)`
    the logits that the last batch had then, before the update, and `q` those
    that it has now:

    - `student_supervised` = mean of H(., y) over both batches together
    - `distillation` = `w T^2 KL(softmax(o_(n-1) / T) || softmax(q / T))`,
      mean over the last batch

    The first step has the first term only, over its own batch; instead of
    the last batch it runs its own second view, for the batch statistics. The
    memory outlives epochs and is saved with the weights.

    Repeated samples of weight 0 pad a smaller batch in the memory: they count
    in no loss, only in batch statistics.

    Args:
        batch_size: Integer, size of the largest batch; on several devices
            that of all of them, a multiple of their number.
        temperature: Positive float, `T`. Defaults to `3.0`.
        distillation_weight: Float, `w`. Defaults to `1.0`.
        second_view: Key of the batch's inputs that holds a second augmented
            view of the student's modality. Defaults to `None`: the same view
            twice, as for data without augmentation.
        **kwargs: `name` and `dtype`, see `DistillationMethod`.

    Raises:
        ValueError: If `batch_size` is not positive, a batch is larger, the
            sample's shape is not known, logits are dense, or the second view
            is not in the batch.

    Example:
    >>> method = DLB(batch_size=32, second_view="visual_second_view")
    >>> method.loss_names, method.other_inputs
    (('student_supervised', 'distillation'), ('visual_second_view',))

    Reference: Shen et al., CVPR 2022, Eq. 4 to 7. The authors' code has no
    default for temperature and weight; these are the paper's. The paper
    speaks of batches that overlap by half, the code and this class of two
    batches a step: an epoch costs two passes a sample either way.
    """

    needs_teacher = False
    needs_global_batch = True
    loss_names = ("student_supervised", "distillation")

    search_space = {
        "distillation_weight": WEIGHT,
        "temperature": TEMPERATURE,
    }

    def __init__(
        self,
        batch_size: int,
        temperature: float = 3.0,
        distillation_weight: float = 1.0,
        second_view: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_integer(
            minimum=1,
            why="DLB keeps a batch, of at least one sample.",
            batch_size=batch_size,
        )
        check_weights(distillation_weight=distillation_weight)
        self.batch_size = batch_size
        self.temperature = temperature
        self.distillation_weight = distillation_weight
        self.second_view = second_view
        self.divergence = KLDivergence(temperature)

    def attach(self, student: Network, teacher: Network | None) -> None:
        """Note the form of the student's input."""
        inputs = graph_input(student)
        tensors = [t for t in keras.tree.flatten(inputs) if t is not None]
        self._input_forms = [
            (
                tuple(tensor.shape[1:]),
                keras.backend.standardize_dtype(tensor.dtype),
            )
            for tensor in tensors
        ]
        # Names, by which Keras too finds the inputs of a network in a dict.
        self._reads_dict = isinstance(inputs, dict)
        self._input_names = [
            *(inputs if self._reads_dict else (t.name for t in tensors))
        ]
        if not self._input_forms or any(
            None in shape for shape, _ in self._input_forms
        ):
            shapes = [shape for shape, _ in self._input_forms]
            raise ValueError(
                "DLB keeps a batch of inputs and needs their shape. Received: "
                f"a student whose samples have the shapes {shapes}. Build it "
                "from an Input with all sizes."
            )

    def build(self, outputs_shape: OutputShapes) -> None:
        """Create the memory."""
        self.require_one_label_a_sample(outputs_shape)
        logits = outputs_shape["student"]["logits"]
        size, num_classes = self.batch_size, logits[-1]
        self.last_inputs = [
            self._memory(f"last_inputs_{number}", (size, *shape), dtype)
            for number, (shape, dtype) in enumerate(self._input_forms)
        ]
        self.last_logits = self._memory("last_logits", (size, num_classes))
        self.last_labels = self._memory("last_labels", (size, num_classes))
        self.last_weights = self._memory("last_weights", (size,))
        self.last_counted = self._memory("last_counted", (size,))
        self.built = True

    def _memory(
        self, name: str, shape: tuple[int, ...], dtype: str | None = None
    ) -> keras.Variable:
        return self.add_weight(
            shape=shape,
            initializer="zeros",
            dtype=dtype or full_precision_dtype(),
            trainable=False,
            name=name,
        )

    @property
    def other_inputs(self) -> tuple[str, ...]:
        """The key of the second view."""
        return () if self.second_view is None else (self.second_view,)

    def run_student(
        self,
        network: Callable[..., NamedTensors],
        student_input: Tensors,
        inputs: Tensors,
    ) -> dict[str, Tensors]:
        """Run the last batch and this one in one pass."""
        second = student_input
        if self.second_view is not None:
            if not isinstance(inputs, dict) or self.second_view not in inputs:
                raise ValueError(
                    "The batch lacks the second view of the student's "
                    f"modality: second_view={self.second_view!r}. Give the "
                    "batch that key, or use DLB(second_view=None)."
                )
            second = inputs[self.second_view]
        student_input, second = map(self._as_built, (student_input, second))
        own = [
            self.own_shard(ops.convert_to_tensor(memory))
            for memory in self.last_inputs
        ]
        size = own[0].shape[0]
        leaves = [
            ops.cast(leaf, memory.dtype)
            for leaf, memory in zip(
                keras.tree.flatten(second), self.last_inputs
            )
        ]
        exists = ops.any(ops.convert_to_tensor(self.last_counted) > 0)
        last = [
            ops.where(exists, memory, self._filled(leaf, size))
            for memory, leaf in zip(own, leaves)
        ]
        both = [
            ops.concatenate([one, ops.cast(leaf, one.dtype)])
            for one, leaf in zip(last, keras.tree.flatten(student_input))
        ]
        outputs = network(
            keras.tree.pack_sequence_as(student_input, both), training=True
        )
        return {
            **{name: tensor[size:] for name, tensor in outputs.items()},
            "last_logits": outputs["logits"][:size],
            "second_view": leaves,
        }

    def _as_built(self, tensors: Tensors) -> Tensors:
        """Bring a dict of inputs into the student's own form and order."""
        if not isinstance(tensors, dict):
            return tensors
        own = {name: tensors[name] for name in self._input_names}
        return own if self._reads_dict else list(own.values())

    def _filled(self, tensor: Tensor, size: int | None = None) -> Tensor:
        """Repeat the samples of a batch until they are so many."""
        size = self.batch_size if size is None else size
        if tensor.shape[0] is not None and tensor.shape[0] > size:
            raise ValueError(
                f"DLB keeps batches of up to batch_size={self.batch_size} "
                f"samples. Received: a batch of {tensor.shape[0]}. Create "
                "DLB with the batch size of fit()."
            )
        samples = ops.arange(size, dtype="int32")
        return ops.take(tensor, samples % ops.shape(tensor)[0], axis=0)

    def compute_losses(
        self, outputs: Outputs, targets: Targets
    ) -> tuple[NamedTensors, NamedTensors]:
        """Return the two terms, and keep this batch for the next step."""
        logits = full_precision(outputs["student"]["logits"])
        again = full_precision(outputs["student"]["last_logits"])
        # Copies: the memory is overwritten before gradients are taken.
        last_logits, last_labels, last_weights = (
            ops.copy(ops.convert_to_tensor(memory))
            for memory in (
                self.last_logits,
                self.last_labels,
                self.last_weights,
            )
        )
        given = targets.given_labels
        is_one_hot = len(given.shape) == 2 and given.shape[-1] > 1
        labels = last_labels
        if not is_one_hot:
            labels = ops.argmax(last_labels, axis=-1)
        present = ops.sum(_counted(logits, targets))
        past = ops.sum(ops.copy(ops.convert_to_tensor(self.last_counted)))
        # H(., y), a sum over both batches: the compiled loss is a mean over the
        # samples that are not ignored.
        supervised = targets.supervised_loss(logits) * present
        supervised += self.batch_size * targets.loss(
            labels, again, last_weights
        )
        # T^2 KL(softmax(o_(n-1) / T) || softmax(q / T))
        distillation = self.diverge(
            self.divergence, last_logits, again, None, last_weights
        )
        losses = {
            "student_supervised": safe_divide(supervised, present + past),
            # The mean over the last batch, without what pads it, times w.
            "distillation": self.distillation_weight
            * distillation
            * safe_divide(ops.full_like(past, self.batch_size), past),
        }
        self._keep(outputs["student"], targets, is_one_hot)
        return losses, {}

    def _keep(
        self, outputs: Mapping[str, Tensors], targets: Targets, is_one_hot: bool
    ) -> None:
        """Overwrite the memory with this batch."""
        logits = ops.stop_gradient(full_precision(outputs["logits"]))
        for memory, leaf in zip(self.last_inputs, outputs["second_view"]):
            memory.assign(self._filled(leaf))
        labels = targets.given_labels
        if not is_one_hot:
            labels = ops.one_hot(
                _countable(targets, logits.shape[-1]), logits.shape[-1]
            )
        counted = _counted(logits, targets)
        weights = counted
        if targets.sample_weights is not None:
            weights = counted * targets.sample_weights
        samples = ops.arange(self.batch_size, dtype="int32")
        real = ops.cast(samples < ops.shape(logits)[0], counted.dtype)
        self.last_logits.assign(self._filled(logits))
        self.last_labels.assign(self._filled(ops.cast(labels, logits.dtype)))
        self.last_weights.assign(self._filled(weights) * real)
        self.last_counted.assign(self._filled(counted) * real)

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "batch_size": self.batch_size,
            "temperature": self.temperature,
            "distillation_weight": self.distillation_weight,
            "second_view": self.second_view,
        }


def _counted(logits: Tensor, targets: Targets) -> Tensor:
    """Return 1 for each sample that is not ignored, `(batch,)`."""
    counted = ops.ones_like(logits[:, 0])
    if targets.valid is None:
        return counted
    return counted * ops.cast(targets.valid, counted.dtype)


def _countable(targets: Targets, num_classes: int) -> Tensor:
    """Return labels of which the loss ignores none.

    Samples that it ignored get the class after the ignored one: their weight
    in the memory is 0, and the loss's mean is over all samples there.
    """
    if targets.valid is None:
        return targets.labels
    given = ops.cast(targets.given_labels, "int32")
    given = ops.reshape(given, ops.shape(targets.labels))
    return ops.where(targets.valid, targets.labels, (given + 1) % num_classes)
