"""Several devices on TensorFlow, by `tf.distribute` strategies."""

import contextlib
import os
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_c2kd.backend.keras_internals import iterator_spec
from keras_c2kd.typing import Tensor


@contextlib.contextmanager
def distribute(devices: int | None) -> Iterator[None]:
    """Mirror the variables on all devices, and divide each batch."""
    if "TF_CONFIG" in os.environ:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    else:
        strategy = tf.distribute.MirroredStrategy(_devices(devices))
    with contextlib.ExitStack() as scopes:
        scopes.enter_context(strategy.scope())
        _entered.append((strategy, scopes))
        try:
            yield
        finally:
            _entered.pop()


# Strategies in use, each with the stack that leaves its scope.
_entered: list[tuple[tf.distribute.Strategy, contextlib.ExitStack]] = []


def _devices(devices: int | None) -> list[str]:
    """Return the names of that many devices of this machine."""
    gpus = tf.config.list_physical_devices("GPU")
    kind = "GPU" if gpus else "CPU"
    if not gpus and devices is not None and devices > 1:
        _divide_cpu(devices)
    found = [d.name for d in tf.config.list_logical_devices(kind)]
    wanted = devices or (len(found) if gpus else 1)
    if wanted > len(found):
        raise ValueError(
            f"There must be {wanted} devices. Received: TensorFlow has "
            f"{len(found)}, {kind}. A CPU is divided before anything has run "
            "on it only."
        )
    return found[:wanted]


def _divide_cpu(devices: int) -> None:
    """Make a CPU look like several devices, if nothing has run on it yet."""
    with contextlib.suppress(RuntimeError):
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0],
            [tf.config.LogicalDeviceConfiguration()] * devices,
        )


def _replica() -> Any:
    """Return the context of the device whose step this is, or None."""
    return tf.distribute.get_replica_context()


def num_replicas() -> int:
    """Return the number of replicas; 1 outside of a step."""
    replica = _replica()
    return 1 if replica is None else replica.num_replicas_in_sync


def index() -> tf.Tensor:
    """Return the index of this replica."""
    return _replica().replica_id_in_sync_group


def all_reduce_sum(tensor: tf.Tensor) -> tf.Tensor:
    """Return the sum over replicas."""
    return _replica().all_reduce(tf.distribute.ReduceOp.SUM, _placed(tensor))


def sum_of_gradients(
    gradients: Sequence[tf.Tensor | None],
) -> list[tf.Tensor | None]:
    """Return the gradients of the whole batch, their sums over replicas.

    A method that modifies gradients needs them: the noise of OGM-GE, for
    example, has the variance of the gradient.

    Args:
        gradients: List of tensors or None, of this replica.
    """
    return [
        None
        if gradient is None
        else all_reduce_sum(tf.convert_to_tensor(gradient))
        for gradient in gradients
    ]


def part_of_gradients(
    gradients: Sequence[tf.Tensor | None],
) -> list[tf.Tensor | None]:
    """Return the part of each replica, of which Keras applies the sum."""
    count = num_replicas()
    return [
        None if gradient is None else gradient / count for gradient in gradients
    ]


def all_gather(tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Return for each tensor the samples of all replicas."""
    return [
        # TensorFlow forgets the shape.
        tf.ensure_shape(
            _replica().all_gather(_placed(tensor), axis=0),
            [None, *tensor.shape[1:]],
        )
        for tensor in tensors
    ]


def _placed(tensor: tf.Tensor) -> tf.Tensor:
    """Return the tensor on its device, as a worker with one device needs it."""
    local = tf.distribute.get_strategy().extended.worker_devices
    if len(local) > 1:
        return tensor
    with tf.device(local[0]):
        return tf.identity(tensor)


def num_devices() -> int:
    """Return the number of replicas of the strategy."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def element_spec(iterator: Any) -> Any:
    """Return the specification of one replica's batch; read nothing.

    Args:
        iterator: Keras' iterator of epochs.

    Returns:
        Structure of `tf.TypeSpec`, None where there is nothing; or None if the
        rank of an element is not known.
    """

    def of_one_device(spec: Any) -> Any:
        if isinstance(spec, tf.OptionalSpec):
            return None
        # With several devices there is one for each.
        return getattr(spec, "_value_specs", (spec,))[0]

    spec = tf.nest.map_structure(of_one_device, iterator_spec(iterator))
    leaves = [leaf for leaf in tf.nest.flatten(spec) if leaf is not None]
    return None if any(leaf.shape.rank is None for leaf in leaves) else spec


def as_logs(logs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return logs that Keras can average over workers, along an axis."""
    strategy = tf.distribute.get_strategy()
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return {name: tf.reshape(value, (1,)) for name, value in logs.items()}
    return logs


def processes() -> tuple[int, int]:
    """Return 0 and 1: a strategy divides the batches itself."""
    return 0, 1


def is_first_process() -> bool:
    """Return whether this is the first worker, or the only one."""
    resolver = tf.distribute.get_strategy().cluster_resolver
    if resolver is None or not resolver.task_type:
        return True
    return resolver.task_type in ("chief", "worker") and resolver.task_id == 0


def clear_session() -> None:
    """Clear Keras' state outside of the strategies' scopes; reenter them."""
    for _, scopes in _entered:
        scopes.close()
    keras.utils.clear_session()
    for strategy, scopes in _entered:
        scopes.enter_context(strategy.scope())


def barrier() -> None:
    """Wait for all workers."""
    strategy = tf.distribute.get_strategy()
    if strategy.cluster_resolver is not None:
        strategy.run(
            lambda: _replica().all_reduce(
                tf.distribute.ReduceOp.SUM, tf.constant(0.0)
            )
        )


def replica_loss_scale() -> float:
    """Return one over the number of replicas, as Keras' losses contain it."""
    return 1.0 / tf.distribute.get_strategy().num_replicas_in_sync
