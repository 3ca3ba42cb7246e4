"""On PyTorch, the layers of a training step compute what Keras' own do."""

import contextlib

import keras
import numpy as np
import pytest

from keras_c2kd.layers import BatchNormalization
from keras_c2kd.methods import C2KD
from tests.helpers.toys import assert_same_weights
from tests.helpers.toys import numpy_weights
from tests.helpers.toys import toy_data
from tests.helpers.toys import toy_distiller

if keras.backend.backend() != "torch":
    pytest.skip("is about PyTorch", allow_module_level=True)

import torch

from keras_c2kd.backend import torch as torch_step
from keras_c2kd.backend.fast_layers_torch import fast_layers

Conv2D = keras.layers.Conv2D
Pooling = keras.layers.MaxPooling2D
StockNormalization = keras.layers.BatchNormalization
MAPS = (4, 9, 7, 5)


def one_layer(layer, shape):
    """A compiled model of one layer."""
    inputs = keras.Input(shape[1:])
    model = keras.Model(inputs, layer(inputs))
    model.compile(optimizer=keras.optimizers.SGD(0.1, momentum=0.9))
    model.optimizer.build(model.trainable_variables)
    random = np.random.default_rng(0)
    for variable in model.variables:
        variable.assign(random.uniform(0.5, 1.5, variable.shape))
    return model


def results(model, shape, context):
    """Outputs, gradients and moving statistics of one forward pass."""
    random = np.random.default_rng(1)
    inputs = torch.tensor(
        random.normal(1.0, 2.0, shape).astype("float32"), requires_grad=True
    )
    with context:
        outputs = model(inputs, training=True)
    weights = torch.tensor(random.normal(size=outputs.shape))
    (outputs * weights).sum().backward()
    found = [outputs, inputs.grad]
    found += [variable.value.grad for variable in model.trainable_variables]
    found += [variable.value for variable in model.non_trainable_variables]
    return [tensor.detach().float().numpy() for tensor in found]


def both_results(build, shape):
    """What a layer gives within the context, and what Keras' own gives."""
    model = one_layer(build(), shape)
    fast = results(model, shape, fast_layers(model))
    stock = one_layer(build(), shape)
    return fast, results(stock, shape, contextlib.nullcontext())


def calls_of(monkeypatch, name):
    """Record the first argument of each call of a function of PyTorch."""
    seen = []
    function = getattr(torch.nn.functional, name)

    def recorded(inputs, *args, **kwargs):
        seen.append(inputs)
        return function(inputs, *args, **kwargs)

    monkeypatch.setattr(torch.nn.functional, name, recorded)
    return seen


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("layer", [StockNormalization, BatchNormalization])
@pytest.mark.parametrize(
    "shape, axis", [(MAPS, -1), (MAPS, 1), ((8, 5), -1), ((4, 6, 5), -1)]
)
def test_normalization_equals_keras(monkeypatch, policy, layer, shape, axis):
    calls = calls_of(monkeypatch, "batch_norm")
    fast, stock = both_results(
        lambda: layer(axis=axis, momentum=0.8, dtype=policy), shape
    )
    assert len(calls) == 1
    # Two units in the last place of bfloat16, whose sums differ in order.
    tolerance = 2**-7 if policy == "mixed_bfloat16" else 1e-5
    for one, other in zip(fast, stock, strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("options", [{"center": False}, {"scale": False}])
def test_normalization_without_an_offset_or_a_scale(options):
    fast, stock = both_results(lambda: StockNormalization(**options), MAPS)
    for one, other in zip(fast, stock, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def frozen():
    return StockNormalization(trainable=False)


def renormalizing():
    return StockNormalization(renorm=True)


class Shifted(StockNormalization):
    """A user's own normalisation."""

    def call(self, inputs, training=None, mask=None):
        return 1.0 + super().call(inputs, training=training, mask=mask)


@pytest.mark.parametrize(
    "build, shape",
    [
        (frozen, MAPS),
        (renormalizing, MAPS),
        (Shifted, MAPS),
        (StockNormalization, (1, 5)),
        (lambda: StockNormalization(dtype="float16"), MAPS),
        (lambda: StockNormalization(dtype="float64"), MAPS),
    ],
    ids=["frozen", "renorm", "subclass", "one row", "float16", "float64"],
)
def test_other_normalization_is_left_to_keras(monkeypatch, build, shape):
    calls = calls_of(monkeypatch, "batch_norm")
    fast, stock = both_results(build, shape)
    assert not calls
    for one, other in zip(fast, stock, strict=True):
        np.testing.assert_array_equal(one, other)


def test_masked_normalization_is_left_to_keras(monkeypatch):
    calls = calls_of(monkeypatch, "batch_norm")
    model = one_layer(StockNormalization(), (4, 6, 5))
    layer, inputs = model.layers[-1], torch.ones((4, 6, 5))
    with fast_layers(model):
        layer(inputs, training=True, mask=torch.ones((4, 6), dtype=bool))
    assert not calls


def test_large_constant_maps_stay_finite():
    model = one_layer(BatchNormalization(), MAPS)
    inputs = torch.full(MAPS, 1e4, requires_grad=True)
    offset = model.layers[-1].beta.value
    with fast_layers(model):
        outputs = model(inputs, training=True)
    outputs.square().sum().backward()
    assert torch.isfinite(inputs.grad).all()
    # 1e4 / sqrt(1e-5) with the precision of float32.
    torch.testing.assert_close(outputs, offset.expand(MAPS), rtol=0.0, atol=0.3)


@pytest.mark.parametrize(
    "build",
    [
        lambda: Conv2D(6, 3, padding="same", activation="softmax"),
        lambda: Conv2D(6, 3, strides=2, padding="same", use_bias=False),
        lambda: Conv2D(6, 3, dilation_rate=2),
        lambda: Conv2D(10, 1, groups=5),
        lambda: Conv2D(6, 3, data_format="channels_first"),
        lambda: Pooling(3, strides=2),
        lambda: Pooling(3, strides=2, padding="same"),
        lambda: Pooling(2, data_format="channels_first"),
    ],
    ids=[
        "softmax",
        "strides",
        "dilation",
        "groups",
        "channels first",
        "pooling",
        "pooling, same",
        "pooling, channels first",
    ],
)
def test_convolution_and_pooling_equal_keras(build):
    fast, stock = both_results(build, MAPS)
    for one, other in zip(fast, stock, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_maps_and_kernels_are_not_copied(monkeypatch):
    model = one_layer(Conv2D(6, 3, padding="same"), MAPS)
    given = calls_of(monkeypatch, "conv2d")
    inputs = torch.ones(MAPS)
    with fast_layers(model):
        outputs = model(inputs)
    assert given[0].data_ptr() == inputs.data_ptr()
    assert outputs.is_contiguous()
    state = [v for v in model.optimizer.variables if len(v.shape) == 4]
    assert state
    for variable in (model.layers[-1].kernel, *state):
        value = variable.value.permute(3, 2, 0, 1)
        assert value.is_contiguous(memory_format=torch.channels_last)


def test_processes_that_exchange_variables_keep_their_order(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    model = one_layer(Conv2D(6, 3), MAPS)
    with fast_layers(model):
        pass
    assert model.layers[-1].kernel.value.is_contiguous()


def test_compiled_steps_are_left_to_the_compiler():
    model = one_layer(Conv2D(6, 3), MAPS)
    model.jit_compile = True
    with fast_layers(model):
        assert "convolution_op" not in model.layers[-1].__dict__
    assert model.layers[-1].kernel.value.is_contiguous()


def test_layers_are_what_they_were_after_an_error():
    model = one_layer(Conv2D(6, 3), MAPS)
    layer = model.layers[-1]
    with pytest.raises(ValueError), fast_layers(model):
        assert "convolution_op" in layer.__dict__
        layer(torch.ones((4, 9, 7, 3)))
    assert "convolution_op" not in layer.__dict__
    assert layer.data_format == "channels_last"


def test_training_is_that_of_keras_layers(monkeypatch, tmp_path):
    inputs, labels = toy_data()

    def trained():
        keras.utils.set_random_seed(0)
        distiller = toy_distiller(C2KD())
        config = distiller.student.get_config()
        history = distiller.fit(
            inputs, labels, batch_size=32, epochs=2, shuffle=False, verbose=0
        )
        assert distiller.student.get_config() == config
        return distiller, history.history

    calls = calls_of(monkeypatch, "batch_norm")
    fast, fast_history = trained()
    # 4 steps of two layers a network and one a proxy.
    assert len(calls) == 4 * 6
    monkeypatch.setattr(
        torch_step, "fast_layers", lambda _: contextlib.nullcontext()
    )
    stock, stock_history = trained()
    assert len(calls) == 4 * 6
    assert fast_history.keys() == stock_history.keys()
    for name, values in fast_history.items():
        np.testing.assert_allclose(values, stock_history[name], atol=1e-5)
    assert_same_weights(fast, stock, tolerance=1e-5)

    # The student's file is that of a plain model.
    fast.student.save(tmp_path / "student.keras")
    loaded = keras.saving.load_model(tmp_path / "student.keras")
    assert_same_weights(numpy_weights(loaded), numpy_weights(fast.student))
    np.testing.assert_allclose(
        loaded.predict(inputs["visual"], verbose=0),
        fast.student.predict(inputs["visual"], verbose=0),
        atol=1e-6,
    )
