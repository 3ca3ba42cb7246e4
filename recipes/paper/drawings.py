"""The paper's figures, drawn from their points (see `cells.point`)."""

import numpy as np
import pandas as pd
from printed import SCORE
from printed import TARGET_PROBABILITY

from keras_c2kd.utils.figures import STYLES
from keras_c2kd.utils.figures import assign_styles
from keras_c2kd.utils.figures import figure_style
from keras_c2kd.utils.figures import new_figure
from keras_c2kd.utils.figures import save_figure
from keras_c2kd.utils.figures import wrap_text
from keras_c2kd.utils.figures import write_cells

KENDALL, CKA = "kendall", "cka"
BETWEEN, WITHIN = "between", "within"
NO_SELECTION = "w/o selection"
# Beside colour and marker, for grey prints.
_LINES, _HATCHES = ("-", "--", "-.", ":"), ("", "//", "..", "xx")
_LOOKS = STYLES[1:]
_BARS = "Markers and bars: mean over the seeds and standard deviation"


@figure_style()
def draw_modality_gap(points, path):
    """Draw Fig. 1: each modality alone, and how alike networks rank."""
    pairs = points[points["quantity"] == KENDALL]
    figure, axes = new_figure(3, width=4.6, height=max(4.2, 0.6 * len(pairs)))
    for axis, quantity, title, scale, form in (
        (axes[0], SCORE, "test accuracy (%)", 100, "{:.1f}"),
        (axes[1], TARGET_PROBABILITY, "target probability", 1, "{:.3f}"),
    ):
        shown = points[points["quantity"] == quantity]
        numbers = ["measured_mean", "measured_std"]
        wide = scale * pd.pivot(
            shown, index="panel", columns="series", values=numbers
        )
        means, spreads = (
            wide[name][shown["series"].unique()] for name in numbers
        )
        for number, name in enumerate(means):
            bars = axis.bar(
                np.arange(len(means)) + number / (len(means.columns) + 1),
                means[name],
                1 / (len(means.columns) + 1),
                yerr=spreads[name].fillna(0),
                capsize=3,
                color=_LOOKS[number]["color"],
                hatch=_HATCHES[number % 4],
                edgecolor="white",
                label=name,
            )
            axis.bar_label(
                bars, [form.format(x) for x in means[name]], padding=3
            )
        middle = (len(means.columns) - 1) / (2 * len(means.columns) + 2)
        axis.set_xticks(np.arange(len(means)) + middle, means.index)
        axis.margins(y=0.12)
        axis.set_title(title)
    axes[2].set_title("Kendall correlation of the logits")
    if pairs.empty:
        axes[2].text(0.5, 0.5, "no networks compared", ha="center", va="center")
        axes[2].set_axis_off()
    else:
        _draw_correlations(axes[2], pairs)
    _finish(
        figure,
        axes[:1],
        path,
        "Bars: mean over the seeds (over the pairs of networks on the right); "
        "lines: standard deviation.",
    )


def _draw_correlations(axis, pairs):
    """Draw a bar for each pair of networks."""
    colors = {BETWEEN: _LOOKS[2]["color"], WITHIN: _LOOKS[7]["color"]}
    means, spreads = pairs["measured_mean"], pairs["measured_std"].fillna(0)
    names = pairs["panel"] + ": " + pairs["at"] + " (" + pairs["series"] + ")"
    bars = axis.barh(
        [wrap_text(name, 2.0) for name in names],
        means,
        xerr=spreads,
        capsize=3,
        color=pairs["series"].map(colors),
    )
    axis.bar_label(bars, [f"{mean:.2f}" for mean in means], padding=3)
    axis.invert_yaxis()
    axis.axvline(0, color="0.3", linewidth=1)
    # Room for the number beside a negative bar.
    lowest = (means - spreads).min()
    axis.set_xlim(lowest - 0.3 if lowest < 0 else -0.05, 1.15)
    axis.xaxis.get_major_locator().set_params(nbins=5)


@figure_style()
def draw_dynamics(points, path, batch_size):
    """Draw Fig. 3, of points whose series are `<method>, <curve>`.

    The dotted lines are numbers of samples in a batch of `batch_size`.
    """
    parts = points["series"].str.rsplit(", ", n=1, expand=True)
    points = points.assign(method=parts[0], curve=parts[1])
    points = points.dropna(subset="measured_mean")
    styles = assign_styles(points["method"].unique())
    figure, panels = _panels(points)
    for axis, panel in panels:
        counts = axis.twinx()
        for (name, curve), line in panel.groupby(
            ["method", "curve"], sort=False
        ):
            is_count = curve == "rank_distorted_share"
            (counts if is_count else axis).plot(
                line["at"].str.removeprefix("epoch ").astype(int),
                (batch_size if is_count else 100) * line["measured_mean"],
                label=name,
                linestyle=":" if is_count else "-",
                markevery=max(1, len(line) // 8),
                markersize=5,
                markerfacecolor="none" if is_count else None,
                **styles[name],
            )
        axis.set(xlabel="epoch", ylabel="validation accuracy (%)")
        axis.xaxis.get_major_locator().set_params(integer=True)
        counts.spines["right"].set_visible(True)
        counts.set_ylabel(f"distorted samples in {batch_size}")
        counts.set_ylim(bottom=0)
    _finish(
        figure,
        figure.axes,
        path,
        "Means over the seeds. Solid: validation accuracy. Dotted: training "
        "samples in a batch whose two networks' logits have a Kendall "
        "correlation below 0.",
    )


@figure_style()
def draw_sensitivity(points, path):
    """Draw Fig. 4: the score over the threshold of each selection."""
    series = [x for x in points["series"].unique() if x != NO_SELECTION]
    figure, panels = _panels(points)
    for axis, panel in panels:
        is_without = panel["series"] == NO_SELECTION
        places = {at: float(at) for at in panel["at"][~is_without].unique()}
        _draw_lines(axis, panel, places, dict(zip(series, _LOOKS)))
        for _, line in (
            panel[is_without].dropna(subset="measured_mean").iterrows()
        ):
            mean = 100 * line["measured_mean"]
            spread = np.nan_to_num(100 * line["measured_std"])
            axis.axhspan(mean - spread, mean + spread, color="0.9", zorder=0)
            style = {"color": "0.4", "linewidth": 1, "zorder": 1}
            axis.axhline(mean, label=NO_SELECTION, **style)
        axis.set_xlabel("threshold of the selection")
    _finish(
        figure,
        figure.axes,
        path,
        f"{_BARS}, side by side at one threshold. Grey line and band: the same "
        "without selection.",
    )


@figure_style()
def draw_modules(points, path):
    """Draw Fig. 5: the score while modules are added to a method."""
    looks = assign_styles(points["series"].str.lower().unique())
    styles = {name: looks[name.lower()] for name in points["series"].unique()}
    figure, panels = _panels(points)
    for axis, panel in panels:
        places = {at: i for i, at in enumerate(panel["at"].unique())}
        _draw_lines(axis, panel, places, styles)
        axis.margins(x=0.12)
    _finish(
        figure,
        figure.axes,
        path,
        f"{_BARS}. BD: bidirectional distillation; OFSD: with the selection "
        "and the classes but the label's; Proxy: with proxies.",
    )


def _draw_lines(axis, panel, places, styles):
    """Draw scores with their deviation, side by side at each place."""
    step = min(np.diff(sorted(places.values())), default=1.0)
    for number, (name, style) in enumerate(styles.items()):
        line = panel[panel["series"] == name].dropna(subset="measured_mean")
        line = line.assign(x=line["at"].map(places)).sort_values("x")
        axis.errorbar(
            line["x"] + 0.06 * step * (number - (len(styles) - 1) / 2),
            100 * line["measured_mean"],
            100 * line["measured_std"].fillna(0),
            label=name,
            linestyle=_LINES[number % 4],
            capsize=3,
            elinewidth=1,
            **style,
        )
    axis.set_xticks(list(places.values()), list(places))
    axis.set_ylabel("test accuracy (%)")
    axis.grid(axis="y")


@figure_style()
def draw_similarity(points, path):
    """Draw Fig. 6: CKA of equal stages over the depth, and of all pairs."""
    parts = points["at"].str.split(" / ", expand=True)
    points = points.assign(first=parts[0], second=parts[1])
    stages, labels = list(parts[0].unique()), list(points["series"].unique())
    figure, axes = new_figure(1 + len(labels), width=4.4, height=4.4)
    for number, label in enumerate(labels):
        shown = points[points["series"] == label]
        equal = shown[shown["first"] == shown["second"]]
        axes[0].errorbar(
            np.arange(len(equal)) + 0.06 * (number - (len(labels) - 1) / 2),
            equal["measured_mean"],
            equal["measured_std"].fillna(0),
            label=label,
            linestyle=_LINES[number % 4],
            capsize=3,
            **_LOOKS[number % len(_LOOKS)],
        )
        grid = shown.pivot(index="first", columns="second")["measured_mean"]
        axis, values = axes[1 + number], grid.loc[stages, stages].to_numpy()
        axis.imshow(values, cmap="Greys", vmin=0, vmax=1, origin="lower")
        write_cells(axis, values)
        axis.set_yticks(range(len(stages)), stages)
        axis.set_ylabel("stage of the first network")
        axis.set_xlabel("stage of the second")
        axis.set_title(wrap_text(label, 3.2))
    for axis in axes:
        axis.set_xticks(range(len(stages)), stages)
    axes[0].set_ylim(min(0.0, axes[0].get_ylim()[0]), 1.05)
    axes[0].set_title("same stage of both networks")
    axes[0].set_ylabel("linear CKA, debiased")
    axes[0].grid(axis="y")
    caption = "Means over the pairs of networks; bars: standard deviation."
    _finish(figure, axes[:1], path, caption)


def _panels(points):
    """Return a figure, and a list of an axis and the points of each panel."""
    groups = points.groupby("panel", sort=False)
    figure, axes = new_figure(len(groups), width=5.6, height=4.8)
    for axis, title in zip(axes, groups.groups):
        axis.set_title(title)
    return figure, list(zip(axes, (group for _, group in groups)))


def _finish(figure, axes, path, caption):
    """Add the legend that all panels share, and a caption; save."""
    handles = {
        label: handle
        for axis in reversed(axes)
        for handle, label in zip(*axis.get_legend_handles_labels())
    }
    figure.legend(
        handles.values(),
        handles,
        loc="outside upper center",
        ncols=max(1, min(5, len(handles))),
        frameon=False,
    )
    figure.supxlabel(wrap_text(caption, figure.get_size_inches()[0] - 0.4))
    save_figure(figure, path)
