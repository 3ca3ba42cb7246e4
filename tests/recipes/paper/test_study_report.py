"""The statistics of a study over two dials, against values by hand."""

import math

import numpy as np
import pytest

from keras_c2kd.comparison.statistics import summarize
from tests.recipes.paper.loading import load

pytestmark = pytest.mark.backend_free

pd = pytest.importorskip("pandas")
stats = pytest.importorskip("scipy.stats")
report = load("study_report")

DIALS = ["gap", "twist"]
PLACES = [(gap, twist) for gap in (-1, 1) for twist in (0.0, 0.5)]
# Student's accuracies in percent: alone, and by method and place, by seed.
ALONE = {0: 50, 1: 60, 2: 70}
KD = {
    (-1, 0.0): {0: 51, 1: 62, 2: 73},
    (-1, 0.5): {0: 55, 1: 64, 2: 76},
    (1, 0.0): {0: 50, 1: 59, 2: 71},
    (1, 0.5): {0: 45, 1: 54, 2: 66},
}
C2KD = {
    place: {seed: x + 2 + 0.01 * seed for seed, x in KD[place].items()}
    for place in PLACES
}


def runs(methods=None, everywhere=False):
    """Return lines as those of finished runs, in no order of their own."""
    methods = {"kd": KD, "c2kd": C2KD} if methods is None else methods
    names = ("student", "method", "seed", *DIALS, "score")
    found = [
        ("a", method, seed, *place, percent / 100)
        for method, cells in methods.items()
        for place, seeds in cells.items()
        for seed, percent in seeds.items()
    ]
    found += [
        ("b", "alone", seed, *place, 0.99) for place in PLACES for seed in ALONE
    ]
    # One run of the student alone, at one place, may serve all cells.
    found += [
        ("a", "alone", seed, *place, percent / 100)
        for place in (PLACES if everywhere else PLACES[2:3])
        for seed, percent in ALONE.items()
    ]
    return pd.DataFrame(found, columns=names)


def differences(*args, **kwargs):
    return report.map_differences(runs(*args, **kwargs), DIALS, "a")


def points(summary):
    return [round(100 * summary.mean, 9), summary.count]


@pytest.mark.parametrize("everywhere", [True, False])
def test_differences_are_paired_by_seed(everywhere):
    maps = differences(everywhere=everywhere)
    assert list(maps) == ["kd minus alone", "c2kd minus alone", "c2kd minus kd"]
    cells = report.summaries(maps, DIALS)
    kd = cells["kd minus alone"]
    # 1, 2, 3: mean 2, deviation 1; t, 2 degrees of freedom: 4.3026527.
    first = kd[-1, 0.0]
    assert points(first) == [2, 3]
    assert 100 * first.std == pytest.approx(1)
    half = 4.3026527 / math.sqrt(3)
    assert 100 * first.low == pytest.approx(2 - half, abs=1e-6)
    assert [points(kd[place])[0] for place in PLACES] == [2, 5, 0, -5]
    assert {points(x)[0] for x in cells["c2kd minus kd"]} == {2.01}


def test_means_over_cells_are_taken_within_the_seeds():
    maps = differences({"kd": KD})
    # By seed: (1 + 5 + 0 - 5) / 4, (2 + 4 - 1 - 6) / 4, (3 + 6 + 1 - 4) / 4.
    expected = summarize([0.0025, -0.0025, 0.015])
    (over_all,) = report.summaries(maps, []).iloc[0]
    assert over_all.mean == pytest.approx(expected.mean)
    assert over_all.low == pytest.approx(expected.low)
    rows, columns = (report.summaries(maps, [d]).iloc[:, 0] for d in DIALS)
    assert [points(x) for x in rows] == [[3.5, 3], [-2.5, 3]]
    assert [points(x) for x in columns] == [[1, 3], [0, 3]]


def frame(values):
    """Differences of one map, a cell each."""
    return pd.concat(
        {
            (number, 0): pd.DataFrame(
                {"map": cell}, index=pd.Index(range(len(cell)), name="seed")
            )
            for number, cell in enumerate(values)
        },
        names=DIALS,
    )


def test_what_stands_is_found_by_benjamini_and_hochberg():
    """By hand: ranked p-values below 0.05 * rank / number."""
    clear, near = [0.10, 0.11, 0.12, 0.11], [0.02, 0.05, 0.03, 0.06]
    weak, none = [0.01, 0.05, 0.02, 0.00], [0.01, -0.01, 0.02, -0.02]
    p = [stats.ttest_1samp(x, 0).pvalue for x in (clear, near, weak, none)]
    assert p[0] < 0.05 / 4 and p[1] < 0.05 * 2 / 4
    assert 0.05 * 3 / 4 < p[2] and 0.05 < p[3]
    found = report.standing(frame([clear, near, weak, none]), DIALS)
    assert list(found["map"]) == [True, True, False, False]
    # Alone, `near` has 0.02 to cross 0.05; among 19 others that are chance,
    # it does not stand any more.
    assert summarize(near).low > 0
    assert not report.standing(frame([near] + [none] * 19), DIALS).any(
        axis=None
    )


@pytest.mark.parametrize("cell", [[0.5], [0.5, 0.6], [0.25, 0.25, 0.25]])
def test_without_an_interval_nothing_stands(cell):
    assert not report.standing(frame([cell]), DIALS).any(axis=None)


def test_a_missing_seed_is_refused():
    some = {**KD, (1, 0.5): {0: 45, 2: 66}}
    message = r"has the seeds \[0, 1, 2\].*\[0, 2\].*kd.*\(1, 0.5\)"
    with pytest.raises(ValueError, match=message):
        differences({"kd": some})


def test_the_text_counts_by_the_intervals():
    text = report.describe_maps(differences({"kd": KD}), DIALS)
    assert "paired over 3 seeds" in text and "all 4 cells of all maps" in text
    # -5, -6, -4 and 5, 4, 6: p = 0.013 each, below 0.05 * 2 / 4.
    assert (
        "- kd minus alone: above 0 in 1 (1) of 4 cells, below in 1 (1); "
        "over all cells +0.5 [-1.7, +2.7]; highest +5.0 at gap -1, twist 0.5; "
        "lowest -5.0 at gap 1, twist 0.5."
    ) in text


def words_of(table):
    return [
        [word.strip() for word in line.split("|")[1:-1]]
        for line in table.splitlines()
        if line.startswith("|")
    ]


def test_tables_have_all_numbers_and_bold_is_what_stands():
    maps = differences()
    words = words_of(report.cell_table(maps, DIALS))
    titles = ["kd minus alone", "c2kd minus alone", "c2kd minus kd"]
    assert words[0] == [*DIALS, *titles]
    assert len(words) == 2 + 4
    assert words[2][:3] == ["-1", "0", "+2.0 [-0.5, +4.5]"]
    assert words[3][:3] == ["-1", "0.5", "**+5.0 [+2.5, +7.5]**"]
    assert words[2][4] == "**+2.0 [+2.0, +2.0]**"
    words = words_of(report.level_table(maps, DIALS))
    assert [line[0] for line in words[2:]] == [
        "gap -1", "gap 1", "twist 0", "twist 0.5",
    ]  # fmt: skip
    assert words[2][1].startswith("+3.5 [")


# The pictures.


@pytest.fixture
def figures(monkeypatch):
    """The figures that are saved, as well as the files."""
    figure_module = pytest.importorskip("matplotlib.figure")
    found, save = [], figure_module.Figure.savefig

    def note(figure, *args, **kwargs):
        found.append(figure)
        save(figure, *args, **kwargs)

    monkeypatch.setattr(figure_module.Figure, "savefig", note)
    return found


def drawn_cells(*cells):
    index = pd.MultiIndex.from_tuples(PLACES, names=DIALS)
    return pd.DataFrame({"kd": list(map(summarize, cells))}, index=index)


# A gain that stands, one that does not, a loss that stands, and noise.
CELLS = drawn_cells(
    [0.10, 0.11, 0.12],
    [0.02, 0.03, 0.04],
    [-0.08, -0.09, -0.10],
    [-0.05, 0.01, 0.052],
)
STANDS = CELLS.map(lambda x: abs(x.mean) > 0.05)


def test_cells_have_their_number_and_their_mark(figures, tmp_path):
    report.draw_maps(CELLS, STANDS, tmp_path / "new" / "maps.png")
    panel = figures[0].axes[0]
    texts = {text.get_position(): text for text in panel.texts}
    assert {place: text.get_text() for place, text in texts.items()} == {
        (0, 0): "+11.0", (1, 0): "+3.0", (0, 1): "-9.0", (1, 1): "+0.4",
    }  # fmt: skip
    weights = {place: text.get_fontweight() for place, text in texts.items()}
    assert weights.pop((1, 1)) == "normal"
    assert set(weights.values()) == {"bold"}
    hatched = [p.get_xy() for p in panel.patches if p.get_hatch()]
    framed = [p.get_xy() for p in panel.patches if not p.get_hatch()]
    assert hatched == [(0.5, 0.5)]
    np.testing.assert_allclose(sorted(framed), [(-0.46, -0.45), (-0.46, 0.55)])
    assert panel.get_title() == "kd"
    assert (panel.get_ylabel(), panel.get_xlabel()) == ("gap", "twist")
    for axis, labels in (("x", ["0", "0.5"]), ("y", ["-1", "1"])):
        ticks = getattr(panel, f"get_{axis}ticklabels")()
        assert [label.get_text() for label in ticks] == labels
    # Of 11, 3, 9 and 0.4 the 75% quantile is 9 + 0.25 * 2, and 10 whole.
    assert panel.images[0].get_clim() == (-10, 10)
    assert "Hatched: the 95% interval" in figures[0].get_supxlabel()
    assert (tmp_path / "new" / "maps.png").stat().st_size > 5_000


def test_colours_are_the_same_in_all_maps_and_white_at_none(figures, tmp_path):
    two = CELLS.assign(c2kd=CELLS["kd"])
    report.draw_maps(
        two, two.map(lambda x: False), tmp_path / "maps.png", limit=6
    )
    images = [panel.images[0] for panel in figures[0].axes[:2]]
    assert {image.get_clim() for image in images} == {(-6, 6)}
    colour = images[0].cmap
    np.testing.assert_allclose(colour(0.5), 1, atol=0.01)
    # In grey, a loss is darker than an equal gain.
    grey = [np.dot(colour(x)[:3], [0.299, 0.587, 0.114]) for x in (0.0, 1.0)]
    assert grey[0] < grey[1] - 0.15


def test_one_seed_is_noise(figures, tmp_path):
    cells = drawn_cells(*[[0.05]] * 4)
    report.draw_maps(cells, cells.map(lambda x: False), tmp_path / "maps.png")
    patches = figures[0].axes[0].patches
    assert all(patch.get_hatch() for patch in patches) and len(patches) == 4


def test_dials_are_named_in_words(figures, tmp_path):
    index = pd.MultiIndex.from_product(
        [(1.0, 2.0), (3.0, 4.0)], names=["imbalance", "misalignment"]
    )
    names = ["first", "second", "third", "fourth"]
    numbers = pd.DataFrame({n: [0.1, 0.1, 0.2, 0.2] for n in names}, index)
    report.draw_numbers(numbers, tmp_path / "numbers.png")
    panels = [panel for panel in figures[0].axes if panel.get_visible()]
    assert [panel.get_title() for panel in panels] == names
    texts = [text.get_text() for text in panels[3].texts]
    assert texts == ["0.10", "0.10", "0.20", "0.20"]
    assert panels[0].get_xlabel() == "misalignment (fraction of classes)"
    assert panels[0].get_ylabel() == "imbalance (+: weaker teacher)"
