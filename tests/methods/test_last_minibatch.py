import keras
import numpy as np
import pytest

from keras_c2kd.methods import DLB
from tests.helpers import references
from tests.helpers.references import random_labels
from tests.helpers.toys import FORMS
from tests.helpers.toys import VISUAL
from tests.helpers.toys import in_form
from tests.helpers.toys import toy_data
from tests.helpers.toys import toy_distiller
from tests.helpers.toys import toy_network

pytest_plugins = ["tests.helpers.double_precision"]

RATE = 0.125
CLASSES = 4
FEATURES = 3


def linear_student():
    inputs = keras.Input((FEATURES,))
    logits = keras.layers.Dense(CLASSES, name="logits")(inputs)
    return keras.Model(inputs, logits)


def linear_distiller(method, loss=None, rate=RATE, **kwargs):
    """A linear student, trained by plain SGD."""
    loss = loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    kwargs.setdefault("student", linear_student())
    optimizer = keras.optimizers.SGD(rate)
    return toy_distiller(
        method, compile={"optimizer": optimizer, "loss": loss}, **kwargs
    )


def batches(*sizes):
    """Two views, labels and weights of each batch, in float64."""
    random = np.random.default_rng(0)
    for size in sizes:
        yield (
            random.normal(size=(size, FEATURES)),
            random.normal(size=(size, FEATURES)),
            random.integers(0, CLASSES, size),
            random.uniform(0.5, 2.0, size),
        )


def step(distiller, view, labels, weights=None, second=None):
    """Train on one batch; return its terms as floats."""
    distiller.reset_metrics()
    inputs = {VISUAL: view}
    if second is not None:
        inputs["second"] = second
    logs = distiller.train_on_batch(
        inputs, labels, sample_weight=weights, return_dict=True
    )
    return {name: float(logs[name]) for name in distiller.method.loss_names}


def memory_of(distiller):
    return [
        keras.ops.convert_to_numpy(variable).copy()
        for variable in distiller.method.weights
    ]


class Simulation:
    """DLB on a linear network by the definition, one row after another.

    Labels are rows of probabilities. A row that does not count is left out
    by whoever calls `step`.
    """

    def __init__(self, kernel, bias, temperature=3.0, weight=1.0):
        self.parameters = np.vstack([kernel, bias]).astype("float64")
        self.temperature = temperature
        self.weight = weight
        self.memory = []

    def step(self, view, second, labels, weights):
        view, second = (np.c_[x, np.ones(len(x))] for x in (view, second))
        now = view @ self.parameters
        rows = list(zip(view, labels, weights))
        rows += [(x, label, weight) for x, _, label, weight in self.memory]
        supervised, distillation = 0.0, 0.0
        gradient = np.zeros_like(self.parameters)
        for x, label, weight in rows:
            log_p = references.log_softmax(x @ self.parameters)
            share = weight / len(rows)
            supervised -= share * np.sum(label * log_p)
            gradient += share * np.outer(x, np.exp(log_p) - label)
        temperature = self.temperature
        for x, before, _, weight in self.memory:
            again = x @ self.parameters
            share = self.weight * weight / len(self.memory)
            distillation += (
                share
                * temperature**2
                * references.kl(before, again, temperature)
            )
            difference = references.softmax(
                again / temperature
            ) - references.softmax(before / temperature)
            gradient += share * temperature * np.outer(x, difference)
        self.parameters -= RATE * gradient
        self.memory = list(zip(second, now, labels, weights))
        return {
            "student_supervised": supervised,
            "distillation": distillation,
        }


def assert_same_terms(found, expected, **tolerance):
    assert found.keys() == expected.keys()
    # Keras multiplies matrices in float32 even if all else is in float64.
    tolerance = tolerance or {"rtol": 1e-5, "atol": 1e-8}
    for name in found:
        np.testing.assert_allclose(
            found[name], expected[name], **tolerance, err_msg=name
        )


def assert_same_parameters(distiller, simulation):
    np.testing.assert_allclose(
        np.vstack(distiller.student.get_weights()),
        simulation.parameters,
        rtol=1e-6,
        atol=1e-7,
    )


def test_two_steps_by_hand():
    """A network of zeros: every row costs log 2, then one row moves it."""
    inputs = keras.Input((1,))
    layer = keras.layers.Dense(
        2, use_bias=False, kernel_initializer="zeros", name="logits"
    )
    student = keras.Model(inputs, layer(inputs))
    distiller = linear_distiller(DLB(1, temperature=1.0), student=student)
    first = step(distiller, np.ones((1, 1), "float32"), np.asarray([0]))
    expected = {"student_supervised": np.log(2), "distillation": 0.0}
    assert_same_terms(first, expected, rtol=1e-6)
    # The gradient is (-1/2, 1/2): the logits at 1 go from 0 to (1, -1) / 16.
    second = step(distiller, np.zeros((1, 1), "float32"), np.asarray([1]))
    p = 1.0 / (1.0 + np.exp(-1 / 8))
    expected = {
        "student_supervised": (np.log(2) - np.log(p)) / 2,
        "distillation": -np.log(2) - (np.log(p) + np.log(1 - p)) / 2,
    }
    assert_same_terms(second, expected, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("second_view", [None, "second"])
@pytest.mark.parametrize("weighted", [False, True])
def test_equals_the_simulation(double_precision, second_view, weighted):
    method = DLB(
        4, temperature=2.0, distillation_weight=0.7, second_view=second_view
    )
    distiller = linear_distiller(method)
    simulation = Simulation(*distiller.student.get_weights(), 2.0, 0.7)
    # The last batch of an epoch is smaller; another epoch follows.
    for view, second, labels, weights in batches(4, 4, 1, 4, 3, 4):
        if not weighted:
            weights = np.ones(len(view))
        if second_view is None:
            second = view
        expected = simulation.step(
            view, second, references.one_hot(labels, CLASSES), weights
        )
        found = step(
            distiller, view, labels, weights if weighted else None, second
        )
        assert_same_terms(found, expected)
    assert_same_parameters(distiller, simulation)


def test_fit_keeps_the_memory_over_epochs(double_precision):
    """`fit` traces batches of unknown size and ends an epoch with one of 2."""
    distiller = linear_distiller(DLB(4))
    simulation = Simulation(*distiller.student.get_weights())
    ((view, _, labels, weights),) = batches(10)
    history = distiller.fit(
        {VISUAL: view},
        labels,
        sample_weight=weights,
        batch_size=4,
        epochs=3,
        shuffle=False,
        verbose=0,
    ).history
    one_hot = references.one_hot(labels, CLASSES)
    for epoch in range(3):
        totals = dict.fromkeys(distiller.method.loss_names, 0.0)
        for part in (slice(0, 4), slice(4, 8), slice(8, 10)):
            terms = simulation.step(
                view[part], view[part], one_hot[part], weights[part]
            )
            for name, value in terms.items():
                totals[name] += value * len(view[part]) / 10
        found = {name: history[name][epoch] for name in totals}
        assert_same_terms(found, totals)
    assert_same_parameters(distiller, simulation)


def test_soft_labels_stay_soft(double_precision):
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    distiller = linear_distiller(DLB(4), loss)
    simulation = Simulation(*distiller.student.get_weights())
    random = np.random.default_rng(1)
    for view, _, _, weights in batches(4, 2, 4):
        labels = random.dirichlet(np.ones(CLASSES), len(view))
        expected = simulation.step(view, view, labels, weights)
        assert_same_terms(step(distiller, view, labels, weights), expected)
    assert_same_parameters(distiller, simulation)


@pytest.mark.slow
@pytest.mark.parametrize("ignored", [-1, 255, 0])
def test_ignored_rows_do_not_dilute(double_precision, ignored):
    """Rows of the ignored class are as good as absent, now and later."""
    loss = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, ignore_class=ignored
    )
    distiller = linear_distiller(DLB(4), loss)
    simulation = Simulation(*distiller.student.get_weights())
    for number, (view, _, labels, weights) in enumerate(batches(4, 4, 2, 4)):
        labels = np.maximum(labels, 1)
        counts = np.arange(len(view)) >= number % 3
        rows = [x[counts] for x in (view, view, labels, weights)]
        rows[2] = references.one_hot(rows[2], CLASSES)
        expected = simulation.step(*rows)
        labels = np.where(counts, labels, ignored)
        found = step(distiller, view, labels, weights)
        assert_same_terms(found, expected)


def test_a_batch_that_is_all_ignored():
    loss = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, ignore_class=-1
    )
    distiller = linear_distiller(DLB(4), loss)
    before = distiller.student.get_weights()
    (view, _, labels, _), (later, *_) = batches(4, 4)
    for _ in range(2):
        terms = step(distiller, view, np.full(4, -1))
        assert terms == dict.fromkeys(terms, 0.0)
    for old, new in zip(before, distiller.student.get_weights()):
        np.testing.assert_array_equal(old, new)
    # There is nothing yet that the student said about rows that count.
    assert step(distiller, later, labels)["distillation"] == 0.0
    assert step(distiller, view, labels)["distillation"] > 0.0


@pytest.mark.slow
def test_weights_scale_the_kept_rows_too():
    """A scale of all weights, of both batches, is a scale of every term."""
    found = []
    for scale in (1.0, 2.0, 0.0):
        keras.utils.set_random_seed(0)
        distiller = linear_distiller(DLB(4), rate=0.0)
        for view, second, labels, weights in batches(4, 3):
            terms = step(distiller, view, labels, scale * weights)
            # Without a step the student would agree with itself.
            kernel = distiller.student.get_layer("logits").kernel
            kernel.assign(kernel + 0.1 * np.arange(4.0))
        assert (terms["distillation"] > 0) == (scale > 0)
        found.append(terms)
    once, twice, nothing = found
    for name in once:
        np.testing.assert_allclose(twice[name], 2 * once[name], rtol=1e-5)
    assert nothing == dict.fromkeys(nothing, 0.0)


def test_a_smaller_batch_is_padded_with_weight_zero():
    distiller = linear_distiller(DLB(5))
    ((view, _, labels, weights),) = batches(2)
    kernel, bias = distiller.student.get_weights()
    step(distiller, view, labels, weights)
    inputs, logits, label_rows, kept, counted = memory_of(distiller)
    repeated = np.asarray([0, 1, 0, 1, 0])
    np.testing.assert_allclose(inputs, view[repeated], rtol=1e-6)
    # What the student said *before* the step.
    expected = (view @ kernel + bias)[repeated]
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(
        label_rows, references.one_hot(labels, CLASSES)[repeated]
    )
    np.testing.assert_allclose(kept, [*weights, 0, 0, 0], rtol=1e-6)
    np.testing.assert_array_equal(counted, [1, 1, 0, 0, 0])


def test_batch_statistics_move_once_a_step():
    inputs = keras.Input((FEATURES,))
    normalization = keras.layers.BatchNormalization(momentum=0.5)
    hidden = normalization(inputs)
    student = keras.Model(inputs, keras.layers.Dense(CLASSES)(hidden))
    distiller = linear_distiller(DLB(4, second_view="second"), student=student)
    first, later = batches(4, 4)
    mean = np.zeros(FEATURES)
    # In place of the last batch, the first step runs its own second view.
    last = first[1]
    for view, second, labels, _ in (first, later):
        step(distiller, view, labels, second=second)
        mean = 0.5 * mean + 0.5 * np.concatenate([last, view]).mean(axis=0)
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(normalization.moving_mean),
            mean,
            rtol=1e-4,
            atol=1e-6,
        )
        last = second


def test_only_training_moves_the_memory():
    distiller = linear_distiller(DLB(4))
    first, (view, _, labels, _) = batches(4, 4)
    step(distiller, first[0], first[2])
    before = memory_of(distiller)
    distiller.evaluate({VISUAL: view}, labels, verbose=0)
    distiller.predict({VISUAL: view}, verbose=0)
    for old, new in zip(before, memory_of(distiller)):
        np.testing.assert_array_equal(old, new)


@pytest.mark.slow
def test_resumes_with_the_memory(tmp_path):
    """Saved between two batches, the run goes on as if it had not been."""
    distiller = linear_distiller(DLB(4, 2.0, 0.5))
    first, second, third = batches(4, 3, 4)
    for view, _, labels, weights in (first, second):
        step(distiller, view, labels, weights)
    distiller.save(tmp_path / "distiller.keras")
    copy = keras.models.load_model(tmp_path / "distiller.keras")
    for old, new in zip(memory_of(distiller), memory_of(copy)):
        np.testing.assert_array_equal(old, new)
    view, _, labels, weights = third
    terms = step(distiller, view, labels, weights)
    assert terms["distillation"] > 0
    assert step(copy, view, labels, weights) == terms
    for old, new in zip(
        distiller.student.get_weights(), copy.student.get_weights()
    ):
        np.testing.assert_array_equal(old, new)


def text_student(form):
    """Two inputs whose order by name is not the order by creation."""
    tokens = keras.Input((FEATURES,), name="tokens", dtype="int32")
    mask = keras.Input((FEATURES,), name="mask")
    embedded = keras.layers.Embedding(7, 5)(tokens)
    pooled = keras.layers.Flatten()(embedded)
    hidden = keras.layers.Concatenate()([pooled, mask])
    logits = keras.layers.Dense(CLASSES)(hidden)
    inputs = {"tokens": tokens, "mask": mask}
    inputs = inputs if form == "dict" else [tokens, mask]
    return keras.Model(inputs, logits)


@pytest.mark.parametrize("form", ["dict", "list"])
def test_inputs_of_several_tensors(form):
    """A dict in the batch, in whatever form the student was built."""
    random = np.random.default_rng(0)
    batch = {
        "mask": random.uniform(size=(4, FEATURES)).astype("float32"),
        "tokens": random.integers(0, 7, (4, FEATURES)).astype("int32"),
    }
    labels = random_labels(4, num_classes=CLASSES)
    distiller = linear_distiller(
        DLB(4), rate=0.0, student=text_student(form), student_modality="text"
    )
    terms = []
    for _ in range(2):
        distiller.reset_metrics()
        logs = distiller.train_on_batch(
            {"text": batch}, labels, return_dict=True
        )
        terms.append(float(logs["student_supervised"]))
    kept = {
        str(memory.dtype): memory
        for memory in map(
            keras.ops.convert_to_numpy, distiller.method.last_inputs
        )
    }
    np.testing.assert_array_equal(kept["int32"], batch["tokens"])
    np.testing.assert_array_equal(kept["float32"], batch["mask"])
    # Nothing was learnt: the same batch from the memory costs the same.
    np.testing.assert_allclose(terms[1], terms[0], rtol=1e-5)
    np.testing.assert_allclose(float(logs["distillation"]), 0.0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("keyed", [False, True])
def test_sequential_students_and_those_of_a_list(form, keyed):
    """They learn what the functional one does, from a dict too."""
    keras.utils.set_random_seed(0)
    student = linear_student()
    expected = linear_distiller(DLB(4), student=student)
    copy = in_form(keras.models.clone_model(student), form)
    copy.set_weights(student.get_weights())
    distiller = linear_distiller(DLB(4), student=copy)
    name = copy.inputs[0].name
    for view, _, labels, weights in batches(4, 3, 4):
        terms = step(expected, view, labels, weights)
        view = {name: view} if keyed else view
        found = step(distiller, view, labels, weights)
        assert found == pytest.approx(terms, rel=1e-5)
    for old, new in zip(student.get_weights(), copy.get_weights()):
        np.testing.assert_allclose(new, old, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [0.0, 1e4])
def test_constant_and_huge_logits(scale):
    distiller = linear_distiller(DLB(4))
    layer = distiller.student.get_layer("logits")
    layer.kernel.assign(layer.kernel * scale)
    for view, _, labels, _ in batches(4, 4, 1):
        terms = step(distiller, view, labels)
        assert np.isfinite(list(terms.values())).all()
    assert np.isfinite(np.vstack(distiller.student.get_weights())).all()


def test_two_classes_and_batches_of_one(double_precision):
    inputs = keras.Input((FEATURES,))
    student = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    distiller = linear_distiller(DLB(1), student=student)
    simulation = Simulation(*student.get_weights())
    for view, _, labels, weights in batches(1, 1, 1):
        one_hot = references.one_hot(labels % 2, 2)
        expected = simulation.step(view, view, one_hot, weights)
        assert_same_terms(step(distiller, view, labels % 2, weights), expected)
    assert_same_parameters(distiller, simulation)


def test_half_precision_keeps_full_precision_logits():
    keras.config.set_dtype_policy("mixed_bfloat16")
    distiller = toy_distiller(DLB(4), student=toy_network(VISUAL))
    method = distiller.method
    kept = [method.last_logits, method.last_labels, method.last_weights]
    assert {keras.backend.standardize_dtype(v.dtype) for v in kept} == {
        "float32"
    }
    assert not any(variable.trainable for variable in method.variables)


def test_refuses_what_it_cannot_keep():
    inputs, labels = toy_data(8)
    distiller = toy_distiller(DLB(8, second_view="other"))
    with pytest.raises(Exception, match="lacks the second view.*'other'"):
        distiller.fit(inputs, labels, verbose=0)
    anything = keras.Input((None, None, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(anything)
    student = keras.Model(anything, keras.layers.Dense(4)(pooled))
    with pytest.raises(ValueError, match="Build it from an Input"):
        toy_distiller(DLB(8), student=student)


def test_a_larger_batch_is_refused():
    distiller = linear_distiller(DLB(4))
    ((view, _, labels, _),) = batches(5)
    with pytest.raises(ValueError, match="up to batch_size=4.*batch of 5"):
        step(distiller, view, labels)


def test_arguments():
    method = DLB(8, temperature=2.0, distillation_weight=0.5, second_view="b")
    copy = DLB.from_config(method.get_config())
    assert copy.get_config() == method.get_config()
    assert copy.second_view == "b"
    assert DLB(8).temperature == 3.0
    with pytest.raises(ValueError, match="batch_size=0"):
        DLB(0)
    with pytest.raises(ValueError, match="temperature=0"):
        DLB(8, temperature=0)
