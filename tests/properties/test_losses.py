"""Every loss, on logits and features of any size, form and magnitude."""

import dataclasses

import keras
import numpy as np
import pytest
from hypothesis import example
from hypothesis import given
from hypothesis import strategies as st

from keras_c2kd import losses
from tests.helpers import references
from tests.helpers.gradients import gradients

# A new shape is a new program on two of the backends.
SHAPES = [(1, 2), (6, 3), (3, 40), (2, 3, 4), (2, 2, 3, 5)]
MAPS = [(1, 1, 1, 2), (4, 5, 3, 6), (3, 8, 8, 2)]
# What is promised is 1e4; more is for good measure.
MAGNITUDES = [0.0, 1e-30, 1e-4, 1.0, 100.0, 1e4]
FORMS = ["normal", "constant", "ties", "one hot", "equal"]


@dataclasses.dataclass(frozen=True)
class Case:
    """Arrays that are drawn by their seed: they shrink to a short line."""

    shape: tuple
    magnitude: float
    form: str
    seed: int
    weighted: str

    @property
    def random(self):
        return np.random.default_rng(self.seed)

    def arrays(self):
        """Target and learner, of float64 that float32 holds."""
        target, learner = self.random.normal(0, 1, (2, *self.shape))
        if self.form == "constant":
            target = np.ones_like(target)
        elif self.form == "ties":
            target, learner = np.round(target), np.round(learner)
        elif self.form == "one hot":
            target = references.one_hot(self.labels(), self.shape[-1])
        elif self.form == "equal":
            learner = target
        return tuple(
            (self.magnitude * array).astype("float32").astype("float64")
            for array in (target, learner)
        )

    def labels(self):
        return self.random.integers(0, self.shape[-1], self.shape[:-1])

    def weights(self, shape):
        weights = self.random.integers(0, 3, shape).astype("float64")
        return {
            "none": None,
            "some": weights,
            "zero": 0 * weights,
            "column": weights[..., None],
        }[self.weighted]


def cases(shapes):
    return st.builds(
        Case,
        shape=st.sampled_from(shapes),
        magnitude=st.sampled_from(MAGNITUDES),
        form=st.sampled_from(FORMS),
        seed=st.integers(0, 2**32),
        weighted=st.sampled_from(["none", "some", "zero", "column"]),
    )


def kl(target, learner, labels):
    return references.kl(target, learner, 2.0) * 4.0


def non_target_kl(target, learner, labels):
    rest = (references.without_target(x, labels) for x in (target, learner))
    return references.kl(*rest)


def target_kl(target, learner, labels):
    """`KL((p_t, 1 - p_t) || (q_t, 1 - q_t))` by sums of few terms."""
    pairs = []
    for logits in (target, learner):
        rest = references.without_target(logits, labels)
        most = rest.max(axis=-1, keepdims=True)
        others = np.log(np.exp(rest - most).sum(-1)) + most[..., 0]
        own = np.take_along_axis(logits, labels[..., None], -1)[..., 0]
        pairs.append(np.stack([own, others], -1))
    return references.kl(*pairs)


def dkd(target, learner, labels):
    halves = [
        16.0 * function(target / 4, learner / 4, labels)
        for function in (target_kl, non_target_kl)
    ]
    return halves[0] + 8.0 * halves[1]


def nkd(target, learner, labels):
    """A cross-entropy: without the target's own entropy it is a divergence."""
    p, log_q = references.softmax(target), references.log_softmax(learner)
    own = np.expand_dims(labels, -1)
    first = -np.take_along_axis(p * log_q, own, -1)[..., 0]
    rest = (references.without_target(x, labels) for x in (target, learner))
    p, log_q = (f(x) for f, x in zip(LOG_PAIR, rest))
    return first - 1.5 * (p * log_q).sum(axis=-1)


LOG_PAIR = references.softmax, references.log_softmax
# Losses of rows, and what they are.
ROWS = {
    losses.KLDivergence: (losses.KLDivergence(2.0), kl, False),
    losses.NonTargetKLDivergence: (
        losses.NonTargetKLDivergence(),
        non_target_kl,
        True,
    ),
    losses.TargetKLDivergence: (losses.TargetKLDivergence(), target_kl, True),
    losses.DKDLoss: (losses.DKDLoss(), dkd, True),
    losses.NKDLoss: (losses.NKDLoss(), nkd, True),
}
# Losses of batches: of logits, of embeddings, of maps.
BATCHES = {
    losses.DISTLoss: (losses.DISTLoss(), SHAPES),
    losses.RelationalDistance: (losses.RelationalDistance(), SHAPES[:3]),
    losses.RelationalAngle: (losses.RelationalAngle(), SHAPES[:3]),
    losses.CrossImageRelation: (losses.CrossImageRelation(), MAPS),
    losses.FeatureMeanSquaredError: (losses.FeatureMeanSquaredError(), MAPS),
    losses.HierarchicalContextLoss: (losses.HierarchicalContextLoss(), MAPS),
}


def test_no_loss_is_forgotten():
    public = {getattr(losses, name) for name in losses.__all__}
    assert {*ROWS, *BATCHES} == public - {losses.RelationalLoss}


def value(loss, target, learner, labels=None, weights=None):
    """The loss in numpy. Nothing is jitted: each case has other shapes."""
    target, learner = target.astype("float32"), learner.astype("float32")
    if labels is not None:
        target = {"logits": target, "labels": labels}
    return float(loss(target, learner, sample_weight=weights))


def slope(loss, target, learner, labels=None, weights=None):
    """Gradients of the loss by target and learner."""

    def call(target, learner):
        if labels is not None:
            target = {"logits": target, "labels": labels}
        return loss(target, learner, sample_weight=weights)

    return gradients(call, target, learner)


def check_finite_and_held(loss, case, target, learner, labels, weights):
    found = value(loss, target, learner, labels, weights)
    assert np.isfinite(found), found
    by_target, by_learner = slope(loss, target, learner, labels, weights)
    assert np.isfinite(by_learner).all()
    assert not by_target.any()
    if case.weighted == "zero":
        assert found == 0 and not by_learner.any()
    return found


@pytest.mark.parametrize("kind", ROWS)
@given(case=cases(SHAPES))
@example(case=Case((2, 3, 4), 1e4, "one hot", 0, "column"))
@example(case=Case((2, 3, 4), 1e4, "constant", 4967, "none"))
@example(case=Case((6, 3), 1e30, "normal", 0, "some"))
def test_losses_of_rows(kind, case):
    """Finite with finite slopes, equal to float64, none of it from weight 0."""
    loss, reference, takes_labels = ROWS[kind]
    target, learner = case.arrays()
    labels, weights = case.labels(), case.weights(case.shape[:-1])
    given_labels = labels if takes_labels else None
    found = check_finite_and_held(
        loss, case, target, learner, given_labels, weights
    )
    rows = reference(target, learner, labels)
    counted = np.ones_like(rows)
    if weights is not None:
        counted = weights.reshape(rows.shape)
    # Float32 rounds logits of magnitude `m` by a share of `m`, and DKD
    # multiplies what is rounded by `T^2 (alpha + beta)`, 144.
    tolerance = 1e-5 * (1.0 + 16.0 * case.magnitude)
    tolerance *= 10.0 if kind is losses.DKDLoss else 1.0
    expected = (rows * counted).mean()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=tolerance)
    if kind is not losses.NKDLoss:
        assert found >= -tolerance
        if case.form == "equal":
            assert abs(found) <= tolerance


@pytest.mark.parametrize("kind", BATCHES)
@given(data=st.data())
def test_losses_of_batches(kind, data):
    """Finite with finite slopes; rows of weight 0 and their order are none."""
    loss, shapes = BATCHES[kind]
    case = data.draw(cases(shapes), label="case")
    target, learner = case.arrays()
    rows = case.shape[:-1] if kind is losses.DISTLoss else case.shape[:1]
    weights = case.weights(rows)
    found = check_finite_and_held(loss, case, target, learner, None, weights)
    scale = 1.0 + case.magnitude**2
    assert found >= -1e-5
    if case.form == "equal" and kind is not losses.DISTLoss:
        assert found <= 1e-4 * scale
    order = case.random.permutation(len(target))
    moved = value(
        loss,
        target[order],
        learner[order],
        weights=None if weights is None else weights[order],
    )
    np.testing.assert_allclose(found, moved, rtol=1e-3, atol=1e-5 * scale)
    if weights is not None:
        absent = weights.reshape(rows) == 0
        other = learner.copy()
        other[absent] = 3.0 * case.random.normal(size=other[absent].shape)
        without = value(loss, target, other, weights=weights)
        np.testing.assert_allclose(found, without, rtol=1e-3, atol=1e-5 * scale)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int32", "float64"])
@pytest.mark.parametrize("kind", [*ROWS, *BATCHES])
def test_logits_of_every_dtype(kind, dtype):
    """Computed in float32, from whatever numbers are there."""
    if kind in ROWS:
        loss, _, takes_labels = ROWS[kind]
        case = Case((6, 3), 100.0, "ties", 3, "none")
    else:
        (loss, shapes), takes_labels = BATCHES[kind], False
        case = Case(shapes[1], 100.0, "ties", 3, "none")
    labels = keras.ops.convert_to_tensor(case.labels())
    full, other = [], []
    for array in case.arrays():
        tensor = keras.ops.convert_to_tensor(array, "float32")
        other.append(keras.ops.cast(tensor, dtype))
        full.append(keras.ops.cast(other[-1], "float32"))
    results = []
    for target, learner in (full, other):
        if takes_labels:
            target = {"logits": target, "labels": labels}
        results.append(float(loss(target, learner)))
    assert results[0] == pytest.approx(results[1], rel=1e-6)


@pytest.mark.parametrize("kind", [*ROWS, *BATCHES])
@given(axis=st.integers(0, 3), size=st.sampled_from([1, 5]))
def test_shapes_that_do_not_fit(kind, axis, size):
    """Broadcasting would give a number, of something else."""
    if kind in ROWS:
        loss, _, takes_labels = ROWS[kind]
        shape = (6, 3)
    else:
        (loss, shapes), takes_labels = BATCHES[kind], False
        shape = shapes[1]
    other = list(shape)
    other[axis % len(shape)] = size
    is_width = axis % len(shape) == len(shape) - 1
    widths_differ = (
        losses.RelationalDistance,
        losses.RelationalAngle,
        losses.CrossImageRelation,
    )
    if tuple(other) == shape or (is_width and kind in widths_differ):
        return
    target, learner = np.ones(other, "float32"), np.ones(shape, "float32")
    if takes_labels:
        target = {"logits": target, "labels": np.zeros(6, "int32")}
    with pytest.raises(ValueError, match="Received: "):
        loss(target, learner)


@pytest.mark.parametrize("kind", [k for k in ROWS if ROWS[k][2]])
def test_labels_that_do_not_fit(kind):
    logits = np.ones((6, 3), "float32")
    for shape in ((6, 1), (3,), (1,), (6, 3)):
        target = {"logits": logits, "labels": np.zeros(shape, "int32")}
        with pytest.raises(ValueError, match="and one label.*Received: "):
            ROWS[kind][0](target, logits)
    target = {"logits": logits[:, :1], "labels": np.zeros(6, "int32")}
    with pytest.raises(ValueError, match="at least 2 classes.*Received: "):
        ROWS[kind][0](target, logits[:, :1])


@pytest.mark.parametrize("kind", [*BATCHES][:4])
def test_weights_that_do_not_fit(kind):
    loss, shapes = BATCHES[kind]
    features = np.ones(shapes[1], "float32")
    for shape in ((5,), (1,), (len(features), 2)):
        with pytest.raises(ValueError, match="has one weight.*Received: "):
            loss(features, features, sample_weight=np.ones(shape, "float32"))
