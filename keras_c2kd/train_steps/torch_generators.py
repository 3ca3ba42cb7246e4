"""PyTorch's own generators, as a training step finds them.

Keras' `Dropout` draws from them if nobody gave it a seed, and so does every
module and function of PyTorch.
"""

import contextlib

import torch


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
