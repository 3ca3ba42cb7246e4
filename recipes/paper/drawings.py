"""The paper's figures, drawn from their points (see `cells.point`)."""

import numpy as np
from cells import NONE
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
_WIDTH = 5.6


def draw_modality_gap(points, path):
    """Draw Fig. 1: each modality alone, and how alike networks rank."""
    pairs = points[points["quantity"] == KENDALL]
    alone = points[points["quantity"] != KENDALL]
    height = max(4.2, 0.6 * len(pairs) + 1)
    with figure_style():
        figure, axes = new_figure(3, width=4.6, height=height)
        for axis, quantity, title, scale, form in (
            (axes[0], SCORE, "test accuracy (%)", 100, "{:.1f}"),
            (axes[1], TARGET_PROBABILITY, "target probability", 1, "{:.3f}"),
        ):
            shown = alone[alone["quantity"] == quantity]
            _draw_bars(axis, shown, list(alone["series"].unique()), scale, form)
            axis.set_title(title)
        axes[2].set_title("Kendall correlation of the logits")
        _draw_correlations(axes[2], pairs)
        _finish(
            figure,
            axes[:1],
            path,
            "Bars: mean over the seeds (over the pairs of networks on the "
            "right); lines: standard deviation.",
        )


def _draw_bars(axis, points, series, scale, form):
    """Draw one group of bars a data set, one bar a modality."""
    groups = list(points["panel"].unique())
    width = 0.8 / len(series)
    for number, name in enumerate(series):
        shown = points[points["series"] == name].dropna(subset="measured_mean")
        places = shown["panel"].map(groups.index) + width * (
            number - (len(series) - 1) / 2
        )
        heights = scale * shown["measured_mean"]
        spreads = scale * shown["measured_std"].fillna(0)
        bars = axis.bar(
            places,
            heights,
            width,
            yerr=spreads,
            capsize=3,
            color=STYLES[1:][number % 9]["color"],
            hatch=_HATCHES[number % 4],
            edgecolor="white",
            label=name,
        )
        axis.bar_label(bars, list(map(form.format, heights)), padding=3)
    axis.set_xticks(range(len(groups)), groups)
    axis.margins(y=0.12)


def _draw_correlations(axis, points):
    """Draw a bar for each pair of networks."""
    if points.empty:
        axis.text(0.5, 0.5, "no networks compared", ha="center", va="center")
        axis.set_axis_off()
        return
    colors = {BETWEEN: STYLES[1]["color"], WITHIN: STYLES[2]["color"]}
    means = points["measured_mean"].to_numpy()
    spreads = points["measured_std"].fillna(0).to_numpy()
    bars = axis.barh(
        range(len(points)),
        means,
        xerr=spreads,
        capsize=3,
        color=points["series"].map(colors),
        edgecolor="white",
    )
    axis.bar_label(bars, [f"{mean:.2f}" for mean in means], padding=3)
    names = (
        points["panel"] + ": " + points["at"] + " (" + points["series"] + ")"
    )
    names = [wrap_text(name, 2.0) for name in names]
    axis.set_yticks(range(len(points)), names)
    axis.invert_yaxis()
    axis.axvline(0, color="0.3", linewidth=1)
    # Room for the number beside a negative bar.
    lowest = (means - spreads).min()
    axis.set_xlim(lowest - 0.3 if lowest < 0 else -0.05, 1.15)
    axis.xaxis.get_major_locator().set_params(nbins=5)


def draw_dynamics(points, path, batch_size):
    """Draw Fig. 3: scores and rank-distorted samples over the epochs.

    Args:
        points: Data frame of points whose series are `<method>, <curve>`.
        path: Where the PNG goes.
        batch_size: Integer, the scale of the dotted lines.
    """
    parts = points["series"].str.rsplit(", ", n=1, expand=True)
    points = points.assign(method=parts[0], curve=parts[1])
    points = points.dropna(subset="measured_mean")
    styles = assign_styles(points["method"].unique())
    with figure_style():
        figure, axes = _panels(points)
        for axis, (title, panel) in zip(
            axes, points.groupby("panel", sort=False)
        ):
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
            axis.set_title(title)
            axis.set_xlabel("epoch")
            axis.xaxis.get_major_locator().set_params(integer=True)
            axis.set_ylabel("validation accuracy (%)")
            counts.spines["right"].set_visible(True)
            counts.set_ylabel(f"distorted samples in {batch_size}")
            counts.set_ylim(bottom=0)
        _finish(
            figure,
            axes,
            path,
            "Means over the seeds. Solid: validation accuracy. Dotted: training"
            " samples in a batch whose two networks' logits have a Kendall "
            "correlation below 0.",
        )


def draw_sensitivity(points, path):
    """Draw Fig. 4: the score over the threshold of each selection."""
    series = [x for x in points["series"].unique() if x != NO_SELECTION]
    styles = dict(zip(series, STYLES[1:]))
    with figure_style():
        figure, axes = _panels(points)
        for axis, (title, panel) in zip(
            axes, points.groupby("panel", sort=False)
        ):
            thresholds = [at for at in panel["at"].unique() if at != NONE]
            places = {at: float(at) for at in thresholds}
            _draw_lines(axis, panel, places, styles)
            without = panel[panel["series"] == NO_SELECTION]
            without = without.dropna(subset="measured_mean")
            for _, line in without.iterrows():
                mean = 100 * line["measured_mean"]
                spread = np.nan_to_num(100 * line["measured_std"])
                axis.axhspan(
                    mean - spread, mean + spread, color="0.9", zorder=0
                )
                axis.axhline(
                    mean, color="0.4", linewidth=1, label=NO_SELECTION, zorder=1
                )
            axis.set_title(title)
            axis.set_xlabel("threshold of the selection")
        _finish(
            figure,
            axes,
            path,
            "Markers and bars: mean over the seeds and standard deviation, "
            "side by side at one threshold. Grey line and band: the same "
            "without selection.",
        )


def draw_modules(points, path):
    """Draw Fig. 5: the score while modules are added to a method."""
    names = list(points["series"].unique())
    looks = assign_styles(name.lower() for name in names)
    styles = {name: looks[name.lower()] for name in names}
    with figure_style():
        figure, axes = _panels(points)
        for axis, (title, panel) in zip(
            axes, points.groupby("panel", sort=False)
        ):
            places = {at: i for i, at in enumerate(panel["at"].unique())}
            _draw_lines(axis, panel, places, styles)
            axis.margins(x=0.12)
            axis.set_title(title)
        _finish(
            figure,
            axes,
            path,
            "Markers and bars: mean over the seeds and standard deviation. BD: "
            "bidirectional distillation; OFSD: with the selection and "
            "non-target classes; Proxy: with proxies.",
        )


def _draw_lines(axis, panel, places, styles):
    """Draw scores with their deviation, side by side at each place."""
    step = min(np.diff(sorted(places.values())), default=1.0)
    for number, (name, style) in enumerate(styles.items()):
        line = panel[panel["series"] == name].dropna(subset="measured_mean")
        x = line["at"].map(places).astype(float)
        line = line.loc[x.sort_values().index]
        axis.errorbar(
            np.sort(x) + 0.06 * step * (number - (len(styles) - 1) / 2),
            100 * line["measured_mean"],
            100 * line["measured_std"].fillna(0),
            label=name,
            linestyle=_LINES[number % 4],
            markersize=6,
            capsize=3,
            elinewidth=1,
            **style,
        )
    axis.set_xticks(list(places.values()), list(places))
    axis.set_ylabel("test accuracy (%)")
    axis.grid(axis="y")


def draw_similarity(points, path):
    """Draw Fig. 6: CKA of equal stages over the depth, and of all pairs."""
    parts = points["at"].str.split(" / ", expand=True)
    points = points.assign(first=parts[0], second=parts[1])
    stages, labels = list(parts[0].unique()), list(points["series"].unique())
    with figure_style():
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
                **STYLES[1 + number % 9],
            )
            grid = shown.pivot(index="first", columns="second")["measured_mean"]
            values = grid.loc[stages, stages].to_numpy()
            axis = axes[1 + number]
            axis.imshow(values, cmap="Greys", vmin=0, vmax=1, origin="lower")
            write_cells(axis, values)
            axis.set_xticks(range(len(stages)), stages)
            axis.set_yticks(range(len(stages)), stages)
            axis.set_title(wrap_text(label, 3.2))
            axis.set_ylabel("stage of the first network")
            axis.set_xlabel("stage of the second")
        axes[0].set_xticks(range(len(stages)), stages)
        axes[0].set_ylim(min(0.0, axes[0].get_ylim()[0]), 1.05)
        axes[0].set_title("same stage of both networks")
        axes[0].set_ylabel("linear CKA, debiased")
        axes[0].grid(axis="y")
        _finish(
            figure,
            axes[:1],
            path,
            "Means over the pairs of networks; bars: standard deviation.",
        )


def _panels(points):
    return new_figure(points["panel"].nunique(), width=_WIDTH, height=4.8)


def _finish(figure, axes, path, caption):
    """Add the legend that all panels share, and a caption; save."""
    handles = {
        label: handle
        for axis in axes
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
