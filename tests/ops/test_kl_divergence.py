import keras
import ml_dtypes
import numpy as np
import pytest

from keras_c2kd.ops import kl_divergence
from tests.helpers import references
from tests.helpers.evaluate import evaluate
from tests.helpers.gradients import gradients
from tests.helpers.references import random_logits

pytest_plugins = ["tests.helpers.double_precision"]


def divergence(target, learner, temperature=1.0):
    return evaluate(
        lambda *logits: kl_divergence(*logits, temperature), target, learner
    )


@pytest.mark.parametrize(
    ("target", "learner", "expected"),
    [
        ([1 / 2, 1 / 2], [1 / 2, 1 / 2], 0.0),
        ([1 / 2, 1 / 2], [1 / 4, 3 / 4], np.log(4 / 3) / 2),
        ([1 / 4, 3 / 4], [1 / 2, 1 / 2], np.log(27 / 16) / 4),
        ([1 / 2, 1 / 4, 1 / 4], [1 / 4, 1 / 2, 1 / 4], np.log(2) / 4),
    ],
)
def test_by_hand(target, learner, expected):
    # The last parts carry a common shift, which a softmax does not see.
    actual = divergence([np.log(target) + 3.0], [np.log(learner) - 5.0])
    np.testing.assert_allclose(actual, [expected], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(6, 5), (1, 2), (2, 3, 4, 7), (9,)])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_equals_the_reference(shape, temperature):
    target, learner = random_logits(*shape), random_logits(*shape, seed=1)
    actual = divergence(target, learner, temperature)
    assert actual.shape == shape[:-1]
    np.testing.assert_allclose(
        actual, references.kl(target, learner, temperature), rtol=1e-4
    )


def test_is_never_negative_and_zero_at_equality():
    target, learner = random_logits(100, 6), random_logits(100, 6, seed=1)
    assert (divergence(target, learner) > 0).all()
    near = target + 1e-3 * learner
    assert (divergence(target, near) > -1e-6).all()
    np.testing.assert_array_equal(divergence(target, target), np.zeros(100))


def test_a_shift_of_the_logits_changes_nothing():
    target, learner = random_logits(8, 6), random_logits(8, 6, seed=1)
    np.testing.assert_allclose(
        divergence(target + 3.0, learner - 20.0),
        divergence(target, learner),
        rtol=1e-4,
    )


def test_temperature_divides_the_logits():
    target, learner = random_logits(8, 6), random_logits(8, 6, seed=1)
    np.testing.assert_allclose(
        divergence(4.0 * target, 4.0 * learner, 4.0),
        divergence(target, learner),
        rtol=1e-6,
    )


@pytest.mark.parametrize(
    ("target", "learner"),
    [
        ([1e4, 0.0, -1e4], [-1e4, 0.0, 1e4]),
        ([1e4, 0.0, -1e4], [1e4, 0.0, -1e4]),
        ([1e4, 1e4, 1e4], [0.0, 1.0, 2.0]),
        ([0.0, 1.0, 2.0], [1e4, 0.0, -1e4]),
        ([3.0, 3.0, 3.0], [-7.0, -7.0, -7.0]),
    ],
)
def test_huge_and_constant_logits(target, learner):
    target, learner = np.asarray([target]), np.asarray([learner])
    np.testing.assert_allclose(
        divergence(target, learner),
        references.kl(target, learner),
        rtol=1e-6,
        atol=1e-6,
    )
    for gradient in gradients(
        lambda *logits: keras.ops.sum(kl_divergence(*logits)), target, learner
    ):
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_logits_are_compared_in_full(dtype):
    target, learner = (
        random_logits(4, 300, seed=seed).astype(dtype) for seed in (1, 2)
    )
    actual = evaluate(kl_divergence, target, learner)
    assert actual.dtype == "float32"
    expected = references.kl(target.astype(float), learner.astype(float))
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_gradients(double_precision, temperature):
    target, learner = random_logits(4, 5), random_logits(4, 5, seed=1)
    to_target, to_learner = gradients(
        lambda *logits: keras.ops.sum(kl_divergence(*logits, temperature)),
        target,
        learner,
    )
    p = references.softmax(target / temperature)
    q = references.softmax(learner / temperature)
    np.testing.assert_allclose(to_learner, (q - p) / temperature, atol=1e-12)
    expected = references.numerical_gradient(
        lambda x: references.kl(x, learner, temperature).sum(), target
    )
    np.testing.assert_allclose(to_target, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("shape", [(3, 5), (2, 8, 8, 40)])
def test_compiled_with_unknown_batch_size(shape):
    target, learner = random_logits(*shape), random_logits(*shape, seed=1)
    actual = evaluate(kl_divergence, target, learner, unknown_batch_size=True)
    np.testing.assert_allclose(
        actual, references.kl(target, learner), rtol=1e-4
    )
