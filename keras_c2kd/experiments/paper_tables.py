"""A table of the paper, filled cell by cell with our runs."""

import dataclasses

from keras_c2kd.experiments import paper
from keras_c2kd.experiments.method_rows import method_row
from keras_c2kd.experiments.ranking import Place
from keras_c2kd.experiments.ranking import paired_difference
from keras_c2kd.experiments.ranking import rank_methods
from keras_c2kd.experiments.record_choice import cell_of
from keras_c2kd.experiments.tables import Summary
from keras_c2kd.experiments.tables import summarize


@dataclasses.dataclass(frozen=True)
class Cell:
    """What is measured for one number of a table.

    All values are shares, of 0 to 1; the paper prints most in percent.

    Attributes:
        quantity: `"score"`, `"teacher"` or `"target_probability"`.
        printed: The paper's `PaperNumber` as a share, or None.
        measured: `Summary` over our seeds, or None if no run is there.
        difference: `Summary` of the differences to the row's reference, seed
            by seed, or None.
        printed_difference: The paper's difference to the same row, or None.
        to_printed: `Summary` of ours minus the paper's value, which counts as
            fixed, or None.
        place: `Place` among the methods that the column shows, or None.
    """

    quantity: str
    printed: paper.PaperNumber | None
    measured: Summary | None
    difference: Summary | None
    printed_difference: float | None
    to_printed: Summary | None
    place: Place | None


@dataclasses.dataclass(frozen=True)
class FilledTable:
    """A table of the paper with our runs.

    Attributes:
        table: `PaperTable`, of the columns and rows that are shown.
        cells: Tuple, for each row, of a tuple of a `Cell` for each column.
        is_comparable: Whether the paper's numbers are for the same data.
    """

    table: paper.PaperTable
    cells: tuple
    is_comparable: bool

    def column(self, index):
        """Return `(row, cell)` of a column, from the top."""
        return [
            (row, cells[index])
            for row, cells in zip(self.table.rows, self.cells)
        ]


def for_other_data(table, recipes):
    """Return a table for other data sets, without the paper's numbers.

    Args:
        table: `PaperTable`.
        recipes: List of `Recipe`. Each gives two columns, one a direction,
            of its default networks, and those of the teachers if the table
            has any.

    Returns:
        `PaperTable`.
    """
    names = {column.recipe: column.data_set for column in table.columns}
    quantities = dict.fromkeys(column.quantity for column in table.columns)
    columns = tuple(
        paper.PaperColumn(
            names.get(recipe.name, recipe.name),
            recipe.name,
            student,
            recipe.network(student),
            recipe.other(student),
            recipe.network(recipe.other(student)),
            quantity,
        )
        for recipe in recipes
        for student in recipe.modalities
        for quantity in quantities
    )
    rows = tuple(dataclasses.replace(row, numbers=()) for row in table.rows)
    return dataclasses.replace(table, columns=columns, rows=rows)


def fill_table(table, records, is_comparable=True, rows=None):
    """Fill a table with what was measured.

    Args:
        table: `PaperTable`, all its rows, since some are compared with others.
        records: Dict from the name of a recipe to a list of its records, with
            the same settings (see `choose_records`).
        is_comparable: Whether the paper's numbers are shown. Defaults to
            `True`.
        rows: Names of the methods to show, which alone are ranked; None
            (default) for all.

    Returns:
        `FilledTable`.
    """
    columns = [
        _fill_column(
            table, index, records.get(column.recipe, []), is_comparable, rows
        )
        for index, column in enumerate(table.columns)
    ]
    shown = [
        index
        for index, row in enumerate(table.rows)
        if rows is None or row.method in rows
    ]
    return FilledTable(
        dataclasses.replace(
            table, rows=tuple(table.rows[index] for index in shown)
        ),
        tuple(tuple(column[index] for column in columns) for index in shown),
        is_comparable,
    )


def _fill_column(table, index, records, is_comparable, rows):
    """Return the cells of one column, from the top."""
    column = table.columns[index]
    runs, printed = {}, {}
    for row in table.rows:
        key = row.method, row.quantity_in(column)
        runs[key] = _values(row, column, records)
        if is_comparable and row.numbers[index] is not None:
            printed[key] = _as_share(row.numbers[index], key[1])
    # Teachers and probabilities are no competition, nor is what nobody sees.
    competing = {
        key: runs[key]
        for key in runs
        if key[1] == paper.SCORE and (rows is None or key[0] in rows)
    }
    places = rank_methods(competing)
    return [
        _fill_cell(row, row.quantity_in(column), runs, printed, places)
        for row in table.rows
    ]


def _fill_cell(row, quantity, runs, printed, places):
    """Return a cell; the dicts are by method and quantity."""
    key, other = (row.method, quantity), (row.reference, quantity)
    own, number, base = runs[key], printed.get(key), printed.get(other)
    is_compared = quantity == paper.SCORE and other in runs
    return Cell(
        quantity=quantity,
        printed=number,
        measured=summarize(own.values()) if own else None,
        difference=paired_difference(own, runs[other]) if is_compared else None,
        printed_difference=number.value - base.value
        if is_compared and number and base
        else None,
        to_printed=summarize([value - number.value for value in own.values()])
        if own and number
        else None,
        place=places.get(key),
    )


def _values(row, column, records):
    """Return the values of a row in a column by seed; empty if missing."""
    kind = method_row(row.method)
    teacher = column.teacher, column.teacher_network
    if not kind.has_teacher:
        teacher = None, None
    elif kind.is_fused:
        teacher = "both", column.teacher_network
    cell = row.method, column.student, column.student_network, *teacher
    found = {
        record["settings"]["seed"]: {
            paper.SCORE: record["scores"].get("student"),
            paper.TEACHER: record["scores"].get("teacher_after"),
            paper.TARGET_PROBABILITY: record["test"].get("target_probability"),
        }[row.quantity_in(column)]
        for record in records
        if cell_of(record["settings"]) == cell
    }
    # A record of an older version has no probability.
    return {seed: value for seed, value in found.items() if value is not None}


def _as_share(number, quantity):
    """Return a printed number as a share."""
    if quantity == paper.TARGET_PROBABILITY:
        return number
    deviation = number.deviation
    return paper.PaperNumber(
        number.value / 100, None if deviation is None else deviation / 100
    )
