import keras
import numpy as np
import pytest

from keras_c2kd.analysis import MiniBatchCKA
from keras_c2kd.ops import linear_cka


def related(samples, seed=0):
    """Two representations of unequal width that share some of their parts."""
    random = np.random.default_rng(seed)
    first = random.normal(size=(samples, 6))
    second = random.normal(size=(samples, 4))
    second[:, :2] += 2.0 * first[:, :2]
    return first.astype("float32"), second.astype("float32")


def unbiased_hsic(first, second):
    """Song et al., 2012, Eq. 5, from Gram matrices without diagonal."""
    count = len(first)
    one, other = first @ first.T, second @ second.T
    np.fill_diagonal(one, 0.0)
    np.fill_diagonal(other, 0.0)
    total = np.trace(one @ other)
    total += one.sum() * other.sum() / ((count - 1) * (count - 2))
    total -= 2 * (one @ other).sum() / (count - 2)
    return total / (count * (count - 3))


@pytest.mark.parametrize("debiased", [True, False])
def test_one_batch_is_the_full_form(debiased):
    first, second = related(32)
    metric = MiniBatchCKA(debiased)
    metric.update_state(first, second)
    expected = linear_cka(first, second, debiased)
    np.testing.assert_allclose(
        float(metric.result()), float(expected), rtol=1e-5
    )


def test_batches_add_up_the_terms():
    metric, sums = MiniBatchCKA(), np.zeros(3)
    for seed in range(3):
        first, second = related(16, seed)
        metric.update_state(first, second)
        wide = first.astype("float64"), second.astype("float64")
        sums += [
            unbiased_hsic(*wide),
            unbiased_hsic(wide[0], wide[0]),
            unbiased_hsic(wide[1], wide[1]),
        ]
    expected = sums[0] / np.sqrt(sums[1] * sums[2])
    np.testing.assert_allclose(float(metric.result()), expected, rtol=1e-5)
    metric.reset_state()
    assert float(metric.result()) == 0.0


def test_small_batches_agree_with_the_whole_when_debiased():
    first, second = related(2000)
    whole = float(linear_cka(first, second))
    metric = MiniBatchCKA()
    for start in range(0, 2000, 20):
        part = slice(start, start + 20)
        metric.update_state(first[part], second[part])
    assert abs(float(metric.result()) - whole) < 0.05


def test_bad_batches_are_refused():
    first, second = related(3)
    with pytest.raises(ValueError, match="at least 4.*3 and 3 samples"):
        MiniBatchCKA().update_state(first, second)
    first, second = related(8)
    with pytest.raises(ValueError, match="no weight a sample"):
        MiniBatchCKA().update_state(first, second, sample_weight=np.ones(8))
    with pytest.raises(ValueError, match="8 and 7 samples"):
        MiniBatchCKA().update_state(first, second[:7])


def test_config():
    metric = MiniBatchCKA(debiased=False)
    config = keras.saving.serialize_keras_object(metric.get_config())
    assert MiniBatchCKA.from_config(config).debiased is False
