import functools
import importlib
import types

import keras
import ml_dtypes
import numpy as np
import pytest
import scipy.stats

from keras_c2kd.ops import kendall_rank_correlation
from tests.helpers import references
from tests.helpers.evaluate import evaluate
from tests.helpers.gradients import gradients
from tests.helpers.references import random_logits


def kendall(first, second, variant="a", **kwargs):
    return evaluate(
        functools.partial(kendall_rank_correlation, variant=variant),
        np.asarray(first, "float32"),
        np.asarray(second, "float32"),
        **kwargs,
    )


def by_scipy(first, second):
    """The authors' call, row by row."""
    rows = (x.reshape(-1, x.shape[-1]) for x in (first, second))
    taus = [scipy.stats.kendalltau(*pair).statistic for pair in zip(*rows)]
    return np.reshape(taus, first.shape[:-1])


def some_constant(*shape, seed):
    """Ties, and rows without any two classes apart."""
    logits = np.round(random_logits(*shape, seed=seed)) / 4.0
    constant = np.random.default_rng(seed).random((*shape[:-1], 1)) < 0.3
    return np.where(constant, logits[..., :1], logits)


def rounded_logits(*shape, seed):
    """Few different values, so that a row has many ties."""
    return np.round(random_logits(*shape, seed=seed))


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([1, 2, 3], [4, 5, 9], 1.0),
        ([1, 2, 3], [9, 5, 4], -1.0),
        ([1, 2, 3], [1, 3, 2], 1 / 3),
        ([1, 2, 3, 4], [2, 1, 4, 3], 1 / 3),
        ([1, 1, 2], [1, 2, 3], 2 / 3),
        ([1, 1, 2], [5, 5, 6], 2 / 3),
        ([7, 7, 7], [1, 2, 3], 0.0),
        ([7, 7, 7], [7, 7, 7], 0.0),
        ([0, 1], [0, 1], 1.0),
        ([0, 1], [1, 0], -1.0),
        ([0, 1], [1, 1], 0.0),
        ([-1e4, 0, 1e4], [1e4, 9999, -1e4], -1.0),
        ([1e30, -1e30, 0], [3, 1, 2], 1.0),
    ],
)
def test_by_hand(first, second, expected):
    np.testing.assert_allclose(kendall([first], [second]), [expected], 1e-6)


@pytest.mark.parametrize(
    "shape",
    [
        (5, 2),
        (5, 16),
        (5, 17),
        (40,),
        (2, 3, 4, 6),
        (0, 3),
    ],
)
@pytest.mark.parametrize("create", [random_logits, rounded_logits])
def test_equals_the_reference(shape, create):
    first, second = create(*shape, seed=1), create(*shape, seed=2)
    correlation = kendall(first, second)
    assert correlation.shape == shape[:-1]
    np.testing.assert_allclose(
        correlation, references.kendall(first, second), atol=1e-6
    )


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([1, 2, 3], [1, 3, 2], 1 / 3),
        # Two of three pairs count on the one side, all on the other.
        ([1, 1, 2], [1, 2, 3], 2 / np.sqrt(6)),
        ([1, 1, 2], [6, 6, 5], -1.0),
        ([1, 1, 2, 2], [1, 2, 1, 2], 0.0),
        ([0, 1], [1, 1], np.nan),
        ([7, 7, 7], [7, 7, 7], np.nan),
    ],
)
def test_tau_b_by_hand(first, second, expected):
    np.testing.assert_allclose(
        kendall([first], [second], "b"), [expected], 1e-6
    )


@pytest.mark.parametrize(
    "shape",
    [(40, 2), (30, 17), (3, 90), (2, 3, 4, 6), (0, 3)],
)
@pytest.mark.parametrize(
    "create", [random_logits, rounded_logits, some_constant]
)
def test_tau_b_equals_scipy(shape, create):
    first, second = create(*shape, seed=1), create(*shape, seed=2)
    found = kendall(first, second, "b")
    np.testing.assert_allclose(found, by_scipy(first, second), atol=1e-6)
    np.testing.assert_allclose(
        found, references.kendall_b(first, second), atol=1e-6
    )
    swapped, negated = kendall(second, first, "b"), kendall(first, -second, "b")
    np.testing.assert_allclose(swapped, found, atol=1e-6)
    np.testing.assert_array_equal(negated, -found)
    defined = found[~np.isnan(found)]
    assert (np.abs(defined) <= 1.0).all()
    if create is random_logits:
        np.testing.assert_allclose(found, kendall(first, second), atol=2e-7)


@pytest.mark.parametrize("shape", [(9, 5), (2, 40, 20, 40)])
def test_tau_b_compiled_with_unknown_batch_size(shape):
    first, second = (some_constant(*shape, seed=seed) for seed in (1, 2))
    found = kendall(first, second, "b", unknown_batch_size=True)
    np.testing.assert_allclose(
        found, references.kendall_b(first, second), atol=1e-6
    )


@pytest.mark.backend_free
def test_rejects_an_unknown_variant():
    with pytest.raises(ValueError, match=r"\('a', 'b'\).*variant='c'"):
        kendall_rank_correlation(np.zeros((2, 3)), np.zeros((2, 3)), "c")


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(11, 1100), (2003, 40), (2, 27, 41, 40)])
def test_many_classes_or_rows(shape):
    first = rounded_logits(*shape, seed=1)
    second = (first + random_logits(*shape, seed=2)).astype("float32")
    np.testing.assert_allclose(
        kendall(first, second), references.kendall(first, second), atol=1e-6
    )


def test_equals_scipy_without_ties():
    first, second = random_logits(8, 20, seed=1), random_logits(8, 20, seed=2)
    expected = [
        scipy.stats.kendalltau(*rows).statistic for rows in zip(first, second)
    ]
    np.testing.assert_allclose(kendall(first, second), expected, atol=1e-6)


@pytest.mark.parametrize(
    "increasing",
    [np.exp, np.cbrt, lambda x: x**3, lambda x: 4 * x - 7, references.softmax],
)
def test_invariant_under_strictly_increasing_maps(increasing):
    random = np.random.default_rng(0)
    first, second = (
        np.stack([random.permutation(20) for _ in range(8)]) / 4.0 - 2.0
        for _ in range(2)
    )
    expected = kendall(first, second)
    assert np.ptp(expected) > 0.1
    np.testing.assert_array_equal(kendall(increasing(first), second), expected)
    np.testing.assert_array_equal(kendall(first, increasing(second)), expected)


@pytest.mark.parametrize("create", [random_logits, rounded_logits])
def test_symmetry_antisymmetry_and_range(create):
    first, second = create(8, 20, seed=1), create(8, 20, seed=2)
    correlation = kendall(first, second)
    assert (np.abs(correlation) <= 1.0).all()
    np.testing.assert_array_equal(kendall(second, first), correlation)
    np.testing.assert_array_equal(kendall(first, -second), -correlation)
    order = np.random.default_rng(0).permutation(20)
    np.testing.assert_array_equal(
        kendall(first[:, order], second[:, order]), correlation
    )


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_is_computed_in_full_precision(dtype):
    first, second = (
        random_logits(8, 20, seed=seed).astype(dtype) for seed in (1, 2)
    )
    correlation = evaluate(kendall_rank_correlation, first, second)
    assert correlation.dtype == "float32"
    expected = references.kendall(first.astype(float), second.astype(float))
    np.testing.assert_allclose(correlation, expected, atol=1e-6)


@pytest.mark.parametrize("shape", [(9, 5), (900, 40)])
def test_has_no_gradient(shape):
    def function(first, second):
        correlation = kendall_rank_correlation(first, second)
        correlation += kendall_rank_correlation(first, second, "b")
        return keras.ops.sum(correlation) + 0.0 * keras.ops.sum(first)

    for gradient in gradients(
        function, random_logits(*shape), random_logits(*shape, seed=1)
    ):
        np.testing.assert_array_equal(gradient, np.zeros(shape))


@pytest.mark.slow
@pytest.mark.parametrize(
    "shape", [(1, 5), (9, 5), (5, 1100), (2, 8, 8, 40), (14, 8, 8, 40)]
)
def test_compiled_with_unknown_batch_size(shape):
    first, second = rounded_logits(*shape, seed=1), random_logits(*shape)
    correlation = evaluate(
        kendall_rank_correlation, first, second, unknown_batch_size=True
    )
    np.testing.assert_allclose(
        correlation, references.kendall(first, second), atol=1e-6
    )


@pytest.mark.parametrize("shape", [(7, 3), (40, 50), (3, 90), (2, 30, 20, 7)])
def test_sizes_for_other_devices(monkeypatch, shape):
    """Larger pieces on an accelerator, the same result."""
    logits = [random_logits(*shape, seed=seed) for seed in (0, 1)]
    expected = kendall(*logits)
    module = importlib.import_module("keras_c2kd.ops.kendall_rank_correlation")
    own, pieces = module._sizes, []

    def on_an_accelerator(tensor):
        if keras.backend.backend() == "torch":
            device = types.SimpleNamespace(type="cuda")
            tensor = types.SimpleNamespace(shape=tensor.shape, device=device)
        pieces.append(own(tensor))
        return pieces[-1]

    monkeypatch.setattr(module, "_sizes", on_an_accelerator)
    if keras.backend.backend() != "torch":
        monkeypatch.setattr(
            keras.distribution, "list_devices", lambda: ["gpu:0"]
        )
    # A function of its own: JAX would find the compiled one.
    found = evaluate(lambda a, b: kendall_rank_correlation(a, b), *logits)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert pieces and all(block * chunk > 2**16 for block, chunk in pieces)


def test_rows_that_hold_a_nan_are_nan():
    first, second = (random_logits(4, 5, seed=seed) for seed in (0, 1))
    expected = kendall(first, second)
    first[1, 3] = second[2, 0] = np.nan
    found = kendall(first, second)
    assert np.isnan(found).tolist() == [False, True, True, False]
    np.testing.assert_array_equal(found[[0, 3]], expected[[0, 3]])


def test_rejects_logits_of_different_shape():
    with pytest.raises(ValueError, match=r"equal shape.*\(2, 3\).*\(2, 4\)"):
        kendall_rank_correlation(np.zeros((2, 3)), np.zeros((2, 4)))


def test_rejects_a_single_class():
    with pytest.raises(ValueError, match=r"at least 2 classes.*\(2, 1\)"):
        kendall_rank_correlation(np.zeros((2, 1)), np.zeros((2, 1)))
