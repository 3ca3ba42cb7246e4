"""The paper's numbers: complete, and consistent where the paper is."""

import collections

import pytest

from keras_c2kd.experiments.method_rows import BASELINE
from keras_c2kd.experiments.method_rows import method_row
from keras_c2kd.experiments.paper import SCORE
from keras_c2kd.experiments.paper import TABLES
from keras_c2kd.experiments.paper import TARGET_PROBABILITY
from keras_c2kd.experiments.paper import TEACHER
from tests.recipes.loading import load_recipe

pytestmark = pytest.mark.backend_free

every_table = pytest.mark.parametrize("table", TABLES.values(), ids=str)


def numbers_of(table):
    """`(row, column, number)` of all numbers that are printed."""
    return [
        (row, column, number)
        for row in table.rows
        for column, number in zip(table.columns, row.numbers)
        if number is not None
    ]


def printed(number, method, recipe, student, quantity=SCORE, networks=None):
    """The value and the deviation of one cell."""
    (found,) = [
        (number.value, number.deviation)
        for row, column, number in numbers_of(TABLES[number])
        if row.method == method
        and (column.recipe, column.student) == (recipe, student)
        and row.quantity_in(column) == quantity
        and networks in (None, (column.student_network, column.teacher_network))
    ]
    return found


@every_table
def test_every_row_has_a_number_or_none_for_each_column(table):
    assert TABLES[table.number] is table
    assert table.source == f"Huo et al., CVPR 2024, Table {table.number}"
    for row in table.rows:
        assert len(row.numbers) == len(table.columns), row.label
        method_row(row.method)


def test_how_many_numbers_there_are():
    counts = {n: len(numbers_of(table)) for n, table in TABLES.items()}
    # Table 3: 12 rows and 8 columns, four of which are dashes.
    assert counts == {1: 36, 2: 40, 3: 92, 4: 48, 5: 42, 6: 30, 7: 40}
    dashes = [
        (row.method, column.recipe)
        for table in TABLES.values()
        for row in table.rows
        for column, number in zip(table.columns, row.numbers)
        if number is None
    ]
    assert sorted(set(dashes)) == [
        ("fitnet", "crisis_mmd"),
        ("review-kd", "crisis_mmd"),
    ]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ((1, BASELINE, "ave", "visual"), (31.6, 0.18)),
        ((1, "c2kd", "vggsound", "audio"), (61.9, 0.27)),
        ((2, "nckd+krc", "ave", "audio"), (51.0, None)),
        ((2, "kd+random", "vggsound", "visual"), (38.2, None)),
        (
            (2, BASELINE, "ave", "audio", TARGET_PROBABILITY),
            (0.901, None),
        ),
        ((3, "dist", "crema_d", "visual"), (61.1, 1.82)),
        ((3, "rkd", "vggsound", "audio"), (41.5, 1.36)),
        ((3, "c2kd-top", "crisis_mmd", "image"), (68.2, 0.09)),
        ((5, "c2kd-ofs", "ave", "audio"), (52.5, None)),
        ((5, "c2kd-b", "crisis_mmd", "text"), (69.2, None)),
        ((6, "zipf-kd", "vggsound", "audio"), (60.3, None)),
        ((7, "ogm", "ave", "audio"), (52.7, None)),
        ((7, "ogm", "ave", "audio", TEACHER), (61.6, None)),
        ((7, "c2kd", "vggsound", "visual", TEACHER), (59.0, None)),
    ],
)
def test_some_numbers(cell, expected):
    assert printed(*cell) == expected


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
    found = printed(4, "cirkd", "nyu_depth_v2", student, networks=networks)
    assert found == (expected, None)


@pytest.mark.parametrize("number", [1, 3, 4, 5, 6, 7])
def test_the_last_row_is_the_best_of_every_column_of_students(number):
    """So it is printed: in bold in Tables 3 and 4."""
    table = TABLES[number]
    for index, column in enumerate(table.columns):
        if column.quantity != SCORE:
            continue
        values = [row.numbers[index] for row in table.rows]
        values = [number.value for number in values if number is not None]
        assert max(values) == values[-1]
        assert values.count(max(values)) == 1


def test_repeated_numbers_agree_but_for_the_three_that_are_noted():
    """Most numbers stand in several tables."""
    found = collections.defaultdict(set)
    for table in TABLES.values():
        for row, column, number in numbers_of(table):
            quantity = row.quantity_in(column)
            if quantity == TEACHER:
                continue
            # Row (a) of Table 5 is "the vanilla KD".
            method = "kd" if row.method == "c2kd-a" else row.method
            place = method, column.recipe, column.student, quantity
            networks = column.student_network, column.teacher_network
            found["value", *place, networks].add(number.value)
            if number.deviation is not None:
                found["deviation", *place, networks].add(number.deviation)
    unlike = {
        key[:4]: values for key, values in found.items() if len(values) > 1
    }
    assert unlike == {
        ("value", BASELINE, "crisis_mmd", "image"): {66.7, 66.1},
        ("value", "kd", "crisis_mmd", "text"): {68.4, 69.2},
        ("deviation", "dist", "ave", "audio"): {0.52, 0.29},
    }
    notes = {note for table in TABLES.values() for note in table.notes}
    for values in unlike.values():
        assert any(all(str(x) in note for x in values) for note in notes)
    # A network that is trained alone does not depend on the teacher's kind.
    alone = collections.defaultdict(set)
    for _, column, number in numbers_of(TABLES[4])[:6]:
        alone[column.student, column.student_network].add(number.value)
    assert all(len(values) == 1 for values in alone.values())


def test_fixed_teachers_have_what_they_reach_alone():
    for recipe in ("ave", "vggsound"):
        for student, teacher in (("visual", "audio"), ("audio", "visual")):
            found = printed(7, "nkd", recipe, student, TEACHER)
            assert found[0] == printed(3, BASELINE, recipe, teacher)[0]


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
    rows = {row.method: row for row in TABLES[2].rows if row.quantity is None}
    for method, differences in expected.items():
        row, base = rows[method], rows[rows[method].reference]
        found = [a.value - b.value for a, b in zip(row.numbers, base.numbers)]
        assert found == pytest.approx(differences, abs=1e-9)


def test_the_marks_of_table_5_are_the_switches_of_the_methods():
    for row in TABLES[5].rows[1:]:
        config = method_row(row.method).build(None).get_config()
        selection = config["selection"]["class_name"]
        assert row.marks == tuple(
            name
            for name, is_on in (
                ("Proxy", config["proxies"]),
                ("OFS", selection == "KendallSelection"),
                ("NT", config["non_target"]),
                ("BD", config["bidirectional"]),
            )
            if is_on
        )


@every_table
def test_columns_are_of_recipes_with_these_networks(table):
    for column in table.columns:
        recipe = load_recipe(column.recipe).RECIPE
        assert recipe.metric == table.metric
        assert recipe.other(column.student) == column.teacher
        recipe.network(column.student, column.student_network)
        recipe.network(column.teacher, column.teacher_network)


def test_some_columns_of_a_table():
    table = TABLES[3].of_columns(
        lambda column: column.recipe in ("ave", "crisis_mmd")
    )
    assert [column.data_set for column in table.columns] == [
        "AVE", "AVE", "CrisisMMD", "CrisisMMD",
    ]  # fmt: skip
    ours = table.rows[-1]
    assert [number.value for number in ours.numbers] == [34.7, 54.9, 68.8, 70.1]
