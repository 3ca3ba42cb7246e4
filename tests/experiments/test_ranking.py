"""Places, against intervals computed by hand."""

import math

import pytest

from keras_c2kd.experiments.ranking import Place
from keras_c2kd.experiments.ranking import paired_difference
from keras_c2kd.experiments.ranking import rank_methods

pytestmark = pytest.mark.backend_free

# Student's t, 2 degrees of freedom, 97.5% (printed tables).
QUANTILE = 4.3026527


def by_seed(*values):
    return dict(enumerate(values))


def test_a_difference_is_of_common_seeds():
    found = paired_difference(
        {0: 5.0, 1: 7.0, 9: 1.0}, {1: 4.0, 0: 4.0, 2: 0.0}
    )
    # Of the seeds 0 and 1: 1 and 3.
    assert (found.mean, found.count) == (2.0, 2)
    assert paired_difference({0: 1.0}, {1: 1.0}) is None


def test_best_and_second_alone():
    # Differences between neighbours: 0.1 for each seed.
    places = rank_methods(
        {
            "c": by_seed(0.70, 0.71, 0.72),
            "a": by_seed(0.90, 0.91, 0.92),
            "b": by_seed(0.80, 0.81, 0.82),
            "d": by_seed(0.60, 0.61, 0.62),
        }
    )
    assert places == {"a": Place(1, False), "b": Place(2, False)}
    assert [str(place) for place in places.values()] == ["1", "2"]


def around(mean):
    """Three differences of a mean with a deviation of exactly 1."""
    return by_seed(mean - 1, mean, mean + 1)


@pytest.mark.parametrize("is_apart", [True, False])
def test_the_interval_decides(is_apart):
    """Its half width is t / sqrt(3), for a deviation of 1."""
    half = QUANTILE / math.sqrt(3)
    mean = half + (1e-4 if is_apart else -1e-4)
    zero = by_seed(0.0, 0.0, 0.0)
    places = rank_methods({"a": around(mean), "b": zero})
    alone = {"a": Place(1, False), "b": Place(2, False)}
    assert places == (alone if is_apart else {})


def test_no_winner_inside_the_interval():
    """The second and third are as good as the best, as far as one can tell."""
    places = rank_methods(
        {
            "a": by_seed(0.90, 0.80, 0.85),
            "b": by_seed(0.80, 0.90, 0.84),
            "c": by_seed(0.85, 0.84, 0.83),
            "d": by_seed(0.10, 0.11, 0.10),
            "e": by_seed(0.11, 0.10, 0.10),
        }
    )
    assert places == {
        "a": Place(1, True),
        "b": Place(1, True),
        "c": Place(1, True),
        "d": Place(2, True),
        "e": Place(2, True),
    }
    assert str(places["a"]) == "1="


def test_pairing_tells_apart_what_means_do_not():
    """The spread over the seeds is ten times the difference."""
    places = rank_methods(
        {
            "a": by_seed(0.51, 0.71, 0.92, 0.31),
            "b": by_seed(0.50, 0.70, 0.90, 0.30),
        }
    )
    assert places["a"] == Place(1, False)


@pytest.mark.parametrize(
    "scores",
    [
        {},
        {"a": {}},
        {"a": by_seed(0.9, 0.8, 0.7)},
        # One seed, and two with the same difference by chance.
        {"a": by_seed(0.9), "b": by_seed(0.1)},
        {"a": by_seed(0.9, 0.8), "b": by_seed(0.2, 0.1)},
        # No common seeds.
        {"a": by_seed(0.9, 0.8, 0.7), "b": {7: 0.1, 8: 0.1, 9: 0.1}},
        # Equal.
        {"a": by_seed(0.9, 0.8, 0.7), "b": by_seed(0.9, 0.8, 0.7)},
    ],
)
def test_where_nothing_can_be_told_apart(scores):
    assert rank_methods(scores) == {}


def test_methods_that_were_not_run_do_not_count():
    places = rank_methods(
        {
            "a": by_seed(0.9, 0.8, 0.7),
            "b": {},
            "c": by_seed(0.2, 0.1, 0.0),
        }
    )
    assert set(places) == {"a", "c"}
