"""Figures of an experiment, in the forms of the paper."""

import importlib
import os
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_c2kd.utils.figures import new_figure
from keras_c2kd.utils.figures import save_figure


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
