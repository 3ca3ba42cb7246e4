"""Names for types of arguments and results; shapes stand in the docstrings.

Keras has no annotations: a type checker sees its classes as `Any`, and so are
the names below that stand for one of them. They tell a reader what is meant.
"""

from collections.abc import Callable
from typing import Any
from typing import Protocol
from typing import TypeAlias

import keras
import numpy.typing

Array: TypeAlias = numpy.typing.NDArray[Any]
"""A NumPy array."""


class Tensor(Protocol):
    """A tensor of the backend in use, a symbolic one, or a NumPy array."""

    @property
    def shape(self) -> Any:
        """The sizes; TensorFlow and symbolic tensors may have None."""

    @property
    def dtype(self) -> Any:
        """A string in symbolic tensors, the backend's own type in others."""

    def __getitem__(self, key: Any, /) -> "Tensor": ...
    def __neg__(self) -> "Tensor": ...
    def __add__(self, other: Any, /) -> "Tensor": ...
    def __radd__(self, other: Any, /) -> "Tensor": ...
    def __sub__(self, other: Any, /) -> "Tensor": ...
    def __rsub__(self, other: Any, /) -> "Tensor": ...
    def __mul__(self, other: Any, /) -> "Tensor": ...
    def __rmul__(self, other: Any, /) -> "Tensor": ...
    def __truediv__(self, other: Any, /) -> "Tensor": ...
    def __rtruediv__(self, other: Any, /) -> "Tensor": ...
    def __lt__(self, other: Any, /) -> "Tensor": ...
    def __le__(self, other: Any, /) -> "Tensor": ...
    def __gt__(self, other: Any, /) -> "Tensor": ...
    def __ge__(self, other: Any, /) -> "Tensor": ...


Tensors: TypeAlias = Any
"""A tensor or an array, or dicts, lists and tuples of them."""

Shape: TypeAlias = tuple[int | None, ...]
"""Sizes of a tensor; None where one is not known."""

DType: TypeAlias = str | keras.DTypePolicy
"""The name of a dtype, or Keras' policy of the dtypes of a layer."""

NamedTensors: TypeAlias = dict[str, Tensor]
"""Tensors by name: logits and features, heads, terms of a loss."""

Outputs: TypeAlias = dict[str, NamedTensors]
"""What is computed of a batch, of `"student"`, `"teacher"` and `"heads"`."""

OutputShapes: TypeAlias = dict[str, dict[str, tuple[Any, ...]]]
"""Shapes of `Outputs`; the number of classes is known, others may be None."""

Network: TypeAlias = keras.Model
"""A teacher, a student, or a part of one."""


class Model(Protocol):
    """What a student and a teacher are: built `keras.Model`.

    It has what a checker can ask for although Keras has no annotations.
    """

    name: Any

    @property
    def inputs(self) -> Any:
        """Symbolic inputs, of a model that has a graph."""

    @property
    def trainable_variables(self) -> Any:
        """The variables that are trained."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the outputs for inputs."""


Modality: TypeAlias = str | tuple[str, ...]
"""The key of a modality in a batch, or the keys that one network reads."""

Tap: TypeAlias = str | keras.KerasTensor | Callable[[Any], Any] | None
"""Where a feature map is: see `student_features` of `CrossModalDistiller`."""

Taps: TypeAlias = Tap | dict[str, Tap] | list[Tap]
"""One tap, or several: by the method's names, or in their order."""

Config: TypeAlias = dict[str, Any]
"""What `get_config` returns: the constructor's arguments by name."""
