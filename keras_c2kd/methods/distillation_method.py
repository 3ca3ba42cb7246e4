"""The contract of a distillation method."""

from collections.abc import Callable
from typing import Any

from keras_c2kd.methods.building_blocks import BuildingBlocks
from keras_c2kd.methods.method_options import MethodOptions
from keras_c2kd.methods.targets import Targets
from keras_c2kd.networks.graph import layers_within
from keras_c2kd.typing import DType
from keras_c2kd.typing import NamedTensors
from keras_c2kd.typing import Network
from keras_c2kd.typing import Outputs
from keras_c2kd.typing import OutputShapes
from keras_c2kd.typing import Tensor
from keras_c2kd.typing import Tensors


class DistillationMethod(BuildingBlocks, MethodOptions):
    """Which networks train, and which loss terms join which outputs.

    A method is a Keras layer, so that its heads, queues and random state are
    tracked, trained and saved with the distiller. It belongs to one distiller.
    A subclass declares what it needs in class attributes, creates its heads
    in `build`, runs them in `call`, and returns named loss terms from
    `compute_losses`. The arguments of its constructor cannot be set as
    attributes afterwards. A step calls, in this order, `run_student`, `call`,
    `compute_losses` and, if it is overridden, `modify_gradients`.

    Attributes:
        needs_teacher: Whether there must be a teacher.
        needs_logits: Whether the networks must end in logits of two or more
            classes, with a loss of labels. If not, any outputs and loss do.
        student_features: Names of the feature maps it reads of the student;
            a tuple, or a dict from names to default taps. The only name of a
            tuple has the default tap of `CrossModalDistiller`; the user must
            give the taps of several names.
        teacher_features: The same for the teacher.
        min_batch_size: The smallest batch that the method can learn from;
            smaller ones are refused before training (but may come last).
        needs_global_batch: Whether a sample's loss depends on the rest of its
            batch, which several devices then gather. By default, whether that
            of a loss or a selection of the method does.
        loss_names: Names of the terms that `compute_losses` returns.
        diagnostic_names: Names of the further figures it returns.
        fixes_teacher: Whether the method never trains the teacher.
        warms_up: Whether a weight of the method can start at 0.
        search_space: Dict from names of arguments to the `SearchRange` or
            `SearchChoice` that a tuning searches; empty by default.
        own_shard: Function from a tensor of a whole batch to this device's
            equal part, which the distiller sets; with one device, all of it.

    Args:
        name: Name of the layer.
        dtype: Policy of the method's heads, as for every Keras layer.
        **options: Those of `teacher_update`, `update_frozen_statistics` and
            `warmup_steps` that the method uses, see `MethodOptions`.

    Raises:
        ValueError: If an argument is not one of the method's, `teacher_update`
            is unknown or `warmup_steps` is no integer of at least 0.

    Example:
    >>> class LogitMatching(DistillationMethod):
    ...     loss_names = ("student_supervised", "matching")
    ...
    ...     def compute_losses(self, outputs, targets):
    ...         student = outputs["student"]["logits"]
    ...         errors = ops.square(student - outputs["teacher"]["logits"])
    ...         matching = ops.mean(errors, axis=-1)  # One number a sample.
    ...         return {
    ...             "student_supervised": targets.supervised_loss(student),
    ...             "matching": self.reduce_samples(matching, targets.weights),
    ...         }, {}
    >>> LogitMatching(teacher_update="all").get_config()["teacher_update"]
    'all'
    """

    student_features: tuple[str, ...] | dict[str, str] = ()
    teacher_features: tuple[str, ...] | dict[str, str] = ()
    loss_names: tuple[str, ...] = ("student_supervised",)
    diagnostic_names: tuple[str, ...] = ()
    min_batch_size = 1
    own_shard: Callable[[Tensor], Tensor] = staticmethod(lambda tensor: tensor)

    def __init__(
        self,
        *,
        name: str | None = None,
        dtype: DType | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name=name, dtype=dtype, autocast=False)
        self.supports_masking = True
        self.set_options(options)

    @property
    def needs_global_batch(self) -> bool:
        """Whether the loss of a sample depends on the rest of its batch."""
        parts = [*vars(self).values(), *layers_within(self, recursive=False)]
        return any(getattr(part, "needs_global_batch", False) for part in parts)

    def attach(self, student: Network, teacher: Network | None) -> None:
        """Look at the networks before `build`; nothing to do by default.

        A method that keeps a network or a layer of it must keep it untracked
        (in a plain object), or its variables would be listed twice.
        """

    def build(self, outputs_shape: OutputShapes) -> None:
        """Create the heads and the state for outputs of these shapes."""
        self.built = True

    @property
    def other_inputs(self) -> tuple[str, ...] | None:
        """Keys of the batch that `run_student` reads beside the networks'.

        Other entries that no network reads are left out of the batch. None
        keeps them all, as for a `run_student` of your own without this.
        """
        own = type(self).run_student
        return () if own is DistillationMethod.run_student else None

    def run_student(
        self,
        network: Callable[..., NamedTensors],
        student_input: Tensors,
        inputs: Tensors,
    ) -> dict[str, Tensors]:
        """Run the student once; return its outputs for the batch.

        Args:
            network: Function `network(student_input, training=...)` to
                `{"logits": ..., feature: ...}`.
            student_input: The student's modality.
            inputs: The whole batch of inputs.

        Returns:
            `{"logits": ..., feature: ...}`, and whatever else the method
            wants to find in `outputs["student"]`.
        """
        return network(student_input, training=True)

    def call(self, outputs: Outputs, training: bool = False) -> NamedTensors:
        """Return the outputs of the method's heads by name; none by default.

        `outputs` is `{"student": {"logits": ..., feature: ...}, "teacher":
        {...}}`, without `"teacher"` if there is none.
        """
        return {}

    def compute_mask(self, outputs: Outputs, previous_mask: Any = None) -> None:
        """Return None: what the networks masked comes with `Targets.valid`."""

    def compute_losses(
        self, outputs: Outputs, targets: Targets
    ) -> tuple[NamedTensors, NamedTensors]:
        """Return the loss terms of one batch and the diagnostics.

        Args:
            outputs: What `call` received, and under `"heads"` its result.
            targets: `Targets`.

        Returns:
            Two dicts from names to scalars: the terms, weighted and ready to
            be added up (`loss_names`), and figures that are only logged
            (`diagnostic_names`). The distiller refuses other names.
        """
        raise NotImplementedError(
            f"{type(self).__name__} is a DistillationMethod and must "
            "implement `compute_losses(outputs, targets)`."
        )

    def supervised_logits(self, logits: Tensor) -> Tensor:
        """Return the student's logits as its supervised loss reads them.

        `evaluate` and `val_loss` compare these with the labels; metrics and
        `predict` have the student's own. The shape stays.
        """
        return logits

    @property
    def modifies_gradients(self) -> bool:
        """Whether `modify_gradients` is overridden and has work to do."""
        own = type(self).modify_gradients
        return own is not DistillationMethod.modify_gradients

    def modify_gradients(
        self,
        gradients: list[Tensor | None],
        variables: list[Any],
        outputs: Outputs,
        labels: Tensor,
    ) -> list[Tensor | None]:
        """Return the gradients that the optimizer applies, in their order.

        `gradients` (of the whole batch, scaled if the optimizer scales the
        loss) and `variables` have one order; `labels` are as they came.
        """
        return gradients
