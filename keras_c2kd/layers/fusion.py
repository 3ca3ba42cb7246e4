"""Fusion layers: two feature vectors to the logits of both modalities."""

from collections.abc import Sequence
from typing import Any
from typing import Literal

import keras
from keras import ops

from keras_c2kd.typing import Config
from keras_c2kd.typing import Shape
from keras_c2kd.typing import Tensor

_CONDITIONS = ("first", "second")


@keras.saving.register_keras_serializable("keras_c2kd")
class ConcatFusion(keras.layers.Layer):
    """One dense layer on both vectors, concatenated.

    `logits = [x; y] W + b = x W_x + y W_y + b`.

    Args:
        num_classes: Integer, at least 2.
        **kwargs: As for every Keras layer.

    Call arguments:
        vectors: List of two float tensors, `(batch, first_width)` and
            `(batch, second_width)`.

    Returns:
        Logits `(batch, num_classes)`.

    Example:
    >>> fusion = ConcatFusion(num_classes=5)
    >>> vectors = [ops.ones((2, 4)), ops.ones((2, 6))]
    >>> tuple(fusion(vectors).shape)
    (2, 5)
    >>> first, second = fusion.contributions(vectors)
    >>> bool(ops.all(ops.isclose(first + second, fusion(vectors), atol=1e-5)))
    True

    Reference: Huo et al., CVPR 2024, Table 7, "Concat".
    """

    def __init__(self, num_classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes

    def build(self, vectors_shape: Sequence[Shape]) -> None:
        """Create the dense layer."""
        first, second = _widths(vectors_shape)
        self.first_width = first
        self.classifier = keras.layers.Dense(
            self.num_classes, dtype=self.dtype_policy, name="classifier"
        )
        self.classifier.build((None, first + second))
        self.built = True

    def call(self, vectors: Sequence[Tensor]) -> Tensor:
        """Return the logits."""
        return self.classifier(ops.concatenate(vectors, axis=-1))

    def contributions(self, vectors: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return what each modality adds to the logits, with half the bias.

        Args:
            vectors: As in `call`.

        Returns:
            Two tensors `(batch, num_classes)` whose sum is the logits.
        """
        kernel = ops.convert_to_tensor(self.classifier.kernel)
        half = ops.convert_to_tensor(self.classifier.bias) / 2.0
        first, second = (ops.cast(v, kernel.dtype) for v in vectors)
        return (
            ops.matmul(first, kernel[: self.first_width]) + half,
            ops.matmul(second, kernel[self.first_width :]) + half,
        )

    def compute_output_shape(self, vectors_shape: Sequence[Shape]) -> Shape:
        """Return `(batch, num_classes)`."""
        return (vectors_shape[0][0], self.num_classes)

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {**super().get_config(), "num_classes": self.num_classes}


@keras.saving.register_keras_serializable("keras_c2kd")
class FiLMFusion(keras.layers.Layer):
    """One modality scales and shifts the features of the other.

    `[gamma, beta] = Dense(x)`, `logits = Dense(gamma * y + beta)`.

    Args:
        num_classes: Integer, at least 2.
        condition_on: Which vector is `x`, `"first"` (default) or `"second"`.
        **kwargs: As for every Keras layer.

    Raises:
        ValueError: If `condition_on` is unknown.

    Call arguments:
        vectors: List of two float tensors, `(batch, first_width)` and
            `(batch, second_width)`.

    Returns:
        Logits `(batch, num_classes)`.

    Example:
    >>> fusion = FiLMFusion(num_classes=5, condition_on="second")
    >>> tuple(fusion([ops.ones((2, 4)), ops.ones((2, 6))]).shape)
    (2, 5)

    Reference: Perez et al., AAAI 2018, Eq. 1; Huo et al., CVPR 2024, Table 7.
    As in the code of OGM-GE and C2KD, `gamma` is not a residual `1 + gamma`.
    """

    def __init__(
        self,
        num_classes: int,
        condition_on: Literal["first", "second"] = "first",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if condition_on not in _CONDITIONS:
            raise ValueError(
                f"`condition_on` must be one of {_CONDITIONS}. Received: "
                f"condition_on={condition_on!r}"
            )
        self.num_classes = num_classes
        self.condition_on = condition_on

    def build(self, vectors_shape: Sequence[Shape]) -> None:
        """Create both dense layers."""
        condition, features = self._ordered(_widths(vectors_shape))
        self.modulation = keras.layers.Dense(
            2 * features, dtype=self.dtype_policy, name="modulation"
        )
        self.modulation.build((None, condition))
        self.classifier = keras.layers.Dense(
            self.num_classes, dtype=self.dtype_policy, name="classifier"
        )
        self.classifier.build((None, features))
        self.built = True

    def _ordered(self, pair: Sequence[Any]) -> Sequence[Any]:
        """Return (condition, features)."""
        first, second = pair
        return pair if self.condition_on == "first" else (second, first)

    def call(self, vectors: Sequence[Tensor]) -> Tensor:
        """Return the logits."""
        condition, features = self._ordered(vectors)
        gamma, beta = ops.split(self.modulation(condition), 2, axis=-1)
        return self.classifier(gamma * features + beta)

    def compute_output_shape(self, vectors_shape: Sequence[Shape]) -> Shape:
        """Return `(batch, num_classes)`."""
        return (vectors_shape[0][0], self.num_classes)

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "condition_on": self.condition_on,
        }


def _widths(vectors_shape: Sequence[Sequence[Any]]) -> tuple[int, int]:
    """Return the widths of two vectors, or explain what is wrong."""
    shapes = [tuple(shape) for shape in vectors_shape]
    if len(shapes) != 2 or any(
        len(shape) != 2 or shape[-1] is None for shape in shapes
    ):
        raise ValueError(
            "A fusion joins two feature vectors (batch, width). Received: "
            f"inputs of shape {shapes}"
        )
    return shapes[0][-1], shapes[1][-1]
