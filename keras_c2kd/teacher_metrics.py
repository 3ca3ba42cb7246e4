"""The metrics given to `compile()`, computed for the teacher too."""

import keras
from keras.src.trainers.compile_utils import CompileMetrics


class TeacherMetrics(keras.metrics.Metric):
    """Copies of the user's metrics that read the teacher's logits.

    Their results are named `teacher_<name of the metric>`.

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
    return keras.tree.map_structure(
        lambda metric: (
            type(metric).from_config(metric.get_config())
            if isinstance(metric, keras.metrics.Metric)
            else metric
        ),
        metrics,
    )
