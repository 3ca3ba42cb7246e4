"""Pictures of a comparison: its scores, and how they were learned."""

import math
import os
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from keras_c2kd.utils.figures import assign_styles
from keras_c2kd.utils.figures import figure_style
from keras_c2kd.utils.figures import method_family
from keras_c2kd.utils.figures import method_style
from keras_c2kd.utils.figures import new_figure
from keras_c2kd.utils.figures import save_figure
from keras_c2kd.utils.figures import wrap_text

# Seeds' values of each name, one entry an epoch.
History = Mapping[str, Sequence[float]]

MOST_CURVES = 8
# Inches: as wide as a page shows it at 100%, where 12 points are 12 points.
_WIDTH = 8.5
_LINE_HEIGHT = 0.23
_NAME_WIDTH = 2.3


class SummaryLike(Protocol):
    """A mean over seeds and its 95% interval, as fractions."""

    @property
    def mean(self) -> float:
        """The mean."""

    @property
    def low(self) -> float:
        """Lower end of the interval; NaN below three seeds."""

    @property
    def high(self) -> float:
        """Upper end of the interval; NaN below three seeds."""


class RowLike(Protocol):
    """What one method reached with one student."""

    @property
    def method(self) -> str:
        """Name of the method."""

    @property
    def student(self) -> str:
        """Modality of the student."""

    @property
    def score(self) -> SummaryLike:
        """The test scores, one a seed."""

    @property
    def difference(self) -> SummaryLike | None:
        """The difference to the student alone in each seed; None for it."""

    @property
    def scores(self) -> Sequence[float]:
        """One score a seed."""


def plot_comparison(
    rows: Sequence[RowLike],
    path: str | os.PathLike[str],
    metric: str = "accuracy",
    dark: bool = False,
) -> None:
    """Draw the methods' scores, the best one on top, one panel a student.

    A marker is the mean over the seeds, a faint dot one seed, the vertical
    line the student alone. The bar is the 95% interval of the paired
    difference, drawn from that line on: where it does not meet the line, the
    method and the student alone are told apart. A caption says so.

    Args:
        rows: Sequence of objects with `method`, `student`, `score`,
            `difference` and `scores`, all numbers as fractions (0.757).
        path: Where the PNG goes.
        metric: What the score is called. Defaults to `"accuracy"`.
        dark: Whether the background is dark. Defaults to `False`.

    Raises:
        ValueError: If there are no rows.
    """
    if not rows:
        raise ValueError(
            "A picture of a comparison needs at least one row. Received: "
            "rows=[]. Run the comparison first."
        )
    students: dict[str, list[RowLike]] = {}
    for row in rows:
        students.setdefault(row.student, []).append(row)
    tables = {name: _best_first(table) for name, table in students.items()}
    heights = [1.1 + _row_heights(table).sum() for table in tables.values()]
    styles = assign_styles(row.method for row in rows)
    caption = _explain_comparison(rows)
    with figure_style(dark):
        figure, panels = _stacked(heights, caption)
        for panel, (student, table) in zip(panels, tables.items()):
            _draw_scores(panel, table, styles)
            panel.set_title(f"{student} student", loc="left")
            panel.set_xlabel(f"test {_in_words(metric)} (%)")
        save_figure(figure, path)


def plot_learning_curves(
    histories: Mapping[str, Mapping[str, Sequence[History]]],
    path: str | os.PathLike[str],
    metric: str = "accuracy",
    dark: bool = False,
) -> None:
    """Draw validation scores over the epochs, one panel a student.

    A line is the mean over the seeds, its band reaches from the lowest to the
    highest seed. A seed that stopped early keeps its last value. At most
    eight methods are drawn: the student alone and those whose mean is the
    highest at its best epoch; the caption names the others.

    Args:
        histories: Dict from the student to a dict from the method to a list,
            one entry a seed, of dicts from names to a number an epoch, with
            `val_<metric>` as fractions.
        path: Where the PNG goes.
        metric: Name of the metric. Defaults to `"accuracy"`.
        dark: Whether the background is dark. Defaults to `False`.

    Raises:
        ValueError: If there are no histories, or one has no `val_<metric>`.
    """
    name = f"val_{metric}"
    curves = {
        student: {
            method: _curves_of(runs, name, f"{method}, {student}")
            for method, runs in methods.items()
            if runs
        }
        for student, methods in histories.items()
    }
    curves = {student: found for student, found in curves.items() if found}
    if not curves:
        raise ValueError(
            "Learning curves need at least one history. Received: "
            f"histories={dict(histories)!r}. Run the comparison first."
        )
    drawn = {student: _to_draw(found) for student, found in curves.items()}
    caption = _explain_curves(histories, curves, drawn, name)
    styles = assign_styles(
        method for methods in drawn.values() for method in methods
    )
    with figure_style(dark):
        heights = [
            max(3.6, 1.1 + _LINE_HEIGHT * sum(map(_count_lines, labels)))
            for labels in (map(_wrapped, names) for names in drawn.values())
        ]
        figure, panels = _stacked(heights, caption)
        for panel, (student, methods) in zip(panels, drawn.items()):
            for method in methods:
                _draw_curve(
                    panel, method, curves[student][method], styles[method]
                )
            panel.set_title(f"{student} student", loc="left")
            panel.set_xlabel("epoch")
            panel.set_ylabel(f"validation {_in_words(metric)} (%)")
            panel.xaxis.get_major_locator().set_params(integer=True)
            panel.grid(axis="y")
            panel.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
        save_figure(figure, path)


def _stacked(heights: Sequence[float], caption: str) -> tuple[Any, list[Any]]:
    """Return a figure of panels one above the other, and a caption below.

    Side by side they would be scaled down on a page, and their text too.
    """
    text = wrap_text(caption, _WIDTH - 0.3)
    below = 0.3 + _LINE_HEIGHT * _count_lines(text)
    figure, panels = new_figure(
        1,
        len(heights),
        width=_WIDTH,
        height=(sum(heights) + below) / len(heights),
    )
    panels[0].get_gridspec().set_height_ratios(heights)
    figure.supxlabel(text, x=0.01, ha="left", linespacing=1.25)
    return figure, panels


def _best_first(rows: Iterable[RowLike]) -> list[RowLike]:
    """Sort by the mean score; a row without one comes last."""
    return sorted(
        rows,
        key=lambda row: (
            -math.inf if math.isnan(row.score.mean) else row.score.mean
        ),
        reverse=True,
    )


def _draw_scores(
    panel: Any,
    rows: Sequence[RowLike],
    styles: Mapping[str, Mapping[str, str]],
) -> None:
    """Draw one student's rows from top to bottom."""
    heights = _row_heights(rows)
    positions = np.cumsum(heights) - heights / 2
    alone = next((row.score.mean for row in rows if _is_alone(row)), math.nan)
    if not math.isnan(alone):
        color = method_style("alone").color
        panel.axvline(100 * alone, color=color, linewidth=1.5, zorder=1)
    for row, position in zip(rows, positions):
        style = styles[row.method]
        panel.plot(
            100 * np.asarray(row.scores, dtype=float),
            np.full(len(row.scores), position + 0.09),
            linestyle="none",
            marker="o",
            markersize=5,
            markeredgewidth=0,
            alpha=0.4,
            color=style["color"],
            zorder=2,
        )
        interval = _interval(row, alone)
        if interval is not None:
            panel.plot(
                interval,
                [position, position],
                color=style["color"],
                linewidth=2.5,
                marker="|",
                markersize=9,
                markeredgewidth=2,
                zorder=3,
            )
        panel.plot(
            [100 * row.score.mean],
            [position],
            linestyle="none",
            markersize=9,
            zorder=4,
            **style,
        )
    panel.set_yticks(positions, [_wrapped(row.method) for row in rows])
    panel.set_ylim(heights.sum() + 0.05, -0.05)
    panel.tick_params(axis="y", length=0)
    panel.grid(axis="x")
    panel.margins(x=0.06)
    numbers = panel.twinx()
    numbers.set_ylim(panel.get_ylim())
    numbers.set_yticks(positions, [_in_numbers(row) for row in rows])
    numbers.tick_params(axis="y", length=0)


def _row_heights(rows: Sequence[RowLike]) -> NDArray[np.float64]:
    """Return inches, by the lines that the names take."""
    lines = [_count_lines(_wrapped(row.method)) for row in rows]
    return 0.12 + _LINE_HEIGHT * np.array(lines, dtype="float64")


def _interval(row: RowLike, alone: float) -> list[float] | None:
    """Return the ends of the bar in %, None if there is no interval."""
    difference = row.difference
    if difference is None or math.isnan(difference.low + difference.high):
        return None
    start = row.score.mean - difference.mean if math.isnan(alone) else alone
    return [100 * (start + difference.low), 100 * (start + difference.high)]


def _in_numbers(row: RowLike) -> str:
    """Return the mean score and the difference, in points."""
    if math.isnan(row.score.mean):
        return "no score"
    text = f"{100 * row.score.mean:.1f}"
    if row.difference is not None and not math.isnan(row.difference.mean):
        # Plus 0: no "-0.0".
        text += f"  ({round(100 * row.difference.mean, 1) + 0.0:+.1f})"
    return text


def _explain_comparison(rows: Sequence[RowLike]) -> str:
    counts = sorted({len(row.scores) for row in rows})
    words = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else counts[0]
    seeds = "seed" if counts[-1] == 1 else "seeds"
    caption = (
        f"Marker and number: mean of {words} {seeds}; faint dots: single "
        "seeds; in brackets: paired difference to the student alone, in points."
    )
    alones = {row.student: row.score.mean for row in rows if _is_alone(row)}
    if alones:
        caption += " Vertical line: the student alone."
    if any(
        _interval(row, alones.get(row.student, math.nan)) is not None
        for row in rows
    ):
        return caption + (
            " Bar: 95% interval of the paired difference; where it meets the "
            "line, method and student alone are not told apart."
        )
    return caption + " No interval: that takes three seeds that differ."


def _is_alone(row: RowLike) -> bool:
    return method_family(row.method) == ("alone", True)


def _curves_of(
    runs: Sequence[History], name: str, whose: str
) -> NDArray[np.float64]:
    """Return `(seeds, epochs)` in %; the last value goes on to the end."""
    for run in runs:
        if not len(run.get(name, ())):
            raise ValueError(
                f"Every history needs {name!r}, one number an epoch. "
                f"Received for {whose}: the names {sorted(run)}. Train with "
                "validation data and this metric."
            )
    epochs = max(len(run[name]) for run in runs)
    return np.stack(
        [
            100 * np.pad(run[name], (0, epochs - len(run[name])), "edge")
            for run in runs
        ]
    )


def _to_draw(curves: Mapping[str, NDArray[np.float64]]) -> list[str]:
    """Return the methods to draw, the best first; alone is among them."""
    best = {
        name: np.nanmax(np.append(-np.inf, values.mean(axis=0)))
        for name, values in curves.items()
    }
    ranked = sorted(best, key=lambda name: best[name], reverse=True)
    alone = [name for name in ranked if method_family(name) == ("alone", True)]
    others = [name for name in ranked if name not in alone]
    chosen = {*alone, *others[: MOST_CURVES - len(alone)]}
    return [name for name in ranked if name in chosen]


def _draw_curve(
    panel: Any,
    method: str,
    values: NDArray[np.float64],
    style: Mapping[str, str],
) -> None:
    epochs = np.arange(1, values.shape[1] + 1)
    panel.fill_between(
        epochs,
        values.min(axis=0),
        values.max(axis=0),
        color=style["color"],
        alpha=0.15,
        linewidth=0,
    )
    panel.plot(
        epochs,
        values.mean(axis=0),
        label=_wrapped(method),
        linestyle=method_style(method).linestyle,
        linewidth=2,
        markevery=max(1, len(epochs) // 8),
        markersize=7,
        **style,
    )


def _explain_curves(
    histories: Mapping[str, Mapping[str, Sequence[History]]],
    curves: Mapping[str, Mapping[str, NDArray[np.float64]]],
    drawn: Mapping[str, Sequence[str]],
    name: str,
) -> str:
    caption = "Line: mean over the seeds; band: lowest to highest seed."
    if any(
        len({len(run[name]) for run in histories[student][method]}) > 1
        for student, methods in drawn.items()
        for method in methods
    ):
        caption += " A seed that stopped early keeps its last value."
    for student, methods in drawn.items():
        left = [method for method in curves[student] if method not in methods]
        if left:
            caption += (
                f" Not drawn for the {student} student, as they are lower on "
                f"validation: {', '.join(left)}."
            )
    return caption


def _wrapped(name: str) -> str:
    return wrap_text(name, _NAME_WIDTH)


def _count_lines(text: str) -> int:
    return text.count("\n") + 1


def _in_words(metric: str) -> str:
    return metric.replace("_", " ")
