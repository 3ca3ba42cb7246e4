"""FitNet, ReviewKD and RKD: heads and terms against plain numpy."""

import keras
import numpy as np
import pytest

from keras_c2kd.methods import RKD
from keras_c2kd.methods import FitNet
from keras_c2kd.methods import ReviewKD
from keras_c2kd.methods import Targets
from tests.helpers import references
from tests.helpers.evaluate import evaluate
from tests.helpers.gradients import gradients
from tests.helpers.references import random_labels
from tests.helpers.references import random_logits
from tests.helpers.toys import toy_data
from tests.helpers.toys import toy_distiller
from tests.layers.test_convolution_block import block_by_hand
from tests.layers.test_convolution_block import moved_weights
from tests.losses.test_feature_losses import pooled
from tests.losses.test_relational_losses import angle
from tests.losses.test_relational_losses import distance

pytest_plugins = ["tests.helpers.double_precision"]


def as_map(features):
    """A vector is one place, a sequence a column; frames are averaged."""
    if features.ndim == 2:
        return features[:, None, None]
    if features.ndim == 3:
        return features[:, :, None]
    return features.mean(axis=1) if features.ndim == 5 else features


def corners_kept(maps, size):
    """Linear interpolation along each axis, from corner to corner."""
    for axis, new in zip((1, 2), size):
        old = maps.shape[axis]
        places = np.linspace(0.0, old - 1.0, new) if new > 1 else [0.0]
        maps = np.apply_along_axis(
            lambda line, places=places, old=old: np.interp(
                places, np.arange(old), line
            ),
            axis,
            maps,
        )
    return maps


def floored(maps, size):
    """The nearest place, rounded down."""
    rows, columns = (
        np.floor(np.arange(new) * old / new).astype(int)
        for new, old in zip(size, maps.shape[1:3])
    )
    return maps[:, rows][:, :, columns]


def hint_by_hand(method, student, teacher):
    """What FitNet's regressor makes of the student's features."""
    student, teacher = as_map(student), as_map(teacher)
    if method.regressor != "convolution":
        student = corners_kept(student, teacher.shape[1:3])
    return block_by_hand(method.adaptation, student)


def review_by_hand(method, students, teachers):
    """ReviewKD's maps from deep to shallow, each list from shallow on."""
    reviewed, residual = [], None
    for number in reversed(range(len(students))):
        maps = block_by_hand(method.entries[number], as_map(students[number]))
        if residual is not None:
            deeper = floored(residual, maps.shape[1:3])
            kernel, bias = (
                keras.ops.convert_to_numpy(w)
                for w in method.gates[number].weights
            )
            both = np.concatenate([maps, deeper], axis=-1)
            gates = 1.0 / (1.0 + np.exp(-(both @ kernel[0, 0] + bias)))
            maps = gates[..., :1] * maps + gates[..., 1:] * deeper
        residual = floored(maps, as_map(teachers[number]).shape[1:3])
        reviewed.insert(0, block_by_hand(method.exits[number], residual))
    return reviewed


def context(target, learner):
    """HCL of each sample; a map is pooled to at most so many places."""
    height, width = target.shape[1:3]
    loss = ((target - learner) ** 2).mean(axis=(1, 2, 3))
    weight = total = 1.0
    for level in (4, 2, 1):
        if level < max(height, width):
            weight, total = weight / 2, total + weight / 2
            size = (min(level, height), min(level, width))
            difference = pooled(target, size) - pooled(learner, size)
            loss = loss + weight * (difference**2).mean(axis=(1, 2, 3))
    return loss / total


def built(method, student, teacher):
    """Build a method for lists of features; no weight keeps its default."""
    method.build(
        {
            role: {
                "logits": (None, 4),
                **{
                    name: (None, *features.shape[1:])
                    for name, features in zip(names, arrays)
                },
            }
            for role, names, arrays in (
                ("student", method.student_features, student),
                ("teacher", method.teacher_features, teacher),
            )
        }
    )
    moved_weights(method)
    return method


def run(method, tensors, weights=None):
    """Heads and terms of student's and then teacher's features."""
    count = len(method.student_features)
    samples = tensors[0].shape[0]
    logits = keras.ops.zeros((samples, 4))
    outputs = {
        "student": dict(zip(method.student_features, tensors[:count])),
        "teacher": dict(zip(method.teacher_features, tensors[count:])),
    }
    for role in outputs.values():
        role["logits"] = logits
    # What the heads' normalisation counts is thrown away.
    with keras.StatelessScope():
        outputs["heads"] = method(outputs, training=True)
        losses, _ = method.compute_losses(
            outputs,
            Targets(
                labels=keras.ops.zeros((samples,), "int32"),
                weights=weights,
                valid=None,
                supervised_loss=keras.ops.mean,
                sample_weights=weights,
            ),
        )
    return outputs["heads"], losses


def random_features(shapes, samples=5, seed=0):
    return [
        random_logits(samples, *shape, seed=seed + number)
        for number, shape in enumerate(shapes)
    ]


HINTS = {
    # Two modalities' maps, a sequence, frames, a vector: any two sizes.
    "grown": ("resize", (2, 2, 3), (3, 5, 4)),
    "shrunk": ("resize", (7, 4, 3), (3, 1, 2)),
    "sequence_to_vector": ("resize", (6, 3), (4,)),
    "vector_to_frames": ("resize", (3,), (2, 3, 2, 4)),
    "equal": ("convolution", (3, 2, 3), (3, 2, 4)),
    "larger": ("convolution", (5, 6, 3), (4, 3, 4)),
    "halved": ("convolution", (6, 4, 3), (3, 2, 4)),
    "doubled": ("convolution", (3, 2, 3), (6, 4, 4)),
    "pointwise": ("pointwise", (3, 2, 3), (3, 2, 4)),
    "pointwise_grown": ("pointwise", (2, 2, 3), (3, 5, 4)),
    "pointwise_vectors": ("pointwise", (3,), (4,)),
}


def test_a_pointwise_regressor_by_hand():
    """A matrix at each place: no bias, no normalisation, no activation."""
    method = FitNet(regressor="pointwise")
    features = [np.ones((2, 1, 2, 2)), np.zeros((2, 1, 2, 1))]
    built(method, features[:1], features[1:])
    assert len(method.weights) == 1
    method.weights[0].assign([[[[2.0], [-5.0]]]])
    features[0][0, 0, 1] = [1.0, 0.0]
    heads, losses = evaluate(lambda *x: run(method, x), *features)
    np.testing.assert_array_equal(
        heads["hint"][..., 0], [[[-3.0, 2.0]], [[-3.0, -3.0]]]
    )
    assert losses["hint"] == 100.0 * (9 + 4 + 9 + 9) / 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("regressor", "student", "teacher"), HINTS.values(), ids=HINTS
)
def test_hints(regressor, student, teacher):
    arrays = random_features([student, teacher])
    method = built(FitNet(3.0, regressor), arrays[:1], arrays[1:])
    weights = np.linspace(0.0, 2.0, 5).astype("float32")
    hint, target = hint_by_hand(method, *arrays), as_map(arrays[1])
    assert hint.shape == target.shape
    # ReLU comes last, or nothing.
    assert (hint > 0.0).any()
    assert (hint == 0.0).any() == (regressor != "pointwise")
    heads, losses = evaluate(lambda *x: run(method, x, weights), *arrays)
    np.testing.assert_allclose(heads["hint"], hint, atol=1e-4)
    rows = ((hint - target) ** 2).mean(axis=(1, 2, 3))
    expected = 3.0 * (weights * rows).mean()
    np.testing.assert_allclose(losses["hint"], expected, rtol=1e-4)


# The levels of two modalities: neither sizes nor widths need agree.
STUDENT = [(6, 4, 3), (3, 2, 4), (5,)]
TEACHER = [(5, 7, 2), (4, 3, 3), (6,)]


@pytest.mark.parametrize("levels", [1, 3])
@pytest.mark.parametrize("width", [None, 2])
def test_reviewed_maps(levels, width):
    student = random_features(STUDENT[-levels:])
    teacher = random_features(TEACHER[-levels:], seed=7)
    method = ReviewKD(levels, 2.0, warmup_steps=4, width=width)
    built(method, student, teacher)
    assert method.entries[0].filters == (width or 5)
    assert len(method.gates) == levels - 1
    method.step.assign(1)
    weights = np.linspace(0.0, 2.0, 5).astype("float32")
    heads, losses = evaluate(
        lambda *x: run(method, x, weights), *student, *teacher
    )
    expected = review_by_hand(method, student, teacher)
    rows = 0.0
    for name, maps, target in zip(method.student_features, expected, teacher):
        np.testing.assert_allclose(heads[name], maps, atol=1e-4, err_msg=name)
        rows = rows + context(as_map(target), maps)
    # One of four steps is done.
    expected = 2.0 / 4 * (weights * rows).mean()
    np.testing.assert_allclose(losses["review"], expected, rtol=1e-4)


def test_the_common_width_is_at_most_512():
    shapes = [(2, 2, 600)]
    arrays = random_features(shapes, samples=1)
    assert built(ReviewKD(1), arrays, arrays).entries[0].filters == 512


def test_the_warm_up_counts_steps():
    arrays = random_features(STUDENT[-1:]), random_features(TEACHER[-1:])
    method = built(ReviewKD(1, warmup_steps=2), *arrays)
    names = method.student_features

    def compute():
        outputs = {
            role: {names[0]: x[0].astype("float32")}
            for role, x in zip(("student", "teacher"), arrays)
        }
        outputs["student"]["logits"] = np.zeros((5, 4), "float32")
        outputs["heads"] = {names[0]: np.ones((5, 1, 1, 6), "float32")}
        targets = Targets(None, None, None, keras.ops.mean)
        return float(method.compute_losses(outputs, targets)[0]["review"])

    values = [compute() for _ in range(4)]
    full = ((arrays[1][0] - 1.0) ** 2).mean()
    np.testing.assert_allclose(values, [0, full / 2, full, full], rtol=1e-5)


def test_relations():
    student, teacher = random_features([(3, 2, 4), (5, 6)], samples=6)
    embeddings = teacher.mean(axis=1), student.mean(axis=(1, 2))
    weights = np.asarray([1, 1, 0, 1, 1, 0], "float32")
    method = built(RKD(2.0, 3.0), [student], [teacher])
    assert method.weights == []
    for given, kept, scale in (
        (None, slice(None), 1.0),
        # Pairs and triples of the rows that count, times the mean weight.
        (weights, weights > 0, weights.mean()),
    ):
        heads, losses = evaluate(
            lambda *x, given=given: run(method, x, given), student, teacher
        )
        assert heads == {}
        target, learner = (x[kept] for x in embeddings)
        for name, expected in (
            ("relational_distance", 2.0 * distance(target, learner)),
            ("relational_angle", 3.0 * angle(target, learner)),
        ):
            np.testing.assert_allclose(
                losses[name], scale * expected, rtol=1e-4, err_msg=name
            )


@pytest.mark.parametrize(
    ("options", "names", "least"),
    [
        ({}, {"relational_distance", "relational_angle"}, 3),
        ({"distance_weight": 0.0}, {"relational_angle"}, 3),
        ({"angle_weight": 0.0}, {"relational_distance"}, 2),
    ],
)
def test_relations_of_weight_zero_are_left_out(options, names, least):
    method = RKD(**options)
    assert set(method.loss_names) == {"student_supervised"} | names
    assert method.min_batch_size == least
    # Fewer samples have no such relation: the terms are 0, not NaN.
    arrays = random_features([(3,), (4,)], samples=1)
    _, losses = evaluate(lambda *x: run(method, x), *arrays)
    assert set(losses) == set(method.loss_names)
    assert not any(losses[name] for name in names)


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", ["resize", "convolution", "review", "relations"]
)
def test_gradients_reach_the_student_only(case, double_precision):
    student = {"convolution": [(4, 3, 2)], "review": [(3, 2, 2), (3,)]}
    teacher = {"convolution": [(3, 2, 2)], "review": [(2, 4, 2), (2,)]}
    student = random_features(student.get(case, [(2, 2, 2)]), samples=4)
    teacher = random_features(teacher.get(case, [(3, 2, 2)]), 4, seed=7)
    create = {"review": lambda: ReviewKD(2), "relations": RKD}.get(
        case, lambda: FitNet(regressor=case)
    )
    method = built(create(), student, teacher)

    def reference(student):
        if case == "relations":
            target, learner = (x.mean(axis=(1, 2)) for x in (*teacher, student))
            return 25 * distance(target, learner) + 50 * angle(target, learner)
        if case == "review":
            # The deeper level is held, the shallow one moves.
            reviewed = review_by_hand(
                method, [student, *given_student[1:]], teacher
            )
            return sum(
                context(as_map(target), maps).mean()
                for target, maps in zip(teacher, reviewed)
            )
        difference = hint_by_hand(method, student, *teacher) - teacher[0]
        return 100.0 * (difference**2).mean()

    given_student = student
    count = len(student)
    names = [n for n in method.loss_names if n != "student_supervised"]
    found = gradients(
        lambda *x: sum(run(method, x)[1][name] for name in names),
        *student,
        *teacher,
    )
    assert all(gradient.any() for gradient in found[:count])
    assert not any(gradient.any() for gradient in found[count:])
    expected = references.numerical_gradient(reference, student[0], 1e-6)
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "create",
    [FitNet, lambda: ReviewKD(3, 2.0), lambda: RKD(5.0, 7.0)],
    ids=["hint", "review", "relations"],
)
def test_in_a_distiller(create):
    """The taps that a method names arrive, and the terms are logged."""
    inputs, labels = toy_data(12)
    weights = np.where(np.arange(12) % 4 == 0, 0.0, 1.0).astype("float32")
    method = create()
    distiller = toy_distiller(method)
    outputs = distiller.compute_outputs(inputs)
    arrays = {
        role: [
            keras.ops.convert_to_numpy(outputs[role][name])
            for name in method.student_features
        ]
        for role in ("student", "teacher")
    }
    student, teacher = arrays["student"], arrays["teacher"]
    if isinstance(method, FitNet):
        hint = hint_by_hand(method, *student, *teacher)
        rows = ((hint - teacher[0]) ** 2).mean(axis=(1, 2, 3))
        expected = {"hint": 100.0 * (weights * rows).mean()}
    elif isinstance(method, ReviewKD):
        reviewed = review_by_hand(method, student, teacher)
        rows = sum(
            context(as_map(target), maps)
            for target, maps in zip(teacher, reviewed)
        )
        expected = {"review": 2.0 * (weights * rows).mean()}
    else:
        kept = weights > 0
        pair = [x[0].mean(axis=(1, 2))[kept] for x in (teacher, student)]
        expected = {
            "relational_distance": 5.0 * weights.mean() * distance(*pair),
            "relational_angle": 7.0 * weights.mean() * angle(*pair),
        }
    logits = keras.ops.convert_to_numpy(outputs["student"]["logits"])
    expected["student_supervised"] = (
        weights * references.cross_entropy(logits.astype("float64"), labels)
    ).mean()
    logs = distiller.train_on_batch(
        inputs, labels, sample_weight=weights, return_dict=True
    )
    for name in method.loss_names:
        np.testing.assert_allclose(
            float(logs[name]), expected[name], rtol=1e-3, err_msg=name
        )


def test_bad_arguments():
    for create, message in (
        (lambda: FitNet(regressor="linear"), "regressor='linear'"),
        (lambda: ReviewKD(levels=0), "at least one level.*levels=0"),
        (lambda: ReviewKD(warmup_steps=-1), "warmup_steps=-1"),
        (lambda: RKD(0.0, 0.0), "At least one relation.*distance_weight=0.0"),
        (lambda: ReviewKD(teacher_update="top"), "fixed.*'top'"),
        (lambda: RKD(teacher_update="all"), "fixed.*'all'"),
    ):
        with pytest.raises(ValueError, match=message):
            create()


@pytest.mark.parametrize(
    ("create", "student", "teacher", "message"),
    [
        (FitNet, [(None, 2, 3)], [(2, 2, 3)], "known size.*student_features"),
        (FitNet, [(2, 2, 3)], [(2, None, 3)], "known size.*teacher_features"),
        (FitNet, [(2, 2, 3)], [()], "teacher_features.*Tap another layer"),
        # Neither a whole factor in both directions nor one kernel.
        ("convolution", [(4, 3, 2)], [(2, 3, 2)], "No single convolution"),
        ("convolution", [(3, 2, 2)], [(6, 3, 2)], "No single convolution"),
        ("convolution", [(4, 2, 2)], [(3, 3, 2)], "No single convolution"),
        ("convolution", [(3, 3, 2)], [(5, 5, 2)], 'regressor="resize"'),
        (2, [(4,), (3,)], [(2, 2, 3), (3,)], "only its last level.*'level_1'"),
        (2, [(2, 2, 3), (3,)], [(4,), (3,)], "teacher_features.*level_1"),
        (2, [(2, 2, 3), (3,)], [(2, None, 3), (3,)], "known size"),
    ],
)
def test_maps_that_do_not_fit(create, student, teacher, message):
    method = (
        create()
        if create is FitNet
        else FitNet(regressor="convolution")
        if create == "convolution"
        else ReviewKD(create)
    )
    shapes = {
        role: {
            "logits": (None, 4),
            **{
                name: (None, *shape)
                for name, shape in zip(method.student_features, given)
            },
        }
        for role, given in (("student", student), ("teacher", teacher))
    }
    with pytest.raises(ValueError, match=message):
        method.build(shapes)


def test_taps_that_are_missing_or_wrong():
    with pytest.raises(ValueError, match="level_1"):
        toy_distiller(ReviewKD(4))  # The toys name three levels.
    with pytest.raises(ValueError, match="not a layer of"):
        toy_distiller(FitNet(), student_features="relu_9")


@pytest.mark.parametrize(
    "method",
    [
        FitNet(3.0, "convolution"),
        ReviewKD(2, 3.0, warmup_steps=5, width=7),
        RKD(3.0, 0.0),
    ],
    ids=["hint", "review", "relations"],
)
def test_serialises(method):
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(method)
    )
    assert type(copy) is type(method)
    assert copy.get_config() == method.get_config()
    assert copy.loss_names == method.loss_names
    assert copy.student_features == method.student_features


def test_constant_features():
    """A dead student is finite: no NaN from a deviation of 0."""
    labels = random_labels(4, num_classes=4)
    assert labels.shape == (4,)
    for create, student, teacher in (
        (FitNet, [(2, 2, 3)], [(3, 3, 4)]),
        (lambda: ReviewKD(2), STUDENT[1:], TEACHER[1:]),
        (RKD, [(2, 2, 3)], [(3, 3, 4)]),
    ):
        for scale in (0.0, 1e4):
            arrays = [
                np.full((4, *shape), scale) for shape in (*student, *teacher)
            ]
            count = len(student)
            method = built(create(), arrays[:count], arrays[count:])
            names = [n for n in method.loss_names if n != "student_supervised"]

            def total(*x, method=method, names=names):
                losses = run(method, x)[1]
                return sum(losses[name] for name in names)

            assert np.isfinite(evaluate(total, *arrays))
            found = gradients(total, *arrays)
            assert all(np.isfinite(gradient).all() for gradient in found)
