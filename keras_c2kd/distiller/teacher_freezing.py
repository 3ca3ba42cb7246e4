"""Which variables of the teacher are trained, without touching its flags."""

import contextlib
import fnmatch
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

import keras

from keras_c2kd.backend.keras_internals import inner_layers
from keras_c2kd.methods import DistillationMethod
from keras_c2kd.typing import Network
from keras_c2kd.typing import Tensor
from keras_c2kd.utils.shared_context import SharedContext


class TeacherFreezing:
    """The part of a teacher that is not trained.

    The `trainable` flags of the user's model are left as they are: the
    distiller leaves the frozen variables out of its own `trainable_variables`
    and sets flags only while the teacher runs, so that frozen batch
    normalisation behaves as Keras defines it (moving statistics, no update)
    and backends that record gradients per variable save the work.

    Args:
        teacher: Built `keras.Model`, or None.
        teacher_update: `"all"`, `"top"` or `"none"`.
        top_layers: For `"top"`: names of the layers that are trained, or
            shell-style patterns of them (`"stack3_*"`); a composite layer
            brings all it contains. None takes the last two layers with a
            kernel, and any normalisation behind the first of them.
        update_statistics: Whether frozen layers run in training mode all the
            same.

    Attributes:
        variable_ids: `id` of each variable that is frozen here.

    Raises:
        ValueError: If a pattern matches no layer with weights.
    """

    def __init__(
        self,
        teacher: Network | None,
        teacher_update: str,
        top_layers: Iterable[str] | None,
        update_statistics: bool,
    ) -> None:
        self._teacher, self._update = teacher, teacher_update
        self._variables: list[keras.Variable] = []
        normalizations: list[keras.layers.Layer] = []
        if teacher is not None and teacher_update != "all":
            trained = []
            if teacher_update == "top":
                trained = _top_layers(teacher, top_layers)
            kept = {id(v) for layer in trained for v in layer.variables}
            self._variables = [
                variable
                for variable in teacher.variables
                if id(variable) not in kept
            ]
            normalizations = [
                layer
                for layer in _leaves(teacher)
                if isinstance(layer, keras.layers.BatchNormalization)
                and not any(id(v) in kept for v in layer.variables)
            ]
        # A layer's flag sets those of its variables: theirs come after it.
        layers = [] if update_statistics else normalizations
        self._flagged: list[Any] = [*layers, *self._variables]
        self._applied = SharedContext(self._freeze, self._thaw)
        self.variable_ids = {id(variable) for variable in self._variables}
        self.runs_in_training_mode = update_statistics or (
            teacher_update != "none"
        )

    def check_something_trains(self, student: Network) -> None:
        """Raise a ValueError if the student, or the teacher, never changes.

        Args:
            student: `keras.Model`.
        """
        if not student.trainable_variables:
            raise ValueError(
                "The student has no trainable variables: it would never "
                f"change. Received: {student.name!r}. Set "
                "`student.trainable = True`."
            )
        if self._teacher is None or self._update == "none":
            return
        if not any(
            id(variable) not in self.variable_ids
            for variable in self._teacher.trainable_variables
        ):
            raise ValueError(
                f"teacher_update={self._update!r} trains the teacher, but none "
                f"of these variables of {self._teacher.name!r} is trainable. "
                "Set `teacher.trainable = True`, or use "
                'teacher_update="none".'
            )

    def applied(self) -> AbstractContextManager[Any]:
        """Return a context in which the frozen part is flagged as frozen."""
        return self._applied if self._flagged else contextlib.nullcontext()

    def _freeze(self) -> list[bool]:
        """Flag all that is frozen; return the flags as they were."""
        flags = [thing.trainable for thing in self._flagged]
        for thing in self._flagged:
            thing.trainable = False
        return flags

    def _thaw(self, flags: list[bool]) -> None:
        for thing, flag in zip(self._flagged, flags):
            thing.trainable = flag


class PartlyFrozen(keras.Model):
    """A model whose variables that a `TeacherFreezing` freezes do not train.

    The flags of the user's teacher stay as they are.
    """

    teacher: Network | None
    method: DistillationMethod
    _freezing: TeacherFreezing

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        """Variables that the optimizer updates, without the frozen teacher."""
        frozen = self._freezing.variable_ids
        variables = super().trainable_variables
        return [v for v in variables if id(v) not in frozen]

    @property
    def non_trainable_variables(self) -> list[keras.Variable]:
        """All other variables, the frozen teacher's included."""
        trained = {id(variable) for variable in self.trainable_variables}
        return [v for v in self.variables if id(v) not in trained]

    @property
    def trainable_weights(self) -> list[keras.Variable]:
        """As `trainable_variables`."""
        frozen = self._freezing.variable_ids
        return [v for v in super().trainable_weights if id(v) not in frozen]

    @property
    def non_trainable_weights(self) -> list[keras.Variable]:
        """As `non_trainable_variables`, without random state."""
        trained = {id(variable) for variable in self.trainable_variables}
        return [v for v in self.weights if id(v) not in trained]

    @property
    def losses(self) -> list[Tensor]:
        """Regularisation of what is trained."""
        with self._freezing.applied():
            losses = super().losses
            if self.teacher is None or self.method.teacher_update != "none":
                return losses
            fixed = {id(loss) for loss in self.teacher.losses}
        return [loss for loss in losses if id(loss) not in fixed]


def _layers_in_order(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Return all layers within one, those of nested models in their position.

    Keras' own `_flatten_layers` turns the order of nested models round.
    """
    found: dict[int, keras.layers.Layer] = {}
    for inner in inner_layers(layer):
        found.setdefault(id(inner), inner)
        for deeper in _layers_in_order(inner):
            found.setdefault(id(deeper), deeper)
    return list(found.values())


def _leaves(model: Network) -> list[keras.layers.Layer]:
    """Return the layers of a model that contain no other layers, in order."""
    return [
        layer for layer in _layers_in_order(model) if not inner_layers(layer)
    ]


def _top_layers(
    teacher: Network, patterns: Iterable[str] | None
) -> list[keras.layers.Layer]:
    """Return the layers that `teacher_update="top"` trains."""
    if patterns is None:
        weighted = [layer for layer in _leaves(teacher) if layer.weights]
        kernels = [
            index
            for index, layer in enumerate(weighted)
            if any(len(weight.shape) > 1 for weight in layer.weights)
        ]
        return weighted[kernels[-2] if len(kernels) > 1 else 0 :]
    layers = [layer for layer in _layers_in_order(teacher) if layer.weights]
    trained = []
    for pattern in patterns:
        matches = [
            layer for layer in layers if fnmatch.fnmatch(layer.name, pattern)
        ]
        if not matches:
            raise ValueError(
                "Each of `teacher_top_layers` must name a layer with weights "
                f"of the teacher. Received: {pattern!r}, which matches none. "
                f"The last ones: {[layer.name for layer in layers[-8:]]}"
            )
        trained.extend(matches)
    return trained
