import functools

import keras
import numpy as np
import pytest

from keras_c2kd import selection as selections
from keras_c2kd.selection import CosineSelection
from keras_c2kd.selection import GradientCosineSelection
from keras_c2kd.selection import KendallSelection
from keras_c2kd.selection import PearsonSelection
from keras_c2kd.selection import RandomSelection
from keras_c2kd.selection import SampleSelection
from keras_c2kd.selection import SelectAll
from tests.helpers import references
from tests.helpers.evaluate import evaluate
from tests.helpers.gradients import gradients
from tests.helpers.references import random_labels
from tests.helpers.references import random_logits

scored = pytest.mark.parametrize(
    ("create", "reference"),
    [
        (KendallSelection, lambda t, s, y: references.kendall(t, s)),
        (
            functools.partial(KendallSelection, variant="b"),
            lambda t, s, y: references.kendall_b(t, s),
        ),
        (CosineSelection, lambda t, s, y: references.cosine(t, s)),
        (PearsonSelection, lambda t, s, y: references.pearson(t, s)),
        (
            GradientCosineSelection,
            lambda t, s, y: references.gradient_cosine(s, t, y),
        ),
    ],
)
every = pytest.mark.parametrize(
    "create",
    [
        KendallSelection,
        CosineSelection,
        PearsonSelection,
        GradientCosineSelection,
        SelectAll,
        RandomSelection,
    ],
)


def batch(*shape):
    """Teacher logits, student logits and labels."""
    labels = random_labels(*shape[:-1], num_classes=shape[-1])
    return random_logits(*shape), random_logits(*shape, seed=1), labels


def select(selection, teacher, student, labels, valid=None, **kwargs):
    """Who is selected, and the score, in numpy."""
    inputs = (teacher, student, labels)
    inputs += () if valid is None else (valid,)
    return evaluate(lambda *inputs: selection(*inputs), *inputs, **kwargs)


def draw(selection, *inputs, valid=None):
    """Like `select`, but not jitted, so that the random state goes on."""
    selected, score = selection(*inputs, valid=valid)
    return keras.ops.convert_to_numpy(selected), keras.ops.convert_to_numpy(
        score
    )


@scored
@pytest.mark.parametrize("shape", [(12, 5), (2, 4, 3, 6)])
@pytest.mark.parametrize("threshold", [0.0, 0.25])
def test_selects_scores_above_the_threshold(
    create, reference, shape, threshold
):
    inputs = batch(*shape)
    selected, score = select(create(threshold=threshold), *inputs)
    expected = reference(*inputs)
    np.testing.assert_allclose(score, expected, atol=1e-5)
    np.testing.assert_array_equal(selected, expected > threshold)
    assert selected.dtype == score.dtype == "float32"


@pytest.mark.parametrize("create", [KendallSelection, PearsonSelection])
def test_the_threshold_itself_is_not_selected(create):
    zeros, ranks = np.zeros((1, 3)), np.asarray([[1.0, 2.0, 3.0]])
    selected, score = select(create(), zeros, ranks, [0])
    assert (selected, score) == (0.0, 0.0)
    selected, score = select(KendallSelection(1.0), ranks, ranks, [0])
    assert (selected, score) == (0.0, 1.0)
    selected, score = select(KendallSelection(-1.0), ranks, -ranks, [0])
    assert (selected, score) == (0.0, -1.0)


def test_constant_logits_have_no_tau_b():
    """They are above no threshold, as with the authors' call of SciPy."""
    teacher = np.asarray([[1.0, 1.0, 1.0], [1.0, 1.0, 2.0], [1.0, 1.0, 2.0]])
    student = np.asarray([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [2.0, 2.0, 2.0]])
    labels = np.zeros(3, "int32")
    for variant, kept in (("a", [1, 1, 1]), ("b", [0, 1, 0])):
        selection = KendallSelection(-0.5, variant=variant)
        selected, score = select(selection, teacher, student, labels)
        np.testing.assert_array_equal(selected, kept)
        expected = references.kendall_b if variant == "b" else None
        if expected:
            np.testing.assert_allclose(score, expected(teacher, student), 1e-6)


@keras.saving.register_keras_serializable("tests")
class ScoreOfLabels(SampleSelection):
    """A selection of one's own, with a constructor of its own."""

    def __init__(self, half, name=None, dtype=None):
        super().__init__(2 * half, name=name, dtype=dtype)
        self.half = half

    def get_config(self):
        config = super().get_config()
        del config["threshold"], config["on"]
        return {**config, "half": self.half}


@every
@pytest.mark.parametrize("scale", [0.0, 1e4])
def test_constant_and_huge_logits(create, scale):
    logits, _, labels = batch(6, 4)
    logits = scale * logits
    selected, score = select(create(), logits, logits, labels)
    assert not np.isnan(score).any()
    if create is SelectAll:
        expected = np.ones(6)
    elif create is GradientCosineSelection:
        expected = np.zeros(6)  # Equal networks: nothing to distil.
    else:
        expected = np.full(6, scale > 0)
    np.testing.assert_array_equal(selected, expected)


@every
def test_ignored_samples_are_not_selected(create):
    inputs = batch(2, 3, 4, 5)
    valid = np.random.default_rng(0).random((2, 3, 4)) > 0.5
    everything, score = select(create(), *inputs)
    selected, score_of_valid = select(create(), *inputs, valid=valid)
    np.testing.assert_array_equal(score_of_valid, score)
    assert not (selected * ~valid).any()
    if create is not RandomSelection:
        np.testing.assert_array_equal(selected, everything * valid)
    selected, _ = select(create(), *inputs, valid=np.zeros_like(valid))
    np.testing.assert_array_equal(selected, np.zeros((2, 3, 4)))


@pytest.mark.parametrize(
    "create",
    [
        KendallSelection,
        CosineSelection,
        PearsonSelection,
        GradientCosineSelection,
    ],
)
def test_a_score_that_is_not_a_number_is_not_selected(create):
    teacher = np.asarray([[np.nan, 2.0, 3.0], [1.0, 2.0, 3.0]])
    student = np.asarray([[1.0, 2.0, 3.0], [1.0, 2.0, 3.5]])
    selected, score = select(
        create(threshold=-1.0), teacher, student, np.zeros(2, "int32")
    )
    np.testing.assert_array_equal(np.isnan(score), [True, False])
    np.testing.assert_array_equal(selected, [0.0, 1.0])


@pytest.mark.slow
@every
def test_no_gradient_passes(create):
    teacher, student, labels = batch(6, 4)
    selection = create()

    def function(teacher, student):
        selected, score = selection(teacher, student, labels)
        # Not the score of SelectAll, which is infinite.
        kept = keras.ops.sum(selected * keras.ops.tanh(score))
        return kept + 0.0 * keras.ops.sum(teacher)

    for gradient in gradients(function, teacher, student):
        np.testing.assert_array_equal(gradient, np.zeros((6, 4)))


@pytest.mark.slow
@every
@pytest.mark.parametrize("shape", [(3, 5), (2, 8, 8, 40)])
def test_compiled_with_unknown_batch_size(create, shape):
    inputs = batch(*shape)
    valid = np.random.default_rng(0).random(shape[:-1]) > 0.3
    selected, score = select(
        create(), *inputs, valid=valid, unknown_batch_size=True
    )
    expected, expected_score = select(create(), *inputs, valid=valid)
    np.testing.assert_allclose(score, expected_score, atol=1e-6)
    np.testing.assert_array_equal(selected, expected)


def test_select_all():
    for shape in ((6, 4), (2, 3, 4, 5)):
        selected, score = select(SelectAll(), *batch(*shape))
        np.testing.assert_array_equal(selected, np.ones(shape[:-1]))
        np.testing.assert_array_equal(score, np.full(shape[:-1], np.inf))


@pytest.mark.parametrize("threshold", [-1.0, -0.1, 0.0, 0.3, 1.0])
def test_random_keeps_as_many(threshold):
    inputs = batch(3, 4, 5, 6)
    like = KendallSelection(threshold)
    expected, expected_score = draw(like, *inputs)
    for seed in range(3):
        selected, score = draw(RandomSelection(like, seed=seed), *inputs)
        assert selected.shape == (3, 4, 5)
        assert set(np.unique(selected)) <= {0.0, 1.0}
        assert selected.sum() == expected.sum()
        np.testing.assert_array_equal(score, expected_score)


def test_random_keeps_as_many_of_the_valid():
    inputs = batch(200, 6)
    valid = np.random.default_rng(0).random(200) > 0.3
    expected, _ = draw(KendallSelection(), *inputs, valid=valid)
    selected, _ = draw(RandomSelection(), *inputs, valid=valid)
    assert selected.sum() == expected.sum() > 0
    assert not (selected * ~valid).any()
    # As many as there are valid samples: it can only be those.
    selected, _ = draw(RandomSelection(SelectAll()), *inputs, valid=valid)
    np.testing.assert_array_equal(selected, valid)


def test_random_is_uniform_and_does_not_see_the_score():
    teacher, student, labels = batch(4000, 6)
    student[:1600] = teacher[:1600]
    student[1600:] = -teacher[1600:]
    selected, score = draw(RandomSelection(seed=3), teacher, student, labels)
    assert selected.sum() == (score > 0).sum() == 1600
    # 400 samples at 0.4 each: five standard deviations of the share are 0.12.
    shares = selected.reshape(10, 400).mean(axis=1)
    np.testing.assert_allclose(shares, np.full(10, 0.4), atol=0.12)


def test_random_state():
    inputs = batch(60, 6)
    first, second = RandomSelection(seed=1), RandomSelection(seed=1)
    draws = [draw(first, *inputs)[0] for _ in range(3)]
    again = [draw(second, *inputs)[0] for _ in range(3)]
    np.testing.assert_array_equal(draws, again)
    assert not np.array_equal(draws[0], draws[1])
    other, _ = draw(RandomSelection(seed=2), *inputs)
    assert not np.array_equal(draws[0], other)
    # The state is a variable, so it is saved and resumed with the rest.
    state = first.seed_generator.state
    assert any(variable is state for variable in first.variables)
    second.seed_generator.state.assign(state)
    np.testing.assert_array_equal(
        draw(first, *inputs)[0], draw(second, *inputs)[0]
    )


@every
def test_serializes(create):
    kwargs = {"threshold": 0.25, "on": "main", "name": "chosen"}
    if create is SelectAll:
        del kwargs["threshold"]
    if create is RandomSelection:
        like = PearsonSelection(threshold=0.25, on="main")
        kwargs = {"like": like, "seed": 7, "name": "chosen"}
    selection = create(**kwargs)
    copy = keras.layers.deserialize(keras.layers.serialize(selection))
    assert type(copy) is create
    assert copy.get_config() == selection.get_config()
    threshold = 0.0 if create is SelectAll else 0.25
    assert (copy.threshold, copy.on) == (threshold, "main")
    assert copy.name == "chosen"


def test_arguments_must_be_known():
    for argument, message in (
        ("on", '"proxy" or "main".*teacher'),
        ("mean_over", '"batch" or "selected".*teacher'),
        ("variant", "'a', 'b'.*teacher"),
    ):
        with pytest.raises(ValueError, match=message):
            KendallSelection(**{argument: "teacher"})


@pytest.mark.backend_free
def test_the_mean_is_saved():
    selection = KendallSelection(mean_over="selected", variant="b")
    for one in (selection, RandomSelection(selection)):
        copy = keras.layers.deserialize(keras.layers.serialize(one))
        assert copy.get_config() == one.get_config()
        assert copy.mean_over == "selected"
    assert copy.like.variant == "b"
    # Those of one's own may have a constructor without it.
    own = ScoreOfLabels(0.5)
    assert keras.layers.deserialize(keras.layers.serialize(own)).threshold == 1
    with pytest.raises(TypeError, match="mean_over"):
        SelectAll(mean_over="selected")


def test_a_selection_of_ones_own_needs_a_score():
    with pytest.raises(NotImplementedError, match="must implement `score"):
        SampleSelection()(*batch(2, 3))


def test_every_public_selection_is_tested():
    tested = set(every.args[1]) | {SampleSelection}
    assert {getattr(selections, name) for name in selections.__all__} == tested
