"""From the records of a folder to rows: scores, differences, cost."""

import collections
import dataclasses
import math
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_c2kd.comparison.candidates import BASELINE
from keras_c2kd.comparison.identity import differences
from keras_c2kd.comparison.plan import Plan
from keras_c2kd.comparison.records import Record
from keras_c2kd.comparison.runner import Runner
from keras_c2kd.comparison.statistics import Summary
from keras_c2kd.comparison.statistics import paired_difference
from keras_c2kd.comparison.statistics import summarize

# What tells runs of one comparison apart; all else is shared by its table.
CELL = ("student", "student_network", "teacher", "teacher_network", "method")
_OF_A_RUN = {
    *CELL,
    *("seed", "recipe", "method_config", "method_learning_rate"),
    *("student_features", "teacher_features", "teacher_training", "networks"),
    "data",
}


@dataclasses.dataclass(frozen=True)
class Row:
    """A method in one direction, over its seeds; scores are fractions.

    Attributes:
        student: Modality of the student.
        student_network: Name of its network.
        teacher: Modality of the teacher; None without one.
        teacher_network: Name of its network; None without one.
        method: Name of the method.
        by_seed: Dict from the seed to the student's test score.
        validation: Dict from the seed to its validation score.
        score: `Summary` of the test scores.
        difference: `Summary` of the paired differences to the student alone;
            None for itself, and without a common seed.
        teacher_before: `Summary` of the teacher's test score before.
        teacher_after: The same after the run.
        updates: Integer, training steps of a run.
        seconds: Float, mean duration of a run.
    """

    student: str
    student_network: str
    teacher: str | None
    teacher_network: str | None
    method: str
    by_seed: Mapping[int, float]
    validation: Mapping[int, float]
    score: Summary
    difference: Summary | None
    teacher_before: Summary | None
    teacher_after: Summary | None
    updates: int | None
    seconds: float

    @property
    def scores(self) -> list[float]:
        """The test scores, one a seed."""
        return list(self.by_seed.values())


def make_rows(records: Iterable[Record], confidence: float = 0.95) -> list[Row]:
    """Return the rows of some records, the baseline first for each student.

    Differences are paired: a run is compared with that of its student alone,
    of the same network and seed.

    Args:
        records: Records with the same shared settings.
        confidence: Float in (0, 1), level of the intervals.

    Raises:
        ValueError: If two records claim the same cell and seed.
    """
    cells: dict[tuple[Any, ...], dict[int, Record]] = {}
    for record in records:
        settings = record["settings"]
        runs = cells.setdefault(tuple(settings[k] for k in CELL), {})
        if runs.setdefault(settings["seed"], record) is not record:
            raise ValueError(
                "There must be one run a student, method and seed. Received "
                f"two of {settings['method']!r} with the {settings['student']} "
                f"student and seed {settings['seed']}. Select the records of "
                "one comparison."
            )
    alone = {
        cell[:2]: _scores(runs, "student")
        for cell, runs in cells.items()
        if cell[-1] == BASELINE
    }
    # Stable: students and methods in the order of their appearance.
    order = list(dict.fromkeys(cell[:2] for cell in cells))
    ordered = sorted(
        cells, key=lambda c: (order.index(c[:2]), c[-1] != BASELINE)
    )
    return [
        _row(cell, cells[cell], alone.get(cell[:2], {}), confidence)
        for cell in ordered
    ]


def _row(
    cell: tuple[Any, ...],
    runs: Mapping[int, Record],
    alone: Mapping[int, float],
    confidence: float,
) -> Row:
    student, student_network, teacher, teacher_network, method = cell
    runs = dict(sorted(runs.items()))
    tested = _scores(runs, "student")
    updates = {run.get("updates") for run in runs.values()}
    return Row(
        student,
        student_network,
        teacher,
        teacher_network,
        method,
        by_seed=tested,
        validation=_scores(runs, "validation"),
        score=summarize(tested.values(), confidence),
        difference=None
        if method == BASELINE
        else paired_difference(tested, alone, confidence),
        teacher_before=_summary(runs, "teacher_before"),
        teacher_after=_summary(runs, "teacher_after"),
        updates=updates.pop() if len(updates) == 1 else None,
        seconds=float(np.mean([run["seconds"] for run in runs.values()])),
    )


def _scores(runs: Mapping[int, Record], name: str) -> dict[int, float]:
    return {
        seed: run["scores"][name]
        for seed, run in runs.items()
        if run["scores"].get(name) is not None
    }


def _summary(runs: Mapping[int, Record], name: str) -> Summary | None:
    values = _scores(runs, name).values()
    return summarize(values) if values else None


def shared_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what all records of one table have in common."""
    return {k: v for k, v in settings.items() if k not in _OF_A_RUN}


def choose_records(runner: Runner) -> tuple[list[Record], list[str]]:
    """Return the records of a folder that belong to a plan's table.

    They are those of the plan's runs, and all others of the folder with the
    same data, training, backend and networks.

    Args:
        runner: `Runner`.

    Returns:
        The records, and sentences on what was not used and why.
    """
    plan = runner.plan
    identities = [plan.identity(run) for run in plan.runs()]
    shared = [shared_settings(identity) for identity in identities]
    networks = {
        (modality, name): plan.known(modality, name).digest
        for identity in identities
        for modality, name in _networks_of(identity)
    }
    data = {identity["seed"]: identity["data"] for identity in identities}
    planned = {tuple(i[k] for k in (*CELL, "seed")): i for i in identities}
    found: dict[tuple[Any, ...], Record] = {}
    unused: collections.Counter[str] = collections.Counter()
    for record in runner.files.load_all():
        settings = record["settings"]
        place = tuple(settings.get(k) for k in (*CELL, "seed"))
        if place in planned:
            wanted = planned[place]
            if settings == wanted:
                found[place] = record
            else:
                unused[_why(differences(settings, wanted))] += 1
            continue
        own = {**shared_settings(settings), "networks": None}
        like = min(
            ({**one, "networks": None} for one in shared),
            key=lambda one: len(differences(own, one)),
        )
        unlike = differences(own, like)
        for modality, digest in settings.get("networks", {}).items():
            key = modality, dict(_networks_of(settings))[modality]
            if networks.get(key, digest) != digest:
                unlike["networks"] = ("another", "the plan's")
        if data.get(settings.get("seed"), settings.get("data")) != (
            settings.get("data")
        ):
            unlike["data"] = ("others", "the plan's")
        before = found.get(place)
        if unlike:
            unused[_why(unlike)] += 1
        elif before is None or before["finished"] < record["finished"]:
            found[place] = record
            if before is not None:
                unused["a newer one of the same name is there"] += 1
    words = [
        f"{count} {'record is' if count == 1 else 'records are'} left where "
        f"{'it is' if count == 1 else 'they are'} and not in the table: "
        f"{reason}."
        for reason, count in unused.items()
    ]
    order = {place: number for number, place in enumerate(planned)}
    chosen = sorted(found, key=lambda place: order.get(place, len(order)))
    return [found[place] for place in chosen], words


def _networks_of(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the modalities of a run's networks with the networks' names."""
    student, networks = settings["student"], settings.get("networks", {})
    return [
        (
            modality,
            settings["student_network"]
            if modality == student
            else settings["teacher_network"],
        )
        for modality in networks
    ]


MOST_SHOWN = 3


def _why(unlike: Mapping[str, tuple[Any, Any]]) -> str:
    """Say how the settings of a record differ from those wanted."""
    parts = [
        f"{name} was {_short(old)} and is {_short(new)}"
        for name, (old, new) in list(unlike.items())[:MOST_SHOWN]
    ]
    if len(unlike) > MOST_SHOWN:
        parts.append(f"{len(unlike) - MOST_SHOWN} more")
    return ", ".join(parts)


def _short(value: Any) -> str:
    text = "not there" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def missing_runs(
    plan: Plan, records: Sequence[Record], failures: Mapping[Any, str]
) -> list[str]:
    """Return sentences on the runs that a table lacks."""
    there = {tuple(r["settings"][k] for k in (*CELL, "seed")) for r in records}
    found = []
    for run in plan.runs():
        place = dataclasses.asdict(run)
        if tuple(place[k] for k in (*CELL, "seed")) not in there:
            why = failures.get(run)
            found.append(
                f"missing: {run.method}, {run.student} student, seed "
                f"{run.seed}" + (f" failed: {why}" if why else "")
            )
    return found


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a network had come at half of its budget and at the end.

    Attributes:
        half: Mean validation score around half of the epochs.
        end: The same at the end.
        train_half: Mean training score around half of the epochs, or NaN.
        train_end: The same at the end.
        still_rises: Whether the validation score rose by more than its noise:
            the interval of the seeds' rises is above 0; below three seeds, the
            rise is above twice the spread of the last fifth of the epochs.
    """

    half: float
    end: float
    train_half: float
    train_end: float
    still_rises: bool


def progress_of(records: Sequence[Record], metric: str) -> Progress | None:
    """Return how far the runs of one row had come; None below 4 epochs.

    Args:
        records: The records of a row.
        metric: Name of the metric.
    """
    halves, ends, spreads, trains = [], [], [], []
    for record in records:
        history = record["history"]
        scores = np.asarray(history[f"val_{metric}"], float)
        if len(scores) < 4:
            return None
        half, width = len(scores) // 2, max(1, len(scores) // 10)
        halves.append(scores[half - width : half].mean())
        ends.append(scores[-width:].mean())
        spreads.append(np.std(scores[-max(2, len(scores) // 5) :]))
        own = np.asarray(history.get(metric, [math.nan] * len(scores)), float)
        trains.append((own[half - width : half].mean(), own[-width:].mean()))
    rises = np.subtract(ends, halves)
    summary = summarize(rises)
    still = summary.is_above_zero
    if math.isnan(summary.low):
        still = bool(summary.mean > 2 * np.mean(spreads))
    train_half, train_end = np.mean(trains, axis=0)
    return Progress(
        float(np.mean(halves)),
        float(np.mean(ends)),
        float(train_half),
        float(train_end),
        still,
    )
