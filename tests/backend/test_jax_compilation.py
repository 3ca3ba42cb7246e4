"""On JAX, the training step is compiled with options for the CPU."""

import keras
import numpy as np
import pytest

from keras_c2kd.methods import C2KD
from tests.helpers.toys import toy_data
from tests.helpers.toys import toy_distiller

if keras.backend.backend() != "jax":
    pytest.skip("is about JAX", allow_module_level=True)

import jax
import jax.numpy as jnp

from keras_c2kd.backend import jax as jax_step


def gradient_step(state, data):
    """Return as log the gradient of a convolution by its kernel."""

    def loss(kernel):
        outputs = jax.lax.conv_general_dilated(
            data, kernel, (1, 1), "SAME", dimension_numbers=_LAYOUT
        )
        return jnp.mean(outputs**2)

    gradient = jax.grad(loss)(state)
    return gradient, state - gradient


_LAYOUT = ("NHWC", "HWIO", "NHWC")


def test_kernel_gradients_are_those_of_keras_step_without_ynnpack():
    random = np.random.default_rng(0)
    kernel = random.normal(size=(3, 3, 32, 32)).astype("float32")
    maps = random.normal(size=(8, 16, 16, 32)).astype("float32")
    stock = jax.jit(gradient_step, donate_argnums=0)
    fast = jax_step.compiled_step(stock)
    programs = [
        step.lower(kernel, maps).compile().as_text() for step in (stock, fast)
    ]
    # If the first fails, XLA has given it up: drop the option.
    assert "ynn_fusion" in programs[0]
    assert "ynn_fusion" not in programs[1]
    results = [step(jnp.asarray(kernel), maps) for step in (stock, fast)]
    for one, two in zip(*results, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-5)


def test_the_state_is_donated():
    step = jax_step.compiled_step(jax.jit(gradient_step, donate_argnums=0))
    kernel = jnp.ones((3, 3, 4, 6))
    step(kernel, jnp.ones((1, 4, 4, 4)))
    assert kernel.is_deleted()


def test_where_there_is_no_such_choice(monkeypatch):
    step = jax.jit(gradient_step, donate_argnums=0)
    with monkeypatch.context() as patch:
        patch.setattr(jax, "default_backend", lambda: "gpu")
        assert jax_step.compiled_step(step) is step
    monkeypatch.setattr(jax_step, "_CPU_OPTIONS", {"xla_unknown": "1"})
    assert jax_step.compiled_step(step) is step


@pytest.mark.parametrize("is_compiled", [True, False])
def test_a_distiller_compiles_its_training_step_alone(monkeypatch, is_compiled):
    compiled, compiled_step = [], jax_step.compiled_step

    def record(step):
        compiled.append(step.__wrapped__)
        return compiled_step(step)

    monkeypatch.setattr(jax_step, "compiled_step", record)
    distiller = toy_distiller(C2KD(), compile={"jit_compile": is_compiled})
    inputs, labels = toy_data()
    for _ in range(2):
        distiller.fit(inputs, labels, verbose=0)
    distiller.evaluate(inputs, labels, verbose=0)
    assert compiled == [distiller.train_step] * is_compiled
