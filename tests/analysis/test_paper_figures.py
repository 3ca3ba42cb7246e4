"""Pictures of the paper's figures: what is on them, in colour and in grey."""

import types

import numpy as np
import pytest

from keras_c2kd.analysis import paper_figures
from keras_c2kd.analysis.paper_figures import plot_feature_similarity
from keras_c2kd.analysis.paper_figures import plot_modality_gap
from keras_c2kd.analysis.paper_figures import plot_modules
from keras_c2kd.analysis.paper_figures import plot_sensitivity

pytestmark = pytest.mark.backend_free

image = pytest.importorskip("PIL.Image")


def summary(mean, deviation=0.01):
    return types.SimpleNamespace(mean=mean, deviation=deviation)


@pytest.fixture
def figures(monkeypatch):
    """The matplotlib figures that are made."""
    made, new_figure = [], paper_figures.new_figure

    def note(*args, **kwargs):
        figure, panels = new_figure(*args, **kwargs)
        made.append(figure)
        return figure, panels

    monkeypatch.setattr(paper_figures, "new_figure", note)
    return made


def pixels(path, mode="RGB"):
    with image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert(mode))


def lines_of(panel):
    """Data of the lines with markers, by their labels."""
    return {
        container.get_label(): container.lines[0].get_xydata().astype(float)
        for container in panel.containers
    }


CURVES = {
    "KRC": {0.2: summary(0.33), -0.2: summary(0.31), 0.0: summary(0.34)},
    "Cos": {-0.2: summary(0.30), 0.0: summary(0.32)},
    "Pearson": {},
    "GradCos": {0.0: summary(0.29, float("nan"))},
}


def test_sensitivity(figures, tmp_path):
    panel = {"curves": CURVES, "without": summary(0.32)}
    plot_sensitivity(
        {"visual student": panel, "audio $x^2$": {**panel, "without": None}},
        tmp_path / "new" / "figure.png",
    )
    first, second = figures[0].axes
    lines = lines_of(first)
    # In the order of the thresholds, each beside its tick.
    assert lines["KRC"][:, 1] == pytest.approx([31.0, 34.0, 33.0])
    assert np.abs(lines["KRC"][:, 0] - [-0.2, 0.0, 0.2]).max() < 0.05
    assert lines["Cos"][:, 1] == pytest.approx([30.0, 32.0])
    assert lines["GradCos"][:, 1] == pytest.approx([29.0])
    assert [tick.get_text() for tick in first.get_xticklabels()] == [
        "-0.2", "0", "0.2",
    ]  # fmt: skip
    levels = [line.get_ydata()[0] for line in first.lines
              if line.get_label() == "w/o selection"]  # fmt: skip
    assert levels == [32.0]
    assert not [
        line for line in second.lines if line.get_label() == "w/o selection"
    ]
    (legend,) = figures[0].legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["KRC", "Cos", "Pearson", "GradCos", "w/o selection"]
    assert pixels(tmp_path / "new" / "figure.png").shape[0] > 300


def test_a_single_threshold(tmp_path):
    curves = {"KRC": {0.0: summary(0.3)}}
    panels = {"student": {"curves": curves, "without": None}}
    plot_sensitivity(panels, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 5_000


def test_modules(figures, tmp_path):
    methods = {
        "DIST": {"plain": summary(0.38), "+BD": summary(0.39)},
        "NKD": {"plain": summary(0.39), "+Proxy": summary(0.41)},
    }
    plot_modules({"visual student": methods}, tmp_path / "figure.png")
    (panel,) = figures[0].axes
    ticks = [tick.get_text() for tick in panel.get_xticklabels()]
    assert ticks == ["plain", "+BD", "+Proxy"]
    lines = lines_of(panel)
    assert lines["NKD"][:, 1] == pytest.approx([39.0, 41.0])
    assert np.round(lines["NKD"][:, 0]) == pytest.approx([0, 2])


def test_modality_gap(figures, tmp_path):
    plot_modality_gap(
        {
            "AVE": {
                "visual": (summary(0.316), summary(0.355)),
                "audio": (summary(0.528), summary(0.901)),
            },
            "VGGSound": {"visual": (summary(0.387), None)},
        },
        {
            "between": {"visual - audio": summary(-0.2)},
            "within": {"visual, two seeds": summary(0.5)},
        },
        tmp_path / "figure.png",
    )
    score, probability, kendall = figures[0].axes
    heights = sorted(bar.get_height() for bar in score.patches)
    assert heights == pytest.approx([31.6, 38.7, 52.8])
    heights = sorted(bar.get_height() for bar in probability.patches)
    assert heights == pytest.approx([0.355, 0.901])
    texts = {text.get_text() for text in score.texts + probability.texts}
    assert texts == {"31.6", "38.7", "52.8", "0.355", "0.901"}
    widths = [bar.get_width() for bar in kendall.patches]
    assert widths == pytest.approx([-0.2, 0.5])
    low, high = kendall.get_xlim()
    assert low < -0.21 and high > 1


def test_a_modality_gap_without_networks(figures, tmp_path):
    alone = {"toy": {"a": (summary(0.5), None), "b": (None, None)}}
    nothing = {"between": {}, "within": {}}
    plot_modality_gap(alone, nothing, tmp_path / "figure.png")
    (text,) = figures[0].axes[2].texts
    assert text.get_text() == "no networks compared"


def test_feature_similarity(figures, tmp_path):
    first = np.array([[[0.2, 0.1], [0.0, 0.4]], [[0.4, 0.3], [0.2, 0.4]]])
    plot_feature_similarity(
        {"visual - audio": first, "visual, two seeds": first[:1] + 0.5},
        {
            "visual - audio": ("visual", "audio"),
            "visual, two seeds": ("one seed", "the next"),
        },
        ("stage_1", "stage_2"),
        tmp_path / "figure.png",
    )
    lines, between, within = figures[0].axes
    found = lines_of(lines)
    # The diagonal, mean over the pairs.
    assert found["visual - audio"][:, 1] == pytest.approx([0.3, 0.4])
    assert found["visual, two seeds"][:, 1] == pytest.approx([0.7, 0.9])
    np.testing.assert_allclose(
        between.images[0].get_array(), [[0.3, 0.2], [0.1, 0.4]]
    )
    assert [text.get_text() for text in between.texts] == [
        "0.30", "0.20", "0.10", "0.40",
    ]  # fmt: skip
    assert (between.get_ylabel(), between.get_xlabel()) == ("visual", "audio")
    assert within.get_title() == "visual, two seeds"


def test_lines_and_bars_are_told_apart_in_grey():
    """By line style, marker or hatch, where the lightness is close."""
    assert len(set(paper_figures._LINES)) == 4
    assert len({style["marker"] for style in paper_figures.STYLES}) == 10
    assert len(set(paper_figures._HATCHES)) == 4


def test_grey_pictures_keep_their_lines(tmp_path):
    panel = {"curves": CURVES, "without": summary(0.32)}
    plot_sensitivity({"student": panel}, tmp_path / "figure.png")
    grey = pixels(tmp_path / "figure.png", "L")
    # Black, and the lightness of vermilion and sky blue: all far from white.
    for lightness in (0, 118, 160):
        close = np.abs(grey.astype(int) - lightness) <= 3
        assert close.sum() > 50, lightness
