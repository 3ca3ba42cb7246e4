"""The paper's Figures 1, 4, 5 and 6, from numbers that are given.

A summary is anything with `mean` and `deviation` over the seeds, such as
`keras_c2kd.experiments.Summary`.
"""

import math
import os
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_c2kd.utils.figures import STYLES
from keras_c2kd.utils.figures import new_figure
from keras_c2kd.utils.figures import save_figure
from keras_c2kd.utils.figures import write_cells

# Beside their colour and lightness, for grey prints.
_HATCHES = ("", "//", "..", "xx")
_BARS = ("#4d4d4d", "#d55e00", "#56b4e9", "#f0e442")
_LINES = ("-", "--", "-.", ":")


def plot_modality_gap(
    alone: Mapping[str, Mapping[str, Sequence[Any]]],
    correlations: Mapping[str, Mapping[str, Any]],
    path: str | os.PathLike[str],
    score: str = "test accuracy (%)",
) -> None:
    """Draw what each modality reaches alone, and how alike they rank.

    The paper's Fig. 1: (a) accuracy and mean probability of the label's
    class, (b) mean Kendall rank correlation of the logits of two networks.

    Args:
        alone: Dict from the name of a data set to a dict from the name of a
            modality to two summaries, of the score and of the mean target
            probability (or None). At most four modalities in all.
        correlations: Dict from `"between"` (modalities) and `"within"` (one)
            to a dict from the name of a pair of networks to a summary.
        path: Where the PNG goes.
        score: Label of the scores' axis.
    """
    rows = sum(map(len, correlations.values()))
    figure, panels = new_figure(3, width=4.2, height=max(3.2, 0.5 * rows))
    modalities = list(
        dict.fromkeys(name for parts in alone.values() for name in parts)
    )
    for part, (panel, title) in enumerate(
        zip(panels, (score, "mean target probability"))
    ):
        _draw_alone(panel, alone, modalities, part, 1 if part else 100)
        panel.set_title(title)
    _add_legend(figure, panels[0])
    _draw_correlations(panels[2], correlations)
    save_figure(figure, path)


def _draw_alone(
    panel: Any,
    alone: Mapping[str, Mapping[str, Sequence[Any]]],
    modalities: list[str],
    part: int,
    scale: int,
) -> None:
    """Draw one group of bars a data set, one bar a modality."""
    width = 0.8 / len(modalities)
    top = 0.0
    for number, modality in enumerate(modalities):
        offset = (number - (len(modalities) - 1) / 2) * width
        positions, heights, spreads = [], [], []
        for position, parts in enumerate(alone.values()):
            summary = parts[modality][part] if modality in parts else None
            if summary is not None:
                positions.append(position + offset)
                heights.append(scale * summary.mean)
                spreads.append(scale * _spread(summary))
        panel.bar(
            positions,
            heights,
            width,
            color=_BARS[number],
            hatch=_HATCHES[number],
            edgecolor="white",
            label=modality,
        )
        panel.errorbar(
            positions,
            heights,
            spreads,
            color="black",
            capsize=3,
            linestyle="none",
        )
        for center, height, spread in zip(positions, heights, spreads):
            top = max(top, height + spread)
            panel.annotate(
                f"{height:.1f}" if scale == 100 else f"{height:.3f}",
                (center, height + spread),
                (0, 3),
                textcoords="offset points",
                ha="center",
            )
    panel.set_xticks(range(len(alone)), list(alone), parse_math=False)
    panel.set_xlim(-0.6, len(alone) - 0.4)
    panel.set_ylim(0, 1.12 * top or 1)


def _draw_correlations(
    panel: Any, correlations: Mapping[str, Mapping[str, Any]]
) -> None:
    """Draw a bar for each pair of networks."""
    names: list[str] = []
    panel.set_title("Kendall correlation of the logits")
    if not any(correlations.values()):
        panel.text(0.5, 0.5, "no networks compared", ha="center", va="center")
        panel.set_axis_off()
        return
    for number, (kind, pairs) in enumerate(correlations.items()):
        positions = range(len(names), len(names) + len(pairs))
        panel.barh(
            positions,
            [summary.mean for summary in pairs.values()],
            xerr=[_spread(summary) for summary in pairs.values()],
            capsize=3,
            color={"between": _BARS[1], "within": _BARS[2]}[kind],
            hatch=_HATCHES[number],
            edgecolor="white",
            ecolor="black",
        )
        for position, summary in zip(positions, pairs.values()):
            tip = max(0.0, summary.mean + _spread(summary))
            panel.annotate(
                f"{summary.mean:.2f}",
                (tip, position),
                (3, 0),
                textcoords="offset points",
                va="center",
            )
        names += [f"{pair}\n({kind})" for pair in pairs]
    panel.set_yticks(range(len(names)), names, parse_math=False)
    panel.set_ylim(len(names) - 0.5, -0.5)
    panel.axvline(0, color="0.3", linewidth=1)
    lowest = min(
        summary.mean - _spread(summary)
        for pairs in correlations.values()
        for summary in pairs.values()
    )
    panel.set_xlim(min(-0.1, 1.2 * lowest), 1.05)


def plot_sensitivity(
    panels: Mapping[str, Mapping[str, Any]],
    path: str | os.PathLike[str],
    score: str = "test accuracy (%)",
) -> None:
    """Draw the score over the threshold of each selection metric.

    The paper's Fig. 4, one panel a student; the band is the standard
    deviation over the seeds without selection, the bars that with it.

    Args:
        panels: Dict from the title of a panel to a dict with `"curves"`, from
            the name of a metric to a dict from the threshold to a summary,
            and `"without"`, the summary without selection (or None).
        path: Where the PNG goes.
        score: Label of the scores' axis.
    """
    figure, axes = new_figure(len(panels), width=4.8, height=3.8)
    for axis, (title, panel) in zip(axes, panels.items()):
        thresholds = sorted({x for c in panel["curves"].values() for x in c})
        step = min(np.diff(thresholds), default=1.0)
        for number, (name, curve) in enumerate(panel["curves"].items()):
            # Side by side, so that their bars can be told apart.
            shift = 0.06 * step * (number - (len(panel["curves"]) - 1) / 2)
            curve = dict(sorted(curve.items()))
            positions = [threshold + shift for threshold in curve]
            _draw_line(axis, positions, curve.values(), name, number)
        without = panel["without"]
        if without is not None:
            mean, spread = 100 * without.mean, 100 * _spread(without)
            axis.axhspan(mean - spread, mean + spread, color="0.9", zorder=0)
            axis.axhline(
                mean, color="0.4", linewidth=1, label="w/o selection", zorder=1
            )
        axis.set_xticks(thresholds, [f"{x:g}" for x in thresholds])
        axis.set_xlabel("threshold of the selection")
        _finish(axis, title, score)
    _add_legend(figure, axes[0])
    save_figure(figure, path)


def plot_modules(
    panels: Mapping[str, Mapping[str, Mapping[str, Any]]],
    path: str | os.PathLike[str],
    score: str = "test accuracy (%)",
) -> None:
    """Draw the score while modules are added to a method.

    The paper's Fig. 5, one panel a student; bars are the standard deviation
    over the seeds.

    Args:
        panels: Dict from the title of a panel to a dict from the name of a
            method to a dict from the name of a step to a summary. All methods
            have the same steps, of which some may be missing.
        path: Where the PNG goes.
        score: Label of the scores' axis.
    """
    figure, axes = new_figure(len(panels), width=4.8, height=3.8)
    for axis, (title, methods) in zip(axes, panels.items()):
        steps = list(
            dict.fromkeys(step for curve in methods.values() for step in curve)
        )
        for number, (name, curve) in enumerate(methods.items()):
            shift = 0.08 * (number - (len(methods) - 1) / 2)
            positions = [steps.index(step) + shift for step in curve]
            _draw_line(axis, positions, curve.values(), name, number)
        axis.set_xticks(range(len(steps)), steps)
        axis.set_xlim(-0.4, len(steps) - 0.6)
        _finish(axis, title, score)
    _add_legend(figure, axes[0])
    save_figure(figure, path)


def _draw_line(
    axis: Any,
    positions: Sequence[float],
    summaries: Iterable[Any],
    name: str,
    number: int,
) -> None:
    summaries = list(summaries)
    axis.errorbar(
        positions,
        [100 * summary.mean for summary in summaries],
        [100 * _spread(summary) for summary in summaries],
        label=name,
        **_line_style(number),
    )


def _line_style(number: int) -> dict[str, Any]:
    return {
        "linestyle": _LINES[number % len(_LINES)],
        "markersize": 6,
        "capsize": 3,
        "elinewidth": 1,
        **STYLES[number % len(STYLES)],
    }


def _finish(axis: Any, title: str, score: str) -> None:
    axis.set_title(title, parse_math=False)
    axis.set_ylabel(score)
    axis.grid(axis="y", color="0.92")
    axis.set_axisbelow(True)


def _add_legend(figure: Any, axis: Any) -> None:
    """Put the legend that all panels share below them."""
    handles, labels = axis.get_legend_handles_labels()
    # Lines without bars come first, but are drawn behind.
    order = sorted(
        range(len(labels)), key=lambda i: labels[i].startswith("w/o")
    )
    legend = figure.legend(
        [handles[i] for i in order],
        [labels[i] for i in order],
        loc="outside lower center",
        ncols=len(labels),
        frameon=False,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def plot_feature_similarity(
    matrices: Mapping[str, NDArray[Any]],
    sides: Mapping[str, tuple[str, str]],
    stages: Sequence[str],
    path: str | os.PathLike[str],
) -> None:
    """Draw CKA of equal stages over the depth, and of all pairs of stages.

    The paper's Fig. 6: networks of two modalities against networks of one.
    The first panel has the mean over the pairs of networks and its standard
    deviation, the others the means of all pairs of stages.

    Args:
        matrices: Dict from the name of a kind of pairs to an array
            `(pairs of networks, stages of the first, of the second)`.
        sides: Dict from the same names to what the first and the second
            network of a pair are called.
        stages: Names of the stages, from shallow to deep.
        path: Where the PNG goes.
    """
    figure, axes = new_figure(1 + len(matrices), width=3.8, height=3.6)
    for number, (name, values) in enumerate(matrices.items()):
        equal = np.diagonal(values, axis1=1, axis2=2)
        shift = 0.06 * (number - (len(matrices) - 1) / 2)
        spread = equal.std(axis=0, ddof=1) if len(equal) > 1 else None
        axes[0].errorbar(
            np.arange(len(stages)) + shift,
            equal.mean(axis=0),
            spread,
            label=name,
            **_line_style(number),
        )
    axes[0].set_xticks(range(len(stages)), stages)
    axes[0].set_ylim(min(0.0, axes[0].get_ylim()[0]), 1.05)
    axes[0].set_title("same stage of both networks")
    axes[0].set_ylabel("linear CKA, debiased")
    axes[0].grid(axis="y", color="0.92")
    _add_legend(figure, axes[0])
    for axis, (name, values) in zip(axes[1:], matrices.items()):
        _draw_matrix(axis, values.mean(axis=0), stages)
        axis.set_title(name, parse_math=False)
        first, second = sides[name]
        axis.set_ylabel(first, parse_math=False)
        axis.set_xlabel(second, parse_math=False)
    save_figure(figure, path)


def _draw_matrix(
    axis: Any, values: NDArray[Any], stages: Sequence[str]
) -> None:
    axis.imshow(values, cmap="Greys", vmin=0, vmax=1, origin="lower")
    write_cells(axis, values)
    for set_ticks in (axis.set_xticks, axis.set_yticks):
        set_ticks(range(len(stages)), stages)


def _spread(summary: Any) -> float:
    """Return the standard deviation, 0 for a single seed."""
    return 0.0 if math.isnan(summary.deviation) else summary.deviation
