import keras
import numpy as np
import pytest

from keras_c2kd.ops import adaptive_average_pool
from keras_c2kd.ops import as_map
from keras_c2kd.ops import global_average_pool
from keras_c2kd.ops import map_shape
from keras_c2kd.ops import resize_bilinear
from keras_c2kd.ops import resize_nearest
from keras_c2kd.ops import safe_divide
from keras_c2kd.ops import target_log_probabilities
from tests.helpers import references
from tests.helpers.evaluate import evaluate
from tests.helpers.gradients import gradients
from tests.helpers.references import random_labels
from tests.helpers.references import random_logits
from tests.losses.test_feature_losses import pooled


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((2, 5), (2, 1, 1, 5)),
        ((2, 3, 5), (2, 3, 1, 5)),
        ((2, 3, 4, 5), (2, 3, 4, 5)),
        ((2, 6, 3, 4, 5), (2, 3, 4, 5)),
    ],
)
def test_features_of_any_rank_are_maps(shape, expected):
    features = random_logits(*shape)
    maps = evaluate(as_map, features)
    assert maps.shape == map_shape(shape) == expected
    if len(shape) == 5:
        features = features.mean(axis=1)
    np.testing.assert_allclose(maps.ravel(), features.ravel(), atol=1e-6)
    axes = tuple(range(1, features.ndim - 1))
    np.testing.assert_allclose(
        evaluate(global_average_pool, features),
        features.mean(axis=axes) if axes else features,
        atol=1e-6,
    )


@pytest.mark.parametrize("shape", [(2,), (1, 2, 3, 4, 5, 6)])
def test_other_ranks_are_refused(shape):
    with pytest.raises(ValueError, match="Tap another layer"):
        as_map(np.zeros(shape, "float32"))


SIZES = [(1, 1), (2, 3), (3, 8), (6, 5), (7, 4)]


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("old", SIZES)
def test_resizing(old, size):
    maps = random_logits(2, *old, 3)
    nearest = evaluate(lambda m: resize_nearest(m, size), maps)
    bilinear = evaluate(lambda m: resize_bilinear(m, size), maps)
    bins = evaluate(lambda m: adaptive_average_pool(m, size), maps)
    np.testing.assert_allclose(bins, pooled(maps, size), atol=1e-5)
    for i, j in np.ndindex(size):
        source = maps[:, i * old[0] // size[0], j * old[1] // size[1]]
        np.testing.assert_allclose(nearest[:, i, j], source, atol=1e-6)
        y, x = (
            k * (o - 1) / max(n - 1, 1) for k, o, n in zip((i, j), old, size)
        )
        top, left = int(y), int(x)
        low, right = min(top + 1, old[0] - 1), min(left + 1, old[1] - 1)
        dy, dx = y - top, x - left
        expected = (1 - dy) * (
            (1 - dx) * maps[:, top, left] + dx * maps[:, top, right]
        ) + dy * ((1 - dx) * maps[:, low, left] + dx * maps[:, low, right])
        np.testing.assert_allclose(bilinear[:, i, j], expected, atol=1e-5)


def test_division_by_zero_is_zero_with_its_gradient():
    above, below = np.asarray([1.0, 2.0, 0.0]), np.asarray([0.0, 4.0, 0.0])
    actual = evaluate(safe_divide, above, below)
    np.testing.assert_allclose(actual, [0.0, 0.5, 0.0])
    up, down = gradients(
        lambda a, b: keras.ops.sum(safe_divide(a, b)), above, below
    )
    np.testing.assert_allclose(up, [0.0, 0.25, 0.0])
    np.testing.assert_allclose(down, [0.0, -0.125, 0.0])


def test_target_log_probabilities():
    logits, labels = random_logits(4, 5), random_labels(4, num_classes=5)
    for temperature in (1.0, 3.0):
        actual = evaluate(
            lambda z, y, t=temperature: target_log_probabilities(z, y, t),
            logits,
            labels,
        )
        p = references.softmax(logits / temperature)
        p = (p * references.one_hot(labels, 5)).sum(-1)
        expected = np.log(np.stack([p, 1 - p], axis=-1))
        np.testing.assert_allclose(actual, expected, atol=1e-5)
    # 1 - p underflows as a probability, not as a logarithm.
    sure = np.asarray([[1e4, 0.0, 0.0]])
    actual = evaluate(target_log_probabilities, sure, np.asarray([0]))
    np.testing.assert_allclose(actual, [[0.0, np.log(2) - 1e4]], rtol=1e-6)
