"""ZipfKD and USKD against plain numpy."""

import keras
import numpy as np
import pytest

from keras_c2kd.methods import USKD
from keras_c2kd.methods import ZipfKD
from keras_c2kd.methods.distillation_method import Targets
from tests import references
from tests.evaluate import evaluate
from tests.references import random_labels
from tests.references import random_logits
from tests.toys import toy_distiller


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


def zipf(student, labels, scores, power=1.0):
    """Row by row, with ranks counted by hand."""
    rows = []
    for logits, label, own in zip(student, labels, scores):
        rank = np.asarray([1 + sum(own > score) for score in own])
        q = np.delete(rank.astype(float) ** -power, label)
        q /= q.sum()
        log_p = references.log_softmax(np.delete(logits, label))
        rows.append(np.sum(q * (np.log(q) - log_p)))
    return np.asarray(rows)


def test_zipf_by_votes_of_the_places():
    distiller = toy_distiller(ZipfKD(), compiled=False)
    kernel, bias = distiller.student.get_layer("logits").get_weights()
    features, student = random_logits(6, 4, 3, 12), random_logits(6, 4, seed=1)
    labels = random_labels(6, num_classes=4)
    chosen = np.argmax(features @ kernel + bias, axis=-1).reshape(6, -1)
    votes = np.stack([np.bincount(row, minlength=4) for row in chosen])
    assert any(len(set(row)) < 4 for row in votes)  # There are ties.
    terms = terms_of(distiller.method, student, labels, features=features)
    expected = 0.1 * zipf(student, labels, votes).mean()
    np.testing.assert_allclose(terms["zipf"], expected, rtol=1e-4)


@pytest.mark.parametrize("only_correct", [False, True])
def test_zipf_by_logits(only_correct):
    student, labels = random_logits(9, 5), random_labels(9, num_classes=5)
    weights = np.linspace(0.5, 2.0, 9)
    method = ZipfKD(power=2.0, rank_by="logits", only_correct=only_correct)
    terms = terms_of(method, student, labels, weights)
    rows = weights * zipf(student, labels, student, 2.0)
    if only_correct:
        correct = student.argmax(-1) == labels
        assert 0 < correct.sum() < 9
        rows = rows * correct
    np.testing.assert_allclose(terms["zipf"], 0.1 * rows.mean(), rtol=1e-4)


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
    with pytest.raises(ValueError, match="label_smoothing=2"):
        USKD(label_smoothing=2)
    with pytest.raises(ValueError, match="which has 12 channels.*8\\)"):
        toy_distiller(ZipfKD(), student_features="relu_0")
