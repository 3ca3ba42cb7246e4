import keras
import numpy as np
import pytest

from keras_c2kd import C2KD
from keras_c2kd.selection import KendallSelection
from keras_c2kd.selection import SelectAll
from tests.helpers import references
from tests.helpers.references import random_labels
from tests.helpers.references import random_logits
from tests.methods.by_hand import HEADS
from tests.methods.by_hand import equal_heads
from tests.methods.by_hand import gradients_of
from tests.methods.by_hand import random_heads
from tests.methods.by_hand import valid_weights
from tests.methods.c2kd_cases import CASES

pytest_plugins = ["tests.helpers.double_precision"]

SUPERVISED = {"student_supervised": {"student"}}
TEACHER_SUPERVISED = {"teacher_supervised": {"teacher"}}
PROXIES = {
    "teacher_proxy": {"teacher_proxy", "teacher"},
    "student_proxy": {"student_proxy", "student"},
    "cross_modal": {"student_proxy", "teacher_proxy"},
}
WHO_LEARNS = {
    "default": SUPERVISED | TEACHER_SUPERVISED | PROXIES,
    "main": SUPERVISED | TEACHER_SUPERVISED | PROXIES,
    "selected": SUPERVISED | TEACHER_SUPERVISED | PROXIES,
    "everyone": SUPERVISED | TEACHER_SUPERVISED | PROXIES,
    "zeroed": SUPERVISED | TEACHER_SUPERVISED | PROXIES,
    "all_classes": SUPERVISED | TEACHER_SUPERVISED | PROXIES,
    "fixed_teacher": SUPERVISED
    | PROXIES
    | {"teacher_proxy": {"teacher_proxy"}},
    "one_way": SUPERVISED
    | PROXIES
    | {"teacher_proxy": {"teacher_proxy"}, "cross_modal": {"student_proxy"}},
    "no_proxies": SUPERVISED
    | TEACHER_SUPERVISED
    | {"cross_modal": {"student", "teacher"}},
    "no_proxies_fixed_teacher": SUPERVISED | {"cross_modal": {"student"}},
    "plain": SUPERVISED | {"cross_modal": {"student"}},
}


def assert_no_gradient(found):
    for head, gradient in found.items():
        assert not gradient.any(), head


@pytest.mark.slow
@pytest.mark.parametrize("name", WHO_LEARNS)
def test_equal_finite_differences_with_the_targets_held(double_precision, name):
    case, heads = CASES[name], random_heads(6, 5)
    labels = random_labels(6, num_classes=5)
    assert 0 < case.selected(heads).sum()
    found = gradients_of(case.create(), heads, labels)
    assert {
        term: {head for head in HEADS if gradients[head].any()}
        for term, gradients in found.items()
    } == WHO_LEARNS[name]
    for term, gradients in found.items():
        for head in WHO_LEARNS[name][term]:
            expected = references.numerical_gradient(
                lambda logits: case.terms(
                    heads | {head: logits}, labels, teaching=heads
                )[term],
                heads[head],
            )
            np.testing.assert_allclose(
                gradients[head], expected, 1e-6, 1e-9, err_msg=f"{term} {head}"
            )


@pytest.mark.parametrize("name", ["default", "one_way", "selected"])
def test_dense_with_ignored_pixels_and_weights(double_precision, name):
    case, heads = CASES[name], random_heads(2, 1, 3, 4)
    labels = random_labels(2, 1, 3, num_classes=4)
    valid = np.asarray([[[True, False, True]], [[True, True, False]]])
    weights = valid_weights(valid) * np.asarray([0.5, 2.0])[:, None, None]
    found = gradients_of(case.create(), heads, labels, weights, valid)
    for term, gradients in found.items():
        for head in HEADS:
            expected = references.numerical_gradient(
                lambda logits: case.terms(
                    heads | {head: logits},
                    labels,
                    teaching=heads,
                    weights=weights,
                )[term],
                heads[head],
            )
            np.testing.assert_allclose(
                gradients[head], expected, 1e-6, 1e-9, err_msg=f"{term} {head}"
            )
            assert not gradients[head][~valid].any()


@pytest.mark.parametrize("everyone", [False, True])
def test_closed_form_of_the_cross_modal_term(double_precision, everyone):
    """eta / B (softmax(learner^) - softmax(target^)), 0 at the target."""
    heads, labels = random_heads(6, 5), random_labels(6, num_classes=5)
    case = CASES["everyone" if everyone else "default"]
    eta = case.selected(heads)
    assert everyone or 0 < eta.sum() < 6
    found = gradients_of(case.create(), heads, labels)["cross_modal"]
    student, teacher = (
        references.softmax(references.without_target(heads[name], labels))
        for name in ("student_proxy", "teacher_proxy")
    )
    expected = eta[:, None] / 6 * (student - teacher)
    for name, sign in (("student_proxy", 1.0), ("teacher_proxy", -1.0)):
        gradient = found[name]
        np.testing.assert_allclose(
            references.without_target(gradient, labels),
            sign * expected,
            atol=1e-12,
        )
        np.testing.assert_array_equal(gradient[np.arange(6), labels], 0.0)
        np.testing.assert_array_equal(gradient[~eta], 0.0)


def test_closed_forms_of_the_other_terms(double_precision):
    heads, labels = random_heads(6, 5), random_labels(6, num_classes=5)
    found = gradients_of(C2KD(), heads, labels)
    p = {name: references.softmax(logits) for name, logits in heads.items()}
    targets = references.one_hot(labels, 5)
    for role in ("student", "teacher"):
        proxy = f"{role}_proxy"
        for term, head, expected in (
            (f"{role}_supervised", role, p[role] - targets),
            (proxy, role, p[role] - p[proxy]),
            (proxy, proxy, p[proxy] - p[role]),
        ):
            np.testing.assert_allclose(
                found[term][head], expected / 6, atol=1e-12
            )


def test_a_divergence_that_does_not_stop_its_target(double_precision):
    class SquaredDistance(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return keras.ops.sum(keras.ops.square(y_true - y_pred), axis=-1)

    heads, labels = random_heads(6, 5), random_labels(6, num_classes=5)
    method = C2KD(SquaredDistance(), SelectAll(), non_target=False)
    found = gradients_of(method, heads, labels)
    for term, learner, target in (
        ("student_proxy", "student", "student_proxy"),
        ("student_proxy", "student_proxy", "student"),
        ("teacher_proxy", "teacher", "teacher_proxy"),
        ("teacher_proxy", "teacher_proxy", "teacher"),
        ("cross_modal", "student_proxy", "teacher_proxy"),
        ("cross_modal", "teacher_proxy", "student_proxy"),
    ):
        expected = 2.0 / 6.0 * (heads[learner] - heads[target])
        np.testing.assert_allclose(found[term][learner], expected, atol=1e-12)


def test_in_single_precision():
    heads, labels = random_heads(6, 5), random_labels(6, num_classes=5)
    found = gradients_of(C2KD(), heads, labels)["student_proxy"]
    assert found["student"].dtype == "float32"
    p = {name: references.softmax(logits) for name, logits in heads.items()}
    expected = (p["student"] - p["student_proxy"]) / 6
    np.testing.assert_allclose(found["student"], expected, atol=1e-7)


@pytest.mark.parametrize("scale", [2.0, 1e4])
@pytest.mark.parametrize("name", ["default", "zeroed", "all_classes"])
def test_nothing_selected(name, scale):
    method = CASES[name].create()
    method.selection = KendallSelection(threshold=1.0)
    heads = random_heads(6, 5, scale=scale)
    labels = random_labels(6, num_classes=5)
    found = gradients_of(method, heads, labels)
    assert_no_gradient(found["cross_modal"])
    assert found["student_supervised"]["student"].any()


@pytest.mark.parametrize("scale", [0.0, 2.0, 1e4])
@pytest.mark.parametrize("batch", [1, 6])
def test_two_classes(scale, batch):
    heads, labels = random_heads(batch, 2, scale=scale), np.arange(batch) % 2
    found = gradients_of(C2KD(selection=SelectAll()), heads, labels)
    assert_no_gradient(found["cross_modal"])
    assert found["student_supervised"]["student"].any() or scale == 1e4


@pytest.mark.parametrize("create", [random_heads, equal_heads])
@pytest.mark.parametrize("scale", [0.0, 1e4])
@pytest.mark.parametrize("batch", [1, 6])
def test_constant_and_huge_logits(create, scale, batch):
    heads = random_heads(batch, 5, scale=scale)
    if create is equal_heads:
        heads = equal_heads(random_logits(batch, 5, scale=scale))
    labels = random_labels(batch, num_classes=5)
    found = gradients_of(C2KD(selection=SelectAll()), heads, labels)
    for term, gradients in found.items():
        for gradient in gradients.values():
            assert np.isfinite(gradient).all(), term
            # A softmax minus a distribution, over the size of the batch.
            assert np.abs(gradient).max() <= 2.0 / batch
    if create is equal_heads or scale == 0.0:
        for term in ("student_proxy", "teacher_proxy", "cross_modal"):
            for gradient in found[term].values():
                np.testing.assert_allclose(gradient, 0.0, atol=1e-6)


def test_everything_ignored():
    heads, labels = random_heads(2, 3, 4, 5), np.zeros((2, 3, 4), "int32")
    nothing = np.zeros((2, 3, 4), bool)
    found = gradients_of(C2KD(), heads, labels, valid_weights(nothing), nothing)
    for gradients in found.values():
        assert_no_gradient(gradients)
