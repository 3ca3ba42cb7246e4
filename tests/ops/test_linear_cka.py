import numpy as np
import pytest

from keras_c2kd.ops import linear_cka
from tests.helpers.evaluate import evaluate


def features(samples, seed=0):
    random = np.random.default_rng(seed)
    first = random.normal(size=(samples, 8))
    second = random.normal(size=(samples, 5))
    second[:, :3] += first[:, :3]
    return first, second


def cka(first, second, debiased=False):
    return evaluate(lambda x, y: linear_cka(x, y, debiased), first, second)


def test_equals_the_paper_by_features_and_by_gram_matrices():
    first, second = features(20)
    x, y = first - first.mean(0), second - second.mean(0)
    by_features = np.linalg.norm(y.T @ x) ** 2 / (
        np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    )
    k, l = x @ x.T, y @ y.T  # noqa: E741
    by_gram = (k * l).sum() / np.sqrt((k * k).sum() * (l * l).sum())
    np.testing.assert_allclose(by_features, by_gram)
    np.testing.assert_allclose(cka(first, second), by_features, rtol=1e-5)


@pytest.mark.parametrize("debiased", [False, True])
def test_rotations_shifts_and_scales_change_nothing(debiased):
    first, second = features(30)
    rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(8, 8)))
    np.testing.assert_allclose(
        cka(3.0 * first @ rotation + 100.0, second, debiased),
        cka(first, second, debiased),
        rtol=1e-4,
    )
    np.testing.assert_allclose(cka(first, first, debiased), 1.0, rtol=1e-5)
    # A map is flattened.
    np.testing.assert_allclose(
        cka(first.reshape(30, 2, 2, 2), second, debiased),
        cka(first, second, debiased),
        rtol=1e-6,
    )


def test_unrelated_features_in_many_dimensions():
    random = np.random.default_rng(0)
    first, second = random.normal(size=(2, 20, 500))
    assert cka(first, second) > 0.9  # The bias, whatever the networks are.
    assert abs(cka(first, second, debiased=True)) < 0.2


def test_a_constant_representation_is_like_nothing():
    first, _ = features(10)
    for debiased in (False, True):
        assert cka(first, np.full((10, 3), 1e4), debiased) == 0.0


def test_too_few_samples():
    first, second = features(3)
    cka(first, second)
    with pytest.raises(ValueError, match="at least 4.*debiased.*3 and 3"):
        cka(first, second, debiased=True)
    with pytest.raises(ValueError, match="at least 2"):
        cka(first[:1], second[:1])
