"""Every private part of Keras that is used here, and the versions tested.

No other file of the package may name one: tests/backend/test_keras_internals.py
looks. Each says which public way was tried, and which test fails if the part
goes.
"""

import contextlib
import random
import types
import warnings
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

import keras
from keras.src.backend import get_keras_mask
from keras.src.backend.common import global_state
from keras.src.models import Functional
from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR
from keras.src.trainers.compile_utils import CompileMetrics
from keras.src.trainers.trainer import Trainer
from keras.src.utils.naming import get_object_name

from keras_c2kd.typing import Tensor
from keras_c2kd.typing import Tensors

# Minor versions: where what is private changes without a word. Of 3.16, which
# is not released, the main branch at 3422977a5e was tested.
TESTED_KERAS = ("3.15", "3.16")


def check_version() -> None:
    """Warn if Keras is of a minor version that nobody has tested."""
    minor = ".".join(keras.__version__.split(".")[:2])
    if minor not in TESTED_KERAS:
        warnings.warn(
            "keras_c2kd needs private parts of Keras and was tested with "
            f"Keras {' and '.join(TESTED_KERAS)}. Received: Keras "
            f"{keras.__version__}. What you train may differ or fail: install "
            "one of the tested versions, or run the tests of keras_c2kd.",
            stacklevel=3,
        )


# Layers and graphs.


def layers_within(
    layer: keras.layers.Layer, **options: bool
) -> Iterator[keras.layers.Layer]:
    """Return the layers within one, nested ones too.

    Public: `Model.layers` knows the first level, and of models only.
    Test: tests/networks/test_network_forms.py.

    Args:
        layer: `keras.Layer`.
        **options: `recursive=False` for the first level alone.
    """
    return layer._flatten_layers(include_self=False, **options)


def inner_layers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Return the first level of layers within one, in order.

    Public: as `layers_within`. Test:
    tests/distiller/test_cross_modal_distiller.py, what
    `teacher_update="top"` trains.
    """
    return layer._layers


def history_of(tensor: object) -> Any:
    """Return the operation, node and index a symbolic tensor comes from.

    Public: none; `Function.operations` has no edges. Test:
    tests/networks/test_feature_extractor.py.

    Returns:
        Named tuple; None if it is no symbolic tensor.
    """
    return getattr(tensor, "_keras_history", None)


def node_of(operation: keras.Operation, index: int) -> Any:
    """Return the node of one call of an operation, with what it was given.

    Public: none, as `history_of`. Test:
    tests/networks/test_feature_extractor.py.
    """
    return operation._inbound_nodes[index]


# Public: the type of `keras.Model(inputs, outputs)`, which costs a model.
# Test: tests/networks/test_network_forms.py.
functional_call = Functional.call

# Public: none; a mask is an attribute of the tensor, handed on by layers only.
# Test: tests/distiller/test_masking.py.
mask_of = get_keras_mask


@contextlib.contextmanager
def replaced_layers(
    model: keras.Model,
    replacements: Mapping[type, tuple[str, Callable[..., Any]]],
) -> Iterator[None]:
    """Within this context, layers of some types run other functions.

    It concerns layers of exactly these types, and afterwards they are what
    they were. Public: subclasses of the layers, which would have to stand
    in the user's networks and files; setting the attribute, whose tracking
    takes time in each step. Test: tests/backend.

    Args:
        model: Its networks' and its method's layers.
        replacements: Dict from a type of layers to the name of a method and
            the function `(layer, *arguments)` in its place.
    """
    changed = []
    try:
        for layer in layers_within(model):
            if type(layer) in replacements:
                name, function = replacements[type(layer)]
                layer.__dict__[name] = types.MethodType(function, layer)
                changed.append((layer, name))
        yield
    finally:
        for layer, name in changed:
            layer.__dict__.pop(name, None)


class BatchNormalizationByMoments(keras.layers.BatchNormalization):
    """Keras' layer, whose statistics of a batch `moments` gives.

    Public: `synchronized=True`, on TensorFlow only and in layers that no other
    backend loads. Test: tests/layers/test_convolution_block.py.
    """

    def moments(
        self, inputs: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return mean and variance of a batch, `(channels,)`."""
        return super()._moments(inputs, mask)

    def _moments(
        self, inputs: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        return self.moments(inputs, mask)


def reduction_axes(layer: keras.layers.BatchNormalization) -> list[int]:
    """Return the axes that batch normalisation takes statistics over.

    Public: all axes but `layer.axis`, known when the layer is built. Test:
    tests/backend/distribution.
    """
    return layer._reduction_axes


def set_moments(
    layer: keras.layers.BatchNormalization,
    function: Callable[..., tuple[Tensor, Tensor]] | None = None,
) -> None:
    """Let `function(inputs, mask)` give a layer's statistics; None: its own.

    Public: as `BatchNormalizationByMoments`. Test: tests/backend/distribution.
    """
    if function is None:
        del vars(layer)["_moments"]
    else:
        # Past Keras' tracking of attributes.
        vars(layer)["_moments"] = function


def has_other_moments(layer: keras.layers.BatchNormalization) -> bool:
    """Return whether `set_moments` has given a layer another function.

    Public: as `BatchNormalizationByMoments`. Test: tests/backend/distribution.
    """
    return "_moments" in vars(layer)


# Losses, metrics, optimizers, variables.


def function_arguments(wrapper: Any) -> dict[str, Any]:
    """Return what a loss or metric of Keras hands on to its function.

    Public: `get_config()`, which lacks some: the axis of a sparse
    cross-entropy. Test: tests/distiller/test_targets.py,
    tests/distiller/test_network_metrics.py.
    """
    return getattr(wrapper, "_fn_kwargs", {})


# Public: none; the name that Keras logs for a function or a class.
# Test: tests/distiller/test_network_metrics.py.
name_of = get_object_name


class UserMetrics(CompileMetrics):
    """Keras' container of the metrics given to `compile()`.

    Public: `Model.compile` builds one for itself, none for a second network.
    Test: tests/distiller/test_network_metrics.py.
    """

    def given(self) -> tuple[Any, Any]:
        """Return what the user gave, unweighted and weighted."""
        return self._user_metrics, self._user_weighted_metrics

    def built_metrics(
        self,
    ) -> tuple[list[keras.metrics.Metric], list[keras.metrics.Metric]]:
        """Return Keras' objects, unweighted and weighted."""
        return self._flat_metrics, self._flat_weighted_metrics


def rate_of(optimizer: keras.optimizers.Optimizer) -> Any:
    """Return a learning rate as it was given: number, schedule or function.

    Public: `optimizer.learning_rate`, which calls a function, and it may count
    its calls. Test: tests/distiller/test_training_options.py.
    """
    return optimizer._learning_rate


def variables_updated_by(
    optimizer: keras.optimizers.Optimizer,
) -> list[keras.Variable]:
    """Return the variables that an optimizer was built for.

    Public: `optimizer.variables`, its state, which does not name them all.
    Test: tests/distiller/test_training_options.py.
    """
    return optimizer._trainable_variables


def has_value(variable: keras.Variable) -> bool:
    """Return whether a variable has a value, which JAX's epochs take away.

    Public: `variable.value`, which raises or initialises. Test:
    tests/distiller/test_bad_input.py, on JAX.
    """
    return variable._value is not None


def put_value(variable: keras.Variable, value: Tensor) -> None:
    """Give a variable without a value one.

    Public: `assign`, which wants the old one. Test: as `has_value`.
    """
    variable._value = value


# What Keras' trainer does around a step.


def model_of(callback: keras.callbacks.Callback) -> keras.Model | None:
    """Return the model of a callback, None before it was set.

    Public: `callback.model`, which on JAX waits for the device to put the
    values back into the variables. Test: tests/distiller/test_host_waits.py.
    """
    return callback._model


def is_within_fit(options: Mapping[str, Any]) -> bool:
    """Return whether `evaluate` received these options from Keras' `fit`.

    Public: none. Test: tests/distiller/test_host_waits.py.
    """
    return bool(options.get("_use_cached_eval_dataset"))


def iterator_spec(iterator: Any) -> Any:
    """Return the specification of the elements of Keras' epochs (TensorFlow).

    Public: reading a first element, which a stream then lacks. Test:
    tests/distiller/test_host_waits.py.
    """
    return iterator._distributed_dataset.element_spec


@contextlib.contextmanager
def placed_batches(place: Callable[..., Any]) -> Iterator[None]:
    """Within this context another function places batches on JAX's devices.

    Public: `keras.distribution.DataParallel`, which divides every batch as
    the first one and fails for a last, smaller one. Test:
    tests/backend/distribution.

    Args:
        place: Function of Keras' own function and its arguments, the batch,
            its layout and the name of the batch's axis.
    """
    from keras.src.backend.jax import distribution_lib

    divide = distribution_lib.distribute_data_input

    def placed(batch: Tensor, layout: Any, batch_dim_name: str) -> Any:
        layout = getattr(layout, "backend_layout", layout)
        return place(divide, batch, layout, batch_dim_name)

    distribution_lib.distribute_data_input = placed
    try:
        yield
    finally:
        distribution_lib.distribute_data_input = divide


class TrainedModel(keras.Model):
    """A model with names for the private parts of its trainer.

    Public, where nothing else is said: own loops instead of Keras' `fit`,
    which would be a second trainer. Test:
    tests/distiller/test_cross_modal_distiller.py.
    """

    # Whether on PyTorch Keras itself adds up the metrics of all processes, as
    # it does from 3.16 on. Test: tests/backend/distribution.
    reduces_metrics = hasattr(keras.Model, "_initialize_ddp")

    def check_is_compiled(self, method: str) -> None:
        """Raise as Keras does if the model is not compiled."""
        self._assert_compile_called(method)

    @property
    def supervised_loss(self) -> Any:
        """Keras' container of the loss given to `compile()`."""
        return self._compile_loss

    @property
    def network_metrics(self) -> Any:
        """Container of the metrics given to `compile()`, or None."""
        return self._compile_metrics

    @property
    def mean_loss(self) -> keras.metrics.Mean:
        """The metric that is logged as `loss`."""
        return self._loss_tracker

    def scaled_additional_loss(self, loss: Tensor) -> Tensor:
        """Return a layer's own loss as Keras adds it to others."""
        return self._aggregate_additional_loss(loss)

    def set_network_metrics(self, metrics: Any) -> None:
        """Replace Keras' container of metrics, None for none."""
        self._compile_metrics = metrics

    def untrack(self, metrics: Any) -> None:
        """Let a container not be listed among the model's own metrics.

        Test: tests/distiller/test_network_metrics.py.
        """
        self._tracker.untrack(metrics)

    def metrics_of_process(self) -> dict[str, Tensor]:
        """Return the metrics as this process has them.

        Public: `get_metrics_result`, which on PyTorch from 3.16 on adds up
        those of all processes, of an evaluation too in which each has seen all
        data. Test: tests/backend/distribution.
        """
        return Trainer.get_metrics_result(self)

    def metrics_of_epoch(self, logs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the metrics of an epoch or an evaluation.

        Public: none; Keras reads the metrics themselves only if the last step
        has logged all of them. Test: tests/backend/distribution.

        Args:
            logs: What the last step has logged.
        """
        return logs

    def batches_to_build_by(self, iterator: Any) -> Any:
        """Return Keras' iterator, of which one batch is read."""
        return iterator

    def element_spec(self, iterator: Any) -> Any:
        """Return the specification of a batch; None if it is not known."""
        return None

    def step_to_run(self, step_function: Callable[..., Any]) -> Any:
        """Return what is run for Keras' compiled step."""
        return step_function

    def function_to_call(self, function: Callable[..., Any]) -> Any:
        """Return what Keras calls for each step of training or evaluation."""
        return function

    def _get_metrics_result_or_logs(
        self, logs: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        return self.metrics_of_epoch(logs)

    def _initialize_ddp(self) -> None:
        """Leave out Keras' DistributedDataParallel: the step has its own.

        Keras' knows parameters by path: of two encoders whose layers have
        equal names it forgets one, which then trains on the samples of its own
        process (measured with OGM-GE: weights differ by 3e-2). It is built
        with all parameters, the frozen ones too, and waits for those. Test:
        tests/backend/distribution.
        """

    def _symbolic_build(
        self, iterator: Any = None, data_batch: Tensors = None
    ) -> None:
        if iterator is not None and data_batch is None:
            iterator = self.batches_to_build_by(iterator)
        super()._symbolic_build(iterator, data_batch)

    def _maybe_symbolic_build(
        self, iterator: Any = None, data_batch: Tensors = None
    ) -> None:
        """Create all variables before the first step is traced.

        Keras calls this before it trains or evaluates, and on TensorFlow does
        nothing without a distribution strategy: the first step would create
        the variables of optimizer and metrics, and TensorFlow would trace it a
        second time, without creating any. With a strategy of several workers
        it fails for batches that are dicts. Test:
        tests/distiller/test_host_waits.py.
        """
        if keras.backend.backend() != "tensorflow":
            super()._maybe_symbolic_build(iterator, data_batch)
            return
        if iterator is not None:
            data_batch = self.element_spec(iterator)
        if data_batch is not None:
            with self.distribute_strategy.scope():
                self._symbolic_build(data_batch=data_batch)

    def _make_function(
        self, step_function: Callable[..., Any], **kwargs: Any
    ) -> Any:
        """Make what Keras calls for each step; `predict` says more.

        Public: `make_train_function`, after which the step is compiled.
        Test: tests/backend/test_jax_compilation.py.
        """
        step_function = self.step_to_run(step_function)
        function = super()._make_function(step_function, **kwargs)
        return function if kwargs else self.function_to_call(function)


class StepSeeds(keras.random.SeedGenerator):
    """Stands in for Keras' global generator of seeds in a training step.

    A layer that draws without a seed takes one from the process: it would
    draw other numbers in a run that is resumed in another process. In a step
    it takes it from here. The state, a seed and how many seeds were taken, is
    part of the model and saved with it; the user's generators stay as they
    are.

    The first seed is the one that `keras.random.SeedGenerator` would draw
    next, so `keras.utils.set_random_seed` decides it.

    Public: a `seed` in each layer, which are the user's. Test:
    tests/distiller/test_resumed_training.py.
    """

    def __init__(self) -> None:
        own = random.Random()
        own.setstate(random.getstate())
        super().__init__(seed=own.randrange(2**30), name="step_seeds")

    def next(self, ordered: bool = True) -> Tensor:
        """Return the next seed; no two are equal.

        Args:
            ordered: As in Keras, whose global generator is not; unused.
        """
        return super().next()

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Within this context, layers without a seed draw theirs here."""
        others = global_state.get_global_attribute(GLOBAL_SEED_GENERATOR)
        global_state.set_global_attribute(GLOBAL_SEED_GENERATOR, self)
        try:
            yield
        finally:
            global_state.set_global_attribute(GLOBAL_SEED_GENERATOR, others)
