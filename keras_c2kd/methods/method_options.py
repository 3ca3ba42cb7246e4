"""The constructor's arguments that several methods share."""

from keras_c2kd.utils.argument_checks import check_integer
from keras_c2kd.utils.final_arguments import argument_names

TEACHER_UPDATES = ("all", "top", "none")


class MethodOptions:
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

    teacher_update = "none"
    update_frozen_statistics = False
    warmup_steps = 0
    # Beside the arguments of the constructors, see `FinalArguments`.
    final_names = ("teacher_update", "update_frozen_statistics", "warmup_steps")

    def set_options(self, options):
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
            self.step = self.add_weight(
                shape=(),
                initializer="zeros",
                dtype="int32",
                trainable=False,
                name="step",
            )

    def _used_options(self):
        used = {
            "teacher_update": self.needs_teacher and not self.fixes_teacher,
            "update_frozen_statistics": self.needs_teacher,
            "warmup_steps": self.warms_up,
        }
        return [option for option, is_used in used.items() if is_used]

    def _check_option(self, option, value):
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
        options = self._used_options()
        if option not in options:
            taken = {*argument_names(type(self)), *options, "name", "dtype"}
            raise ValueError(
                f"{name} has no use for `{option}`. {received}. Its arguments "
                f"are {', '.join(sorted(taken))}."
            )
        if option == "warmup_steps":
            check_integer(warmup_steps=value)

    def may_change(self, name):
        """Return whether a constructor's argument can still be set."""
        return name == "selection" and not self.built

    def get_config(self):
        """Return the constructor's arguments."""
        options = {name: getattr(self, name) for name in self._used_options()}
        if not self.warmup_steps:
            options.pop("warmup_steps", None)
        return {**super().get_config(), **options}
