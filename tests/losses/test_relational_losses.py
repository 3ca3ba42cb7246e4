"""DIST, RKD and CIRKD's relation against loops over their definitions."""

import keras
import numpy as np
import pytest

from keras_c2kd.losses import CrossImageRelation
from keras_c2kd.losses import DISTLoss
from keras_c2kd.losses import RelationalAngle
from keras_c2kd.losses import RelationalDistance
from tests.helpers import references
from tests.helpers.evaluate import evaluate
from tests.helpers.gradients import gradients
from tests.helpers.references import random_logits

pytest_plugins = ["tests.helpers.double_precision"]


def dist(target, learner, temperature=1.0):
    """Both relations with `rho = <a, b> / (|a||b| + 1e-8)`, by loops."""

    def rho(a, b):
        a, b = a - a.mean(), b - b.mean()
        return (a @ b) / (np.linalg.norm(a) * np.linalg.norm(b) + 1e-8)

    p, q = (
        references.softmax(x.reshape(-1, x.shape[-1]) / temperature)
        for x in (target, learner)
    )
    inter = 1 - np.mean([rho(a, b) for a, b in zip(p, q)])
    intra = 1 - np.mean([rho(a, b) for a, b in zip(p.T, q.T)])
    return temperature**2 * (inter + intra)


def huber(x):
    return np.where(np.abs(x) < 1, 0.5 * x**2, np.abs(x) - 0.5)


def distance(target, learner):
    def relative(rows):
        table = np.asarray(
            [[np.linalg.norm(a - b) for b in rows] for a in rows]
        )
        return table / table[table > 0].mean()

    return huber(relative(learner) - relative(target)).mean()


def angle(target, learner):
    def cosines(rows):
        count = len(rows)
        table = np.zeros((count,) * 3)
        for i, j, k in np.ndindex(table.shape):
            a, b = rows[j] - rows[i], rows[k] - rows[i]
            lengths = np.linalg.norm(a) * np.linalg.norm(b)
            table[i, j, k] = a @ b / lengths if lengths > 0 else 0.0
        return table

    return huber(cosines(learner) - cosines(target)).mean()


def cross_image(target, learner, temperature=0.1):
    def similarities(first, second):
        a, b = (
            m.reshape(-1, m.shape[-1])
            / np.linalg.norm(m.reshape(-1, m.shape[-1]), axis=1)[:, None]
            for m in (first, second)
        )
        return a @ b.T / temperature

    return np.mean(
        [
            references.kl(
                similarities(target[i], target[j]),
                similarities(learner[i], learner[j]),
            ).mean()
            for i in range(len(target))
            for j in range(len(target))
        ]
    )


CASES = {
    "dist": (DISTLoss, dist, (7, 5)),
    "distance": (RelationalDistance, distance, (6, 4)),
    "angle": (RelationalAngle, angle, (6, 4)),
    "cross_image": (CrossImageRelation, cross_image, (3, 2, 3, 4)),
}
every_case = pytest.mark.parametrize(
    ("create", "reference", "shape"), CASES.values(), ids=CASES
)


@every_case
def test_equals_the_reference(create, reference, shape):
    target, learner = random_logits(*shape), random_logits(*shape, seed=1)
    actual = evaluate(create(), target, learner)
    np.testing.assert_allclose(actual, reference(target, learner), rtol=2e-5)


def test_dist_with_weights_temperature_and_pixels():
    target, learner = (random_logits(2, 3, 4, 5, seed=seed) for seed in (0, 1))
    actual = evaluate(DISTLoss(temperature=4.0), target, learner)
    np.testing.assert_allclose(actual, dist(target, learner, 4.0), rtol=1e-4)
    one, other = (
        evaluate(DISTLoss(*weights), target, learner)
        for weights in ((1.0, 0.0), (0.0, 1.0))
    )
    actual = evaluate(DISTLoss(2.0, 3.0), target, learner)
    np.testing.assert_allclose(actual, 2 * one + 3 * other, rtol=1e-5)


def test_by_hand():
    # Equal ranks, mirrored ranks: correlations 1 and -1 in each row.
    target = np.log([[0.2, 0.3, 0.5], [0.2, 0.3, 0.5]])
    learner = np.log([[0.2, 0.3, 0.5], [8 / 15, 1 / 3, 2 / 15]])
    inter = evaluate(DISTLoss(1.0, 0.0), target, learner)
    rows = np.exp(target), np.exp(learner)
    expected = 1 - (1 + references.pearson(rows[0][1], rows[1][1])) / 2
    np.testing.assert_allclose(inter, expected, atol=1e-5)
    # A line of three points: distances 1, 1, 2 (mean 4/3) against a
    # triangle with equal roles (mean 1).
    line = np.asarray([[0.0, 0], [1, 0], [2, 0]])
    triangle = np.asarray([[0.0, 0], [1, 0], [0.5, np.sqrt(0.75)]])
    expected = 2 * (2 * 0.25**2 / 2 + 0.5**2 / 2) / 9
    actual = evaluate(RelationalDistance(), line, triangle)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)
    # Angles: 60 degrees everywhere against 0, 180, 0 degrees.
    differences = 2 * (0.5 - 1.0) ** 2 / 2 + 2 * (0.5 - 1.0) ** 2 / 2
    differences += 2 * (0.5 + 1.0 - 0.5)
    actual = evaluate(RelationalAngle(), line, triangle)
    np.testing.assert_allclose(actual, differences / 27, rtol=1e-5)


@every_case
def test_gradients(create, reference, shape, double_precision):
    target, learner = random_logits(*shape), random_logits(*shape, seed=1)
    held, moved = gradients(create(), target, learner)
    assert not held.any()
    expected = references.numerical_gradient(
        lambda learner: reference(target, learner), learner
    )
    np.testing.assert_allclose(moved, expected, atol=1e-7)


@every_case
def test_weights_enter_the_relations(create, reference, shape):
    """Weight 0 is absence, and twice the weights are twice the loss."""
    target, learner = random_logits(*shape), random_logits(*shape, seed=1)
    weights = np.ones(shape[0])
    weights[1] = 0.0
    loss = create()

    def value(weights):
        return evaluate(
            lambda t, s, w: loss(t, s, sample_weight=w),
            target,
            learner,
            weights.astype("float32"),
        )

    kept = weights > 0
    expected = weights.mean() * reference(target[kept], learner[kept])
    np.testing.assert_allclose(value(weights), expected, rtol=1e-4)
    np.testing.assert_allclose(value(2 * weights), 2 * expected, rtol=1e-4)
    assert value(0 * weights) == 0.0


@every_case
@pytest.mark.parametrize(
    "case", ["one", "two", "equal", "constant", "huge", "no weight"]
)
def test_edges_are_finite(create, reference, shape, case):
    rows = {"one": 1, "two": 2}.get(case, shape[0])
    scale = {"constant": 0.0, "huge": 1e4}.get(case, 1.0)
    shape = (rows, *shape[1:])
    target, learner = (
        scale * random_logits(*shape, seed=seed) for seed in (0, 1)
    )
    if case == "equal":
        learner = target.copy()
    weights = np.full(rows, 0.0 if case == "no weight" else 1.0, "float32")
    loss = create()

    def function(target, learner):
        return loss(target, learner, sample_weight=weights)

    actual = evaluate(function, target, learner)
    _, gradient = gradients(function, target, learner)
    assert np.isfinite(actual) and np.isfinite(gradient).all()
    if case == "equal":
        np.testing.assert_allclose(actual, 0.0, atol=1e-5)
    if case == "no weight":
        assert actual == 0.0 and not gradient.any()
    if case == "one" and create in (RelationalDistance, RelationalAngle):
        assert actual == 0.0 and not gradient.any()
    if case == "one" and create is DISTLoss:
        intra = evaluate(DISTLoss(0.0, 1.0), target, learner)
        np.testing.assert_allclose(intra, 1.0, atol=1e-6)


def test_what_the_losses_do_not_see():
    random = np.random.default_rng(0)
    target, learner = random_logits(6, 4), random_logits(6, 4, seed=1)
    rotation, _ = np.linalg.qr(random.normal(size=(4, 4)))
    moved = 3.0 * learner @ rotation + 5.0
    for loss in (RelationalDistance(), RelationalAngle()):
        np.testing.assert_allclose(
            evaluate(loss, target, moved),
            evaluate(loss, target, learner),
            rtol=1e-3,
        )
    # DIST: the order of the samples; logits up to a constant a row.
    order = random.permutation(6)
    shifted = learner + random.normal(size=(6, 1))
    for other in ((target[order], learner[order]), (target, shifted)):
        np.testing.assert_allclose(
            evaluate(DISTLoss(), *other),
            evaluate(DISTLoss(), target, learner),
            rtol=1e-4,
        )


def test_duplicated_samples_have_no_angle():
    rows = np.repeat(random_logits(2, 4), 2, axis=0)
    for loss in (RelationalDistance(), RelationalAngle()):
        _, gradient = gradients(loss, random_logits(4, 4), rows)
        assert np.isfinite(gradient).all()


@every_case
def test_configs_and_bad_arguments(create, reference, shape):
    loss = create()
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(loss)
    )
    assert type(copy) is create and copy.get_config() == loss.get_config()
    with pytest.raises(ValueError, match="no value for each.*'sum'"):
        create(reduction="sum")
    if "temperature" in loss.get_config():
        with pytest.raises(ValueError, match="positive"):
            create(temperature=0.0)
