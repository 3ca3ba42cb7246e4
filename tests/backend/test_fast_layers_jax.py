"""On JAX, convolutions of small maps compute what Keras' own do."""

import contextlib

import keras
import numpy as np
import pytest

from keras_c2kd.methods import C2KD
from tests.helpers.toys import VISUAL
from tests.helpers.toys import numpy_weights
from tests.helpers.toys import toy_distiller

if keras.backend.backend() != "jax":
    pytest.skip("is about JAX", allow_module_level=True)

import jax
import jax.numpy as jnp

from keras_c2kd.backend import fast_layers_jax as jax_layers
from keras_c2kd.backend import jax as jax_step
from keras_c2kd.backend.fast_layers_jax import fast_layers

Conv2D = keras.layers.Conv2D


def unchanged(_):
    return contextlib.nullcontext()


def one_layer(layer, shape):
    """A model of one layer with random weights."""
    inputs = keras.Input(shape[1:])
    model = keras.Model(inputs, layer(inputs))
    random = np.random.default_rng(0)
    for variable in model.variables:
        variable.assign(random.uniform(0.5, 1.5, variable.shape))
    return model


def results(model, inputs, context):
    """Outputs and gradients, and whether XLA is asked for a convolution."""

    def loss(trainable, inputs):
        outputs, _ = model.stateless_call(trainable, [], inputs, training=True)
        weights = jnp.linspace(-1.0, 2.0, outputs.size, dtype=outputs.dtype)
        return jnp.sum(outputs * weights.reshape(outputs.shape)), outputs

    trainable = [variable.value for variable in model.trainable_variables]
    function = jax.grad(loss, argnums=(0, 1), has_aux=True)
    with context(model):
        found = jax.tree.leaves(function(trainable, inputs))
    with context(model):
        program = str(jax.make_jaxpr(function)(trainable, inputs))
    return found, "conv_general_dilated" in program


def compare(layer, shape, is_small, tolerance=1e-5):
    model = one_layer(layer, shape)
    inputs = np.random.default_rng(1).normal(1.0, 2.0, shape)
    inputs = jnp.asarray(inputs, layer.compute_dtype)
    fast, convolves = results(model, inputs, fast_layers)
    stock, _ = results(model, inputs, unchanged)
    assert convolves == (not is_small)
    for one, two in zip(fast, stock, strict=True):
        assert one.shape == two.shape
        assert one.dtype == two.dtype
        one, two = np.asarray(one, "float64"), np.asarray(two, "float64")
        scale = np.abs(two).max()
        np.testing.assert_allclose(one / scale, two / scale, atol=tolerance)


@pytest.mark.parametrize(
    ("size", "kernel_size", "strides", "padding", "dilation"),
    [
        ((2, 2), (3, 3), 1, "same", 1),
        ((4, 4), (3, 3), 2, "same", 1),  # What comes out is small.
        ((2, 9), (3, 1), (2, 1), "same", 1),
        ((1, 1), (3, 3), 1, "same", 1),
        ((8, 2), (2, 3), (1, 2), "same", 1),
        ((5, 4), (5, 3), 1, "valid", 1),
        ((5, 5), (2, 2), 4, "valid", 1),
        ((2, 3), (3, 3), 1, "same", 2),
        ((5, 6), (3, 3), 1, "valid", 2),
    ],
)
def test_small_maps(size, kernel_size, strides, padding, dilation):
    layer = Conv2D(6, kernel_size, strides, padding, dilation_rate=dilation)
    compare(layer, (3, *size, 4), is_small=True)


def test_what_is_left_to_xla():
    compare(Conv2D(6, 3, padding="same"), (2, 8, 8, 4), is_small=False)
    compare(Conv2D(6, 3, padding="same"), (2, 3, 4, 4), is_small=False)
    compare(Conv2D(6, 1), (2, 1, 1, 4), is_small=False)
    grouped = Conv2D(6, 3, padding="same", groups=2)
    compare(grouped, (2, 2, 2, 4), is_small=False)
    channels_first = Conv2D(6, 3, padding="same", data_format="channels_first")
    compare(channels_first, (2, 4, 2, 2), is_small=False)


def test_half_precision_and_doubles():
    shape = (4, 2, 2, 5)
    half = Conv2D(6, 3, padding="same", dtype="mixed_bfloat16")
    compare(half, shape, is_small=True, tolerance=2e-2)


def test_a_gpu_keeps_its_convolutions(monkeypatch):
    model = one_layer(Conv2D(6, 3, padding="same"), (2, 2, 2, 4))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    _, convolves = results(model, jnp.ones((2, 2, 2, 4)), fast_layers)
    assert convolves


# What goes into the convolutions of the network below.
SMALL_MAPS = ((4, 4, 3), (2, 2, 8))


def small_pair(method):
    """A distiller whose student's last map is smaller than its kernels."""
    inputs = keras.Input((4, 4, 3))
    x = keras.layers.Conv2D(8, 3, 2, "same", activation="relu")(inputs)
    x = keras.layers.Conv2D(8, 3, padding="same", name="last")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    student = keras.Model(inputs, keras.layers.Dense(4, name="logits")(x))
    return toy_distiller(method, student=student)


def test_a_training_step_uses_them_and_ends_the_same(monkeypatch):
    patches = jax_layers._patches
    maps_seen, weights, scores = [], [], []
    monkeypatch.setattr(
        jax_layers,
        "_patches",
        lambda layer, maps: (
            maps_seen.append(maps.shape) or patches(layer, maps)
        ),
    )
    for context in (fast_layers, unchanged):
        monkeypatch.setattr(jax_step, "fast_layers", context)
        keras.utils.set_random_seed(0)
        distiller = small_pair(C2KD(proxies=False))
        shape = {
            VISUAL: distiller.student.input_shape,
            distiller.teacher_modality: distiller.teacher.input_shape,
        }
        random = np.random.default_rng(0)
        inputs = {
            name: random.normal(size=(16, *size[1:])).astype("float32")
            for name, size in shape.items()
        }
        labels = random.integers(0, 4, 16)
        distiller.fit(inputs, labels, batch_size=8, shuffle=False, verbose=0)
        layers = distiller._flatten_layers()
        assert not any("convolution_op" in vars(layer) for layer in layers)
        weights.append(numpy_weights(distiller.student))
        scores.append(distiller.evaluate(inputs, labels, verbose=0))
    for one, two in zip(*weights, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(*scores, rtol=1e-4)
    maps = {(rows, *size) for rows in (8, 16) for size in SMALL_MAPS}
    assert set(maps_seen) == maps  # Batches of training and evaluation.
