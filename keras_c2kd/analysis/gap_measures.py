"""The figures of the modality gap, from the logits of two networks."""

import dataclasses
import math
import statistics
from collections.abc import Mapping
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from keras_c2kd.analysis.labelled_rows import ROLES
from keras_c2kd.analysis.paired_outputs import PairedOutputs
from keras_c2kd.ops import kendall_rank_correlation
from keras_c2kd.utils.optional_imports import import_optional

# Up to so many classes, few correlations are possible: the bins are wide.
_MOST_CLASSES_OF_WIDE_BINS = 20
# With more classes, the exact distribution takes long and is as good as
# normal.
_MOST_EXACT_CLASSES = 200


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A figure with its confidence interval; NaN where there is none."""

    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class NetworkMeasures:
    """One of the two networks.

    Attributes:
        modality: the key it reads, as text.
        network: its name.
        accuracy: `Estimate`, Wilson's interval.
        target_probability: mean probability of the label's class.
        only_right: fraction of rows on which it is right and the other wrong.
    """

    modality: str
    network: str
    accuracy: Estimate
    target_probability: float
    only_right: float


@dataclasses.dataclass(frozen=True)
class KendallMeasures:
    """Rank correlation of the two networks' logits, row by row.

    Attributes:
        mean: `Estimate`, Student's interval.
        threshold: what counts as misaligned is below it.
        fraction_below: fraction of rows below it.
        non_target_mean: mean of the correlation without the label's class,
            NaN with two classes.
        chance_standard_deviation: standard deviation of the correlation of
            independent rankings; their mean is 0.
        chance_fraction_below: fraction of independent rankings below the
            threshold.
        edges: edges of the bins.
        fractions: fraction of rows in each bin.
        chance_fractions: fraction of independent rankings in each bin.
    """

    mean: Estimate
    threshold: float
    fraction_below: float
    non_target_mean: float
    chance_standard_deviation: float
    chance_fraction_below: float
    edges: list[float]
    fractions: list[float]
    chance_fractions: list[float]


@dataclasses.dataclass(frozen=True)
class ClassMeasures:
    """The rows of one class; Fractions and means are NaN if there are none.

    Attributes:
        name: the class.
        rows: how many there are.
        teacher_accuracy: fraction on which the teacher is right.
        student_accuracy: the same of the student.
        agreement: fraction on which both predict the same class.
        teacher_probability: the teacher's mean probability of this class.
        student_probability: the same of the student.
        kendall: mean rank correlation of the logits.
        non_target_distance: mean total variation, from 0 to 1, between the
            two networks' distributions among the other classes.
    """

    name: str
    rows: int
    teacher_accuracy: float
    student_accuracy: float
    agreement: float
    teacher_probability: float
    student_probability: float
    kendall: float
    non_target_distance: float


@dataclasses.dataclass(frozen=True)
class ClassConflict:
    """A class whose rows the two networks liken to different classes.

    Attributes:
        name: the class.
        rows: how many there are.
        teacher_favourite: the other class that is most probable to the
            teacher, on average over the rows.
        student_favourite: the same of the student.
        strength: half of what the teacher gives its favourite more than the
            student does, and the student its own, of the probability of all
            other classes; from 0 to 1.
        opposed: fraction of the rows on which each network ranks its own
            favourite above the other's.
    """

    name: str
    rows: int
    teacher_favourite: str
    student_favourite: str
    strength: float
    opposed: float


@dataclasses.dataclass(frozen=True)
class GapMeasures:
    """All figures that do not come from features.

    Attributes:
        samples: how many independent samples there are.
        rows: how many rows: the samples, or pixels of them.
        teacher: `NetworkMeasures`.
        student: `NetworkMeasures`.
        majority_class: the most frequent class.
        majority_fraction: its fraction of the rows.
        discordant: samples on which the teacher is better, and on which the
            student is.
        accuracy_p_value: of the exact two-sided McNemar test of them.
        probability_gap: `Estimate` of the teacher's target probability minus
            the student's, Student's interval of the paired differences.
        both_right: fraction of the rows on which both are right.
        neither_right: fraction on which neither is.
        agreement: fraction on which both predict the same class.
        kappa: Cohen's kappa of the predictions, NaN if both always predict
            the same single class.
        kendall: `KendallMeasures`.
        classes: list of `ClassMeasures`, in the order of the logits.
        conflicts: list of `ClassConflict`, the strongest first.
    """

    samples: int
    rows: int
    teacher: NetworkMeasures
    student: NetworkMeasures
    majority_class: str
    majority_fraction: float
    discordant: tuple[int, int]
    accuracy_p_value: float
    probability_gap: Estimate
    both_right: float
    neither_right: float
    agreement: float
    kappa: float
    kendall: KendallMeasures
    classes: list[ClassMeasures]
    conflicts: list[ClassConflict]


def measure_gap(
    outputs: PairedOutputs,
    networks: Mapping[str, tuple[str, str]],
    class_names: Sequence[str],
    threshold: float,
    confidence: float,
) -> GapMeasures:
    """Compute the figures.

    Rows of one sample (pixels of an image) are not independent. Tests and
    intervals therefore count samples: McNemar's test becomes the sign test of
    the samples' own accuracies, and Wilson's interval, taken at the number of
    samples, is too wide rather than too narrow.

    Args:
        outputs: `PairedOutputs`.
        networks: Dict from the role to the modality and the network's name.
        class_names: List of text, one a class.
        threshold: Float, the paper's omega.
        confidence: Float, level of the intervals.

    Returns:
        `GapMeasures`.

    Reference: Huo et al., CVPR 2024, Fig. 1 and Eq. 3. Intervals: Wilson,
    JASA 1927. Test: McNemar, Psychometrika 1947, in its exact form.
    Agreement: Cohen, Educational and Psychological Measurement 1960. Chance:
    Kendall, Biometrika 1938.
    """
    rows = _Rows(outputs)
    teacher, student = (rows.right[role] for role in ROLES)
    better = rows.sample_means(teacher.astype(float) - student)
    discordant = int((better > 0).sum()), int((better < 0).sum())
    probability_gap = rows.target["teacher"] - rows.target["student"]
    counts = np.bincount(rows.labels)
    return GapMeasures(
        samples=rows.samples,
        rows=len(rows.labels),
        teacher=_measure_network(rows, networks, "teacher", confidence),
        student=_measure_network(rows, networks, "student", confidence),
        majority_class=class_names[int(counts.argmax())],
        majority_fraction=float(counts.max() / len(rows.labels)),
        discordant=discordant,
        accuracy_p_value=_sign_test(*discordant),
        probability_gap=_mean_interval(
            rows.sample_means(probability_gap), confidence
        ),
        both_right=float((teacher & student).mean()),
        neither_right=float((~teacher & ~student).mean()),
        agreement=float(rows.agree.mean()),
        kappa=_kappa(rows),
        kendall=_measure_kendall(rows, threshold, confidence),
        classes=_measure_classes(rows, class_names),
        conflicts=_find_conflicts(rows, class_names),
    )


class _Rows:
    """What is known of every row."""

    def __init__(self, outputs: PairedOutputs) -> None:
        self.labels, self.logits = outputs.labels, outputs.logits
        rows, self.num_classes = self.logits["student"].shape
        # Samples that have no row at all do not count.
        self._sample_of = np.unique(outputs.sample_of, return_inverse=True)[1]
        self.samples = int(self._sample_of[-1]) + 1
        self.predicted = {s: self.logits[s].argmax(-1) for s in ROLES}
        self.right = {s: self.predicted[s] == self.labels for s in ROLES}
        self.agree = self.predicted["teacher"] == self.predicted["student"]
        self.target = {
            s: _softmax(self.logits[s])[np.arange(rows), self.labels]
            for s in ROLES
        }
        self.kendall = _kendall(self.logits)
        is_other = self.labels[:, None] != np.arange(self.num_classes)
        # Logits of the other classes, and the probabilities among them.
        self.others = {
            s: self.logits[s][is_other].reshape(rows, -1) for s in ROLES
        }
        self.among_others = {s: _softmax(self.others[s]) for s in ROLES}

    def sample_means(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the means over the rows of each sample."""
        return np.bincount(self._sample_of, values) / np.bincount(
            self._sample_of
        )


def _measure_network(
    rows: _Rows,
    networks: Mapping[str, tuple[str, str]],
    role: str,
    confidence: float,
) -> NetworkMeasures:
    other = "student" if role == "teacher" else "teacher"
    modality, network = networks[role]
    right = rows.right[role]
    return NetworkMeasures(
        modality=modality,
        network=network,
        accuracy=wilson_interval(right.mean(), rows.samples, confidence),
        target_probability=float(rows.target[role].mean()),
        only_right=float((right & ~rows.right[other]).mean()),
    )


def _measure_kendall(
    rows: _Rows, threshold: float, confidence: float
) -> KendallMeasures:
    classes = rows.num_classes
    non_target = math.nan
    if classes > 2:
        non_target = float(_kendall(rows.others).mean())
    half = 10 if classes <= _MOST_CLASSES_OF_WIDE_BINS else 20
    # Fractions, so that an edge is the very number a correlation can be.
    edges = np.arange(-half, half + 1) / half
    counts, _ = np.histogram(rows.kendall, edges)
    # The last bin holds its upper edge too.
    chance_below = _chance_fraction_below(
        [*edges[:-1], math.inf, threshold], classes
    )
    return KendallMeasures(
        mean=_mean_interval(rows.sample_means(rows.kendall), confidence),
        threshold=float(threshold),
        fraction_below=float((rows.kendall < threshold).mean()),
        non_target_mean=non_target,
        chance_standard_deviation=_chance_standard_deviation(classes),
        chance_fraction_below=float(chance_below[-1]),
        edges=edges.tolist(),
        fractions=(counts / len(rows.labels)).tolist(),
        chance_fractions=np.diff(chance_below[:-1]).tolist(),
    )


def _measure_classes(rows: _Rows, names: Sequence[str]) -> list[ClassMeasures]:
    teacher, student = (rows.among_others[role] for role in ROLES)
    columns = {
        "teacher_accuracy": rows.right["teacher"],
        "student_accuracy": rows.right["student"],
        "agreement": rows.agree,
        "teacher_probability": rows.target["teacher"],
        "student_probability": rows.target["student"],
        "kendall": rows.kendall,
        "non_target_distance": np.abs(teacher - student).sum(-1) / 2,
    }
    counts = np.bincount(rows.labels, minlength=len(names))
    divisors = np.where(counts, counts, np.nan)
    means = {
        key: np.bincount(rows.labels, values, minlength=len(names)) / divisors
        for key, values in columns.items()
    }
    return [
        ClassMeasures(
            name=name,
            rows=int(counts[index]),
            **{key: float(values[index]) for key, values in means.items()},
        )
        for index, name in enumerate(names)
    ]


def _find_conflicts(rows: _Rows, names: Sequence[str]) -> list[ClassConflict]:
    """Return the classes whose favourites differ, the strongest first."""
    if len(names) < 3:
        return []
    conflicts = []
    for label in np.unique(rows.labels):
        own = rows.labels == label
        # The class itself is nobody's favourite.
        teacher, student = (
            np.insert(rows.among_others[role][own].mean(0), label, -1.0)
            for role in ROLES
        )
        one, other = int(teacher.argmax()), int(student.argmax())
        if one == other:
            continue
        moved = teacher[one] - student[one] + student[other] - teacher[other]
        prefers = {
            role: rows.logits[role][own, one] - rows.logits[role][own, other]
            for role in ROLES
        }
        opposed = (prefers["teacher"] > 0) & (prefers["student"] < 0)
        conflicts.append(
            ClassConflict(
                name=names[label],
                rows=int(own.sum()),
                teacher_favourite=names[one],
                student_favourite=names[other],
                strength=float(moved / 2),
                opposed=float(opposed.mean()),
            )
        )
    return sorted(conflicts, key=lambda conflict: -conflict.strength)


def wilson_interval(
    fraction: float, count: int, confidence: float = 0.95
) -> Estimate:
    """Return a fraction with Wilson's score interval.

    `(p + z^2 / 2n +- z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)`
    with the normal quantile `z`. It stays inside 0 and 1, and has a width at
    these ends too.

    Args:
        fraction: Float in `[0, 1]`.
        count: Integer, number of independent samples.
        confidence: Float in (0, 1), level of the interval.

    Returns:
        `Estimate`.

    Reference: Wilson, JASA 1927.
    """
    fraction, z = float(fraction), _normal_quantile(confidence)
    middle = fraction + z * z / (2 * count)
    half = z * math.sqrt(
        fraction * (1 - fraction) / count + (z / (2 * count)) ** 2
    )
    scale = 1 + z * z / count
    low, high = (middle - half) / scale, (middle + half) / scale
    return Estimate(fraction, max(0.0, low), min(1.0, high))


def _normal_quantile(confidence: float) -> float:
    return statistics.NormalDist().inv_cdf(0.5 + confidence / 2)


def _mean_interval(values: NDArray[Any], confidence: float) -> Estimate:
    """Return a mean with Student's interval, NaN for a single value."""
    mean, count = float(np.mean(values)), len(values)
    if count == 1:
        return Estimate(mean, math.nan, math.nan)
    quantile = _scipy_stats().t.ppf(0.5 + confidence / 2, count - 1)
    half = float(quantile * np.std(values, ddof=1) / math.sqrt(count))
    return Estimate(mean, mean - half, mean + half)


def _sign_test(wins: int, losses: int) -> float:
    """Return the exact two-sided p-value of wins and losses."""
    if not wins + losses:
        return 1.0
    return float(_scipy_stats().binomtest(wins, wins + losses).pvalue)


def _scipy_stats() -> ModuleType:
    return import_optional("scipy.stats", "compare", "An interval")


def _kappa(rows: _Rows) -> float:
    counts = [
        np.bincount(rows.predicted[role], minlength=rows.num_classes)
        for role in ROLES
    ]
    by_chance = float(counts[0] @ counts[1]) / len(rows.labels) ** 2
    if by_chance == 1.0:
        return math.nan
    return float((rows.agree.mean() - by_chance) / (1 - by_chance))


def _kendall(logits: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """Return the correlations as fractions of whole numbers of pairs."""
    classes = logits["student"].shape[-1]
    pairs = classes * (classes - 1) // 2
    taus = kendall_rank_correlation(logits["teacher"], logits["student"])
    taus = keras.ops.convert_to_numpy(taus).astype("float64")
    return np.rint(taus * pairs) / pairs


def _chance_standard_deviation(classes: int) -> float:
    return math.sqrt(2 * (2 * classes + 5) / (9 * classes * (classes - 1)))


def _chance_fraction_below(
    values: Sequence[float], num_classes: int
) -> NDArray[Any]:
    """Return the fraction of independent rankings that correlate below values.

    A pair of rankings with `k` of the `C (C - 1) / 2` pairs of classes in
    opposite order has a correlation of `1 - 4 k / (C (C - 1))`; `k` is the
    number of inversions of a random permutation.
    """
    if num_classes > _MOST_EXACT_CLASSES:
        normal = statistics.NormalDist(
            0.0, _chance_standard_deviation(num_classes)
        )
        return np.array([normal.cdf(value) for value in values])
    fractions = np.ones(1)
    for count in range(2, num_classes + 1):
        # The class put in as the last has 0 to `count - 1` inversions, all
        # equally likely: a running mean over as many entries.
        sums = np.cumsum(np.pad(fractions, (0, count - 1)))
        sums[count:] -= sums[:-count].copy()
        fractions = sums / count
    pairs = len(fractions) - 1
    taus = (pairs - 2 * np.arange(pairs + 1)) / pairs
    below = np.append(0.0, np.cumsum(fractions[::-1]))
    return below[np.searchsorted(taus[::-1], values)]


def _softmax(logits: NDArray[Any]) -> NDArray[Any]:
    logits = logits.astype("float64")
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)
