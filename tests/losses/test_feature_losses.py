import keras
import numpy as np
import pytest

from keras_c2kd.losses import FeatureMeanSquaredError
from keras_c2kd.losses import HierarchicalContextLoss
from tests.helpers import references
from tests.helpers.evaluate import evaluate
from tests.helpers.gradients import gradients
from tests.helpers.references import random_logits

pytest_plugins = ["tests.helpers.double_precision"]


def pooled(maps, size):
    """Average over bins from floor(i h / n) to ceil((i + 1) h / n)."""
    _, height, width, _ = maps.shape
    rows = []
    for i in range(size[0]):
        top, bottom = i * height // size[0], -(-(i + 1) * height // size[0])
        row = []
        for j in range(size[1]):
            left, right = j * width // size[1], -(-(j + 1) * width // size[1])
            row.append(maps[:, top:bottom, left:right].mean(axis=(1, 2)))
        rows.append(np.stack(row, axis=1))
    return np.stack(rows, axis=1)


def hierarchical(target, learner):
    """Square maps, as the authors' code has it, for each sample."""
    height = target.shape[1]
    loss = ((target - learner) ** 2).mean(axis=(1, 2, 3))
    weight = total = 1.0
    for level in (4, 2, 1):
        if level >= height:
            continue
        weight /= 2
        total += weight
        difference = pooled(target, (level, level)) - pooled(
            learner, (level, level)
        )
        loss = loss + weight * (difference**2).mean(axis=(1, 2, 3))
    return loss / total


@pytest.mark.parametrize("size", [1, 2, 4, 6, 7])
def test_hierarchical_context_equals_the_reference(size):
    target = random_logits(3, size, size, 2)
    learner = random_logits(3, size, size, 2, seed=1)
    weights = np.asarray([0.5, 0.0, 2.0], "float32")
    loss = HierarchicalContextLoss()
    actual = evaluate(
        lambda t, s: loss(t, s, sample_weight=weights), target, learner
    )
    expected = (weights * hierarchical(target, learner)).mean()
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_maps_that_are_not_square_and_single_places():
    # 6 x 1: pooled to 4 x 1, 2 x 1 and 1 x 1.
    target, learner = (random_logits(2, 6, 1, 3, seed=s) for s in (0, 1))
    expected, total = ((target - learner) ** 2).mean(), 1.0
    for weight, level in ((1 / 2, 4), (1 / 4, 2), (1 / 8, 1)):
        one, other = (pooled(maps, (level, 1)) for maps in (target, learner))
        expected += weight * ((one - other) ** 2).mean()
        total += weight
    actual = evaluate(HierarchicalContextLoss(), target, learner)
    np.testing.assert_allclose(actual, expected / total, rtol=1e-5)
    single = random_logits(2, 1, 1, 3), random_logits(2, 1, 1, 3, seed=1)
    actual = evaluate(HierarchicalContextLoss(), *single)
    np.testing.assert_allclose(
        actual, evaluate(FeatureMeanSquaredError(), *single), rtol=1e-6
    )


@pytest.mark.parametrize(
    "create", [FeatureMeanSquaredError, HierarchicalContextLoss]
)
def test_gradients_and_config(create, double_precision):
    target, learner = (random_logits(2, 3, 3, 2, seed=s) for s in (0, 1))
    held, moved = gradients(create(), target, learner)
    assert not held.any()
    reference = hierarchical
    if create is FeatureMeanSquaredError:

        def reference(target, learner):
            return (target - learner) ** 2

    expected = references.numerical_gradient(
        lambda learner: reference(target, learner).mean(), learner
    )
    np.testing.assert_allclose(moved, expected, atol=1e-7)
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(create())
    )
    assert copy.get_config() == create().get_config()


def test_one_number_a_sample():
    loss = FeatureMeanSquaredError(reduction=None)
    rows = evaluate(loss, np.zeros((2, 2, 2, 1)), 3.0 * np.ones((2, 2, 2, 1)))
    np.testing.assert_allclose(rows, [9.0, 9.0])
