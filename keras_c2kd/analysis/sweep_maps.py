"""Maps of numbers over the two settings of a sweep."""

import importlib
import math
import os
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_c2kd.utils.figures import figure_class
from keras_c2kd.utils.figures import save_figure

# What is drawn of each pair of levels, of the rows' and the columns' setting.
Cells = Mapping[tuple[float, float], Any]

# A loss is the darker of both in grey, too; the sign of the number says which.
_LOSS, _NONE, _GAIN = "#c04a00", "#ffffff", "#56b4e9"
_CELL_WIDTH, _CELL_HEIGHT = 0.78, 0.56


def plot_sweep_maps(
    maps: Mapping[str, Cells],
    settings: Sequence[str],
    path: str | os.PathLike[str],
    limit: float | None = None,
) -> None:
    """Draw the mean difference of every cell, and if it is more than noise.

    Colour runs from loss over none (white) to gain, the same in all maps.
    A cell is hatched where the interval of its mean holds 0, its number is
    bold where it does not, and it has a frame where that also stands after
    the correction for many comparisons.

    Args:
        maps: Dict from titles to dicts `(row level, column level)` to an
            object with `difference` (`Summary` of differences, as of
            accuracies from 0 to 1) and `stands` (whether it stands after the
            correction). All maps have the same cells.
        settings: Names of the rows' and of the columns' setting.
        path: Where the PNG goes.
        limit: Float, the difference in points of the strongest colours; None
            (default) takes the mean that a quarter of the cells exceed.
    """
    if limit is None:
        sizes = [
            abs(100 * cell.difference.mean)
            for cells in maps.values()
            for cell in cells.values()
        ]
        limit = max(1.0, math.ceil(np.quantile(sizes, 0.75)))
    colors = importlib.import_module("matplotlib.colors")
    colour_map = colors.LinearSegmentedColormap.from_list(
        "gain", [_LOSS, _NONE, _GAIN]
    )
    figure, panels = _figure(maps, settings)
    for panel, (title, cells) in zip(panels, maps.items()):
        image = _draw(
            panel,
            {
                position: 100 * cell.difference.mean
                for position, cell in cells.items()
            },
            "{:+.1f}",
            {"cmap": colour_map, "vmin": -limit, "vmax": limit},
        )
        panel.set_title(title)
        _mark(panel, cells)
    bar = figure.colorbar(image, ax=panels, extend="both", shrink=0.7)
    bar.set_label("mean paired difference (points)")
    figure.supxlabel(
        "hatched: the 95% interval holds 0; bold: it does not; frame: that "
        "stands after the correction for many comparisons",
        fontsize=9,
    )
    save_figure(figure, path)


def plot_number_maps(
    maps: Mapping[str, Mapping[tuple[float, float], float]],
    settings: Sequence[str],
    path: str | os.PathLike[str],
) -> None:
    """Draw numbers from 0 to 1 over two settings, in grey.

    Args:
        maps: Dict from titles to dicts `(row level, column level)` to a float.
        settings: Names of the rows' and of the columns' setting.
        path: Where the PNG goes.
    """
    figure, panels = _figure(maps, settings)
    for panel, (title, numbers) in zip(panels, maps.items()):
        # The darkest grey is left out: numbers are printed in black.
        style = {"cmap": "Greys", "vmin": 0, "vmax": 1.6}
        _draw(panel, numbers, "{:.2f}", style)
        panel.set_title(title)
    save_figure(figure, path)


def _figure(
    maps: Mapping[str, Mapping[tuple[float, float], Any]],
    settings: Sequence[str],
) -> tuple[Any, list[Any]]:
    """Return a figure with one panel a map."""
    rows, columns = _levels(next(iter(maps.values())))
    across = min(3, len(maps))
    down = math.ceil(len(maps) / across)
    size = (
        across * (len(columns) * _CELL_WIDTH + 0.7) + 1.0,
        down * (len(rows) * _CELL_HEIGHT + 0.9) + 0.3,
    )
    figure = figure_class()(figsize=size, layout="constrained")
    panels = list(figure.subplots(down, across, squeeze=False).flat)
    for number, panel in enumerate(panels):
        panel.set_visible(number < len(maps))
        panel.set_xlabel(settings[1])
        if number % across == 0:
            panel.set_ylabel(settings[0])
    return figure, panels


def _levels(cells: Iterable[tuple[float, float]]) -> tuple[list[float], ...]:
    """Return the levels of rows and columns in order of appearance."""
    return tuple(list(dict.fromkeys(levels)) for levels in zip(*cells))


def _draw(
    panel: Any,
    numbers: Mapping[tuple[float, float], float],
    number_format: str,
    style: dict[str, Any],
) -> Any:
    """Draw coloured cells with their numbers; return the image."""
    rows, columns = _levels(numbers)
    values = [[numbers[row, column] for column in columns] for row in rows]
    image = panel.imshow(values, aspect="auto", **style)
    panel.set_xticks(range(len(columns)), [f"{level:g}" for level in columns])
    panel.set_yticks(range(len(rows)), [f"{level:g}" for level in rows])
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    for (row, column), value in np.ndenumerate(np.array(values)):
        panel.text(
            column,
            row,
            number_format.format(value),
            ha="center",
            va="center",
            # A thin white rim keeps numbers apart from the hatching.
            path_effects=[_rim()],
        )
    return image


def _rim() -> Any:
    effects = importlib.import_module("matplotlib.patheffects")
    return effects.withStroke(linewidth=2.5, foreground="white", alpha=0.85)


def _mark(panel: Any, cells: Cells) -> None:
    """Hatch what is noise, and frame what stands."""
    patches = importlib.import_module("matplotlib.patches")
    rows, columns = _levels(cells)
    for text in panel.texts:
        column, row = text.get_position()
        cell = cells[rows[row], columns[column]]
        low, high = cell.difference.low, cell.difference.high
        # NaN, of a single seed, is no interval that leaves 0 out.
        is_beyond_noise = low > 0 or high < 0
        corner = column - 0.5, row - 0.5
        if is_beyond_noise:
            text.set(fontweight="bold")
        else:
            text.set(color="0.35")
            panel.add_patch(
                patches.Rectangle(
                    corner, 1, 1, fill=False, hatch="///", ec="0.75", lw=0
                )
            )
        if cell.stands:
            panel.add_patch(
                patches.Rectangle(
                    (corner[0] + 0.04, corner[1] + 0.05),
                    0.92,
                    0.9,
                    fill=False,
                    ec="black",
                    lw=1.2,
                )
            )
