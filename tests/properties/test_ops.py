"""Every operation on logits, against its definition and its symmetries."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_c2kd import ops
from keras_c2kd import selection
from tests.helpers import references
from tests.helpers.evaluate import evaluate
from tests.helpers.gradients import gradients
from tests.properties.test_losses import MAPS
from tests.properties.test_losses import SHAPES
from tests.properties.test_losses import cases

SIMILARITIES = {
    "cosine": (ops.cosine_similarity, references.cosine),
    "pearson": (ops.pearson_correlation, references.pearson),
}


@given(case=cases(SHAPES))
def test_kendall(case):
    first, second = case.arrays()
    found = evaluate(ops.kendall_rank_correlation, first, second)
    np.testing.assert_allclose(
        found, references.kendall(first, second), atol=1e-6
    )
    assert found.shape == case.shape[:-1] and (np.abs(found) <= 1).all()
    order = case.random.permutation(case.shape[-1])
    for other in (
        evaluate(ops.kendall_rank_correlation, second, first),
        evaluate(
            ops.kendall_rank_correlation, first[..., order], second[..., order]
        ),
        -evaluate(ops.kendall_rank_correlation, first, -second),
    ):
        np.testing.assert_allclose(found, other, atol=1e-6)


@given(case=cases(SHAPES))
def test_ranks(case):
    scores, _ = case.arrays()
    found = evaluate(ops.descending_ranks, scores)
    higher = scores[..., None, :] > scores[..., :, None]
    np.testing.assert_array_equal(found, 1 + higher.sum(axis=-1))
    broken = evaluate(lambda x: ops.descending_ranks(x, True), scores)
    stable = np.argsort(np.argsort(-scores, axis=-1, kind="stable"), axis=-1)
    np.testing.assert_array_equal(broken, 1 + stable)


@pytest.mark.parametrize("name", SIMILARITIES)
@given(case=cases(SHAPES))
def test_similarities(name, case):
    function, reference = SIMILARITIES[name]
    first, second = case.arrays()
    found = evaluate(function, first, second)
    assert found.shape == case.shape[:-1] and (np.abs(found) <= 1.001).all()
    for slope in gradients(
        lambda a, b: keras.ops.sum(function(a, b)), first, second
    ):
        assert np.isfinite(slope).all()
    if case.form == "normal" and case.magnitude >= 1 and case.shape[-1] > 2:
        expected = reference(first, second)
        np.testing.assert_allclose(found, expected, atol=1e-3)
    if case.form == "constant" and name == "pearson":
        assert not found.any()


@given(case=cases(SHAPES))
def test_the_target_class(case):
    logits, other = case.arrays()
    labels = case.labels()
    rest = evaluate(ops.exclude_target, logits, labels)
    expected = references.without_target(logits, labels)
    np.testing.assert_array_equal(rest, expected)
    zeroed = evaluate(ops.zero_target, logits, labels)
    expected = references.with_zeroed_target(logits, labels)
    np.testing.assert_array_equal(zeroed, expected)
    both = evaluate(ops.target_log_probabilities, logits, labels)
    assert np.isfinite(both).all() and (both <= 0).all()
    np.testing.assert_allclose(np.exp(both).sum(axis=-1), 1.0, atol=1e-5)
    agreement = evaluate(ops.gradient_cosine, logits, other, labels)
    assert np.isfinite(agreement).all() and (np.abs(agreement) <= 1.001).all()


@given(case=cases([(6, 3), (5, 8), (4, 2, 3)]))
def test_cka(case):
    first, second = case.arrays()
    for debiased in (False, True):

        def cka(a, b, debiased=debiased):
            return ops.linear_cka(a, b, debiased)

        found = float(evaluate(cka, first, second))
        assert np.isfinite(found)
        if not debiased:
            assert -1e-3 <= found <= 1.001
        reverse = float(evaluate(cka, second, first))
        assert found == pytest.approx(reverse, rel=1e-3, abs=1e-3)


@given(case=cases(MAPS), size=st.sampled_from([(1, 1), (3, 2), (9, 4)]))
def test_maps_of_other_sizes(case, size):
    """Means and interpolations stay between the least and the greatest."""
    maps, _ = case.arrays()
    margin = 1e-5 * case.magnitude
    for resize in (
        ops.resize_nearest,
        ops.resize_bilinear,
        ops.adaptive_average_pool,
    ):
        found = evaluate(lambda x, f=resize: f(x, size), maps)
        assert found.shape == (maps.shape[0], *size, maps.shape[3])
        assert found.min() >= maps.min() - margin
        assert found.max() <= maps.max() + margin


@pytest.mark.parametrize(
    "kind",
    [
        selection.KendallSelection,
        selection.CosineSelection,
        selection.PearsonSelection,
        selection.GradientCosineSelection,
        selection.RandomSelection,
        selection.SelectAll,
    ],
)
@given(case=cases(SHAPES), masked=st.booleans())
def test_selections(kind, case, masked):
    """A row is in or out; those that do not count are out."""
    first, second = (array.astype("float32") for array in case.arrays())
    valid = case.random.random(case.shape[:-1]) < 0.5 if masked else None
    chosen, score = map(
        keras.ops.convert_to_numpy,
        kind()(first, second, case.labels(), valid=valid),
    )
    assert chosen.shape == score.shape == case.shape[:-1]
    assert set(np.unique(chosen)) <= {0.0, 1.0}
    assert not np.isnan(score).any()
    if masked:
        assert not chosen[~valid].any()


def test_logits_that_do_not_fit():
    logits, labels = np.ones((6, 3), "float32"), np.zeros((6, 1), "int32")
    for function in (
        ops.kl_divergence,
        ops.kendall_rank_correlation,
        ops.cosine_similarity,
        ops.pearson_correlation,
    ):
        for shape in ((6, 1), (1, 3), (3,)):
            with pytest.raises(ValueError, match="Received: "):
                function(logits, np.ones(shape, "float32"))
    for function in (
        ops.exclude_target,
        ops.zero_target,
        ops.target_log_probabilities,
        ops.non_target_log_softmax,
    ):
        with pytest.raises(ValueError, match="and one label.*Received: "):
            function(logits, labels)
    with pytest.raises(ValueError, match="and one label.*Received: "):
        ops.gradient_cosine(logits, logits, labels)
