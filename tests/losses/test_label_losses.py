"""DKD, TCKD and NKD against the formulas of their papers."""

import keras
import numpy as np
import pytest

from keras_c2kd.losses import DKDLoss
from keras_c2kd.losses import KLDivergence
from keras_c2kd.losses import NKDLoss
from keras_c2kd.losses import NonTargetKLDivergence
from keras_c2kd.losses import TargetKLDivergence
from tests.helpers import references
from tests.helpers.evaluate import evaluate
from tests.helpers.gradients import gradients
from tests.helpers.references import random_labels
from tests.helpers.references import random_logits

pytest_plugins = ["tests.helpers.double_precision"]

LOSSES = {
    "dkd": DKDLoss,
    "tckd": TargetKLDivergence,
    "nckd": lambda **kwargs: DKDLoss(0.0, 1.0, **kwargs),
    "nkd": NKDLoss,
}
every_loss = pytest.mark.parametrize("create", LOSSES.values(), ids=LOSSES)


def value(loss, target, learner, labels, weights=None):
    return evaluate(
        lambda target, learner, labels: loss(
            {"logits": target, "labels": labels}, learner, weights
        ),
        target,
        learner,
        labels,
    )


def rows_of_tckd(target, learner, labels, temperature):
    """`KL((p_t, 1 - p_t) || (q_t, 1 - q_t))`, straight from probabilities."""
    one_hot = references.one_hot(labels, target.shape[-1])
    p, q = (
        (references.softmax(logits / temperature) * one_hot).sum(-1)
        for logits in (target, learner)
    )
    return p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))


def rows_of_nckd(target, learner, labels, temperature):
    return references.kl(
        references.without_target(target, labels),
        references.without_target(learner, labels),
        temperature,
    )


def rows_of_nkd(target, learner, labels, gamma, temperature):
    one_hot = references.one_hot(labels, target.shape[-1])
    p = (references.softmax(target) * one_hot).sum(-1)
    log_q = (references.log_softmax(learner) * one_hot).sum(-1)
    rest_p = references.softmax(
        references.without_target(target, labels) / temperature
    )
    rest_q = references.log_softmax(
        references.without_target(learner, labels) / temperature
    )
    return -p * log_q - gamma * temperature**2 * (rest_p * rest_q).sum(-1)


def test_by_hand():
    # p = (1/2, 1/4, 1/4), q = (1/4, 1/2, 1/4), the label is class 0.
    target, learner = np.log([[2.0, 1, 1]]), np.log([[1.0, 2, 1]])
    labels = np.asarray([0])
    tckd = 0.5 * np.log(2) + 0.5 * np.log(2 / 3)
    nckd = 0.5 * np.log(3 / 4) + 0.5 * np.log(3 / 2)
    actual = value(TargetKLDivergence(), target, learner, labels)
    np.testing.assert_allclose(actual, tckd, rtol=1e-5)
    actual = value(DKDLoss(2.0, 3.0, 1.0), target, learner, labels)
    np.testing.assert_allclose(actual, 2 * tckd + 3 * nckd, rtol=1e-5)
    nkd = -0.5 * np.log(1 / 4) - 1.5 * (
        0.5 * np.log(2 / 3) + 0.5 * np.log(1 / 3)
    )
    actual = value(NKDLoss(), target, learner, labels)
    np.testing.assert_allclose(actual, nkd, rtol=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("shape", [(6, 5), (1, 3), (2, 3, 4, 7)])
def test_equals_the_reference(shape, temperature):
    target, learner = random_logits(*shape), random_logits(*shape, seed=1)
    labels = random_labels(*shape[:-1], num_classes=shape[-1])
    weights = random_logits(*shape[:-1], seed=2) ** 2
    arguments = (target, learner, labels, temperature)
    tckd, nckd = rows_of_tckd(*arguments), rows_of_nckd(*arguments)
    for loss, rows in (
        (DKDLoss(temperature=temperature), temperature**2 * (tckd + 8 * nckd)),
        (TargetKLDivergence(temperature), temperature**2 * tckd),
        (
            NKDLoss(temperature=temperature),
            rows_of_nkd(target, learner, labels, 1.5, temperature),
        ),
    ):
        np.testing.assert_allclose(
            value(loss, target, learner, labels, weights),
            np.mean(weights * rows),
            rtol=1e-4,
        )


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_the_classical_loss_is_both_halves(temperature):
    target, learner = random_logits(8, 6), random_logits(8, 6, seed=1)
    labels = random_labels(8, num_classes=6)

    def rows(loss):
        loss.reduction = None
        return value(loss, target, learner, labels)

    one_hot = references.one_hot(labels, 6)
    p = (references.softmax(target / temperature) * one_hot).sum(-1)
    whole = temperature**2 * references.kl(target, learner, temperature)
    halves = rows(TargetKLDivergence(temperature)) + (1 - p) * rows(
        NonTargetKLDivergence(temperature)
    )
    np.testing.assert_allclose(halves, whole, rtol=1e-4)


@every_loss
def test_gradients(create, double_precision):
    target, learner = random_logits(4, 5), random_logits(4, 5, seed=1)
    labels, loss = random_labels(4, num_classes=5), create()
    arguments = (target, learner, labels, loss.temperature)

    def reference(learner):
        arguments = (target, learner, labels, loss.temperature)
        if isinstance(loss, NKDLoss):
            rows = rows_of_nkd(target, learner, labels, 1.5, loss.temperature)
            return rows.mean()
        rows = loss.target_weight * rows_of_tckd(*arguments)
        rows = rows + loss.non_target_weight * rows_of_nckd(*arguments)
        return loss.temperature**2 * rows.mean()

    held, moved = gradients(
        lambda target, learner: loss(
            {"logits": target, "labels": labels}, learner
        ),
        target,
        learner,
    )
    assert not held.any(), arguments
    expected = references.numerical_gradient(reference, learner)
    np.testing.assert_allclose(moved, expected, atol=1e-8)


@pytest.mark.slow
@every_loss
@pytest.mark.parametrize("num_classes", [2, 5])
@pytest.mark.parametrize("case", ["huge", "constant", "equal", "one"])
def test_edges_are_finite(create, num_classes, case):
    samples = 1 if case == "one" else 6
    scale = {"huge": 1e4, "constant": 0.0}.get(case, 1.0)
    target = scale * random_logits(samples, num_classes)
    learner = scale * random_logits(samples, num_classes, seed=1)
    if case == "equal":
        learner = target.copy()
    labels, loss = random_labels(samples, num_classes=num_classes), create()
    actual = value(loss, target, learner, labels)
    _, gradient = gradients(
        lambda target, learner: loss(
            {"logits": target, "labels": labels}, learner
        ),
        target,
        learner,
    )
    assert np.isfinite(actual) and np.isfinite(gradient).all()
    is_divergence = not isinstance(loss, NKDLoss)
    if is_divergence and case in ("equal", "constant"):
        np.testing.assert_allclose(actual, 0.0, atol=1e-5)
    only_rest = isinstance(loss, DKDLoss) and not loss.target_weight
    if num_classes == 2 and only_rest:
        assert actual == 0.0 and not gradient.any()


def test_logits_that_lack_the_labels_class():
    target, learner = random_logits(6, 4), random_logits(6, 4, seed=1)
    rest = references.kl(target, learner, 4.0).mean() * 16
    for loss, expected in (
        (DKDLoss(), 8 * rest),
        (
            NKDLoss(),
            -1.5
            * (references.softmax(target) * references.log_softmax(learner))
            .sum(-1)
            .mean(),
        ),
    ):
        actual = evaluate(
            lambda t, s, loss=loss: loss({"logits": t}, s), target, learner
        )
        np.testing.assert_allclose(actual, expected, rtol=1e-4)
    with pytest.raises(ValueError, match="lack.*non_target=False"):
        TargetKLDivergence()({"logits": target}, learner)


@every_loss
def test_bad_arguments_and_configs(create):
    logits = random_logits(3, 4)
    with pytest.raises(ValueError, match="needs the labels beside"):
        create()(logits, logits)
    with pytest.raises(ValueError, match="positive.*temperature=0"):
        create(temperature=0.0)
    loss = create(temperature=2.5)
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(loss)
    )
    assert type(copy) is type(loss)
    assert copy.get_config() == loss.get_config()
    assert isinstance(copy, KLDivergence)


def test_one_half_must_count():
    with pytest.raises(ValueError, match="At least one half"):
        DKDLoss(0.0, 0.0)
