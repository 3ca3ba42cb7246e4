"""The training step on PyTorch."""

import keras
import torch

from keras_c2kd.train_steps.torch_layers import fast_layers


def train_step(distiller, data):
    """Update teacher, student and heads on one batch; return the logs."""
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    # Not `distiller.zero_grad()`: Keras registers parameters by path and
    # forgets one of two encoders whose layers have equal names.
    for variable in distiller.variables:
        variable.value.grad = None
    with fast_layers(distiller):
        outputs = distiller(x, training=True)
    loss = distiller.compute_loss(x, y, outputs, sample_weight, training=True)
    distiller.optimizer.scale_loss(loss).backward()
    variables = distiller.trainable_variables
    with torch.no_grad():
        gradients = distiller.method.modify_gradients(
            [variable.value.grad for variable in variables],
            variables,
            outputs,
            y,
        )
        distiller.optimizer.apply(gradients, variables)
        distiller.track_loss(loss, outputs)
        return distiller.compute_metrics(x, y, outputs, sample_weight)
