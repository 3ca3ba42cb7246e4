"""From the runs of a study over two dials to its maps, tables and texts."""

import json
import math

import numpy as np
import pandas as pd
from rows import BASELINE
from scipy import stats

from keras_c2kd.comparison.result import format_difference
from keras_c2kd.comparison.result import format_score
from keras_c2kd.comparison.statistics import summarize
from keras_c2kd.utils.atomic_files import write_atomically
from keras_c2kd.utils.figures import figure_class
from keras_c2kd.utils.figures import figure_style
from keras_c2kd.utils.figures import save_figure
from keras_c2kd.utils.figures import wrap_text

# Two methods that are compared with each other, too, if both were run.
_PAIR = ["c2kd", "kd"]
# The fraction of chance findings among what is said to stand.
_FALSE_DISCOVERIES = 0.05
# A loss is the darker of both in grey, too; the sign of the number says which.
_LOSS, _NONE, _GAIN = "#c04a00", "#ffffff", "#56b4e9"
_LABELS = {
    "imbalance": "imbalance (+: weaker teacher)",
    "misalignment": "misalignment (fraction of classes)",
}


def map_differences(runs, dials, student):
    """Compare the methods over the dials, as a frame with a column a map.

    Differences are paired: of the same seed, to the student alone, and between
    C2KD and KD of the same cell. The student's data do not depend on the
    dials: where a cell has no run of it alone, that of the seed counts.
    """
    taught = runs[runs["student"] == student]
    scores = taught.pivot(
        index=[*dials, "seed"], columns="method", values="score"
    )
    alone = scores.pop(BASELINE)
    of_seed = alone.groupby("seed").first()
    seeds = scores.index.get_level_values("seed")
    alone = alone.fillna(pd.Series(seeds.map(of_seed), scores.index))
    methods = [m for m in taught["method"].unique() if m != BASELINE]
    maps = scores[methods].sub(alone, axis=0)
    maps.columns = [f"{method} minus {BASELINE}" for method in methods]
    if set(_PAIR) <= set(methods):
        maps[" minus ".join(_PAIR)] = scores[_PAIR[0]] - scores[_PAIR[1]]
    for title, found in maps.items():
        for place, cell in found.groupby(list(dials)):
            has = list(cell.dropna().index.get_level_values("seed"))
            if has != list(of_seed.index):
                raise ValueError(
                    f"Every cell has the seeds {list(of_seed.index)}. "
                    f"Received: {has} for {title} at {place}"
                )
    return maps


def standing(maps, dials):
    """Say which differences are not chance, at 5% false discoveries.

    By the procedure of Benjamini and Hochberg on the p-values of the paired
    t-tests of all cells of all maps; without an interval, nothing stands.
    """
    values = maps.groupby(list(dials)).agg(
        lambda cell: (
            1.0
            if math.isnan(summarize(cell).low)
            else stats.ttest_1samp(cell, 0).pvalue
        )
    )
    corrected = stats.false_discovery_control(values.to_numpy().ravel())
    stands = corrected.reshape(values.shape) <= _FALSE_DISCOVERIES
    return pd.DataFrame(stands, values.index, values.columns)


def summaries(maps, by):
    """Return a frame of `Summary` by some dials: of means over the others."""
    of_seeds = maps.groupby([*by, "seed"]).mean()
    if not by:
        return pd.DataFrame([of_seeds.apply(summarize)])
    return of_seeds.groupby(by).agg(summarize)


def write_report(folder, measure):
    """Print and write the page of a study: `table.md` and two pictures.

    `measure` returns what the dials do, `{name: {levels: values, one a seed}}`,
    from the content of `settings.json`.
    """
    told = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    runs = pd.read_csv(folder / "runs.csv")
    dials = list(told["levels"])
    # The student's modality is that of the methods.
    is_taught = runs["method"] != BASELINE
    student = runs.loc[is_taught, "student"].iloc[0]
    maps = map_differences(runs, dials, student)
    numbers = pd.DataFrame(measure(told)).map(summarize)
    numbers.index.names = dials
    teachers = runs[runs["student"] != student].groupby(dials)["score"]
    numbers["accuracy of the teacher"] = teachers.agg(summarize)
    text = "\n\n".join(
        (
            describe_maps(maps, dials),
            level_table(maps, dials),
            cell_table(maps, dials),
            "What the dials do, in percent, mean +- standard deviation over "
            "the seeds:",
            _markdown(numbers.map(format_score)),
            _describe_protocol(runs, told),
        )
    )
    print(f"\n{text}")
    write_atomically(folder / "table.md", text + "\n")
    draw_maps(
        summaries(maps, dials), standing(maps, dials), folder / "maps.png"
    )
    draw_numbers(numbers.map(lambda x: x.mean), folder / "dials.png")
    print(f"\nWritten: table.md, maps.png and dials.png in {folder}")


def describe_maps(maps, dials):
    """Say by rule where each method differs from another; a Markdown list."""
    cells, stands = summaries(maps, dials), standing(maps, dials)
    seeds = maps.index.get_level_values("seed").nunique()
    lines = [
        f"Differences of test accuracy, in points, paired over {seeds} seeds, "
        "with 95% intervals of their mean (Student's t). A cell counts if its "
        "interval leaves 0 out; in brackets, if that stands when at most 5% "
        "false discoveries are allowed on average (Benjamini and Hochberg) "
        f"among all {cells.size} cells of all maps. The interval over all "
        "cells is of the means over them, one a seed.",
        "",
    ]
    over_all = summaries(maps, []).iloc[0]
    for title, found in cells.items():
        counts = []
        for sign in ("is_above_zero", "is_below_zero"):
            beyond = found.map(lambda x: getattr(x, sign))
            counts.append(f"{beyond.sum()} ({(beyond & stands[title]).sum()})")
        means = found.map(lambda x: x.mean)
        highest, lowest = (
            f"{100 * means[place]:+.1f} at "
            + ", ".join(f"{d} {level:g}" for d, level in zip(dials, place))
            for place in (means.idxmax(), means.idxmin())
        )
        lines.append(
            f"- {title}: above 0 in {counts[0]} of {len(found)} cells, below "
            f"in {counts[1]}; over all cells "
            f"{format_difference(over_all[title])}; highest {highest}; lowest "
            f"{lowest}."
        )
    return "\n".join(lines)


def level_table(maps, dials):
    """Format the means over a row or a column of each map, as Markdown."""
    parts = []
    for dial in dials:
        part = summaries(maps, [dial]).map(format_difference)
        part.index = [f"{dial} {level:g}" for level in part.index]
        parts.append(part)
    return _markdown(pd.concat(parts).rename_axis("all cells of"))


def cell_table(maps, dials):
    """Format every cell of every map, as Markdown; bold is what stands."""
    texts = summaries(maps, dials).map(format_difference)
    texts = texts.mask(standing(maps, dials), "**" + texts + "**")
    note = "Bold: the difference stands after the correction."
    return f"{_markdown(texts)}\n\n{note}"


def _markdown(frame):
    frame = frame.reset_index()
    levels = frame.select_dtypes("number").columns
    frame[levels] = frame[levels].map("{:g}".format)
    return frame.to_markdown(index=False, disable_numparse=True)


def _describe_protocol(runs, told):
    data, sizes = told["data"], told["data"]["sizes"]
    return (
        f"{data['data_set']}, {data['split']}: {sizes['train']} training, "
        f"{sizes['validation']} validation and {sizes['test']} test pairs. "
        f"{len(runs)} runs of {told['settings']['epochs']} epochs, seeds 0 to "
        f"{told['seeds'] - 1}, the last epoch tested, "
        f"{runs['seconds'].sum():.0f} s of training in all. "
        f"Backend: {told['environment']['backend']}."
    )


# The pictures: a map is a series by the levels of the rows and the columns.


def draw_maps(cells, stands, path, limit=None):
    """Draw the mean difference of every cell, and if it is more than noise.

    Colour runs from loss over none (white) to gain, the same in all maps, the
    strongest at `limit` points: by default a quarter of the cells exceed it.
    """
    from matplotlib.colors import LinearSegmentedColormap

    means = cells.map(lambda x: 100 * x.mean)
    if limit is None:
        limit = max(1.0, math.ceil(np.quantile(means.abs(), 0.75)))
    colours = LinearSegmentedColormap.from_list("gain", [_LOSS, _NONE, _GAIN])
    style = {"cmap": colours, "vmin": -limit, "vmax": limit}
    with figure_style():
        figure, panels = _figure(means)
        for panel, (title, found) in zip(panels, means.items()):
            image = _draw(panel, found, "{:+.1f}", style)
            panel.set_title(title)
            _mark(panel, cells[title].unstack(), stands[title].unstack())
        bar = figure.colorbar(image, ax=panels, extend="both", shrink=0.7)
        bar.set_label("mean paired difference (points)")
        caption = (
            "Hatched: the 95% interval of the mean holds 0. Bold: it does not. "
            "Frame: that stands after the correction for many comparisons."
        )
        width = figure.get_size_inches()[0]
        figure.supxlabel(wrap_text(caption, 0.95 * width))
        save_figure(figure, path)


def draw_numbers(numbers, path):
    """Draw numbers from 0 to 1 over the dials, in grey."""
    # The darkest grey is left out: numbers are printed in black.
    style = {"cmap": "Greys", "vmin": 0, "vmax": 1.6}
    with figure_style():
        figure, panels = _figure(numbers)
        for panel, (title, found) in zip(panels, numbers.items()):
            _draw(panel, found, "{:.2f}", style)
            panel.set_title(wrap_text(title, 3.6))
        save_figure(figure, path)


def _figure(maps):
    """Return a figure with one panel a map."""
    rows, columns = maps.index.levshape
    across = min(3, maps.shape[1])
    down = math.ceil(maps.shape[1] / across)
    size = (
        across * max(3.8, columns * 0.85 + 0.9) + 1.0,
        down * (rows * 0.6 + 1.3) + 0.5,
    )
    figure = figure_class()(figsize=size, layout="constrained")
    panels = list(figure.subplots(down, across, squeeze=False).flat)
    labels = [_LABELS.get(name, name) for name in maps.index.names]
    for number, panel in enumerate(panels):
        panel.set_visible(number < maps.shape[1])
        panel.set_xlabel(labels[1])
        if number % across == 0:
            panel.set_ylabel(labels[0])
    return figure, panels


def _draw(panel, values, number_format, style):
    """Draw coloured cells with their numbers; return the image."""
    from matplotlib.patheffects import withStroke

    grid = values.unstack()
    image = panel.imshow(grid, aspect="auto", **style)
    panel.set_xticks(range(grid.shape[1]), [f"{x:g}" for x in grid.columns])
    panel.set_yticks(range(grid.shape[0]), [f"{x:g}" for x in grid.index])
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    # A thin white rim keeps numbers apart from the hatching.
    rim = withStroke(linewidth=2.5, foreground="white", alpha=0.85)
    for (row, column), value in np.ndenumerate(grid):
        text = number_format.format(value)
        middle = {"ha": "center", "va": "center", "color": "black"}
        panel.text(column, row, text, path_effects=[rim], **middle)
    return image


def _mark(panel, cells, stands):
    """Hatch what is noise, and frame what stands."""
    from matplotlib.patches import Rectangle

    for text in panel.texts:
        column, row = text.get_position()
        cell = cells.iloc[row, column]
        if cell.is_above_zero or cell.is_below_zero:
            text.set(fontweight="bold")
        else:
            text.set(color="0.35")
            corner = column - 0.5, row - 0.5
            hatch = {"hatch": "///", "ec": "0.75", "lw": 0}
            panel.add_patch(Rectangle(corner, 1, 1, fill=False, **hatch))
        if stands.iloc[row, column]:
            corner = column - 0.46, row - 0.45
            frame = {"fill": False, "ec": "black", "lw": 1.2}
            panel.add_patch(Rectangle(corner, 0.92, 0.9, **frame))
