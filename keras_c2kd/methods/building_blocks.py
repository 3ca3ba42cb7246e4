"""What the loss terms of several methods are made of."""

from typing import Any
from typing import TypeAlias
from typing import cast

import keras
from keras import ops

from keras_c2kd.methods.targets import Targets
from keras_c2kd.networks.graph import mask_of
from keras_c2kd.ops import kendall_rank_correlation
from keras_c2kd.ops import map_shape
from keras_c2kd.selection import KendallSelection
from keras_c2kd.selection import SampleSelection
from keras_c2kd.typing import NamedTensors
from keras_c2kd.typing import OutputShapes
from keras_c2kd.typing import Tensor

MapShape: TypeAlias = tuple[int | None, int, int, int]
"""`(batch, height, width, channels)`."""


class BuildingBlocks:
    """Divergences, selections, means and shapes, for methods to compose."""

    def diverge(
        self,
        divergence: keras.losses.Loss,
        target: Tensor,
        learner: Tensor,
        labels: Tensor | None,
        weights: Tensor | None = None,
    ) -> Tensor:
        """Apply a loss as "learner <- target", with labels if it takes them.

        Args:
            divergence: `keras.losses.Loss` on (target logits, learner
                logits). One with `takes_labels = True` gets a dict of target
                logits and labels instead of the former.
            target: Logits `(..., num_classes)`; no gradient reaches them.
            learner: Logits of the same shape.
            labels: Integer tensor `(...)`, or None if the label's class is
                not among the logits.
            weights: Optional weights `(...)` of the samples or pixels.

        Returns:
            Scalar tensor.
        """
        target = ops.stop_gradient(target)  # The target of "<-" is constant.
        if weights is not None and mask_of(learner) is not None:
            # The weights hold it, and Keras would apply it again.
            learner = ops.copy(learner)
        if getattr(divergence, "takes_labels", False):
            labelled = {"logits": target}
            if labels is not None:
                labelled["labels"] = labels
            return divergence(labelled, learner, sample_weight=weights)
        return divergence(target, learner, sample_weight=weights)

    def reduce_samples(
        self, values: Tensor, weights: Tensor | None = None
    ) -> Tensor:
        """Return the mean over samples (pixels) as every Keras loss takes it.

        Args:
            values: Loss of each sample, `(...)`.
            weights: Optional weights of the same shape.

        Returns:
            Scalar tensor.
        """
        mean = _GivenValues(name="given_values")
        return mean(ops.zeros_like(values), values, weights)

    def select(
        self,
        selection: SampleSelection,
        teacher: Tensor,
        student: Tensor,
        targets: Targets,
        divergence: keras.losses.Loss | None = None,
    ) -> tuple[Tensor, NamedTensors]:
        """Apply a selection to two sets of logits.

        Args:
            selection: `SampleSelection`.
            teacher: Teacher logits to score, `(..., num_classes)`.
            student: Student logits to score, of the same shape.
            targets: `Targets`.
            divergence: The loss that the weights are for, see
                `Targets.weights_for`.

        Returns:
            The weight of each sample, selection and sample weight in one,
            shape `(...)`; and the diagnostics `selected_fraction` and
            `kendall`.
        """
        with targets.named_scope("selection"):
            selected, score = selection(
                teacher, student, targets.labels, valid=targets.valid
            )
            if not isinstance(selection, KendallSelection):
                score = kendall_rank_correlation(teacher, student)
            elif selection.variant == "b":  # Constant logits have none.
                score = ops.where(ops.isnan(score), 0.0, score)
        # eta of Eq. 4, times the weight of the sample.
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

    def static_map_shape(
        self, outputs_shape: OutputShapes, role: str, name: str
    ) -> MapShape:
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
        return cast(MapShape, shape)

    def dense_size(
        self, logits_shape: tuple[Any, ...], role: str
    ) -> tuple[int, int] | None:
        """Return the height and width of dense logits, their size known.

        Args:
            logits_shape: Tuple `(batch, num_classes)` or
                `(batch, height, width, num_classes)`.
            role: `"student"` or `"teacher"`.

        Returns:
            `(height, width)`, or `None` for one vector of logits a sample.

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
        return logits_shape[1], logits_shape[2]

    def require_one_label_a_sample(self, outputs_shape: OutputShapes) -> None:
        """Raise a ValueError if the logits are not `(batch, num_classes)`."""
        shape = outputs_shape["student"]["logits"]
        if len(shape) != 2:
            raise ValueError(
                f"{type(self).__name__} is defined for one label a sample, "
                "logits (batch, classes), not for dense prediction. "
                f"Received: student logits of shape {tuple(shape)}"
            )


class _GivenValues(keras.losses.Loss):
    """Takes the predictions for the losses of the samples."""

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return y_pred


def check_returned(
    method: Any, returned: Any
) -> tuple[NamedTensors, NamedTensors]:
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


def _kind(returned: object) -> str:
    """Describe what is no pair of dicts, without the values of tensors."""
    if isinstance(returned, dict):
        return f"one dict with the keys {sorted(returned)}"
    if isinstance(returned, (tuple, list)):
        kinds = ", ".join(type(part).__name__ for part in returned)
        return f"a {type(returned).__name__} of ({kinds})"
    return type(returned).__name__
