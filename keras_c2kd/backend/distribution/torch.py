"""Several devices on PyTorch: a process each, by `torch.distributed`."""

import contextlib
import os
import types
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import keras
import torch
import torch.distributed as dist

from keras_c2kd.typing import Tensors


@contextlib.contextmanager
def distribute(devices: int | None) -> Iterator[None]:
    """Join the processes that `torchrun` started."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if devices is not None and devices != world:
        raise ValueError(
            "On PyTorch, each device has a process. Received: "
            f"devices={devices}, and {world} process"
            f"{'es' if world > 1 else ''}. Start it by: torchrun "
            f"--nproc-per-node {devices} script.py"
        )
    if world == 1 or dist.is_initialized():
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    store, rank, size = next(dist.rendezvous("env://"))
    # Under torchrun, processes that are started again would find the
    # addresses of those that died.
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    store = dist.PrefixStore(f"attempt_{attempt}", store)
    dist.init_process_group(store=store, rank=rank, world_size=size)
    try:
        yield
    finally:
        dist.destroy_process_group()


def num_replicas() -> int:
    """Return the number of processes."""
    joined = dist.is_available() and dist.is_initialized()
    return dist.get_world_size() if joined else 1


def index() -> int:
    """Return the index of this process."""
    return dist.get_rank() if num_replicas() > 1 else 0


def num_devices() -> int:
    """Return the number of processes."""
    return num_replicas()


def processes() -> tuple[int, int]:
    """Return the index of this process and their number."""
    return index(), num_replicas()


def is_first_process() -> bool:
    """Return whether this is the first process."""
    return index() == 0


def clear_session() -> None:
    """Clear Keras' state; PyTorch's processes stay joined."""
    keras.utils.clear_session()


def barrier() -> None:
    """Wait for all processes."""
    if num_replicas() > 1:
        dist.barrier()


def all_strings(text: str) -> list[str]:
    """Return the string of each process."""
    texts = [text] * num_replicas()
    if num_replicas() > 1:
        dist.all_gather_object(texts, text)
    return texts


def replica_loss_scale() -> float:
    """Return 1: PyTorch averages the gradients of the processes."""
    return 1.0


class _Sum(torch.autograd.Function):
    """The sum over processes; its gradient is the sum of their gradients."""

    @staticmethod
    def forward(context: Any, tensor: torch.Tensor) -> torch.Tensor:
        return _sum_of(tensor.detach())

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:
        return _sum_of(gradient.contiguous())


class _Gather(torch.autograd.Function):
    """The samples of all processes; gradients go back to the sample's own."""

    @staticmethod
    def forward(
        context: Any, tensor: torch.Tensor, sizes: list[int]
    ) -> torch.Tensor:
        context.sizes = sizes
        parts = [tensor.new_zeros((max(sizes), *tensor.shape[1:]))]
        parts = [torch.empty_like(parts[0]) for _ in sizes] + parts
        own = parts.pop()
        own[: tensor.shape[0]] = tensor.detach()
        dist.all_gather(parts, own)
        return torch.cat([part[:size] for part, size in zip(parts, sizes)])

    @staticmethod
    def backward(
        context: Any, gradient: torch.Tensor
    ) -> tuple[torch.Tensor, None]:
        total = _sum_of(gradient.contiguous())
        begin = sum(context.sizes[: index()])
        return total[begin : begin + context.sizes[index()]], None


def _sum_of(tensor: torch.Tensor) -> torch.Tensor:
    total = tensor.clone()
    dist.all_reduce(total)
    return total


def all_reduce_sum(tensor: torch.Tensor) -> torch.Tensor:
    """Return the sum over processes."""
    return _Sum.apply(tensor)


def all_gather(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Return for each tensor the samples of all processes."""
    own = torch.tensor(
        [tensor.shape[0] for tensor in tensors], device=tensors[0].device
    )
    counts = [torch.empty_like(own) for _ in range(num_replicas())]
    dist.all_gather(counts, own)
    sizes = torch.stack(counts, dim=1).tolist()
    return [_Gather.apply(*pair) for pair in zip(tensors, sizes)]


@contextlib.contextmanager
def metrics_of_all(variables: Sequence[keras.Variable]) -> Iterator[None]:
    """Within this context metric variables hold the sums over processes.

    Args:
        variables: List of variables, of metrics whose state can be added up,
            as Keras' own can.
    """
    own = [variable.value.detach().clone() for variable in variables]
    flat = torch.cat([value.reshape(-1).double() for value in own])
    dist.all_reduce(flat)
    totals = flat.split([value.numel() for value in own])
    try:
        for variable, value, total in zip(variables, own, totals):
            variable.assign(total.reshape(value.shape).to(value.dtype))
        yield
    finally:
        for variable, value in zip(variables, own):
            variable.assign(value)


class _Forward(torch.nn.Module):
    """The forward pass of a distiller and the parameters that it trains."""

    def __init__(
        self, distiller: keras.Model, variables: Sequence[keras.Variable]
    ) -> None:
        super().__init__()
        # Not as a submodule: PyTorch would wait for all of its parameters.
        self._distiller = types.SimpleNamespace(model=distiller)
        self._trained = torch.nn.ParameterList(
            [variable.value for variable in variables]
        )

    def forward(self, inputs: Tensors) -> Tensors:
        return self._distiller.model.compute_outputs(inputs)


def forward(distiller: keras.Model) -> Callable[[Tensors], Tensors]:
    """Return the forward pass whose gradients PyTorch averages.

    The first call gives all processes the variables of the first one.
    """
    variables = distiller.trainable_variables
    known = [id(variable) for variable in variables]
    parallel = getattr(distiller, "_parallel", None)
    if parallel is None or parallel.known != known:
        with torch.no_grad():
            for variable in (
                *distiller.variables,
                *distiller.optimizer.variables,
            ):
                value = variable.value.detach().contiguous()
                dist.broadcast(value, 0)
                variable.value.copy_(value)
        module = torch.nn.parallel.DistributedDataParallel(
            _Forward(distiller, variables), static_graph=True
        )
        # In a namespace: PyTorch would see a model inside of itself.
        parallel = types.SimpleNamespace(known=known, module=module)
        distiller._parallel = parallel
    return parallel.module
