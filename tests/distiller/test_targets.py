"""Labelled, ignored and unlabelled samples; what the loss says about labels."""

import functools

import keras
import numpy as np
import pytest

from keras_c2kd import CrossModalDistiller
from keras_c2kd import Supervised
from keras_c2kd.distiller.batch_spec import BatchSpec
from keras_c2kd.distiller.label_spec import LabelSpec
from keras_c2kd.distiller.label_spec import single_loss
from keras_c2kd.distiller.targets import targets_of_batch
from keras_c2kd.methods import C2KD
from keras_c2kd.methods import DKD
from keras_c2kd.methods import DLB
from keras_c2kd.methods import DML
from keras_c2kd.methods import NKD
from keras_c2kd.methods import USKD
from keras_c2kd.methods import FitNet
from keras_c2kd.methods import KnowledgeDistillation
from keras_c2kd.methods import PseudoLabels
from keras_c2kd.methods import ZipfKD
from keras_c2kd.selection import SelectAll
from tests.helpers.evaluate import evaluate
from tests.helpers.gradients import gradients
from tests.helpers.method_contract import contract_cases
from tests.helpers.references import cross_entropy
from tests.helpers.references import kendall
from tests.helpers.references import kl
from tests.helpers.references import one_hot
from tests.helpers.references import random_logits
from tests.helpers.references import softmax
from tests.helpers.references import without_target
from tests.helpers.toys import AUDIO
from tests.helpers.toys import NUM_CLASSES
from tests.helpers.toys import VISUAL
from tests.helpers.toys import toy_data
from tests.helpers.toys import toy_distiller
from tests.helpers.toys import toy_network

Sparse = keras.losses.SparseCategoricalCrossentropy
sparse_function = keras.losses.sparse_categorical_crossentropy
wrapper = Sparse.__mro__[1]
CLASSES, ROWS, IGNORED, UNLABELED = 5, 24, 77, -1


class SubclassOfSparse(Sparse):
    """A loss of the user's that says nothing new of labels."""


class WithoutConfig(Sparse):
    """A loss of the user's that cannot be saved."""

    def get_config(self):
        raise NotImplementedError


# Each ignores class 3 and takes logits and integers.
forms_of_one_loss = {
    "object": lambda: Sparse(from_logits=True, ignore_class=3),
    "list": lambda: [Sparse(from_logits=True, ignore_class=3)],
    "tuple": lambda: (Sparse(from_logits=True, ignore_class=3),),
    "dict": lambda: {"logits": Sparse(from_logits=True, ignore_class=3)},
    "subclass": lambda: SubclassOfSparse(from_logits=True, ignore_class=3),
    "without_config": lambda: WithoutConfig(from_logits=True, ignore_class=3),
    "wrapped": lambda: wrapper(
        sparse_function, from_logits=True, ignore_class=3
    ),
    "partial": lambda: functools.partial(
        sparse_function, from_logits=True, ignore_class=3
    ),
}


@pytest.mark.backend_free
@pytest.mark.parametrize("form", forms_of_one_loss)
def test_every_form_of_a_loss_says_the_same(form):
    spec = LabelSpec.of(single_loss(forms_of_one_loss[form]()))
    assert spec == LabelSpec(sparse=True, from_logits=True, ignore_class=3)


class OnlyConfig(keras.losses.Loss):
    """Says what it ignores by its configuration alone."""

    def get_config(self):
        said = {"from_logits": True, "ignore_class": 3}
        return {**super().get_config(), **said}


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (OnlyConfig(), (None, True, 3)),
        ("sparse_categorical_crossentropy", (True, False, None)),
        ("SparseCategoricalCrossentropy", (True, False, None)),
        (sparse_function, (True, False, None)),
        ("categorical_crossentropy", (False, False, None)),
        (
            keras.losses.CategoricalFocalCrossentropy(from_logits=True),
            (False, True, None),
        ),
        (
            keras.losses.BinaryCrossentropy(from_logits=True),
            (False, True, None),
        ),
        (keras.losses.KLDivergence(), (None, False, None)),
        ("mse", (None, None, None)),
        (lambda y_true, y_pred: 0.0, (None, None, None)),
    ],
)
def test_what_losses_say(loss, expected):
    spec = LabelSpec.of(loss)
    assert (spec.sparse, spec.from_logits, spec.ignore_class) == expected


def network(end, size=6):
    """A network whose last tensors are `end` of logits."""
    inputs = keras.Input((size,))
    return keras.Model(inputs, end(keras.layers.Dense(4)(inputs)))


layers = keras.layers
ends_in_softmax = {
    "layer": lambda x: layers.Softmax()(x),
    "operation": lambda x: keras.ops.softmax(x),
    "function": lambda x: keras.activations.softmax(x),
    "dense": lambda x: layers.Dense(4, activation=keras.ops.softmax)(x),
    "reshape": lambda x: layers.Reshape((4,))(layers.Softmax()(x)),
    "dropout": lambda x: layers.Dropout(0.1)(layers.Softmax()(x)),
    "float32": lambda x: layers.Activation("linear", dtype="float32")(
        layers.Activation("softmax")(x)
    ),
    "cast": lambda x: keras.ops.cast(keras.ops.softmax(x), "float32"),
    "nested": lambda x: network(lambda y: keras.ops.softmax(y), 4)(x),
    "sequential": lambda x: keras.Sequential([layers.Softmax()])(x),
    "sigmoid": lambda x: keras.ops.sigmoid(x),
}


@pytest.mark.backend_free
@pytest.mark.parametrize("form", ["object", "list"])
@pytest.mark.parametrize("end", ends_in_softmax)
def test_probabilities_where_the_loss_says_logits(end, form):
    distiller = CrossModalDistiller(
        network(ends_in_softmax[end]),
        student_modality="a",
        method=Supervised(),
    )
    loss = Sparse(from_logits=True)
    with pytest.raises(ValueError, match="from_logits=True.*ends in"):
        distiller.compile("sgd", [loss] if form == "list" else loss)
    distiller.compile("sgd", Sparse())


@pytest.mark.backend_free
@pytest.mark.parametrize("end", [lambda x: x, layers.Reshape((4,))])
@pytest.mark.parametrize(
    "loss",
    [
        sparse_function,
        "sparse_categorical_crossentropy",
        Sparse(),
        [Sparse()],
        keras.losses.KLDivergence(),
        wrapper(sparse_function),
    ],
)
def test_logits_where_the_loss_takes_probabilities(loss, end):
    distiller = CrossModalDistiller(
        network(end), student_modality="a", method=Supervised()
    )
    with pytest.raises(ValueError, match="from_logits=False.*ends in logits"):
        distiller.compile("sgd", loss)


@pytest.mark.backend_free
@pytest.mark.parametrize("loss", [sparse_function, Sparse(), "kl_divergence"])
def test_distillation_refuses_a_loss_of_probabilities(loss):
    # Also where the network does not tell how it ends.
    end = layers.Lambda(lambda x: x)
    distiller = CrossModalDistiller(
        network(end),
        network(end),
        student_modality="a",
        teacher_modality="b",
        method=DKD(),
    )
    with pytest.raises(ValueError, match="takes probabilities|must do so"):
        distiller.compile("sgd", loss)


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (None, "needs the supervised loss"),
        ([None], "needs the supervised loss"),
        ([Sparse(), Sparse()], "one output"),
        ({"a": Sparse(), "b": Sparse()}, "one output"),
        ([], "one output"),
        (Sparse(from_logits=True, axis=1), "last axis"),
    ],
)
def test_losses_that_are_refused(loss, message):
    distiller = CrossModalDistiller(
        network(lambda x: x), student_modality="a", method=Supervised()
    )
    with pytest.raises(ValueError, match=message):
        distiller.compile("sgd", loss)


# Rows of logits, by hand: a third labelled, some ignored, the rest unlabelled.


def batch(seed=0, shape=(ROWS,)):
    """Logits of four heads, labels of three kinds, and weights."""
    random = np.random.default_rng(seed)
    heads = {
        name: random_logits(*shape, CLASSES, seed=seed + number)
        for number, name in enumerate(
            ("student", "teacher", "student_proxy", "teacher_proxy")
        )
    }
    labels = random.integers(0, CLASSES, shape).astype("int32")
    kinds = random.permutation(np.arange(labels.size) % 3).reshape(shape)
    labels[kinds == 1] = UNLABELED
    labels[(kinds == 2) & (labels > 2)] = IGNORED
    weights = random.uniform(0.5, 2.0, shape).astype("float32")
    return heads, labels, weights


def terms(method, heads, labels, weights=None, confidence=0.0, loss=None):
    """The method's terms, as a distiller with unlabelled samples has them."""
    loss = loss or Sparse(from_logits=True, ignore_class=IGNORED)
    spec = LabelSpec.of(loss, UNLABELED, confidence)
    names = list(heads)

    def compute(labels, weights, *logits):
        logits = dict(zip(names, logits))
        outputs = {
            "student": {"logits": logits["student"]},
            "teacher": {"logits": logits["teacher"]},
            "heads": logits,
        }
        targets = targets_of_batch(
            spec,
            labels,
            logits["student"],
            weights,
            lambda y, x, w: loss(y, x, sample_weight=w),
            logits["teacher"],
        )
        return method.compute_losses(outputs, targets)

    if weights is None:
        return evaluate(
            lambda labels, *logits: compute(labels, None, *logits),
            labels,
            *heads.values(),
        )
    return evaluate(compute, labels, weights, *heads.values())


def mean(values, rows, weights):
    """Weighted sum over the samples that count, over their number."""
    weights = np.ones(rows.shape) if weights is None else weights
    return (values * weights)[rows].sum() / max(rows.sum(), 1)


def masks(labels):
    labeled = (labels != UNLABELED) & (labels != IGNORED)
    return labeled, labels == UNLABELED, labels != IGNORED


def close(value, expected):
    np.testing.assert_allclose(value, expected, rtol=2e-5, atol=1e-6)


shapes = pytest.mark.parametrize("shape", [(ROWS,), (2, 3, 4)])
weighted = pytest.mark.parametrize("is_weighted", [False, True])


@shapes
@weighted
def test_logit_terms_count_unlabelled_rows(shape, is_weighted):
    heads, labels, weights = batch(shape=shape)
    weights = weights if is_weighted else None
    labeled, _, counted = masks(labels)
    found, _ = terms(
        KnowledgeDistillation(2.0, 1.0, 1.0), heads, labels, weights
    )
    supervised = cross_entropy(heads["student"], np.where(labeled, labels, 0))
    close(found["student_supervised"], mean(supervised, labeled, weights))
    divergence = 4.0 * kl(heads["teacher"], heads["student"], 2.0)
    close(found["distillation"], mean(divergence, counted, weights))
    mutual, _ = terms(DML(), heads, labels, weights)
    taught = cross_entropy(heads["teacher"], np.where(labeled, labels, 0))
    close(mutual["teacher_supervised"], mean(taught, labeled, weights))
    close(
        mutual["teacher_mutual"],
        mean(kl(heads["student"], heads["teacher"]), counted, weights),
    )


@shapes
@weighted
@pytest.mark.parametrize("selects", [False, True])
def test_c2kd_takes_the_whole_divergence_there(shape, is_weighted, selects):
    heads, labels, weights = batch(seed=3, shape=shape)
    weights = weights if is_weighted else None
    labeled, _, counted = masks(labels)
    found, _ = terms(
        C2KD(selection=None if selects else SelectAll()),
        heads,
        labels,
        weights,
    )
    student, teacher = heads["student_proxy"], heads["teacher_proxy"]
    classes = np.where(labeled, labels, 0)
    expected = 0.0
    for target, learner in ((teacher, student), (student, teacher)):
        rest = kl(
            without_target(target, classes), without_target(learner, classes)
        )
        # The teacher learns from labelled rows alone.
        whole = kl(target, learner) if learner is student else 0.0
        values = np.where(labeled, rest, whole)
        if selects:
            values = values * (kendall(teacher, student) > 0)
        expected += mean(values, counted, weights)
    close(found["cross_modal"], expected)
    proxy = kl(heads["teacher"], teacher)
    proxy = proxy + np.where(labeled, kl(teacher, heads["teacher"]), 0.0)
    close(found["teacher_proxy"], mean(proxy, counted, weights))


@pytest.mark.slow
def test_nothing_of_the_student_reaches_the_teacher_where_no_label_is():
    """The teacher after a step is the same, whoever the student is."""
    inputs, labels = partly_labelled(16, 0)
    for labels, are_equal in (
        (np.full_like(labels, UNLABELED), True),
        (np.abs(labels), False),
    ):
        after = []
        for seed in (1, 2):
            distiller = toy_distiller(
                C2KD(selection=SelectAll()),
                student=toy_network(VISUAL, seed=seed),
                teacher=toy_network(AUDIO, seed=0),
                unlabeled_class=UNLABELED,
            )
            # Equal heads of the teacher too.
            for variable in distiller.method.teacher_proxy.trainable_variables:
                variable.assign(np.full(variable.shape, 0.1, "float32"))
            distiller.fit(inputs, labels, batch_size=16, verbose=0)
            after.append(distiller.teacher.get_weights())
        same = [np.array_equal(one, two) for one, two in zip(*after)]
        assert all(same) == are_equal


@pytest.mark.slow
@weighted
@pytest.mark.parametrize("confidence", [0.0, 0.6])
def test_terms_with_a_class_take_the_teachers(is_weighted, confidence):
    heads, labels, weights = batch(seed=5)
    weights = weights if is_weighted else None
    labeled, unlabeled, counted = masks(labels)
    teacher, student = heads["teacher"], heads["student"]
    classes = np.where(labeled, labels, teacher.argmax(-1))
    sure = softmax(teacher).max(-1) >= confidence
    rows = labeled | (unlabeled & sure)
    assert not confidence or rows.sum() < counted.sum()

    found, _ = terms(DKD(0.0, 1.0, 1.0), heads, labels, weights, confidence)
    rest = kl(
        without_target(teacher, classes), without_target(student, classes)
    )
    close(found["distillation"], mean(rest, rows, weights))

    found, _ = terms(NKD(0.0), heads, labels, weights, confidence)
    soft = (softmax(teacher) * one_hot(classes, CLASSES)).sum(-1)
    nkd = soft * cross_entropy(student, classes)
    close(found["distillation"], mean(nkd, rows, weights))
    # What needs no class does not ask how sure the teacher is.
    found, _ = terms(
        KnowledgeDistillation(1.0, 1.0, 1.0),
        heads,
        labels,
        weights,
        confidence,
    )
    close(found["distillation"], mean(kl(teacher, student), counted, weights))


@shapes
@weighted
@pytest.mark.parametrize("confidence", [0.0, 0.6])
def test_pseudo_labels(shape, is_weighted, confidence):
    heads, labels, weights = batch(seed=7, shape=shape)
    weights = weights if is_weighted else None
    _, unlabeled, counted = masks(labels)
    method = PseudoLabels(confidence, pseudo_label_weight=0.5)
    found, figures = terms(method, heads, labels, weights)
    sure = softmax(heads["teacher"]).max(-1) >= confidence
    rows = unlabeled & sure
    values = cross_entropy(heads["student"], heads["teacher"].argmax(-1))
    close(found["pseudo_labels"], 0.5 * mean(values, rows, weights))
    close(figures["pseudo_label_fraction"], rows.sum() / counted.sum())


def test_by_hand():
    # One labelled row, one unlabelled: log 2, and 3/4 log(3/2)+1/4 log(1/2).
    heads = {
        "student": np.zeros((2, 2)),
        "teacher": np.log([[1.0, 1.0], [3.0, 1.0]]),
    }
    labels = np.array([0, UNLABELED], "int32")
    found, _ = terms(KnowledgeDistillation(1.0, 1.0, 1.0), heads, labels)
    close(found["student_supervised"], np.log(2.0))
    whole = 0.75 * np.log(1.5) + 0.25 * np.log(0.5)
    close(found["distillation"], whole / 2)
    # With two classes nothing is left beside a label: the whole, or nothing.
    found, _ = terms(
        C2KD(proxies=False, selection=SelectAll(), bidirectional=False),
        heads,
        labels,
    )
    close(found["cross_modal"], whole / 2)
    found, figures = terms(PseudoLabels(), heads, labels)
    close(found["pseudo_labels"], np.log(2.0))
    assert figures["pseudo_label_fraction"] == 0.5


@pytest.mark.parametrize("rows", ["labelled", "unlabelled", "ignored"])
def test_batches_of_one_kind_are_finite(rows):
    heads, labels, _ = batch()
    labels = np.full_like(
        labels, {"labelled": 1, "unlabelled": -1, "ignored": IGNORED}[rows]
    )
    for method in (C2KD(), DKD(), PseudoLabels()):
        found, figures = terms(method, heads, labels)
        for name, value in {**found, **figures}.items():
            assert np.isfinite(value), name
            if rows == "ignored" or (
                rows == "unlabelled" and name.endswith("supervised")
            ):
                assert value == 0.0, name


def test_one_hot_rows_of_zeros_are_unlabelled():
    heads, labels, weights = batch(seed=2)
    labels[labels == IGNORED] = 0
    rows = np.where(
        (labels == UNLABELED)[:, None], 0.0, one_hot(labels, CLASSES)
    ).astype("float32")
    categorical = keras.losses.CategoricalCrossentropy
    for method in (C2KD(), DKD(), PseudoLabels(0.5)):
        integers, _ = terms(
            method, heads, labels, weights, loss=Sparse(from_logits=True)
        )
        found, _ = terms(
            method, heads, rows, weights, loss=categorical(from_logits=True)
        )
        for name, value in found.items():
            close(value, integers[name])
    smooth = categorical(from_logits=True, label_smoothing=0.2)
    found, _ = terms(DKD(), heads, rows, loss=smooth)
    labeled = labels != UNLABELED
    expected = smooth(rows[labeled], heads["student"][labeled])
    close(found["student_supervised"], float(expected))


@pytest.mark.parametrize("reduction", ["sum", "mean_with_sample_weight"])
def test_other_reductions(reduction):
    heads, labels, weights = batch(seed=4)
    labeled, *_ = masks(labels)
    loss = Sparse(from_logits=True, ignore_class=IGNORED, reduction=reduction)
    found, _ = terms(DML(), heads, labels, weights, loss=loss)
    values = cross_entropy(heads["student"], np.where(labeled, labels, 0))
    total = (values * weights)[labeled].sum()
    if reduction != "sum":
        total /= weights[labeled].sum()
    close(found["student_supervised"], total)


def test_the_teachers_class_carries_no_gradient():
    heads, labels, _ = batch(seed=6)
    loss = Sparse(from_logits=True, ignore_class=IGNORED)
    spec = LabelSpec.of(loss, UNLABELED)

    def total(student, teacher):
        targets = targets_of_batch(
            spec,
            keras.ops.convert_to_tensor(labels),
            student,
            None,
            lambda y, x, w: loss(y, x, sample_weight=w),
            teacher,
        )
        found, _ = PseudoLabels().compute_losses(
            {"student": {"logits": student}, "teacher": {"logits": teacher}},
            targets,
        )
        return found["pseudo_labels"]

    student, teacher = gradients(total, heads["student"], heads["teacher"])
    assert not np.any(teacher)
    unlabeled = labels == UNLABELED
    np.testing.assert_array_equal(np.any(student, axis=-1), unlabeled)
    expected = softmax(heads["student"]) - one_hot(
        heads["teacher"].argmax(-1), CLASSES
    )
    close(student[unlabeled], expected[unlabeled] / unlabeled.sum())


# In a distiller.

taught = {
    name: create
    for name, create in contract_cases.items()
    if create().needs_teacher and not create().warmup_steps
}
LOSS = Sparse(from_logits=True)


def partly_labelled(samples=32, seed=0):
    inputs, labels = toy_data(samples, seed=seed)
    labels = labels.copy()
    labels[np.random.default_rng(seed).random(samples) < 0.6] = UNLABELED
    return inputs, labels


@pytest.mark.slow
@pytest.mark.parametrize("name", taught)
def test_every_method_trains_on_unlabelled_rows(name):
    """Supervised terms are of the labelled samples; the others count all."""
    inputs, labels = partly_labelled()
    distiller = toy_distiller(taught[name](), unlabeled_class=UNLABELED)
    inputs = keras.tree.map_structure(keras.ops.convert_to_tensor, inputs)
    outputs = distiller.compute_outputs(inputs)
    start = [keras.ops.convert_to_numpy(v).copy() for v in distiller.variables]

    def logs(labels, weights=None):
        for variable, value in zip(distiller.variables, start):
            variable.assign(value)
        distiller.reset_metrics()
        labels = keras.ops.convert_to_tensor(labels)
        if weights is not None:
            weights = keras.ops.convert_to_tensor(weights)
        distiller.compute_loss(None, labels, outputs, weights)
        found = distiller.get_metrics_result()
        return {key: float(value) for key, value in found.items()}

    found = logs(labels)
    assert np.isfinite(list(found.values())).all()
    # Unlabelled rows of weight 0, brought to the labelled rows' mean.
    kept = (labels != UNLABELED).astype("float32")
    some = np.where(labels == UNLABELED, 0, labels)
    alone = logs(some, kept / kept.mean())
    for term in distiller.method.loss_names:
        if term.endswith("_supervised"):
            close(found[term], alone[term])
    none = logs(np.full_like(labels, UNLABELED))
    assert np.isfinite(list(none.values())).all()
    assert none["student_supervised"] == 0.0
    others = set(distiller.method.loss_names) - {
        "student_supervised",
        "teacher_supervised",
        "shadow_supervised",
    }
    if none.get("selected_fraction") != 0.0:
        assert all(none[term] != 0.0 for term in others), none


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_evaluation_leaves_unlabelled_rows_out(seed):
    inputs, labels = partly_labelled(40, seed)
    labels[:8] = UNLABELED  # A batch without labels, others with few.
    distiller = toy_distiller(
        C2KD(),
        unlabeled_class=UNLABELED,
        compile={
            "metrics": ["accuracy"],
            "weighted_metrics": [keras.metrics.SparseCategoricalAccuracy()],
        },
    )
    distiller.fit(inputs, labels, batch_size=8, verbose=0)
    kept = labels != UNLABELED
    every = distiller.evaluate(
        inputs, labels, batch_size=8, verbose=0, return_dict=True
    )
    some = distiller.evaluate(
        {name: array[kept] for name, array in inputs.items()},
        labels[kept],
        batch_size=40,
        verbose=0,
        return_dict=True,
    )
    assert every.keys() == some.keys()
    for name in every:
        close(every[name], some[name])
    logits = distiller.student.predict(inputs[VISUAL][kept], verbose=0)
    close(every["loss"], cross_entropy(logits, labels[kept]).mean())
    close(every["accuracy"], (logits.argmax(-1) == labels[kept]).mean())
    audio = distiller.teacher.predict(inputs[AUDIO][kept], verbose=0)
    close(every["teacher_accuracy"], (audio.argmax(-1) == labels[kept]).mean())


def test_training_metrics_leave_unlabelled_rows_out():
    inputs, labels = partly_labelled()
    distiller = toy_distiller(
        KnowledgeDistillation(),
        unlabeled_class=UNLABELED,
        compile={"optimizer": keras.optimizers.SGD(0.0)},
    )
    weights = np.linspace(0.5, 1.5, len(labels)).astype("float32")
    logs = distiller.train_on_batch(
        inputs, labels, sample_weight=weights, return_dict=True
    )
    kept = labels != UNLABELED
    teacher = distiller.teacher.predict(inputs[AUDIO][kept], verbose=0)
    close(
        float(logs["teacher_accuracy"]),
        (teacher.argmax(-1) == labels[kept]).mean(),
    )


def test_class_weights_reach_the_labelled_rows():
    inputs, labels = partly_labelled()
    distiller = toy_distiller(
        PseudoLabels(),
        unlabeled_class=UNLABELED,
        compile={"optimizer": keras.optimizers.SGD(0.0), "run_eagerly": True},
    )
    once, twice = (
        distiller.train_on_batch(
            inputs,
            labels,
            class_weight=dict.fromkeys(range(NUM_CLASSES), weight),
            return_dict=True,
        )
        for weight in (1.0, 2.0)
        if not distiller.reset_metrics()
    )
    close(
        float(twice["student_supervised"]),
        2.0 * float(once["student_supervised"]),
    )
    close(float(twice["pseudo_labels"]), float(once["pseudo_labels"]))


@pytest.mark.slow
def test_a_saved_distiller_knows_its_unlabelled_rows(tmp_path):
    inputs, labels = partly_labelled()
    distiller = toy_distiller(
        PseudoLabels(confidence=0.1),
        unlabeled_class=UNLABELED,
        unlabeled_confidence=0.2,
    )
    distiller.fit(inputs, labels, batch_size=16, verbose=0, shuffle=False)
    distiller.save(tmp_path / "distiller.keras")
    copy = keras.models.load_model(tmp_path / "distiller.keras")
    assert copy.unlabeled_class == UNLABELED
    assert copy.unlabeled_confidence == 0.2
    assert copy.method.confidence == 0.1
    first, second = (
        model.fit(inputs, labels, batch_size=16, verbose=0, shuffle=False)
        for model in (distiller, copy)
    )
    assert first.history == second.history


def refused(message, method=None, loss=LOSS, labels=None, **kwargs):
    inputs, given = partly_labelled(8)
    with pytest.raises(ValueError, match=message):
        distiller = toy_distiller(
            method or C2KD(), compile={"loss": loss}, **kwargs
        )
        distiller.fit(inputs, given if labels is None else labels, verbose=0)


@pytest.mark.slow
def test_refusals():
    refused("unlabeled_class=", labels=None)
    refused("one of the 4 classes", unlabeled_class=2)
    refused(
        "one label cannot say both",
        loss=Sparse(from_logits=True, ignore_class=-1),
        unlabeled_class=-1,
    )
    refused("integer that stands for no label", unlabeled_class=0.5)
    refused("integer that stands for no label", unlabeled_class=True)
    refused("about samples without labels", unlabeled_confidence=0.5)
    refused("at most 1", unlabeled_class=-1, unlabeled_confidence=1.5)
    refused(
        "loss of one class each",
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        method=FitNet(),
        unlabeled_class=-1,
    )
    spec = BatchSpec(
        ["a"], 4, sparse=False, distributions=True, unlabeled_class=-1
    )
    with pytest.raises(ValueError, match="one-hot labels of zeros"):
        spec.check_class_weight({0: 1.0})
    zeros = np.zeros((8, NUM_CLASSES), "float32")
    categorical = keras.losses.CategoricalCrossentropy(from_logits=True)
    refused("unlabeled_class=", loss=categorical, labels=zeros)
    for method in (Supervised(), DLB(8), USKD(), ZipfKD()):
        refused("can do nothing with", method=method, unlabeled_class=-1)


@pytest.mark.slow
def test_ignored_samples_count_in_no_feature_term():
    """Terms on whole samples leave out what the loss ignores."""
    inputs, labels = toy_data(16)
    inputs = keras.tree.map_structure(keras.ops.convert_to_tensor, inputs)
    loss = Sparse(from_logits=True, ignore_class=IGNORED)
    for create in (FitNet, contract_cases["rkd"], contract_cases["cirkd"]):
        distiller = toy_distiller(create(), compile={"loss": loss})
        outputs = distiller.compute_outputs(inputs)
        ignored = keras.ops.full(labels.shape, IGNORED, dtype="int32")
        distiller.compute_loss(None, ignored, outputs)
        found = distiller.get_metrics_result()
        for name in distiller.method.loss_names:
            assert float(found[name]) == 0.0, name
