"""Several devices on JAX, by `keras.distribution`."""

import contextlib
import os
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import jax
import keras
import numpy as np
from jax.experimental import multihost_utils

from keras_c2kd.backend.keras_internals import placed_batches


def _any_batch_size() -> contextlib.AbstractContextManager[None]:
    """Return a context in which Keras places batches of any size.

    Keras divides every batch as it did the first one, which fails for a last
    batch whose size is no multiple of the number of devices. In this context,
    each device holds such a batch as a whole.
    """

    def place(
        divide: Callable[..., Any],
        batch: jax.Array,
        layout: Any,
        batch_dim_name: str,
    ) -> Any:
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
def distribute(devices: int | None) -> Iterator[None]:
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


def _divide_cpu(devices: int) -> None:
    """Make a CPU look like several devices, if nothing has run on it yet."""
    # JAX raises an error if something has.
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", devices)


def num_replicas() -> int:
    """Return 1: the program sees the samples of all devices."""
    return 1


def num_devices() -> int:
    """Return the number of devices of the distribution."""
    distribution = keras.distribution.distribution()
    return 1 if distribution is None else distribution.device_mesh.devices.size


def processes() -> tuple[int, int]:
    """Return the index of this host's process and their number."""
    return jax.process_index(), jax.process_count()


def is_first_process() -> bool:
    """Return whether this is the first host."""
    return jax.process_index() == 0


def clear_session() -> None:
    """Clear Keras' state, and keep the distribution."""
    distribution = keras.distribution.distribution()
    keras.utils.clear_session()
    keras.distribution.set_distribution(distribution)


def barrier() -> None:
    """Wait for all hosts."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("keras_c2kd")


def all_strings(text: str) -> list[str]:
    """Return the string of each process, of up to 64 characters."""
    if jax.process_count() == 1:
        return [text]
    own = np.zeros(64, "uint8")
    codes = np.frombuffer(text.encode()[:64], "uint8")
    own[: len(codes)] = codes
    rows = np.asarray(multihost_utils.process_allgather(own))
    return [bytes(row).rstrip(b"\0").decode() for row in rows]
