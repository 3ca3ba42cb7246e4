"""ZipfKD and USKD against plain numpy."""

import keras
import numpy as np
import pytest

from keras_c2kd.methods import USKD
from keras_c2kd.methods import Targets
from keras_c2kd.methods import ZipfKD
from tests.helpers import references
from tests.helpers.evaluate import evaluate
from tests.helpers.gradients import gradients
from tests.helpers.references import random_labels
from tests.helpers.references import random_logits
from tests.helpers.toys import toy_distiller

pytest_plugins = ["tests.helpers.double_precision"]


def terms_of(method, student, labels, weights=None, heads=None, **features):
    """Terms from the student's outputs, in numpy."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    names = ["logits", *features, *(heads or ())]
    arrays = [student, *features.values(), *(heads or {}).values()]

    def function(labels, *tensors):
        given = dict(zip(names, tensors))
        outputs = {"student": given, "heads": given}
        return method.compute_losses(
            outputs,
            Targets(
                labels=labels,
                weights=None
                if weights is None
                else keras.ops.convert_to_tensor(weights, dtype="float32"),
                valid=None,
                supervised_loss=lambda logits: loss(labels, logits),
            ),
        )[0]

    return evaluate(function, labels, *arrays)


def unbiased_law(own, power, bounds, shared):
    """Integrals of x^(-power), from the antiderivative, over equal parts."""
    ends = np.linspace(*bounds, len(own) + 1)
    areas = np.log(ends) if power == 1.0 else ends ** (1 - power) / (1 - power)
    areas = np.diff(areas)
    law = np.empty(len(own))
    for index, score in enumerate(own):
        above, tied = np.sum(own > score), np.sum(own == score)
        law[index] = areas[above : above + (tied if shared else 1)].mean()
    return law


def zipf(student, labels, scores, power=1.0, bounds=None, shared=False):
    """Row by row, with ranks counted by hand."""
    rows = []
    for logits, label, own in zip(student, labels, scores):
        rank = np.asarray([1 + sum(own > score) for score in own])
        law = rank.astype(float) ** -power
        if bounds is not None:
            law = unbiased_law(own, power, bounds, shared)
        q = np.delete(law, label)
        q /= q.sum()
        log_p = references.log_softmax(np.delete(logits, label))
        rows.append(np.sum(q * (np.log(q) - log_p)))
    return np.asarray(rows)


@pytest.mark.parametrize("bounds", [None, (0.001, 1.0)])
def test_zipf_by_votes_of_the_places(bounds):
    method = ZipfKD(unbiased_bounds=bounds)
    distiller = toy_distiller(method, compiled=False)
    kernel, bias = distiller.student.get_layer("logits").get_weights()
    features, student = random_logits(6, 4, 3, 12), random_logits(6, 4, seed=1)
    labels = random_labels(6, num_classes=4)
    chosen = np.argmax(features @ kernel + bias, axis=-1).reshape(6, -1)
    votes = np.stack([np.bincount(row, minlength=4) for row in chosen])
    assert any(len(set(row)) < 4 for row in votes)  # There are ties.
    terms = terms_of(distiller.method, student, labels, features=features)
    expected = zipf(student, labels, votes, 1.0, bounds, shared=True)
    expected = 0.1 * expected.mean()
    np.testing.assert_allclose(terms["zipf"], expected, rtol=1e-4)


def test_the_unbiased_law_by_hand():
    """Three classes between 1 and 4: log 2, log 3/2 and log 4/3."""
    student, labels = np.asarray([[3.0, 1.0, 2.0]]), np.asarray([0])
    method = ZipfKD(1.0, 1.0, rank_by="logits", unbiased_bounds=(1.0, 4.0))
    q = np.log([4 / 3, 3 / 2]) / np.log(2)
    log_p = np.asarray([0.0, 1.0]) - np.log(1.0 + np.e)
    np.testing.assert_allclose(
        terms_of(method, student, labels)["zipf"],
        np.sum(q * (np.log(q) - log_p)),
        rtol=1e-5,
    )


@pytest.mark.parametrize("scale", [1.0, 0.0, 1e4])
@pytest.mark.parametrize("power", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("votes", [False, True])
def test_the_unbiased_law_at_its_ends(power, votes, scale):
    """Many classes, ties, logits of any size."""
    student = np.round(random_logits(4, 300, scale=scale))
    labels = random_labels(4, num_classes=300)
    bounds = (0.001, 1.0)
    method = ZipfKD(power, rank_by="logits", unbiased_bounds=bounds)
    if votes:
        method = ZipfKD(power, unbiased_bounds=bounds)
        method._scores = lambda outputs: outputs["logits"]
    expected = zipf(student, labels, student, power, bounds, votes)
    found = terms_of(method, student, labels)["zipf"]
    np.testing.assert_allclose(found, 0.1 * expected.mean(), 1e-4, 1e-6)


@pytest.mark.parametrize("bounds", [None, (0.01, 1.0)])
@pytest.mark.parametrize("mean_over", [None, "batch", "selected"])
def test_zipf_by_logits(mean_over, bounds):
    student, labels = random_logits(9, 5), random_labels(9, num_classes=5)
    weights = np.linspace(0.5, 2.0, 9)
    method = ZipfKD(
        power=2.0,
        rank_by="logits",
        only_correct=mean_over is not None,
        mean_over=mean_over or "batch",
        unbiased_bounds=bounds,
    )
    terms = terms_of(method, student, labels, weights)
    rows = weights * zipf(student, labels, student, 2.0, bounds)
    expected = rows.mean()
    if mean_over is not None:
        correct = student.argmax(-1) == labels
        assert 0 < correct.sum() < 9
        number = 9 if mean_over == "batch" else correct.sum()
        expected = (rows * correct).sum() / number
    np.testing.assert_allclose(terms["zipf"], 0.1 * expected, rtol=1e-4)
    if mean_over is not None:  # Where nothing is correct, nothing is left.
        wrong = student.argmin(-1).astype("int32")
        assert terms_of(method, student, wrong, weights)["zipf"] == 0.0


def test_the_target_of_zipf_is_constant(double_precision):
    student, labels = random_logits(3, 4), random_labels(3, num_classes=4)
    method = ZipfKD(2.0, rank_by="logits", unbiased_bounds=(0.001, 1.0))

    def term(logits):
        targets = Targets(labels, None, None, keras.ops.mean)
        outputs = {"student": {"logits": logits}}
        return method.compute_losses(outputs, targets)[0]["zipf"]

    def by_hand(logits):
        law = (student, 2.0, (0.001, 1.0))
        return 0.1 * zipf(logits, labels, *law).mean()

    np.testing.assert_allclose(
        gradients(term, student)[0],
        references.numerical_gradient(by_hand, student),
        1e-5,
        1e-9,
    )


def uskd(student, weak, labels, weights, log_score):
    """The terms of USKD without their weights, row by row."""
    classes = student.shape[1]
    p, w = references.softmax(student), references.softmax(weak)
    squares = p[np.arange(len(p)), labels] ** 2
    mean = np.sum(weights * squares) / np.sum(weights)
    target, rest, small = [], [], []
    for row, label in enumerate(labels):
        target.append(-(squares[row] + 1 - mean) * np.log(p[row, label]))
        smooth = np.full(classes, 0.1 / classes)
        smooth[label] += 0.9
        small.append(-np.sum(smooth * np.log(w[row])))
        s = np.log(p[row]) if log_score else p[row]
        score = w[row] / (1 - w[row, label] + 1e-6)
        score = score + s / (1 - s[label] + 1e-6)
        q = np.empty(classes)
        for place, index in enumerate(np.argsort(-score, kind="stable")):
            q[index] = 1 / (place + 1)
        q = np.delete(q, label)
        q /= q.sum()
        log_p = references.log_softmax(np.delete(student[row], label))
        rest.append(-np.sum(q * log_p))
    return {
        name: np.mean(weights * np.asarray(rows))
        for name, rows in (
            ("target", target),
            ("non_target", rest),
            ("weak", small),
        )
    }


@pytest.mark.parametrize("log_score", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_uskd_equals_the_reference(weighted, log_score):
    student, weak = random_logits(8, 5), random_logits(8, 5, seed=1)
    labels = random_labels(8, num_classes=5)
    weights = np.linspace(0.5, 2.0, 8) if weighted else np.ones(8)
    method = USKD(2.0, 3.0, 5.0, log_score=log_score)
    terms = terms_of(
        method,
        student,
        labels,
        weights if weighted else None,
        heads={"weak": weak},
    )
    expected = uskd(student, weak, labels, weights, log_score)
    for name, factor in (("target", 2), ("non_target", 3), ("weak", 5)):
        np.testing.assert_allclose(
            terms[name], factor * expected[name], rtol=1e-4
        )


def test_bad_arguments():
    with pytest.raises(ValueError, match="rank_by='places'"):
        ZipfKD(rank_by="places")
    with pytest.raises(ValueError, match="power=0"):
        ZipfKD(power=0.0)
    with pytest.raises(ValueError, match="mean_over='correct'"):
        ZipfKD(only_correct=True, mean_over="correct")
    with pytest.raises(ValueError, match="needs `only_correct=True`"):
        ZipfKD(mean_over="selected")
    for wrong in ((1.0, 0.1), (0.0, 1.0), (0.1,), 0.1, (0.1, np.inf), "ab"):
        with pytest.raises(ValueError, match="`unbiased_bounds`"):
            ZipfKD(unbiased_bounds=wrong)
    with pytest.raises(ValueError, match="label_smoothing=2"):
        USKD(label_smoothing=2)
    with pytest.raises(ValueError, match="which has 12 channels.*8\\)"):
        toy_distiller(ZipfKD(), student_features="relu_0")
