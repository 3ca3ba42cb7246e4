"""One optimizer for the student's side and one for the teacher's."""

import keras


def optimizer_of_sides(optimizer, teacher_optimizer, teacher, method, trained):
    """Return the one optimizer of a step, or one for each side of it.

    Args:
        optimizer: `keras.optimizers.Optimizer` of all that is trained, or of
            all but the teacher's side.
        teacher_optimizer: The teacher's and that of the heads whose name
            begins with `teacher_`, or None.
        teacher: The teacher, or None.
        method: The `DistillationMethod` with its heads built.
        trained: The variables that are trained.

    Raises:
        ValueError: If there is no teacher for its optimizer, if nothing on
            its side is trained, if both are the same object, or if one of the
            two scales the loss on its own.
    """
    if teacher_optimizer is None:
        return optimizer
    if teacher is None:
        raise ValueError(
            "`teacher_optimizer` needs a teacher. Received: teacher=None"
        )
    if teacher_optimizer is optimizer:
        raise ValueError(
            "`teacher_optimizer` must be another object than `optimizer`:"
            " each keeps its own state. Received the same one twice."
        )
    for one in (optimizer, teacher_optimizer):
        if isinstance(one, keras.optimizers.LossScaleOptimizer):
            raise ValueError(
                "Two optimizers share one loss scale: there is one loss, "
                "and an overflow on either side skips the step of both. "
                f"Received: {one.name!r}, a LossScaleOptimizer. Pass its "
                "inner optimizer; under mixed_float16 the loss is scaled."
            )
    side = [*teacher.variables]
    for layer in method._flatten_layers(include_self=False):
        if layer.name.startswith("teacher_"):
            side.extend(layer.variables)
    if not {id(v) for v in side} & {id(v) for v in trained}:
        raise ValueError(
            "`teacher_optimizer` would update nothing: "
            f"{type(method).__name__} with teacher_update="
            f"{method.teacher_update!r} trains neither the teacher nor a head "
            f"of it. Received: teacher_optimizer={teacher_optimizer.name!r}"
        )
    return keras.optimizers.MultiOptimizer(
        _OptimizerOfSide(optimizer, teacher_optimizer, side)
    )


class _OptimizerOfSide(keras.optimizers.OptimizerMap):
    """Maps variables to optimizers by identity.

    Keras maps by `variable.path`, which does not hold the model's name: two
    networks with equal layer names would collide without a word.
    """

    def __init__(self, optimizer, teacher_optimizer, teacher_side):
        super().__init__(optimizer, {"teacher": teacher_optimizer})
        self._teacher_side = {id(variable) for variable in teacher_side}

    def __call__(self, variable):
        side = id(variable) in self._teacher_side
        return self["teacher"] if side else self.default_optimizer
