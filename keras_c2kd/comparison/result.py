"""What a comparison found: a table, pictures, a sentence, a network."""

import dataclasses
import html
import math
import os
import pathlib
import statistics
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras

from keras_c2kd.analysis.expected_gain import expected_gain
from keras_c2kd.comparison.candidates import BASELINE
from keras_c2kd.comparison.candidates import BOTH
from keras_c2kd.comparison.plots import plot_comparison
from keras_c2kd.comparison.plots import plot_learning_curves
from keras_c2kd.comparison.records import Record
from keras_c2kd.comparison.records import write_runs
from keras_c2kd.comparison.statistics import LEAST_SEEDS
from keras_c2kd.comparison.statistics import Summary
from keras_c2kd.comparison.statistics import choose_best
from keras_c2kd.comparison.table import Row
from keras_c2kd.comparison.table import make_rows
from keras_c2kd.comparison.table import progress_of
from keras_c2kd.utils.atomic_files import write_atomically
from keras_c2kd.utils.optional_imports import import_optional
from keras_c2kd.utils.plain_text import markdown_text
from keras_c2kd.utils.plain_text import printable

_PATH = str | os.PathLike[str]


@dataclasses.dataclass(frozen=True)
class ComparisonResult:
    """The table of a comparison, of all records of its folder.

    `print(result)` shows it with a sentence on what was found; a notebook
    shows it as HTML. Scores are in percent: mean +- standard deviation over
    the seeds. Differences are to the student alone with the same seed, in
    points, with Student's 95% interval; below three seeds there is none.

    Attributes:
        records: List of records, plain dicts: `settings`, `scores`, `test`,
            `history`, `updates`, `seconds`, `data`, `environment`.
        students: Modalities of the deployed networks.
        metric: Name of the metric.
        notes: Sentences on missing runs and on records that were not used.
        folder: `pathlib.Path` of the networks.
    """

    records: Sequence[Record]
    students: Sequence[str]
    metric: str = "accuracy"
    notes: Sequence[str] = ()
    folder: pathlib.Path | None = None

    @property
    def rows(self) -> list[Row]:
        """The rows of the table, the baseline of each student first."""
        return [
            r for r in make_rows(self.records) if r.student in self.students
        ]

    def __str__(self) -> str:
        table = self.to_pandas().to_string(index=False)
        return printable("\n\n".join((table, *self._texts())))

    def _repr_html_(self) -> str:
        style = self.to_pandas().style.hide(axis="index")
        texts = "".join(f"<p>{html.escape(x)}</p>" for x in self._texts())
        return printable(style.format(escape="html").to_html() + texts)

    def to_markdown(self) -> str:
        """Return the table and what was found as Markdown."""
        import_optional("tabulate", "compare", "A Markdown table")
        table = self.to_pandas().map(markdown_text)
        text = table.to_markdown(index=False, disable_numparse=True)
        texts = map(markdown_text, self._texts())
        return "\n\n".join((text, *texts)) + "\n"

    def to_csv(self, path: _PATH | None = None) -> str | None:
        """Write the rows as numbers; return them as text without a path.

        Args:
            path: Where the CSV goes, or None (default).
        """
        text = self.numbers().to_csv(index=False, lineterminator="\n")
        if path is None:
            return text
        write_atomically(path, text)
        return None

    def to_pandas(self) -> Any:
        """Return the table as a `pandas.DataFrame` of texts to read."""
        frame = [
            {
                "student": row.student,
                "method": row.method,
                f"test {self.metric}": format_score(row.score),
                "difference [95%]": format_difference(row.difference),
                "validation": _mean(row.validation),
                "teacher": row.teacher or "-",
                "before": format_score(row.teacher_before),
                "after": format_score(row.teacher_after),
                "seeds": str(row.score.count),
                "updates": "-" if row.updates is None else str(row.updates),
                "seconds": f"{row.seconds:.1f}",
            }
            for row in self.rows
        ]
        return _pandas().DataFrame(frame)

    def numbers(self) -> Any:
        """Return the rows as a `pandas.DataFrame` of numbers (fractions)."""
        frame = []
        for row in self.rows:
            values: dict[str, Any] = {
                "student": row.student,
                "student_network": row.student_network,
                "method": row.method,
                "teacher": row.teacher,
                "teacher_network": row.teacher_network,
            }
            for name in ("score", "difference", "teacher_before"):
                values |= _numbers(name, getattr(row, name))
            values |= _numbers("teacher_after", row.teacher_after)
            values |= {"updates": row.updates, "seconds": row.seconds}
            frame.append(values)
        return _pandas().DataFrame(frame)

    def plot(self, path: _PATH, dark: bool = False) -> None:
        """Draw the table: scores, and paired differences with intervals.

        Args:
            path: Where the PNG goes.
            dark: Whether it is for a dark background. Defaults to `False`.
        """
        plot_comparison(self.rows, path, self.metric, dark)

    def plot_curves(self, path: _PATH, dark: bool = False) -> None:
        """Draw validation scores over the epochs, mean and range of seeds.

        Args:
            path: Where the PNG goes.
            dark: Whether it is for a dark background. Defaults to `False`.
        """
        histories: dict[str, dict[str, list[Any]]] = {}
        for record in self.records:
            settings = record["settings"]
            if settings["student"] in self.students:
                methods = histories.setdefault(settings["student"], {})
                runs = methods.setdefault(settings["method"], [])
                runs.append(record["history"])
        plot_learning_curves(histories, path, self.metric, dark)

    def save(self, folder: _PATH) -> None:
        """Write `table.md`, `table.csv`, `runs.csv`, `table.png`, `curves.png`.

        Args:
            folder: Where they go.
        """
        folder = pathlib.Path(folder)
        write_atomically(folder / "table.md", self.to_markdown())
        self.to_csv(folder / "table.csv")
        write_runs(self.records, folder / "runs.csv")
        self.plot(folder / "table.png")
        self.plot_curves(folder / "curves.png")

    def best_method(self, student: str | None = None) -> str:
        """Return the row to deploy, chosen on the validation scores.

        It is the best of the rows that the seeds tell apart from the student
        alone, all comparisons together at 95%; `"alone"` if there is none.

        Args:
            student: Modality; None (default) for the only one.
        """
        rows = [r for r in self.rows if r.student == self._student(student)]
        return choose_best({r.method: r.validation for r in rows}, BASELINE)

    def best(self, student: str | None = None) -> keras.Model:
        """Return the network to deploy: of `best_method`, its best seed.

        The seed too is chosen on the validation scores.

        Args:
            student: Modality; None (default) for the only one.

        Raises:
            ValueError: If there are several students, or the folder with the
                networks is not there.
        """
        student, method = self._student(student), self.best_method(student)
        runs = [
            record
            for record in self.records
            if record["settings"]["student"] == student
            and record["settings"]["method"] == method
        ]
        run = max(runs, key=lambda record: record["scores"]["validation"])
        path = pathlib.Path(self.folder or "") / str(run["network"])
        if self.folder is None or not path.exists():
            raise ValueError(
                f"The network of {run['name']} is needed. Received: no {path}. "
                "Run the comparison again, with the same folder."
            )
        return keras.saving.load_model(path, compile=False)

    def _student(self, student: str | None) -> str:
        if student is None and len(self.students) == 1:
            return self.students[0]
        if student is None or student not in self.students:
            raise ValueError(
                f"`student` must be one of {tuple(self.students)}. Received: "
                f"student={student!r}"
            )
        return student

    # Words.

    def _texts(self) -> list[str]:
        texts = [self.describe(student) for student in self.students]
        return [*texts, self.protocol(), *self.notes]

    def describe(self, student: str) -> str:
        """Say in words what was found for a student.

        Args:
            student: Modality.
        """
        rows = {r.method: r for r in self.rows if r.student == student}
        if BASELINE not in rows:
            return f"{student}: no run alone is finished, nothing is compared."
        alone = rows.pop(BASELINE)
        words = [
            f"{student}: alone {format_score(alone.score)}% "
            f"(test {self.metric})."
        ]
        groups: dict[str, list[str]] = {"better": [], "worse": [], "": []}
        for method, row in rows.items():
            difference = row.difference
            if difference is None:
                continue
            kind = "better" * difference.is_above_zero
            kind += "worse" * difference.is_below_zero
            shown = format_difference(difference)
            groups[kind].append(f"{method} {shown}" if kind else method)
        for kind in ("better", "worse"):
            if groups[kind]:
                words.append(f"{kind.capitalize()}: {'; '.join(groups[kind])}.")
        if groups[""]:
            words.append(f"Not told apart from it: {', '.join(groups[''])}.")
        if alone.score.count < LEAST_SEEDS:
            words.append(
                f"{alone.score.count} seeds tell nothing apart; take 3 or more."
            )
        best = self.best_method(student)
        words.append(
            f"To deploy, chosen on validation: {best}"
            + (", nothing is better beyond doubt." if best == BASELINE else ".")
        )
        words += [
            self._forecast(alone, rows.values()),
            self._progress(student),
        ]
        return " ".join(filter(None, words))

    def _forecast(self, alone: Row, rows: Iterable[Row]) -> str:
        """Say what the validation scores of both, alone, let expect."""
        taught = [r for r in rows if r.teacher not in (None, BOTH, r.student)]
        # The rule was made of accuracies.
        if self.metric != "accuracy" or not taught:
            return ""
        teacher = taught[0].teacher, taught[0].teacher_network
        scores = [
            row.validation
            for row in make_rows(self.records)
            if row.method == BASELINE
            and (row.student, row.student_network) == teacher
        ]
        if not scores or not scores[0] or not alone.validation:
            return ""
        data = self.records[0]["data"]
        size = data["sizes"]["train"]
        expected = expected_gain(
            statistics.fmean(scores[0].values()),
            statistics.fmean(alone.validation.values()),
            1 - data.get("labeled", size) / size,
        )
        words = expected.describe(str(teacher[0]), alone.student)
        return f"Forecast from both alone: {words}"

    def _progress(self, student: str) -> str:
        """Say how far the baseline had come, and warn if it still rose."""
        runs = [
            record
            for record in self.records
            if record["settings"]["student"] == student
            and record["settings"]["method"] == BASELINE
        ]
        found = progress_of(runs, self.metric)
        if found is None:
            return ""
        text = (
            f"Alone at half of its budget and at the end: training "
            f"{_percent(found.train_half)} and {_percent(found.train_end)}%, "
            f"validation {_percent(found.half)} and {_percent(found.end)}%."
        )
        if found.still_rises:
            text += (
                " IT STILL RISES: train longer before you believe a "
                "difference to it."
            )
        return text

    def protocol(self) -> str:
        """Say how the numbers came about."""
        if not self.records:
            return "There is no finished run."
        first = self.records[0]
        settings, data = first["settings"], first["data"]
        sizes = data["sizes"]
        unlabeled = sizes["train"] - data.get("labeled", sizes["train"])
        chosen = {
            "last": "the last epoch is tested",
            "best_validation": "the epoch with the best validation score is "
            "tested",
        }[settings["protocol"]]
        left_out = sum(
            len(data.get(kind, ()))
            for kind in ("missing", "unreadable", "excluded")
        )
        return (
            f"{data['data_set']}, pairs {data.get('pairing', 'as given')}, "
            f"split: {data['split']}; {sizes['train']} training samples"
            + (f" ({unlabeled} without a label)" if unlabeled else "")
            + f", {sizes['validation']} validation, {sizes['test']} test, "
            f"{left_out} left out; {chosen}. Backend: {settings['backend']}."
        )


def _pandas() -> Any:
    return import_optional("pandas", "compare", "A table")


def _numbers(name: str, summary: Summary | None) -> dict[str, Any]:
    return {
        f"{name}_{part}": None if summary is None else getattr(summary, part)
        for part in ("mean", "std", "low", "high", "count")
    }


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.1f}"


def _mean(values: Mapping[int, float]) -> str:
    return _percent(sum(values.values()) / len(values)) if values else "-"


def format_score(summary: Summary | None) -> str:
    """Format scores as percent, mean +- standard deviation."""
    if summary is None:
        return "-"
    if summary.count == 1:
        return f"{100 * summary.mean:.1f}"
    return f"{100 * summary.mean:.1f} +- {100 * summary.std:.1f}"


def format_difference(summary: Summary | None) -> str:
    """Format differences as points, with their interval if there is one."""
    if summary is None:
        return "-"
    if math.isnan(summary.low):
        return f"{100 * summary.mean:+.1f}"
    return (
        f"{100 * summary.mean:+.1f} "
        f"[{100 * summary.low:+.1f}, {100 * summary.high:+.1f}]"
    )
