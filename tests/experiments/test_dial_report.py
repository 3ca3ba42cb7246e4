"""The statistics of a study over two dials, against values by hand."""

import math

import pytest

from keras_c2kd.experiments import dial_report
from keras_c2kd.experiments import summarize
from keras_c2kd.experiments.dial_report import map_differences

pytestmark = pytest.mark.backend_free

DIALS = ("gap", "twist")
PLACES = [(gap, twist) for gap in (-1, 1) for twist in (0.0, 0.5)]
# Student's accuracies in percent: alone, and by method and place, by seed.
ALONE = {0: 50, 1: 60, 2: 70}
KD = {
    (-1, 0.0): {0: 51, 1: 62, 2: 73},
    (-1, 0.5): {0: 55, 1: 64, 2: 76},
    (1, 0.0): {0: 50, 1: 59, 2: 71},
    (1, 0.5): {0: 45, 1: 54, 2: 66},
}
C2KD = {place: {s: x + 2 for s, x in KD[place].items()} for place in PLACES}


def rows(methods=None, student_data="same"):
    """Return rows as those of finished runs, in no order of their own."""
    methods = {"kd": KD, "c2kd": C2KD} if methods is None else methods

    def row(student, method, seed, place, percent, data):
        return {
            "student": student,
            "method": method,
            "seed": seed,
            "gap": place[0],
            "twist": place[1],
            "score": percent / 100,
            "student_data": f"{seed}, {data}",
        }

    found = [
        row("a", method, seed, place, percent, student_data)
        for method, cells in methods.items()
        for place, seeds in cells.items()
        for seed, percent in seeds.items()
    ]
    found += [
        row("b", "without-kd", seed, place, 99, student_data)
        for place in PLACES
        for seed in ALONE
    ]
    # One run of the student alone, at one place, serves all cells.
    found += [
        row("a", "without-kd", seed, PLACES[2], percent, "same")
        for seed, percent in ALONE.items()
    ]
    return found


def points(summary):
    return [round(100 * summary.mean, 9), summary.count]


def test_differences_are_paired_by_seed():
    maps = map_differences(rows(), DIALS, "a")
    assert list(maps) == [
        "kd minus without-kd",
        "c2kd minus without-kd",
        "c2kd minus kd",
    ]
    kd = maps["kd minus without-kd"].cells
    # 1, 2, 3: mean 2, deviation 1; t, 2 degrees of freedom: 4.3026527.
    first = kd[-1, 0.0].difference
    assert points(first) == [2, 3]
    assert 100 * first.deviation == pytest.approx(1)
    half = 4.3026527 / math.sqrt(3)
    assert 100 * first.low == pytest.approx(2 - half, abs=1e-6)
    assert [points(kd[place].difference)[0] for place in PLACES] == [
        2, 5, 0, -5,
    ]  # fmt: skip
    assert [kd[place].sign for place in PLACES] == [0, 1, 0, -1]
    between = maps["c2kd minus kd"].cells
    assert {points(cell.difference)[0] for cell in between.values()} == {2}


def test_means_over_cells_are_taken_within_the_seeds():
    found = map_differences(rows({"kd": KD}), DIALS, "a")["kd minus without-kd"]
    # By seed: (1 + 5 + 0 - 5) / 4, (2 + 4 - 1 - 6) / 4, (3 + 6 + 1 - 4) / 4.
    expected = summarize([0.0025, -0.0025, 0.015])
    assert found.over_all.mean == pytest.approx(expected.mean)
    assert found.over_all.low == pytest.approx(expected.low)
    assert found.over_all.count == 3
    assert points(found.by_row[-1]) == [3.5, 3]
    assert points(found.by_row[1]) == [-2.5, 3]
    assert points(found.by_column[0.0]) == [1, 3]
    assert points(found.by_column[0.5]) == [0, 3]


def test_what_stands_is_found_by_benjamini_and_hochberg():
    """By hand: ranked p-values below 0.05 * rank / number."""
    stats = pytest.importorskip("scipy.stats")
    values = {
        "clear": [0.10, 0.11, 0.12, 0.11],
        "near": [0.02, 0.05, 0.03, 0.06],
        "weak": [0.01, 0.05, 0.02, 0.00],
        "none": [0.01, -0.01, 0.02, -0.02],
    }
    p = {k: stats.ttest_1samp(v, 0).pvalue for k, v in values.items()}
    assert p["clear"] < 0.05 / 4 and p["near"] < 0.05 * 2 / 4
    assert 0.05 * 3 / 4 < p["weak"] and 0.05 < p["none"]
    summaries = [summarize(v) for v in values.values()]
    assert dial_report._standing(summaries) == [True, True, False, False]
    found = [dial_report._probability(s, stats) for s in summaries]
    assert found == pytest.approx(list(p.values()))
    # Alone, `near` has 0.02 to cross 0.05; among 19 others that are chance,
    # it does not stand any more.
    crowd = [summarize(values["near"])] + [summarize(values["none"])] * 19
    assert summarize(values["near"]).low > 0
    assert not any(dial_report._standing(crowd))


def test_equal_differences_and_single_seeds_have_a_probability():
    stats = pytest.importorskip("scipy.stats")
    probability = [
        dial_report._probability(summarize(values), stats)
        for values in ([0.5], [0.0, 0.0], [0.25, 0.25])
    ]
    assert probability == [1.0, 1.0, 0.0]


def test_one_seed_stands_nowhere():
    one = {place: {0: seeds[0]} for place, seeds in KD.items()}
    alone = [
        row for row in rows({"kd": one}) if row["seed"] == 0
    ]  # fmt: skip
    cells = map_differences(alone, DIALS, "a")["kd minus without-kd"].cells
    assert not any(cell.stands or cell.sign for cell in cells.values())


def test_other_data_of_the_student_are_refused():
    with pytest.raises(ValueError, match="must not depend on the dials.*kd"):
        map_differences(rows(student_data="other"), DIALS, "a")


def test_a_missing_seed_is_refused():
    some = {**KD, (1, 0.5): {0: 45, 2: 66}}
    message = r"has the seeds \[0, 1, 2\].*\[0, 2\].*kd.*\(1, 0.5\)"
    with pytest.raises(ValueError, match=message):
        map_differences(rows({"kd": some}), DIALS, "a")


def test_the_text_counts_by_the_intervals():
    maps = map_differences(rows({"kd": KD}), DIALS, "a")
    text = dial_report.describe_maps(maps, DIALS, 3)
    assert "paired over 3 seeds" in text and "all 4 cells of all maps" in text
    # -5, -6, -4 and 5, 4, 6: p = 0.013 each, below 0.05 * 2 / 4.
    assert (
        "- kd minus without-kd: above 0 in 1 (1) of 4 cells, below in 1 (1); "
        "over all cells +0.5 [-1.7, +2.7]; highest +5.0 at gap -1, twist 0.5; "
        "lowest -5.0 at gap 1, twist 0.5."
    ) in text


def test_tables_have_all_numbers_and_bold_is_what_stands():
    maps = map_differences(rows(), DIALS, "a")
    lines = dial_report.cell_table(maps, DIALS).splitlines()
    assert lines[0] == (
        "| gap | twist | kd minus without-kd | c2kd minus without-kd | "
        "c2kd minus kd |"
    )
    assert len([line for line in lines if line.startswith("|")]) == 2 + 4
    assert lines[2].startswith("| -1 | 0 | +2.0 [-0.5, +4.5] | ")
    assert lines[3].startswith("| -1 | 0.5 | **+5.0 [+2.5, +7.5]** | ")
    assert lines[2].endswith("| **+2.0 [+2.0, +2.0]** |")
    levels = dial_report.level_table(maps, DIALS).splitlines()
    assert [line.split(" | ")[0] for line in levels[2:]] == [
        "| gap -1",
        "| gap 1",
        "| twist 0",
        "| twist 0.5",
    ]
    assert levels[2].split(" | ")[1].startswith("+3.5 [")
