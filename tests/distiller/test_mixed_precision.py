"""Half precision: how losses are scaled, and what a skipped step changes."""

import keras
import numpy as np
import pytest

from keras_c2kd import C2KD
from keras_c2kd.selection import SelectAll
from tests.helpers.method_contract import contract_cases
from tests.helpers.toys import AUDIO
from tests.helpers.toys import VISUAL
from tests.helpers.toys import toy_data
from tests.helpers.toys import toy_distiller
from tests.helpers.toys import toy_network

# Gradients of the logits are at most 1 / 32 here; this makes them overflow
# float16, whose largest number is below 2 ** 16, for a few steps.
HUGE_SCALE = 2.0**24


def values(variables):
    return [keras.ops.convert_to_numpy(v).copy() for v in variables]


def changed(before, variables):
    return [
        not np.array_equal(old, new)
        for old, new in zip(before, values(variables), strict=True)
    ]


def sgd():
    return keras.optimizers.SGD(0.05, momentum=0.9)


@pytest.mark.slow
@pytest.mark.parametrize(
    "method, optimizers",
    [
        ("c2kd", ["optimizer"]),
        ("c2kd", ["optimizer", "teacher_optimizer"]),
        ("dlb", ["optimizer"]),
        ("ogm_ge", ["optimizer"]),
    ],
)
def test_a_step_that_overflows_is_skipped_and_the_scale_halved(
    method, optimizers
):
    """Also of DLB, which keeps state, and OGM-GE, which changes gradients."""
    keras.config.set_dtype_policy("mixed_float16")
    inputs, labels = toy_data(32)
    distiller = toy_distiller(
        contract_cases[method](), compile={name: sgd() for name in optimizers}
    )
    scaling = distiller.optimizer
    assert isinstance(scaling, keras.optimizers.LossScaleOptimizer)
    scaling.initial_scale = HUGE_SCALE
    scaling.build(distiller.trainable_variables)
    scale, skipped = HUGE_SCALE, 0
    while True:
        trained = values(distiller.trainable_variables)
        momenta = values(scaling.inner_optimizer.variables)
        other = values(distiller.non_trainable_variables)
        # `fit` stops at a loss that is not finite.
        history = distiller.fit(inputs, labels, batch_size=32, verbose=0)
        assert np.isfinite(history.history["loss"]).all()
        # Running statistics and memories saw the batch all the same.
        assert any(changed(other, distiller.non_trainable_variables))
        if float(scaling.dynamic_scale) == scale:
            break
        scale /= 2
        skipped += 1
        assert float(scaling.dynamic_scale) == scale
        assert not any(changed(trained, distiller.trainable_variables))
        assert not any(changed(momenta, scaling.inner_optimizer.variables))
    assert 0 < skipped < 16
    assert all(changed(trained, distiller.trainable_variables))


@pytest.mark.slow
def test_a_loss_that_is_not_finite_is_no_overflow_of_the_scale():
    keras.config.set_dtype_policy("mixed_float16")
    distiller = toy_distiller(C2KD())
    kernel = distiller.teacher.get_layer("logits").kernel
    kernel.assign(kernel * 1e6)  # Infinite in float16.
    inputs, labels = toy_data(32)
    with pytest.raises(FloatingPointError, match="teacher_supervised=nan"):
        distiller.fit(inputs, labels, verbose=0)


def test_optimizers_of_two_sides_are_scaled_together_or_refused():
    scaled = keras.optimizers.LossScaleOptimizer(sgd())
    for given in (
        {"optimizer": sgd(), "teacher_optimizer": scaled},
        {"optimizer": scaled, "teacher_optimizer": sgd()},
    ):
        with pytest.raises(ValueError, match="one loss scale"):
            toy_distiller(C2KD(), compile=given)


@pytest.mark.parametrize("role", ["student", "teacher"])
def test_the_loss_is_scaled_if_a_trained_network_is_float16(role):
    networks = {"student": toy_network(VISUAL), "teacher": toy_network(AUDIO)}
    keras.config.set_dtype_policy("mixed_float16")
    modality = VISUAL if role == "student" else AUDIO
    networks[role] = toy_network(modality)
    keras.config.set_dtype_policy("float32")
    for update, scaled in (("all", True), ("none", role == "student")):
        distiller = toy_distiller(C2KD(teacher_update=update), **networks)
        found = type(distiller.optimizer) is keras.optimizers.LossScaleOptimizer
        assert found == scaled


@pytest.mark.slow
def test_losses_are_those_of_float32_but_for_the_rounding():
    """A rounding to 8 (11) bits is off by 2 ** -9 (2 ** -12) at most.

    There are a dozen between a pixel and a loss, which partly cancel; five in
    one direction are allowed. All rows are selected: a rank correlation jumps
    where two logits become equal.
    """
    inputs, labels = toy_data(64)
    # Faster for one step, except on JAX.
    eagerly = {"run_eagerly": keras.backend.backend() != "jax"}
    logs = {}
    for policy in ("float32", "mixed_bfloat16", "mixed_float16"):
        keras.config.set_dtype_policy(policy)
        distiller = toy_distiller(C2KD(selection=SelectAll()), compile=eagerly)
        found = distiller.train_on_batch(inputs, labels, return_dict=True)
        logs[policy] = {
            name: float(found[name]) for name in distiller.method.loss_names
        }
    expected = logs["float32"]
    assert logs["mixed_bfloat16"] == pytest.approx(expected, rel=5 * 2.0**-9)
    assert logs["mixed_float16"] == pytest.approx(expected, rel=5 * 2.0**-12)


@pytest.mark.slow
def test_networks_of_unlike_precision_train_together():
    keras.config.set_dtype_policy("mixed_bfloat16")
    student = toy_network(VISUAL)
    keras.config.set_dtype_policy("float32")
    distiller = toy_distiller(
        C2KD(), student=student, teacher=toy_network(AUDIO)
    )
    assert distiller.dtype_policy.name == "mixed_bfloat16"
    assert distiller.teacher.output.dtype == "float32"
    inputs, labels = toy_data(16)
    history = distiller.fit(inputs, labels, verbose=0).history
    assert all(np.isfinite(values).all() for values in history.values())
