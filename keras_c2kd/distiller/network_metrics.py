"""The metrics given to `compile()`, computed for student and teacher."""

import collections
import inspect
import warnings
from collections.abc import Iterable
from typing import Any

import keras

from keras_c2kd.backend.keras_internals import UserMetrics
from keras_c2kd.backend.keras_internals import function_arguments
from keras_c2kd.backend.keras_internals import name_of
from keras_c2kd.distiller.targets import broadcast_weights
from keras_c2kd.distiller.targets import copied
from keras_c2kd.typing import Tensor


class NetworkMetrics(UserMetrics):
    """The user's metrics of one network's logits.

    Equal names are told apart as Keras does it: `a`, `a_1`, and `weighted_a`
    if the second one is weighted.

    Args:
        metrics: What `compile(metrics=)` received.
        weighted_metrics: What `compile(weighted_metrics=)` received.

    Attributes:
        names: Tuple of the names that `result()` returns.
    """

    def __init__(
        self, metrics: Any = None, weighted_metrics: Any = None
    ) -> None:
        super().__init__(metrics, weighted_metrics)
        self.names = _names(_flat(metrics), _flat(weighted_metrics))

    def of_teacher(self) -> "NetworkMetrics":
        """Return copies for the teacher, named `teacher_<name>`.

        A metric that cannot be made again from its configuration is left out,
        with a warning.
        """
        names = iter(self.names)
        groups: list[list[tuple[Any, str]]] = []
        for metrics in self.given():
            groups.append([])
            for metric in _flat(metrics):
                copy, name = _copy(metric), next(names)
                if copy is not None:
                    groups[-1].append((copy, name))
        teacher = NetworkMetrics(*([m for m, _ in group] for group in groups))
        teacher.name = "teacher"
        teacher.names = tuple(f"teacher_{n}" for _, n in sum(groups, []))
        return teacher

    def build(self, y_true: Tensor, y_pred: Tensor) -> None:
        """Create Keras' metric objects; labels and logits look like these."""
        super().build(y_true, y_pred)
        if self.name == "teacher":  # The student's may be the user's objects.
            for metric, name in zip(self.metrics, self.names, strict=True):
                metric.name = name

    def create_variables(self, y_true: Tensor, y_pred: Tensor) -> None:
        """Create all variables, which some metrics do as they are updated."""
        if not self.built:
            self.update_state(y_true, y_pred)
            self.reset_state()

    def update_state(
        self,
        y_true: Tensor,
        y_pred: Tensor,
        sample_weight: Tensor | None = None,
        counted: Tensor | None = None,
    ) -> None:
        """Add one batch.

        Args:
            y_true: Labels.
            y_pred: Logits `(batch, ..., num_classes)`.
            sample_weight: Weights of the weighted metrics, one a sample or
                one a pixel, or None.
            counted: Float tensor, 1 for the samples or pixels that count and
                0 for those that no metric is to see. None (default) if all
                count.
        """
        if not self.built:
            self.build(y_true, y_pred)
        counted = broadcast_weights(counted, y_pred)
        weights = broadcast_weights(sample_weight, y_pred)
        if weights is None:
            weights = counted
        elif counted is not None:
            weights = weights * counted
        for groups, weight in zip(self.built_metrics(), (counted, weights)):
            for metrics in filter(None, groups):
                metrics.update_state(
                    y_true, y_pred, sample_weight=copied(weight)
                )

    def result(self) -> dict[str, Any]:
        """Return `{name: value}`."""
        values = [metric.result() for metric in self.metrics]
        return dict(zip(self.names, values, strict=self.built))


def metrics_of_pair(
    metrics: Any,
    weighted_metrics: Any,
    has_teacher: bool,
    own_names: Iterable[str],
) -> tuple[NetworkMetrics | None, NetworkMetrics | None]:
    """Return the metrics of student and teacher, each `NetworkMetrics` or None.

    Args:
        metrics: What `compile(metrics=)` received.
        weighted_metrics: What `compile(weighted_metrics=)` received.
        has_teacher: Whether there is a teacher.
        own_names: Names that the distiller logs itself.

    Raises:
        ValueError: If a name in the log would stand for two figures.
    """
    student = teacher = None
    if metrics or weighted_metrics:
        student = NetworkMetrics(metrics, weighted_metrics)
        teacher = student.of_teacher() if has_teacher else None
    users = [m.names for m in (student, teacher) if m is not None]
    check_names(sum(users, ()), own_names)
    return student, teacher


def check_names(user_names: Iterable[str], own_names: Iterable[str]) -> None:
    """Check that each name in the log stands for one figure.

    Args:
        user_names: Names of the user's metrics of both networks.
        own_names: Names that the distiller logs itself.

    Raises:
        ValueError: If a name stands for two, or is what Keras makes of
            another one in validation.
    """
    names = [*user_names, *own_names]
    clashes = {name for name in names if names.count(name) > 1}
    clashes |= {f"val_{name}" for name in names} & set(names)
    if clashes:
        raise ValueError(
            "Each name in the log stands for one figure: those of `metrics` "
            "and `weighted_metrics`, `teacher_` and these for the teacher, "
            "and `val_` and all of these in validation. Received: more than "
            f"one figure named {', '.join(map(repr, sorted(clashes)))}. Give "
            "the metric another name (`name=`; a function its own). What is "
            f"logged besides: {', '.join(own_names)}."
        )


def _flat(metrics: Any) -> list[Any]:
    """Return the metrics of one output in Keras' order."""
    return keras.tree.flatten(metrics) if metrics else []


def _names(metrics: list[Any], weighted_metrics: list[Any]) -> tuple[str, ...]:
    """Return the names by which Keras logs the metrics of one output."""
    names, seen = list[str](), collections.Counter[str]()
    for group in (metrics, weighted_metrics):
        for metric in group:
            name = metric
            if not isinstance(metric, str):
                name = name_of(keras.metrics.get(metric))
            if seen[name] and group is weighted_metrics:
                name = f"weighted_{name}"
            names.append(f"{name}_{seen[name]}" if seen[name] else name)
            seen[name] += 1
    return tuple(names)


def _copy(metric: Any) -> Any:
    """Copy a metric by its configuration; None if that cannot be done.

    Names, functions and classes need no copy.
    """
    if not isinstance(metric, keras.metrics.Metric):
        return metric
    config = metric.get_config()
    needed = inspect.signature(type(metric)).parameters.values()
    missing = [
        argument.name
        for argument in needed
        if argument.kind not in (argument.VAR_KEYWORD, argument.VAR_POSITIONAL)
        and argument.name not in {*config, "name", "dtype"}
    ]
    reason = f"its get_config() lacks {missing}"
    # Some of Keras' own leave out what they have defaults for, or what they
    # hand on to a function.
    if not missing or type(metric).__module__.startswith("keras."):
        handed_on = function_arguments(metric)
        config |= {n: handed_on[n] for n in missing if n in handed_on}
        try:
            return type(metric).from_config(config)
        except Exception as error:
            reason = str(error)
    warnings.warn(
        "A metric is computed for the teacher too if its get_config() has all "
        "arguments of its class and from_config() takes them. Received: "
        f"{metric.name!r}, which is computed for the student alone ({reason}).",
        stacklevel=5,
    )
    return None
