"""The contract of a distillation method."""

import keras
from keras import ops

from keras_c2kd.methods.building_blocks import BuildingBlocks
from keras_c2kd.methods.method_options import MethodOptions
from keras_c2kd.networks.graph import layers_within
from keras_c2kd.ops import full_precision_dtype
from keras_c2kd.utils.final_arguments import FinalArguments


class DistillationMethod(
    MethodOptions, BuildingBlocks, FinalArguments, keras.layers.Layer
):
    """Which networks train, and which loss terms join which outputs.

    A method is a Keras layer, so that its heads, queues and random state are
    tracked, trained and saved with the distiller. It belongs to one distiller.
    A subclass says what it needs in the class attributes, creates its heads
    in `build`, runs them in `call`, and returns named loss terms from
    `compute_losses`. The arguments of its constructor cannot be set as
    attributes afterwards. A step calls, in this order, `run_student`, `call`,
    `compute_losses` and, if it is overridden, `modify_gradients`.

    Attributes:
        needs_teacher: Whether there must be a teacher.
        needs_logits: Whether the method compares logits of classes. Then the
            networks end in logits of at least two classes, and the supervised
            loss compares them with labels. If not, any loss and any outputs
            will do: probabilities, several classes a sample, numbers.
        student_features: Names of the feature maps it reads of the student;
            a tuple, or a dict from names to default taps. The only name of a
            tuple has the default tap of `CrossModalDistiller`; several names
            have none, the user must give them.
        teacher_features: The same for the teacher.
        min_batch_size: The smallest batch that the method can learn from;
            smaller ones are refused before training (but may come last).
        needs_global_batch: Whether a sample's loss depends on the other
            samples of its batch, so that it must be computed on the whole
            batch where several devices hold parts of it. By default that is
            asked of the method's losses and selections.
        loss_names: Names of the terms that `compute_losses` returns.
        diagnostic_names: Names of the further figures it returns.
        fixes_teacher: Whether the method never trains the teacher.
        warms_up: Whether a weight of the method can start at 0.
        own_shard: Function from a tensor of a whole batch to the equal part
            of this device, which the distiller sets.

    Args:
        name: Name of the layer.
        dtype: Policy of the method's heads, as for every Keras layer.
        **options: Those of `teacher_update`, `update_frozen_statistics` and
            `warmup_steps` that the method uses, see `MethodOptions`.

    Raises:
        ValueError: If an argument is not one of the method's, `teacher_update`
            is unknown or `warmup_steps` is no integer of at least 0.
    """

    needs_teacher = True
    needs_logits = True
    student_features = ()
    teacher_features = ()
    loss_names = ("student_supervised",)
    diagnostic_names = ()
    min_batch_size = 1
    fixes_teacher = False
    warms_up = False

    def __init__(self, *, name=None, dtype=None, **options):
        super().__init__(name=name, dtype=dtype, autocast=False)
        self.supports_masking = True
        self.set_options(options)

    @staticmethod
    def own_shard(tensor):
        """Return the part of this device; with one device, all of it."""
        return tensor

    @property
    def needs_global_batch(self):
        """Whether the loss of a sample depends on the rest of its batch."""
        layers = layers_within(self, recursive=False)
        parts = [*vars(self).values(), *layers]
        return any(getattr(part, "needs_global_batch", False) for part in parts)

    def attach(self, student, teacher):
        """Look at the networks before `build`; nothing to do by default.

        Args:
            student: The student, a built `keras.Model`.
            teacher: The teacher, or None. A method that keeps a network or a
                layer of it must keep it untracked (in a plain object), or
                its variables would be listed twice.
        """

    def build(self, outputs_shape):
        """Create the method's heads and state.

        Args:
            outputs_shape: `{"student": {"logits": shape, feature: shape},
                "teacher": {...}}`, static, batch axis first.
        """
        self.built = True

    @property
    def other_inputs(self):
        """Keys of the batch that `run_student` reads beside the networks'.

        Other entries that no network reads are left out of the batch. None,
        as for a `run_student` of your own that does not say, keeps them all.
        """
        own = type(self).run_student
        return () if own is DistillationMethod.run_student else None

    def run_student(self, network, student_input, inputs):
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

    def call(self, outputs, training=False):
        """Run the method's heads on the networks' outputs.

        Args:
            outputs: `{"student": {"logits": ..., feature: ...}, "teacher":
                {...}}`; no `"teacher"` if there is none.
            training: Boolean.

        Returns:
            Dict from a head's name to its output. Empty by default.
        """
        return {}

    def compute_mask(self, outputs, previous_mask=None):
        """Return None: what the networks masked comes with `Targets.valid`."""

    def compute_losses(self, outputs, targets):
        """Return the loss terms of one batch and the diagnostics.

        Args:
            outputs: What `call` received, with what it returned under
                `"heads"`.
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

    def supervised_logits(self, logits):
        """Return the student's logits as its supervised loss reads them.

        `evaluate` and `val_loss` compare these with the labels; metrics and
        `predict` have the student's own.

        Args:
            logits: The student's logits `(batch, ..., num_classes)`.

        Returns:
            Tensor of the same shape. By default, `logits` unchanged.
        """
        return logits

    @property
    def modifies_gradients(self):
        """Whether `modify_gradients` is overridden and has work to do."""
        own = type(self).modify_gradients
        return own is not DistillationMethod.modify_gradients

    def modify_gradients(self, gradients, variables, outputs, labels):
        """Return the gradients that the optimizer applies.

        Args:
            gradients: List of tensors (or None), scaled if the optimizer
                scales the loss; on several devices those of the whole batch.
            variables: List of variables, in the same order.
            outputs: As in `compute_losses`.
            labels: The batch's labels as they came.

        Returns:
            List in the same order. By default, `gradients` unchanged.
        """
        return gradients

    def warm_up(self):
        """Return `min(1, step / warmup_steps)` and count the step."""
        if not self.warmup_steps:
            return 1.0
        step = ops.cast(self.step, full_precision_dtype())
        self.step.assign_add(1)
        return ops.minimum(step / self.warmup_steps, 1.0)
