"""Every metric of Keras, for student and teacher; the names in the log."""

import functools
import inspect

import keras
import numpy as np
import pytest

from keras_c2kd import C2KD
from keras_c2kd import CrossModalDistiller
from keras_c2kd import KnowledgeDistillation
from keras_c2kd import Supervised
from keras_c2kd.distiller.network_metrics import NetworkMetrics
from keras_c2kd.methods import SHAKE
from tests.helpers.method_contract import contract_cases
from tests.helpers.references import random_labels
from tests.helpers.references import random_logits
from tests.helpers.toys import AUDIO
from tests.helpers.toys import NUM_CLASSES
from tests.helpers.toys import SHAPES
from tests.helpers.toys import VISUAL
from tests.helpers.toys import toy_data
from tests.helpers.toys import toy_distiller

# What is no metric of (labels, predictions), or only the base of some.
NOT_OF_PAIRS = ("Mean", "Metric", "Sum")
# Takes a weight for each logit, of which data have one a row.
WITHOUT_WEIGHTS = "BinaryIoU"
WITHOUT_WEIGHTS_TOO = (WITHOUT_WEIGHTS, "Accuracy", "MeanIoU")
# Of the arguments that have no default, and of those whose default does not
# fit logits.
ARGUMENTS = {
    "fn": keras.losses.mean_squared_error,
    "k": 2,
    "num_classes": NUM_CLASSES,
    "precision": 0.4,
    "recall": 0.4,
    "sensitivity": 0.4,
    "specificity": 0.4,
    "sparse_y_pred": False,
}
SAMPLES = 20


def metric_class(name):
    return getattr(keras.metrics, name)


def every_class():
    """The names of all classes of `keras.metrics`, those of labels apart."""
    names = {"one_hot": [], "integers": []}
    for name in sorted(vars(keras.metrics)):
        value = metric_class(name)
        if not inspect.isclass(value) or name in NOT_OF_PAIRS:
            continue
        if issubclass(value, keras.metrics.Metric):
            takes_integers = name.startswith("Sparse") or name in (
                "IoU",
                "MeanIoU",
            )
            names["integers" if takes_integers else "one_hot"].append(name)
    return names


CLASSES = every_class()
FORMS = pytest.mark.parametrize("form", CLASSES)


def create(name, log_name, **arguments):
    """A metric of a class of Keras, with the arguments that it needs."""
    known = inspect.signature(metric_class(name)).parameters
    arguments |= {k: v for k, v in ARGUMENTS.items() if k in known}
    if "target_class_ids" in known:
        size = 2 if name == "BinaryIoU" else NUM_CLASSES
        arguments["target_class_ids"] = list(range(size))
    if name.endswith("IoU"):
        arguments["dtype"] = "float32"  # By default it cuts weights off.
    return metric_class(name)(name=log_name, **arguments)


def metrics_of(form, prefix=""):
    """One of each class and, where a setting changes the state, others."""
    metrics = [create(name, f"{prefix}{name}") for name in CLASSES[form]]
    if form == "one_hot":
        metrics += [
            create("AUC", f"{prefix}auc_of_labels", multi_label=True),
            create("F1Score", f"{prefix}f1_macro", average="macro"),
        ]
    return without_exception(metrics) if prefix else metrics


def without_exception(metrics):
    return [m for m in metrics if type(m).__name__ != WITHOUT_WEIGHTS]


def labels_of(form, samples=SAMPLES):
    inputs, labels = toy_data(samples)
    weights = np.random.default_rng(1).uniform(0.2, 2.0, samples)
    if form == "one_hot":
        labels = np.eye(NUM_CLASSES, dtype="float32")[labels]
    return inputs, labels, weights.astype("float32")


def network(modality, seed):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input(SHAPES[modality])
    logits = keras.layers.Dense(NUM_CLASSES)(keras.layers.Flatten()(inputs))
    return keras.Model(inputs, logits, name=modality)


def distiller_of(form, metrics, weighted_metrics, **kwargs):
    losses = {
        "one_hot": keras.losses.CategoricalCrossentropy,
        "integers": keras.losses.SparseCategoricalCrossentropy,
    }
    distiller = CrossModalDistiller(
        student=network(VISUAL, 1),
        teacher=network(AUDIO, 2),
        student_modality=VISUAL,
        teacher_modality=AUDIO,
        method=KnowledgeDistillation(),
    )
    distiller.compile(
        keras.optimizers.SGD(0.0),
        losses[form](from_logits=True),
        metrics=metrics,
        weighted_metrics=weighted_metrics,
        jit_compile=False,
        **kwargs,
    )
    return distiller


def value_of(metric, labels, logits, weights=None):
    metric.reset_state()
    metric.update_state(labels, logits, sample_weight=weights)
    return keras.ops.convert_to_numpy(metric.result())


def expected_logs(distiller, form, inputs, labels, weights, create_all=None):
    """The same metrics computed by hand of what the networks predict."""
    logs = {}
    create_all = create_all or functools.partial(metrics_of, form)
    for role, key in (("student", VISUAL), ("teacher", AUDIO)):
        logits = getattr(distiller, role).predict(inputs[key], verbose=0)
        for kind, own in (("", None), ("w_", weights)):
            for metric in create_all(kind):
                value = value_of(metric, labels, logits, own)
                prefix = "" if role == "student" else "teacher_"
                logs[f"{prefix}{metric.name}"] = value
    return logs


def assert_logs(logs, expected):
    assert expected.keys() <= logs.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(
            logs[name], value, rtol=2e-4, atol=1e-5, err_msg=name
        )


@pytest.mark.slow
@FORMS
def test_every_metric_of_keras_for_both_networks(form, tmp_path):
    """In `fit`, validation and, after saving and loading, `evaluate`."""

    # Traced, so many metrics take minutes; each has weights here, and none in
    # one of the tests below.
    def some_of(kind):
        if kind:
            return metrics_of(form, kind)
        return [m for m in metrics_of(form) if m.name in WITHOUT_WEIGHTS_TOO]

    distiller = distiller_of(form, some_of(""), some_of("w_"), run_eagerly=True)
    inputs, labels, weights = data = labels_of(form)
    expected = expected_logs(distiller, form, *data, some_of)
    settings = {"sample_weight": weights, "batch_size": SAMPLES, "verbose": 0}
    history = distiller.fit(
        inputs, labels, validation_data=data, **settings
    ).history
    assert_logs({k: v[-1] for k, v in history.items()}, expected)
    assert_logs({k[4:]: v[-1] for k, v in history.items()}, expected)
    distiller.save(tmp_path / "distiller.keras")
    copy = keras.models.load_model(tmp_path / "distiller.keras")
    copy.run_eagerly = True
    logs = copy.evaluate(inputs, labels, return_dict=True, **settings)
    assert_logs(logs, expected)


@pytest.mark.slow
def test_metrics_that_create_their_variables_late_in_a_compiled_step(tmp_path):
    """Whether the first batch is to train on, or has no teacher's modality."""
    names = ("AUC", "F1Score", "R2Score")

    def of_names(prefix=""):
        metrics = [create(name, f"{prefix}{name}") for name in names]
        metrics[0] = create("AUC", f"{prefix}AUC", multi_label=True)
        return metrics

    distiller = distiller_of("one_hot", of_names(), of_names("w_")[1:2])
    inputs, labels, weights = data = labels_of("one_hot")
    expected = expected_logs(distiller, "one_hot", *data, of_names)
    expected = {k: expected[k] for k in expected if "w_" not in k or "F1" in k}
    batch = {"sample_weight": weights, "return_dict": True}
    logs = distiller.train_on_batch(inputs, labels, **batch)
    assert_logs(logs, expected)
    distiller.save(tmp_path / "distiller.keras")
    copy = keras.models.load_model(tmp_path / "distiller.keras")
    logs = copy.test_on_batch({VISUAL: inputs[VISUAL]}, labels, **batch)
    own = {k: v for k, v in expected.items() if k[:8] != "teacher_"}
    assert_logs(logs, own)
    assert logs.keys() == {"loss", *own}
    copy.reset_metrics()
    assert_logs(copy.test_on_batch(inputs, labels, **batch), expected)


@pytest.mark.slow
@FORMS
def test_rows_that_do_not_count(form):
    """Each metric is what it is of the samples that count alone."""
    _, labels, weights = labels_of(form)
    logits = random_logits(SAMPLES, NUM_CLASSES).astype("float32")
    counted = (np.arange(SAMPLES) % 3 > 0).astype("float32")
    metrics = NetworkMetrics(
        without_exception(metrics_of(form)), metrics_of(form, "w_")
    )
    metrics.update_state(labels, logits, weights, counted=counted)
    kept = counted > 0
    expected = {}
    for prefix, own in (("", None), ("w_", weights[kept])):
        for metric in without_exception(metrics_of(form, prefix)):
            expected[metric.name] = value_of(
                metric, labels[kept], logits[kept], own
            )
    assert metrics.result().keys() == expected.keys()
    assert_logs(metrics.result(), expected)


def test_pixels_that_do_not_count():
    """One weight a sample, or none; one mark a pixel."""
    logits = random_logits(4, 3, 5, NUM_CLASSES).astype("float32")
    labels = random_labels(4, 3, 5, num_classes=NUM_CLASSES)
    counted = (random_labels(4, 3, 5, num_classes=3, seed=1) > 0) * 1.0
    kept = counted > 0
    weights = np.array([0.0, 1.0, 2.0, 3.0], "float32")
    of_pixels = np.broadcast_to(weights[:, None, None], labels.shape)

    def some(prefix):
        return [
            create(name, f"{prefix}{name}")
            for name in ("MeanIoU", "SparseCategoricalAccuracy")
        ]

    for given, own in ((None, None), (weights, of_pixels[kept])):
        metrics = NetworkMetrics(some(""), some("w_"))
        metrics.update_state(labels, logits, given, counted=counted)
        expected = {
            metric.name: value_of(metric, labels[kept], logits[kept], w)
            for prefix, w in (("", None), ("w_", own))
            for metric in some(prefix)
        }
        assert_logs(metrics.result(), expected)


def share_above(y_true, y_pred):
    """A metric as a function."""
    return keras.ops.cast(y_pred > 0.0, "float32")


def kendall(y_true, y_pred):
    """A metric of the same name as a diagnostic."""
    return share_above(y_true, y_pred)


def named(name):
    return keras.metrics.SparseCategoricalAccuracy(name=name)


def test_a_name_that_stands_for_two_is_refused():
    """In every form in which metrics are given, weighted or not."""
    distiller = toy_distiller(C2KD())
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    for metrics, clash in (
        ([named("loss")], "loss"),
        ([named("student_supervised")], "student_supervised"),
        ([kendall], "kendall"),
        (
            [[named("top1")], [[named("selected_fraction")]]],
            "selected_fraction",
        ),
        ({"logits": [named("student_proxy")]}, "student_proxy"),
        # The teacher's would be `teacher_supervised`.
        (["accuracy", named("supervised")], "teacher_supervised"),
        (["accuracy", named("teacher_accuracy")], "teacher_accuracy"),
        (["accuracy", named("val_accuracy")], "val_accuracy"),
        ([named("val_loss")], "val_loss"),
    ):
        for group in ("metrics", "weighted_metrics"):
            with pytest.raises(ValueError, match=f"figure named .*'{clash}'"):
                distiller.compile("sgd", loss, **{group: metrics})
    # Those that Keras gives to equal names, too.
    metrics = ["accuracy", "accuracy", named("accuracy_1")]
    with pytest.raises(ValueError, match="'accuracy_1', 'teacher_accuracy_1'"):
        distiller.compile("sgd", loss, metrics=metrics)


def test_a_metric_whose_name_is_free_without_a_teacher():
    inputs, labels = toy_data(8)
    names = ("kendall", "teacher_accuracy")
    distiller = toy_distiller(
        Supervised(), compile={"metrics": [*map(named, names)]}
    )
    logs = distiller.evaluate(
        inputs[VISUAL], labels, verbose=0, return_dict=True
    )
    assert {*names} < logs.keys()


def test_metrics_in_every_form_and_of_equal_names():
    """As Keras tells equal names apart; none is lost, nor the user's own."""
    inputs, labels, weights = labels_of("integers")
    own = named("accuracy")
    distiller = distiller_of(
        "integers",
        {"logits": ["accuracy", [own]], "more": (share_above,)},
        ["accuracy", keras.metrics.SparseCategoricalAccuracy],
        run_eagerly=True,
    )
    logs = distiller.evaluate(
        inputs, labels, sample_weight=weights, verbose=0, return_dict=True
    )
    names = ("accuracy", "accuracy_1", "share_above", "weighted_accuracy")
    names += ("sparse_categorical_accuracy",)
    assert logs.keys() == {
        "loss",
        *names,
        *(f"teacher_{name}" for name in names),
    }
    assert own.name == "accuracy"
    for role, key, prefix in (
        ("student", VISUAL, ""),
        ("teacher", AUDIO, "teacher_"),
    ):
        logits = getattr(distiller, role).predict(inputs[key], verbose=0)
        right = logits.argmax(-1) == labels
        expected = (
            right.mean(),
            right.mean(),
            (logits > 0).mean(),
            np.average(right, weights=weights),
            np.average(right, weights=weights),
        )
        assert_logs(logs, {f"{prefix}{n}": v for n, v in zip(names, expected)})


def test_what_a_configuration_leaves_out_is_the_teachers_too():
    metric = keras.metrics.CosineSimilarity(axis=0)
    teacher = NetworkMetrics([metric]).of_teacher()
    predictions = random_logits(3, 3)
    values = []
    for metrics in (NetworkMetrics([metric]), teacher):
        metrics.update_state(np.eye(3, dtype="float32"), predictions)
        values.append([float(value) for value in metrics.result().values()])
    assert values[0] == values[1]
    assert teacher.names == ("teacher_cosine_similarity",)


def test_weights_of_outputs_are_refused():
    for weights in (0.5, [0.5], {"logits": 2.0}):
        with pytest.raises(
            ValueError, match=r"loss_weights=.*has supervised_weight, distil"
        ):
            toy_distiller(
                KnowledgeDistillation(), compile={"loss_weights": weights}
            )
    with pytest.raises(ValueError, match="Supervised has none"):
        toy_distiller(Supervised(), compile={"loss_weights": [0.5]})
    toy_distiller(C2KD(), compile={"loss_weights": [1.0]})


def plain_student():
    """Layers of the toy network, without statistics of the batch."""
    keras.utils.set_random_seed(2)
    layers = keras.layers
    inputs = x = keras.Input(SHAPES[VISUAL])
    for index in range(2):
        x = layers.Conv2D(8, 3, 2, padding="same", name=f"conv_{index}")(x)
        x = layers.ReLU(name=f"relu_{index}")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(NUM_CLASSES, name="logits")(x)
    return keras.Model(inputs, x, name=VISUAL)


# One case of each method.
METHODS = {type(create()): name for name, create in contract_cases.items()}


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS.values())
def test_loss_of_evaluation_is_the_students_supervised_loss(method):
    """As the method trains the student by it, without its weight."""
    inputs, labels, weights = labels_of("integers", 16)
    distiller = toy_distiller(
        contract_cases[method](),
        student=plain_student(),
        compile={"run_eagerly": True},
    )
    weight = getattr(distiller.method, "supervised_weight", 1.0)
    trackers = {metric.name: metric for metric in distiller.metrics}
    logs = distiller.evaluate(
        inputs, labels, sample_weight=weights, verbose=0, return_dict=True
    )
    outputs = distiller.compute_outputs(inputs)
    labels = keras.ops.convert_to_tensor(labels)
    distiller.compute_loss(inputs, labels, outputs, weights)
    assert logs["loss"] == pytest.approx(
        float(trackers["student_supervised"].result()) / weight, rel=1e-5
    )


@pytest.mark.slow
def test_val_loss_of_shake():
    """Of the normalised logits; what is predicted and deployed is not."""
    inputs, labels = toy_data(16)
    distiller = toy_distiller(
        SHAKE(supervised_weight=0.5),
        student=plain_student(),
        compile={"optimizer": keras.optimizers.SGD(0.0)},
    )
    history = distiller.fit(
        inputs, labels, validation_data=(inputs, labels), verbose=0
    ).history
    assert history["val_loss"][0] == pytest.approx(
        history["student_supervised"][0] / 0.5, rel=1e-5
    )
    logits = distiller.student.predict(inputs[VISUAL], verbose=0)
    assert logits.std(-1).max() < 1.0  # Normalised ones deviate by 3.1415.
    np.testing.assert_allclose(
        distiller.predict(inputs, verbose=0), logits, rtol=1e-5, atol=1e-6
    )
    accuracy = (logits.argmax(-1) == labels).mean()
    assert history["val_accuracy"][0] == pytest.approx(accuracy)
