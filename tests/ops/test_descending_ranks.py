import keras
import numpy as np
import pytest

from keras_c2kd.ops import descending_ranks
from tests.helpers.evaluate import evaluate
from tests.helpers.gradients import gradients
from tests.helpers.references import random_logits


def ranks(scores, break_ties=False, **kwargs):
    return evaluate(
        lambda scores: descending_ranks(scores, break_ties),
        np.asarray(scores),
        **kwargs,
    )


def counted(scores, break_ties):
    """Sorting one row after another, with Python's stable sort."""
    rows = []
    for row in scores.reshape(-1, scores.shape[-1]):
        order = sorted(range(len(row)), key=lambda index: -row[index])
        places = np.empty(len(row), int)
        places[order] = np.arange(1, len(row) + 1)
        if not break_ties:
            places = np.asarray([places[row == own].min() for own in row])
        rows.append(places)
    return np.reshape(rows, scores.shape)


@pytest.mark.parametrize(
    ("scores", "shared", "broken"),
    [
        ([0.3, 0.1, 0.6], [2, 3, 1], [2, 3, 1]),
        # Votes: classes without one share a rank, and none follows it.
        ([1, 0, 3, 0, 1, 0], [2, 4, 1, 4, 2, 4], [2, 4, 1, 5, 3, 6]),
        ([5.0, 5.0, 5.0], [1, 1, 1], [1, 2, 3]),
        ([7.0], [1], [1]),
        ([-1e4, 1e4, -1e4], [2, 1, 2], [2, 1, 3]),
        ([-np.inf, 0.0, np.inf], [3, 2, 1], [3, 2, 1]),
    ],
)
def test_by_hand(scores, shared, broken):
    np.testing.assert_array_equal(ranks([scores]), [shared])
    np.testing.assert_array_equal(ranks([scores], True), [broken])


@pytest.mark.parametrize("shape", [(5, 8), (1, 2), (2, 3, 4, 6), (7,)])
@pytest.mark.parametrize("break_ties", [False, True])
@pytest.mark.parametrize("ties", [False, True])
def test_equals_the_reference(shape, break_ties, ties):
    scores = random_logits(*shape)
    if ties:
        scores = np.round(scores)
    actual = ranks(scores, break_ties)
    assert actual.shape == shape
    assert actual.dtype == "int32"
    np.testing.assert_array_equal(actual, counted(scores, break_ties))


def test_follows_the_classes():
    """Reordered classes have reordered ranks; a growing map changes none."""
    scores = random_logits(6, 7)
    order = np.random.default_rng(0).permutation(7)
    np.testing.assert_array_equal(
        ranks(scores[:, order]), ranks(scores)[:, order]
    )
    np.testing.assert_array_equal(ranks(3.0 * scores - 1.0), ranks(scores))
    np.testing.assert_array_equal(
        np.sort(ranks(scores, True)), [range(1, 8)] * 6
    )


@pytest.mark.slow
@pytest.mark.parametrize("break_ties", [False, True])
def test_unknown_batch_size(break_ties):
    scores = np.round(random_logits(5, 6))
    np.testing.assert_array_equal(
        ranks(scores, break_ties, unknown_batch_size=True),
        ranks(scores, break_ties),
    )


def test_has_no_gradient():
    def function(scores):
        found = keras.ops.cast(descending_ranks(scores), scores.dtype)
        return keras.ops.sum(found * keras.ops.stop_gradient(scores) + scores)

    scores = random_logits(3, 4)
    np.testing.assert_array_equal(
        gradients(function, scores)[0], np.ones((3, 4))
    )
