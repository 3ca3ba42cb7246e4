import keras
import numpy as np
import pytest

from keras_c2kd import C2KD
from keras_c2kd import KnowledgeDistillation
from keras_c2kd import Supervised
from keras_c2kd.selection import KendallSelection
from tests.helpers import references
from tests.helpers.references import random_labels
from tests.helpers.references import random_logits
from tests.helpers.toys import AUDIO
from tests.helpers.toys import FORMS
from tests.helpers.toys import VISUAL
from tests.helpers.toys import assert_same_history
from tests.helpers.toys import assert_same_weights
from tests.helpers.toys import in_form
from tests.helpers.toys import numpy_weights
from tests.helpers.toys import toy_data
from tests.helpers.toys import toy_distiller
from tests.helpers.toys import toy_network


class PairedDataset(keras.utils.PyDataset):
    def __init__(self, inputs, labels, batch_size, weights=None):
        super().__init__()
        self.arrays = (inputs, labels) + (() if weights is None else (weights,))
        self.batch_size = batch_size

    def __len__(self):
        return len(self.arrays[1]) // self.batch_size

    def __getitem__(self, index):
        rows = slice(index * self.batch_size, (index + 1) * self.batch_size)
        return keras.tree.map_structure(lambda a: a[rows], self.arrays)


def as_tf_dataset(inputs, labels, batch_size):
    tf = pytest.importorskip("tensorflow", reason="tf.data is TensorFlow's")
    return tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(
        batch_size
    )


def as_data_loader(inputs, labels, batch_size):
    data = pytest.importorskip(
        "torch.utils.data", reason="DataLoader is PyTorch's"
    )
    samples = [
        ({key: value[i] for key, value in inputs.items()}, labels[i])
        for i in range(len(labels))
    ]
    return data.DataLoader(samples, batch_size=batch_size)


def as_generator(inputs, labels, batch_size):
    dataset = PairedDataset(inputs, labels, batch_size)
    return (dataset[index] for index in range(len(dataset)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "source", [PairedDataset, as_tf_dataset, as_data_loader, as_generator]
)
def test_every_data_source_gives_the_same_weights(source):
    inputs, labels = toy_data(64)
    reference, distiller = toy_distiller(C2KD()), toy_distiller(C2KD())
    # Equal heads: they are initialised from the global seed.
    distiller.set_weights(reference.get_weights())
    reference.fit(inputs, labels, batch_size=32, shuffle=False, verbose=0)
    distiller.fit(
        source(inputs, labels, 32),
        shuffle=False,
        validation_data=source(inputs, labels, 32),
        verbose=0,
    )
    assert_same_weights(distiller, reference, tolerance=1e-6)


@pytest.mark.slow
def test_evaluate_and_predict_need_the_student_modality_alone():
    inputs, labels = toy_data(32)
    distiller = toy_distiller(C2KD())
    distiller.fit(inputs, labels, verbose=0)
    alone = {VISUAL: inputs[VISUAL]}
    both = distiller.evaluate(inputs, labels, verbose=0, return_dict=True)
    one = distiller.evaluate(alone, labels, verbose=0, return_dict=True)
    assert set(one) == {"loss", "accuracy"}
    assert set(both) == {"loss", "accuracy", "teacher_accuracy"}
    assert one["accuracy"] == both["accuracy"]
    expected = distiller.student.predict(inputs[VISUAL], verbose=0)
    for given in (inputs, alone, inputs[VISUAL]):
        np.testing.assert_array_equal(
            distiller.predict(given, verbose=0), expected
        )


@pytest.mark.slow
def test_metrics_equal_those_of_the_plain_models():
    inputs, labels = toy_data(48)
    distiller = toy_distiller(C2KD())
    distiller.fit(inputs, labels, verbose=0)
    logs = distiller.evaluate(inputs, labels, verbose=0, return_dict=True)
    for model, key, name in (
        (distiller.student, VISUAL, "accuracy"),
        (distiller.teacher, AUDIO, "teacher_accuracy"),
    ):
        logits = model.predict(inputs[key], verbose=0)
        assert logs[name] == pytest.approx((logits.argmax(-1) == labels).mean())
    logits = distiller.student.predict(inputs[VISUAL], verbose=0).astype(float)
    logits -= logits.max(-1, keepdims=True)
    log_probability = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    loss = -log_probability[np.arange(48), labels].mean()
    assert logs["loss"] == pytest.approx(loss, rel=1e-5)


@pytest.mark.slow
def test_metric_objects_are_copied_for_the_teacher():
    inputs, labels = toy_data(32)
    distiller = toy_distiller(
        C2KD(),
        compile={
            "metrics": [keras.metrics.SparseCategoricalAccuracy(name="top1")],
            "weighted_metrics": ["accuracy"],
        },
    )
    history = distiller.fit(inputs, labels, verbose=0).history
    assert {"top1", "accuracy", "teacher_top1", "teacher_accuracy"} <= set(
        history
    )


@pytest.mark.slow
@pytest.mark.parametrize("features", [None, "relu_0"])
def test_each_network_runs_once_a_step(features):
    # Momentum 0.8: after one pass the moving mean is 0.2 of the batch mean.
    inputs, labels = toy_data(32)
    distiller = toy_distiller(
        C2KD(), student_features=features, teacher_features=features
    )
    expected = {}
    for role, key in (("student", VISUAL), ("teacher", AUDIO)):
        model = getattr(distiller, role)
        first = keras.Model(model.input, model.get_layer("conv_0").output)
        maps = keras.ops.convert_to_numpy(first(inputs[key]))
        expected[role] = 0.2 * maps.mean((0, 1, 2))
    distiller.fit(inputs, labels, batch_size=32, verbose=0)
    for role, mean in expected.items():
        layer = getattr(distiller, role).get_layer("bn_0")
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(layer.moving_mean), mean, atol=1e-5
        )


@pytest.mark.slow
def test_the_users_models_are_left_alone():
    student, teacher = toy_network(VISUAL), toy_network(AUDIO)
    flags = [v.trainable for v in teacher.variables]
    layers = list(student.layers), list(teacher.layers)
    distiller = toy_distiller(
        KnowledgeDistillation(), student=student, teacher=teacher
    )
    inputs, labels = toy_data(32)
    distiller.fit(inputs, labels, verbose=0)
    assert distiller.student is student and distiller.teacher is teacher
    assert [v.trainable for v in teacher.variables] == flags
    assert teacher.trainable and len(teacher.trainable_variables) > 0
    assert (list(student.layers), list(teacher.layers)) == layers
    assert student.output.shape == (None, 4)


@pytest.mark.slow
def test_top_trains_the_named_layers_only():
    inputs, labels = toy_data(32)
    distiller = toy_distiller(
        C2KD(teacher_update="top"), teacher_top_layers=["logits"]
    )
    before = numpy_weights(distiller.teacher)
    distiller.fit(inputs, labels, verbose=0)
    moved = {
        weight.path
        for weight, old, new in zip(
            distiller.teacher.weights, before, numpy_weights(distiller.teacher)
        )
        if not np.array_equal(old, new)
    }
    assert moved == {"logits/kernel", "logits/bias"}


def test_top_takes_the_last_two_layers_and_their_normalisation():
    distiller = toy_distiller(C2KD(teacher_update="top"))
    trained = {id(v) for v in distiller.trainable_variables}
    names = {v.path for v in distiller.teacher.weights if id(v) in trained}
    assert names == {
        "conv_1/kernel",
        "bn_1/gamma",
        "bn_1/beta",
        "logits/kernel",
        "logits/bias",
    }


@pytest.mark.slow
@pytest.mark.parametrize("update", ["top", "none"])
def test_frozen_statistics_move_only_if_asked_for(update):
    inputs, labels = toy_data(32)
    for asked in (False, True):
        distiller = toy_distiller(
            C2KD(teacher_update=update, update_frozen_statistics=asked),
            teacher_top_layers=["logits"] if update == "top" else None,
        )
        layer = distiller.teacher.get_layer("bn_0")
        before = [keras.ops.convert_to_numpy(v) for v in layer.variables]
        distiller.fit(inputs, labels, verbose=0)
        after = [keras.ops.convert_to_numpy(v) for v in layer.variables]
        names = [v.name for v in layer.variables]
        moved = {
            name
            for name, old, new in zip(names, before, after)
            if not np.array_equal(old, new)
        }
        assert moved == ({"moving_mean", "moving_variance"} if asked else set())


@pytest.mark.slow
def test_regularisation_counts_once_and_only_for_what_is_trained():
    inputs, labels = toy_data(32)
    decay = {"kernel_regularizer": keras.regularizers.L2(0.1)}

    def squares(model):
        return sum(
            0.1 * float(np.square(w).sum())
            for w in numpy_weights(model)
            if w.ndim == 4
        )

    for method, both in ((C2KD(), True), (KnowledgeDistillation(), False)):
        student = toy_network(VISUAL, **decay)
        teacher = toy_network(AUDIO, **decay)
        distiller = toy_distiller(method, student=student, teacher=teacher)
        expected = squares(student) + (squares(teacher) if both else 0.0)
        validation = squares(student)
        logs = distiller.train_on_batch(inputs, labels, return_dict=True)
        terms = sum(float(logs[name]) for name in method.loss_names)
        assert float(logs["loss"]) == pytest.approx(terms + expected, rel=1e-4)
        validation = squares(student)
        logs = distiller.evaluate(inputs, labels, verbose=0, return_dict=True)
        logits = student.predict(inputs[VISUAL], verbose=0)
        loss = distiller.loss(labels, logits)
        assert logs["loss"] == pytest.approx(float(loss) + validation, rel=1e-4)


@pytest.mark.slow
def test_ignored_labels_train_nothing():
    inputs, labels = toy_data(32)
    loss = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, ignore_class=255
    )
    distiller = toy_distiller(C2KD(), compile={"loss": loss, "metrics": None})
    nothing = np.full_like(labels, 255)
    logs = distiller.train_on_batch(inputs, nothing, return_dict=True)
    for name in distiller.method.loss_names:
        assert float(logs[name]) == 0.0
    assert float(logs["selected_fraction"]) == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("ignored", [None, 255])
def test_sample_weights_of_every_network(dense, ignored):
    """A weight goes with its sample, dense or not, whoever else used it."""
    layers = keras.layers
    weights = np.linspace(0.0, 2.0, 8).astype("float32")
    labels = random_labels(8, *([4, 4] if dense else []), num_classes=3)
    if ignored is not None:
        labels[np.random.default_rng(0).random(labels.shape) < 0.3] = ignored
    networks = {}
    for name in (VISUAL, AUDIO):
        tensors = keras.Input((4, 4, 2))
        flat = tensors if dense else layers.Flatten()(tensors)
        logits = layers.Dense(3, name="logits")(flat)
        networks[name] = keras.Model(tensors, logits, name=name)
    inputs = {
        name: random_logits(8, 4, 4, 2, seed=n)
        for n, name in enumerate(networks)
    }
    expected = {}
    for role, name in (("student", VISUAL), ("teacher", AUDIO)):
        rows = references.cross_entropy(
            networks[name].predict(inputs[name], verbose=0).astype("float64"),
            np.where(labels == ignored, 0, labels),
        )
        counted = np.ones(labels.shape) if ignored is None else labels < 3
        rows = rows * weights.reshape(-1, *[1] * (labels.ndim - 1))
        expected[role] = (rows * counted).sum() / counted.sum()
    loss = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, ignore_class=ignored
    )
    distiller = toy_distiller(
        C2KD(),
        student=networks[VISUAL],
        teacher=networks[AUDIO],
        compile={"loss": loss, "metrics": [], "weighted_metrics": []},
    )
    given = weights.copy()
    batch = {"sample_weight": given, "return_dict": True}
    logs = distiller.test_on_batch(inputs, labels, **batch)
    assert float(logs["loss"]) == pytest.approx(expected["student"], rel=1e-4)
    logs = distiller.train_on_batch(inputs, labels, **batch)
    for role, value in expected.items():
        found = float(logs[f"{role}_supervised"])
        assert found == pytest.approx(value, rel=1e-4)
    np.testing.assert_array_equal(given, weights)


@pytest.mark.slow
def test_one_hot_and_column_labels_equal_integers():
    inputs, labels = toy_data(32)
    losses = []
    for given, loss in (
        (labels, keras.losses.SparseCategoricalCrossentropy),
        (labels[:, None], keras.losses.SparseCategoricalCrossentropy),
        (
            np.eye(4, dtype="float32")[labels],
            keras.losses.CategoricalCrossentropy,
        ),
    ):
        keras.utils.set_random_seed(3)
        distiller = toy_distiller(
            C2KD(), compile={"loss": loss(from_logits=True)}
        )
        logs = distiller.train_on_batch(inputs, given, return_dict=True)
        losses.append({name: float(value) for name, value in logs.items()})
    for other in losses[1:]:
        assert other == pytest.approx(losses[0], rel=1e-5)


def test_summary_tells_who_is_trained():
    texts = []
    distiller = toy_distiller(KnowledgeDistillation())
    distiller.summary(print_fn=lambda text, **_: texts.append(str(text)))
    text = "\n".join(texts)
    assert "Who is trained" in text
    student = sum(
        int(np.prod(w.shape)) for w in distiller.student.trainable_weights
    )
    assert f"{student:,} of" in text
    assert 'teacher_update="none"' in text


def test_supervised_takes_bare_inputs_and_needs_no_teacher():
    inputs, labels = toy_data(64)
    distiller = toy_distiller(Supervised())
    history = distiller.fit(
        inputs[VISUAL],
        labels,
        epochs=2,
        verbose=0,
        validation_data=(inputs[VISUAL], labels),
    ).history
    assert set(history) == {
        "loss",
        "accuracy",
        "student_supervised",
        "val_loss",
        "val_accuracy",
    }


@pytest.mark.slow
def test_kendall_on_main_and_on_proxy_logits_differ():
    inputs, labels = toy_data(32)
    shares = []
    for on in ("main", "proxy"):
        keras.utils.set_random_seed(0)
        distiller = toy_distiller(C2KD(selection=KendallSelection(on=on)))
        logs = distiller.train_on_batch(inputs, labels, return_dict=True)
        shares.append(float(logs["kendall"]))
    assert shares[0] != shares[1]


@pytest.mark.parametrize("kind", ["functional", "sequential"])
def test_top_of_a_nested_backbone_is_its_end(kind):
    layers = keras.layers
    stages = [
        layers.Conv2D(4, 3, padding="same", name=f"stage_{index}")
        for index in range(3)
    ]
    inputs = keras.Input((12, 10, 1))
    if kind == "sequential":
        backbone = keras.Sequential([inputs, *stages], name="backbone")
    else:
        maps = inputs
        for stage in stages:
            maps = stage(maps)
        backbone = keras.Model(inputs, maps, name="backbone")
    outer = keras.Input((12, 10, 1))
    pooled = layers.GlobalAveragePooling2D()(backbone(outer))
    teacher = keras.Model(outer, layers.Dense(4, name="logits")(pooled))
    distiller = toy_distiller(C2KD(teacher_update="top"), teacher=teacher)
    trained = {id(v) for v in distiller.trainable_variables}
    names = {v.path for v in teacher.weights if id(v) in trained}
    assert {name.split("/")[-2] for name in names} == {"stage_2", "logits"}


@pytest.mark.slow
def test_evaluation_has_the_students_own_losses_as_keras_has_them():
    class Penalty(keras.layers.Layer):
        def call(self, inputs):
            self.add_loss(0.5 * keras.ops.mean(inputs**2))
            return inputs

    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Flatten()(Penalty()(inputs))
    x = keras.layers.Dense(
        4, kernel_regularizer="l2", activity_regularizer="l2"
    )(x)
    student = keras.Model(inputs, x)
    distiller = toy_distiller(KnowledgeDistillation(), student=student)
    batch, labels = toy_data(32)
    history = distiller.fit(
        batch, labels, validation_data=(batch, labels), verbose=0
    ).history
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    student.compile(loss=loss, jit_compile=False)
    expected = student.evaluate(batch[VISUAL], labels, verbose=0)
    assert history["val_loss"][0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_losses_that_a_fixed_teacher_adds_are_not_counted():
    class Penalty(keras.layers.Layer):
        def call(self, inputs):
            self.add_loss(keras.ops.cast(10.0, "float32"))
            return inputs

    inputs = keras.Input((12, 10, 1))
    x = keras.layers.Dense(4)(keras.layers.Flatten()(Penalty()(inputs)))
    teacher = keras.Model(inputs, x)
    batch, labels = toy_data(32)
    for update, extra in (("none", 0.0), ("all", 10.0)):
        distiller = toy_distiller(
            KnowledgeDistillation(teacher_update=update), teacher=teacher
        )
        logs = distiller.train_on_batch(batch, labels, return_dict=True)
        terms = sum(logs[name] for name in distiller.loss_term_names)
        assert logs["loss"] - terms == pytest.approx(extra, abs=1e-4)


@pytest.mark.slow
def test_compiled_again_with_other_metrics_logs_those_alone():
    batch, labels = toy_data(32)
    distiller = toy_distiller(KnowledgeDistillation())
    distiller.fit(batch, labels, verbose=0)
    top = keras.metrics.SparseTopKCategoricalAccuracy(2, name="top2")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    distiller.compile("sgd", loss, metrics=[top], jit_compile=False)
    logs = distiller.fit(batch, labels, verbose=0).history
    assert {name for name in logs if name.startswith("teacher")} == {
        "teacher_top2"
    }
    names = [metric.name for metric in distiller.metrics]
    assert names.count("teacher") == 1
    distiller.compile("sgd", loss, jit_compile=False)
    logs = distiller.fit(batch, labels, verbose=0).history
    terms = distiller.method.loss_names
    assert logs.keys() == {"loss", *terms, *distiller.method.diagnostic_names}


class ThresholdOfMean(keras.metrics.Mean):
    """A metric as many write it, without a configuration."""

    def __init__(self, threshold, name="share"):
        super().__init__(name=name)
        self.threshold = threshold

    def update_state(self, y_true, y_pred, sample_weight=None):
        above = keras.ops.cast(y_pred > self.threshold, "float32")
        super().update_state(above)


@pytest.mark.slow
def test_a_metric_that_cannot_be_copied_is_the_students_alone():
    batch, labels = toy_data(32)
    with pytest.warns(UserWarning, match=r"'share'.*lacks \['threshold'\]"):
        distiller = toy_distiller(
            KnowledgeDistillation(),
            compile={"metrics": ["accuracy", ThresholdOfMean(0.5)]},
        )
    logs = distiller.fit(batch, labels, verbose=0).history
    assert {"share", "accuracy", "teacher_accuracy"} <= set(logs)
    assert "teacher_share" not in logs


@pytest.mark.slow
def test_one_hot_labels_whose_size_tensorflow_does_not_know():
    tf = pytest.importorskip("tensorflow", reason="tf.data is TensorFlow's")
    batch, labels = toy_data(32)
    rows = np.eye(4, dtype="float32")[labels]
    shapes = {name: (None, *data.shape[1:]) for name, data in batch.items()}
    batches = tf.data.Dataset.from_generator(
        lambda: [(batch, rows)],
        output_signature=(
            {name: tf.TensorSpec(shape) for name, shape in shapes.items()},
            tf.TensorSpec((None, None)),
        ),
    )
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    logs = [
        toy_distiller(C2KD(), compile={"loss": loss})
        .fit(*data, batch_size=32, shuffle=False, verbose=0)
        .history["loss"][0]
        for data in ((batches,), (batch, rows))
    ]
    assert logs[0] == pytest.approx(logs[1], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_sequential_networks_and_those_of_a_list(tmp_path, form):
    """They train as the functional ones, taps by name; saved, they go on."""
    inputs, labels = toy_data(32)
    taps = {"student_features": "relu_0", "teacher_features": "relu_1"}

    def pair(wrap):
        # The heads draw their weights in the same state.
        networks = {
            "student": wrap(toy_network(VISUAL, seed=2)),
            "teacher": wrap(toy_network(AUDIO, seed=1)),
        }
        keras.utils.set_random_seed(3)
        return toy_distiller(C2KD(teacher_update="top"), **networks, **taps)

    expected = pair(lambda network: network)
    distiller = pair(lambda network: in_form(network, form))

    def fit(distiller):
        return distiller.fit(
            inputs, labels, batch_size=16, shuffle=False, verbose=0
        ).history

    assert_same_history(fit(distiller), fit(expected))
    distiller.save(tmp_path / "distiller.keras")
    copy = keras.models.load_model(tmp_path / "distiller.keras")
    assert type(copy.student) is type(distiller.student)
    assert fit(copy) == fit(distiller)
    assert_same_weights(copy, distiller)
    alone = inputs[VISUAL]
    np.testing.assert_allclose(
        distiller.predict({VISUAL: alone}, verbose=0),
        distiller.student.predict(alone, verbose=0),
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.slow
def test_every_callback_is_told_that_training_failed():
    told = []

    class Told(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

        def on_train_failure(self):
            told.append(self)
            raise OSError("no space left")

    callbacks = [Told(), Told()]
    inputs, labels = toy_data(32)
    with pytest.raises(KeyboardInterrupt) as failure:
        toy_distiller(KnowledgeDistillation()).fit(
            inputs, labels, callbacks=callbacks, verbose=0
        )
    assert told == callbacks
    assert len(failure.value.__notes__) == 2
    assert "no space left" in failure.value.__notes__[0]
