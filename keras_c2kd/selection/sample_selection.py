"""The contract of a sample selection: which samples may be distilled."""

import inspect
from typing import Any
from typing import Literal

import keras
from keras import ops

from keras_c2kd.ops import full_precision
from keras_c2kd.ops import full_precision_dtype
from keras_c2kd.typing import Config
from keras_c2kd.typing import DType
from keras_c2kd.typing import Tensor
from keras_c2kd.utils.argument_checks import check_instance
from keras_c2kd.utils.argument_checks import check_number
from keras_c2kd.utils.final_arguments import FinalArguments


class SampleSelection(FinalArguments, keras.layers.Layer):
    """Decides for every sample whether it takes part in distillation.

    A selection scores each sample from the logits of both networks and keeps
    those whose score is strictly above the threshold (Eq. 4: `eta = 1` if
    `score > omega`, else 0). The decision is a constant for gradients. A
    score that is not a number is never above the threshold.

    It is a Keras layer so that it is saved with the distiller and so that
    random state, where there is any, is saved and resumed. Subclasses
    implement `score`.

    Args:
        threshold: Float, the paper's `omega`. Defaults to `0.0`.
        on: `"proxy"` or `"main"`: whether C2KD scores the logits of the
            proxy heads or the networks' own. Without proxy heads there are
            only the main logits. Defaults to `"proxy"`.
        name: Name of the layer.
        dtype: As for every Keras layer.
        mean_over: What the distilled terms are a mean over. `"batch"`
            (default): all samples, of which those that are not selected
            count as zeros, as in the authors' code as published; a batch of
            which little is selected moves the networks little. `"selected"`:
            the selected samples, as in the line that the code keeps as a
            comment. On several devices the number of all of them counts.
            Either is exactly 0 if none is selected.

    Raises:
        ValueError: If `threshold` is no finite number, `on` neither
            `"proxy"` nor `"main"`, or `mean_over` neither `"batch"` nor
            `"selected"`.

    Call arguments:
        teacher_logits: Float tensor of shape `(..., num_classes)`.
        student_logits: Float tensor of the same shape.
        labels: Integer tensor of shape `(...)`.
        valid: Optional boolean tensor of shape `(...)`: samples (pixels) that
            take part in the loss at all.

    Returns:
        Two float tensors of shape `(...)`: 1 for selected and 0 for the rest,
        and the score.

    Example:
    >>> class ConfidentTeacher(SampleSelection):
    ...     def score(self, teacher_logits, student_logits, labels):
    ...         return ops.max(ops.softmax(teacher_logits), axis=-1)
    >>> selection = ConfidentTeacher(threshold=0.7)
    >>> teacher, student = np.array([[0.0, 2.0], [0.5, 0.0]]), np.zeros((2, 2))
    >>> selected, score = selection(teacher, student, np.array([1, 0]))
    >>> print(ops.convert_to_numpy(selected))
    [1. 0.]
    >>> print(ops.convert_to_numpy(score).round(3))
    [0.881 0.622]
    """

    # Whether it looks at several samples at once.
    needs_global_batch = False

    def __init__(
        self,
        threshold: float = 0.0,
        on: Literal["proxy", "main"] = "proxy",
        name: str | None = None,
        dtype: DType | None = None,
        mean_over: Literal["batch", "selected"] = "batch",
    ) -> None:
        super().__init__(name=name, dtype=dtype, autocast=False)
        self.supports_masking = True
        if on not in ("proxy", "main"):
            raise ValueError(
                '`on` names the logits that are scored: "proxy" or "main". '
                f"Received: on={on!r}"
            )
        check_number(threshold=threshold)
        if mean_over not in ("batch", "selected"):
            raise ValueError(
                "`mean_over` says what the distilled terms are a mean over: "
                f'"batch" or "selected". Received: mean_over={mean_over!r}'
            )
        self.threshold = threshold
        self.on = on
        self.mean_over = mean_over
        self.built = True

    def score(
        self, teacher_logits: Tensor, student_logits: Tensor, labels: Tensor
    ) -> Tensor:
        """Return the score of each sample, shape `(...)`."""
        raise NotImplementedError(
            f"{type(self).__name__} is a SampleSelection and must implement "
            "`score(teacher_logits, student_logits, labels)`."
        )

    def call(
        self,
        teacher_logits: Tensor,
        student_logits: Tensor,
        labels: Tensor,
        valid: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return 1 for selected samples and 0 for others, and the score."""
        score = self.score(
            ops.stop_gradient(full_precision(teacher_logits)),
            ops.stop_gradient(full_precision(student_logits)),
            labels,
        )
        selected = score > self.threshold
        if valid is not None:
            selected = ops.logical_and(selected, valid)
        return ops.cast(selected, full_precision_dtype()), score

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """Return None: what the networks masked comes with `valid`."""

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        config = {
            **super().get_config(),
            "threshold": self.threshold,
            "on": self.on,
        }
        # Selections of one's own may have a constructor without it.
        taken = inspect.signature(type(self).__init__).parameters
        if self.mean_over != "batch" or "mean_over" in taken:
            config["mean_over"] = self.mean_over
        return config


def check_selection(selection: object, argument: str = "selection") -> None:
    """Refuse what is no instance of `SampleSelection`.

    Args:
        selection: What was given.
        argument: Name of the argument.

    Raises:
        ValueError: If it is a class, a name or something else.
    """
    check_instance(selection, SampleSelection, argument, "KendallSelection()")
