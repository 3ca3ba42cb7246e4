"""Pictures of a comparison, as matplotlib's objects when they are saved."""

import math
import types

import numpy as np
import pytest

from keras_c2kd.comparison import plots
from keras_c2kd.comparison.plots import plot_comparison
from keras_c2kd.comparison.plots import plot_learning_curves

pytestmark = pytest.mark.backend_free

text_module = pytest.importorskip("matplotlib.text")
colors = pytest.importorskip("matplotlib.colors")


@pytest.fixture
def figures(monkeypatch):
    """The figures that would be saved, with the texts that are drawn."""
    found, draw = [], text_module.Text.draw

    def note(figure, path):
        figure.texts_drawn = set()
        found.append(figure)
        figure.draw_without_rendering()

    def note_text(text, *args, **kwargs):
        if text.get_visible() and text.get_text():
            text.get_figure(root=True).texts_drawn.add(text)
        draw(text, *args, **kwargs)

    monkeypatch.setattr(plots, "save_figure", note)
    monkeypatch.setattr(text_module.Text, "draw", note_text)
    return found


def summary(mean, low=math.nan, high=math.nan):
    return types.SimpleNamespace(mean=mean, low=low, high=high)


def row(method, scores, difference=None, student="wrist"):
    return types.SimpleNamespace(
        method=method,
        student=student,
        score=summary(float(np.mean(scores)) if scores else math.nan),
        difference=difference,
        scores=scores,
    )


ALONE = row("alone", [0.74, 0.75, 0.76])
KD = row("kd", [0.80, 0.81, 0.82], summary(0.06, 0.04, 0.08))
C2KD = row("c2kd", [0.70, 0.71, 0.72], summary(-0.04, -0.09, 0.01))
LONG = "C2KD(selection=KendallSelection(threshold=0.2), proxies=False)"


def check_texts(figure):
    """All texts have 12 points and lie within the figure; names are apart."""
    assert len(figure.texts_drawn) > 5
    for text in figure.texts_drawn:
        assert text.get_fontsize() == 12, text
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.y0 >= 0, text
        assert box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1, text
    for panel in figure.axes:
        boxes = [label.get_window_extent() for label in panel.get_yticklabels()]
        boxes.sort(key=lambda box: box.y0)
        assert all(a.y1 <= b.y0 for a, b in zip(boxes, boxes[1:]))


def names_of(panel):
    """Names from top to bottom."""
    labels = sorted(
        panel.get_yticklabels(), key=lambda label: label.get_position()[1]
    )
    return [label.get_text().replace("\n", "") for label in labels]


def lines_of(panel, marker):
    return [line for line in panel.lines if line.get_marker() == marker]


def caption_of(figure):
    return figure.get_supxlabel().replace("\n", " ")


def test_the_best_is_on_top_and_alone_is_a_line(figures, tmp_path):
    plot_comparison([ALONE, C2KD, KD], tmp_path / "plot.png")
    panel, numbers = figures[0].axes
    assert names_of(panel) == ["kd", "alone", "c2kd"]
    assert panel.yaxis_inverted()
    assert names_of(numbers) == ["81.0  (+6.0)", "75.0", "71.0  (-4.0)"]
    assert panel.get_title(loc="left") == "wrist student"
    assert panel.get_xlabel() == "test accuracy (%)"
    # The line of the student alone goes from the bottom to the top.
    (line,) = [line for line in panel.lines if list(line.get_ydata()) == [0, 1]]
    assert line.get_xdata() == pytest.approx([75, 75])
    check_texts(figures[0])


def test_bars_are_intervals_of_the_difference_from_the_line_on(
    figures, tmp_path
):
    plot_comparison([ALONE, C2KD, KD], tmp_path / "plot.png")
    better, worse = lines_of(figures[0].axes[0], "|")
    assert better.get_xdata() == pytest.approx([79, 83])
    assert worse.get_xdata() == pytest.approx([66, 76])
    assert "Bar: 95% interval of the paired difference" in caption_of(
        figures[0]
    )
    assert "mean of 3 seeds" in caption_of(figures[0])
    assert "No interval" not in caption_of(figures[0])


def test_without_a_baseline_bars_lie_around_the_means(figures, tmp_path):
    plot_comparison([KD], tmp_path / "plot.png")
    panel = figures[0].axes[0]
    assert lines_of(panel, "|")[0].get_xdata() == pytest.approx([79, 83])
    assert not [
        line for line in panel.lines if list(line.get_ydata()) == [0, 1]
    ]
    assert "Vertical line" not in caption_of(figures[0])


def test_one_seed_has_no_interval(figures, tmp_path):
    rows = [row("alone", [0.75]), row("kd", [0.74996], summary(-0.00004))]
    plot_comparison(rows, tmp_path / "plot.png")
    panel, numbers = figures[0].axes
    assert lines_of(panel, "|") == []
    assert names_of(numbers) == ["75.0", "75.0  (+0.0)"]
    told = caption_of(figures[0])
    assert "mean of 1 seed;" in told and "No interval" in told
    check_texts(figures[0])


def test_single_seeds_are_faint_dots(figures, tmp_path):
    plot_comparison([ALONE, KD], tmp_path / "plot.png")
    faint = [line for line in figures[0].axes[0].lines if line.get_alpha()]
    assert [list(line.get_xdata().round(6)) for line in faint] == [
        [80, 81, 82],
        [74, 75, 76],
    ]


def test_a_row_without_a_score_comes_last(figures, tmp_path):
    plot_comparison([row("dml", []), ALONE, KD], tmp_path / "plot.png")
    panel, numbers = figures[0].axes
    assert names_of(panel)[-1] == "dml"
    assert names_of(numbers)[-1] == "no score"
    assert "mean of 0 to 3 seeds" in caption_of(figures[0])


def test_a_method_looks_the_same_in_all_figures(figures, tmp_path):
    plot_comparison([ALONE, KD], tmp_path / "one.png")
    other = row("kd", [0.5], student="camera")
    plot_comparison([row("dml", [0.6]), C2KD, other], tmp_path / "two.png")
    history = {"val_accuracy": [0.5, 0.6]}
    plot_learning_curves({"wrist": {"kd": [history]}}, tmp_path / "three.png")
    for figure in figures:
        looks = {
            colors.to_hex(line.get_color())
            for panel in figure.axes
            for line in lines_of(panel, "D")
        }
        assert looks == {"#0072b2"}


def test_each_student_has_its_own_order_and_line(figures, tmp_path):
    camera = [
        row("alone", [0.9], student="camera"),
        row("kd", [0.8], student="camera"),
    ]
    plot_comparison([ALONE, KD, *camera], tmp_path / "plot.png", "mean_iou")
    first, second, *_ = figures[0].axes
    assert names_of(first) == ["kd", "alone"]
    assert names_of(second) == ["alone", "kd"]
    assert second.get_title(loc="left") == "camera student"
    assert second.get_xlabel() == "test mean iou (%)"
    check_texts(figures[0])


@pytest.mark.parametrize("count", [1, 40])
def test_names_fit_whatever_their_number_and_length(figures, tmp_path, count):
    odd = [LONG, "W" * 60, "$\\frac{_a$", "a_b"]
    rows = [
        row((odd[n // 10] if n % 10 == 0 else "m") + f" {n}", [0.5 + n / 100])
        for n in range(count)
    ]
    plot_comparison(rows, tmp_path / "plot.png")
    (figure,) = figures
    check_texts(figure)
    assert figure.get_figwidth() == 8.5
    expected = [row.method for row in rows[::-1]]
    assert [name.replace(" ", "") for name in names_of(figure.axes[0])] == [
        name.replace(" ", "") for name in expected
    ]


@pytest.mark.parametrize("dark", [False, True])
def test_text_and_ground_follow_the_background(figures, tmp_path, dark):
    plot_comparison([ALONE, KD], tmp_path / "plot.png", dark=dark)
    (figure,) = figures
    lightness = [
        sum(colors.to_rgb(text.get_color())) for text in figure.texts_drawn
    ]
    assert (min(lightness) > 2) if dark else (max(lightness) < 1)


@pytest.mark.parametrize("dark", [False, True])
def test_the_file_has_its_background_along(tmp_path, dark):
    image = pytest.importorskip("PIL.Image")
    plot_comparison([ALONE, KD], tmp_path / "plot.png", dark=dark)
    with image.open(tmp_path / "plot.png") as picture:
        ground = picture.convert("RGB").getpixel((0, 0))
    assert ground == ((13, 17, 23) if dark else (255, 255, 255))


def test_no_rows_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"at least one row.*Received: rows="):
        plot_comparison([], tmp_path / "plot.png")


def runs(*curves):
    return [{"val_accuracy": list(curve), "loss": [1.0]} for curve in curves]


def test_a_curve_is_the_mean_and_the_band_all_seeds(figures, tmp_path):
    methods = {"kd": runs([0.2, 0.4, 0.6], [0.4, 0.6])}
    plot_learning_curves({"wrist": methods}, tmp_path / "plot.png")
    (panel,) = figures[0].axes
    (line,) = panel.lines
    # The second seed stopped after two epochs and keeps 60%.
    assert line.get_xdata().tolist() == [1, 2, 3]
    assert line.get_ydata() == pytest.approx([30, 50, 60])
    band = panel.collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == pytest.approx((20, 60))
    at_two = band[band[:, 0] == 2][:, 1]
    assert sorted(set(at_two.round(6))) == [40, 60]
    assert "stopped early keeps its last value" in caption_of(figures[0])
    assert panel.get_ylabel() == "validation accuracy (%)"
    check_texts(figures[0])


def test_eight_curves_are_drawn_and_the_others_named(figures, tmp_path):
    # Method 9 is the best, "alone" the worst of all.
    methods = {f"m{n}": runs([0.5, 0.5 + n / 100]) for n in range(10)}
    methods["alone"] = runs([0.1, 0.2])
    plot_learning_curves({"wrist": methods}, tmp_path / "plot.png")
    (panel,) = figures[0].axes
    labels = [text.get_text() for text in panel.get_legend().get_texts()]
    assert labels == ["m9", "m8", "m7", "m6", "m5", "m4", "m3", "alone"]
    told = caption_of(figures[0])
    assert told.endswith("lower on validation: m0, m1, m2.")
    assert "stopped early" not in told
    check_texts(figures[0])


def test_long_names_of_curves_fit(figures, tmp_path):
    methods = {f"{LONG} {n}": runs([0.5, 0.6]) for n in range(9)}
    histories = {"wrist": methods, "camera": {"alone": runs([0.2])}}
    plot_learning_curves(histories, tmp_path / "plot.png", dark=True)
    check_texts(figures[0])
    first, second = figures[0].axes
    # Nothing of one panel, its legend among it, reaches into the other.
    assert first.get_tightbbox().y0 >= second.get_tightbbox().y1


def test_members_of_a_family_are_told_apart(figures, tmp_path):
    methods = {"c2kd": runs([0.5, 0.6]), "c2kd-top": runs([0.4, 0.5])}
    plot_learning_curves({"wrist": methods}, tmp_path / "plot.png")
    head, member = figures[0].axes[0].lines
    assert head.get_color() == member.get_color() == "#d55e00"
    assert head.get_linestyle() == "-" != member.get_linestyle()
    assert head.get_marker() != member.get_marker()


def test_histories_without_the_metric_are_refused(tmp_path):
    path = tmp_path / "plot.png"
    histories = {"wrist": {"kd": [{"accuracy": [0.5]}]}}
    with pytest.raises(
        ValueError, match=r"'val_accuracy'.*kd, wrist: the names \['accuracy'\]"
    ):
        plot_learning_curves(histories, path)
    with pytest.raises(ValueError, match="at least one history"):
        plot_learning_curves({"wrist": {"kd": []}}, path)
