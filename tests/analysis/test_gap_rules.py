"""The conclusion, from figures that are set by hand."""

import dataclasses
import itertools
import math

import numpy as np
import pytest

from keras_c2kd.analysis import GapRules
from keras_c2kd.analysis import expected_gain
from keras_c2kd.analysis.gap_measures import ClassConflict
from keras_c2kd.analysis.gap_measures import Estimate
from keras_c2kd.analysis.gap_rules import DIRECTION_RULE
from keras_c2kd.analysis.gap_rules import conclude
from tests.analysis.gap_cases import gap_of
from tests.analysis.gap_cases import random_logits

pytestmark = pytest.mark.backend_free

CKA = np.array([[0.3, 0.7]])


@pytest.fixture(scope="module")
def measured():
    return gap_of(*random_logits(200, 5)).measures


def network(measured, side, accuracy, only_right):
    return dataclasses.replace(
        getattr(measured, side),
        accuracy=Estimate(accuracy, accuracy - 0.05, accuracy + 0.05),
        only_right=only_right,
    )


@pytest.fixture
def figures(measured):
    """Make figures: balanced, aligned, much to learn, unless told."""

    def make(
        teacher=(0.8, 0.1),
        student=(0.8, 0.1),
        discordant=(20, 20),
        p_value=1.0,
        probability_gap=0.0,
        fraction_below=0.0,
        non_target=0.5,
        **changes,
    ):
        values = {
            "teacher": network(measured, "teacher", *teacher),
            "student": network(measured, "student", *student),
            "discordant": discordant,
            "accuracy_p_value": p_value,
            "probability_gap": Estimate(probability_gap, 0.0, 0.0),
            "majority_fraction": 0.2,
            "kendall": dataclasses.replace(
                measured.kendall,
                fraction_below=fraction_below,
                non_target_mean=non_target,
            ),
            "conflicts": [],
        }
        return dataclasses.replace(measured, **{**values, **changes})

    return make


def holding(findings):
    return {finding.rule: finding.holds for finding in findings}


def directions(findings):
    return [f.sentence for f in findings if f.rule == DIRECTION_RULE]


def test_a_balanced_and_aligned_pair(figures):
    findings = conclude(figures(), CKA, GapRules())
    assert holding(findings) == {
        "accuracy": False,
        "imbalance": False,
        "misalignment": False,
        "features": False,
        "class conflicts": False,
        "expected gain": False,
    }
    assert directions(findings) == [f.sentence for f in findings[-2:]]
    for sentence, (source, learner) in zip(
        directions(findings),
        itertools.permutations(("the teacher (audio)", "the student (visual)")),
    ):
        assert sentence.lower().startswith(f"{source} is right on 80.0%")
        assert (
            f"teaching {learner} is expected to bring little, or harm"
            in sentence
        )


@pytest.mark.parametrize("stronger", ["teacher", "student"])
def test_imbalance_warns_of_the_weaker_source(figures, stronger):
    sign = 1 if stronger == "teacher" else -1
    best = {"teacher": (0.9, 0.2), "student": (0.7, 0.06)}
    if stronger == "student":
        best = {"teacher": best["student"], "student": best["teacher"]}
    findings = conclude(
        figures(
            **best,
            discordant=(40, 12)[::sign],
            p_value=0.001,
            probability_gap=sign * 0.2,
        ),
        CKA,
        GapRules(),
    )
    assert holding(findings)["accuracy"] and holding(findings)["imbalance"]
    side = {"teacher": "teacher (audio)", "student": "student (visual)"}
    assert findings[0].sentence.startswith(
        f"The {side[stronger]} is more accurate, by 20.0 points"
    )
    assert f"the {side[stronger]} would lose" in findings[1].sentence
    assert "+0.200 >= 0.1" in findings[1].because


@pytest.mark.parametrize(
    "change",
    [
        {"p_value": 0.06},
        {"probability_gap": 0.09},
        {"probability_gap": -0.2},
        # More images won, more pixels lost.
        {"discordant": (12, 40)},
    ],
)
def test_no_imbalance_unless_both_figures_say_so(figures, change):
    values = {
        "teacher": (0.9, 0.2),
        "student": (0.7, 0.06),
        "discordant": (40, 12),
        "p_value": 0.001,
        "probability_gap": 0.2,
        **change,
    }
    findings = conclude(figures(**values), CKA, GapRules())
    assert not holding(findings)["imbalance"]


@pytest.mark.parametrize(
    "share, mean, holds",
    [
        (0.1, 0.5, True),
        (0.09, 0.5, False),
        (0.0, 0.19, True),
        (0.0, 0.2, False),
        # Two classes: there is no correlation without the label's class.
        (0.0, math.nan, False),
        (0.3, math.nan, True),
    ],
)
def test_misalignment(figures, share, mean, holds):
    findings = conclude(
        figures(fraction_below=share, non_target=mean), CKA, GapRules()
    )
    assert holding(findings)["misalignment"] is holds
    assert "nan" not in findings[2].because


def test_what_is_expected_follows_the_accuracies(figures):
    """A fraction of their difference, by what has no label."""
    pair = figures(teacher=(0.9, 0.2), student=(0.7, 0.06))
    for unlabeled, verdicts in (
        (0.9, ("help", "harm")),
        (0.0, ("bring little, or harm", "bring little, or harm")),
    ):
        findings = conclude(pair, CKA, GapRules(), unlabeled)
        for finding, verdict in zip(findings[-2:], verdicts):
            assert finding.rule == DIRECTION_RULE
            assert finding.holds is (verdict != "bring little, or harm")
            assert f"is expected to {verdict}" in finding.sentence
    gains = [
        expected_gain(teacher, student, 0.5).gain
        for teacher, student in ((0.9, 0.7), (0.7, 0.9), (0.9, 0.5))
    ]
    assert gains[0] == pytest.approx(-gains[1])
    assert gains[2] == pytest.approx(2 * gains[0])
    with pytest.raises(ValueError, match="unlabeled_fraction"):
        expected_gain(0.5, 0.5, 1.5)


def test_features_need_one_pair_of_stages_that_is_alike(figures):
    for cka, holds in (
        (np.array([[0.3, 0.49]]), True),
        (np.array([[0.3, 0.5]]), False),
    ):
        findings = conclude(figures(), cka, GapRules())
        assert holding(findings)["features"] is holds
    for cka in (np.empty((0, 1)), np.array([[np.nan]])):
        assert "features" not in holding(conclude(figures(), cka, GapRules()))


def test_conflicts_are_named_where_there_are_enough_samples(figures):
    conflicts = [
        ClassConflict("rare", 9, "a", "b", 0.9, 1.0),
        ClassConflict("faint", 50, "a", "b", 0.8, 0.4),
        ClassConflict("female", 50, "child", "male", 0.7, 0.5),
    ]
    findings = conclude(figures(conflicts=conflicts), CKA, GapRules())
    (found,) = (f for f in findings if f.rule == "class conflicts")
    assert found.holds
    assert (
        "'female' is to the teacher most like 'child', to the student most "
        "like 'male'" in found.sentence
    )
    assert "rare" not in found.sentence and "faint" not in found.sentence
    assert found.because.startswith("1 of 5 classes")


def test_few_samples_end_the_list(figures):
    findings = conclude(figures(samples=99), CKA, GapRules())
    assert holding(findings) == {"few samples": True}
    assert findings[0].because == "99 samples < 100"
    assert len(conclude(figures(samples=100), CKA, GapRules())) > 1


@pytest.mark.parametrize("side", ["teacher", "student"])
def test_an_untrained_network_ends_the_list(figures, side):
    findings = conclude(figures(**{side: (0.25, 0.1)}), CKA, GapRules())
    assert holding(findings) == {"untrained": True}
    assert f"the {side} (" in findings[0].sentence


def test_thresholds_can_be_chosen(figures):
    rules = GapRules(
        misaligned_fraction=0.5, misaligned_kendall=-1, fewest_samples=1
    )
    findings = conclude(figures(fraction_below=0.4, samples=2), CKA, rules)
    assert not holding(findings)["misalignment"]
    for wrong in (
        {"confidence": 1.0},
        {"probability_gap": 5},
        {"alike_cka": math.nan},
        {"fewest_samples": -2},
    ):
        with pytest.raises(ValueError, match=f"Received: {[*wrong][0]}="):
            GapRules(**wrong)
