"""One optimizer for the student and one for the teacher."""

import math
from collections.abc import Iterable
from collections.abc import Sequence

import keras

from keras_c2kd.backend.keras_internals import layers_within
from keras_c2kd.backend.keras_internals import rate_of
from keras_c2kd.backend.keras_internals import variables_updated_by
from keras_c2kd.methods import DistillationMethod
from keras_c2kd.typing import Network


def two_optimizers(
    optimizer: keras.optimizers.Optimizer,
    teacher_optimizer: keras.optimizers.Optimizer | None,
    teacher: Network | None,
    method: DistillationMethod,
    trained: Iterable[keras.Variable],
    scales_loss: bool = False,
) -> keras.optimizers.Optimizer:
    """Return the one optimizer of a step, or one for each role.

    Args:
        optimizer: `keras.optimizers.Optimizer` of all that is trained, or of
            all but what belongs to the teacher.
        teacher_optimizer: The teacher's and that of the heads whose name
            begins with `teacher_`, or None.
        teacher: The teacher, or None.
        method: The `DistillationMethod` with its heads built.
        trained: The variables that are trained.
        scales_loss: Whether two optimizers are to share a loss scale.

    Raises:
        ValueError: If there is no teacher for its optimizer, if nothing on
            its own is trained, if both are the same object, or if one of the
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
                "and an overflow in either role skips the step of both. "
                f"Received: {one.name!r}, a LossScaleOptimizer. Pass its "
                "inner optimizer; under mixed_float16 the loss is scaled."
            )
    own = [*teacher.variables]
    for layer in layers_within(method):
        if layer.name.startswith("teacher_"):
            own.extend(layer.variables)
    if not {id(v) for v in own} & {id(v) for v in trained}:
        raise ValueError(
            "`teacher_optimizer` would update nothing: "
            f"{type(method).__name__} with teacher_update="
            f"{method.teacher_update!r} trains neither the teacher nor a head "
            f"of it. Received: teacher_optimizer={teacher_optimizer.name!r}"
        )
    both = keras.optimizers.MultiOptimizer(
        _OptimizerOfRole(optimizer, teacher_optimizer, own)
    )
    if scales_loss:
        return _SharedLossScale(both, name="loss_scale_optimizer")
    return both


def learning_rates(optimizer: keras.optimizers.Optimizer) -> list[float]:
    """Return the learning rate of an optimizer, or of each of several.

    Args:
        optimizer: `keras.optimizers.Optimizer`. The rate of a schedule is that
            of its next step. A function is not called: it may count its calls.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    schedule = keras.optimizers.schedules.LearningRateSchedule
    return [
        float(keras.ops.convert_to_numpy(one.learning_rate))
        for one in getattr(optimizer, "optimizers", [optimizer])
        if isinstance(rate_of(one), schedule) or not callable(rate_of(one))
    ]


def check_learning_rates(
    *optimizers: keras.optimizers.Optimizer | None,
) -> None:
    """Raise a ValueError if an optimizer cannot train at its rate.

    Args:
        *optimizers: `keras.optimizers.Optimizer`, or None.
    """
    for optimizer in optimizers:
        if optimizer is None:
            continue
        rates = learning_rates(optimizer)
        if not all(math.isfinite(rate) and rate >= 0 for rate in rates):
            raise ValueError(
                "A learning rate is a finite number that is not negative. "
                f"Received: {optimizer.name!r} with learning_rate="
                f"{rates[0] if len(rates) == 1 else rates}"
            )


class _SharedLossScale(keras.optimizers.LossScaleOptimizer):
    """A loss scale that shows callbacks the two optimizers inside of it.

    What sets a learning rate asks for `optimizers`, and else for one rate.
    """

    @property
    def optimizers(self) -> list[keras.optimizers.Optimizer]:
        """The optimizers of the two roles."""
        return self.inner_optimizer.optimizers


class _OptimizerOfRole(keras.optimizers.OptimizerMap):
    """Maps variables to optimizers by identity.

    Keras maps by `variable.path`, which does not hold the model's name: two
    networks with equal layer names would collide without a word.
    """

    def __init__(
        self,
        optimizer: keras.optimizers.Optimizer,
        teacher_optimizer: keras.optimizers.Optimizer,
        teacher_variables: Iterable[keras.Variable],
    ) -> None:
        super().__init__(optimizer, {"teacher": teacher_optimizer})
        self._teacher_ids = {id(variable) for variable in teacher_variables}

    def __call__(self, variable: keras.Variable) -> keras.optimizers.Optimizer:
        is_own = id(variable) in self._teacher_ids
        return self["teacher"] if is_own else self.default_optimizer


def check_optimizers(
    optimizer: keras.optimizers.Optimizer,
    teacher_optimizer: keras.optimizers.Optimizer | None,
    variables: Sequence[keras.Variable],
) -> None:
    """Refuse optimizers that cannot train these variables.

    Args:
        optimizer: `keras.optimizers.Optimizer`.
        teacher_optimizer: A second one for some of the variables, or None.
        variables: Variables that are trained.

    Raises:
        ValueError: If a learning rate is negative or not finite, or if an
            optimizer was built for other variables.
    """
    check_learning_rates(optimizer, teacher_optimizer)
    for one in (optimizer, teacher_optimizer):
        if one is not None:
            _check_unused(one, variables, teacher_optimizer is None)


def _check_unused(
    optimizer: keras.optimizers.Optimizer,
    variables: Sequence[keras.Variable],
    all_of_them: bool,
) -> None:
    """Refuse an optimizer that has been built for another model.

    Args:
        optimizer: `keras.optimizers.Optimizer`.
        variables: Variables that are trained.
        all_of_them: Whether it is to update them all, or only some.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if not inner.built:
        return
    known = {id(variable) for variable in variables_updated_by(inner)}
    wanted = {id(variable) for variable in variables}
    if wanted <= known or (not all_of_them and wanted & known):
        return
    kind = type(inner).__name__
    raise ValueError(
        "An optimizer keeps a state for each variable that it was built for, "
        f"and cannot train another model. Received: a {kind} that has been "
        f"used before, for {len(known)} variables, of which "
        f"{len(wanted & known)} are among the {len(wanted)} of this model. "
        f"Pass a new one: {kind}.from_config(optimizer.get_config())."
    )
