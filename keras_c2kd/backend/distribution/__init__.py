"""Training on several devices, by the engine of the backend in use.

The engines are `keras.distribution` on JAX, `tf.distribute` strategies on
TensorFlow, `torch.distributed` on PyTorch. On JAX a program sees the whole
batch, whatever device holds it. On TensorFlow and PyTorch each replica runs
the step on its shard of the batch, and the functions below join the shards of
all replicas where a loss or a metric needs the whole. With one device they
change nothing.
"""

import importlib
import os
import types
from contextlib import AbstractContextManager
from typing import Any

import keras
from keras import ops

from keras_c2kd.backend.joint_trainer import check_trains
from keras_c2kd.ops import full_precision_dtype
from keras_c2kd.typing import Tensor
from keras_c2kd.typing import Tensors

_ENVIRONMENT = (
    "TORCHELASTIC_RUN_ID",
    "TF_CONFIG",
    "KERAS_DISTRIBUTION_NUM_PROCESSES",
)


def _engine() -> types.ModuleType:
    """Return the module of the backend in use."""
    check_trains()
    backend = keras.backend.backend()
    return importlib.import_module(f"keras_c2kd.backend.distribution.{backend}")


def distribute(devices: int | None = None) -> AbstractContextManager[None]:
    """Train on several devices, by the backend's own engine.

    Build, compile and train networks and distiller inside of the context. The
    batch size is that of all devices together, and a batch need not be a
    multiple of their number.

    - JAX: `keras.distribution.DataParallel`. Several hosts:
      `keras.distribution.initialize`, which is called if its environment
      variables (`KERAS_DISTRIBUTION_NUM_PROCESSES`, ...) are set.
    - TensorFlow: `tf.distribute.MirroredStrategy`, or with `TF_CONFIG` in
      the environment `MultiWorkerMirroredStrategy`.
    - PyTorch: `DistributedDataParallel` of the processes that `torchrun`
      started; each has one device.

    You can set up each of them by hand as well: the distiller asks the engine.

    Args:
        devices: Integer, number of devices of this machine, the first ones;
            on PyTorch the number of processes. `None` (default) takes all
            GPUs, or one CPU device if there are none. JAX and TensorFlow
            divide a CPU into that many devices, if nothing has run on it yet.

    Returns:
        Context manager.

    Raises:
        ValueError: If `devices` is less than 1, or there are fewer devices.

    Example:
    >>> with keras_c2kd.distribute(devices=1):
    ...     student = models.SmallConvNet((8, 8, 3), num_classes=4)
    ...     distiller = CrossModalDistiller(
    ...         student, student_modality="visual", method=Supervised()
    ...     )
    ...     loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    ...     distiller.compile("sgd", loss)
    ...     images, labels = np.ones((6, 8, 8, 3)), np.arange(6) % 4
    ...     history = distiller.fit({"visual": images}, labels, verbose=0)
    >>> sorted(history.history)
    ['loss', 'student_supervised']
    """
    if devices is not None and devices < 1:
        raise ValueError(
            f"Training needs at least one device. Received: devices={devices}"
        )
    return _engine().distribute(devices)


def is_requested() -> bool:
    """Return whether the environment asks for several processes.

    `torchrun`, `TF_CONFIG` and `KERAS_DISTRIBUTION_NUM_PROCESSES` do.
    """
    return any(name in os.environ for name in _ENVIRONMENT)


def num_replicas() -> int:
    """Return the number of devices that share the samples of this step.

    It is always 1 on JAX, whose programs see all samples.
    """
    return _engine().num_replicas()


def num_devices() -> int:
    """Return the number of devices that train together."""
    return _engine().num_devices()


def is_spmd() -> bool:
    """Return whether one program sees the samples that several devices hold.

    Only JAX has such programs.
    """
    return keras.backend.backend() == "jax" and num_devices() > 1


def processes() -> tuple[int, int]:
    """Return the index of this process, and the number of processes.

    They count the processes for which `shard` divides the batches of `fit`:
    always 0 and 1 on TensorFlow, whose strategies divide them.
    """
    return _engine().processes()


def is_first_process() -> bool:
    """Return whether this process is the one that writes files."""
    return _engine().is_first_process()


def clear_session() -> None:
    """Clear Keras' state, and keep the devices in use.

    `keras.utils.clear_session` would forget them.
    """
    _engine().clear_session()


def barrier() -> None:
    """Wait until every process has reached this line."""
    _engine().barrier()


def check_equal(value: str, rule: str) -> None:
    """Raise a ValueError if the processes have unequal strings.

    Args:
        value: String of this process, of up to 64 characters.
        rule: Sentence with which the error begins.
    """
    values = _engine().all_strings(value)
    if len(set(values)) > 1:
        raise ValueError(f"{rule} Received, by process: {values}")


def all_reduce_sum(tensor: Tensor) -> Tensor:
    """Return the sum over all replicas; gradients reach every replica."""
    return tensor if num_replicas() == 1 else _engine().all_reduce_sum(tensor)


def all_gather(tensors: Tensors) -> Tensors:
    """Return a structure with the samples of all replicas, in their order.

    Args:
        tensors: Structure of tensors `(batch, ...)`. None and scalars stay.

    Returns:
        The same structure. A gradient goes back to the replica that a sample
        came from, summed over all replicas.
    """
    if num_replicas() == 1:
        return tensors

    leaves = keras.tree.flatten(tensors)
    positions = [
        position
        for position, leaf in enumerate(leaves)
        if leaf is not None and len(leaf.shape) > 0
    ]
    gathered = _engine().all_gather([leaves[k] for k in positions])
    for position, tensor in zip(positions, gathered):
        leaves[position] = tensor
    return keras.tree.pack_sequence_as(tensors, leaves)


def own_shard(tensor: Tensor) -> Tensor:
    """Return this replica's shard of a tensor, as large as every other one.

    Args:
        tensor: Tensor `(batch, ...)` of the samples of all replicas.

    Raises:
        ValueError: If they cannot be divided evenly.
    """
    count = num_replicas()
    if count == 1:
        return tensor
    if tensor.shape[0] % count:
        raise ValueError(
            "A batch that a method keeps is divided evenly among the devices: "
            "its size, DLB's `batch_size`, must be a multiple of their number. "
            f"Received: batch_size={tensor.shape[0]} for {count} devices"
        )
    size = tensor.shape[0] // count
    begin = ops.cast(_engine().index() * size, "int32")
    return ops.slice(
        tensor,
        [begin, *[0] * (len(tensor.shape) - 1)],
        [size, *tensor.shape[1:]],
    )


def replica_weight(size: Any) -> tuple[Any, Any]:
    """Return the weight of this replica's mean in the mean over replicas.

    `weight = size / mean size`, so that the mean over all samples is the mean
    over replicas of `weight * mean`.

    Args:
        size: Integer (tensor), number of samples of this replica.

    Returns:
        The weight, and the mean number of samples of a replica. Both are
        scalar float tensors; with one replica, `(1.0, size)`.
    """
    count = num_replicas()
    if count == 1:
        return 1.0, size
    size = ops.cast(size, full_precision_dtype())
    mean_size = ops.stop_gradient(all_reduce_sum(size)) / count
    return size / mean_size, mean_size


def mean_over_replicas(mean: Tensor, size: Any) -> Tensor:
    """Return the mean over the samples of all replicas, a scalar tensor.

    Args:
        mean: Scalar tensor, the mean over the samples of this replica.
        size: Integer (tensor), their number.
    """
    weight, _ = replica_weight(size)
    return all_reduce_sum(mean * weight) / num_replicas()


def replica_loss_scale() -> float:
    """Return the factor that Keras' losses contain on several replicas.

    On TensorFlow, which adds up the gradients of the replicas, it is one over
    their number; on PyTorch, which averages gradients, it is 1.
    """
    return _engine().replica_loss_scale()
