"""The tables of the paper, cell by cell, with ours beside its numbers.

Reproduces: Tables 1 to 7 of Huo et al., CVPR 2024: mean +- standard deviation
over the seeds, the paired difference to the row that the paper compares with
and its 95% interval, the paper's number, ours minus the paper's, and who is
best and second best where the seeds can tell. What was not run is `missing`.

Commands, from the root of the repository, with any KERAS_BACKEND:

    python recipes/tables.py --table 3 --results results
    python recipes/tables.py --table 3 --results results --only ave,audio,c2kd
    python recipes/tables.py --table 3 --run --data ave=AVE_Dataset
    python recipes/tables.py --table all --run --substitute
    python recipes/tables.py --table 3 --results recipes/results \
        --substitute av_digits --out printed

The first two only read the records that the recipes left in
`results/<recipe>`, the last one those that come with the repository; `--run`
first trains those that are missing, through the recipes and with all of their
settings (`--set epochs=50`), where the paper has a number. `--substitute` puts
data that need no download in the place of the paper's (AV-digits; generated
rooms for Table 4) and leaves its numbers out; so does `--smoke`, which makes
trials of all runs. Records with unlike settings are never mixed: choose with
`--set`, `--smoke` and `--backend`, or read the error that lists what there is.

Data: what each recipe says, `--data <recipe>=<folder>`. A data set without a
folder is only looked up.

Written, to `--out` (`<results>/tables`): `table_<N>` as text, Markdown, CSV
(all numbers, one cell a line) and LaTeX, with the protocol of each data set.

Cost: seconds to read; to train, what the recipes say. `--table all --run
--substitute` is 290 runs on AV-digits and 48 on generated rooms, for five and
three seeds.
"""

import argparse
import pathlib

from keras_c2kd.experiments.paper import TABLES
from keras_c2kd.experiments.paper_tables import fill_table
from keras_c2kd.experiments.paper_tables import for_other_data
from keras_c2kd.experiments.reproduction_options import add_options
from keras_c2kd.experiments.reproduction_options import reproduction_of
from keras_c2kd.experiments.reproduction_options import split_names
from keras_c2kd.experiments.results import write_atomically
from keras_c2kd.experiments.settings import HelpFormatter
from keras_c2kd.experiments.sheets import as_csv
from keras_c2kd.experiments.sheets import as_latex
from keras_c2kd.experiments.sheets import as_markdown
from keras_c2kd.experiments.sheets import as_terminal
from keras_c2kd.experiments.table_sheets import describe_records
from keras_c2kd.experiments.table_sheets import table_sheets
from keras_c2kd.experiments.table_sheets import table_values

FOLDER = pathlib.Path(__file__).parent


def main(arguments=None):
    """Fill tables, print and write them.

    Args:
        arguments: List of words; None (default) takes the real ones.

    Returns:
        List of `FilledTable`.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=HelpFormatter
    )
    parser.add_argument(
        "--table",
        action="append",
        required=True,
        choices=[*map(str, TABLES), "all"],
        help="may be repeated",
    )
    parser.add_argument("--out", help="folder; <results>/tables if not given")
    add_options(parser)
    options = parser.parse_args(arguments)
    try:
        reproduction = reproduction_of(FOLDER, options)
        tables, rows = choose(reproduction, options)
    except ValueError as error:
        parser.error(str(error))
    records = collect(reproduction, tables, rows)
    notes = {
        name: describe_records(reproduction.recipe(name), found)
        for name, found in records.items()
        if found
    }
    out = pathlib.Path(options.out or reproduction.results / "tables")
    is_comparable = not (options.smoke or options.substitute)
    return [
        write(fill_table(table, records, is_comparable, rows), notes, out)
        for table in tables
    ]


def choose(reproduction, options):
    """Return the tables, with the columns that are wanted, and the rows.

    Args:
        reproduction: `Reproduction`.
        options: Namespace.

    Returns:
        List of `PaperTable`, and a set of methods or None for all.

    Raises:
        ValueError: If nothing is left, or a name is unknown.
    """
    numbers = options.table
    if "all" in numbers:
        numbers = [*map(str, TABLES)]
    tables = []
    for number in dict.fromkeys(numbers):
        table = TABLES[int(number)]
        names = dict.fromkeys(column.recipe for column in table.columns)
        if options.substitute:
            names = [
                name
                for name in options.substitute
                if reproduction.recipe(name).metric == table.metric
            ]
        if options.substitute or options.smoke:
            table = for_other_data(table, map(reproduction.in_use, names))
        tables.append(table)
    columns = [column for table in tables for column in table.columns]
    only = split_names(
        options.only,
        {
            "the data sets": dict.fromkeys(c.recipe for c in columns),
            "the students": dict.fromkeys(c.student for c in columns),
            "the methods": dict.fromkeys(
                row.method for table in tables for row in table.rows
            ),
        },
    )
    data_sets, students, rows = only.values()

    def is_wanted(column):
        return (data_sets is None or column.recipe in data_sets) and (
            students is None or column.student in students
        )

    tables = [table.of_columns(is_wanted) for table in tables]
    tables = [
        table
        for table in tables
        if table.columns
        and (rows is None or any(row.method in rows for row in table.rows))
    ]
    if not tables:
        raise ValueError(
            "Nothing is left of the tables. Received: "
            f"--only {','.join(options.only or ())} "
            f"--substitute {','.join(options.substitute or ())}"
        )
    reproduction.check_changes(
        list({c.recipe: None for table in tables for c in table.columns})
    )
    return tables, rows


def collect(reproduction, tables, rows):
    """Return the records of all cells, by recipe.

    Args:
        reproduction: `Reproduction`.
        tables: List of `PaperTable`.
        rows: Set of methods, or None for all.

    Returns:
        Dict from the recipe to a list of records.
    """
    plans = {}
    for table in tables:
        for index, column in enumerate(table.columns):
            shown = [
                row
                for row in table.rows
                if (rows is None or row.method in rows)
                and not (reproduction.run and is_left_out(row, index))
            ]
            # Those that others are compared with are needed too.
            methods = [row.method for row in shown]
            methods += [row.reference for row in shown if row.reference]
            plans.setdefault(column.recipe, []).extend(
                reproduction.plan(
                    column.recipe,
                    list(dict.fromkeys(methods)),
                    [column.student],
                    (column.student_network, column.teacher_network),
                )
            )
    return {
        name: reproduction.records(name, plan) for name, plan in plans.items()
    }


def is_left_out(row, index):
    """Whether the paper prints `-`, where others have a number.

    Such a cell shows a run that is there, but none is trained for it.

    Args:
        row: `PaperRow`.
        index: Integer, the column's.

    Returns:
        Boolean; False in a table of other data, which has no numbers.
    """
    return bool(row.numbers) and row.numbers[index] is None


def write(filled, notes, out):
    """Print a table, and write it in all forms.

    Args:
        filled: `FilledTable`.
        notes: Dict from a recipe to how its numbers came about.
        out: `pathlib.Path` of the folder.

    Returns:
        `FilledTable`, as given.
    """
    recipes = dict.fromkeys(column.recipe for column in filled.table.columns)
    told = [notes[name] for name in recipes if name in notes]
    sheets = table_sheets(filled, told)
    texts = {
        "txt": as_terminal(sheets),
        "md": as_markdown(sheets),
        "tex": as_latex(sheets),
        "csv": as_csv(table_values(filled)),
    }
    name = f"table_{filled.table.number}"
    for ending, text in texts.items():
        write_atomically(out / f"{name}.{ending}", text)
    print(f"\n{texts['txt']}\nWritten: {name}.txt, .md, .tex, .csv in {out}")
    return filled


if __name__ == "__main__":
    main()
