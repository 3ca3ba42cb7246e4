"""The numbers of tables and figures: what was measured beside what is printed.

All values are fractions, of 0 to 1; the paper prints most in percent.
"""

import pandas as pd
from printed import SCORE
from printed import TARGET_PROBABILITY
from printed import TEACHER
from rows import cell_of

from keras_c2kd.comparison.result import format_difference
from keras_c2kd.comparison.result import format_score
from keras_c2kd.comparison.statistics import Summary
from keras_c2kd.comparison.statistics import paired_difference
from keras_c2kd.comparison.statistics import summarize
from keras_c2kd.comparison.table import CELL

MISSING, NONE = "missing", "-"
_PARTS = ("mean", "std", "low", "high", "count")


def numbers_of(name, summary):
    """Return a summary as the columns of a line; None where there is none."""
    return {f"{name}_{part}": getattr(summary, part, None) for part in _PARTS}


def summary_of(line, name):
    """Return the summary in a line's columns, or None."""
    values = [line[f"{name}_{part}"] for part in _PARTS]
    if pd.isna(values[0]):
        return None
    return Summary(*map(float, values[:-1]), int(values[-1]))


def point(
    panel,
    series,
    at,
    runs,
    quantity=SCORE,
    reference=None,
    reference_runs=None,
):
    """Return the line of one mean of a figure, with its panel and series.

    `at` is where it is in the series, such as a threshold; `runs` are values
    by seed, empty if missing; `reference` is the name of what it is compared
    with, `reference_runs` its values.
    """
    is_compared = reference is not None
    difference = (
        paired_difference(runs, reference_runs) if is_compared else None
    )
    return {
        "panel": panel,
        "series": series,
        "at": at,
        "quantity": quantity,
        **numbers_of("measured", summarize(runs.values()) if runs else None),
        "reference": reference,
        **numbers_of("difference", difference),
    }


def values_by_seed(records, cell, quantity):
    """Return a quantity of the runs of a cell by seed; empty if missing."""
    found = {}
    for record in records:
        settings = record["settings"]
        if tuple(settings[key] for key in CELL) == cell:
            found[settings["seed"]] = {
                SCORE: record["scores"].get("student"),
                TEACHER: record["scores"].get("teacher_after"),
                TARGET_PROBABILITY: record["test"].get(TARGET_PROBABILITY),
            }[quantity]
    # Not every record has all of them.
    return {seed: value for seed, value in found.items() if value is not None}


def fill(cells, records, shown=None):
    """Fill the cells of a table with what was measured.

    Args:
        cells: Data frame, as `PaperTable.cells` returns it, of all rows,
            since some are compared with others.
        records: Dict from the name of a recipe to its records, all alike.
        shown: Names of the methods to show, which alone are ranked; None
            (default) for all.

    Returns:
        What is shown, with `measured_...` and `difference_...` (`mean`, `std`,
        `low`, `high`, `count`; to the `reference`, paired by seed),
        `paper_difference`, `minus_paper_...` (ours minus the paper's value,
        which counts as fixed) and `place` (`""` if nothing is told apart).
    """
    lines = []
    for _, column in cells.groupby("column", sort=False):
        runs, printed = {}, {}
        for one in column.to_dict("records"):
            key = one["method"], one["quantity"]
            cell = cell_of(
                one["method"],
                *(one["student"], one["student_network"]),
                *(one["teacher"], one["teacher_network"]),
            )
            known = records.get(one["recipe"], [])
            runs[key] = values_by_seed(known, cell, one["quantity"])
            printed[key] = one["paper"]
        # Teachers and probabilities are no competition, nor is what nobody
        # sees.
        places = rank(
            {
                key[0]: values
                for key, values in runs.items()
                if key[1] == SCORE and (shown is None or key[0] in shown)
            }
        )
        for one in column.to_dict("records"):
            if shown is None or one["method"] in shown:
                lines.append(_filled(one, runs, printed, places))
    return pd.DataFrame(lines).sort_values(["row", "column"])


def _filled(one, runs, printed, places):
    quantity = one["quantity"]
    own = runs[one["method"], quantity]
    base = runs.get((one["reference"], quantity))
    is_compared = quantity == SCORE and base is not None
    base_printed = printed.get((one["reference"], quantity))
    to_printed = None
    if own and not pd.isna(one["paper"]):
        to_printed = summarize([x - one["paper"] for x in own.values()])
    return {
        **one,
        **numbers_of("measured", summarize(own.values()) if own else None),
        **numbers_of(
            "difference", paired_difference(own, base) if is_compared else None
        ),
        "place": places.get(one["method"], "") if quantity == SCORE else "",
        "paper_difference": one["paper"] - base_printed
        if is_compared
        else None,
        **numbers_of("minus_paper", to_printed),
    }


def rank(scores):
    """Give the first two places, as far as paired differences tell.

    The method with the highest mean has the first place, together with all
    those whose paired difference to it has no 95% interval above 0. The best
    of the others has the second place, in the same way. Methods with less than
    three common seeds are not told apart. The intervals are not corrected for
    the number of comparisons.

    Args:
        scores: Dict from the method to a dict from the seed to its score.

    Returns:
        Dict from the method to `"1"`, `"2"`, or `"1="`, `"2="` where others
        share the place. Empty if all share the first one: nothing is told
        apart.
    """
    left = {method: runs for method, runs in scores.items() if runs}
    places = {}
    for number in (1, 2):
        if not left:
            break
        best = max(left, key=lambda name: summarize(left[name].values()).mean)
        alike = []
        for method, runs in left.items():
            found = paired_difference(left[best], runs)
            if found is None or not found.is_above_zero:
                alike.append(method)
        if number == 1 and len(alike) == len(left):
            return {}
        for method in alike:
            places[method] = f"{number}" + "=" * (len(alike) > 1)
            del left[method]
    return places


def measured_text(line):
    """Format a line's mean and standard deviation; a score in percent."""
    summary = summary_of(line, "measured")
    if summary is None:
        return MISSING
    if line["quantity"] in (SCORE, TEACHER):
        return format_score(summary)
    spread = f" +- {summary.std:.3f}" if summary.count > 1 else ""
    return f"{summary.mean:.3f}{spread}"


def difference_text(line, name="difference"):
    """Format one of a line's differences in points, with its interval."""
    summary = summary_of(line, name)
    if summary is not None and line["quantity"] == TARGET_PROBABILITY:
        return f"{summary.mean:+.3f}"
    return format_difference(summary)


def paper_text(line):
    """Format the paper's number as it is printed."""
    if pd.isna(line["paper"]):
        return NONE
    if line["quantity"] == TARGET_PROBABILITY:
        return f"{line['paper']:.3f}"
    spread = line["paper_std"]
    return f"{100 * line['paper']:.1f}" + (
        "" if pd.isna(spread) else f" +- {100 * spread:.2f}"
    )


def headings(cells):
    """Return a short name of each column, unlike the others, by its number."""
    columns = cells.drop_duplicates("column").set_index("column")
    taught = (columns["of"] == TEACHER).map({True: "teacher of ", False: ""})
    names = columns["data_set"] + ", " + taught + columns["student"]
    if not names.is_unique:
        networks = (
            columns["student_network"] + ", " + columns["teacher_network"]
        )
        names = names + " (" + networks + ")"
    return names


def counted(counts):
    """Say over how many seeds means are."""
    counts = [int(count) for count in counts if not pd.isna(count)]
    low, high = min(counts, default=0), max(counts, default=0)
    if low == high:
        return "1 seed" if low == 1 else f"{low} seeds"
    return f"{low} to {high} seeds"
