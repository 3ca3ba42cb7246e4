"""From the figures of the modality gap to sentences, by stated rules."""

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_c2kd.analysis.expected_gain import expected_gain
from keras_c2kd.analysis.gap_measures import Estimate
from keras_c2kd.analysis.gap_measures import GapMeasures
from keras_c2kd.analysis.gap_measures import NetworkMeasures

CAVEAT = (
    "These sentences follow from the figures by the rules named beside them. "
    "Those on the two directions are a forecast that was fitted to small "
    "networks and tried on data sets it was not fitted to; the others restate "
    "the analysis of Huo et al. (CVPR 2024, section 3.1) with thresholds that "
    "are a choice. Only training with and without distillation, over several "
    "seeds, can show what it brings."
)

# The rule on the two directions, what a reader asks first.
DIRECTION_RULE = "expected gain"


@dataclasses.dataclass(frozen=True)
class GapRules:
    """Thresholds of the rules that draw the conclusion.

    The rules, in their order; a rule in brackets ends the list when it holds:

    - *[few samples]*: fewer than `fewest_samples`. No conclusion.
    - *[untrained]*: the accuracy's interval of a network reaches down to the
      fraction of the most frequent class. No conclusion.
    - *accuracy*: the exact McNemar test has `p < 1 - confidence`. The better
      network has the stronger modality; otherwise no difference is shown.
    - *imbalance*: the mean target probabilities differ by `probability_gap`
      or more in favour of the network that *accuracy* found better.
    - *misalignment*: `misaligned_fraction` of the samples or more have a
      Kendall correlation below the threshold; or its mean over the non-target
      classes is below `misaligned_kendall`.
    - *features*: no pair of stages has a CKA of `alike_cka` or more.
    - *class conflicts*: classes with `fewest_of_a_class` samples, of which
      `conflict_fraction` or more are ranked in opposite order.

    Then, for each direction, *expected gain*: `expected_gain` of the accuracies
    and of the fraction of training rows that have no label. It holds if a
    point or more is expected.

    Args:
        confidence: Level of all tests and intervals. Defaults to 0.95, the
            usual one.
        fewest_samples: Defaults to 100, where the interval of an accuracy is
            up to 10 points to either side: enough to see the gaps of the
            paper's Table 2 (21 points), not much less.
        fewest_of_a_class: Defaults to 10, for the same reason: 30 points to
            either side.
        probability_gap: Defaults to 0.1, half of the smallest gap at which
            the paper shows that distillation harms the stronger modality
            (Table 2, VGGSound: 0.534 and 0.340).
        misaligned_fraction: Defaults to 0.1. The paper prints no such
            fraction. On the digits of `load_av_digits`, small networks of the
            same modality had at most 0.01, of image and sound 0.21 and 0.24;
            independent rankings have about 0.5.
        misaligned_kendall: Defaults to 0.2: of two classes, three times in
            five both networks prefer the same one. On the same digits 0.40
            and 0.48 within a modality, -0.04 across; independent rankings
            have 0.
        alike_cka: Defaults to 0.5, half of what equal features have. With
            `recipes/av_digits.py` 0.75 and 0.86 within a modality, 0.39
            across.
        conflict_fraction: Defaults to 0.5, most samples of the class.

    Raises:
        ValueError: If a threshold is not a number in its range.

    Example:
    >>> rules = GapRules(probability_gap=0.2)
    >>> rules.probability_gap, rules.confidence
    (0.2, 0.95)
    """

    confidence: float = 0.95
    fewest_samples: int = 100
    fewest_of_a_class: int = 10
    probability_gap: float = 0.1
    misaligned_fraction: float = 0.1
    misaligned_kendall: float = 0.2
    alike_cka: float = 0.5
    conflict_fraction: float = 0.5

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            most = math.inf if field.name.startswith("fewest") else 1
            if not -1 <= value <= most or (
                field.name == "confidence" and not 0 < value < 1
            ):
                raise ValueError(
                    "Thresholds are fractions or correlations (confidence "
                    "between 0 and 1), and counts of samples. Received: "
                    f"{field.name}={value}"
                )


@dataclasses.dataclass(frozen=True)
class Finding:
    """A sentence of the conclusion.

    Attributes:
        rule: name of the rule.
        holds: whether its condition is met.
        because: the condition, with the figures it was tested with.
        sentence: what follows, in plain words.
    """

    rule: str
    holds: bool
    because: str
    sentence: str


def conclude(
    measures: GapMeasures,
    cka: NDArray[Any],
    rules: GapRules,
    unlabeled_fraction: float = 0.0,
) -> list[Finding]:
    """Apply the rules.

    Args:
        measures: `GapMeasures`.
        cka: Array `(teacher stages, student stages)`.
        rules: `GapRules`.
        unlabeled_fraction: Float, of the training rows. Defaults to `0.0`.

    Returns:
        List of `Finding`, as `GapRules` lists them; those on the two
        directions come last.
    """
    stop = _few_samples(measures, rules) or _untrained(measures)
    if stop is not None:
        return [stop]
    accuracy = _accuracy(measures, rules)
    imbalance = _imbalance(measures, rules, accuracy.holds)
    misalignment = _misalignment(measures, rules)
    findings = [accuracy, imbalance, misalignment]
    if np.isfinite(cka).any():
        findings.append(_features(cka, rules))
    if len(measures.classes) > 2:
        findings.append(_class_conflicts(measures, rules))
    for source, learner in (
        (measures.teacher, measures.student),
        (measures.student, measures.teacher),
    ):
        expected = expected_gain(
            source.accuracy.value, learner.accuracy.value, unlabeled_fraction
        )
        findings.append(
            Finding(
                DIRECTION_RULE,
                expected.verdict in ("help", "harm"),
                f"difference in accuracy {100 * expected.difference:+.1f} "
                f"points, {unlabeled_fraction:.0%} of the training rows "
                "without a label",
                _capital(
                    expected.describe(
                        _name(measures, source), _name(measures, learner)
                    )
                ),
            )
        )
    return findings


def _few_samples(measures: GapMeasures, rules: GapRules) -> Finding | None:
    if measures.samples >= rules.fewest_samples:
        return None
    return Finding(
        "few samples",
        True,
        f"{measures.samples} samples < {rules.fewest_samples}",
        "There are too few samples for a conclusion: the figures below "
        "describe these samples and no others.",
    )


def _untrained(measures: GapMeasures) -> Finding | None:
    for network in (measures.teacher, measures.student):
        if network.accuracy.low <= measures.majority_fraction:
            return Finding(
                "untrained",
                True,
                f"accuracy of {_name(measures, network)} "
                f"{_interval(network.accuracy)} reaches down to "
                f"{measures.majority_fraction:.1%}, the fraction of the most "
                "frequent class",
                f"No conclusion: {_name(measures, network)} is not shown to "
                "be better than always answering "
                f"{measures.majority_class!r}. Its soft labels say little "
                "about its modality until it is trained.",
            )
    return None


def _accuracy(measures: GapMeasures, rules: GapRules) -> Finding:
    p_value, level = measures.accuracy_p_value, 1 - rules.confidence
    wins, losses = measures.discordant
    gap = measures.teacher.accuracy.value - measures.student.accuracy.value
    # Of dense logits, one network may win on more images and lose on more
    # pixels: nothing is shown then.
    holds = p_value < level and (wins > losses) == (gap > 0)
    stronger = _name(measures, _stronger(measures))
    if holds:
        sentence = (
            f"{_capital(stronger)} is more accurate, by {abs(100 * gap):.1f} "
            "points: more than chance explains."
        )
    else:
        sentence = (
            f"A difference in accuracy is not shown ({100 * gap:+.1f} points "
            "for the teacher)."
        )
    return Finding(
        "accuracy",
        holds,
        f"exact McNemar test p = {p_value:.2g} {_sign(holds, '<', '>=')} "
        f"{level:.2g}; the teacher is better on {wins} samples, the student "
        f"on {losses}",
        sentence,
    )


def _imbalance(
    measures: GapMeasures, rules: GapRules, is_accuracy_gap: bool
) -> Finding:
    gap = measures.probability_gap.value
    stronger = _stronger(measures)
    in_favour = gap if stronger is measures.teacher else -gap
    holds = is_accuracy_gap and in_favour >= rules.probability_gap
    if holds:
        sentence = (
            f"Modality imbalance: {_name(measures, stronger)} would lose "
            "confidence in the right class by imitating the other. Leave the "
            "target class out of the distillation in that direction."
        )
    else:
        sentence = "No modality imbalance by this rule."
    because = f"target probability, teacher minus student, {gap:+.3f}; "
    if is_accuracy_gap:
        because += (
            f"{in_favour:+.3f} {_sign(holds, '>=', '<')} "
            f"{rules.probability_gap:g} in favour of the more accurate one"
        )
    else:
        because += "accuracy does not hold"
    return Finding("imbalance", holds, because, sentence)


def _misalignment(measures: GapMeasures, rules: GapRules) -> Finding:
    kendall = measures.kendall
    too_many = kendall.fraction_below >= rules.misaligned_fraction
    too_low = kendall.non_target_mean < rules.misaligned_kendall
    holds = bool(too_many or too_low)
    if holds:
        sentence = (
            "Soft labels are misaligned: the two networks rank the classes "
            "differently, so that what one says about the wrong classes "
            "contradicts the other. Select the samples to distil by their "
            "rank correlation, as C2KD does."
        )
    else:
        sentence = (
            "Soft labels are aligned by this rule: both networks rank the "
            "classes alike on most samples."
        )
    because = (
        f"Kendall below {kendall.threshold:g} on {kendall.fraction_below:.1%} "
        f"{_sign(too_many, '>=', '<')} {rules.misaligned_fraction:.1%} "
        f"(independent rankings: {kendall.chance_fraction_below:.1%})"
    )
    if not math.isnan(kendall.non_target_mean):
        because += (
            f"; mean over the non-target classes {kendall.non_target_mean:.2f} "
            f"{_sign(too_low, '<', '>=')} {rules.misaligned_kendall:g}"
        )
    return Finding("misalignment", holds, because, sentence)


def _features(cka: NDArray[Any], rules: GapRules) -> Finding:
    highest = float(np.nanmax(cka))
    holds = highest < rules.alike_cka
    if holds:
        sentence = (
            "The features are unlike: methods that match feature maps have "
            "little to go by."
        )
    else:
        sentence = (
            "Some features are alike: methods that match feature maps have "
            "something to go by."
        )
    return Finding(
        "features",
        holds,
        f"highest CKA of two stages {highest:.2f} {_sign(holds, '<', '>=')} "
        f"{rules.alike_cka:g}",
        sentence,
    )


def _class_conflicts(measures: GapMeasures, rules: GapRules) -> Finding:
    clear = [
        conflict
        for conflict in measures.conflicts
        if conflict.rows >= rules.fewest_of_a_class
        and conflict.opposed >= rules.conflict_fraction
    ]
    because = (
        f"{len(clear)} of {len(measures.classes)} classes have at least "
        f"{rules.fewest_of_a_class} samples and are ranked in opposite order "
        f"on at least {rules.conflict_fraction:.0%} of them"
    )
    if not clear:
        return Finding(
            "class conflicts", False, because, "No class is in clear conflict."
        )
    examples = "; ".join(
        f"{conflict.name!r} is to the teacher most like "
        f"{conflict.teacher_favourite!r}, to the student most like "
        f"{conflict.student_favourite!r}"
        for conflict in clear[:3]
    )
    return Finding(
        "class conflicts",
        True,
        because,
        f"Classes conflict, most of all: {examples}.",
    )


def _stronger(measures: GapMeasures) -> NetworkMeasures:
    teacher, student = measures.teacher, measures.student
    is_teacher = teacher.accuracy.value >= student.accuracy.value
    return teacher if is_teacher else student


def _name(measures: GapMeasures, network: NetworkMeasures) -> str:
    role = "teacher" if network is measures.teacher else "student"
    return f"the {role} ({network.modality})"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _sign(holds: bool, met: str, not_met: str) -> str:
    return met if holds else not_met


def _interval(estimate: Estimate) -> str:
    return (
        f"{100 * estimate.value:.1f} "
        f"[{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"
    )
