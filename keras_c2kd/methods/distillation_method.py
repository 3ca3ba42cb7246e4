"""The contract of a distillation method."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_c2kd.backend import named_scope
from keras_c2kd.backend.keras_internals import layers_within
from keras_c2kd.backend.keras_internals import mask_of
from keras_c2kd.ops import full_precision_dtype
from keras_c2kd.ops import kendall_rank_correlation
from keras_c2kd.ops import map_shape
from keras_c2kd.selection import KendallSelection
from keras_c2kd.utils.argument_checks import check_integer
from keras_c2kd.utils.final_arguments import FinalArguments
from keras_c2kd.utils.final_arguments import argument_names

TEACHER_UPDATES = ("all", "top", "none")
_OPTIONS = ("teacher_update", "update_frozen_statistics", "warmup_steps")


@dataclasses.dataclass(frozen=True)
class Targets:
    """What the outputs of one batch are compared with.

    Attributes:
        labels: Integer tensor, one class a row (sample or pixel), shape of
            the logits without the last axis. Ignored rows hold 0, unlabelled
            ones the class that the teacher thinks most probable. Without
            meaning where the loss compares numbers.
        weights: Float tensor of the shape of `labels`, or None. Sample
            weights and ignored rows in one: the mean of `loss * weights` over
            all rows is the weighted mean over the rows that count.
        valid: Boolean tensor of the shape of `labels`, or None if no row is
            ignored.
        valid_fraction: Scalar, the share of valid rows in the batch; on several
            devices in that of all of them. None for `valid`'s own.
        labeled: Boolean tensor of the shape of `labels`, or None if every
            valid row has a label. Unlabelled rows are valid.
        has_class: Boolean tensor of the shape of `labels`, rows for terms
            that need a class: without unlabelled ones of whose class the
            teacher is not sure enough. Defaults to `valid`.
        class_weights: As `weights`, of the rows of `has_class`. Defaults to
            `weights`.
        weights_where: Function from a boolean tensor of the shape of `labels`
            to weights as `weights`, of these rows alone. Defaults to that of
            one device.
        feature_weights: Float tensor `(batch,)`, or None: `sample_weights`
            for terms on whole samples, 0 where all rows of one are ignored.
            Defaults to `sample_weights`.
        supervised_loss: Function from logits to the scalar loss given to
            `compile()`, sample weights included.
        sample_weights: Float tensor `(batch,)`, or None: one weight a
            sample, the mean over its rows where they have several.
        given_labels: The labels as they came, integers or one-hot.
        loss: Function `(given labels, logits, sample weights)` to the scalar
            loss given to `compile()`, for other rows than the batch's.
    """

    labels: Any
    weights: Any
    valid: Any
    supervised_loss: Callable
    sample_weights: Any = None
    given_labels: Any = None
    loss: Callable | None = None
    valid_fraction: Any = None
    labeled: Any = None
    has_class: Any = None
    class_weights: Any = None
    weights_where: Callable | None = None
    feature_weights: Any = None

    def __post_init__(self):
        for name, other in (
            ("has_class", self.valid),
            ("class_weights", self.weights),
            ("weights_where", self._weights_where),
            ("feature_weights", self.sample_weights),
        ):
            if getattr(self, name) is None:
                object.__setattr__(self, name, other)

    def _weights_where(self, mask):
        mask = ops.cast(mask, full_precision_dtype())
        weights = ops.divide_no_nan(mask, ops.mean(mask))
        if self.weights is None:
            return weights
        # Theirs hold the factor for the mean over all valid rows.
        weights = weights * ops.cast(self.weights, weights.dtype)
        if self.valid is None:
            return weights
        return weights * ops.mean(ops.cast(self.valid, weights.dtype))

    def weights_for(self, divergence):
        """Return the weights of the rows that a divergence counts.

        Args:
            divergence: `keras.losses.Loss`. One with `takes_labels = True`
                needs the class of a row.
        """
        takes_labels = getattr(divergence, "takes_labels", False)
        return self.class_weights if takes_labels else self.weights

    def split(self, weights):
        """Split weights of rows into those with and those without a label.

        Args:
            weights: Float tensor of the shape of `labels`.

        Returns:
            Two such tensors, 0 on the other rows; None for the second if all
            rows have a label.
        """
        if self.labeled is None:
            return weights, None
        labeled = ops.cast(self.labeled, weights.dtype)
        return weights * labeled, weights * (1.0 - labeled)

    def mean(self, values):
        """Mean over the rows that are not ignored, without sample weights."""
        if self.valid is None:
            return ops.mean(values)
        valid = ops.cast(self.valid, values.dtype)
        share = ops.mean(valid)
        if self.valid_fraction is not None:
            share = ops.cast(self.valid_fraction, values.dtype)
        return ops.divide_no_nan(ops.mean(values * valid), share)


class DistillationMethod(FinalArguments, keras.layers.Layer):
    """Which networks train, and which loss terms join which outputs.

    A method is a Keras layer, so that its heads, queues and random state are
    tracked, trained and saved with the distiller. It belongs to one distiller.
    A subclass says what it needs in the class attributes, creates its heads
    in `build`, runs them in `call`, and returns named loss terms from
    `compute_losses`. The arguments of its constructor cannot be set as
    attributes afterwards.

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
        needs_global_batch: Whether a sample's loss depends on the other samples
            of its batch, so that it must be computed on the whole batch where
            several devices hold parts of it. By default that is asked of the
            method's losses and selections.
        modifies_gradients: Whether `modify_gradients` does anything; on
            several devices it then gets the gradients of the whole batch.
        loss_names: Names of the terms that `compute_losses` returns.
        diagnostic_names: Names of the further figures it returns.

    Args:
        name: Name of the layer.
        dtype: Policy of the method's heads, as for every Keras layer.
        **options: Those of the following that the method uses; any other
            argument is refused.

            - `teacher_update`, if there is a teacher that can be trained:
              which of its layers are trained with the student: `"all"`,
              `"top"` (the distiller's `teacher_top_layers`) or `"none"`
              (default).
            - `update_frozen_statistics`, if there is a teacher: whether the
              layers of the teacher that are *not* trained still run in
              training mode, so that batch normalisation uses and updates
              batch statistics. `False` (default) is Keras' meaning of a
              frozen layer, `True` what the authors' code does. Dropout drops
              in the whole teacher if it is `True` or a part of the teacher is
              trained, and nowhere else.
            - `warmup_steps`, with `warms_up`: integer, training steps until
              a weight that starts at 0 is fully there. Defaults to `0`.

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

    teacher_update = "none"
    update_frozen_statistics = False
    warmup_steps = 0

    def __init__(self, *, name=None, dtype=None, **options):
        super().__init__(name=name, dtype=dtype, autocast=False)
        self.supports_masking = True
        for option, value in options.items():
            self._check_option(option, value)
            setattr(self, option, value)
        if self.warmup_steps:
            self.step = self.add_weight(
                shape=(),
                initializer="zeros",
                dtype="int32",
                trainable=False,
                name="step",
            )

    def _options(self):
        """Return the arguments that the method takes beside its own."""
        used = {
            "teacher_update": self.needs_teacher and not self.fixes_teacher,
            "update_frozen_statistics": self.needs_teacher,
            "warmup_steps": self.warms_up,
        }
        return [option for option, is_used in used.items() if is_used]

    def _check_option(self, option, value):
        """Refuse an argument that nothing uses, or a wrong value of one."""
        name, received = type(self).__name__, f"Received: {option}={value!r}"
        if option == "teacher_update" and self.needs_teacher:
            if self.fixes_teacher:
                raise ValueError(
                    f"The teacher of {name} is fixed: nothing in it trains "
                    f"the teacher. {received}"
                )
            if value not in TEACHER_UPDATES:
                raise ValueError(
                    "`teacher_update` must be one of "
                    f"{TEACHER_UPDATES}. {received}"
                )
        options = self._options()
        if option not in options:
            taken = {*argument_names(type(self)), *options, "name", "dtype"}
            raise ValueError(
                f"{name} has no use for `{option}`. {received}. Its arguments "
                f"are {', '.join(sorted(taken))}."
            )
        if option == "warmup_steps":
            check_integer(warmup_steps=value)

    def is_final(self, name):
        """Return whether an attribute can no longer be set."""
        if name == "selection" and not self.built:
            return False
        return name in _OPTIONS or super().is_final(name)

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

    @property
    def other_inputs(self):
        """Keys of the batch that `run_student` reads beside the networks'.

        Other entries that no network reads are left out of the batch. None,
        as for a `run_student` of your own that does not say, keeps them all.
        """
        own = type(self).run_student
        return () if own is DistillationMethod.run_student else None

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

    @property
    def modifies_gradients(self):
        """Whether `modify_gradients` is more than the one below."""
        own = type(self).modify_gradients
        return own is not DistillationMethod.modify_gradients

    def modify_gradients(self, gradients, variables, outputs, labels):
        """Return the gradients that the optimizer applies.

        Args:
            gradients: List of tensors (or None), scaled if the optimizer
                scales the loss.
            variables: List of variables, in the same order.
            outputs: As in `compute_losses`.
            labels: The batch's labels as they came.

        Returns:
            List in the same order. By default, `gradients` unchanged.
        """
        return gradients

    def diverge(self, divergence, target, learner, labels, weights=None):
        """Apply a loss as "learner <- target", with labels if it takes them.

        Args:
            divergence: `keras.losses.Loss` on (target logits, learner
                logits). One with `takes_labels = True` gets a dict of target
                logits and labels instead of the former.
            target: Logits `(..., num_classes)`; no gradient reaches them.
            learner: Logits of the same shape.
            labels: Integer tensor `(...)`, or None if the label's class is
                not among the logits.
            weights: Optional weights `(...)` of the rows.

        Returns:
            Scalar tensor.
        """
        target = ops.stop_gradient(target)
        if weights is not None and mask_of(learner) is not None:
            # The weights hold it, and Keras would apply it again.
            learner = ops.copy(learner)
        if getattr(divergence, "takes_labels", False):
            target = {"logits": target}
            if labels is not None:
                target["labels"] = labels
        return divergence(target, learner, sample_weight=weights)

    def reduce_rows(self, values, weights=None):
        """Mean over rows as every Keras loss takes it: weighted, scaled.

        Args:
            values: Loss of each row, `(...)`.
            weights: Optional weights of the same shape.

        Returns:
            Scalar tensor.
        """
        mean = _RowValues(name="row_values")
        return mean(ops.zeros_like(values), values, weights)

    def static_map_shape(self, outputs_shape, role, name):
        """Return the shape of a tapped map, its size known.

        Args:
            outputs_shape: As `build` receives it.
            role: `"student"` or `"teacher"`.
            name: The feature's name.

        Returns:
            Tuple `(batch, height, width, channels)`, see `ops.as_map`.

        Raises:
            ValueError: If it is no map or a size is not known.
        """
        try:
            shape = map_shape(outputs_shape[role][name])
        except ValueError as error:
            raise ValueError(f"{role}_features[{name!r}]: {error}") from None
        if None in shape[1:]:
            raise ValueError(
                f"{type(self).__name__} needs feature maps of a known size. "
                f"Received: {role}_features[{name!r}] of shape "
                f"{outputs_shape[role][name]}. Give the {role} an Input with "
                "all sizes."
            )
        return shape

    def dense_size(self, logits_shape, role):
        """Return the height and width of dense logits, their size known.

        Args:
            logits_shape: Tuple `(batch, num_classes)` or
                `(batch, height, width, num_classes)`.
            role: `"student"` or `"teacher"`.

        Returns:
            `(height, width)`, or `None` for one row of logits a sample.

        Raises:
            ValueError: If the logits have another rank or an unknown size.
        """
        if len(logits_shape) == 2:
            return None
        if len(logits_shape) != 4 or None in logits_shape[1:]:
            raise ValueError(
                f"The heads of {type(self).__name__} give logits (batch, "
                "classes) or (batch, height, width, classes) of a known "
                f"size. Received: {role} logits of shape "
                f"{tuple(logits_shape)}. Give the {role} an Input with all "
                "sizes."
            )
        return tuple(logits_shape[1:3])

    def require_rows(self, outputs_shape):
        """Raise a ValueError if the logits are not `(batch, num_classes)`."""
        shape = outputs_shape["student"]["logits"]
        if len(shape) != 2:
            raise ValueError(
                f"{type(self).__name__} is defined for one label a sample, "
                "logits (batch, classes), not for dense prediction. "
                f"Received: student logits of shape {tuple(shape)}"
            )

    def warm_up(self):
        """Return `min(1, step / warmup_steps)` and count the step."""
        if not self.warmup_steps:
            return 1.0
        step = ops.cast(self.step, full_precision_dtype())
        self.step.assign_add(1)
        return ops.minimum(step / self.warmup_steps, 1.0)

    def select(self, selection, teacher, student, targets, divergence=None):
        """Apply a selection to two sets of logits.

        Args:
            selection: `SampleSelection`.
            teacher: Teacher logits to score, `(..., num_classes)`.
            student: Student logits to score, of the same shape.
            targets: `Targets`.
            divergence: The loss that the weights are for, see
                `Targets.weights_for`.

        Returns:
            The weight of each row, selection and sample weight in one, shape
            `(...)`; and the diagnostics `selected_fraction` and `kendall`.
        """
        with named_scope("selection"):
            selected, score = selection(
                teacher, student, targets.labels, valid=targets.valid
            )
            if not isinstance(selection, KendallSelection):
                score = kendall_rank_correlation(teacher, student)
            elif selection.variant == "b":  # Constant rows have none.
                score = ops.where(ops.isnan(score), 0.0, score)
        weights, counted = selected, targets.weights_for(divergence)
        if selection.mean_over == "selected":
            chosen = ops.cast(selected, "bool")
            needs_class = getattr(divergence, "takes_labels", False)
            if needs_class and targets.has_class is not None:
                chosen = ops.logical_and(chosen, targets.has_class)
            weights = targets.weights_where(chosen)
        elif counted is not None:
            weights = selected * ops.cast(counted, selected.dtype)
        return weights, {
            "selected_fraction": targets.mean(selected),
            "kendall": targets.mean(score),
        }

    def get_config(self):
        """Return the constructor's arguments."""
        config = {
            **super().get_config(),
            **{option: getattr(self, option) for option in self._options()},
        }
        if not self.warmup_steps:
            config.pop("warmup_steps", None)
        return config


def checked_losses(method, returned):
    """Return what `compute_losses` did, if it is what the method announces.

    A term of another name would be trained on and never logged.

    Args:
        method: `DistillationMethod`.
        returned: What its `compute_losses` returned.

    Returns:
        The two dicts.

    Raises:
        ValueError: If it is not two dicts, or their names are not those of
            `loss_names` and `diagnostic_names`.
    """
    name = type(method).__name__
    is_pair = isinstance(returned, (tuple, list)) and len(returned) == 2
    if not is_pair or not all(isinstance(part, dict) for part in returned):
        raise ValueError(
            f"compute_losses of {name} must return two dicts, loss terms and "
            f"diagnostics. Received: {_kind(returned)}. Where nothing more is "
            "logged, return the terms and an empty dict: `return losses, {}`."
        )
    for attribute, values in zip(("loss_names", "diagnostic_names"), returned):
        announced = tuple(getattr(method, attribute))
        if set(values) != set(announced):
            raise ValueError(
                f"compute_losses of {name} returned {sorted(values)}; "
                f"{attribute} says {sorted(announced)}. Set in the class, or "
                f"in its __init__: {attribute} = {tuple(values)}; or return "
                "these names."
            )
    return returned


def _kind(returned):
    """Describe what is no pair of dicts, without the values of tensors."""
    if isinstance(returned, dict):
        return f"one dict with the keys {sorted(returned)}"
    if isinstance(returned, (tuple, list)):
        kinds = ", ".join(type(part).__name__ for part in returned)
        return f"a {type(returned).__name__} of ({kinds})"
    return type(returned).__name__


class _RowValues(keras.losses.Loss):
    """Takes the predictions for the losses of the rows."""

    def call(self, y_true, y_pred):
        return y_pred
