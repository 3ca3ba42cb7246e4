"""The training step on TensorFlow."""

import keras
import tensorflow as tf


def train_step(distiller, data):
    """Update teacher, student and heads on one batch; return the logs."""
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    with tf.GradientTape() as tape:
        outputs = distiller(x, training=True)
        shared = distiller.share_rows(outputs, y, sample_weight)
        shared_outputs, shared_y, shared_weight = shared
        loss = distiller.compute_loss(
            x, shared_y, shared_outputs, shared_weight, training=True
        )
        scaled_loss = distiller.optimizer.scale_loss(loss)
    variables = distiller.trainable_variables
    gradients = distiller.method.modify_gradients(
        tape.gradient(scaled_loss, variables),
        variables,
        shared_outputs,
        shared_y,
    )
    distiller.optimizer.apply_gradients(zip(gradients, variables))
    distiller.track_loss(loss, outputs)
    return distiller.compute_metrics(x, y, outputs, sample_weight)
