"""The constructor's arguments that several methods share."""

from collections.abc import Mapping
from typing import Literal
from typing import TypeAlias
from typing import get_args

import keras
from keras import ops

from keras_c2kd.methods.search_space import SearchSpace
from keras_c2kd.ops import full_precision_dtype
from keras_c2kd.typing import Config
from keras_c2kd.typing import Tensor
from keras_c2kd.utils.argument_checks import check_integer
from keras_c2kd.utils.final_arguments import FinalArguments
from keras_c2kd.utils.final_arguments import argument_names

TeacherUpdate: TypeAlias = Literal["all", "top", "none"]


class MethodOptions(FinalArguments, keras.layers.Layer):
    """Takes those of three arguments that a method has a use for.

    - `teacher_update`, if there is a teacher that can be trained: which of
      its layers are trained with the student: `"all"`, `"top"` (the
      distiller's `teacher_top_layers`) or `"none"` (default).
    - `update_frozen_statistics`, if there is a teacher: whether the layers of
      the teacher that are *not* trained still run in training mode, so that
      batch normalisation uses and updates batch statistics. `False` (default)
      is Keras' meaning of a frozen layer, `True` what the authors' code does.
      Dropout drops in the whole teacher if it is `True` or a part of the
      teacher is trained, and nowhere else.
    - `warmup_steps`, with `warms_up`: integer, training steps until a weight
      that starts at 0 is fully there. Defaults to `0`.
    """

    needs_teacher = True
    needs_logits = True
    fixes_teacher = False
    warms_up = False
    teacher_update: TeacherUpdate = "none"
    update_frozen_statistics = False
    warmup_steps = 0
    search_space: SearchSpace = {}
    # Beside the arguments of the constructors, see `FinalArguments`.
    final_names: tuple[str, ...] = (
        "teacher_update",
        "update_frozen_statistics",
        "warmup_steps",
    )

    def set_options(self, options: Mapping[str, object]) -> None:
        """Check the arguments and set them as attributes.

        Args:
            options: Dict from names to values.

        Raises:
            ValueError: If the method has no use for one, or the value is not
                allowed.
        """
        for option, value in options.items():
            self._check_option(option, value)
            setattr(self, option, value)
        if self.warmup_steps:
            self.step = step_counter(self)

    def _used_options(self) -> list[str]:
        used = {
            "teacher_update": self.needs_teacher and not self.fixes_teacher,
            "update_frozen_statistics": self.needs_teacher,
            "warmup_steps": self.warms_up,
        }
        return [option for option, is_used in used.items() if is_used]

    def _check_option(self, option: str, value: object) -> None:
        kind: type = type(self)
        name, received = kind.__name__, f"Received: {option}={value!r}"
        if option == "teacher_update" and self.needs_teacher:
            if self.fixes_teacher:
                raise ValueError(
                    f"The teacher of {name} is fixed: nothing in it trains "
                    f"the teacher. {received}"
                )
            known = get_args(TeacherUpdate)
            if value not in known:
                raise ValueError(
                    f"`teacher_update` must be one of {known}. {received}"
                )
        options = self._used_options()
        if option not in options:
            taken = {*argument_names(kind), *options, "name", "dtype"}
            raise ValueError(
                f"{name} has no use for `{option}`. {received}. Its arguments "
                f"are {', '.join(sorted(taken))}."
            )
        if option == "warmup_steps":
            check_integer(warmup_steps=value)

    def warm_up(self) -> float | Tensor:
        """Return `min(1, step / warmup_steps)` and count the step."""
        if not self.warmup_steps:
            return 1.0
        step = ops.cast(self.step, full_precision_dtype())
        self.step.assign_add(1)
        return ops.minimum(step / self.warmup_steps, 1.0)

    def may_change(self, name: str) -> bool:
        """Return whether a constructor's argument can still be set."""
        return name == "selection" and not self.built

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        options = {name: getattr(self, name) for name in self._used_options()}
        if not self.warmup_steps:
            options.pop("warmup_steps", None)
        return {**super().get_config(), **options}


def step_counter(layer: keras.layers.Layer) -> keras.Variable:
    """Return a new variable of a layer that counts training steps."""
    return layer.add_weight(
        shape=(),
        initializer="zeros",
        dtype="int32",
        trainable=False,
        name="step",
    )
