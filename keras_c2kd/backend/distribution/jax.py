"""Several devices on JAX, by `keras.distribution`."""

import contextlib
import os

import jax
import keras
import numpy as np
from jax.experimental import multihost_utils

from keras_c2kd.backend.keras_internals import placed_batches


def _any_batch_size():
    """Return a context in which Keras places batches of any size.

    It divides every batch as it did the first one, which fails for a last
    batch that is no multiple of the number of devices: such a one lies on
    each device as a whole.
    """

    def place(divide, batch, layout, batch_dim_name):
        local = layout.mesh.size // jax.process_count()
        if batch.shape[0] % local:
            if jax.process_count() > 1:
                raise ValueError(
                    "On several hosts every batch is divided evenly among "
                    "all devices, the last one too. Received on this host: a "
                    f"batch of {batch.shape[0]} samples for {local} devices. "
                    "Choose another batch size."
                )
            whole = jax.sharding.PartitionSpec()
            layout = jax.sharding.NamedSharding(layout.mesh, whole)
        return divide(batch, layout, batch_dim_name)

    return placed_batches(place)


@contextlib.contextmanager
def distribute(devices):
    """Divide each batch among the devices of all hosts."""
    if "KERAS_DISTRIBUTION_NUM_PROCESSES" in os.environ:
        if not jax.distributed.is_initialized():
            keras.distribution.initialize()
    if devices is not None:
        _divide_cpu(devices)
    found = jax.devices()
    if devices is None and found[0].platform == "cpu":
        devices = 1
    wanted = len(found) if devices is None else devices * jax.process_count()
    if wanted > len(found):
        raise ValueError(
            f"There must be {wanted} devices. Received: JAX has {len(found)}, "
            f"{found[0].platform}. A CPU is divided before anything has run "
            "on it only."
        )
    names = [f"{device.platform}:{device.id}" for device in found[:wanted]]
    distribution = keras.distribution.DataParallel(
        devices=names, auto_shard_dataset=False
    )
    with distribution.scope(), _any_batch_size():
        yield


def _divide_cpu(devices):
    """Make a CPU look like several devices, if nothing has run on it yet."""
    # It says so of a CPU that was used already.
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", devices)


def num_replicas():
    """Return 1: the program sees the rows of all devices."""
    return 1


def num_devices():
    """Return the number of devices of the distribution."""
    distribution = keras.distribution.distribution()
    return 1 if distribution is None else distribution.device_mesh.devices.size


def is_spmd():
    """Return whether several devices hold the rows of a batch."""
    return num_devices() > 1


def processes():
    """Return the index of this host's process and their number."""
    return jax.process_index(), jax.process_count()


def is_first_process():
    """Return whether this is the first host."""
    return jax.process_index() == 0


def clear_session():
    """Forget Keras' state, and keep the distribution."""
    distribution = keras.distribution.distribution()
    keras.utils.clear_session()
    keras.distribution.set_distribution(distribution)


def barrier():
    """Wait for all hosts."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("keras_c2kd")


def all_strings(text):
    """Return the string of each process, of up to 64 characters."""
    if jax.process_count() == 1:
        return [text]
    own = np.zeros(64, "uint8")
    codes = np.frombuffer(text.encode()[:64], "uint8")
    own[: len(codes)] = codes
    rows = np.asarray(multihost_utils.process_allgather(own))
    return [bytes(row).rstrip(b"\0").decode() for row in rows]


def replica_loss_scale():
    """Return 1: there is one loss, of all rows."""
    return 1.0
