"""The report of a modality gap: text, JSON, picture and web page."""

import base64
import dataclasses
import html
import json
import math
import os
import pathlib
import textwrap
from collections.abc import Sequence
from typing import Any

import keras
from numpy.typing import NDArray

from keras_c2kd.analysis.gap_figure import draw_gap
from keras_c2kd.analysis.gap_measures import ClassConflict
from keras_c2kd.analysis.gap_measures import ClassMeasures
from keras_c2kd.analysis.gap_measures import Estimate
from keras_c2kd.analysis.gap_measures import GapMeasures
from keras_c2kd.analysis.gap_measures import KendallMeasures
from keras_c2kd.analysis.gap_rules import CAVEAT
from keras_c2kd.analysis.gap_rules import DIRECTION_RULE
from keras_c2kd.analysis.gap_rules import Finding
from keras_c2kd.analysis.gap_rules import GapRules
from keras_c2kd.utils.atomic_files import write_atomically
from keras_c2kd.version import __version__

# More rows are in the JSON and on the page; the text has the most telling.
_MOST_TEXT_ROWS = 20
# The page needs nothing from elsewhere, and may not ask for it either.
_CONTENT_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'"
)
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff;
  max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2rem; }
img { max-width: 100%; height: auto; }
li { margin-bottom: .5rem; } small, .note { color: #555; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { padding: .2rem .8rem; border-bottom: 1px solid #ddd;
  text-align: right; }
th { border-bottom: 2px solid #888; }
th:first-child, td:first-child { text-align: left; }
"""


@dataclasses.dataclass(frozen=True)
class ModalityGap:
    """The result of `modality_gap`: how two networks differ.

    `print` it, or `save` it as text for people and programs.

    Attributes:
        measures: `GapMeasures`: accuracies, target probabilities, rank
            correlations, agreement, each class, conflicting classes.
        stages: dict from the role to the names of the compared features.
        cka: array `(teacher stages, student stages)`; empty without features,
            NaN if no batch was large enough.
        findings: list of `Finding`, the conclusion.
        rules: `GapRules`, the thresholds it was drawn with.
        notes: list of text: what the figures leave out.

    Example:
    >>> inputs = {
    ...     "audio": 2 * np.eye(3)[[0, 1, 2, 0]],
    ...     "visual": 2 * np.eye(3)[[0, 1, 1, 0]],
    ... }
    >>> def network(name):  # Its input is its logits.
    ...     logits = keras.Input((3,), name=name)
    ...     return keras.Model(logits, keras.layers.Identity()(logits))
    >>> teacher, student = network("audio"), network("visual")
    >>> labels = np.asarray([0, 1, 2, 0])
    >>> gap = modality_gap(teacher, student, (inputs, labels), verbose=0)
    >>> gap.findings[0].rule
    'few samples'
    >>> folder = tempfile.mkdtemp()
    >>> [path.name for path in gap.save(folder)]
    ['modality_gap.json', 'modality_gap.png', 'modality_gap.html']
    """

    measures: GapMeasures
    stages: dict[str, list[str]]
    cka: NDArray[Any]
    findings: list[Finding]
    rules: GapRules
    notes: list[str]

    def __str__(self) -> str:
        return self.summary()

    def summary(self) -> str:
        """Return the report as plain text."""
        lines = [*textwrap.wrap(_title(self.measures), 79), "", "Conclusion"]
        for finding in _directions_first(self.findings):
            lines += textwrap.wrap(
                finding.sentence,
                initial_indent="- ",
                subsequent_indent="  ",
                width=79,
            )
            lines += textwrap.wrap(
                f"[{_basis(finding)}]",
                initial_indent="  ",
                subsequent_indent="  ",
                width=79,
            )
        lines += ["", *textwrap.wrap(CAVEAT, width=79)]
        for table in _tables(self):
            lines += ["", table.title, *_text_rows(table)]
        if self.notes:
            lines += ["", "Notes"]
        for note in self.notes:
            lines += textwrap.wrap(
                note, initial_indent="- ", subsequent_indent="  ", width=79
            )
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values; what is undefined is None."""
        return _plain(
            {
                "keras_c2kd": __version__,
                "backend": keras.backend.backend(),
                "measures": dataclasses.asdict(self.measures),
                "features": {**self.stages, "cka": self.cka.tolist()},
                "findings": [dataclasses.asdict(f) for f in self.findings],
                "caveat": CAVEAT,
                "rules": dataclasses.asdict(self.rules),
                "notes": self.notes,
            }
        )

    def to_png(self) -> bytes:
        """Return the picture, as bytes of a PNG file."""
        return draw_gap(self.measures, self.stages, self.cka)

    def to_html(self) -> str:
        """Return the report as one page that needs nothing from elsewhere.

        The picture is inside. All text is escaped, and there is no script.
        """
        return _page(self, self.to_png())

    def save(self, folder: str | os.PathLike[str]) -> list[pathlib.Path]:
        """Write `modality_gap.json`, `.png` and `.html`.

        Args:
            folder: Where they go; it is made.

        Returns:
            List of the three paths.
        """
        picture = self.to_png()
        contents: dict[str, str | bytes] = {
            "json": json.dumps(self.to_dict(), indent=1, allow_nan=False),
            "png": picture,
            "html": _page(self, picture),
        }
        paths = []
        for ending, content in contents.items():
            path = pathlib.Path(folder) / f"modality_gap.{ending}"
            write_atomically(path, content)
            paths.append(path)
        return paths


@dataclasses.dataclass(frozen=True)
class _Table:
    """A table of text, its most telling rows first if `is_ranked`."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    is_ranked: bool = False


def _tables(gap: ModalityGap) -> list[_Table]:
    """Return the tables that text and page have."""
    tables = [
        _networks_table(gap.measures),
        _both_table(gap.measures),
        _kendall_table(gap.measures.kendall),
    ]
    if gap.cka.size:
        rows = [
            (name, *(_number(value) for value in row))
            for name, row in zip(gap.stages["teacher"], gap.cka)
        ]
        columns = ("teacher \\ student", *gap.stages["student"])
        tables.append(_Table("CKA of the features", columns, rows))
    if gap.measures.conflicts:
        tables.append(_conflicts_table(gap.measures.conflicts))
    tables.append(_classes_table(gap.measures.classes))
    return tables


def _networks_table(measures: GapMeasures) -> _Table:
    columns = (
        "",
        "modality",
        "network",
        "accuracy, % [interval]",
        "mean target probability",
        "right alone, %",
    )
    rows = [
        (
            role,
            network.modality,
            network.network,
            _percent(network.accuracy),
            _number(network.target_probability, 3),
            _percent(network.only_right),
        )
        for role, network in (
            ("teacher", measures.teacher),
            ("student", measures.student),
        )
    ]
    return _Table("The two networks", columns, rows)


def _both_table(measures: GapMeasures) -> _Table:
    gap = measures.probability_gap
    either = 1 - measures.neither_right
    rows = [
        ("both right, %", _percent(measures.both_right)),
        ("neither right, %", _percent(measures.neither_right)),
        ("at least one right, %", _percent(either)),
        ("same prediction, %", _percent(measures.agreement)),
        ("Cohen's kappa", _number(measures.kappa)),
        (
            "McNemar test of the accuracies, p",
            f"{measures.accuracy_p_value:.2g}",
        ),
        ("target probability, teacher - student", _with_interval(gap, 3)),
    ]
    return _Table("Side by side", ("", ""), rows)


def _kendall_table(kendall: KendallMeasures) -> _Table:
    rows = [
        (
            "mean",
            _with_interval(kendall.mean),
            f"0 +- {kendall.chance_standard_deviation:.2f}",
        ),
        (
            f"below {kendall.threshold:g}, %",
            _percent(kendall.fraction_below),
            _percent(kendall.chance_fraction_below),
        ),
        (
            "mean over the non-target classes",
            _number(kendall.non_target_mean),
            "0",
        ),
    ]
    columns = ("", "the networks", "independent rankings")
    return _Table("Kendall correlation of the logits", columns, rows)


def _conflicts_table(conflicts: list[ClassConflict]) -> _Table:
    columns = (
        "class",
        "samples",
        "to the teacher like",
        "to the student like",
        "strength",
        "opposite order, %",
    )
    rows = [
        (
            row.name,
            str(row.rows),
            row.teacher_favourite,
            row.student_favourite,
            _number(row.strength),
            _percent(row.opposed),
        )
        for row in conflicts
    ]
    title = "Classes that conflict, the strongest first"
    return _Table(title, columns, rows, is_ranked=True)


def _classes_table(classes: list[ClassMeasures]) -> _Table:
    columns = (
        "class",
        "samples",
        "teacher right, %",
        "student right, %",
        "agree, %",
        "teacher prob.",
        "student prob.",
        "Kendall",
        "non-target distance",
    )
    by_agreement = sorted(classes, key=lambda row: row.agreement)
    is_long = len(classes) > _MOST_TEXT_ROWS
    known = [row for row in by_agreement if row.rows]
    rows = [
        (
            row.name,
            str(row.rows),
            _percent(row.teacher_accuracy),
            _percent(row.student_accuracy),
            _percent(row.agreement),
            _number(row.teacher_probability),
            _number(row.student_probability),
            _number(row.kendall),
            _number(row.non_target_distance),
        )
        for row in (known if is_long else classes)
    ]
    title = "Each class" + (", the lowest agreement first" if is_long else "")
    return _Table(title, columns, rows, is_ranked=is_long)


def _text_rows(table: _Table) -> list[str]:
    shown = table.rows[:_MOST_TEXT_ROWS] if table.is_ranked else table.rows
    cells = [table.columns, *shown] if any(table.columns) else shown
    widths = [max(map(len, column)) for column in zip(*cells)]
    lines = []
    for row in cells:
        first, *others = map(str.rjust, row, widths)
        lines.append("  ".join((row[0].ljust(widths[0]), *others)).rstrip())
    if len(shown) < len(table.rows):
        lines.append(f"... and {len(table.rows) - len(shown)} more")
    return lines


def _page(gap: ModalityGap, picture: bytes) -> str:
    """Return the HTML; every text passes `html.escape` on its way."""
    title = html.escape(_title(gap.measures))
    image = base64.b64encode(picture).decode("ascii")
    conclusion = "\n".join(
        f"<li>{html.escape(finding.sentence)}<br>"
        f"<small>{html.escape(_basis(finding))}</small></li>"
        for finding in _directions_first(gap.findings)
    )
    tables = "\n".join(
        f"<h2>{html.escape(table.title)}</h2>\n{_html_table(table)}"
        for table in _tables(gap)
    )
    notes = "\n".join(f"<li>{html.escape(note)}</li>" for note in gap.notes)
    thresholds = ", ".join(
        f"{key}={value}" for key, value in dataclasses.asdict(gap.rules).items()
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_CONTENT_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{title}</h1>
<h2>Conclusion</h2>
<ul>
{conclusion}
</ul>
<p class="note">{html.escape(CAVEAT)}</p>
<p><img src="data:image/png;base64,{image}" alt="Accuracies and target
probabilities, distribution of the Kendall correlation, agreement in each
class, and CKA of the features; all figures are in the tables below."></p>
{tables}
<h2>Notes</h2>
<ul>
{notes}
<li>Thresholds of the rules: {html.escape(thresholds)}.</li>
<li>keras_c2kd {html.escape(__version__)}.</li>
</ul>
</body>
</html>
"""


def _html_table(table: _Table) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        inside = "".join(
            f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells
        )
        return f"<tr>{inside}</tr>"

    lines = [row(cells, "td") for cells in table.rows]
    if any(table.columns):
        lines.insert(0, row(table.columns, "th"))
    return "<table>\n" + "\n".join(lines) + "\n</table>"


def _title(measures: GapMeasures) -> str:
    teacher, student = measures.teacher, measures.student
    return (
        f"Modality gap of the teacher {teacher.modality} ({teacher.network}) "
        f"and the student {student.modality} ({student.network}), "
        f"{measures.samples} samples, {len(measures.classes)} classes"
    )


def _directions_first(findings: Sequence[Finding]) -> list[Finding]:
    """Put what the reader came for before its reasons."""
    return sorted(findings, key=lambda f: f.rule != DIRECTION_RULE)


def _basis(finding: Finding) -> str:
    verb = "holds" if finding.holds else "does not hold"
    return f"{finding.rule} {verb}: {finding.because}"


def _number(value: float, digits: int = 2) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _percent(value: float | Estimate) -> str:
    """Format a fraction, or an `Estimate` of one with its interval."""
    if isinstance(value, float):
        return _number(100 * value, 1)
    ends = f"{100 * value.low:.1f}, {100 * value.high:.1f}"
    return f"{100 * value.value:.1f} [{ends}]"


def _with_interval(estimate: Estimate, digits: int = 2) -> str:
    if math.isnan(estimate.low):
        return _number(estimate.value, digits)
    low, high = (_number(end, digits) for end in (estimate.low, estimate.high))
    return f"{_number(estimate.value, digits)} [{low}, {high}]"


def _plain(value: Any) -> Any:
    """Replace what JSON does not have."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
