"""Figures of an experiment, in the forms of the paper."""

import importlib
import os
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_c2kd.utils.figures import assign_styles
from keras_c2kd.utils.figures import new_figure
from keras_c2kd.utils.figures import save_figure


def plot_training_dynamics(
    records: Sequence[Mapping[str, Any]],
    path: str | os.PathLike[str],
    batch_size: int,
    metric: str = "accuracy",
) -> None:
    """Draw validation scores and rank-distorted samples over the epochs.

    The paper's Fig. 3 with one panel a student: solid lines are the student's
    validation accuracy (the paper shows test accuracy), dotted lines the
    number of samples a batch whose Kendall correlation is below the
    threshold. Both are means over the seeds.

    Args:
        records: List of records (see `RunFiles`) with `settings` (`student`,
            `student_network`, `method`) and `history` (`val_<metric>`, and
            with a teacher `rank_distorted_share`), equally many epochs each.
        path: Where the PNG goes.
        batch_size: Number of samples in a batch, the scale of the dotted
            lines.
        metric: Name of the metric. Defaults to `"accuracy"`.
    """
    styles = assign_styles(record["settings"]["method"] for record in records)
    histories: dict[str, dict[str, list[Any]]] = {}
    for record in records:
        settings = record["settings"]
        key = f"{settings['student']} ({settings['student_network']})"
        panel = histories.setdefault(key, {})
        panel.setdefault(settings["method"], []).append(record["history"])
    figure, panels = new_figure(len(histories), width=4.8, height=3.6)
    for panel, (student, methods) in zip(panels, histories.items()):
        counts = panel.twinx()
        for method, runs in methods.items():
            style = styles[method]
            accuracy = _mean_over_runs(runs, f"val_{metric}")
            epochs = np.arange(1, len(accuracy) + 1)
            every = max(1, len(epochs) // 8)
            panel.plot(
                epochs,
                100 * accuracy,
                label=method,
                markevery=every,
                markersize=4,
                **style,
            )
            if all("rank_distorted_share" in run for run in runs):
                fraction = _mean_over_runs(runs, "rank_distorted_share")
                counts.plot(
                    epochs,
                    batch_size * fraction,
                    linestyle=":",
                    markevery=every,
                    markersize=4,
                    markerfacecolor="none",
                    **style,
                )
        panel.set_title(f"{student} student")
        panel.set_xlabel("epoch")
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.set_ylabel(f"validation {metric} (%), solid")
        counts.set_ylabel(f"samples with Kendall < 0 in {batch_size}, dotted")
        counts.set_ylim(bottom=0)
    lines = {
        label: line
        for panel in panels
        for line, label in zip(*panel.get_legend_handles_labels())
    }
    figure.legend(
        lines.values(),
        lines,
        loc="outside lower center",
        ncols=min(8, len(lines)),
        frameon=False,
    )
    save_figure(figure, path)


def plot_comparison(
    comparisons: Sequence[Any],
    path: str | os.PathLike[str],
    metric: str = "accuracy",
) -> None:
    """Draw the table: scores above, paired differences below.

    One column a student. Above, the mean score and its standard deviation
    over the seeds; below, the mean difference to the baseline of the same
    seed with its 95% interval, beside the line of no difference.

    Args:
        comparisons: List of `Comparison` (see `compare_methods`).
        path: Where the PNG goes.
        metric: What the score is called. Defaults to `"accuracy"`.
    """
    students = list(dict.fromkeys(map(_student_of, comparisons)))
    height = max(2.4, 0.6 + 0.25 * len({row.method for row in comparisons}))
    figure, panels = new_figure(len(students), rows=2, width=4.8, height=height)
    styles = assign_styles(row.method for row in comparisons)
    methods = list(styles)
    for column, student in enumerate(students):
        rows = [row for row in comparisons if _student_of(row) == student]
        above, below = panels[column], panels[column + len(students)]
        for row in rows:
            style, position = styles[row.method], methods.index(row.method)
            _draw_dot(
                above,
                position,
                row.accuracy.mean,
                row.accuracy.mean - row.accuracy.deviation,
                row.accuracy.mean + row.accuracy.deviation,
                style,
            )
            if row.difference is not None:
                _draw_dot(
                    below,
                    position,
                    row.difference.mean,
                    row.difference.low,
                    row.difference.high,
                    style,
                )
        below.axvline(0, color="0.5", linewidth=1)
        teachers = sorted({row.teacher for row in rows if row.teacher})
        taught = f", teacher: {' or '.join(teachers)}" if teachers else ""
        above.set_title(f"{student} student{taught}")
        above.set_xlabel(f"test {metric} (%), mean and standard deviation")
        below.set_xlabel("difference (points), mean and 95% interval")
        for panel in (above, below):
            panel.set_yticks(range(len(methods)), methods)
            panel.set_ylim(len(methods) - 0.5, -0.5)
            panel.grid(axis="x", color="0.9")
    save_figure(figure, path)


def plot_segmentation(
    columns: Mapping[str, NDArray[Any]],
    classes: Sequence[str],
    path: str | os.PathLike[str],
) -> None:
    """Draw pictures beside label maps, one row a scene.

    Args:
        columns: Dict from titles to arrays of scenes: pictures of 0 to 1
            `(scenes, height, width, 3)`, depth or other numbers
            `(scenes, height, width)` in floats, or label maps of the same
            shape in integers; negative labels, which are ignored, are white.
        classes: Names of the classes, for the legend of those that occur.
        path: Where the PNG goes.
    """
    scenes = len(next(iter(columns.values())))
    height, width = next(iter(columns.values())).shape[1:3]
    size = 1.9
    figure, panels = new_figure(
        len(columns), scenes, width=size, height=size * height / width
    )
    colours = _class_colours(len(classes))
    for position, (title, arrays) in enumerate(columns.items()):
        for scene, array in enumerate(arrays):
            panel = panels[scene * len(columns) + position]
            panel.set_axis_off()
            if scene == 0:
                panel.set_title(title, fontsize=8)
            if array.dtype.kind in "iu":
                seen = np.ones((*array.shape, 3))
                seen[array >= 0] = colours[array[array >= 0]]
                panel.imshow(seen, interpolation="nearest")
            else:
                panel.imshow(np.clip(array, 0, 1) if array.ndim == 3 else array)
    maps = [a for a in columns.values() if a.dtype.kind in "iu"]
    occur = sorted({x for a in maps for x in np.unique(a).tolist() if x >= 0})
    patches = importlib.import_module("matplotlib.patches")
    figure.legend(
        handles=[
            patches.Patch(color=colours[number], label=classes[number])
            for number in occur
        ],
        loc="outside lower center",
        ncols=8,
        fontsize=7,
        frameon=False,
    )
    save_figure(figure, path)


def _class_colours(count: int) -> NDArray[Any]:
    """Return colours that differ in hue and, one after the other, in light."""
    colours = importlib.import_module("matplotlib.colors")
    numbers = np.arange(count)
    # The golden section spreads any number of hues.
    hue = (0.08 + 0.618034 * numbers) % 1
    value = np.asarray([0.95, 0.6, 0.8])[numbers % 3]
    return colours.hsv_to_rgb(np.stack([hue, 0 * hue + 0.65, value], axis=-1))


def _student_of(row: Any) -> str:
    return f"{row.student} ({row.student_network})"


def _draw_dot(
    panel: Any,
    position: int,
    middle: float,
    low: float,
    high: float,
    style: Mapping[str, Any],
) -> None:
    middle, low, high = 100 * middle, 100 * low, 100 * high
    panel.plot([middle], [position], linestyle="none", markersize=7, **style)
    # The ends are NaN for a single seed; nothing is drawn then.
    panel.plot([low, high], [position, position], color=style["color"])


def _mean_over_runs(
    runs: Sequence[Mapping[str, Any]], key: str
) -> NDArray[Any]:
    return np.mean([run[key] for run in runs], axis=0)
