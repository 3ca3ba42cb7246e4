"""The training step on TensorFlow."""

import keras
import tensorflow as tf

from keras_c2kd.backend.distribution.tensorflow import modified_gradients


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


def train_step(distiller, data):
    """Update teacher, student and heads on one batch; return the logs."""
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    with tf.GradientTape() as tape:
        outputs = distiller(x, training=True)
        shared = distiller.gather_global_batch(outputs, y, sample_weight)
        shared_outputs, shared_y, shared_weight = shared
        loss = distiller.compute_loss(
            x, shared_y, shared_outputs, shared_weight, training=True
        )
        scaled_loss = distiller.optimizer.scale_loss(loss)
    variables = distiller.trainable_variables
    gradients = modified_gradients(
        distiller.method,
        tape.gradient(scaled_loss, variables),
        variables,
        shared_outputs,
        shared_y,
    )
    with keras.name_scope("update"):
        distiller.optimizer.apply_gradients(zip(gradients, variables))
    distiller.track_loss(loss, outputs)
    return distiller.compute_metrics(x, y, outputs, sample_weight)
