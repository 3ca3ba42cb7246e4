"""DLB, ZipfKD and USKD against plain numpy."""

import keras
import numpy as np
import pytest

from keras_c2kd.methods import DLB
from keras_c2kd.methods import USKD
from keras_c2kd.methods import ZipfKD
from keras_c2kd.methods.distillation_method import Targets
from tests import references
from tests.evaluate import evaluate
from tests.references import random_labels
from tests.references import random_logits
from tests.toys import SHAPES
from tests.toys import VISUAL
from tests.toys import toy_data
from tests.toys import toy_distiller

RATE = 0.1


def linear_student():
    inputs = keras.Input((3,), name="x")
    return keras.Model(inputs, keras.layers.Dense(4, name="logits")(inputs))


class LinearDLB:
    """The definition of DLB, with SGD on a linear network, in float64."""

    def __init__(self, kernel, bias, temperature=3.0, weight=1.0):
        self.kernel = kernel.astype("float64")
        self.bias = bias.astype("float64")
        self.temperature, self.weight = temperature, weight
        self.last = None

    def step(self, x, view, labels, weights):
        logits = x @ self.kernel + self.bias
        count = len(x)
        terms = {"distillation": 0.0}
        rows = weights * references.cross_entropy(logits, labels)
        errors = weights[:, None] * (
            references.softmax(logits) - references.one_hot(labels, 4)
        )
        if self.last is not None:
            again, old_logits, old_labels, old_weights = self.last
            q = again @ self.kernel + self.bias
            count += len(again)
            rows = np.concatenate(
                [
                    rows,
                    old_weights * references.cross_entropy(q, old_labels),
                ]
            )
            old_errors = old_weights[:, None] * (
                references.softmax(q) - references.one_hot(old_labels, 4)
            )
            t = self.temperature
            divergence = old_weights * references.kl(old_logits, q, t)
            terms["distillation"] = self.weight * t**2 * divergence.mean()
            pull = old_weights[:, None] * (
                references.softmax(q / t) - references.softmax(old_logits / t)
            )
            old_errors = old_errors / count + self.weight * t * pull / len(q)
        gradient = x.T @ errors / count
        bias_gradient = errors.sum(0) / count
        if self.last is not None:
            gradient += again.T @ old_errors
            bias_gradient += old_errors.sum(0)
        self.kernel = self.kernel - RATE * gradient
        self.bias = self.bias - RATE * bias_gradient
        terms["student_supervised"] = rows.sum() / count
        self.last = (view, logits, labels, weights)
        return terms


@pytest.mark.parametrize("one_hot", [False, True])
@pytest.mark.parametrize("second_view", [None, "again"])
def test_dlb_equals_a_simulation(second_view, one_hot):
    random = np.random.default_rng(0)
    x = random.normal(size=(10, 3)).astype("float32")
    view = random.normal(size=(10, 3)).astype("float32")
    view = x if second_view is None else view
    labels = random_labels(10, num_classes=4)
    weights = random.uniform(0.5, 2.0, 10).astype("float32")
    student = linear_student()
    distiller = toy_distiller(
        DLB(4, second_view=second_view),
        student=student,
        compile={
            "optimizer": keras.optimizers.SGD(RATE),
            "loss": keras.losses.CategoricalCrossentropy(from_logits=True)
            if one_hot
            else keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        },
    )
    simulation = LinearDLB(*student.get_weights())
    given = references.one_hot(labels, 4).astype("float32")
    # Batches of 4, 4 and 2, twice: the memory survives the border.
    for _ in range(2):
        for start in (0, 4, 8):
            part = slice(start, start + 4)
            distiller.reset_metrics()
            logs = distiller.train_on_batch(
                {VISUAL: x[part], "again": view[part]},
                given[part] if one_hot else labels[part],
                sample_weight=weights[part],
                return_dict=True,
            )
            expected = simulation.step(
                x[part], view[part], labels[part], weights[part]
            )
            for name, value in expected.items():
                np.testing.assert_allclose(
                    float(logs[name]), value, rtol=1e-4, atol=1e-6
                )
    kernel, bias = student.get_weights()
    np.testing.assert_allclose(kernel, simulation.kernel, atol=1e-5)
    np.testing.assert_allclose(bias, simulation.bias, atol=1e-5)
    kept = keras.ops.convert_to_numpy(distiller.method.last_logits)
    np.testing.assert_allclose(kept[:2], simulation.last[1], atol=1e-5)
    kept = keras.ops.convert_to_numpy(distiller.method.last_weights)
    np.testing.assert_allclose(kept, [*weights[8:], 0.0, 0.0], rtol=1e-6)


def test_dlb_refuses_what_it_cannot_keep():
    inputs, labels = toy_data(8)
    with pytest.raises(ValueError, match="batch_size=0"):
        DLB(0)
    distiller = toy_distiller(DLB(8, second_view="other"))
    with pytest.raises(Exception, match="lacks the second view.*'other'"):
        distiller.fit(inputs, labels, verbose=0)
    anything = keras.Input((None, None, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(anything)
    student = keras.Model(anything, keras.layers.Dense(4)(pooled))
    with pytest.raises(ValueError, match="Build it from an Input"):
        toy_distiller(DLB(8), student=student)
    dense = keras.Input(SHAPES[VISUAL])
    maps = keras.layers.Conv2D(5, 3)(dense)
    student = keras.Model(dense, keras.layers.Conv2D(4, 1)(maps))
    for method in (DLB(8), USKD(), ZipfKD()):
        with pytest.raises(ValueError, match="one label a sample"):
            toy_distiller(method, student=student)


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
