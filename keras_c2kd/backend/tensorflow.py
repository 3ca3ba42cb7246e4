"""The training step on TensorFlow."""

import pathlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import keras
import tensorflow as tf

from keras_c2kd.backend import distribution
from keras_c2kd.backend.distribution import tensorflow as replicas
from keras_c2kd.backend.joint_trainer import JointTrainer
from keras_c2kd.backend.joint_trainer import Logs
from keras_c2kd.typing import Tensors

named_scope = keras.name_scope


class Trainer(JointTrainer):
    """TensorFlow's part of a model that trains two networks in one step."""

    named_scope = staticmethod(named_scope)

    @property
    def num_replicas(self) -> int:
        """Number of replicas that share the samples of a step."""
        return replicas.num_replicas()

    @property
    def shares_evaluation(self) -> bool:
        """Whether several replicas share the samples of an evaluation."""
        return self.num_replicas > 1

    def train_step(self, data: Tensors) -> Logs:
        """Update teacher, student and heads on one batch; return the logs."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        shared, labels, weights = None, y, sample_weight
        with self.step_seeds.in_use():
            with tf.GradientTape() as tape:
                outputs = shared = self.compute_outputs(x)
                if self.num_replicas > 1 and self.method.needs_global_batch:
                    shared, labels, weights = distribution.all_gather(
                        (outputs, y, sample_weight)
                    )
                loss = self.compute_loss(x, labels, shared, weights)
                scaled_loss = self.optimizer.scale_loss(loss)
            variables = self.trainable_variables
            gradients = tape.gradient(scaled_loss, variables)
            several = self.num_replicas > 1 and self.method.modifies_gradients
            if several:
                gradients = replicas.sum_of_gradients(gradients)
            gradients = self.modify_gradients(
                gradients, variables, shared, labels
            )
            if several:
                gradients = replicas.part_of_gradients(gradients)
            with keras.name_scope("update"):
                self.optimizer.apply_gradients(zip(gradients, variables))
            logs = self.update_metrics(loss, y, outputs, sample_weight)
        return replicas.as_logs(logs)

    def test_step(self, data: Tensors) -> Logs:
        """Evaluate student and teacher on one batch; return the logs."""
        return replicas.as_logs(self.evaluate_batch(data))

    def metrics_of_epoch(self, logs: Logs) -> Logs:
        """Return the metrics of all replicas.

        The logs of the last step are the mean of what each replica has seen.
        """
        results = self.get_metrics_result()
        if set(logs) <= set(results):
            return {name: results[name] for name in logs}
        return logs

    def element_spec(self, iterator: Any) -> Any:
        """Return the specification of one replica's batch; read nothing."""
        return replicas.element_spec(iterator)


def sum_of_all(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    """Return the halved sum of the squares of all values, a scalar.

    TensorFlow starts this reduction faster than any other: it takes a third of
    the time of `keras.ops.sum` of small variables.
    """
    norms = [tf.nn.l2_loss(tf.identity(tensor)) for tensor in tensors]
    return tf.add_n([tf.cast(norm, "float32") for norm in norms])


def trace(folder: pathlib.Path) -> AbstractContextManager[Any]:
    """Write a trace of what runs in this context."""
    return tf.profiler.experimental.Profile(str(folder))


def traced_step(number: int) -> AbstractContextManager[Any]:
    """Mark a training step in the trace."""
    return tf.profiler.experimental.Trace("train", step_num=number, _r=1)
