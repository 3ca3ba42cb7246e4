"""Tables of the paper, filled with records of runs that never were."""

import csv
import io

import pytest

from keras_c2kd.experiments.paper import TABLES
from keras_c2kd.experiments.paper_tables import fill_table
from keras_c2kd.experiments.paper_tables import for_other_data
from keras_c2kd.experiments.ranking import Place
from keras_c2kd.experiments.sheets import as_csv
from keras_c2kd.experiments.sheets import as_latex
from keras_c2kd.experiments.sheets import as_markdown
from keras_c2kd.experiments.sheets import as_terminal
from keras_c2kd.experiments.table_sheets import describe_records
from keras_c2kd.experiments.table_sheets import headings
from keras_c2kd.experiments.table_sheets import table_sheets
from keras_c2kd.experiments.table_sheets import table_values
from tests.experiments.made_records import made_record
from tests.recipes.loading import load_recipe

pytestmark = pytest.mark.backend_free


@pytest.fixture(scope="module")
def ave():
    return load_recipe("ave").RECIPE


def records_of(recipe, student="visual", **scores):
    """Records of some methods, from their scores by seed."""
    return [
        made_record(recipe, method.replace("_", "-"), student, seed, score)
        for method, values in scores.items()
        for seed, score in enumerate(values)
    ]


def cell(filled, label, index=0):
    """The cell of a row in a column."""
    (found,) = [c for row, c in filled.column(index) if row.label == label]
    return found


def test_a_cell_against_values_computed_by_hand(ave):
    records = records_of(
        ave, without_kd=(0.30, 0.31, 0.35), kd=(0.33, 0.33, 0.36)
    )
    filled = fill_table(TABLES[1], {"ave": records})
    kd = cell(filled, "KD")
    assert kd.measured.mean == pytest.approx(0.34)
    assert kd.measured.deviation == pytest.approx(0.03 / 3**0.5)
    # Paired: 0.03, 0.02 and 0.01.
    assert kd.difference.mean == pytest.approx(0.02)
    assert kd.difference.deviation == pytest.approx(0.01)
    assert kd.printed.value == pytest.approx(0.323)
    assert kd.printed.deviation == pytest.approx(0.0035)
    assert kd.printed_difference == pytest.approx(0.007)
    assert kd.to_printed.mean == pytest.approx(0.017)
    # t(2) = 4.3026527: the half width 0.0248 is above the mean.
    assert kd.difference.low == pytest.approx(0.02 - 0.0248414, abs=1e-6)
    assert kd.place is None
    alone = cell(filled, "w/o KD")
    assert alone.difference is None and alone.printed_difference is None
    for index in (1, 2, 3):
        assert cell(filled, "KD", index).measured is None
        assert cell(filled, "KD", index).printed is not None


def test_each_column_takes_its_own_direction_and_networks(ave):
    visual = made_record(ave, "kd", "visual", 0, 0.1)
    audio = made_record(ave, "kd", "audio", 0, 0.2)
    other = made_record(ave, "kd", "visual", 0, 0.9, student_network="small")
    taught = made_record(ave, "kd", "visual", 0, 0.9, teacher_network="small")
    records = [other, visual, taught, audio]
    filled = fill_table(TABLES[3], {"ave": records, "crema_d": []})
    found = [cell(filled, "KD", index).measured for index in range(8)]
    assert [x and x.mean for x in found] == [
        None, None, 0.1, 0.2, None, None, None, None,
    ]  # fmt: skip


def test_segmentation_columns_differ_in_the_networks_alone():
    recipe = load_recipe("nyu_depth_v2").RECIPE
    records = [
        made_record(
            recipe, "kd", "rgb", 0, 0.3, teacher_network="mobilenet_v2"
        ),
        made_record(
            recipe, "without-kd", "rgb", 0, 0.2, student_network="resnet18"
        ),
    ]
    filled = fill_table(TABLES[4], {"nyu_depth_v2": records})
    kd = [cell(filled, "KD", index).measured for index in range(6)]
    assert [x and x.mean for x in kd] == [None, None, 0.3, None, None, None]
    # A network that trains alone stands in both columns of its kind.
    alone = [cell(filled, "w/o KD", index).measured for index in range(6)]
    assert [x and x.mean for x in alone] == [0.2, None, 0.2, None, None, None]
    assert len(set(headings(TABLES[4]))) == 6


def test_probabilities_and_references_of_table_2(ave):
    records = records_of(
        ave, without_kd=(0.3,), nckd=(0.4,), **{"nckd+krc": (0.45,)}
    )
    records[0]["test"]["target_probability"] = 0.355
    filled = fill_table(TABLES[2], {"ave": records})
    probability = cell(filled, "proba.")
    assert probability.measured.mean == 0.355
    assert probability.printed.value == 0.355
    assert probability.difference is None and probability.place is None
    krc = cell(filled, "NCKD +KRC")
    assert krc.difference.mean == pytest.approx(0.05)
    assert krc.printed_difference == pytest.approx(0.012)
    # Records of an older version have no probability.
    del records[0]["test"]["target_probability"]
    filled = fill_table(TABLES[2], {"ave": records})
    assert cell(filled, "proba.").measured is None
    assert cell(filled, "w/o KD").measured.mean == 0.3


def test_teachers_of_table_7(ave):
    records = [
        made_record(ave, "nkd", "visual", 0, 0.3, teacher_after=0.5),
        made_record(ave, "film", "visual", 0, 0.4, teacher_after=0.6),
        made_record(ave, "ogm-ge", "visual", 0, 0.9),
    ]
    filled = fill_table(TABLES[7], {"ave": records})
    assert cell(filled, "NKD +FiLM", 0).measured.mean == 0.4
    assert cell(filled, "NKD +FiLM", 1).measured.mean == 0.6
    assert cell(filled, "NKD +FiLM", 0).difference.mean == pytest.approx(0.1)
    assert cell(filled, "NKD +FiLM", 1).difference is None
    assert cell(filled, "NKD +OGM", 0).measured is None
    assert headings(filled.table)[:2] == [
        "AVE, visual",
        "AVE, teacher of visual",
    ]


def test_self_distillation_has_no_teacher(ave):
    filled = fill_table(TABLES[6], {"ave": records_of(ave, dlb=(0.4, 0.5))})
    assert cell(filled, "DLB").measured.count == 2


def test_places_are_those_of_students_in_one_column(ave):
    records = records_of(
        ave,
        without_kd=(0.30, 0.31, 0.32),
        kd=(0.40, 0.41, 0.42),
        c2kd=(0.50, 0.51, 0.52),
    )
    records += records_of(ave, "audio", kd=(0.4, 0.5, 0.6))
    filled = fill_table(TABLES[1], {"ave": records})
    assert cell(filled, "Ours").place == Place(1, False)
    assert cell(filled, "KD").place == Place(2, False)
    assert cell(filled, "w/o KD").place is None
    assert cell(filled, "KD", 1).place is None
    text = as_markdown(table_sheets(filled))
    assert "| **51.0 +- 1.0** |" in text and "| <u>41.0 +- 1.0</u> |" in text
    text = as_latex(table_sheets(filled))
    assert r"\textbf{51.0 $\pm$ 1.0}" in text
    assert r"\underline{41.0 $\pm$ 1.0}" in text
    text = as_terminal(table_sheets(filled))
    assert "51.0 +- 1.0 (1)" in text and "41.0 +- 1.0 (2)" in text


def test_a_shared_place_is_no_win(ave):
    records = records_of(
        ave,
        without_kd=(0.10, 0.11, 0.10),
        kd=(0.50, 0.40, 0.46),
        c2kd=(0.40, 0.50, 0.47),
    )
    sheets = table_sheets(fill_table(TABLES[1], {"ave": records}))
    assert "45.3 +- 5.0 (1=)" in as_terminal(sheets)
    assert "**" not in as_markdown(sheets)
    assert "textbf" not in as_latex(sheets)


def test_rows_that_are_shown_keep_their_references(ave):
    records = records_of(ave, without_kd=(0.3, 0.4), c2kd=(0.5, 0.6))
    filled = fill_table(TABLES[1], {"ave": records}, rows={"c2kd"})
    assert [row.label for row in filled.table.rows] == ["Ours"]
    assert cell(filled, "Ours").difference.mean == pytest.approx(0.2)
    assert "without-kd" in as_terminal(table_sheets(filled))


def test_places_are_among_the_rows_that_are_shown(ave):
    """The baseline is the best of all, and is not shown."""
    records = records_of(
        ave,
        without_kd=(0.90, 0.91, 0.92),
        kd=(0.50, 0.52, 0.51),
        nkd=(0.60, 0.61, 0.63),
        c2kd=(0.70, 0.72, 0.71),
    )
    places = {}
    for rows in (None, {"kd", "nkd", "c2kd"}):
        filled = fill_table(TABLES[1], {"ave": records}, rows=rows)
        places[rows is None] = {
            row.method: str(found.place)
            for row, found in filled.column(0)
            if found.measured
        }
        # The difference to the baseline needs no row of it.
        assert cell(filled, "KD").difference.mean == pytest.approx(-0.4)
    assert places == {
        True: {"without-kd": "1", "kd": "None", "nkd": "None", "c2kd": "2"},
        False: {"kd": "None", "nkd": "2", "c2kd": "1"},
    }


def test_other_data_have_none_of_the_paper_s_numbers():
    recipe = load_recipe("av_digits").RECIPE
    table = for_other_data(TABLES[5], [recipe])
    records = [made_record(recipe, "c2kd-b", "audio", 0, 0.6)]
    filled = fill_table(table, {"av_digits": records}, is_comparable=False)
    assert headings(filled.table) == ["av_digits, image", "av_digits, audio"]
    assert cell(filled, "(b)", 1).measured.mean == 0.6
    assert cell(filled, "(b)", 1).printed is None
    text = as_terminal(table_sheets(filled))
    assert "paper's numbers are left out" in text and "CVPR" not in text
    lines = [line.split() for line in text.splitlines()]
    assert ["method", "Proxy", "OFS", "NT", "BD"] == lines[1][:5]
    assert [
        "(d)",
        "x",
        "x",
        "x",
        "x",
        "measured",
        "missing",
        "missing",
    ] in lines
    assert "paper" not in as_csv(table_values(filled)).splitlines()[0]


def test_all_forms_tell_the_same(ave):
    records = records_of(ave, without_kd=(0.3, 0.4), kd=(0.35, 0.47))
    filled = fill_table(TABLES[1], {"ave": records})
    notes = [describe_records(ave, records)]
    sheets = table_sheets(filled, notes)
    texts = {
        "terminal": as_terminal(sheets),
        "Markdown": as_markdown(sheets),
        "LaTeX": as_latex(sheets).replace(r"$\pm$", "+-"),
    }
    kd = cell(filled, "KD").difference
    for form, text in texts.items():
        plain = text.replace("\\", "").replace("$", "").replace("{", "")
        plain = " ".join(plain.replace("}", "").split())
        for expected in (
            "35.0 +- 7.1",
            "41.0 +- 8.5",
            f"{100 * kd.mean:+.1f} [{100 * kd.low:+.1f}, {100 * kd.high:+.1f}]",
            "32.3 +- 0.35",
            "+0.7",
            "missing",
            "Huo et al., CVPR 2024, Table 1",
            "made up",
            "backend jax",
            "seeds 0, 1",
            "100 epochs",
            "The paper contradicts itself",
        ):
            assert expected in plain, (form, expected)
    rows = list(csv.DictReader(io.StringIO(as_csv(table_values(filled)))))
    assert len(rows) == 36
    key = ("kd", "visual", "AVE")
    (row,) = [
        row
        for row in rows
        if (row["method"], row["student"], row["data_set"]) == key
    ]
    assert float(row["measured"]) == pytest.approx(0.41)
    assert float(row["difference_low"]) == pytest.approx(kd.low)
    assert float(row["paper"]) == pytest.approx(0.323)
    assert (row["measured_seeds"], row["reference"]) == ("2", "without-kd")
    missing = [r for r in rows if r["state"] == "missing"]
    assert len(missing) == 34
    assert {r["measured"] for r in missing} == {""}


def test_the_protocol_says_what_was_changed(ave):
    records = [made_record(ave, "kd", "visual", 3, 0.5, epochs=12)]
    text = describe_records(ave, records)
    assert "the last of 12 epochs" in text and "epochs=12 (100)" in text
    assert "seeds 3" in text and "backend jax" in text
    records[0]["data"]["missing"] = [{"name": "x", "reason": "gone"}]
    assert "1 left out" in describe_records(ave, records)
