"""SHAKE: its shadow head and its terms against plain numpy."""

import keras
import numpy as np
import pytest

from keras_c2kd.methods import SHAKE
from keras_c2kd.methods import Targets
from tests.helpers import references
from tests.helpers.evaluate import evaluate
from tests.helpers.gradients import gradients
from tests.helpers.references import random_labels
from tests.helpers.references import random_logits
from tests.helpers.toys import toy_distiller
from tests.layers.test_convolution_block import block_by_hand
from tests.layers.test_convolution_block import moved_weights

pytest_plugins = ["tests.helpers.double_precision"]

HEADS = ("student", "teacher", "shadow")


def normalized(logits):
    mean = logits.mean(axis=-1, keepdims=True)
    variance = logits.var(axis=-1, keepdims=True)
    return 3.1415 * (logits - mean) / np.sqrt(variance + 1e-7)


def by_hand(heads, labels, weights, temperature=4.0):
    """The terms without their factors, means over the rows."""
    s, t, h = (normalized(heads[name]) for name in HEADS)

    def divergence(learner, target):
        return temperature**2 * references.kl(target, learner, temperature)

    rows = {
        "student_supervised": references.cross_entropy(s, labels),
        "distillation": divergence(s, t),
        "shadow_supervised": references.cross_entropy(h, labels),
        "shadow_mutual": divergence(h, s) + divergence(s, h),
        "shadow_hint": ((h - t) ** 2).mean(axis=-1),
    }
    return {name: (weights * values).mean() for name, values in rows.items()}


def terms(method, labels, weights, *logits):
    """The method's terms; the shadow's logits are given."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    heads = dict(zip(HEADS, logits))
    if weights is not None:
        weights = keras.ops.convert_to_tensor(weights, keras.config.floatx())
    outputs = {
        "student": {"logits": heads["student"]},
        "teacher": {"logits": heads["teacher"]},
        "heads": {"shadow": heads["shadow"]},
    }
    targets = Targets(
        labels,
        weights,
        None,
        lambda logits: loss(labels, logits, sample_weight=weights),
    )
    return method.compute_losses(outputs, targets)[0]


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(6, 5), (4, 2), (1, 3), (2, 3, 4, 5)])
@pytest.mark.parametrize("weighted", [False, True])
def test_terms(shape, weighted):
    heads = {n: random_logits(*shape, seed=i) for i, n in enumerate(HEADS)}
    labels = random_labels(*shape[:-1], num_classes=shape[-1])
    weights = np.random.default_rng(0).uniform(0.5, 2.0, labels.shape)
    method = SHAKE(2.0, 3.0, 5.0, temperature=2.5)
    found = evaluate(
        lambda *x: terms(method, labels, weights if weighted else None, *x),
        *heads.values(),
    )
    ones = np.ones(labels.shape)
    expected = by_hand(heads, labels, weights if weighted else ones, 2.5)
    for name, factor in zip(method.loss_names, (2, 3, 5, 5, 5)):
        np.testing.assert_allclose(
            found[name], factor * expected[name], rtol=1e-4, err_msg=name
        )


def test_logits_do_not_depend_on_scale_and_shift():
    """What normalises the logits makes every network equally sure."""
    labels = random_labels(5, num_classes=4)
    logits = [random_logits(5, 4, seed=seed) for seed in range(3)]
    moved = [7.0 * x - 3.0 for x in logits]
    method = SHAKE()
    one, other = (
        evaluate(lambda *x: terms(method, labels, None, *x), *given)
        for given in (logits, moved)
    )
    for name in method.loss_names:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-4)


def test_equal_networks_agree():
    labels = random_labels(5, num_classes=4)
    logits = random_logits(5, 4)
    found = evaluate(lambda *x: terms(SHAKE(), labels, None, *x), *[logits] * 3)
    for name in ("distillation", "shadow_mutual", "shadow_hint"):
        np.testing.assert_allclose(found[name], 0.0, atol=1e-6)


@pytest.mark.parametrize("scale", [0.0, 1e4])
def test_constant_and_huge_logits(scale):
    labels = random_labels(5, num_classes=4)
    logits = [scale * random_logits(5, 4, seed=seed) for seed in range(3)]

    def total(*x):
        return sum(terms(SHAKE(), labels, None, *x).values())

    assert np.isfinite(evaluate(total, *logits))
    for gradient in gradients(total, *logits):
        assert np.isfinite(gradient).all()


def test_gradients_of_the_terms(double_precision):
    """Each divergence trains its learner only; the teacher, nothing."""
    labels = random_labels(3, num_classes=4)
    heads = {n: random_logits(3, 4, seed=i) for i, n in enumerate(HEADS)}
    method = SHAKE()

    def one_side(term, learner):
        """The part of a term that moves the learner."""

        def value(moved):
            given = {n: x.copy() for n, x in heads.items()}
            if term == "shadow_mutual":
                other = "shadow" if learner == "student" else "student"
                target = normalized(given[other])
                rows = references.kl(target, normalized(moved), 4.0)
                return 16.0 * rows.mean()
            given[learner] = moved
            return by_hand(given, labels, np.ones(3))[term]

        return value

    for name, learners in (
        ("student_supervised", ["student"]),
        ("distillation", ["student"]),
        ("shadow_supervised", ["shadow"]),
        ("shadow_mutual", ["student", "shadow"]),
        ("shadow_hint", ["shadow"]),
    ):
        found = gradients(
            lambda *x, name=name: terms(method, labels, None, *x)[name],
            *heads.values(),
        )
        found = dict(zip(HEADS, found))
        for learner in learners:
            expected = references.numerical_gradient(
                one_side(name, learner), heads[learner]
            )
            np.testing.assert_allclose(
                found.pop(learner), expected, 1e-5, 1e-7, err_msg=name
            )
        # The distiller holds a fixed teacher back; the hint relies on that.
        found.pop("teacher")
        assert not any(gradient.any() for gradient in found.values()), name


def build(method, maps, logits=(4,)):
    shapes = {
        name: (None, *array.shape[1:])
        for name, array in zip(method.teacher_features, maps)
    }
    method.build(
        {
            "student": {"logits": (None, *logits)},
            "teacher": {"logits": (None, *logits), **shapes},
        }
    )
    return method


MAPS = {
    "halved": [(6, 4, 2), (3, 2, 3), (2, 1, 5)],
    "equal": [(3, 4, 2), (3, 4, 3), (3, 4, 5)],
    "sequence": [(6, 2), (3, 3), (3, 5)],
}


@pytest.mark.parametrize("shapes", MAPS.values(), ids=MAPS)
@pytest.mark.parametrize(
    "options",
    [
        {"negative_slope": 0.0},
        {"negative_slope": 0.1},
        # C2KD's code: ReLU and a slope behind the 1x1 convolutions alone.
        {"pointwise_negative_slope": 0.1, "shadow_channels": 6},
    ],
    ids=str,
)
def test_the_shadow(shapes, options):
    maps = [
        random_logits(4, *shape, seed=seed) for seed, shape in enumerate(shapes)
    ]
    method = SHAKE(own_classifier=True, **options)
    moved_weights(build(method, maps))

    def call(*tensors):
        teacher = dict(zip(method.teacher_features, tensors))
        # What the normalisation counts is thrown away.
        with keras.StatelessScope():
            return method.call({"teacher": teacher}, training=True)["shadow"]

    found = evaluate(call, *maps)
    slope = options.get("negative_slope", 0.0)
    for name in ("fuse_1", "fuse_2", "fuse_3"):
        assert getattr(method, name).negative_slope == slope
    slope = options.get("pointwise_negative_slope", slope)
    for name in ("skip_2", "skip_3"):
        assert getattr(method, name).negative_slope == slope
    channels = options.get("shadow_channels", 5)
    assert method.fuse_3.filters == channels
    first, second, third = (x[:, :, None] if x.ndim == 3 else x for x in maps)
    x = block_by_hand(method.fuse_1, first)
    x = x + block_by_hand(method.skip_2, second)
    x = block_by_hand(method.fuse_2, x) + block_by_hand(method.skip_3, third)
    x = block_by_hand(method.fuse_3, x).mean(axis=(1, 2))
    kernel, bias = method.classifier.get_weights()
    assert kernel.shape == (channels, 4)
    np.testing.assert_allclose(found, x @ kernel + bias, atol=2e-4)


def test_the_teachers_classifier_stays():
    """It is applied with constant weights, and is no weight of the method."""
    distiller = toy_distiller(SHAKE(), compiled=False)
    classifier = distiller.teacher.get_layer("logits")
    own = [id(variable) for variable in distiller.method.variables]
    assert not {id(classifier.kernel), id(classifier.bias)} & set(own)
    assert not any("classifier" in v.path for v in distiller.method.variables)


def test_maps_that_do_not_follow_one_another():
    maps = [
        np.zeros((2, *shape)) for shape in [(8, 8, 2), (3, 3, 2), (2, 2, 2)]
    ]
    with pytest.raises(ValueError, match=r"halves.*8, 8, 2.*3, 3, 2"):
        build(SHAKE(own_classifier=True), maps)
    with pytest.raises(ValueError, match="is fixed.*'all'"):
        SHAKE(teacher_update="all")
    for wrong in (0, 2.0, True):
        with pytest.raises(ValueError, match="`shadow_channels` must be an"):
            SHAKE(own_classifier=True, shadow_channels=wrong)
    for wrong in (-0.1, float("nan"), "0.1"):
        with pytest.raises(ValueError, match="`pointwise_negative_slope`"):
            SHAKE(pointwise_negative_slope=wrong)
    with pytest.raises(ValueError, match="12 features.*shadow_channels=7"):
        toy_distiller(SHAKE(shadow_channels=7))
    # Its width is another one, and with these channels it fits.
    taps = dict.fromkeys(SHAKE.teacher_features, "relu_0")
    toy_distiller(SHAKE(shadow_channels=12), teacher_features=taps)
    with pytest.raises(ValueError, match="stage_3.*8 channels"):
        toy_distiller(
            SHAKE(),
            teacher_features={
                "stage_1": "relu_0",
                "stage_2": "relu_0",
                "stage_3": "relu_0",
            },
        )
