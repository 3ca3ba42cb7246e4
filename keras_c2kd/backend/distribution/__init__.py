"""Several devices: what a training step and its data must know of them.

Each backend has an engine of its own: `keras.distribution` on JAX,
`tf.distribute` strategies on TensorFlow, `torch.distributed` on PyTorch. On
JAX a program sees the whole batch, whatever device holds it. On TensorFlow
and PyTorch each device runs the step on its rows of the batch, and what
follows tells a step how its rows become the whole again. With one device all
of it does nothing.
"""

import contextlib
import importlib
import os

import keras
from keras import ops

from keras_c2kd.ops import full_precision_dtype

_ENVIRONMENT = ("TORCHELASTIC_RUN_ID", "TF_CONFIG")
_ENVIRONMENT += ("KERAS_DISTRIBUTION_NUM_PROCESSES",)


def _engine():
    """Return what the backend in use knows of devices."""
    backend = keras.backend.backend()
    return importlib.import_module(f"keras_c2kd.backend.distribution.{backend}")


def distribute(devices=None):
    """Train on several devices, by the backend's own engine.

    Networks and distiller are to be built, compiled and trained inside:

    ```python
    with keras_c2kd.distribute(4):
        distiller = CrossModalDistiller(...)
        distiller.compile(...)
        distiller.fit(paired_dataset)
    ```

    The batch size is that of all devices together, and a batch need not be a
    multiple of their number.

    - JAX: `keras.distribution.DataParallel`. Several hosts:
      `keras.distribution.initialize`, which is called if its environment
      variables (`KERAS_DISTRIBUTION_NUM_PROCESSES`, ...) are set.
    - TensorFlow: `tf.distribute.MirroredStrategy`, or with `TF_CONFIG` in
      the environment `MultiWorkerMirroredStrategy`.
    - PyTorch: `DistributedDataParallel` of the processes that `torchrun`
      started; each has one device.

    Each of them can be set up by hand as well: the distiller asks the engine.

    Args:
        devices: Integer, devices of this machine: the first ones. `None`
            (default) for all GPUs, or without any for one CPU device; on
            PyTorch the number of processes. A CPU is divided into as many
            devices as are asked for, if nothing has run on it yet.

    Returns:
        Context manager.

    Raises:
        ValueError: If there are not so many devices.
    """
    if devices is not None and devices < 1:
        raise ValueError(
            f"Training needs at least one device. Received: devices={devices}"
        )
    return _engine().distribute(devices)


def is_requested():
    """Return whether the environment asks for several processes.

    `torchrun`, `TF_CONFIG` and `KERAS_DISTRIBUTION_NUM_PROCESSES` do.
    """
    return any(name in os.environ for name in _ENVIRONMENT)


def num_replicas():
    """Return how many devices share the rows of this step.

    Always 1 on JAX, whose programs see all rows.
    """
    return _engine().num_replicas()


def num_devices():
    """Return the number of devices that a training runs on."""
    return _engine().num_devices()


def is_spmd():
    """Return whether programs see all rows and several devices hold them."""
    return _engine().is_spmd()


def processes():
    """Return the index of this process, and the number of processes.

    Those among which the rows of a batch are to be divided before they are
    given to `fit`: TensorFlow's strategies do that themselves.
    """
    return _engine().processes()


def is_first_process():
    """Return whether this is the process that writes files."""
    return _engine().is_first_process()


def clear_session():
    """Forget Keras' state, as `keras.utils.clear_session`, not the engine's.

    Keras itself forgets which devices are in use.
    """
    _engine().clear_session()


def barrier():
    """Wait until every process is here."""
    _engine().barrier()


def check_equal(value, rule):
    """Raise a ValueError with a rule if processes have unequal strings."""
    values = _engine().all_strings(value)
    if len(set(values)) > 1:
        raise ValueError(f"{rule} Received, by process: {values}")


def all_reduce_sum(tensor):
    """Return the sum over all devices; gradients reach every device."""
    return tensor if num_replicas() == 1 else _engine().all_reduce_sum(tensor)


def all_gather(tensors):
    """Return a structure with the rows of all devices, in their order.

    Args:
        tensors: Structure of tensors with rows in front. None and what has no
            rows stay.

    Returns:
        The same structure. A gradient goes back to the device that a row
        came from, summed over what each device did with it.
    """
    if num_replicas() == 1:
        return tensors

    leaves = keras.tree.flatten(tensors)
    places = [
        place
        for place, leaf in enumerate(leaves)
        if leaf is not None and len(leaf.shape) > 0
    ]
    gathered = _engine().all_gather([leaves[place] for place in places])
    for place, tensor in zip(places, gathered):
        leaves[place] = tensor
    return keras.tree.pack_sequence_as(tensors, leaves)


def own_shard(tensor):
    """Return this device's equal part of the rows of a tensor.

    Args:
        tensor: Tensor of the samples of all devices.

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
    rows = tensor.shape[0] // count
    begin = ops.cast(_engine().index() * rows, "int32")
    return ops.slice(
        tensor,
        [begin, *[0] * (len(tensor.shape) - 1)],
        [rows, *tensor.shape[1:]],
    )


def replica_weight(rows):
    """Return the weight of this device's mean in the mean over devices.

    Args:
        rows: Integer (tensor), rows of this device.

    Returns:
        The share, 1 if all devices have equally many; and the mean number of
        rows. Both float tensors; `(1.0, rows)` with one device.
    """
    count = num_replicas()
    if count == 1:
        return 1.0, rows
    rows = ops.cast(rows, full_precision_dtype())
    mean_rows = ops.stop_gradient(all_reduce_sum(rows)) / count
    return rows / mean_rows, mean_rows


def mean_over_replicas(mean, size):
    """Return the mean over the samples of all devices.

    Args:
        mean: Scalar tensor, the mean over this device's.
        size: Integer (tensor), their number.
    """
    weight, _ = replica_weight(size)
    return all_reduce_sum(mean * weight) / num_replicas()


def replica_loss_scale():
    """Return the factor that Keras' losses contain on several devices.

    On TensorFlow that is one over the number of devices, whose gradients are
    added up; on PyTorch the gradients are averaged.
    """
    return _engine().replica_loss_scale()


@contextlib.contextmanager
def metrics_of_all(variables):
    """Within this context metric variables hold the sums over processes.

    Args:
        variables: List of variables, of metrics whose state can be added up,
            as Keras' own can.
    """
    if processes()[1] == 1 or num_replicas() == 1:  # One sum, whoever reads it.
        yield
        return
    own = [ops.copy(variable) for variable in variables]
    try:
        for variable, total in zip(variables, _engine().totals(variables)):
            variable.assign(total)
        yield
    finally:
        for variable, value in zip(variables, own):
            variable.assign(value)
