"""Selections by the agreement of teacher and student on a sample."""

from typing import Literal

import keras

from keras_c2kd.ops import cosine_similarity
from keras_c2kd.ops import gradient_cosine
from keras_c2kd.ops import kendall_rank_correlation
from keras_c2kd.ops import pearson_correlation
from keras_c2kd.ops.kendall_rank_correlation import check_variant
from keras_c2kd.selection.sample_selection import SampleSelection
from keras_c2kd.typing import Config
from keras_c2kd.typing import DType
from keras_c2kd.typing import Tensor


@keras.saving.register_keras_serializable("keras_c2kd")
class KendallSelection(SampleSelection):
    """Keeps samples whose classes both networks rank alike (OFSD).

    `eta = 1` if `kendall(teacher, student) > threshold`, else 0. Constant
    logits have tau-a 0 and are dropped at the default threshold; they have no
    tau-b and are dropped at any.

    Args:
        threshold: Float in `[-1, 1]`, the paper's `omega`. Defaults to
            `0.0`: more class pairs agree than disagree.
        on: `"proxy"` (default) scores the proxy heads' logits, as the
            authors' code does; `"main"` the networks' own, as Eq. 4 says.
        name: Name of the layer.
        dtype: As for every Keras layer.
        mean_over: `"batch"` (default) or `"selected"`, see
            `SampleSelection`.
        variant: `"a"` (default), the paper's Eq. 3, or `"b"`, the authors'
            call of SciPy, which takes ties out; see
            `keras_c2kd.ops.kendall_rank_correlation`.

    Raises:
        ValueError: As for `SampleSelection`, or if `variant` is unknown.

    Example:
    >>> teacher = np.array([[1.0, 2.0, 3.0], [3.0, 1.0, 2.0]])
    >>> student = np.array([[0.0, 2.0, 1.0], [1.0, 0.0, 0.0]])
    >>> labels = np.array([2, 0])
    >>> selection = KendallSelection(threshold=0.5)
    >>> selected, score = selection(teacher, student, labels)
    >>> print(ops.convert_to_numpy(selected))
    [0. 1.]
    >>> print(ops.convert_to_numpy(score).round(3))
    [0.333 0.667]

    Reference: Huo et al., CVPR 2024, Eq. 3 and 4.
    """

    def __init__(
        self,
        threshold: float = 0.0,
        on: Literal["proxy", "main"] = "proxy",
        name: str | None = None,
        dtype: DType | None = None,
        mean_over: Literal["batch", "selected"] = "batch",
        variant: Literal["a", "b"] = "a",
    ) -> None:
        super().__init__(threshold, on, name, dtype, mean_over)
        check_variant(variant)
        self.variant = variant

    def score(
        self, teacher_logits: Tensor, student_logits: Tensor, labels: Tensor
    ) -> Tensor:
        """Return Kendall's correlation of each sample, shape `(...)`."""
        return kendall_rank_correlation(
            teacher_logits, student_logits, self.variant
        )

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {**super().get_config(), "variant": self.variant}


@keras.saving.register_keras_serializable("keras_c2kd")
class CosineSelection(SampleSelection):
    """Keeps samples by the cosine similarity of the raw logits.

    Example:
    >>> teacher = np.array([[1.0, 2.0, 3.0], [3.0, 1.0, 2.0]])
    >>> student = np.array([[0.0, 2.0, 1.0], [1.0, 0.0, 0.0]])
    >>> labels = np.array([2, 0])
    >>> selection = CosineSelection(threshold=0.8)
    >>> selected, score = selection(teacher, student, labels)
    >>> print(ops.convert_to_numpy(selected))
    [1. 1.]
    >>> print(ops.convert_to_numpy(score).round(3))
    [0.837 0.802]

    Reference: Huo et al., CVPR 2024, Fig. 4 ("Cos").
    """

    def score(
        self, teacher_logits: Tensor, student_logits: Tensor, labels: Tensor
    ) -> Tensor:
        """Return the cosine similarity of each sample, shape `(...)`."""
        return cosine_similarity(teacher_logits, student_logits)


@keras.saving.register_keras_serializable("keras_c2kd")
class PearsonSelection(SampleSelection):
    """Keeps samples by Pearson's correlation of the raw logits.

    Example:
    >>> teacher = np.array([[1.0, 2.0, 3.0], [3.0, 1.0, 2.0]])
    >>> student = np.array([[0.0, 2.0, 1.0], [1.0, 0.0, 0.0]])
    >>> labels = np.array([2, 0])
    >>> selection = PearsonSelection(threshold=0.6)
    >>> selected, score = selection(teacher, student, labels)
    >>> print(ops.convert_to_numpy(selected))
    [0. 1.]
    >>> print(ops.convert_to_numpy(score).round(3))
    [0.5   0.866]

    Reference: Huo et al., CVPR 2024, Fig. 4 ("Pearson").
    """

    def score(
        self, teacher_logits: Tensor, student_logits: Tensor, labels: Tensor
    ) -> Tensor:
        """Return Pearson's correlation of each sample, shape `(...)`."""
        return pearson_correlation(teacher_logits, student_logits)


@keras.saving.register_keras_serializable("keras_c2kd")
class GradientCosineSelection(SampleSelection):
    """Keeps samples on which distillation and task pull the same way.

    The score is `keras_c2kd.ops.gradient_cosine`: per sample, on the
    student's last linear layer.

    Example:
    >>> teacher = np.array([[1.0, 2.0, 3.0], [3.0, 1.0, 2.0]])
    >>> student = np.array([[0.0, 2.0, 1.0], [1.0, 0.0, 0.0]])
    >>> labels = np.array([2, 0])
    >>> selection = GradientCosineSelection()
    >>> selected, score = selection(teacher, student, labels)
    >>> print(ops.convert_to_numpy(selected))
    [1. 1.]
    >>> print(ops.convert_to_numpy(score).round(3))
    [0.994 0.706]

    Reference: Huo et al., CVPR 2024, Fig. 4 ("GradCos").
    """

    def score(
        self, teacher_logits: Tensor, student_logits: Tensor, labels: Tensor
    ) -> Tensor:
        """Return the cosine of the two gradients, shape `(...)`."""
        return gradient_cosine(student_logits, teacher_logits, labels)
