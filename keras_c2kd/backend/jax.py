"""The training step on JAX: stateless, all state goes in and comes out."""

import pathlib
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from typing import TypeAlias

import jax
import keras

from keras_c2kd import backend
from keras_c2kd.backend.fast_layers_jax import fast_layers
from keras_c2kd.backend.joint_trainer import JointTrainer
from keras_c2kd.backend.joint_trainer import Logs
from keras_c2kd.typing import Tensor
from keras_c2kd.typing import Tensors

named_scope = keras.name_scope

Values: TypeAlias = list[Tensor]
"""Values of variables, in their order."""

State: TypeAlias = tuple[Values, ...]
"""Trained variables, others, the optimizer's (in training), the metrics'."""


class Trainer(JointTrainer):
    """JAX's part of a model that trains two networks in one step."""

    named_scope = staticmethod(named_scope)
    # A program sees the samples of all devices.
    num_replicas = 1

    def train_step(self, state: State, data: Tensors) -> tuple[Logs, State]:
        """Update teacher, student and heads on one batch.

        Returns:
            The logs and the new state.
        """
        trainable, non_trainable, optimizer_state, metrics = state
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        optimizer, variables = self.optimizer, self.trainable_variables

        def loss_of(trainable: Values) -> tuple[Tensor, tuple[Any, ...]]:
            scope = self._scope(trainable, non_trainable, metrics)
            with scope:
                outputs = self.compute_outputs(x)
                loss = self.compute_loss(x, y, outputs, sample_weight)
            scale = zip(optimizer.variables, optimizer_state)
            with keras.StatelessScope(list(scale)):
                scaled_loss = optimizer.scale_loss(loss)
            return scaled_loss, (loss, outputs, *self._state_in(scope))

        with self.step_seeds.in_use():
            with fast_layers(self):
                gradients, after = jax.grad(loss_of, has_aux=True)(trainable)
            loss, outputs, non_trainable, metrics = after
            with self._scope(trainable, non_trainable, metrics) as scope:
                gradients = self.modify_gradients(
                    gradients, variables, outputs, y
                )
                logs = self.update_metrics(loss, y, outputs, sample_weight)
            non_trainable, metrics = self._state_in(scope)
            with named_scope("update"):
                trainable, optimizer_state = optimizer.stateless_apply(
                    optimizer_state, gradients, trainable
                )
        return logs, (trainable, non_trainable, optimizer_state, metrics)

    def test_step(self, state: State, data: Tensors) -> tuple[Logs, State]:
        """Evaluate student and teacher on one batch.

        Returns:
            The logs and the new state.
        """
        trainable, *_ = state
        with fast_layers(self), self._scope(*state) as scope:
            logs = self.evaluate_batch(data)
        return logs, (trainable, *self._state_in(scope))

    def _scope(
        self, trainable: Values, non_trainable: Values, metrics: Values
    ) -> keras.StatelessScope:
        """Return a scope in which the variables have these values."""
        return keras.StatelessScope(
            [
                *zip(self.trainable_variables, trainable),
                *zip(self.non_trainable_variables, non_trainable),
                *zip(self.metrics_variables, metrics),
            ],
            collect_losses=True,
        )

    def _state_in(self, scope: keras.StatelessScope) -> State:
        """Return the new values of the variables that no gradient trains."""
        return tuple(
            [scope.get_current_value(variable) for variable in variables]
            for variables in (
                self.non_trainable_variables,
                self.metrics_variables,
            )
        )

    def step_to_run(self, step_function: Callable[..., Any]) -> Any:
        """Return the training step with the faster options of XLA."""
        if getattr(step_function, "__wrapped__", None) == self.train_step:
            return compiled_step(step_function)
        return step_function


def enable_compilation_cache(folder: str | pathlib.Path | None = None) -> None:
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


def trace(folder: pathlib.Path) -> AbstractContextManager[Any]:
    """Write a trace of what runs in this context."""
    return jax.profiler.trace(str(folder))


def traced_step(number: int) -> AbstractContextManager[Any]:
    """Mark a training step in the trace."""
    return jax.profiler.StepTraceAnnotation("train", step_num=number)


def compiled_step(step: Callable[..., Any]) -> Callable[..., Any]:
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
