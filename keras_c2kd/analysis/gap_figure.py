"""The picture of a modality gap."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_c2kd.analysis.gap_measures import ClassMeasures
from keras_c2kd.analysis.gap_measures import GapMeasures
from keras_c2kd.analysis.gap_measures import KendallMeasures
from keras_c2kd.analysis.gap_measures import NetworkMeasures
from keras_c2kd.utils.figures import as_png
from keras_c2kd.utils.figures import figure_class
from keras_c2kd.utils.figures import write_cells

# Black and vermilion differ in lightness too, for grey prints.
_STYLES = {
    "teacher": {"color": "#303030", "marker": "o", "markersize": 9},
    "student": {"color": "#d55e00", "marker": "s", "markersize": 5},
}
_ABOVE, _BELOW, _AGREEMENT = "#56b4e9", "#d55e00", "#d9d9d9"
# More classes than this stand in a column of their own, and of more than the
# other number those with the lowest agreement are drawn.
_FEW_CLASSES, _MOST_CLASSES = 12, 60
_LONGEST_NAME = 32
_MOST_STAGES_WITH_NUMBERS = 8


def draw_gap(
    measures: GapMeasures, stages: Mapping[str, list[str]], cka: NDArray[Any]
) -> bytes:
    """Draw scores, rank correlations, classes and CKA.

    Args:
        measures: `GapMeasures`.
        stages: Dict from the role to the names of its stages.
        cka: Array `(teacher stages, student stages)`.

    Returns:
        Bytes of a PNG file.
    """
    count = min(len(measures.classes), _MOST_CLASSES)
    layout = [["scores", "kendall"], ["classes", "cka"]]
    size = (11.0, 8.0)
    if count > _FEW_CLASSES:
        layout = [[name, "classes"] for name in ("scores", "kendall", "cka")]
        size = (13.0, max(11.0, 1.6 + 0.22 * count))
    figure = figure_class()(figsize=size, layout="constrained")
    panels = figure.subplot_mosaic(layout)
    figure.suptitle(
        f"Modality gap over {measures.samples} samples\n"
        f"teacher: {_short(_title(measures.teacher), 60)}; "
        f"student: {_short(_title(measures.student), 60)}",
        fontsize=11,
        parse_math=False,
    )
    _draw_scores(panels["scores"], measures)
    _draw_kendall(panels["kendall"], measures.kendall)
    _draw_classes(panels["classes"], measures.classes)
    _draw_cka(panels["cka"], stages, cka)
    # Below everything, as both panels with networks in them share it.
    figure.legend(
        *panels["classes"].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=3,
        frameon=False,
    )
    return as_png(figure)


def _title(network: NetworkMeasures) -> str:
    return f"{network.modality} ({network.network})"


def _short(text: str, longest: int = _LONGEST_NAME) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "\u2026"


def _draw_scores(panel: Any, measures: GapMeasures) -> None:
    width = 0.36
    for offset, role in ((-width / 2, "teacher"), (width / 2, "student")):
        network = getattr(measures, role)
        accuracy = network.accuracy
        values = [accuracy.value, network.target_probability]
        panel.bar(
            np.arange(2) + offset,
            values,
            width,
            color=_STYLES[role]["color"],
        )
        panel.errorbar(
            offset,
            accuracy.value,
            [
                [accuracy.value - accuracy.low],
                [accuracy.high - accuracy.value],
            ],
            color="0.6" if role == "teacher" else "black",
            capsize=4,
        )
        tops = accuracy.high, network.target_probability
        for position, (value, top) in enumerate(zip(values, tops)):
            panel.annotate(
                f"{value:.3f}",
                (position + offset, top),
                (0, 3),
                textcoords="offset points",
                ha="center",
            )
    panel.set_xticks(range(2), ["accuracy", "mean target probability"])
    highest = max(
        measures.teacher.accuracy.high, measures.student.accuracy.high
    )
    panel.set_ylim(0, 1.15 * highest)
    panel.set_title("Accuracy with its interval, target probability")


def _draw_kendall(panel: Any, kendall: KendallMeasures) -> None:
    edges, fractions = (
        np.array(kendall.edges),
        100 * np.array(kendall.fractions),
    )
    is_below = edges[1:] <= kendall.threshold
    for chosen, color, hatch, label in (
        (is_below, _BELOW, "//", f"below {kendall.threshold:g}"),
        (~is_below, _ABOVE, None, "not below"),
    ):
        panel.bar(
            edges[:-1][chosen],
            fractions[chosen],
            np.diff(edges)[chosen],
            align="edge",
            color=color,
            edgecolor="white",
            hatch=hatch,
            label=label,
        )
    panel.stairs(
        100 * np.array(kendall.chance_fractions),
        edges,
        color="black",
        linestyle=":",
        label="independent rankings",
    )
    panel.axvline(
        kendall.mean.value,
        color="black",
        label=f"mean, {kendall.mean.value:.2f}",
    )
    is_there = (fractions > 0) | (
        100 * np.array(kendall.chance_fractions) > 0.05
    )
    widest = np.abs(edges[np.append(is_there, False)]).max()
    widest = max(widest, np.abs(edges[np.append(False, is_there)]).max())
    panel.set_xlim(-widest, widest)
    panel.set_xlabel("Kendall correlation of the two networks' logits")
    panel.set_ylabel("% of the samples")
    panel.set_title(f"{kendall.fraction_below:.1%} below {kendall.threshold:g}")
    panel.legend(frameon=False, fontsize="small")


def _draw_classes(panel: Any, classes: list[ClassMeasures]) -> None:
    drawn = classes
    title = "Accuracy and agreement by class (samples)"
    if len(classes) > _MOST_CLASSES:
        known = [row for row in classes if row.rows]
        drawn = sorted(known, key=lambda row: row.agreement)[:_MOST_CLASSES]
        title = f"The {len(drawn)} of {len(classes)} classes that agree least"
    heights = np.arange(len(drawn))
    panel.barh(
        heights,
        [100 * row.agreement for row in drawn],
        color=_AGREEMENT,
        label="both: same prediction",
    )
    # The student's marker fits into the teacher's where they coincide.
    for role, style in _STYLES.items():
        panel.plot(
            [100 * getattr(row, f"{role}_accuracy") for row in drawn],
            heights,
            linestyle="none",
            label=role,
            **style,
        )
    panel.set_yticks(
        heights,
        [f"{_short(row.name)} ({row.rows})" for row in drawn],
        parse_math=False,
    )
    panel.set_ylim(len(drawn) - 0.4, -0.6)
    panel.set_xlim(-2, 102)
    panel.set_xlabel("% of the class")
    panel.set_title(title)
    panel.grid(axis="x", color="0.9")
    panel.set_axisbelow(True)


def _draw_cka(
    panel: Any, stages: Mapping[str, list[str]], cka: NDArray[Any]
) -> None:
    panel.set_title("Linear CKA of the features, debiased")
    if not np.isfinite(cka).any():
        panel.text(0.5, 0.5, "no features compared", ha="center", va="center")
        panel.set_axis_off()
        return
    image = panel.imshow(
        cka, cmap="Greys", vmin=0, vmax=1, aspect="auto", origin="lower"
    )
    if max(cka.shape) > _MOST_STAGES_WITH_NUMBERS:
        panel.figure.colorbar(image, ax=panel)
    else:
        write_cells(panel, cka)
    for role, set_ticks in (
        ("student", panel.set_xticks),
        ("teacher", panel.set_yticks),
    ):
        names = [_short(name, 20) for name in stages[role]]
        set_ticks(range(len(names)), names, parse_math=False)
    if cka.shape[1] > 3:
        for label in panel.get_xticklabels():
            label.set(rotation=30, ha="right", rotation_mode="anchor")
    panel.set_xlabel("student")
    panel.set_ylabel("teacher")
