"""The training step on TensorFlow."""

import keras
import tensorflow as tf

from keras_c2kd.backend import distribution
from keras_c2kd.backend.distribution import tensorflow as replicas

named_scope = keras.name_scope


class Trainer:
    """TensorFlow's part of a model that trains two networks in one step."""

    named_scope = staticmethod(named_scope)

    @property
    def num_replicas(self):
        """Number of replicas that share the samples of a step."""
        return replicas.num_replicas()

    def train_step(self, data):
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

    def test_step(self, data):
        """Evaluate student and teacher on one batch; return the logs."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        outputs = self.compute_outputs(x, training=False)
        loss = self.compute_loss(x, y, outputs, sample_weight, training=False)
        logs = self.update_metrics(
            loss, y, outputs, sample_weight, training=False
        )
        return replicas.as_logs(logs)

    def metrics_of_step(self, training):
        """Return the metrics as this replica knows them."""
        return self.metrics_of_process()

    def metrics_of_epoch(self, logs):
        """Return the metrics of all replicas.

        The logs of the last step are the mean of what each replica has seen.
        """
        results = self.get_metrics_result()
        if set(logs) <= set(results):
            return {name: results[name] for name in logs}
        return logs

    def element_spec(self, iterator):
        """Return what one replica's batches look like; nothing is read."""
        return replicas.element_spec(iterator)


def sum_of_all(tensors):
    """Return the halved sum of the squares of all values, a scalar.

    A squared sum is the one reduction that TensorFlow starts without much ado:
    a third of the time of `keras.ops.sum` of small variables.
    """
    norms = [tf.nn.l2_loss(tf.identity(tensor)) for tensor in tensors]
    return tf.add_n([tf.cast(norm, "float32") for norm in norms])


def trace(folder):
    """Write a trace of what runs in this context."""
    return tf.profiler.experimental.Profile(str(folder))


def traced_step(number):
    """Mark a training step in the trace."""
    return tf.profiler.experimental.Trace("train", step_num=number, _r=1)
