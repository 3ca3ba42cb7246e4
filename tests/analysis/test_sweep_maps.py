"""Maps over two settings: what stands in the cells, and how they are marked."""

import math
import types

import numpy as np
import pytest

from keras_c2kd.analysis.sweep_maps import plot_number_maps
from keras_c2kd.analysis.sweep_maps import plot_sweep_maps
from keras_c2kd.comparison.statistics import summarize

pytestmark = pytest.mark.backend_free

figure_module = pytest.importorskip("matplotlib.figure")
colors = pytest.importorskip("matplotlib.colors")


@pytest.fixture
def figures(monkeypatch):
    """The figures that are saved, as well as the files."""
    found, save = [], figure_module.Figure.savefig

    def note(figure, *args, **kwargs):
        found.append(figure)
        save(figure, *args, **kwargs)

    monkeypatch.setattr(figure_module.Figure, "savefig", note)
    return found


def cell(*values, stands=False):
    return types.SimpleNamespace(difference=summarize(values), stands=stands)


# A gain that stands, one that does not, a loss that stands, and noise.
CELLS = {
    (-1.0, 0.0): cell(0.10, 0.11, 0.12, stands=True),
    (-1.0, 1.0): cell(0.02, 0.03, 0.04),
    (1.0, 0.0): cell(-0.08, -0.09, -0.10, stands=True),
    (1.0, 1.0): cell(-0.05, 0.01, 0.052),
}
SEED_ALONE = {place: cell(0.05) for place in CELLS}


def panels_of(figure, number):
    return [panel for panel in figure.axes if panel.get_visible()][:number]


def texts_of(panel):
    """The texts of the cells by their place: column, row."""
    return {text.get_position(): text for text in panel.texts}


def test_cells_have_their_number_and_their_mark(figures, tmp_path):
    plot_sweep_maps({"kd": CELLS}, ("gap", "twist"), tmp_path / "maps.png")
    (panel,) = panels_of(figures[0], 1)
    texts = texts_of(panel)
    assert {place: text.get_text() for place, text in texts.items()} == {
        (0, 0): "+11.0",
        (1, 0): "+3.0",
        (0, 1): "-9.0",
        (1, 1): "+0.4",
    }
    weights = {place: text.get_fontweight() for place, text in texts.items()}
    assert weights == {
        (0, 0): "bold",
        (1, 0): "bold",
        (0, 1): "bold",
        (1, 1): "normal",
    }
    hatched = [p for p in panel.patches if p.get_hatch()]
    framed = [p for p in panel.patches if not p.get_hatch()]
    assert [p.get_xy() for p in hatched] == [(0.5, 0.5)]
    corners = sorted(p.get_xy() for p in framed)
    np.testing.assert_allclose(corners, [(-0.46, -0.45), (-0.46, 0.55)])
    assert panel.get_title() == "kd"
    assert (panel.get_ylabel(), panel.get_xlabel()) == ("gap", "twist")
    for axis, labels in (("x", ["0", "1"]), ("y", ["-1", "1"])):
        ticks = getattr(panel, f"get_{axis}ticklabels")()
        assert [label.get_text() for label in ticks] == labels


def test_colours_are_the_same_in_all_maps_and_white_at_none(figures, tmp_path):
    maps = {"kd": CELLS, "c2kd": SEED_ALONE}
    plot_sweep_maps(maps, ("gap", "twist"), tmp_path / "maps.png", limit=6)
    images = [panel.images[0] for panel in panels_of(figures[0], 2)]
    assert {image.get_clim() for image in images} == {(-6, 6)}
    colour = images[0].cmap
    np.testing.assert_allclose(colour(0.5), 1, atol=0.01)
    # In grey, a loss is darker than an equal gain.
    light = [colors.rgb_to_hsv(colour(x)[:3])[2] for x in (0.0, 1.0)]
    grey = [np.dot(colour(x)[:3], [0.299, 0.587, 0.114]) for x in (0.0, 1.0)]
    assert grey[0] < grey[1] - 0.15
    assert min(light) > 0.5


def test_the_strongest_colours_follow_the_numbers(figures, tmp_path):
    plot_sweep_maps({"kd": CELLS}, ("gap", "twist"), tmp_path / "maps.png")
    (panel,) = panels_of(figures[0], 1)
    # Of 11, 3, 9 and 0.4 the 75% quantile is 9 + 0.25 * 2, and 10 whole.
    assert panel.images[0].get_clim() == (-10, 10)


def test_one_seed_is_noise(figures, tmp_path):
    assert math.isnan(SEED_ALONE[1.0, 1.0].difference.low)
    plot_sweep_maps({"kd": SEED_ALONE}, ("a", "b"), tmp_path / "maps.png")
    (panel,) = panels_of(figures[0], 1)
    assert all(patch.get_hatch() for patch in panel.patches)
    assert len(panel.patches) == 4


def test_numbers_alone(figures, tmp_path):
    maps = {
        name: {(row, column): row / 10 for row in (1, 2) for column in (3, 4)}
        for name in ("first", "second", "third", "fourth")
    }
    plot_number_maps(maps, ("gap", "twist"), tmp_path / "numbers.png")
    panels = panels_of(figures[0], 5)
    assert [panel.get_title() for panel in panels] == list(maps)
    texts = [text.get_text() for text in panels[3].texts]
    assert texts == ["0.10", "0.10", "0.20", "0.20"]


def test_the_files_are_pictures(tmp_path):
    image = pytest.importorskip("PIL.Image")
    path = tmp_path / "new" / "maps.png"
    plot_sweep_maps({"kd": CELLS}, ("gap", "twist"), path)
    with image.open(path) as picture:
        assert picture.format == "PNG"
        pixels = np.asarray(picture.convert("RGB"))
    assert min(pixels.shape[:2]) > 150
    # The strongest gain of all has the colour of a gain.
    assert (pixels == (0x56, 0xB4, 0xE9)).all(axis=-1).sum() > 100
