import keras
import numpy as np
import pytest

from keras_c2kd import C2KD
from keras_c2kd.methods import DLB
from tests.helpers.toys import assert_same_history
from tests.helpers.toys import assert_same_weights
from tests.helpers.toys import numpy_weights
from tests.helpers.toys import toy_data
from tests.helpers.toys import toy_distiller


def pair(first_compile=None, second_compile=None, create=C2KD):
    """Two distillers with equal weights."""
    first = toy_distiller(create(), compile=first_compile or {})
    second = toy_distiller(create(), compile=second_compile or {})
    second.set_weights(first.get_weights())
    return first, second


def fit(distiller, **kwargs):
    inputs, labels = toy_data(32)
    return distiller.fit(
        inputs, labels, batch_size=16, shuffle=False, verbose=0, **kwargs
    ).history


@pytest.mark.slow
def test_class_weight_is_sample_weight():
    inputs, labels = toy_data(32)
    by_class = {0: 0.5, 1: 1.0, 2: 2.0, 3: 0.0}
    by_sample = np.array([by_class[label] for label in labels], "float32")
    first, second = pair()
    assert_same_history(
        fit(first, class_weight=by_class),
        fit(second, sample_weight=by_sample),
    )
    assert_same_weights(first, second, tolerance=1e-6)


@pytest.mark.slow
def test_gradient_accumulation_updates_every_second_step():
    distiller = toy_distiller(
        C2KD(),
        compile={
            "optimizer": keras.optimizers.SGD(
                0.05, gradient_accumulation_steps=2
            )
        },
    )
    inputs, labels = toy_data(16)
    start = numpy_weights(distiller.student)[0]
    distiller.train_on_batch(inputs, labels)
    np.testing.assert_array_equal(numpy_weights(distiller.student)[0], start)
    distiller.train_on_batch(inputs, labels)
    assert not np.array_equal(numpy_weights(distiller.student)[0], start)


@pytest.mark.slow
def test_moving_averages_of_the_weights_are_kept_and_swapped_in():
    first, second = pair(
        {
            "optimizer": keras.optimizers.SGD(
                0.05, use_ema=True, ema_momentum=0.5
            )
        },
        {"optimizer": keras.optimizers.SGD(0.05)},
    )
    inputs, labels = toy_data(32)
    kernels = []
    for rows in (slice(16), slice(16, 32)):
        batch = {key: value[rows] for key, value in inputs.items()}
        second.train_on_batch(batch, labels[rows])
        kernels.append(numpy_weights(second.student)[0])
    fit(first)  # Keras puts the averages in at the end of `fit`.
    np.testing.assert_allclose(
        numpy_weights(first.student)[0],
        0.5 * kernels[0] + 0.5 * kernels[1],
        atol=1e-5,
    )


def test_eager_and_compiled_steps_agree():
    first, second = pair({"run_eagerly": True}, {"run_eagerly": False})
    assert_same_history(fit(first), fit(second))
    assert_same_weights(first, second, tolerance=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(
    keras.backend.backend() == "torch",
    reason="torch.compile of a Keras step recompiles for minutes",
)
@pytest.mark.parametrize("create", [C2KD, lambda: DLB(16)], ids=["c2kd", "dlb"])
def test_jit_compile_gives_the_same_weights(create):
    """Also of DLB, which keeps state."""
    first, second = pair({"jit_compile": True}, {"jit_compile": False}, create)
    assert first.jit_compile and not second.jit_compile
    assert_same_history(fit(first), fit(second))
    assert_same_weights(first, second, tolerance=1e-4)


def test_a_compiled_step_is_traced_once(monkeypatch):
    """All variables are there before; PyTorch runs every step."""
    distiller, calls = toy_distiller(C2KD()), []
    step = distiller.train_step

    def counted(*arguments):
        calls.append(None)
        return step(*arguments)

    monkeypatch.setattr(distiller, "train_step", counted)
    fit(distiller, epochs=2)
    # Two batches an epoch.
    assert len(calls) == (4 if keras.backend.backend() == "torch" else 1)


@pytest.mark.slow
def test_two_optimizers_step_their_own_side_despite_equal_names():
    distiller = toy_distiller(
        C2KD(),
        compile={
            "optimizer": keras.optimizers.SGD(0.05),
            "teacher_optimizer": keras.optimizers.SGD(0.0),
        },
    )
    paths = [v.path for v in distiller.trainable_variables]
    assert len(set(paths)) < len(paths)  # The trap that is meant.
    trainable = {id(v) for v in distiller.trainable_variables}

    def values(layer):
        return [
            keras.ops.convert_to_numpy(v)
            for v in layer.weights
            if id(v) in trainable
        ]

    method = distiller.method
    roles = {
        "fixed": [distiller.teacher, method.teacher_proxy],
        "moving": [distiller.student, method.student_proxy],
    }
    before = {
        name: [v for layer in layers for v in values(layer)]
        for name, layers in roles.items()
    }
    fit(distiller)
    after = {
        name: [v for layer in layers for v in values(layer)]
        for name, layers in roles.items()
    }
    for old, new in zip(before["fixed"], after["fixed"]):
        np.testing.assert_array_equal(old, new)
    for old, new in zip(before["moving"], after["moving"]):
        assert not np.array_equal(old, new)


@pytest.mark.slow
def test_one_optimizer_equals_two_of_the_same_kind():
    first, second = pair(
        {"optimizer": keras.optimizers.SGD(0.05, momentum=0.9)},
        {
            "optimizer": keras.optimizers.SGD(0.05, momentum=0.9),
            "teacher_optimizer": keras.optimizers.SGD(0.05, momentum=0.9),
        },
    )
    assert_same_history(fit(first, epochs=2), fit(second, epochs=2))
    assert_same_weights(first, second, tolerance=1e-6)


def test_float64_trains_in_float64():
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    inputs, labels = toy_data(16)
    inputs = {key: value.astype("float64") for key, value in inputs.items()}
    if keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_enable_x64", True)
    try:
        distiller = toy_distiller(C2KD())
        outputs = distiller.compute_outputs(inputs)
        loss = distiller.compute_loss(inputs, labels, outputs)
        assert keras.backend.standardize_dtype(loss.dtype) == "float64"
    finally:
        if keras.backend.backend() == "jax":
            jax.config.update("jax_enable_x64", False)
