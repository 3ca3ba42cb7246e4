import keras
import numpy as np
import pytest

from keras_c2kd.ops import exclude_target
from keras_c2kd.ops import non_target_log_softmax
from keras_c2kd.ops import zero_target
from tests.helpers import references
from tests.helpers.evaluate import evaluate
from tests.helpers.gradients import gradients
from tests.helpers.references import random_labels
from tests.helpers.references import random_logits

pytest_plugins = ["tests.helpers.double_precision"]


@pytest.mark.parametrize(
    ("label", "excluded", "zeroed"),
    [
        (0, [2.0, 3.0], [0.0, 2.0, 3.0]),
        (1, [1.0, 3.0], [1.0, 0.0, 3.0]),
        (2, [1.0, 2.0], [1.0, 2.0, 0.0]),
    ],
)
def test_by_hand(label, excluded, zeroed):
    logits = [[1.0, 2.0, 3.0]]
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(exclude_target(logits, [label])), [excluded]
    )
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(zero_target(logits, [label])), [zeroed]
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((1, 2), "int32"),
        ((6, 5), "int32"),
        ((6, 5), "int64"),
        ((6, 5), "uint8"),
        ((6, 5), "float32"),
        ((2, 3, 4, 7), "int32"),
        ((5,), "int32"),
    ],
)
def test_equals_the_reference(shape, dtype):
    logits = random_logits(*shape)
    labels = np.asarray(random_labels(*shape[:-1], num_classes=shape[-1]))
    for function, reference in (
        (exclude_target, references.without_target),
        (zero_target, references.with_zeroed_target),
    ):
        np.testing.assert_array_equal(
            evaluate(function, logits, labels.astype(dtype)),
            reference(logits, labels),
        )


def test_softmax_is_the_renormalized_probability():
    logits, labels = random_logits(8, 6), random_labels(8, num_classes=6)
    probabilities = references.softmax(logits)
    others = references.without_target(probabilities, labels)
    expected = others / others.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(
        np.exp(evaluate(non_target_log_softmax, logits, labels)),
        expected,
        rtol=1e-5,
    )


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_log_softmax_equals_the_reference(temperature):
    logits = random_logits(2, 3, 5)
    labels = random_labels(2, 3, num_classes=5)
    actual = evaluate(
        lambda *inputs: non_target_log_softmax(*inputs, temperature),
        logits,
        labels,
    )
    expected = references.log_softmax(
        references.without_target(logits, labels) / temperature
    )
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


@pytest.mark.parametrize("target", [-1e4, 0.0, 1e4, 1e30])
def test_the_target_logit_has_no_influence(target):
    logits = np.asarray([[target, 1.0, 2.0]])
    actual = evaluate(non_target_log_softmax, logits, [0])
    expected = references.log_softmax(np.asarray([[1.0, 2.0]]))
    np.testing.assert_allclose(actual, expected, rtol=1e-6)
    zeroed = evaluate(zero_target, logits, [0])
    np.testing.assert_array_equal(zeroed, [[0.0, 1.0, 2.0]])


def test_huge_logits_stay_exact():
    logits = np.asarray([[1e4, -1e4, 9999.0, 3e38]], "float32")
    np.testing.assert_array_equal(
        evaluate(exclude_target, logits, [1]), logits[:, [0, 2, 3]]
    )
    log_probabilities = evaluate(non_target_log_softmax, logits, [3])
    expected = references.log_softmax(logits[:, :3].astype("float64"))
    np.testing.assert_allclose(log_probabilities, expected, rtol=1e-6)


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
def test_two_classes_leave_nothing_to_compare(scale):
    logits, labels = scale * random_logits(6, 2), np.arange(6) % 2
    actual = evaluate(non_target_log_softmax, logits, labels)
    np.testing.assert_array_equal(actual, np.zeros((6, 1)))
    (gradient,) = gradients(
        lambda x: keras.ops.sum(non_target_log_softmax(x, labels)), logits
    )
    np.testing.assert_array_equal(gradient, np.zeros((6, 2)))


@pytest.mark.parametrize("function", [exclude_target, zero_target])
def test_gradient_reaches_the_other_classes_only(function):
    labels = random_labels(6, num_classes=4)
    (gradient,) = gradients(
        lambda x: keras.ops.sum(function(x, labels)), random_logits(6, 4)
    )
    np.testing.assert_array_equal(gradient, 1 - references.one_hot(labels, 4))


def test_gradient_of_the_log_softmax(double_precision):
    logits, labels = random_logits(4, 5), random_labels(4, num_classes=5)
    factors = random_logits(4, 4, seed=1)

    def reference(logits):
        others = references.without_target(logits, labels)
        return (factors * references.log_softmax(others / 2.0)).sum()

    (gradient,) = gradients(
        lambda x: keras.ops.sum(
            keras.ops.multiply(non_target_log_softmax(x, labels, 2.0), factors)
        ),
        logits,
    )
    np.testing.assert_allclose(
        gradient,
        references.numerical_gradient(reference, logits),
        rtol=1e-6,
        atol=1e-8,
    )


@pytest.mark.parametrize("shape", [(3, 5), (2, 8, 8, 40)])
@pytest.mark.parametrize(
    ("function", "reference"),
    [
        (exclude_target, references.without_target),
        (zero_target, references.with_zeroed_target),
    ],
)
def test_compiled_with_unknown_batch_size(shape, function, reference):
    logits = random_logits(*shape)
    labels = random_labels(*shape[:-1], num_classes=shape[-1])
    np.testing.assert_array_equal(
        evaluate(function, logits, labels, unknown_batch_size=True),
        reference(logits, labels),
    )
