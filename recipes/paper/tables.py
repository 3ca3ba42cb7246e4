"""The tables of the paper, cell by cell, with ours beside its numbers.

Reproduces: Tables 1 to 7 of Huo et al., CVPR 2024: mean +- standard deviation
over the seeds, the paired difference to the row that the paper compares with
and its 95% interval, the paper's number, ours minus the paper's, and who is
best and second best where the seeds can tell. What was not run is `missing`.

Commands, from the root of the repository, with any KERAS_BACKEND:

    python recipes/paper/tables.py --table 3 --only ave,audio,c2kd
    python recipes/paper/tables.py --table 3 --run --data ave=AVE_Dataset
    python recipes/paper/tables.py --table all --run --substitute
    python recipes/paper/tables.py --table 3 --results recipes/results \
        --substitute av_digits --out printed

The first only reads the records that the recipes left in `results/<recipe>`,
the last one those that come with the repository; `--run` first trains those
that are missing, through the recipes and with all of their settings (`--set
epochs=50`), where the paper has a number, and writes all as `runs.csv`. It
keeps finished runs, and `--processes` share them. `--substitute` puts data that
need no download in the place of the paper's (AV-digits; generated rooms for
Table 4) and leaves its numbers out; so does `--smoke`, which makes trials of
all runs. Records with unlike settings are never mixed: choose with `--set`,
`--smoke` and `--backend`, or read the error that lists what there is.

Data: what each recipe says, `--data <recipe>=<folder>`. A data set without a
folder is only looked up.

Written, to `--out` (`<results>/tables`): `table_<N>` as text, Markdown, CSV
(all numbers, one cell a line) and LaTeX, with the protocol of each data set.

Cost: seconds to read; to train, what the recipes say. `--table all --run
--substitute` is 290 runs on AV-digits and 48 on generated rooms, for five and
three seeds.
"""

import pathlib

import pandas as pd
from cells import MISSING
from cells import NONE
from cells import counted
from cells import difference_text
from cells import fill
from cells import headings
from cells import measured_text
from cells import paper_text
from printed import TABLES
from printed import TARGET_PROBABILITY
from reproduction import Reproduction
from reproduction import Wanted
from reproduction import parser
from reproduction import split_names
from sheets import write

# Where the numbers are printed.
SOURCE = "Huo et al., CVPR 2024, Table"


def main(arguments=None):
    """Fill tables, print and write them.

    Args:
        arguments: List of words; None (default) takes the real ones.

    Returns:
        Dict from the number of a table to its cells, a data frame.
    """
    options = parser(__doc__)
    options.add_argument(
        "--table",
        action="append",
        required=True,
        choices=[*map(str, TABLES), "all"],
        help="may be repeated",
    )
    parse_error, options = options.error, options.parse_args(arguments)
    try:
        reproduction = Reproduction(options)
        tables, rows = choose(reproduction, options)
    except ValueError as error:
        parse_error(str(error))
    records = collect(reproduction, tables.values(), rows)
    notes = {
        name: reproduction.describe(name, found)
        for name, found in records.items()
    }
    out = pathlib.Path(options.out or reproduction.results / "tables")
    filled = {}
    for number, cells in tables.items():
        filled[number] = fill(cells, records, rows)
        told = [x for name in cells["recipe"].unique() for x in notes[name]]
        sheets = lay_out(TABLES[number], filled[number], told)
        write(
            out, f"table_{number}", sheets, as_numbers(number, filled[number])
        )
    return filled


def choose(reproduction, options):
    """Return the cells of the wanted tables by number, and the rows."""
    numbers = [*TABLES] if "all" in options.table else map(int, options.table)
    tables = {}
    for number in dict.fromkeys(numbers):
        table = TABLES[number]
        names = options.substitute or dict.fromkeys(c[1] for c in table.columns)
        fitting = [
            name
            for name in names
            if reproduction.recipe(name).settings.metric == table.metric
        ]
        if not (options.substitute or options.smoke):
            tables[number] = table.cells()
        elif fitting:
            recipes = map(reproduction.in_use, fitting)
            tables[number] = table.for_other_data(list(recipes))
    cells = pd.concat(
        [pd.DataFrame(columns=TABLES[1].cells().columns), *tables.values()]
    )
    data_sets, students, rows = split_names(
        options.only,
        {
            "the data sets": cells["recipe"].unique(),
            "the students": cells["student"].unique(),
            "the methods": cells["method"].unique(),
        },
    )
    kept = {}
    for number, cells in tables.items():
        if data_sets is not None:
            cells = cells[cells["recipe"].isin(data_sets)]
        if students is not None:
            cells = cells[cells["student"].isin(students)]
        if len(cells) and (rows is None or cells["method"].isin(rows).any()):
            kept[number] = cells
    if not kept:
        raise ValueError(
            "Nothing is left of the tables. Received: "
            f"--only {','.join(options.only or ())} "
            f"--substitute {','.join(options.substitute or ())}"
        )
    names = pd.concat(kept.values())["recipe"].unique()
    reproduction.check_changes(list(names))
    return kept, rows


def collect(reproduction, tables, rows):
    """Return the records of all cells, by recipe.

    Where the paper prints `-`, and others have a number, a run that is there
    is shown, but none is trained.
    """
    methods = {}
    for cells in tables:
        is_comparable = cells["paper"].notna().any()
        for one in cells.to_dict("records"):
            is_left_out = is_comparable and pd.isna(one["paper"])
            place = (
                *(one["recipe"], one["student"], one["student_network"]),
                *(one["teacher"], one["teacher_network"]),
            )
            found = methods.setdefault(place, {})
            if rows is not None and one["method"] not in rows:
                continue
            if not (reproduction.run and is_left_out):
                # Those that others are compared with are needed too.
                found |= dict.fromkeys(
                    filter(None, [one["method"], one["reference"]])
                )
    wanted = {}
    for place, found in methods.items():
        wanted.setdefault(place[0], []).append(Wanted(*place, tuple(found)))
    return {name: reproduction.records(one) for name, one in wanted.items()}


def lay_out(table, cells, notes):
    """Lay a table out: in the paper's arrangement, then column by column."""
    is_comparable = cells["paper"].notna().any()
    names, lines = headings(cells), []
    for _, row in cells.groupby("row", sort=False):
        first = row.iloc[0]
        columns = row["column"].map(names)
        marks = {x: "x" * (x in first["marks"].split()) for x in table.marks}
        shown = {"method": first["label"], **marks, "": "measured"}
        lines.append(shown | dict(zip(columns, row.apply(_ranked, axis=1))))
        if is_comparable:
            blank = dict.fromkeys(shown, "") | {"": "paper"}
            printed = row.apply(paper_text, axis=1)
            lines.append(blank | dict(zip(columns, printed)))
    told = [*_legend(table, cells, is_comparable), *notes]
    sheets = [
        (f"Table {table.number}. {table.title}", pd.DataFrame(lines), told)
    ]
    for number, column in cells.groupby("column", sort=False):
        first = column.iloc[0]
        title = (
            f"Table {table.number}, {names[number]}. Networks: "
            f"{first['student']} {first['student_network']}, "
            f"{first['teacher']} {first['teacher_network']}"
        )
        sheets.append((title, _detail(column, is_comparable), ()))
    return sheets


def _ranked(cell):
    """Format what was measured, with its place among the shown methods."""
    marks = {"": "{}", "1": "**{}**", "2": "<u>{}</u>"}
    mark = marks.get(cell["place"], "{} (" + cell["place"] + ")")
    return mark.format(measured_text(cell))


def _detail(column, is_comparable):
    """Return all that is known of each number of a column."""
    labels = dict(zip(column["method"][::-1], column["label"][::-1]))
    is_compared = column["difference_mean"].notna()
    references = column["reference"].map(lambda name: labels.get(name, name))
    found = {
        "method": column["label"],
        "measured": column.apply(measured_text, axis=1),
        "seeds": column["measured_count"].map(
            lambda count: NONE if pd.isna(count) else f"{count:.0f}"
        ),
        "difference [95%]": column.apply(difference_text, axis=1),
        "to": references.where(is_compared, NONE),
    }
    if is_comparable:
        found["paper"] = column.apply(paper_text, axis=1)
        found["its difference"] = column["paper_difference"].map(
            # Adding 0 makes minus 0 plain 0.
            lambda x: NONE if pd.isna(x) else f"{round(100 * x, 1) + 0.0:+.1f}"
        )
        found["measured - paper [95%]"] = column.apply(
            difference_text, axis=1, name="minus_paper"
        )
    found["place"] = column["place"].replace("", NONE)
    return pd.DataFrame(found)


def _legend(table, cells, is_comparable):
    """Say what the numbers are, and what bold and underlined mean."""
    unit = {"accuracy": "accuracy", "mean_iou": "mean IoU"}[table.metric]
    notes = [
        f"measured: test {unit} in percent, mean +- standard deviation over "
        f"{counted(cells['measured_count'])}."
    ]
    if (cells["quantity"] == TARGET_PROBABILITY).any():
        notes.append(
            "proba.: mean probability of the label's class, from 0 to 1."
        )
    notes += [
        "difference: paired by seed, in points, with Student's 95% interval "
        "of its mean.",
        "Bold (1): the best, alone; underlined (2): the second, alone. (1=), "
        "(2=): shared, as the interval of the paired difference to the best "
        "of the place includes 0, or less than three seeds are common. No "
        "mark at all: nothing is told apart. Not corrected for the number of "
        "comparisons.",
    ]
    if is_comparable:
        notes.append(
            f"paper: {SOURCE} {table.number}. Its numbers count as fixed in "
            "measured - paper."
        )
        notes += [f"The paper contradicts itself: {x}" for x in table.notes]
    else:
        notes.append(
            "The paper's numbers are left out: they are for other data, "
            "networks or training."
        )
    if cells["measured_mean"].isna().any():
        notes.append(f"{MISSING}: there is no finished run.")
    return notes


def as_numbers(number, cells):
    """Return all numbers of a table, one cell a line, for a CSV file."""
    is_missing = cells["measured_mean"].isna()
    numbers = cells.drop(columns=["of", "row", "column", "marks"])
    numbers.insert(0, "table", number)
    numbers.insert(
        1, "state", is_missing.map({True: MISSING, False: "measured"})
    )
    if cells["paper"].notna().any():
        return numbers.assign(source=f"{SOURCE} {number}")
    others = [x for x in numbers if x.startswith(("paper", "minus_paper"))]
    return numbers.drop(columns=others)


if __name__ == "__main__":
    main()
