"""What distillation may be expected to bring, before it is tried."""

import dataclasses

from keras_c2kd.utils.argument_checks import check_number

# Of `recipes/results/rule/settings.csv`; `recipes/paper/rule_study.py` prints
# them, tests/recipes/paper/test_rule_study.py compares.
_SLOPE = 0.479
# Where nine in ten of the study's gains lie from what the line says: with rows
# without a label, and where all have one.
_WITH_UNLABELED = (-0.127, 0.068)
_ALL_LABELED = (-0.131, 0.010)
# Less is called little.
_LITTLE = 0.01


@dataclasses.dataclass(frozen=True)
class ExpectedGain:
    """A forecast of the gain of KD, from two networks that trained alone.

    Attributes:
        teacher_accuracy: Of the teacher on validation rows, a fraction.
        student_accuracy: Of the student that trained alone, on the same rows.
        unlabeled_fraction: Of the training rows.
        gain: Expected change of the student's accuracy, a fraction.
        low: Of the settings that the rule was made of, nine in ten lay between
            `low` and `high`.
        high: See `low`.

    Example:
    >>> found = expected_gain(0.85, 0.65, unlabeled_fraction=0.9)
    >>> found.low < found.gain < found.high
    True
    """

    teacher_accuracy: float
    student_accuracy: float
    unlabeled_fraction: float
    gain: float
    low: float
    high: float

    @property
    def difference(self) -> float:
        """How much more often the teacher is right, a fraction."""
        return self.teacher_accuracy - self.student_accuracy

    @property
    def verdict(self) -> str:
        """`"help"`, `"harm"` or `"bring little, or harm"`."""
        if abs(self.gain) < _LITTLE:
            return "bring little, or harm"
        return "help" if self.gain > 0 else "harm"

    def describe(self, teacher: str, student: str) -> str:
        """Say it in a sentence.

        Args:
            teacher: What teaches, such as `"camera"`.
            student: What is taught.

        Example:
        >>> print(expected_gain(0.5, 0.5, 0.0).describe("camera", "wrist"))
        ... # doctest: +ELLIPSIS
        camera is right on 50.0% of the validation rows, wrist on 50.0%, and...
        """
        unlabeled = "no training row is without a label"
        if self.unlabeled_fraction:
            unlabeled = (
                f"{100 * self.unlabeled_fraction:.0f}% of the training rows "
                "have no label"
            )
        return (
            f"{teacher} is right on {100 * self.teacher_accuracy:.1f}% of the "
            f"validation rows, {student} on "
            f"{100 * self.student_accuracy:.1f}%, and "
            f"{unlabeled}: teaching {student} is expected to {self.verdict} "
            f"({100 * self.gain:+.1f} points by KD; in like settings "
            f"{100 * self.low:+.1f} to {100 * self.high:+.1f})."
        )


def expected_gain(
    teacher_accuracy: float,
    student_accuracy: float,
    unlabeled_fraction: float,
) -> ExpectedGain:
    """Forecast what KD over all pairs brings, from validation accuracies.

    `gain = b u (a_T - a_S)`: the fraction `u` of the training rows that have no
    label, times how much more often the teacher is right than the student that
    trained alone. The slope `b` and the range are of small networks on four
    data sets, 76 settings (`docs/when-it-helps.md`, with the hit rate on data
    sets that it was not fitted to). Where all rows have a label no gain was
    told from 0, but losses were: with teachers that are weaker or rank the
    classes otherwise. It is a rule of thumb, and `compare` the answer.

    Args:
        teacher_accuracy: Float in [0, 1], of the teacher on validation rows.
        student_accuracy: Float in [0, 1], of the student trained alone.
        unlabeled_fraction: Float in [0, 1], of the training rows.

    Returns:
        `ExpectedGain`.

    Raises:
        ValueError: If an argument is no fraction.

    Example:
    >>> expected_gain(0.85, 0.65, 0.9).verdict
    'help'
    >>> expected_gain(0.65, 0.85, 0.9).verdict
    'harm'
    >>> expected_gain(0.85, 0.65, 0.0).verdict
    'bring little, or harm'
    """
    check_number(
        0.0,
        1.0,
        teacher_accuracy=teacher_accuracy,
        student_accuracy=student_accuracy,
        unlabeled_fraction=unlabeled_fraction,
    )
    difference = teacher_accuracy - student_accuracy
    gain = _SLOPE * unlabeled_fraction * difference
    low, high = _WITH_UNLABELED if unlabeled_fraction else _ALL_LABELED
    return ExpectedGain(
        teacher_accuracy,
        student_accuracy,
        unlabeled_fraction,
        gain,
        gain + low,
        gain + high,
    )
