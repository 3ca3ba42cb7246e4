"""Statistics over seeds, and the table that every recipe prints."""

import dataclasses
import math
import statistics

from keras_c2kd.utils.optional_imports import import_optional


@dataclasses.dataclass(frozen=True)
class Summary:
    """Mean of a few values, their spread, and an interval for the mean.

    Attributes:
        mean: their mean.
        deviation: their sample standard deviation (n - 1), NaN for one value.
        low: lower end of the confidence interval of the mean, NaN for one
            value.
        high: its upper end.
        count: how many values there are.
    """

    mean: float
    deviation: float
    low: float
    high: float
    count: int


def summarize(values, confidence=0.95):
    """Summarize the values of several seeds.

    The interval is Student's, `mean +- t * deviation / sqrt(n)` with the
    quantile `t` of `n - 1` degrees of freedom. It speaks about other seeds of
    the same experiment, not about other data sets.

    Args:
        values: Sequence of floats, one a seed.
        confidence: Float in (0, 1), the level of the interval.

    Returns:
        A `Summary`.

    Raises:
        ValueError: if there is no value.
    """
    values = [float(value) for value in values]
    if not values:
        raise ValueError(
            "At least one value is needed for a mean. Received none: did the "
            "runs of this cell finish?"
        )
    mean = sum(values) / len(values)
    if len(values) == 1 or not math.isfinite(mean):
        return Summary(mean, math.nan, math.nan, math.nan, len(values))
    mean = statistics.fmean(values)
    deviation = statistics.stdev(values)
    quantile = _student_quantile(0.5 + confidence / 2, len(values) - 1)
    half = quantile * deviation / math.sqrt(len(values))
    return Summary(mean, deviation, mean - half, mean + half, len(values))


def _student_quantile(probability, degrees):
    stats = import_optional("scipy.stats", "experiments", "An interval")
    return float(stats.t.ppf(probability, degrees))


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One row of the table: a method in one direction.

    Attributes:
        student: modality of the student.
        student_network: name of its network.
        teacher: modality of the teacher; None without a teacher.
        teacher_network: name of its network; None without a teacher.
        method: name of the method.
        accuracy: `Summary` of the student's score over the seeds.
        difference: `Summary` of the differences to the baseline, seed by
            seed; None for the baseline itself.
        teacher_before: `Summary` of the teacher's score before the run; None
            without a teacher.
        teacher_after: the same after the run.
    """

    student: str
    student_network: str
    teacher: str | None
    teacher_network: str | None
    method: str
    accuracy: Summary
    difference: Summary | None
    teacher_before: Summary | None
    teacher_after: Summary | None


def compare_methods(records, baseline):
    """Turn the records of runs into the rows of a table.

    A record's `settings` must have `student`, `student_network`, `teacher`,
    `teacher_network`, `method` and `seed`; its `scores` must have `student`,
    and with a teacher `teacher_before` and `teacher_after`. Differences are
    paired: each run is compared with the baseline's run of the same student,
    network and seed.

    Args:
        records: List of dicts, as `RunFiles` returns them.
        baseline: Name of the method to compare with.

    Returns:
        List of `Comparison`, students, and within them methods, in
        order of appearance.

    Raises:
        ValueError: if two records claim the same cell and seed, or if a run
            has no baseline to be compared with.
    """
    cells = {}
    for record in records:
        settings = record["settings"]
        key = settings["student"], settings["student_network"]
        methods = cells.setdefault(key, {})
        runs = methods.setdefault(settings["method"], {})
        if settings["seed"] in runs:
            raise ValueError(
                "There must be one run a student, method and seed. Received "
                f"two of {settings['method']!r} with the {settings['student']} "
                f"student and seed {settings['seed']}. Select the records of "
                "one experiment."
            )
        runs[settings["seed"]] = record
    return [
        _compare(runs, methods.get(baseline, {}), baseline)
        for methods in cells.values()
        for runs in methods.values()
    ]


def _compare(runs, references, baseline):
    """Make the row of one method and student; both dicts are by seed."""
    settings = next(iter(runs.values()))["settings"]
    missing = sorted(set(runs) - set(references))
    if missing:
        raise ValueError(
            f"Every run is compared with the {baseline!r} run of its student "
            f"and seed. Received none for the {settings['student']} student "
            f"and the seeds {missing}. Run it, or leave these records out."
        )

    def over_seeds(name):
        scores = [run["scores"].get(name) for run in runs.values()]
        return None if None in scores else summarize(scores)

    difference = None
    if settings["method"] != baseline:
        difference = summarize(
            [
                run["scores"]["student"] - references[seed]["scores"]["student"]
                for seed, run in runs.items()
            ]
        )
    return Comparison(
        student=settings["student"],
        student_network=settings["student_network"],
        teacher=settings["teacher"],
        teacher_network=settings["teacher_network"],
        method=settings["method"],
        accuracy=over_seeds("student"),
        difference=difference,
        teacher_before=over_seeds("teacher_before"),
        teacher_after=over_seeds("teacher_after"),
    )


def markdown_table(comparisons):
    """Format the rows as a Markdown table, readable as plain text too.

    Scores are printed in percent: mean +- standard deviation over the seeds;
    the difference in percentage points with the interval of its mean.

    Args:
        comparisons: List of `Comparison`.

    Returns:
        String, several lines.
    """
    header = (
        "student",
        "method",
        "score",
        "difference, paired [95% interval]",
        "teacher",
        "teacher before",
        "teacher after",
        "seeds",
    )
    rows = [header]
    for row in comparisons:
        rows.append(
            (
                _side(row.student, row.student_network),
                row.method,
                format_score(row.accuracy),
                format_difference(row.difference),
                _side(row.teacher, row.teacher_network),
                format_score(row.teacher_before),
                format_score(row.teacher_after),
                str(row.accuracy.count),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = [
        "| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _side(modality, network):
    return "-" if modality is None else f"{modality} ({network})"


def format_score(summary):
    """Format a summary of scores as percent, mean +- standard deviation."""
    if summary is None:
        return "-"
    if summary.count == 1:
        return f"{100 * summary.mean:.1f}"
    return f"{100 * summary.mean:.1f} +- {100 * summary.deviation:.1f}"


def format_difference(summary):
    """Format a summary of differences as points, with its interval."""
    if summary is None:
        return "-"
    if summary.count == 1:
        return f"{100 * summary.mean:+.1f}"
    return (
        f"{100 * summary.mean:+.1f} "
        f"[{100 * summary.low:+.1f}, {100 * summary.high:+.1f}]"
    )
