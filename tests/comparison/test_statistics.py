import math

import numpy as np
import pytest
from scipy import stats

from keras_c2kd.comparison.statistics import choose_best
from keras_c2kd.comparison.statistics import paired_difference
from keras_c2kd.comparison.statistics import summarize

pytestmark = pytest.mark.backend_free


def test_hand_computed():
    found = summarize([1.0, 2.0, 3.0])
    assert found.mean == 2.0
    assert found.std == 1.0
    # t(0.975, 2) = 4.302653, over the square root of 3.
    np.testing.assert_allclose(found.high - 2.0, 4.302653 / 3**0.5, rtol=1e-6)
    np.testing.assert_allclose(2.0 - found.low, 4.302653 / 3**0.5, rtol=1e-6)


def test_as_scipy(rng=np.random.default_rng(0)):
    values = rng.normal(size=7)
    found = summarize(values, confidence=0.9)
    expected = stats.t.interval(
        0.9, 6, loc=values.mean(), scale=stats.sem(values)
    )
    np.testing.assert_allclose((found.low, found.high), expected)


@pytest.mark.parametrize("values", [[0.5], [0.5, 0.6], [0.5, 0.5, 0.5]])
def test_no_interval_where_nothing_can_be_told(values):
    found = summarize(values)
    assert math.isnan(found.low) and math.isnan(found.high)
    assert not found.is_above_zero
    assert not found.is_below_zero


def test_nothing_is_no_mean():
    with pytest.raises(ValueError, match="Received none"):
        summarize([])


def test_differences_are_paired_by_seed():
    found = paired_difference({0: 1.0, 2: 5.0, 3: 7.0}, {0: 0.5, 2: 4.0, 9: 1})
    assert found.count == 2
    assert found.mean == 0.75
    assert paired_difference({0: 1.0}, {1: 1.0}) is None


def test_two_seeds_have_no_winner():
    scores = {"alone": {0: 0.5, 1: 0.5}, "kd": {0: 0.9, 1: 0.9}}
    assert choose_best(scores, "alone") == "alone"


def test_equal_differences_have_no_winner():
    alone = {0: 0.5, 1: 0.25, 2: 0.75}
    scores = {"alone": alone, "kd": {s: x + 0.125 for s, x in alone.items()}}
    assert choose_best(scores, "alone") == "alone"


def test_the_best_of_those_that_are_told_apart():
    rng = np.random.default_rng(1)
    alone = dict(enumerate(rng.normal(0.5, 0.01, 5)))
    small = {s: x + 0.05 + 0.001 * s for s, x in alone.items()}
    large = {s: x + 0.20 + 0.001 * s for s, x in alone.items()}
    noisy = {s: x + 0.5 * (s == 0) + 0.3 for s, x in alone.items()}
    noisy[1] = alone[1] - 0.9
    scores = {"alone": alone, "small": small, "large": large, "noisy": noisy}
    assert choose_best(scores, "alone") == "large"


def simulated(rng, seeds, samples, gain):
    """Test scores of one comparison whose truth is known.

    A seed draws a network: its accuracy. The test part is a finite sample of
    the pairs, the same for all methods.
    """
    truth = rng.normal(0.7, 0.03, seeds)
    found = {}
    methods = {"alone": 0.0, "gains": gain, "null": 0.0, "null too": 0.0}
    for name, more in methods.items():
        accuracy = truth + more + rng.normal(0, 0.01, seeds)
        right = rng.binomial(samples, np.clip(accuracy, 0, 1)) / samples
        found[name] = dict(enumerate(right.tolist()))
    return found


@pytest.mark.parametrize("seeds", [3, 5])
def test_intervals_cover_the_truth_and_null_methods_do_not_win(seeds):
    rng = np.random.default_rng(3)
    gain, covered, null_wins, number = 0.05, 0, 0, 1000
    for _ in range(number):
        scores = simulated(rng, seeds, 2000, gain)
        interval = paired_difference(scores["gains"], scores["alone"])
        covered += interval.low <= gain <= interval.high
        del scores["gains"]
        null_wins += choose_best(scores, "alone") != "alone"
    assert 0.93 <= covered / number <= 0.97
    assert null_wins / number <= 0.05


def test_best_finds_a_gain_that_is_there():
    rng = np.random.default_rng(4)
    found = [
        choose_best(simulated(rng, 5, 2000, 0.1), "alone") for _ in range(200)
    ]
    assert found.count("gains") >= 190


def test_rounding_of_float32_is_no_spread():
    one, other = {0: 0.9, 1: 0.8, 2: 0.7}, {0: 0.8, 1: 0.7, 2: 0.6}
    rounded = {seed: float(np.float32(score)) for seed, score in one.items()}
    found = paired_difference(rounded, other)
    assert 0 < found.std < 1e-6
    assert math.isnan(found.low) and not found.is_above_zero
