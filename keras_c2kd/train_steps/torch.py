"""The training step on PyTorch."""

import contextlib
import functools

import keras
import torch

from keras_c2kd import train_steps
from keras_c2kd.train_steps import torch_devices
from keras_c2kd.train_steps.torch_generators import seeded_generators
from keras_c2kd.train_steps.torch_layers import fast_layers

named_scope = torch.profiler.record_function
sum_of_all = train_steps.sum_of_all


@contextlib.contextmanager
def trace(folder):
    """Write a trace of what runs in this context."""
    with torch.profiler.profile() as profile:
        yield
    profile.export_chrome_trace(str(folder / "trace.json"))


def traced_step(number):
    """Mark a training step in the trace."""
    return named_scope(f"train {number}")


def train_step(distiller, data):
    """Update teacher, student and heads on one batch; return the logs."""
    forward = functools.partial(distiller, training=True)
    if torch_devices.number() > 1:
        # The processes agree on the variables, seeds included.
        forward = torch_devices.forward(distiller)
    with seeded_generators(distiller.step_seeds):
        return _train_step(distiller, forward, data)


def _train_step(distiller, forward, data):
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    # Not `distiller.zero_grad()`: Keras registers parameters by path and
    # forgets one of two encoders whose layers have equal names.
    for variable in distiller.variables:
        variable.value.grad = None
    with fast_layers(distiller):
        outputs = forward(x)
    shared = distiller.share_rows(outputs, y, sample_weight)
    shared_outputs, shared_y, shared_weight = shared
    loss = distiller.compute_loss(
        x, shared_y, shared_outputs, shared_weight, training=True
    )
    distiller.optimizer.scale_loss(loss).backward()
    variables = distiller.trainable_variables
    with torch.no_grad():
        gradients = distiller.method.modify_gradients(
            [variable.value.grad for variable in variables],
            variables,
            shared_outputs,
            shared_y,
        )
        with named_scope("update"):
            distiller.optimizer.apply(gradients, variables)
        distiller.track_loss(loss, outputs)
        return distiller.compute_metrics(x, y, outputs, sample_weight)
