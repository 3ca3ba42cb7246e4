"""What a batch adds to the metrics, and what is logged of it."""

from typing import Any

import keras
from keras import ops

from keras_c2kd.backend import distribution
from keras_c2kd.distiller.label_spec import LabelSpec
from keras_c2kd.distiller.network_metrics import NetworkMetrics
from keras_c2kd.distiller.network_pair import logits_of
from keras_c2kd.distiller.targets import aligned_labels
from keras_c2kd.distiller.targets import count_labeled
from keras_c2kd.distiller.targets import read_labels
from keras_c2kd.ops import full_precision_dtype
from keras_c2kd.typing import Tensor
from keras_c2kd.typing import Tensors


class LoggedModel(keras.Model):
    """A distiller's losses and metrics, of student and teacher by name."""

    _label_spec: LabelSpec
    _method_metrics: list[keras.metrics.Mean]
    _teacher_metrics: NetworkMetrics | None

    def update_metrics(
        self,
        loss: Tensor,
        y: Tensor,
        outputs: dict[str, Any],
        sample_weight: Tensor | None = None,
        training: bool = True,
    ) -> dict[str, Tensor]:
        """Add a batch to all metrics; return those that it could feed.

        Args:
            loss: What `compute_loss` returned.
            y: Labels of the batch.
            outputs: What `compute_outputs` returned.
            sample_weight: Optional weights.
            training: Boolean.

        Returns:
            Dict from names to values.
        """
        weight, scale = self._weight_of_batch(y, logits_of(outputs), training)
        self.mean_loss.update_state(
            ops.stop_gradient(loss) / scale, sample_weight=weight
        )
        return self.compute_metrics(
            None, y, outputs, sample_weight, training=training
        )

    def _weight_of_batch(
        self, y: Tensor, logits: Tensor, training: bool
    ) -> tuple[Any, Any]:
        """Return the weight of a loss in its mean, and its scale."""
        size = ops.shape(logits)[0]
        if training:
            if self.num_replicas == 1:
                return size, 1.0
            # The loss has the weight of this device's samples already.
            _, size = distribution.replica_weight(size)
            return size, distribution.replica_loss_scale()
        scale = 1.0
        if self.shares_evaluation:
            scale = distribution.replica_loss_scale()
        if not self._label_spec.has_unlabeled:
            return size, scale
        # The mean is over the labelled samples of all batches.
        labeled = count_labeled(self._label_spec, y, logits)
        if self.shares_evaluation:
            weight, _ = distribution.replica_weight(size)
            _, labeled = distribution.replica_weight(labeled)
            labeled = labeled * weight
        return labeled, scale

    def compute_metrics(
        self,
        x: Tensors,
        y: Tensor,
        y_pred: Tensors,
        sample_weight: Tensor | None = None,
        training: bool = False,
    ) -> dict[str, Tensor]:
        """Update the user's metrics; return all that this batch could feed.

        Args:
            x: Unused.
            y: Labels of the batch.
            y_pred: What `compute_outputs` returned, or the student's logits.
            sample_weight: Optional weights.
            training: Boolean, whether the method has terms to log.

        Returns:
            Dict from names to values.
        """
        student, teacher = logits_of(y_pred), logits_of(y_pred, "teacher")
        y = aligned_labels(y, student)
        counted, absent = None, set[str]()
        if self._label_spec.has_unlabeled:
            labels = read_labels(self._label_spec, y, student)
            y = labels.given
            counted = ops.cast(labels.labeled, full_precision_dtype())
        if self.network_metrics is not None:
            self.network_metrics.update_state(
                y, student, sample_weight, counted
            )
        if self._teacher_metrics is not None:
            self._teacher_metrics.create_variables(y, student)
            if teacher is None:
                absent |= set(self._teacher_metrics.names)
            else:
                self._teacher_metrics.update_state(
                    y, teacher, sample_weight, counted
                )
        if not training:
            absent |= {metric.name for metric in self._method_metrics}
        logs = self.metrics_of_step(training)
        return {k: value for k, value in logs.items() if k not in absent}
