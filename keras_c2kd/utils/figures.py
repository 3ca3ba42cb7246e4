"""Figures of several panels, written as PNG files."""

import io
import itertools
import os
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_c2kd.utils.atomic_files import write_atomically
from keras_c2kd.utils.optional_imports import import_optional

# Told apart by lightness and marker as well as by hue, for grey prints.
STYLES = (
    {"color": "#000000", "marker": "o"},
    {"color": "#d55e00", "marker": "s"},
    {"color": "#56b4e9", "marker": "^"},
    {"color": "#009e73", "marker": "D"},
    {"color": "#cc79a7", "marker": "v"},
    {"color": "#f0e442", "marker": "P"},
    {"color": "#0072b2", "marker": "X"},
    {"color": "#999999", "marker": "*"},
    {"color": "#882255", "marker": "<"},
    {"color": "#ddaa77", "marker": ">"},
)


def assign_styles(methods: Iterable[str]) -> dict[str, dict[str, str]]:
    """Give each method its look, the same one in all panels."""
    names = dict.fromkeys(methods)
    return dict(zip(names, itertools.cycle(STYLES)))


def figure_class() -> Any:
    """Return matplotlib's `Figure`, which leaves pyplot's state alone."""
    return import_optional(
        "matplotlib.figure", "experiments", "Drawing a figure"
    ).Figure


def new_figure(
    columns: int, rows: int = 1, width: float = 4.0, height: float = 3.0
) -> tuple[Any, list[Any]]:
    """Return a figure and its panels."""
    figure = figure_class()(
        figsize=(width * columns, height * rows), layout="constrained"
    )
    panels = figure.subplots(rows, columns, squeeze=False)
    return figure, list(panels.flat)


def write_cells(panel: Any, values: NDArray[Any]) -> None:
    """Write the numbers of a matrix on its picture in grey, from 0 to 1."""
    for (row, column), value in np.ndenumerate(values):
        panel.text(
            column,
            row,
            f"{value:.2f}",
            ha="center",
            va="center",
            color="white" if value > 0.5 else "black",
        )


def save_figure(figure: Any, path: str | os.PathLike[str]) -> None:
    """Write a figure as a PNG file."""
    write_atomically(path, as_png(figure))


def as_png(figure: Any) -> bytes:
    """Return a figure as the bytes of a PNG file."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=150)
    return file.getvalue()
