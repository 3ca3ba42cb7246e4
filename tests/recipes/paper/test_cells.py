"""Tables of the paper, filled with records of runs that never were."""

import csv
import io
import math

import pytest

from tests.recipes.paper.loading import load
from tests.recipes.paper.loading import recipe_of
from tests.recipes.paper.made_records import made_record

pytestmark = pytest.mark.backend_free

cells = load("cells")
sheets = load("sheets")
tables = load("tables")
TABLES = load("printed").TABLES
# Student's t, 2 degrees of freedom, 97.5% (printed tables).
QUANTILE = 4.3026527


@pytest.fixture(scope="module")
def ave():
    return recipe_of("ave")


def records_of(recipe, student="visual", **scores):
    """Records of some methods, from their scores by seed."""
    return [
        made_record(recipe, method, student, seed, score)
        for method, values in scores.items()
        for seed, score in enumerate(values)
    ]


def fill(number, records, **kwargs):
    return cells.fill(TABLES[number].cells(), records, **kwargs)


def cell(filled, label, column=0):
    """The cell of a row in a column."""
    is_it = (filled["label"] == label) & (filled["column"] == column)
    (found,) = filled[is_it].to_dict("records")
    return found


def means(filled, label):
    found = filled.loc[filled["label"] == label, "measured_mean"]
    return [None if math.isnan(x) else x for x in found]


def texts(number, filled, notes=()):
    found = tables.lay_out(TABLES[number], filled, notes)
    return [
        "\n".join(form(*sheet) for sheet in found)
        for form in (sheets.as_text, sheets.as_markdown, sheets.as_latex)
    ]


def test_a_cell_against_values_computed_by_hand(ave):
    records = records_of(ave, alone=(0.30, 0.31, 0.35), kd=(0.33, 0.33, 0.36))
    filled = fill(1, {"ave": records})
    kd = cell(filled, "KD")
    assert kd["measured_mean"] == pytest.approx(0.34)
    assert kd["measured_std"] == pytest.approx(0.03 / 3**0.5)
    # Paired: 0.03, 0.02 and 0.01.
    assert kd["difference_mean"] == pytest.approx(0.02)
    assert kd["difference_std"] == pytest.approx(0.01)
    assert kd["paper"] == pytest.approx(0.323)
    assert kd["paper_std"] == pytest.approx(0.0035)
    assert kd["paper_difference"] == pytest.approx(0.007)
    assert kd["minus_paper_mean"] == pytest.approx(0.017)
    # t(2) = 4.3026527: the half width 0.0248 is above the mean.
    assert kd["difference_low"] == pytest.approx(0.02 - 0.0248414, abs=1e-6)
    assert kd["place"] == ""
    alone = cell(filled, "w/o KD")
    assert math.isnan(alone["difference_mean"])
    assert math.isnan(alone["paper_difference"])
    for column in (1, 2, 3):
        assert math.isnan(cell(filled, "KD", column)["measured_mean"])
        assert not math.isnan(cell(filled, "KD", column)["paper"])


def test_each_column_takes_its_own_direction_and_networks(ave):
    visual = made_record(ave, "kd", "visual", 0, 0.1)
    audio = made_record(ave, "kd", "audio", 0, 0.2)
    other = made_record(ave, "kd", "visual", 0, 0.9, student_network="small")
    taught = made_record(ave, "kd", "visual", 0, 0.9, teacher_network="small")
    records = [other, visual, taught, audio]
    filled = fill(3, {"ave": records, "crema_d": []})
    assert means(filled, "KD") == [None, None, 0.1, 0.2, *[None] * 4]


def test_segmentation_columns_differ_in_the_networks_alone():
    recipe = recipe_of("nyu_depth_v2")
    records = [
        made_record(
            recipe, "kd", "rgb", 0, 0.3, teacher_network="mobilenet_v2"
        ),
        made_record(recipe, "alone", "rgb", 0, 0.2, student_network="resnet18"),
    ]
    filled = fill(4, {"nyu_depth_v2": records})
    assert means(filled, "KD") == [None, None, 0.3, None, None, None]
    # A network that trains alone stands in both columns of its kind.
    assert means(filled, "w/o KD") == [0.2, None, 0.2, None, None, None]
    assert cells.headings(filled).is_unique


def test_probabilities_and_references_of_table_2(ave):
    records = records_of(
        ave, alone=(0.3,), nckd=(0.4,), **{"nckd+krc": (0.45,)}
    )
    records[0]["test"]["target_probability"] = 0.355
    filled = fill(2, {"ave": records})
    probability = cell(filled, "proba.")
    assert probability["measured_mean"] == probability["paper"] == 0.355
    assert cells.measured_text(probability) == "0.355"
    assert probability["place"] == ""
    assert math.isnan(probability["difference_mean"])
    krc = cell(filled, "NCKD +KRC")
    assert krc["difference_mean"] == pytest.approx(0.05)
    assert krc["paper_difference"] == pytest.approx(0.012)
    # Not every record has a probability.
    del records[0]["test"]["target_probability"]
    filled = fill(2, {"ave": records})
    assert cells.measured_text(cell(filled, "proba.")) == "missing"
    assert cell(filled, "w/o KD")["measured_mean"] == 0.3


def test_teachers_of_table_7(ave):
    records = [
        made_record(ave, "nkd", "visual", 0, 0.3, teacher_after=0.5),
        made_record(ave, "film", "visual", 0, 0.4, teacher_after=0.6),
        made_record(ave, "ogm_ge", "visual", 0, 0.9),
    ]
    filled = fill(7, {"ave": records})
    student, teacher = (cell(filled, "NKD +FiLM", x) for x in (0, 1))
    assert (student["measured_mean"], teacher["measured_mean"]) == (0.4, 0.6)
    assert student["difference_mean"] == pytest.approx(0.1)
    assert math.isnan(teacher["difference_mean"])
    assert math.isnan(cell(filled, "NKD +OGM")["measured_mean"])
    assert list(cells.headings(filled))[:2] == [
        "AVE, visual",
        "AVE, teacher of visual",
    ]


def test_self_distillation_has_no_teacher(ave):
    filled = fill(6, {"ave": records_of(ave, dlb=(0.4, 0.5))})
    assert cell(filled, "DLB")["measured_count"] == 2


def test_places_are_those_of_students_in_one_column(ave):
    records = records_of(
        ave,
        alone=(0.30, 0.31, 0.33),
        kd=(0.40, 0.41, 0.42),
        c2kd=(0.50, 0.52, 0.53),
    )
    records += records_of(ave, "audio", kd=(0.4, 0.5, 0.6))
    filled = fill(1, {"ave": records})
    places = [cell(filled, x)["place"] for x in ("Ours", "KD", "w/o KD")]
    assert places == ["1", "2", ""]
    assert cell(filled, "KD", 1)["place"] == ""
    text, markdown, latex = texts(1, filled)
    assert "**51.7 +- 1.5**" in markdown and "<u>41.0 +- 1.0</u>" in markdown
    assert r"\textbf{51.7 $\pm$ 1.5}" in latex
    assert r"\underline{41.0 $\pm$ 1.0}" in latex
    assert "51.7 +- 1.5 (1)" in text and "41.0 +- 1.0 (2)" in text


def test_a_shared_place_is_no_win(ave):
    records = records_of(
        ave,
        alone=(0.10, 0.11, 0.10),
        kd=(0.50, 0.40, 0.46),
        c2kd=(0.40, 0.50, 0.47),
    )
    text, markdown, latex = texts(1, fill(1, {"ave": records}))
    assert "45.3 +- 5.0 (1=)" in text
    assert "**" not in markdown and "textbf" not in latex


def test_places_are_among_the_rows_that_are_shown(ave):
    """The baseline is the best of all, and is not shown."""
    records = records_of(
        ave,
        alone=(0.90, 0.91, 0.92),
        kd=(0.50, 0.52, 0.53),
        nkd=(0.60, 0.61, 0.63),
        c2kd=(0.70, 0.72, 0.71),
    )
    places = {}
    for shown in (None, {"kd", "nkd", "c2kd"}):
        filled = fill(1, {"ave": records}, shown=shown)
        found = filled[filled["measured_mean"].notna()]
        places[shown is None] = dict(zip(found["method"], found["place"]))
        # The difference to the baseline needs no row of it.
        difference = cell(filled, "KD")["difference_mean"]
        assert difference == pytest.approx(-0.39333333)
    assert places == {
        True: {"alone": "1", "kd": "", "nkd": "", "c2kd": "2"},
        False: {"kd": "", "nkd": "2", "c2kd": "1"},
    }
    assert "alone" in texts(1, filled)[0]


def test_other_data_have_none_of_the_paper_s_numbers():
    recipe = recipe_of("av_digits")
    table = TABLES[5].for_other_data([recipe])
    records = [made_record(recipe, "c2kd-b", "audio", 0, 0.6)]
    filled = cells.fill(table, {"av_digits": records})
    names = list(cells.headings(filled))
    assert names == ["av_digits, image", "av_digits, audio"]
    assert cell(filled, "(b)", 1)["measured_mean"] == 0.6
    text = texts(5, filled)[0]
    assert "paper's numbers are left out" in text and "CVPR" not in text
    lines = [line.split() for line in text.splitlines()]
    assert ["method", "Proxy", "OFS", "NT", "BD"] == lines[2][:5]
    row = ["(d)", *"xxxx", "measured", "missing", "missing"]
    assert row in lines
    assert not any("paper" in name for name in tables.as_numbers(5, filled))


def test_all_forms_tell_the_same(ave):
    records = records_of(ave, alone=(0.3, 0.4, 0.33), kd=(0.35, 0.47, 0.36))
    filled = fill(1, {"ave": records})
    options = load("reproduction").parser("").parse_args([])
    reproduction = load("reproduction").Reproduction(options)
    kd = cell(filled, "KD")
    interval = "{:+.1f} [{:+.1f}, {:+.1f}]".format(
        *(100 * kd[f"difference_{x}"] for x in ("mean", "low", "high"))
    )
    for text in texts(1, filled, reproduction.describe("ave", records)):
        plain = text.replace(r"$\pm$", "+-").replace("\\", "").replace("$", "")
        plain = " ".join(plain.split())
        for expected in (
            *("34.3 +- 5.1", "39.3 +- 6.7", "32.3 +- 0.35", "+0.7", "missing"),
            *("Huo et al., CVPR 2024, Table 1", "made up", "seeds 0, 1, 2"),
            *("Backend: jax", "100 epochs", "The paper contradicts itself"),
            interval,
        ):
            assert expected in plain, expected
    text = sheets.as_csv(tables.as_numbers(1, filled))
    lines = list(csv.DictReader(io.StringIO(text)))
    assert len(lines) == 36
    key = ("kd", "visual", "AVE")
    (line,) = [
        x for x in lines if (x["method"], x["student"], x["data_set"]) == key
    ]
    assert float(line["measured_mean"]) == pytest.approx(0.3933333)
    assert float(line["difference_low"]) == pytest.approx(kd["difference_low"])
    assert float(line["paper"]) == pytest.approx(0.323)
    assert (line["measured_count"], line["reference"]) == ("3.0", "alone")
    missing = [x for x in lines if x["state"] == "missing"]
    assert len(missing) == 34
    assert {x["measured_mean"] for x in missing} == {""}


def test_the_protocol_says_what_was_changed(ave):
    options = load("reproduction").parser("").parse_args([])
    describe = load("reproduction").Reproduction(options).describe
    records = [made_record(ave, "kd", "visual", 3, 0.5, epochs=12)]
    (text,) = describe("ave", records)
    assert "12 epochs" in text and "Unlike the recipe: epochs=12 (100)" in text
    assert "seeds 3" in text and "Backend: jax" in text
    records[0]["data"]["missing"] = [{"name": "x", "reason": "gone"}]
    assert "1 left out" in describe("ave", records)[0]
    assert describe("ave", []) == []


def test_latex_and_spreadsheets_see_no_signs_of_their_own():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a_b": ["x & 50% {y} #1 _", "-1.5 +- 0.2, 0-2"]})
    text = sheets.as_latex("T_1", frame, ["100%"])
    for expected in (
        r"a\_b \\", r"x \& 50\% \{y\} \#1 \_", r"$-$1.5 $\pm$ 0.2, 0-2",
        r"\caption{T\_1. 100\%}", r"\toprule",
    ):  # fmt: skip
        assert expected in text
    frame = pandas.DataFrame({"label": ["+KRC", "=1", "x"], "d": [-0.5, 1, 2]})
    assert sheets.as_csv(frame) == "label,d\n'+KRC,-0.5\n'=1,1.0\nx,2.0\n"


# Who is best.


def by_seed(*values):
    return dict(enumerate(values))


def test_best_and_second_alone():
    # Differences between neighbours: about 0.1 for each seed.
    places = cells.rank(
        {
            "c": by_seed(0.70, 0.71, 0.72),
            "a": by_seed(0.90, 0.92, 0.93),
            "b": by_seed(0.80, 0.81, 0.83),
            "d": by_seed(0.60, 0.62, 0.62),
        }
    )
    assert places == {"a": "1", "b": "2"}


@pytest.mark.parametrize("is_apart", [True, False])
def test_the_interval_decides(is_apart):
    """Its half width is t / sqrt(3), for a deviation of 1."""
    mean = QUANTILE / math.sqrt(3) + (1e-4 if is_apart else -1e-4)
    around = by_seed(mean - 1, mean, mean + 1)
    places = cells.rank({"a": around, "b": by_seed(0.0, 0.0, 0.0)})
    assert places == ({"a": "1", "b": "2"} if is_apart else {})


def test_no_winner_inside_the_interval():
    """The second and third are as good as the best, as far as one can tell."""
    places = cells.rank(
        {
            "a": by_seed(0.90, 0.80, 0.85),
            "b": by_seed(0.80, 0.90, 0.84),
            "c": by_seed(0.85, 0.84, 0.83),
            "d": by_seed(0.10, 0.11, 0.10),
            "e": by_seed(0.11, 0.10, 0.10),
        }
    )
    assert places == {"a": "1=", "b": "1=", "c": "1=", "d": "2=", "e": "2="}


def test_pairing_tells_apart_what_means_do_not():
    """The spread over the seeds is ten times the difference."""
    places = cells.rank(
        {
            "a": by_seed(0.51, 0.71, 0.92, 0.31),
            "b": by_seed(0.50, 0.70, 0.90, 0.30),
        }
    )
    assert places["a"] == "1"


@pytest.mark.parametrize(
    "scores",
    [
        {},
        {"a": {}},
        {"a": by_seed(0.9, 0.8, 0.7)},
        # One seed, and two with the same difference by chance.
        {"a": by_seed(0.9), "b": by_seed(0.1)},
        {"a": by_seed(0.9, 0.8), "b": by_seed(0.2, 0.1)},
        # No common seeds.
        {"a": by_seed(0.9, 0.8, 0.7), "b": {7: 0.1, 8: 0.1, 9: 0.1}},
        # Equal.
        {"a": by_seed(0.9, 0.8, 0.7), "b": by_seed(0.9, 0.8, 0.7)},
    ],
)
def test_where_nothing_can_be_told_apart(scores):
    assert cells.rank(scores) == {}
