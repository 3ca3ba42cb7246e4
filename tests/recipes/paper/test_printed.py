"""The paper's numbers: complete, and consistent where the paper is."""

import collections

import pytest

from tests.recipes.paper.loading import load
from tests.recipes.paper.loading import recipe_of

pytestmark = pytest.mark.backend_free

printed = load("printed")
rows = load("rows")
TABLES, SCORE, TEACHER = printed.TABLES, printed.SCORE, printed.TEACHER
ALONE = rows.BASELINE

every_table = pytest.mark.parametrize("table", TABLES.values(), ids=str)


def percent(cell):
    """The value and the deviation of a cell, as they are printed."""
    scale = 1 if cell["quantity"] == printed.TARGET_PROBABILITY else 100
    spread = cell["paper_std"]
    value = round(scale * cell["paper"], 4)
    return value, None if spread != spread else round(scale * spread, 4)


def numbers_of(table):
    """The cells of all numbers that are printed."""
    cells = table.cells()
    return cells[cells["paper"].notna()].to_dict("records")


def number(table, method, recipe, student, quantity=SCORE, networks=None):
    """The value and the deviation of one cell."""
    (found,) = [
        percent(cell)
        for cell in numbers_of(TABLES[table])
        if cell["method"] == method
        and (cell["recipe"], cell["student"]) == (recipe, student)
        and cell["quantity"] == quantity
        and networks
        in (None, (cell["student_network"], cell["teacher_network"]))
    ]
    return found


@every_table
def test_every_row_has_a_number_or_none_for_each_column(table):
    assert TABLES[table.number] is table
    lines = table.rows
    assert len(table.cells()) == len(lines) * len(table.columns)
    for _, line in lines.iterrows():
        rows.row(line["method"])
        given = [line[str(x)] for x in range(1, 9)]
        count = len(table.columns)
        assert all(given[:count]) and not any(given[count:]), line["label"]


def test_how_many_numbers_there_are():
    counts = {n: len(numbers_of(table)) for n, table in TABLES.items()}
    # Table 3: 12 rows and 8 columns, four of which are dashes.
    assert counts == {1: 36, 2: 40, 3: 92, 4: 48, 5: 42, 6: 30, 7: 40}
    dashes = {
        (cell["method"], cell["recipe"])
        for table in TABLES.values()
        for cell in table.cells().query("paper.isna()").to_dict("records")
    }
    assert dashes == {("fitnet", "crisis_mmd"), ("review_kd", "crisis_mmd")}


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ((1, ALONE, "ave", "visual"), (31.6, 0.18)),
        ((1, "c2kd", "vggsound", "audio"), (61.9, 0.27)),
        ((2, "nckd+krc", "ave", "audio"), (51.0, None)),
        ((2, "kd+random", "vggsound", "visual"), (38.2, None)),
        ((2, ALONE, "ave", "audio", "target_probability"), (0.901, None)),
        ((3, "dist", "crema_d", "visual"), (61.1, 1.82)),
        ((3, "rkd", "vggsound", "audio"), (41.5, 1.36)),
        ((3, "c2kd-top", "crisis_mmd", "image"), (68.2, 0.09)),
        ((5, "c2kd-ofs", "ave", "audio"), (52.5, None)),
        ((5, "c2kd-b", "crisis_mmd", "text"), (69.2, None)),
        ((6, "zipf_kd", "vggsound", "audio"), (60.3, None)),
        ((7, "ogm", "ave", "audio"), (52.7, None)),
        ((7, "ogm", "ave", "audio", TEACHER), (61.6, None)),
        ((7, "c2kd", "vggsound", "visual", TEACHER), (59.0, None)),
    ],
)
def test_some_numbers(cell, expected):
    assert number(*cell) == expected


@pytest.mark.parametrize(
    ("student", "networks", "expected"),
    [
        ("rgb", ("resnet18", "resnet18"), 37.3),
        ("depth", ("mobilenet_v2", "resnet18"), 32.7),
        ("rgb", ("mobilenet_v2", "resnet18"), 36.7),
        ("depth", ("resnet18", "mobilenet_v2"), 33.4),
    ],
)
def test_segmentation_has_three_pairs_of_networks(student, networks, expected):
    found = number(4, "cirkd", "nyu_depth_v2", student, networks=networks)
    assert found == (expected, None)


@pytest.mark.parametrize("table", [1, 3, 4, 5, 6, 7])
def test_the_last_row_is_the_best_of_every_column_of_students(table):
    """So it is printed: in bold in Tables 3 and 4."""
    cells = TABLES[table].cells().query("quantity == 'score'")
    for _, column in cells.groupby("column"):
        values = list(column["paper"].dropna())
        assert max(values) == values[-1]
        assert values.count(max(values)) == 1


def test_repeated_numbers_agree_but_for_the_three_that_are_noted():
    """Most numbers stand in several tables."""
    found = collections.defaultdict(set)
    for table in TABLES.values():
        for cell in numbers_of(table):
            if cell["quantity"] == TEACHER:
                continue
            # Row (a) of Table 5 is "the vanilla KD".
            method = "kd" if cell["method"] == "c2kd-a" else cell["method"]
            place = method, cell["recipe"], cell["student"], cell["quantity"]
            networks = cell["student_network"], cell["teacher_network"]
            value, deviation = percent(cell)
            found["value", *place, networks].add(value)
            if deviation is not None:
                found["deviation", *place, networks].add(deviation)
    unlike = {
        key[:4]: values for key, values in found.items() if len(values) > 1
    }
    assert unlike == {
        ("value", ALONE, "crisis_mmd", "image"): {66.7, 66.1},
        ("value", "kd", "crisis_mmd", "text"): {68.4, 69.2},
        ("deviation", "dist", "ave", "audio"): {0.52, 0.29},
    }
    notes = {note for table in TABLES.values() for note in table.notes}
    for values in unlike.values():
        assert any(all(str(x) in note for x in values) for note in notes)
    # A network that is trained alone does not depend on the teacher's kind.
    alone = collections.defaultdict(set)
    for cell in numbers_of(TABLES[4])[:6]:
        alone[cell["student"], cell["student_network"]].add(cell["paper"])
    assert all(len(values) == 1 for values in alone.values())


def test_fixed_teachers_have_what_they_reach_alone():
    for recipe in ("ave", "vggsound"):
        for student, teacher in (("visual", "audio"), ("audio", "visual")):
            found = number(7, "nkd", recipe, student, TEACHER)
            assert found[0] == number(3, ALONE, recipe, teacher)[0]


def test_the_differences_of_table_2_are_those_that_are_printed():
    """They stand beside the numbers there, and not in our data."""
    expected = {
        "kd": (0.7, -6.2, -0.2, -3.1),
        "kd+random": (-0.2, 0.2, -0.3, 0.1),
        "kd+krc": (0.6, 1.3, 0.7, 1.1),
        "tckd": (0.2, -4.8, -0.8, -3.6),
        "nckd": (0.3, -2.7, -0.2, -1.9),
        "nckd+random": (-0.4, 0.1, 0.0, 0.1),
        "nckd+krc": (1.2, 0.9, 1.1, 0.8),
        "dkd": (1.0, -4.2, -0.6, -2.2),
    }
    filled = load("cells").fill(TABLES[2].cells(), {})
    scores = filled[filled["quantity"] == SCORE]
    for method, differences in expected.items():
        found = scores.loc[scores["method"] == method, "paper_difference"]
        assert list(100 * found) == pytest.approx(differences, abs=1e-9)


def test_the_marks_of_table_5_are_the_switches_of_the_methods():
    for _, line in TABLES[5].rows[1:].iterrows():
        config = rows.row(line["method"]).build(None).get_config()
        selection = config["selection"]["class_name"]
        assert line["marks"].split() == [
            name
            for name, is_on in (
                ("Proxy", config["proxies"]),
                ("OFS", selection == "KendallSelection"),
                ("NT", config["non_target"]),
                ("BD", config["bidirectional"]),
            )
            if is_on
        ]


@every_table
def test_columns_are_of_recipes_with_these_networks(table):
    for column in table.columns:
        column = dict(zip(printed.COLUMN, column))
        recipe = recipe_of(column["recipe"])
        assert recipe.settings.metric == table.metric
        assert recipe.other(column["student"]) == column["teacher"]
        recipe.network(column["student"], column["student_network"])
        recipe.network(column["teacher"], column["teacher_network"])
