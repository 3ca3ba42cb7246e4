import keras
import numpy as np
import pytest
import scipy.stats

from keras_c2kd.ops import cosine_similarity
from keras_c2kd.ops import gradient_cosine
from keras_c2kd.ops import pearson_correlation
from keras_c2kd.ops import safe_norm
from tests.helpers import references
from tests.helpers.evaluate import evaluate
from tests.helpers.gradients import gradients
from tests.helpers.references import random_labels
from tests.helpers.references import random_logits

pytest_plugins = ["tests.helpers.double_precision"]

both = pytest.mark.parametrize(
    ("function", "reference"),
    [
        (cosine_similarity, references.cosine),
        (pearson_correlation, references.pearson),
    ],
)


def similarity(function, first, second):
    return evaluate(
        function, np.asarray(first, "float32"), np.asarray(second, "float32")
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "second", "cosine", "pearson"),
    [
        ([1, 0, 0], [0, 1, 0], 0.0, -1 / 2),
        ([1, 2, 3], [2, 4, 6], 1.0, 1.0),
        ([1, 2, 3], [-1, -2, -3], -1.0, -1.0),
        ([1, 2, 3], [3, 2, 1], 10 / 14, -1.0),
        ([3, 4, 0], [0, 4, 3], 16 / 25, -1 / 26),
        ([1, 1], [0, 1], np.sqrt(1 / 2), 0.0),
        ([0, 0, 0], [1, 2, 3], 0.0, 0.0),
        ([0, 0, 0], [0, 0, 0], 0.0, 0.0),
        ([1e4, 0, -1e4], [1e4, 0, -1e4], 1.0, 1.0),
    ],
)
def test_by_hand(first, second, cosine, pearson):
    actual = similarity(cosine_similarity, [first], [second])
    np.testing.assert_allclose(actual, [cosine], atol=1e-6)
    actual = similarity(pearson_correlation, [first], [second])
    np.testing.assert_allclose(actual, [pearson], atol=1e-6)


@both
@pytest.mark.parametrize("shape", [(6, 5), (1, 2), (2, 3, 4, 7), (9,)])
def test_equals_the_reference(function, reference, shape):
    first, second = random_logits(*shape), random_logits(*shape, seed=1)
    actual = similarity(function, first, second)
    assert actual.shape == shape[:-1]
    np.testing.assert_allclose(actual, reference(first, second), atol=1e-6)
    actual = evaluate(
        lambda *logits: function(*logits, axis=0),
        np.moveaxis(first, -1, 0),
        np.moveaxis(second, -1, 0),
    )
    np.testing.assert_allclose(actual, reference(first, second), atol=1e-6)


def test_pearson_of_large_constant_rows_is_zero():
    constant = np.full((1, 7), 12345.678)
    actual = similarity(pearson_correlation, constant, constant)
    np.testing.assert_allclose(actual, [0.0], atol=1e-6)


def test_pearson_equals_scipy():
    first, second = random_logits(6, 9), random_logits(6, 9, seed=1)
    expected = scipy.stats.pearsonr(first, second, axis=-1).statistic
    actual = similarity(pearson_correlation, first, second)
    np.testing.assert_allclose(actual, expected, atol=1e-6)


@both
def test_symmetry_scale_and_range(function, reference):
    first, second = random_logits(50, 6), random_logits(50, 6, seed=1)
    expected = similarity(function, first, second)
    assert (np.abs(expected) <= 1.0).all()
    for actual in (
        similarity(function, second, first),
        similarity(function, 8.0 * first, second),
        -similarity(function, first, -0.5 * second),
    ):
        np.testing.assert_allclose(actual, expected, atol=1e-6)
    shifted = similarity(function, first + 2.0, second)
    unchanged = np.allclose(shifted, expected, atol=1e-5)
    assert unchanged == (function is pearson_correlation)


@both
def test_gradients_equal_finite_differences(
    double_precision, function, reference
):
    first, second = random_logits(3, 5), random_logits(3, 5, seed=1)
    to_first, to_second = gradients(
        lambda *logits: keras.ops.sum(function(*logits)), first, second
    )
    for gradient, expected in (
        (to_first, (lambda x: reference(x, second).sum(), first)),
        (to_second, (lambda x: reference(first, x).sum(), second)),
    ):
        expected = references.numerical_gradient(*expected)
        np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-7)


@both
@pytest.mark.parametrize("value", [0.0, 1.0, 1e4])
def test_gradients_at_constant_vectors_are_finite(function, reference, value):
    constant = np.full((2, 4), value)
    for gradient in gradients(
        lambda *logits: keras.ops.sum(function(*logits)), constant, constant
    ):
        assert np.isfinite(gradient).all()


def test_safe_norm():
    vectors = np.asarray([[3.0, 4.0], [0.0, 0.0]])
    norm = evaluate(safe_norm, vectors)
    np.testing.assert_allclose(norm, [5.0, 0.0], rtol=1e-6)
    norm = evaluate(lambda x: safe_norm(x, 0, keepdims=True), vectors)
    np.testing.assert_allclose(norm, [[3.0, 4.0]], rtol=1e-6)
    (gradient,) = gradients(lambda x: keras.ops.sum(safe_norm(x)), vectors)
    np.testing.assert_allclose(gradient, [[0.6, 0.8], [0.0, 0.0]], rtol=1e-6)


@pytest.mark.parametrize("shape", [(6, 5), (1, 2), (2, 3, 4, 7)])
def test_gradient_cosine_equals_the_reference(shape):
    student, teacher = random_logits(*shape), random_logits(*shape, seed=1)
    labels = random_labels(*shape[:-1], num_classes=shape[-1])
    actual = evaluate(gradient_cosine, student, teacher, labels)
    expected = references.gradient_cosine(student, teacher, labels)
    np.testing.assert_allclose(actual, expected, atol=1e-5)


@pytest.mark.parametrize("label", [0, 1, 2])
def test_gradient_cosine_is_that_of_the_last_layer(double_precision, label):
    # Small weights: the epsilon of the cosine shows where gradients vanish.
    features, bias = random_logits(4, seed=2), np.asarray([0.1, 0.0, -0.2])
    kernel = random_logits(4, 3, seed=3, scale=0.1)
    teacher = random_logits(3, seed=5)

    def student(kernel, bias):
        return keras.ops.log_softmax(keras.ops.matmul(features, kernel) + bias)

    def task(*weights):
        return -student(*weights)[label]

    def distillation(*weights):
        probabilities = references.softmax(teacher)
        return -keras.ops.vdot(student(*weights), probabilities)

    task_gradient, distillation_gradient = (
        np.concatenate([g.reshape(-1) for g in gradients(loss, kernel, bias)])
        for loss in (task, distillation)
    )
    expected = references.cosine(task_gradient, distillation_gradient)
    actual = evaluate(
        gradient_cosine,
        (features @ kernel + bias)[None],
        teacher[None],
        [label],
    )
    np.testing.assert_allclose(actual, [expected], atol=1e-6)


def test_gradient_cosine_by_hand():
    # p_S is uniform: the task pulls to the label; so does a teacher that is
    # sure of the label, and one that is sure of another class does not.
    student, teacher = np.zeros((3, 3)), 50.0 * np.eye(3)
    labels = np.zeros(3, "int32")
    actual = evaluate(gradient_cosine, student, teacher, labels)
    np.testing.assert_allclose(actual, [1.0, -0.5, -0.5], atol=1e-6)
    # Equal networks: distillation pulls nowhere.
    actual = evaluate(gradient_cosine, teacher, teacher, labels)
    np.testing.assert_array_equal(actual, np.zeros(3))


@pytest.mark.parametrize("scale", [0.0, 1e4])
def test_gradient_cosine_at_extreme_logits_is_finite(scale):
    student = scale * random_logits(5, 4)
    labels = random_labels(5, num_classes=4)
    for teacher in (student, -student):
        actual = evaluate(gradient_cosine, student, teacher, labels)
        assert (np.abs(actual) <= 1.0 + 1e-6).all()


@pytest.mark.parametrize("shape", [(3, 5), (2, 8, 8, 40)])
def test_compiled_with_unknown_batch_size(shape):
    student, teacher = random_logits(*shape), random_logits(*shape, seed=1)
    labels = random_labels(*shape[:-1], num_classes=shape[-1])
    for function, reference, inputs in (
        (cosine_similarity, references.cosine, ()),
        (pearson_correlation, references.pearson, ()),
        (gradient_cosine, references.gradient_cosine, (labels,)),
    ):
        inputs = (student, teacher, *inputs)
        np.testing.assert_allclose(
            evaluate(function, *inputs, unknown_batch_size=True),
            reference(*inputs),
            atol=1e-5,
        )
