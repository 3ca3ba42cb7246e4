import functools

import numpy as np
import pytest

from keras_c2kd import KnowledgeDistillation
from keras_c2kd.selection import KendallSelection
from keras_c2kd.selection import RandomSelection
from tests.helpers import references
from tests.helpers.references import random_labels
from tests.helpers.references import random_logits
from tests.methods.by_hand import gradients_of
from tests.methods.by_hand import random_heads
from tests.methods.by_hand import terms_of
from tests.methods.by_hand import valid_weights

pytest_plugins = ["tests.helpers.double_precision"]

# CE + T^2 KL, without the weights of the default.
unweighted_kd = functools.partial(
    KnowledgeDistillation, supervised_weight=1.0, distillation_weight=1.0
)


def random_networks(*shape, scale=2.0):
    """Logits of student and teacher; there are no other heads."""
    heads = random_heads(*shape, scale=scale)
    return {name: heads[name] for name in ("student", "teacher")}


def distillation(networks, temperature, weights=1.0):
    """`T^2 mean(weights KL(teacher || student))`."""
    rows = references.kl(networks["teacher"], networks["student"], temperature)
    return temperature**2 * np.mean(weights * rows)


def test_by_hand():
    networks = {
        "student": 2.0 * np.log([[1 / 2, 1 / 2]]),
        "teacher": 2.0 * np.log([[1 / 4, 3 / 4]]),
    }
    method = KnowledgeDistillation(2.0, 0.1, 0.9)
    losses, diagnostics = terms_of(method, networks, np.asarray([1]))
    expected = 0.9 * 4.0 * np.log(27 / 16) / 4.0
    np.testing.assert_allclose(losses["distillation"], expected, rtol=1e-5)
    np.testing.assert_allclose(
        losses["student_supervised"], 0.1 * np.log(2), rtol=1e-5
    )
    assert diagnostics == {"selected_fraction": 1.0, "kendall": 0.0}


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("shape", [(12, 5), (1, 3), (3, 4, 5, 6)])
def test_equals_the_reference(shape, temperature):
    networks = random_networks(*shape)
    labels = random_labels(*shape[:-1], num_classes=shape[-1])
    method = unweighted_kd(temperature)
    losses, diagnostics = terms_of(method, networks, labels)
    assert set(losses) == set(method.loss_names)
    assert set(diagnostics) == set(method.diagnostic_names)
    np.testing.assert_allclose(
        losses["student_supervised"],
        references.cross_entropy(networks["student"], labels).mean(),
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        losses["distillation"], distillation(networks, temperature), rtol=1e-4
    )
    np.testing.assert_allclose(
        diagnostics["kendall"],
        references.kendall(*networks.values()).mean(),
        atol=1e-6,
    )


def test_selection():
    networks, labels = random_networks(12, 5), random_labels(12, num_classes=5)
    selected = references.kendall(*networks.values()) > 0.0
    assert 0 < selected.sum() < 12
    losses, diagnostics = terms_of(
        unweighted_kd(selection=KendallSelection()), networks, labels
    )
    np.testing.assert_allclose(
        losses["distillation"], distillation(networks, 4.0, selected), rtol=1e-4
    )
    _, random = terms_of(
        unweighted_kd(selection=RandomSelection()), networks, labels
    )
    assert random == diagnostics
    np.testing.assert_allclose(
        diagnostics["selected_fraction"], selected.mean(), rtol=1e-6
    )


def test_ignored_pixels_and_weights():
    shape = (3, 4, 5)
    networks = random_networks(*shape, 6)
    labels = random_labels(*shape, num_classes=6)
    random = np.random.default_rng(0)
    valid = random.random(shape) > 0.4
    weights = valid_weights(valid) * random.uniform(0.5, 2.0, (3, 1, 1))
    selected = references.kendall(*networks.values()) > 0.0
    losses, diagnostics = terms_of(
        unweighted_kd(selection=KendallSelection()),
        networks,
        labels * valid,
        weights,
        valid,
    )
    np.testing.assert_allclose(
        losses["distillation"],
        distillation(networks, 4.0, selected * weights),
        rtol=1e-4,
    )
    np.testing.assert_allclose(
        diagnostics["selected_fraction"], selected[valid].mean(), rtol=1e-5
    )


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("selection", [None, KendallSelection()])
def test_gradients(double_precision, temperature, selection):
    networks, labels = random_networks(12, 5), random_labels(12, num_classes=5)
    method = KnowledgeDistillation(temperature, 0.1, 0.9, selection)
    found = gradients_of(method, networks, labels)
    eta = np.ones(12)
    if selection is not None:
        eta = references.kendall(*networks.values()) > 0.0
    student, teacher = (
        references.softmax(networks[name] / temperature)
        for name in ("student", "teacher")
    )
    expected = 0.9 * temperature / 12 * eta[:, None] * (student - teacher)
    np.testing.assert_allclose(
        found["distillation"]["student"], expected, atol=1e-12
    )
    supervised = references.softmax(networks["student"])
    supervised -= references.one_hot(labels, 5)
    np.testing.assert_allclose(
        found["student_supervised"]["student"],
        0.1 / 12 * supervised,
        atol=1e-12,
    )
    for gradients in found.values():
        assert not gradients["teacher"].any()


def test_gradients_equal_finite_differences(double_precision):
    networks, labels = random_networks(12, 5), random_labels(12, num_classes=5)
    found = gradients_of(unweighted_kd(2.0), networks, labels)
    expected = references.numerical_gradient(
        lambda logits: distillation(networks | {"student": logits}, 2.0),
        networks["student"],
    )
    np.testing.assert_allclose(
        found["distillation"]["student"], expected, 1e-6, 1e-9
    )


def test_high_temperature_matches_centred_logits(double_precision):
    """Hinton et al., Eq. 4: the gradient tends to (z_S - z_T) / C."""
    networks, labels = random_networks(12, 5), random_labels(12, num_classes=5)
    found = gradients_of(unweighted_kd(1e4), networks, labels)
    centred = [x - x.mean(axis=-1, keepdims=True) for x in networks.values()]
    np.testing.assert_allclose(
        found["distillation"]["student"],
        (centred[0] - centred[1]) / 5 / 12,
        rtol=1e-2,
        atol=1e-4,
    )


@pytest.mark.parametrize("shape", [(1, 3), (12, 2), (12, 5)])
@pytest.mark.parametrize("scale", [0.0, 1e4])
def test_constant_and_huge_logits(shape, scale):
    networks = random_networks(*shape, scale=scale)
    labels = random_labels(shape[0], num_classes=shape[1])
    losses, _ = terms_of(unweighted_kd(), networks, labels)
    np.testing.assert_allclose(
        losses["distillation"], distillation(networks, 4.0), rtol=1e-5
    )
    for gradients in gradients_of(unweighted_kd(), networks, labels).values():
        assert np.isfinite(gradients["student"]).all()
        assert not gradients["teacher"].any()


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
def test_identical_networks_have_nothing_to_distil(scale):
    logits = random_logits(12, 5, scale=scale)
    networks = {"student": logits, "teacher": logits.copy()}
    labels = random_labels(12, num_classes=5)
    losses, _ = terms_of(unweighted_kd(), networks, labels)
    assert losses["distillation"] == 0.0


def test_nothing_selected_and_everything_ignored():
    networks = random_networks(3, 4, 5, 6)
    labels = np.zeros((3, 4, 5), "int32")
    nothing = np.zeros((3, 4, 5), bool)
    method = unweighted_kd(selection=KendallSelection(threshold=1.0))
    losses, _ = terms_of(method, networks, labels)
    assert losses["distillation"] == 0.0 < losses["student_supervised"]
    found = gradients_of(method, networks, labels)
    assert not found["distillation"]["student"].any()
    ignored = (labels, valid_weights(nothing), nothing)
    losses, diagnostics = terms_of(unweighted_kd(), networks, *ignored)
    assert losses == dict.fromkeys(losses, 0.0)
    assert diagnostics == dict.fromkeys(diagnostics, 0.0)
    found = gradients_of(unweighted_kd(), networks, *ignored)
    assert not any(gradients["student"].any() for gradients in found.values())


@pytest.mark.parametrize("shape", [(12, 5), (2, 8, 8, 40)])
def test_compiled_with_unknown_batch_size(shape):
    networks = random_networks(*shape)
    labels = random_labels(*shape[:-1], num_classes=shape[-1])
    losses, _ = terms_of(
        unweighted_kd(), networks, labels, unknown_batch_size=True
    )
    np.testing.assert_allclose(
        losses["distillation"], distillation(networks, 4.0), rtol=1e-4
    )


def test_a_teacher_that_is_trained_has_its_own_supervised_term():
    networks = random_networks(6, 5)
    labels = random_labels(6, num_classes=5)
    method = unweighted_kd(teacher_update="all")
    losses, _ = terms_of(method, networks, labels)
    fixed, _ = terms_of(unweighted_kd(), networks, labels)
    supervised = losses.pop("teacher_supervised")
    assert losses == fixed
    expected = references.cross_entropy(networks["teacher"], labels).mean()
    np.testing.assert_allclose(supervised, expected, rtol=1e-5)
    # It learns from the labels alone: no gradient of the distillation term.
    found = gradients_of(method, networks, labels)
    assert not found["distillation"]["teacher"].any()
    assert found["teacher_supervised"]["teacher"].any()
