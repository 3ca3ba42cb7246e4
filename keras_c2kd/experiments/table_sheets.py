"""A filled table of the paper as text, and as rows of plain values."""

from keras_c2kd.experiments import paper
from keras_c2kd.experiments.settings import with_former
from keras_c2kd.experiments.sheets import BEST
from keras_c2kd.experiments.sheets import SECOND
from keras_c2kd.experiments.sheets import Entry
from keras_c2kd.experiments.sheets import Sheet
from keras_c2kd.experiments.tables import format_difference
from keras_c2kd.experiments.tables import format_score

MISSING = "missing"
_NONE = "-"


def table_sheets(filled, notes=()):
    """Lay a table out: in the paper's arrangement, then column by column.

    Args:
        filled: `FilledTable`.
        notes: Sequence of strings to put below the first sheet, such as the
            protocol of each data set.

    Returns:
        List of `Sheet`.
    """
    table = filled.table
    overview = Sheet(
        title=f"Table {table.number}. {table.title}",
        header=("method", *table.marks, "", *headings(table)),
        rows=tuple(_overview_rows(filled)),
        notes=(*_legend(filled), *notes),
    )
    details = [
        _detail(filled, index, heading)
        for index, heading in enumerate(headings(table))
    ]
    return [overview, *details]


def headings(table):
    """Return a short name of each column, unlike the others.

    Args:
        table: `PaperTable`.
    """
    names = [
        f"{column.data_set}, teacher of {column.student}"
        if column.quantity == paper.TEACHER
        else f"{column.data_set}, {column.student}"
        for column in table.columns
    ]
    if len(set(names)) == len(names):
        return names
    return [
        f"{name} ({column.student_network}, {column.teacher_network})"
        for name, column in zip(names, table.columns)
    ]


def _overview_rows(filled):
    """Yield a row of what we measured, and one of the paper's, a method."""
    for row, cells in zip(filled.table.rows, filled.cells):
        marks = [
            Entry("x" if mark in row.marks else "")
            for mark in filled.table.marks
        ]
        measured = [
            Entry(_ranked(cell, format_measured(cell)), _style(cell))
            for cell in cells
        ]
        yield (Entry(row.label), *marks, Entry("measured"), *measured)
        if filled.is_comparable:
            blank = [Entry("")] * (1 + len(marks))
            printed = [Entry(format_printed(cell)) for cell in cells]
            yield (*blank, Entry("paper"), *printed)


def _detail(filled, index, heading):
    """Return the sheet of one column: all that is known of each number."""
    column = filled.table.columns[index]
    header = ["method", "measured", "seeds", "difference [95%]", "to"]
    if filled.is_comparable:
        header += ["paper", "its difference", "measured - paper [95%]"]
    header.append("place")
    labels = {row.method: row.label for row in filled.table.rows[::-1]}
    rows = []
    for row, cell in filled.column(index):
        is_compared = cell.difference is not None
        entries = [
            Entry(row.label),
            Entry(format_measured(cell), _style(cell)),
            Entry(str(cell.measured.count) if cell.measured else _NONE),
            Entry(format_difference(cell.difference)),
            Entry(
                labels.get(row.reference, row.reference)
                if is_compared
                else _NONE
            ),
        ]
        if filled.is_comparable:
            entries += [
                Entry(format_printed(cell)),
                Entry(_signed(cell.printed_difference)),
                Entry(_to_printed(cell)),
            ]
        rows.append((*entries, Entry(str(cell.place or _NONE))))
    title = (
        f"Table {filled.table.number}, {heading}. Networks: {column.student} "
        f"{column.student_network}, {column.teacher} {column.teacher_network}"
    )
    return Sheet(title, tuple(header), tuple(rows))


def format_measured(cell):
    """Format our mean and deviation, in percent but for a probability.

    Args:
        cell: `Cell`.
    """
    if cell.measured is None:
        return MISSING
    if cell.quantity != paper.TARGET_PROBABILITY:
        return format_score(cell.measured)
    text = f"{cell.measured.mean:.3f}"
    if cell.measured.count > 1:
        text += f" +- {cell.measured.deviation:.3f}"
    return text


def format_printed(cell):
    """Format the paper's number as it is printed.

    Args:
        cell: `Cell`.
    """
    if cell.printed is None:
        return _NONE
    if cell.quantity == paper.TARGET_PROBABILITY:
        return f"{cell.printed.value:.3f}"
    text = f"{100 * cell.printed.value:.1f}"
    if cell.printed.deviation is not None:
        text += f" +- {100 * cell.printed.deviation:.2f}"
    return text


def _signed(share):
    # Adding 0 makes minus 0 plain 0.
    return _NONE if share is None else f"{round(100 * share, 1) + 0.0:+.1f}"


def _to_printed(cell):
    if cell.quantity != paper.TARGET_PROBABILITY or cell.to_printed is None:
        return format_difference(cell.to_printed)
    return f"{cell.to_printed.mean:+.3f}"


def _style(cell):
    if cell.place is None or cell.place.is_shared:
        return ""
    return {1: BEST, 2: SECOND}[cell.place.number]


def _ranked(cell, text):
    """Add a shared place, which no style shows."""
    is_shared = cell.place is not None and cell.place.is_shared
    return f"{text} ({cell.place})" if is_shared else text


def _legend(filled):
    """Say what the numbers are, and what bold and underlined mean."""
    table = filled.table
    counts = {
        cell.measured.count
        for cells in filled.cells
        for cell in cells
        if cell.measured
    }
    unit = {"accuracy": "accuracy", "mean_iou": "mean IoU"}[table.metric]
    notes = [
        f"measured: test {unit} in percent, mean +- standard deviation over "
        f"{_range(counts)}."
    ]
    if any(row.quantity == paper.TARGET_PROBABILITY for row in table.rows):
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
    if filled.is_comparable:
        notes.append(
            f"paper: {table.source}. Its numbers count as fixed in measured - "
            "paper."
        )
        notes += [f"The paper contradicts itself: {x}" for x in table.notes]
    else:
        notes.append(
            "The paper's numbers are left out: they are for other data, "
            "networks or training."
        )
    if any(cell.measured is None for cells in filled.cells for cell in cells):
        notes.append(f"{MISSING}: there is no finished run.")
    return notes


def _range(counts):
    low, high = min(counts, default=0), max(counts, default=0)
    if low == high:
        return "1 seed" if low == 1 else f"{low} seeds"
    return f"{low} to {high} seeds"


def describe_records(recipe, records):
    """Say how the numbers of a data set came about.

    Args:
        recipe: `Recipe`, with the settings that are the paper's.
        records: List of its records with the same settings; not empty.

    Returns:
        String.
    """
    settings = with_former(records[0]["settings"])
    data = records[0]["data"]
    sizes = data["sizes"]
    seeds = sorted({record["settings"]["seed"] for record in records})
    left_out = sum(
        len(data[kind]) for kind in ("missing", "unreadable", "excluded")
    )
    chosen = {
        "last": "the last",
        "best_validation": "the one with the best validation score",
    }[settings["protocol"]]
    changed = [
        f"{name}={settings[name]} ({value})"
        for name, value in vars(recipe.settings).items()
        if settings.get(name) != value
    ]
    text = (
        f"{recipe.name}: {data['data_set']}, split: {data['split']}; "
        f"{sizes['train']} training, {sizes['validation']} validation and "
        f"{sizes['test']} test samples, {left_out} left out. Tested after "
        f"{chosen} of {settings['epochs']} epochs, batches of "
        f"{settings['batch_size']}, backend {settings['backend']}, seeds "
        f"{', '.join(map(str, seeds))}."
    )
    if changed:
        text += f" Other settings than the recipe's: {', '.join(changed)}."
    return text


def table_values(filled):
    """Return all numbers of a table, one dict a cell, for a CSV file.

    Args:
        filled: `FilledTable`.

    Returns:
        List of dicts of strings, numbers and None; shares of 0 to 1.
    """
    return [
        _values_of(filled, row, column, cell)
        for row, cells in zip(filled.table.rows, filled.cells)
        for column, cell in zip(filled.table.columns, cells)
    ]


def _values_of(filled, row, column, cell):
    measured, difference = cell.measured, cell.difference
    values = {
        "table": filled.table.number,
        "data_set": column.data_set,
        "student": column.student,
        "student_network": column.student_network,
        "teacher": column.teacher,
        "teacher_network": column.teacher_network,
        "method": row.method,
        "label": row.label,
        "quantity": cell.quantity,
        "state": MISSING if measured is None else "measured",
        **summary_values("measured", measured),
        "reference": row.reference if difference else None,
        **summary_values("difference", difference),
        "place": None if cell.place is None else str(cell.place),
    }
    if filled.is_comparable:
        printed = cell.printed
        values |= {
            "paper": printed and printed.value,
            "paper_deviation": printed and printed.deviation,
            "paper_difference": cell.printed_difference,
            **summary_values("measured_minus_paper", cell.to_printed),
            "source": filled.table.source,
        }
    return values


def summary_values(name, summary):
    """Return a summary as values for a CSV file.

    Args:
        name: String, that of the mean, with which the others begin.
        summary: `Summary`, or None.

    Returns:
        Dict of numbers; None for what does not exist.
    """
    parts = {
        name: "mean",
        f"{name}_deviation": "deviation",
        f"{name}_low": "low",
        f"{name}_high": "high",
        f"{name}_seeds": "count",
    }
    values = {key: getattr(summary, part, None) for key, part in parts.items()}
    # NaN is the only value that is not equal to itself.
    return {
        key: value if value == value else None for key, value in values.items()
    }
