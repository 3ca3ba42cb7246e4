"""Pictures of the paper's figures: what is on them, in colour and in grey."""

import numpy as np
import pytest

from tests.recipes.paper.loading import load

pytestmark = pytest.mark.backend_free

image = pytest.importorskip("PIL.Image")
pd = pytest.importorskip("pandas")
drawings = load("drawings")
cells = load("cells")


@pytest.fixture
def figures(monkeypatch):
    """The matplotlib figures that are made."""
    made, new_figure = [], drawings.new_figure

    def note(*args, **kwargs):
        figure, panels = new_figure(*args, **kwargs)
        made.append(figure)
        return figure, panels

    monkeypatch.setattr(drawings, "new_figure", note)
    return made


def points(*lines):
    """Points of two seeds, `(panel, series, at, mean, quantity)`."""
    return pd.DataFrame(
        [
            cells.point(
                panel,
                series,
                at,
                {} if mean is None else {0: mean - 0.01, 1: mean + 0.01},
                *quantity,
            )
            for panel, series, at, mean, *quantity in lines
        ]
    )


def lines_of(panel):
    """Data of the lines with markers, by their labels."""
    return {
        container.get_label(): container.lines[0].get_xydata().astype(float)
        for container in panel.containers
    }


CURVES = [
    ("KRC", "0.2", 0.33),
    ("KRC", "-0.2", 0.31),
    ("KRC", "0", 0.34),
    ("Cos", "-0.2", 0.30),
    ("Cos", "0", 0.32),
    ("Pearson", "0", None),
    ("GradCos", "0", 0.29),
]
WITHOUT = ("w/o selection", "-", 0.32)


def sensitivity():
    return points(
        *[("visual student", *line) for line in (WITHOUT, *CURVES)],
        *[("audio $x^2$", *line) for line in CURVES],
    )


def test_sensitivity(figures, tmp_path):
    path = tmp_path / "new" / "figure.png"
    drawings.draw_sensitivity(sensitivity(), path)
    first, second = figures[0].axes
    lines = lines_of(first)
    # In the order of the thresholds, each beside its tick.
    assert lines["KRC"][:, 1] == pytest.approx([31.0, 34.0, 33.0])
    assert np.abs(lines["KRC"][:, 0] - [-0.2, 0.0, 0.2]).max() < 0.05
    assert lines["Cos"][:, 1] == pytest.approx([30.0, 32.0])
    assert lines["GradCos"][:, 1] == pytest.approx([29.0])
    ticks = dict(
        zip(first.get_xticks(), [x.get_text() for x in first.get_xticklabels()])
    )
    assert ticks == {-0.2: "-0.2", 0.0: "0", 0.2: "0.2"}
    levels = [line.get_ydata()[0] for line in first.lines
              if line.get_label() == "w/o selection"]  # fmt: skip
    assert levels == pytest.approx([32.0])
    assert "w/o selection" not in [x.get_label() for x in second.lines]
    (legend,) = figures[0].legends
    names = {text.get_text() for text in legend.get_texts()}
    assert names == {"KRC", "Cos", "Pearson", "GradCos", "w/o selection"}
    caption = " ".join(figures[0].get_supxlabel().split())
    assert "bars: mean over the seeds and standard deviation" in caption
    assert "Grey line and band: the same without selection" in caption
    with image.open(path) as picture:
        grey = np.asarray(picture.convert("L")).astype(int)
    # The lightness of vermilion and sky blue, both far from white.
    for lightness in (118, 160):
        assert (np.abs(grey - lightness) <= 3).sum() > 50, lightness


def test_modules_have_the_colours_of_their_methods(figures, tmp_path):
    drawings.draw_modules(
        points(
            ("visual student", "DIST", "plain", 0.38),
            ("visual student", "DIST", "+BD", 0.39),
            ("visual student", "DIST", "+Proxy", None),
            ("visual student", "NKD", "plain", 0.39),
            ("visual student", "NKD", "+Proxy", 0.41),
        ),
        tmp_path / "figure.png",
    )
    (panel,) = figures[0].axes
    ticks = [tick.get_text() for tick in panel.get_xticklabels()]
    assert ticks == ["plain", "+BD", "+Proxy"]
    lines = lines_of(panel)
    assert lines["NKD"][:, 1] == pytest.approx([39.0, 41.0])
    assert np.round(lines["NKD"][:, 0]) == pytest.approx([0, 2])
    colors = {x.get_label(): x.lines[0].get_color() for x in panel.containers}
    styles = drawings.assign_styles(["dist", "nkd"])
    assert colors == {x: styles[x.lower()]["color"] for x in ("DIST", "NKD")}


def test_dynamics(figures, tmp_path):
    drawings.draw_dynamics(
        points(
            ("audio student", "c2kd, val_accuracy", "epoch 1", 0.2, "x"),
            ("audio student", "c2kd, val_accuracy", "epoch 2", 0.4, "x"),
            ("audio student", "c2kd, rank_distorted_share", "epoch 1", 0.5),
            ("audio student", "nkd, val_accuracy", "-", None, "x"),
        ),
        tmp_path / "figure.png",
        batch_size=30,
    )
    scores, counts = figures[0].axes
    assert scores.lines[0].get_xydata().tolist() == [[1, 20], [2, 40]]
    assert counts.lines[0].get_xydata().tolist() == [[1, 15]]
    color = drawings.assign_styles(["c2kd"])["c2kd"]["color"]
    assert {scores.lines[0].get_color(), counts.lines[0].get_color()} == {color}
    assert "Kendall correlation below 0" in " ".join(
        figures[0].get_supxlabel().split()
    )


def test_modality_gap(figures, tmp_path):
    probability = "target_probability"
    drawings.draw_modality_gap(
        points(
            ("AVE", "visual", "score", 0.316),
            ("AVE", "visual", "p", 0.355, probability),
            ("AVE", "audio", "score", 0.528),
            ("AVE", "audio", "p", 0.901, probability),
            ("VGGSound", "visual", "score", 0.387),
            ("VGGSound", "visual", "p", None, probability),
            ("AVE", "between", "visual - audio", -0.2, "kendall"),
            ("AVE", "within", "visual, two seeds", 0.5, "kendall"),
        ),
        tmp_path / "figure.png",
    )
    score, target, kendall = figures[0].axes
    heights = [bar.get_height() for bar in score.patches]
    assert sorted(x for x in heights if x == x) == pytest.approx(
        [31.6, 38.7, 52.8]
    )
    texts = {text.get_text() for text in score.texts + target.texts}
    assert {"31.6", "38.7", "52.8", "0.355", "0.901"} <= texts
    widths = [bar.get_width() for bar in kendall.patches]
    assert widths == pytest.approx([-0.2, 0.5])
    low, high = kendall.get_xlim()
    assert low < -0.21 and high > 1


def test_a_modality_gap_without_networks(figures, tmp_path):
    alone = [
        ("toy", "a", "score", 0.5),
        ("toy", "a", "p", 0.5, "target_probability"),
    ]
    drawings.draw_modality_gap(points(*alone), tmp_path / "figure.png")
    (text,) = figures[0].axes[2].texts
    assert text.get_text() == "no networks compared"


def test_feature_similarity(figures, tmp_path):
    first = np.array([[0.3, 0.2], [0.1, 0.4]])
    drawings.draw_similarity(
        points(
            *[
                (
                    "toy",
                    label,
                    f"stage_{i + 1} / stage_{j + 1}",
                    x + more,
                    "cka",
                )
                for label, more in (("visual - audio", 0), ("two seeds", 0.5))
                for (i, j), x in np.ndenumerate(first)
            ]
        ),
        tmp_path / "figure.png",
    )
    lines, between, within = figures[0].axes
    found = lines_of(lines)
    assert found["visual - audio"][:, 1] == pytest.approx([0.3, 0.4])
    assert found["two seeds"][:, 1] == pytest.approx([0.8, 0.9])
    np.testing.assert_allclose(between.images[0].get_array(), first)
    assert [text.get_text() for text in between.texts] == [
        "0.30", "0.20", "0.10", "0.40",
    ]  # fmt: skip
    assert within.get_title() == "two seeds"


def test_lines_and_bars_are_told_apart_in_grey():
    """By line style, marker or hatch, where the lightness is close."""
    assert len(set(drawings._LINES)) == len(set(drawings._HATCHES)) == 4
    assert len({style["marker"] for style in drawings._LOOKS}) == 9
