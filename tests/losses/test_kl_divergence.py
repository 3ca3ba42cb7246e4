import keras
import numpy as np
import pytest

from keras_c2kd.losses import KLDivergence
from keras_c2kd.losses import NonTargetKLDivergence
from tests.helpers import references
from tests.helpers.evaluate import evaluate
from tests.helpers.gradients import gradients
from tests.helpers.references import random_labels
from tests.helpers.references import random_logits

pytest_plugins = ["tests.helpers.double_precision"]


def divergence(loss, target, learner, weights=None):
    """Call `KLDivergence` with sample weights that are no tensors."""
    return evaluate(
        lambda *logits: loss(*logits, sample_weight=weights), target, learner
    )


def non_target_divergence(loss, target, learner, labels, weights=None):
    return evaluate(
        lambda target, learner, labels: loss(
            {"logits": target, "labels": labels},
            learner,
            sample_weight=weights,
        ),
        target,
        learner,
        labels,
    )


def test_by_hand():
    target = np.log([[1 / 2, 1 / 2], [1 / 2, 1 / 2]])
    learner = np.log([[1 / 4, 3 / 4], [1 / 2, 1 / 2]])
    row = np.log(4 / 3) / 2
    for reduction, expected in (
        ("sum_over_batch_size", row / 2),
        ("sum", row),
        (None, [row, 0.0]),
    ):
        actual = divergence(KLDivergence(reduction=reduction), target, learner)
        np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_non_target_by_hand():
    # Without the label's class: (1/4, 3/4) teaches (1/2, 1/2).
    target = np.log([[1 / 8, 1 / 2, 3 / 8]])
    learner = np.log([[1 / 3, 1 / 3, 1 / 3]])
    actual = non_target_divergence(
        NonTargetKLDivergence(), target, learner, [1]
    )
    np.testing.assert_allclose(actual, np.log(27 / 16) / 4, rtol=1e-5)


@pytest.mark.parametrize("shape", [(6, 5), (1, 3), (2, 3, 4, 7)])
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_equals_the_reference(shape, temperature):
    target, learner = random_logits(*shape), random_logits(*shape, seed=1)
    labels = random_labels(*shape[:-1], num_classes=shape[-1])
    weights = random_logits(*shape[:-1], seed=2) ** 2
    rows = temperature**2 * references.kl(target, learner, temperature)
    np.testing.assert_allclose(
        divergence(KLDivergence(temperature), target, learner, weights),
        np.mean(weights * rows),
        rtol=1e-4,
    )
    rows = temperature**2 * references.kl(
        references.without_target(target, labels),
        references.without_target(learner, labels),
        temperature,
    )
    np.testing.assert_allclose(
        non_target_divergence(
            NonTargetKLDivergence(temperature), target, learner, labels, weights
        ),
        np.mean(weights * rows),
        rtol=1e-4,
    )


def test_splits_into_target_and_non_target_parts():
    """KL = KL of (label, rest) + p_T(rest) * non-target KL (DKD, Eq. 5)."""
    target, learner = random_logits(6, 5), random_logits(6, 5, seed=1)
    labels = random_labels(6, num_classes=5)
    is_target = references.one_hot(labels, 5)
    p, q = (
        (is_target * references.softmax(logits)).sum(axis=-1)
        for logits in (target, learner)
    )
    binary = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    rest = non_target_divergence(
        NonTargetKLDivergence(reduction=None), target, learner, labels
    )
    total = divergence(KLDivergence(reduction=None), target, learner)
    np.testing.assert_allclose(total, binary + (1 - p) * rest, rtol=1e-4)


@pytest.mark.parametrize("target_logit", [-1e4, 0.0, 1e4])
def test_non_target_ignores_the_label_class(target_logit):
    target, learner = random_logits(4, 5), random_logits(4, 5, seed=1)
    labels = np.asarray([0, 4, 2, 2])
    loss = NonTargetKLDivergence()
    expected = non_target_divergence(loss, target, learner, labels)
    for logits in (target, learner):
        logits[np.arange(4), labels] = target_logit
    actual = non_target_divergence(loss, target, learner, labels)
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_gradient_reaches_the_learner_only(double_precision, temperature):
    target, learner = random_logits(4, 5), random_logits(4, 5, seed=1)
    to_target, to_learner = gradients(
        KLDivergence(temperature), target, learner
    )
    np.testing.assert_array_equal(to_target, np.zeros((4, 5)))
    p = references.softmax(target / temperature)
    q = references.softmax(learner / temperature)
    expected = temperature / 4 * (q - p)
    np.testing.assert_allclose(to_learner, expected, atol=1e-12)


def test_non_target_gradient(double_precision):
    target, learner = random_logits(4, 5), random_logits(4, 5, seed=1)
    labels = random_labels(4, num_classes=5)
    loss = NonTargetKLDivergence(temperature=2.0)
    to_target, to_learner = gradients(
        lambda target, learner: loss(
            {"logits": target, "labels": labels}, learner
        ),
        target,
        learner,
    )
    np.testing.assert_array_equal(to_target, np.zeros((4, 5)))
    p, q = (
        references.softmax(references.without_target(logits, labels) / 2.0)
        for logits in (target, learner)
    )
    np.testing.assert_allclose(
        references.without_target(to_learner, labels),
        2.0 / 4 * (q - p),
        atol=1e-12,
    )
    np.testing.assert_array_equal(to_learner[np.arange(4), labels], np.zeros(4))


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
@pytest.mark.parametrize("batch", [1, 4])
def test_two_classes(scale, batch):
    target, learner = scale * random_logits(2, batch, 2)
    labels = np.arange(batch) % 2
    loss = NonTargetKLDivergence()
    assert non_target_divergence(loss, target, learner, labels) == 0.0
    _, gradient = gradients(
        lambda target, learner: loss(
            {"logits": target, "labels": labels}, learner
        ),
        target,
        learner,
    )
    np.testing.assert_array_equal(gradient, np.zeros((batch, 2)))


@pytest.mark.parametrize("scale", [0.0, 1e4])
def test_constant_and_huge_logits(scale):
    logits = scale * random_logits(4, 5)
    labels = random_labels(4, num_classes=5)
    loss = NonTargetKLDivergence()
    assert divergence(KLDivergence(), logits, logits) == 0.0
    assert non_target_divergence(loss, logits, logits, labels) == 0.0
    _, gradient = gradients(KLDivergence(), logits, -logits)
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(
        divergence(KLDivergence(), logits, -logits),
        references.kl(logits, -logits).mean(),
        rtol=1e-6,
    )


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_weights_of_zero_leave_nothing(scale):
    target, learner = scale * random_logits(2, 4, 5)
    weights = np.zeros(4, "float32")
    assert divergence(KLDivergence(), target, learner, weights) == 0.0
    _, gradient = gradients(
        lambda *logits: KLDivergence()(*logits, sample_weight=weights),
        target,
        learner,
    )
    np.testing.assert_array_equal(gradient, np.zeros((4, 5)))


@pytest.mark.parametrize("shape", [(3, 5), (2, 8, 8, 40)])
def test_compiled_with_unknown_batch_size(shape):
    target, learner = random_logits(*shape), random_logits(*shape, seed=1)
    labels = random_labels(*shape[:-1], num_classes=shape[-1])

    def losses(target, learner, labels):
        return (
            KLDivergence(4.0)(target, learner),
            NonTargetKLDivergence()(
                {"logits": target, "labels": labels}, learner
            ),
        )

    total, rest = evaluate(
        losses, target, learner, labels, unknown_batch_size=True
    )
    expected = 16.0 * references.kl(target, learner, 4.0).mean()
    np.testing.assert_allclose(total, expected, rtol=1e-4)
    expected = references.kl(
        references.without_target(target, labels),
        references.without_target(learner, labels),
    ).mean()
    np.testing.assert_allclose(rest, expected, rtol=1e-4)


@pytest.mark.parametrize("create", [KLDivergence, NonTargetKLDivergence])
def test_serializes(create):
    loss = create(temperature=3.0, reduction="sum", name="soft_labels")
    copy = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(copy) is create
    assert copy.get_config() == loss.get_config()
    assert copy.temperature == 3.0


@pytest.mark.parametrize("create", [KLDivergence, NonTargetKLDivergence])
@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_rejects_a_temperature_that_is_not_positive(create, temperature):
    with pytest.raises(ValueError, match=f"positive.*={temperature}"):
        create(temperature)


def test_non_target_of_logits_without_the_labels_class():
    random = np.random.default_rng(0)
    target, learner = random.normal(size=(2, 5, 4)).astype("float32")
    labels = random.integers(0, 4, 5)
    loss = NonTargetKLDivergence(temperature=2.0)
    whole = loss({"logits": target, "labels": labels}, learner)
    keep = np.arange(4) != labels[:, None]
    rest = [logits[keep].reshape(5, 3) for logits in (target, learner)]
    parts = loss({"logits": rest[0]}, rest[1])
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(parts),
        keras.ops.convert_to_numpy(whole),
        rtol=1e-5,
    )
    with pytest.raises(ValueError, match="needs the labels"):
        loss(target, learner)
