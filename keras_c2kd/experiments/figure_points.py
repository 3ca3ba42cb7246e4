"""The numbers of a figure: means over seeds, printed and written with it."""

import dataclasses

from keras_c2kd.experiments.ranking import paired_difference
from keras_c2kd.experiments.sheets import Entry
from keras_c2kd.experiments.sheets import Sheet
from keras_c2kd.experiments.table_sheets import MISSING
from keras_c2kd.experiments.table_sheets import summary_values
from keras_c2kd.experiments.tables import Summary
from keras_c2kd.experiments.tables import format_difference
from keras_c2kd.experiments.tables import format_score
from keras_c2kd.experiments.tables import summarize

SCORE = "score"


@dataclasses.dataclass(frozen=True)
class Point:
    """One mean of a figure.

    Attributes:
        panel: Which panel it is in, such as the data set and the student.
        series: Which line, group or matrix it belongs to.
        place: Where it is in the series, such as a threshold.
        runs: Dict from the seed to the value, a share; empty if missing.
        quantity: What the value is. A `"score"` (default) is printed in
            percent.
        reference: Name of what it is compared with, or None.
        reference_runs: The values of that, by seed.
    """

    panel: str
    series: str
    place: str
    runs: dict
    quantity: str = SCORE
    reference: str | None = None
    reference_runs: dict = dataclasses.field(default_factory=dict)

    @property
    def summary(self):
        """`Summary` of the values, or None without any."""
        return summarize(self.runs.values()) if self.runs else None

    @property
    def difference(self) -> Summary | None:
        """`Summary` of the differences to the reference, or None."""
        if self.reference is None:
            return None
        return paired_difference(self.runs, self.reference_runs)


def points_sheet(title, points, notes=()):
    """Lay the points of a figure out as a table.

    Args:
        title: String.
        points: List of `Point`.
        notes: Sequence of strings.

    Returns:
        `Sheet`.
    """
    header = ("panel", "series", "at", "measured", "seeds")
    is_compared = any(point.reference for point in points)
    if is_compared:
        header += ("difference [95%]", "to")
    rows = []
    for point in points:
        summary = point.summary
        row = [point.panel, point.series, point.place, _format(point)]
        row.append(str(summary.count) if summary else "-")
        if is_compared:
            row += [format_difference(point.difference), point.reference or "-"]
        rows.append(tuple(map(Entry, row)))
    return Sheet(title, header, tuple(rows), tuple(notes))


def _format(point):
    summary = point.summary
    if summary is None:
        return MISSING
    if point.quantity == SCORE:
        return format_score(summary)
    text = f"{summary.mean:.3f}"
    return text if summary.count == 1 else f"{text} +- {summary.deviation:.3f}"


def point_values(points):
    """Return the numbers of a figure, one dict a point, for a CSV file.

    Args:
        points: List of `Point`.

    Returns:
        List of dicts of strings, numbers and None; shares of 0 to 1.
    """
    return [
        {
            "panel": point.panel,
            "series": point.series,
            "at": point.place,
            "quantity": point.quantity,
            **summary_values("measured", point.summary),
            "reference": point.reference,
            **summary_values("difference", point.difference),
        }
        for point in points
    ]
