"""The training step on PyTorch."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

import keras
import torch
import torch.distributed as dist

from keras_c2kd import backend
from keras_c2kd.backend import distribution
from keras_c2kd.backend.distribution import torch as processes
from keras_c2kd.backend.fast_layers_torch import fast_layers
from keras_c2kd.backend.joint_trainer import JointTrainer
from keras_c2kd.backend.joint_trainer import Logs
from keras_c2kd.backend.keras_internals import StepSeeds
from keras_c2kd.typing import Tensors

named_scope = torch.profiler.record_function
sum_of_all = backend.sum_of_all


class Trainer(JointTrainer):
    """PyTorch's part of a model that trains two networks in one step."""

    named_scope = staticmethod(named_scope)

    @property
    def num_replicas(self) -> int:
        """Number of processes that share the samples of a step."""
        joined = dist.is_available() and dist.is_initialized()
        return dist.get_world_size() if joined else 1

    def train_step(self, data: Tensors) -> Logs:
        """Update teacher, student and heads on one batch; return the logs."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        forward, several = self.compute_outputs, self.num_replicas > 1
        with self.step_seeds.in_use():
            if several:
                # The processes agree on the variables, seeds included.
                forward = processes.forward(self)
            with seeded_generators(self.step_seeds):
                # Not `zero_grad()`: Keras registers parameters by path and
                # forgets one of two encoders whose layers have equal names.
                for variable in self.variables:
                    variable.value.grad = None
                with fast_layers(self):
                    outputs = forward(x)
                shared, labels, weights = outputs, y, sample_weight
                if several and self.method.needs_global_batch:
                    shared, labels, weights = distribution.all_gather(
                        (outputs, y, sample_weight)
                    )
                loss = self.compute_loss(x, labels, shared, weights)
                self.optimizer.scale_loss(loss).backward()
                variables = self.trainable_variables
                with torch.no_grad():
                    gradients = self.modify_gradients(
                        [variable.value.grad for variable in variables],
                        variables,
                        shared,
                        labels,
                    )
                    with named_scope("update"):
                        self.optimizer.apply(gradients, variables)
                    return self.update_metrics(loss, y, outputs, sample_weight)

    def test_step(self, data: Tensors) -> Logs:
        """Evaluate student and teacher on one batch; return the logs."""
        return self.evaluate_batch(data)

    def metrics_of_step(self, training: bool) -> Logs:
        """Return the metrics; in training those of all processes together.

        In evaluation every process sees all of the data.
        """
        if not training or self.num_replicas == 1:
            return self.metrics_of_process()
        if self.reduces_metrics:
            return self.get_metrics_result()
        with processes.metrics_of_all(self.metrics_variables):
            return self.metrics_of_process()


@contextlib.contextmanager
def trace(folder: pathlib.Path) -> Iterator[None]:
    """Write a trace of what runs in this context."""
    with torch.profiler.profile() as profile:
        yield
    profile.export_chrome_trace(str(folder / "trace.json"))


def traced_step(number: int) -> contextlib.AbstractContextManager[Any]:
    """Mark a training step in the trace."""
    return named_scope(f"train {number}")


@contextlib.contextmanager
def seeded_generators(seeds: StepSeeds) -> Iterator[None]:
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


def _generators(device: torch.device) -> list[tuple[Any, Any, Any]]:
    """Return the functions that read, write and seed each generator."""
    cpu = torch.default_generator
    found = [(cpu.get_state, cpu.set_state, cpu.manual_seed)]
    if device.type != "cpu":
        own = getattr(torch, device.type)
        found.append((own.get_rng_state, own.set_rng_state, own.manual_seed))
    return found


def _next_seed(seeds: StepSeeds) -> int:
    """Take a seed, as `seeds.next()` does, as an integer.

    The device holds the state. The host remembers it from the last step and
    reads it anew only if its version says that something has changed it.
    """
    state = seeds.state.value
    nothing: tuple[Any, int, int, int] = (None, 0, 0, 0)
    known, version, seed, taken = getattr(seeds, "_known", nothing)
    if known is not state or version != state._version:
        seed, taken = state.tolist()
    state[1].add_(1)
    seeds._known = state, state._version, seed, taken + 1
    return (seed + taken) & 0xFFFFFFFF
