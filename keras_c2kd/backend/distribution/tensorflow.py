"""Several devices on TensorFlow, by `tf.distribute` strategies."""

import contextlib
import os

import keras
import tensorflow as tf

from keras_c2kd.backend.keras_internals import iterator_spec


@contextlib.contextmanager
def distribute(devices):
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


# Strategies, and what is to be closed to leave their scopes.
_entered = []


def _devices(devices):
    """Return the names of so many devices of this machine."""
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


def _divide_cpu(devices):
    """Make a CPU look like several devices, if nothing has run on it yet."""
    with contextlib.suppress(RuntimeError):
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0],
            [tf.config.LogicalDeviceConfiguration()] * devices,
        )


def _replica():
    """Return the context of the device whose step this is, or None."""
    return tf.distribute.get_replica_context()


def num_replicas():
    """Return the number of replicas; 1 outside of a step."""
    replica = _replica()
    return 1 if replica is None else replica.num_replicas_in_sync


def index():
    """Return which replica this is."""
    return _replica().replica_id_in_sync_group


def all_reduce_sum(tensor):
    """Return the sum over replicas."""
    return _replica().all_reduce(tf.distribute.ReduceOp.SUM, _placed(tensor))


def sum_of_gradients(gradients):
    """Return the gradients of the whole batch, of which each has a part.

    A method that modifies gradients is to see them: the noise of OGM-GE, for
    one, is as large as the gradient varies.

    Args:
        gradients: List of tensors or None, of this replica.
    """
    return [
        None
        if gradient is None
        else all_reduce_sum(tf.convert_to_tensor(gradient))
        for gradient in gradients
    ]


def part_of_gradients(gradients):
    """Return each replica's part of gradients that will be added up."""
    count = num_replicas()
    return [
        None if gradient is None else gradient / count for gradient in gradients
    ]


def all_gather(tensors):
    """Return the rows of all replicas, of each tensor."""
    return [
        # It forgets the shape.
        tf.ensure_shape(
            _replica().all_gather(_placed(tensor), axis=0),
            [None, *tensor.shape[1:]],
        )
        for tensor in tensors
    ]


def _placed(tensor):
    """Return a tensor that knows its device, as a worker with one asks."""
    local = tf.distribute.get_strategy().extended.worker_devices
    if len(local) > 1:
        return tensor
    with tf.device(local[0]):
        return tf.identity(tensor)


def num_devices():
    """Return the number of replicas of the strategy."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def is_spmd():
    """Return False: each device sees its own rows."""
    return False


def element_spec(iterator):
    """Return the specifications of one device's batch; nothing is read.

    Args:
        iterator: Keras' iterator of epochs.

    Returns:
        Structure of `tf.TypeSpec`, None where there is nothing; or None if the
        rank of an element is not known.
    """

    def of_one_device(spec):
        if isinstance(spec, tf.OptionalSpec):
            return None
        # With several devices there is one for each.
        return getattr(spec, "_value_specs", (spec,))[0]

    spec = tf.nest.map_structure(of_one_device, iterator_spec(iterator))
    leaves = [leaf for leaf in tf.nest.flatten(spec) if leaf is not None]
    return None if any(leaf.shape.rank is None for leaf in leaves) else spec


def as_logs(step):
    """Return logs that Keras can average over workers, along an axis."""
    strategy = tf.distribute.get_strategy()
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return {name: tf.reshape(value, (1,)) for name, value in step.items()}
    return step


def processes():
    """Return 0 and 1: a strategy divides the batches itself."""
    return 0, 1


def is_first_process():
    """Return whether this is the first worker, or the only one."""
    resolver = tf.distribute.get_strategy().cluster_resolver
    if resolver is None or not resolver.task_type:
        return True
    return resolver.task_type in ("chief", "worker") and resolver.task_id == 0


def clear_session():
    """Forget Keras' state; leave the strategies' scopes before, and return."""
    for _, scopes in _entered:
        scopes.close()
    keras.utils.clear_session()
    for strategy, scopes in _entered:
        scopes.enter_context(strategy.scope())


def barrier():
    """Wait for all workers."""
    strategy = tf.distribute.get_strategy()
    if strategy.cluster_resolver is not None:
        strategy.run(
            lambda: _replica().all_reduce(
                tf.distribute.ReduceOp.SUM, tf.constant(0.0)
            )
        )


def all_strings(text):
    """Return the string alone: nothing is divided by hand."""
    return [text]


def replica_loss_scale():
    """Return one over the number of replicas, as Keras' losses have it."""
    return 1.0 / tf.distribute.get_strategy().num_replicas_in_sync
