"""The training step on JAX: stateless, all state goes in and comes out."""

import pathlib
import warnings

import jax
import keras

from keras_c2kd import backend
from keras_c2kd.backend.fast_layers_jax import fast_layers


def enable_compilation_cache(folder=None):
    """Keep every compiled program on disk, and use what is there."""
    if folder is None and jax.config.jax_compilation_cache_dir is None:
        folder = pathlib.Path.home() / ".cache" / "keras_c2kd" / "compiled"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # What lies there is executed; only its owner can do this.
            folder.chmod(0o700)
        except OSError as error:
            warnings.warn(
                "Compiled programs are kept in a folder of your own. "
                f"Received: {folder} ({error}); nothing is kept. Name another "
                "one in JAX_COMPILATION_CACHE_DIR.",
                stacklevel=3,
            )
            return
    if folder is not None:
        jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


sum_of_all = jax.jit(backend.sum_of_all)


def trace(folder):
    """Write a trace of what runs in this context."""
    return jax.profiler.trace(str(folder))


def traced_step(number):
    """Mark a training step in the trace."""
    return jax.profiler.StepTraceAnnotation("train", step_num=number)


def compiled_step(step):
    """Compile the training step so that kernel gradients are fast on a CPU.

    There, XLA gives convolutions to YNNPACK, whose sums over a whole map, as
    gradients of kernels are, take two to three times as long as Eigen's.

    Args:
        step: The step as Keras has compiled it, `jax.jit` of `(state, data)`.

    Returns:
        The same function, or `step` itself on other devices and where XLA has
        no such choice.
    """
    if jax.default_backend() != "cpu":
        return step
    try:
        jax.jit(lambda: 0, compiler_options=_CPU_OPTIONS)()
    except jax.errors.JaxRuntimeError:
        return step
    return jax.jit(step, donate_argnums=0, compiler_options=_CPU_OPTIONS)


# What YNNPACK computes by default (jax 0.10), but for convolutions.
_CPU_OPTIONS = {
    "xla_cpu_experimental_ynn_fusion_type": (
        "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,LIBRARY_FUSION_TYPE_REDUCE"
    )
}


def train_step(distiller, state, data):
    """Update teacher, student and heads on one batch; return logs, state."""
    trainable, non_trainable, optimizer_state, metrics = state
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    gradients_of_loss = jax.grad(
        distiller.compute_loss_and_updates, has_aux=True
    )
    with fast_layers(distiller):
        gradients, (loss, outputs, non_trainable, metrics) = gradients_of_loss(
            trainable,
            non_trainable,
            metrics,
            x,
            y,
            sample_weight,
            training=True,
            optimizer_variables=optimizer_state,
        )
    variables = distiller.trainable_variables
    fixed_variables = distiller.non_trainable_variables
    with keras.StatelessScope(
        [*zip(variables, trainable), *zip(fixed_variables, non_trainable)]
    ) as scope:
        gradients = distiller.method.modify_gradients(
            gradients, variables, outputs, y
        )
    non_trainable = [
        scope.get_current_value(variable) for variable in fixed_variables
    ]
    with keras.name_scope("update"):
        trainable, optimizer_state = distiller.optimizer.stateless_apply(
            optimizer_state, gradients, trainable
        )
    metrics_variables = distiller.metrics_variables
    with keras.StatelessScope(zip(metrics_variables, metrics)) as scope:
        distiller.track_loss(loss, outputs)
        logs = distiller.compute_metrics(x, y, outputs, sample_weight)
    metrics = [
        scope.get_current_value(variable) for variable in metrics_variables
    ]
    return logs, (trainable, non_trainable, optimizer_state, metrics)
