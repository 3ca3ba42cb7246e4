"""What dense recipes show besides their table: classes and pictures."""

import importlib
import os
import pathlib
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from keras_c2kd.comparison.candidates import BASELINE
from keras_c2kd.comparison.plan import Plan
from keras_c2kd.comparison.processes import say
from keras_c2kd.comparison.records import Record
from keras_c2kd.comparison.result import ComparisonResult
from keras_c2kd.data.modality_readers import IMAGENET_MEAN
from keras_c2kd.data.modality_readers import IMAGENET_STD
from keras_c2kd.networks.modalities import predict_on_batch
from keras_c2kd.utils.atomic_files import write_atomically
from keras_c2kd.utils.figures import figure_style
from keras_c2kd.utils.figures import new_figure
from keras_c2kd.utils.figures import save_figure
from keras_c2kd.utils.figures import wrap_text
from keras_c2kd.utils.optional_imports import import_optional
from keras_c2kd.utils.plain_text import markdown_text

MOST_PREDICTIONS = 6
SCENES = 3
# What is looked for first in the pictures, in both directions.
SHOWN_FIRST = (BASELINE, "kd", "c2kd")
# Inches: as wide as a page shows it at 100%.
_WIDTH = 8.5
_LEGEND_COLUMNS = 4


def illustrate_segmentation(
    plan: Plan, result: ComparisonResult, folder: str | os.PathLike[str]
) -> None:
    """Write the table of classes, and predictions beside the truth.

    For `Recipe.illustrate`, where the modalities are `rgb` and `depth`.

    Args:
        plan: `Plan` of the runs.
        result: `ComparisonResult`, whose networks are there.
        folder: Folder for `classes.md` and `predictions.png`: three test
            scenes as the networks of the first seed see them.
    """
    folder, seed = pathlib.Path(folder), plan.seeds[0]
    splits = plan.splits(seed)
    classes = splits.provenance["classes"]
    text = class_table(result.records, classes)
    told_by = splits.provenance.get("told_by", {})
    if told_by:
        text += "\n\n" + "\n".join(
            f"- {markdown_text(name)}: told by {' and '.join(modalities)}"
            for name, modalities in told_by.items()
        )
    say(f"\n{text}")
    write_atomically(folder / "classes.md", text + "\n")
    scenes = np.linspace(0, splits.test.size - 1, SCENES).astype(int)
    inputs, labels = splits.test.batch(scenes)
    columns = {
        "colour": inputs["rgb"] * IMAGENET_STD + IMAGENET_MEAN,
        "depth": inputs["depth"][..., 0],
        "truth": labels,
    }
    for record in _shown(result.records, seed):
        path = pathlib.Path(result.folder or "") / str(record["network"])
        network = keras.saving.load_model(path, compile=False)
        student = record["settings"]["student"]
        logits = predict_on_batch(network, inputs[student])
        title = f"{student}, {record['settings']['method']}"
        columns[title] = np.argmax(keras.ops.convert_to_numpy(logits), axis=-1)
    plot_segmentation(columns, classes, folder / "predictions.png")
    say(f"\nWritten: classes.md and predictions.png in {folder}")


def _shown(records: Sequence[Record], seed: int) -> list[Record]:
    """Return the records of a seed whose predictions are drawn."""
    order = {method: number for number, method in enumerate(SHOWN_FIRST)}
    found = [record for record in records if record["settings"]["seed"] == seed]
    # Stable: otherwise in the order of the table.
    found.sort(key=lambda r: order.get(r["settings"]["method"], len(order)))
    return found[:MOST_PREDICTIONS]


def class_table(records: Sequence[Record], classes: Sequence[str]) -> str:
    """Format the mean intersection over union of each class.

    Args:
        records: List of records whose `test` has `iou_<class>`.
        classes: Names of the classes.

    Returns:
        String, a Markdown table, in percent, mean over the seeds; a class
        that does not occur has "-".
    """
    pandas = import_optional("pandas", "compare", "A table of classes")
    import_optional("tabulate", "compare", "A Markdown table")
    rows = []
    for record in records:
        settings = record["settings"]
        network = f"{settings['student']} ({settings['student_network']})"
        names = {"student": network, "method": settings["method"]}
        row: dict[str, Any] = {k: markdown_text(x) for k, x in names.items()}
        for name in classes:
            score = record["test"][f"iou_{name.replace(' ', '_')}"]
            row[markdown_text(name)] = np.nan if score is None else 100 * score
        rows.append(row)
    keys = ["student", "method"]
    means = pandas.DataFrame(rows).groupby(keys, sort=False).mean()
    texts = means.map(lambda x: "-" if np.isnan(x) else f"{x:.1f}")
    return str(
        texts.reset_index().to_markdown(
            index=False,
            disable_numparse=True,
            colalign=("left", "left", *["right"] * len(classes)),
        )
    )


def plot_segmentation(
    columns: Mapping[str, NDArray[Any]],
    classes: Sequence[str],
    path: str | os.PathLike[str],
    dark: bool = False,
) -> None:
    """Draw pictures beside label maps, one row a scene.

    Args:
        columns: Dict from titles to arrays of scenes: pictures of 0 to 1
            `(scenes, height, width, 3)`, depth or other numbers
            `(scenes, height, width)` in floats, or label maps of the same
            shape in integers; negative labels, which are ignored, have the
            colour of the background.
        classes: Names of the classes, for the legend of those that occur. A
            class that is named by a colour has that colour.
        path: Where the PNG goes.
        dark: Whether the background is dark. Defaults to `False`, white.
    """
    scenes, height, width = next(iter(columns.values())).shape[:3]
    size = _WIDTH / len(columns)
    maps = [x for x in columns.values() if x.dtype.kind in "iu"]
    occur = sorted({n for x in maps for n in np.unique(x).tolist() if n >= 0})
    # Rows of the legend, and lines of the titles.
    lines = -(-len(occur) // _LEGEND_COLUMNS) + 2
    inches = size * height / width + 0.25 * (lines + 1) / scenes
    with figure_style(dark):
        figure, panels = new_figure(
            len(columns), scenes, width=size, height=inches
        )
        figure.get_layout_engine().set(
            w_pad=0.03, h_pad=0.03, wspace=0, hspace=0
        )
        colours = class_colours(classes)
        for position, (title, arrays) in enumerate(columns.items()):
            for scene, array in enumerate(arrays):
                panel = panels[scene * len(columns) + position]
                panel.set_axis_off()
                if scene == 0:
                    parts = [wrap_text(x, size) for x in title.split(", ")]
                    panel.set_title("\n".join(parts))
                if array.dtype.kind in "iu":
                    seen = np.zeros((*array.shape, 4))
                    seen[array >= 0, :3] = colours[array[array >= 0]]
                    seen[array >= 0, 3] = 1
                    panel.imshow(seen, interpolation="nearest")
                else:
                    is_picture = array.ndim == 3
                    panel.imshow(np.clip(array, 0, 1) if is_picture else array)
        patches = importlib.import_module("matplotlib.patches")
        figure.legend(
            handles=[
                patches.Patch(color=colours[number], label=classes[number])
                for number in occur
            ],
            loc="outside lower center",
            ncols=_LEGEND_COLUMNS,
            frameon=False,
        )
        save_figure(figure, path)


def class_colours(classes: Sequence[str]) -> NDArray[Any]:
    """Return the colours of classes in label maps, `(classes, 3)`.

    A class whose name has the name of a colour in it, "red poster", has that
    colour. Others are as far apart in hue as any number of them can be, one
    after the other lighter and darker; paler, where some are named.

    Args:
        classes: Names of the classes.
    """
    colors = importlib.import_module("matplotlib.colors")
    numbers = np.arange(len(classes))
    named = {
        number: colors.to_rgb(word)
        for number, name in enumerate(classes)
        for word in name.lower().split()
        if word in colors.CSS4_COLORS
    }
    # The golden section spreads any number of hues.
    hue = (0.08 + 0.618034 * numbers) % 1
    value = np.asarray([0.95, 0.6, 0.8])[numbers % 3]
    saturation = 0 * hue + (0.25 if named else 0.65)
    found = colors.hsv_to_rgb(np.stack([hue, saturation, value], axis=-1))
    for number, colour in named.items():
        found[number] = colour
    return np.asarray(found)
