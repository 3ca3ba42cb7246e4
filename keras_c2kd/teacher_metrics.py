"""The metrics given to `compile()`, computed for the teacher too."""

import inspect
import warnings

import keras
from keras.src.trainers.compile_utils import CompileMetrics


class TeacherMetrics(keras.metrics.Metric):
    """Copies of the user's metrics that read the teacher's logits.

    Their results are named `teacher_<name of the metric>`. A metric whose
    configuration does not tell how to make another is left out, with a
    warning.

    Args:
        metrics: What `compile(metrics=)` received.
        weighted_metrics: What `compile(weighted_metrics=)` received.
    """

    def __init__(self, metrics=None, weighted_metrics=None):
        super().__init__(name="teacher")
        self._compiled = CompileMetrics(
            _copies(metrics), _copies(weighted_metrics)
        )

    def ensure_built(self, y, logits):
        """Create the variables; the teacher's logits look like these."""
        if not self._compiled.built:
            self._compiled.build(y, logits)

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Add one batch."""
        self._compiled.update_state(y_true, y_pred, sample_weight)

    def reset_state(self):
        """Forget all batches."""
        self._compiled.reset_state()

    def result(self):
        """Return `{"teacher_<name>": value}`."""
        if not self._compiled.built:
            return {}
        return {
            f"teacher_{name}": value
            for name, value in self._compiled.result().items()
        }


def _copies(metrics):
    """Copy metric objects; names and functions need no copy."""
    if isinstance(metrics, dict):
        return {name: _copies(metric) for name, metric in metrics.items()}
    if isinstance(metrics, (list, tuple)):
        copies = [_copies(metric) for metric in metrics]
        return [metric for metric in copies if metric is not None]
    if isinstance(metrics, keras.metrics.Metric):
        return _copy(metrics)
    return metrics


def _copy(metric):
    """Copy a metric by its configuration; None if that does not tell it."""
    config = metric.get_config()
    needed = inspect.signature(type(metric)).parameters.values()
    missing = [
        argument.name
        for argument in needed
        if argument.kind not in (argument.VAR_KEYWORD, argument.VAR_POSITIONAL)
        and argument.name not in {*config, "name", "dtype"}
    ]
    reason = f"its get_config() lacks {missing}"
    # Some of Keras' own leave out what they have defaults for.
    if not missing or type(metric).__module__.startswith("keras."):
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
