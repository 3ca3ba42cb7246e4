"""Several devices on PyTorch: a process each, by `torch.distributed`."""

import contextlib
import os
import types

import keras
import torch
import torch.distributed as dist


@contextlib.contextmanager
def distribute(devices):
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


def num_replicas():
    """Return the number of processes."""
    joined = dist.is_available() and dist.is_initialized()
    return dist.get_world_size() if joined else 1


def index():
    """Return which process this is."""
    return dist.get_rank() if num_replicas() > 1 else 0


def num_devices():
    """Return the number of processes."""
    return num_replicas()


def is_spmd():
    """Return False: each device sees its own rows."""
    return False


def processes():
    """Return the index of this process and their number."""
    return index(), num_replicas()


def is_first_process():
    """Return whether this is the first process."""
    return index() == 0


def clear_session():
    """Forget Keras' state; the processes know each other all the same."""
    keras.utils.clear_session()


def barrier():
    """Wait for all processes."""
    if num_replicas() > 1:
        dist.barrier()


def all_strings(text):
    """Return the string of each process."""
    texts = [text] * num_replicas()
    if num_replicas() > 1:
        dist.all_gather_object(texts, text)
    return texts


def replica_loss_scale():
    """Return 1: the gradients of the processes are averaged."""
    return 1.0


class _AddUp(torch.autograd.Function):
    """The sum over processes; its gradient is summed too."""

    @staticmethod
    def forward(context, tensor):
        total = tensor.detach().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(context, gradient):
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total


class _GatherRows(torch.autograd.Function):
    """The rows of all processes; a row's gradient goes where it is from."""

    @staticmethod
    def forward(context, tensor, sizes):
        context.sizes = sizes
        parts = [tensor.new_zeros((max(sizes), *tensor.shape[1:]))]
        parts = [torch.empty_like(parts[0]) for _ in sizes] + parts
        own = parts.pop()
        own[: tensor.shape[0]] = tensor.detach()
        dist.all_gather(parts, own)
        return torch.cat([part[:size] for part, size in zip(parts, sizes)])

    @staticmethod
    def backward(context, gradient):
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        begin = sum(context.sizes[: index()])
        return total[begin : begin + context.sizes[index()]], None


def all_reduce_sum(tensor):
    """Return the sum over processes."""
    return _AddUp.apply(tensor)


def all_gather(tensors):
    """Return the rows of all processes, of each tensor."""
    own = torch.tensor(
        [tensor.shape[0] for tensor in tensors], device=tensors[0].device
    )
    sizes = [torch.empty_like(own) for _ in range(num_replicas())]
    dist.all_gather(sizes, own)
    sizes = torch.stack(sizes, dim=1).tolist()
    return [_GatherRows.apply(*pair) for pair in zip(tensors, sizes)]


def totals(variables):
    """Return the sums over processes of variables, in one exchange."""
    values = [variable.value.detach() for variable in variables]
    flat = torch.cat([value.reshape(-1).double() for value in values])
    dist.all_reduce(flat)
    parts = flat.split([value.numel() for value in values])
    return [
        part.reshape(value.shape).to(value.dtype)
        for part, value in zip(parts, values)
    ]


class _Forward(torch.nn.Module):
    """The forward pass of a distiller and the parameters that it trains."""

    def __init__(self, distiller, variables):
        super().__init__()
        # Not as a submodule, whose parameters would all be waited for.
        self._distiller = types.SimpleNamespace(model=distiller)
        self._trained = torch.nn.ParameterList(
            [variable.value for variable in variables]
        )

    def forward(self, inputs):
        return self._distiller.model.compute_outputs(inputs)


def forward(distiller):
    """Return the forward pass whose gradients all processes average.

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
