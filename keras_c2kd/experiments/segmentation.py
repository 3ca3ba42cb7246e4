"""What dense recipes show besides their table: classes and pictures."""

import keras
import numpy as np

from keras_c2kd.analysis.figures import plot_segmentation
from keras_c2kd.data.modality_readers import IMAGENET_MEAN
from keras_c2kd.data.modality_readers import IMAGENET_STD
from keras_c2kd.experiments.method_rows import BASELINE
from keras_c2kd.experiments.results import write_atomically
from keras_c2kd.experiments.sheets import markdown_text

MOST_PREDICTIONS = 6
# What is looked for first in the pictures, in both directions.
SHOWN_FIRST = (BASELINE, "kd", "c2kd")


def illustrate_segmentation(runner, records, directory):
    """Write the table of classes, and predictions beside the truth.

    For `Recipe.illustrate`, where the modalities are `rgb` and `depth`.

    Args:
        runner: `Runner`.
        records: List of records of its runs.
        directory: `pathlib.Path` of the folder for `classes.md` and
            `predictions.png`, three test scenes as seen by the networks of
            the first seed.
    """
    data = runner.splits(records[0]["settings"]["seed"])
    text = class_table(records, data.provenance["classes"])
    told_by = data.provenance.get("told_by")
    if told_by:
        text += "\n\n" + "\n".join(
            f"- {markdown_text(name)}: told by {' and '.join(modalities)}"
            for name, modalities in told_by.items()
        )
    print(f"\n{text}")
    write_atomically(directory / "classes.md", text + "\n")
    scenes = np.linspace(0, data.test.size - 1, 3).astype(int)
    inputs, labels = data.test.batch(scenes)
    seed = records[0]["settings"]["seed"]
    columns = {
        "colour": inputs["rgb"] * IMAGENET_STD + IMAGENET_MEAN,
        "depth": inputs["depth"][..., 0],
        "truth": labels,
    }
    for record in _shown(records, seed):
        settings = record["settings"]
        network = keras.saving.load_model(
            directory / record["network"], compile=False
        )
        logits = network.predict(inputs[settings["student"]], verbose=0)
        title = f"{settings['student']}, {settings['method']}"
        columns[title] = np.argmax(logits, axis=-1)
    plot_segmentation(
        columns, data.provenance["classes"], directory / "predictions.png"
    )
    print(f"\nWritten: classes.md and predictions.png in {directory}")


def _shown(records, seed):
    """Return the records of a seed whose predictions are drawn."""
    order = {method: number for number, method in enumerate(SHOWN_FIRST)}
    found = [record for record in records if record["settings"]["seed"] == seed]
    # Stable: otherwise in the order of the table.
    found.sort(key=lambda r: order.get(r["settings"]["method"], len(order)))
    return found[:MOST_PREDICTIONS]


def class_table(records, classes):
    """Format the mean intersection over union of each class.

    Args:
        records: List of records whose `test` has `iou_<class>`.
        classes: Names of the classes.

    Returns:
        String, a Markdown table, in percent, mean over the seeds.
    """
    cells = {}
    for record in records:
        settings = record["settings"]
        key = f"{settings['student']} ({settings['student_network']})"
        names = [f"iou_{name.replace(' ', '_')}" for name in classes]
        values = [record["test"][name] for name in names]
        cells.setdefault((key, settings["method"]), []).append(values)
    lines = [
        f"| student | method | {' | '.join(map(markdown_text, classes))} |",
        "|---|---|" + "---:|" * len(classes),
    ]
    for (student, method), runs in cells.items():
        means = [_percent(values) for values in zip(*runs)]
        lines.append(f"| {student} | {method} | {' | '.join(means)} |")
    return "\n".join(lines)


def _percent(values):
    """Return the mean of a class in percent; it may not occur in the test."""
    known = [value for value in values if value is not None]
    return f"{100 * np.mean(known):.1f}" if known else "-"
