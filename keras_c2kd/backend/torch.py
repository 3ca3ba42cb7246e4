"""The training step on PyTorch."""

import contextlib
import functools

import keras
import torch

from keras_c2kd import backend
from keras_c2kd.backend.distribution import torch as torch_devices
from keras_c2kd.backend.fast_layers_torch import fast_layers

named_scope = torch.profiler.record_function
sum_of_all = backend.sum_of_all


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
    if torch_devices.num_replicas() > 1:
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
    shared = distiller.gather_global_batch(outputs, y, sample_weight)
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


@contextlib.contextmanager
def seeded_generators(seeds):
    """Seed PyTorch's generators within this context; then put them back.

    Those of the CPU and of the device that holds the seeds. None of it waits
    for the device.

    Args:
        seeds: `StepSeeds`; one seed is taken.
    """
    generators = _generators(seeds.state.value.device)
    states = [read() for read, _, _ in generators]
    try:
        seed = _next_seed(seeds)
        for _, _, set_seed in generators:
            set_seed(seed)
        yield
    finally:
        for (_, write, _), state in zip(generators, states):
            write(state)


def _generators(device):
    """Return how each generator's state is read and written, and its seed."""
    cpu = torch.default_generator
    found = [(cpu.get_state, cpu.set_state, cpu.manual_seed)]
    if device.type != "cpu":
        own = getattr(torch, device.type)
        found.append((own.get_rng_state, own.set_rng_state, own.manual_seed))
    return found


def _next_seed(seeds):
    """Take a seed, as `seeds.next()` does, as an integer.

    The device has the state. What it was after the last step is known, unless
    it was changed since, which its version tells.
    """
    state = seeds.state.value
    known, version, seed, taken = getattr(seeds, "_known", (None,) * 4)
    if known is not state or version != state._version:
        seed, taken = state.tolist()
    state[1].add_(1)
    seeds._known = state, state._version, seed, taken + 1
    return (seed + taken) & 0xFFFFFFFF
