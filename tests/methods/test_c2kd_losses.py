import numpy as np
import pytest

from keras_c2kd import C2KD
from keras_c2kd.losses import DISTLoss
from keras_c2kd.losses import KLDivergence
from keras_c2kd.selection import KendallSelection
from keras_c2kd.selection import RandomSelection
from keras_c2kd.selection import SelectAll
from tests.helpers import references
from tests.helpers.references import random_labels
from tests.helpers.references import random_logits
from tests.methods.by_hand import equal_heads
from tests.methods.by_hand import random_heads
from tests.methods.by_hand import terms_of
from tests.methods.by_hand import valid_weights
from tests.methods.c2kd_cases import CASES

every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def assert_same_terms(actual, expected, tolerance=1e-4):
    assert set(actual) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(
            actual[name], value, tolerance, 1e-6, err_msg=name
        )


def test_by_hand():
    heads = {
        "student": np.log([[1 / 2, 1 / 4, 1 / 4]]),
        "student_proxy": np.log([[1 / 4, 1 / 2, 1 / 4]]),
        "teacher": np.log([[1 / 2, 1 / 4, 1 / 4]]),
        "teacher_proxy": np.log([[1 / 2, 1 / 8, 3 / 8]]),
    }
    method = C2KD(selection=SelectAll())
    losses, diagnostics = terms_of(method, heads, np.asarray([0]))
    expected = {
        "student_supervised": np.log(2),
        "teacher_supervised": np.log(2),
        # KL both ways: sum of (p - q) (log p - log q).
        "student_proxy": np.log(2) / 2,
        "teacher_proxy": np.log(3) / 8,
        # Without class 0: (2/3, 1/3) and (1/4, 3/4).
        "cross_modal": np.log(6) * 5 / 12,
    }
    assert_same_terms(losses, expected, 1e-5)
    # Two of three pairs of classes are ranked in reverse, one is a tie.
    np.testing.assert_allclose(diagnostics["kendall"], -2 / 3, rtol=1e-6)
    assert diagnostics["selected_fraction"] == 1.0


@every_case
def test_equals_the_reference(case):
    method, heads = case.create(), random_heads(12, 5)
    labels = random_labels(12, num_classes=5)
    losses, diagnostics = terms_of(method, heads, labels)
    assert set(losses) == set(method.loss_names)
    assert set(diagnostics) == set(method.diagnostic_names)
    assert all(value.dtype == "float32" for value in losses.values())
    assert_same_terms(losses, case.terms(heads, labels))
    np.testing.assert_allclose(
        diagnostics["selected_fraction"], case.selected(heads).mean(), rtol=1e-6
    )
    np.testing.assert_allclose(
        diagnostics["kendall"],
        references.kendall(*case.scored(heads)).mean(),
        atol=1e-6,
    )


@pytest.mark.parametrize(
    "name", ["default", "zeroed", "cosine", "one_way", "selected", "tau_b"]
)
def test_dense_with_ignored_pixels_and_weights(name):
    case, shape = CASES[name], (3, 4, 5)
    heads, labels = (
        random_heads(*shape, 6),
        random_labels(*shape, num_classes=6),
    )
    random = np.random.default_rng(0)
    valid = random.random(shape) > 0.4
    weights = valid_weights(valid) * random.uniform(0.5, 2.0, (3, 1, 1))
    losses, diagnostics = terms_of(
        case.create(), heads, labels * valid, weights, valid
    )
    expected = case.terms(heads, labels, weights=weights)
    assert_same_terms(losses, expected)
    # What is ignored leaves no trace; figures are means of what is not.
    selected = case.selected(heads)
    np.testing.assert_allclose(
        diagnostics["selected_fraction"], selected[valid].mean(), rtol=1e-5
    )
    kendall = references.kendall(*case.scored(heads))
    np.testing.assert_allclose(
        diagnostics["kendall"], kendall[valid].mean(), atol=1e-6
    )


def test_weights_of_the_terms():
    heads, labels = random_heads(12, 5), random_labels(12, num_classes=5)
    method = C2KD(proxy_weights=(0.5, 3.0), cross_modal_weight=7.0)
    losses, _ = terms_of(method, heads, labels)
    expected = CASES["default"].terms(heads, labels)
    expected["teacher_proxy"] *= 0.5
    expected["student_proxy"] *= 3.0
    expected["cross_modal"] *= 7.0
    assert_same_terms(losses, expected)


def test_another_divergence():
    heads, labels = random_heads(12, 5), random_labels(12, num_classes=5)
    losses, _ = terms_of(C2KD(KLDivergence(temperature=2.0)), heads, labels)
    softened = {name: logits / 2.0 for name, logits in heads.items()}
    expected = CASES["default"].terms(softened, labels)
    for name in ("teacher_proxy", "student_proxy", "cross_modal"):
        np.testing.assert_allclose(losses[name], 4.0 * expected[name], 1e-4)


def test_swapping_the_networks_swaps_the_terms():
    heads, labels = random_heads(12, 5), random_labels(12, num_classes=5)
    losses, _ = terms_of(C2KD(), heads, labels)

    def swapped(name):
        role, _, rest = name.partition("_")
        role = {"student": "teacher", "teacher": "student"}.get(role, role)
        return f"{role}_{rest}".rstrip("_")

    heads = {swapped(name): logits for name, logits in heads.items()}
    exchanged, _ = terms_of(C2KD(), heads, labels)
    exchanged = {swapped(name): value for name, value in exchanged.items()}
    assert_same_terms(exchanged, losses, 1e-5)


def test_cross_modal_does_not_see_the_label_class():
    heads, labels = random_heads(12, 5), random_labels(12, num_classes=5)
    method = C2KD(selection=SelectAll())
    losses, _ = terms_of(method, heads, labels)
    for seed, logits in enumerate(heads.values()):
        logits[np.arange(12), labels] = random_logits(12, seed=seed, scale=50.0)
    changed, _ = terms_of(method, heads, labels)
    np.testing.assert_allclose(
        changed["cross_modal"], losses["cross_modal"], rtol=1e-6
    )
    assert changed["student_proxy"] != losses["student_proxy"]


def test_samples_that_are_not_selected_count_as_zeros():
    heads, labels = random_heads(12, 5), random_labels(12, num_classes=5)
    heads["teacher_proxy"] = heads["student_proxy"] ** 3
    all_selected, diagnostics = terms_of(C2KD(), heads, labels)
    assert diagnostics["selected_fraction"] == 1.0
    heads = {name: np.tile(x, (2, 1)) for name, x in heads.items()}
    heads["teacher_proxy"][12:] *= -1.0
    losses, diagnostics = terms_of(C2KD(), heads, np.tile(labels, 2))
    assert diagnostics["selected_fraction"] == 0.5
    np.testing.assert_allclose(
        losses["cross_modal"], all_selected["cross_modal"] / 2.0, rtol=1e-5
    )


def test_the_mean_over_the_selected_by_hand():
    """One of three samples is selected: it counts whole, or as a third."""
    heads = {
        "teacher_proxy": np.log([[1 / 2, 1 / 8, 3 / 8]] * 3),
        "student_proxy": np.log(
            [
                [1 / 8, 3 / 8, 1 / 2],
                [3 / 8, 1 / 4, 3 / 8],
                [3 / 8, 1 / 2, 1 / 8],
            ]
        ),
    }
    heads |= {name: np.zeros((3, 3)) for name in ("student", "teacher")}
    # Without class 0: (1/4, 3/4) and (2/5, 3/5), both ways.
    expected = (2 / 5 - 1 / 4) * (np.log(8 / 5) - np.log(4 / 5))
    for mean_over, factor in (("selected", 1.0), ("batch", 1 / 3)):
        method = C2KD(selection=KendallSelection(mean_over=mean_over))
        losses, diagnostics = terms_of(method, heads, np.zeros(3, "int32"))
        np.testing.assert_allclose(
            losses["cross_modal"], factor * expected, rtol=1e-5
        )
        np.testing.assert_allclose(
            diagnostics["selected_fraction"], 1 / 3, rtol=1e-6
        )


def test_relations_of_the_selected_are_not_diluted():
    """DIST of the selected samples alone, whatever their number."""
    heads, labels = random_heads(12, 5), random_labels(12, num_classes=5)
    chosen = CASES["default"].selected(heads)
    assert 2 < chosen.sum() < 12
    alone = {name: logits[chosen] for name, logits in heads.items()}
    expected, _ = terms_of(
        C2KD(DISTLoss(), selection=SelectAll()), alone, labels[chosen]
    )
    selection = KendallSelection(mean_over="selected")
    losses, _ = terms_of(C2KD(DISTLoss(), selection), heads, labels)
    np.testing.assert_allclose(
        losses["cross_modal"], expected["cross_modal"], rtol=1e-5
    )


@pytest.mark.parametrize(
    "name", ["default", "zeroed", "no_proxies", "plain", "selected"]
)
def test_nothing_selected(name):
    case = CASES[name]
    method, heads = case.create(), random_heads(12, 5)
    method.selection = KendallSelection(
        threshold=1.0, on=case.on, mean_over=method.selection.mean_over
    )
    labels = random_labels(12, num_classes=5)
    losses, diagnostics = terms_of(method, heads, labels)
    assert losses["cross_modal"] == 0.0
    assert diagnostics["selected_fraction"] == 0.0
    assert_same_terms(losses, case.terms(heads, labels, selected=np.zeros(12)))


@pytest.mark.parametrize("scale", [0.0, 2.0, 1e4])
@pytest.mark.parametrize("proxies", [True, False])
def test_two_classes(scale, proxies):
    heads, labels = random_heads(12, 2, scale=scale), np.arange(12) % 2
    method = C2KD(selection=SelectAll(), proxies=proxies)
    losses, _ = terms_of(method, heads, labels)
    assert losses["cross_modal"] == 0.0
    assert all(np.isfinite(value) for value in losses.values())
    zeroed = C2KD(selection=SelectAll(), zero_target_logit=True)
    losses, _ = terms_of(zeroed, heads, labels)
    assert (losses["cross_modal"] > 0.0) == (scale > 0.0)


@every_case
def test_huge_logits(case):
    heads = random_heads(12, 5, scale=1e4)
    labels = random_labels(12, num_classes=5)
    losses, _ = terms_of(case.create(), heads, labels)
    assert_same_terms(losses, case.terms(heads, labels))


@pytest.mark.parametrize("scale", [0.0, 2.0, 1e4])
@pytest.mark.parametrize("name", ["default", "zeroed", "no_proxies"])
def test_batch_of_one(name, scale):
    case, heads = CASES[name], random_heads(1, 5, scale=scale)
    losses, _ = terms_of(case.create(), heads, np.asarray([3]))
    assert_same_terms(losses, case.terms(heads, np.asarray([3])))


@every_case
@pytest.mark.parametrize("scale", [0.0, 1e4])
def test_constant_and_identical_logits(case, scale):
    heads = equal_heads(random_logits(12, 5, scale=scale))
    labels = random_labels(12, num_classes=5)
    losses, diagnostics = terms_of(case.create(), heads, labels)
    assert_same_terms(losses, case.terms(heads, labels, selected=np.zeros(12)))
    assert diagnostics["kendall"] == float(scale > 0.0)


@pytest.mark.parametrize("name", ["default", "zeroed", "one_way", "selected"])
def test_everything_ignored(name):
    heads, labels = random_heads(3, 4, 5, 6), np.zeros((3, 4, 5), "int32")
    nothing = np.zeros((3, 4, 5), bool)
    losses, diagnostics = terms_of(
        CASES[name].create(), heads, labels, valid_weights(nothing), nothing
    )
    assert losses == dict.fromkeys(losses, 0.0)
    assert diagnostics == {"selected_fraction": 0.0, "kendall": 0.0}


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(12, 5), (2, 8, 8, 40)])
@pytest.mark.parametrize("name", ["default", "no_proxies"])
def test_compiled_with_unknown_batch_size(name, shape):
    case, heads = CASES[name], random_heads(*shape)
    labels = random_labels(*shape[:-1], num_classes=shape[-1])
    losses, _ = terms_of(case.create(), heads, labels, unknown_batch_size=True)
    assert_same_terms(losses, case.terms(heads, labels))


def test_half_precision_logits_are_compared_in_full():
    heads = random_heads(12, 40)
    heads = {name: x.astype("float16") for name, x in heads.items()}
    labels = random_labels(12, num_classes=40)
    losses, _ = terms_of(C2KD(), heads, labels)
    assert all(value.dtype == "float32" for value in losses.values())
    heads = {name: x.astype("float64") for name, x in heads.items()}
    expected = CASES["default"].terms(heads, labels)
    # The supervised loss is Keras' own; the rest is ours.
    assert_same_terms(losses, expected, 1e-5)


def test_random_selection_keeps_the_share():
    heads, labels = random_heads(12, 5), random_labels(12, num_classes=5)
    _, expected = terms_of(C2KD(), heads, labels)
    method = C2KD(selection=RandomSelection())
    losses, diagnostics = terms_of(method, heads, labels)
    assert diagnostics == expected
    everyone, _ = terms_of(C2KD(selection=SelectAll()), heads, labels)
    assert 0.0 < losses["cross_modal"] < everyone["cross_modal"]


def test_zero_target_logit_needs_non_target():
    with pytest.raises(ValueError, match="needs `non_target=True`"):
        C2KD(zero_target_logit=True, non_target=False)
