"""Selections to compare with: everything, and as many at random."""

from typing import Literal

import keras
from keras import ops

from keras_c2kd.ops import full_precision_dtype
from keras_c2kd.selection.correlation_selection import KendallSelection
from keras_c2kd.selection.sample_selection import SampleSelection
from keras_c2kd.selection.sample_selection import check_selection
from keras_c2kd.typing import Config
from keras_c2kd.typing import DType
from keras_c2kd.typing import Tensor
from keras_c2kd.utils.argument_checks import check_integer


@keras.saving.register_keras_serializable("keras_c2kd")
class SelectAll(SampleSelection):
    """Keeps every sample: distillation without selection.

    Args:
        on: `"proxy"` (default) or `"main"`: of which logits the Kendall
            correlation is logged, as for `SampleSelection`.
        name: Name of the layer.
        dtype: As for every Keras layer.

    Example:
    >>> teacher = np.array([[1.0, 2.0, 3.0], [3.0, 1.0, 2.0]])
    >>> student = np.array([[0.0, 2.0, 1.0], [1.0, 0.0, 0.0]])
    >>> labels = np.array([2, 0])
    >>> selection = SelectAll()
    >>> selected, score = selection(teacher, student, labels)
    >>> print(ops.convert_to_numpy(selected))
    [1. 1.]
    >>> print(ops.convert_to_numpy(score).round(3))
    [inf inf]

    Reference: Huo et al., CVPR 2024, Table 5, the rows without "OFS".
    """

    def __init__(
        self,
        on: Literal["proxy", "main"] = "proxy",
        name: str | None = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__(on=on, name=name, dtype=dtype)

    def score(
        self, teacher_logits: Tensor, student_logits: Tensor, labels: Tensor
    ) -> Tensor:
        """Return a score above any threshold, shape `(...)`."""
        shape = ops.shape(teacher_logits)[:-1]
        return ops.full(shape, float("inf"), dtype=full_precision_dtype())

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        config = super().get_config()
        del config["threshold"]
        return config


@keras.saving.register_keras_serializable("keras_c2kd")
class RandomSelection(SampleSelection):
    """Keeps as many samples as another selection, chosen at random.

    Comparing with it shows whether it matters *which* samples are kept, or
    only how many.

    Args:
        like: The `SampleSelection` whose number of kept samples is matched
            in every batch. Defaults to `KendallSelection()`. Its threshold,
            its `on` and its `mean_over` apply.
        seed: Integer seed; the random state is saved and resumed with the
            distiller. Defaults to `0`.
        name: Name of the layer.
        dtype: As for every Keras layer.

    Raises:
        ValueError: If `like` is no `SampleSelection`, or `seed` no integer of
            at least 0.

    Example:
    >>> teacher = np.array([[1.0, 2.0, 3.0], [3.0, 1.0, 2.0]])
    >>> student = np.array([[0.0, 2.0, 1.0], [1.0, 0.0, 0.0]])
    >>> labels = np.array([2, 0])
    >>> selection = RandomSelection(like=KendallSelection(threshold=0.5))
    >>> selected, score = selection(teacher, student, labels)
    >>> float(ops.sum(selected))
    1.0

    Reference: Huo et al., CVPR 2024, Table 2 ("+Random").
    """

    needs_global_batch = True

    def __init__(
        self,
        like: SampleSelection | None = None,
        seed: int = 0,
        name: str | None = None,
        dtype: DType | None = None,
    ) -> None:
        like = KendallSelection() if like is None else like
        check_selection(like, "like")
        check_integer(seed=seed)
        super().__init__(like.threshold, like.on, name, dtype, like.mean_over)
        self.like = like
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(
        self,
        teacher_logits: Tensor,
        student_logits: Tensor,
        labels: Tensor,
        valid: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return as many random samples as `like` keeps, and its score."""
        selected, score = self.like(
            teacher_logits, student_logits, labels, valid=valid
        )
        count = ops.cast(ops.sum(selected), "int32")
        # A rank is an integer, so that no two samples have the same one.
        numbers = keras.random.uniform(
            ops.shape(selected), dtype="float32", seed=self.seed_generator
        )
        if valid is not None:
            numbers = ops.where(valid, numbers, ops.full_like(numbers, 2.0))
        order = ops.argsort(ops.reshape(numbers, (-1,)))
        rank = ops.reshape(ops.argsort(order), ops.shape(selected))
        chosen = ops.cast(rank, "int32") < count
        return ops.cast(chosen, selected.dtype), score

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        config = super().get_config()
        for name in ("threshold", "on", "mean_over"):
            config.pop(name, None)  # Those of `like`.
        return {
            **config,
            "like": keras.saving.serialize_keras_object(self.like),
            "seed": self.seed,
        }
