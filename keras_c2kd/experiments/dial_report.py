"""From the runs of a study over two dials to its maps, tables and texts."""

import dataclasses
import math
import statistics

from keras_c2kd.analysis.sweep_maps import plot_number_maps
from keras_c2kd.analysis.sweep_maps import plot_sweep_maps
from keras_c2kd.experiments.method_rows import BASELINE
from keras_c2kd.experiments.results import write_atomically
from keras_c2kd.experiments.tables import Summary
from keras_c2kd.experiments.tables import format_difference
from keras_c2kd.experiments.tables import format_score
from keras_c2kd.experiments.tables import summarize
from keras_c2kd.utils.optional_imports import import_optional

# Two methods that are compared with each other, too, if both were run.
_PAIR = ("c2kd", "kd")
# The share of chance findings among what is said to stand.
_FALSE_DISCOVERIES = 0.05


@dataclasses.dataclass(frozen=True)
class MapCell:
    """The difference between two methods at one point of the map.

    Attributes:
        difference: `Summary` of the differences, seed by seed.
        stands: Whether it still differs from 0 after the correction for many
            comparisons.
    """

    difference: Summary
    stands: bool

    @property
    def sign(self):
        """1 or -1 if the interval lies above or below 0, and else 0."""
        return (self.difference.low > 0) - (self.difference.high < 0)


@dataclasses.dataclass(frozen=True)
class DialMap:
    """The differences between two methods over the dials.

    Attributes:
        title: String.
        cells: Dict from `(row level, column level)` to `MapCell`.
        over_all: `Summary`, of the means over all cells, one a seed.
        by_row: Dict from the level to the same over the cells of a row.
        by_column: The same of the columns.
    """

    title: str
    cells: dict
    over_all: Summary
    by_row: dict
    by_column: dict


def map_differences(rows, dials, student):
    """Compare the methods over the dials.

    Differences are paired: of the same seed, to the student's run without a
    teacher, which there is one of a seed for all cells, and between C2KD and
    KD of the same cell. Of all cells of all maps together, those that stand
    are found by the procedure of Benjamini and Hochberg on the p-values of
    the paired t-tests: of them, 5% at most are by chance on average.

    Args:
        rows: List of dicts of the runs, as `train_cell` returns them.
        dials: Names of the rows' and of the columns' setting.
        student: Modality of the deployed network.

    Returns:
        Dict from titles to `DialMap`.

    Raises:
        ValueError: If the student's data differ between runs of a seed, or a
            cell lacks a seed.
    """
    differences = _differences(rows, dials, student)
    summaries = {
        title: {
            place: summarize(seeds.values()) for place, seeds in map_.items()
        }
        for title, map_ in differences.items()
    }
    stands = iter(
        _standing(
            [cell for cells in summaries.values() for cell in cells.values()]
        )
    )
    maps = {}
    for title, cells in summaries.items():
        of_seeds = differences[title]

        def over(is_in, of_seeds=of_seeds):
            chosen = [of_seeds[place] for place in of_seeds if is_in(place)]
            return summarize(
                statistics.fmean(cell[seed] for cell in chosen)
                for seed in chosen[0]
            )

        by_level = [
            {
                level: over(lambda place: place[axis] == level)
                for level in dict.fromkeys(place[axis] for place in cells)
            }
            for axis in (0, 1)
        ]
        maps[title] = DialMap(
            title,
            {
                place: MapCell(summary, next(stands))
                for place, summary in cells.items()
            },
            over(lambda place: True),
            *by_level,
        )
    return maps


def _differences(rows, dials, student):
    """Return `{title: {place: {seed: difference}}}`."""
    alone, scores = {}, {}
    for row in rows:
        if row["student"] != student:
            continue
        if row["method"] == BASELINE:
            alone[row["seed"]] = row
            continue
        place = tuple(row[dial] for dial in dials)
        seeds = scores.setdefault(row["method"], {}).setdefault(place, {})
        seeds[row["seed"]] = row
    differences = {}
    for method, cells in scores.items():
        title = f"{method} minus {BASELINE}"
        differences[title] = {
            place: {
                seed: row["score"] - _same_data(alone[seed], row)["score"]
                for seed, row in seeds.items()
            }
            for place, seeds in cells.items()
        }
    if set(_PAIR) <= set(scores):
        first, second = (scores[method] for method in _PAIR)
        differences[" minus ".join(_PAIR)] = {
            place: {
                seed: row["score"] - second[place][seed]["score"]
                for seed, row in seeds.items()
            }
            for place, seeds in first.items()
        }
    _check_seeds(differences, set(alone))
    return differences


def _same_data(alone, row):
    if alone["student_data"] != row["student_data"]:
        raise ValueError(
            "The student's data must not depend on the dials: one run "
            "without a teacher is compared with all cells. Received: other "
            f"data for {row['method']} and seed {row['seed']}. Make the "
            "loader draw them before the dials take part."
        )
    return alone


def _check_seeds(differences, expected):
    for title, cells in differences.items():
        for place, seeds in cells.items():
            if set(seeds) != expected:
                raise ValueError(
                    f"Every cell has the seeds {sorted(expected)}. Received: "
                    f"{sorted(seeds)} for {title} at {place}"
                )


def _standing(summaries):
    """Say which differences are not chance, at 5% false discoveries."""
    stats = import_optional("scipy.stats", "experiments", "The correction")
    corrected = stats.false_discovery_control(
        [_probability(summary, stats) for summary in summaries]
    )
    return [bool(value <= _FALSE_DISCOVERIES) for value in corrected]


def _probability(summary, stats):
    """Return the p-value of the t-test that the mean is 0."""
    if summary.count == 1:
        return 1.0
    error = summary.deviation / math.sqrt(summary.count)
    if error == 0:
        return float(summary.mean == 0)
    return 2 * stats.t.sf(abs(summary.mean) / error, summary.count - 1)


def report_study(study, options, levels, rows, directory):
    """Print and write the page of a study: `table.md` and two figures.

    Args:
        study: `DialStudy`.
        options: Namespace of `command_line.parse`.
        levels: The levels of the rows, and those of the columns.
        rows: List of dicts of the runs.
        directory: `pathlib.Path` of the folder.

    Returns:
        Dict from titles to `DialMap`.
    """
    dials = tuple(dial.setting for dial in study.dials)
    maps = map_differences(rows, dials, study.student)
    numbers = _measured(study, options, levels)
    numbers["accuracy of the teacher"] = _teachers(rows, dials, study.student)
    text = "\n\n".join(
        (
            describe_maps(maps, dials, options.seeds),
            level_table(maps, dials),
            cell_table(maps, dials),
            number_table(numbers, dials),
            _describe_protocol(rows, options),
        )
    )
    print(f"\n{text}")
    write_atomically(directory / "table.md", text + "\n")
    drawn = {title: found.cells for title, found in maps.items()}
    labels = [dial.label for dial in study.dials]
    plot_sweep_maps(drawn, labels, directory / "maps.png")
    plot_number_maps(
        {
            title: {place: cell.mean for place, cell in cells.items()}
            for title, cells in numbers.items()
        },
        labels,
        directory / "dials.png",
    )
    print(f"\nWritten: table.md, maps.png and dials.png in {directory}")
    return maps


def _measured(study, options, levels):
    """Return `{name: {place: Summary}}` of what the dials do to the data."""
    numbers = {}
    for place in [(row, column) for row in levels[0] for column in levels[1]]:
        settings = study.at(options.settings, place)
        found = [study.measure(settings, s) for s in range(options.seeds)]
        for name in found[0]:
            values = [measures[name] for measures in found]
            numbers.setdefault(name, {})[place] = summarize(values)
    return numbers


def _teachers(rows, dials, student):
    """Return `{place: Summary}` of the teachers' accuracy on their own."""
    cells = {}
    for row in rows:
        if row["student"] != student:
            place = tuple(row[dial] for dial in dials)
            cells.setdefault(place, []).append(row["score"])
    return {place: summarize(values) for place, values in cells.items()}


def describe_maps(maps, dials, seeds):
    """Say by rule where each method differs from another.

    Args:
        maps: Dict from titles to `DialMap`.
        dials: Names of the rows' and of the columns' setting.
        seeds: Integer, number of seeds.

    Returns:
        String, a list in Markdown.
    """
    number = sum(len(found.cells) for found in maps.values())
    lines = [
        f"Differences of test accuracy, in points, paired over {seeds} seeds, "
        "with 95% intervals of their mean (Student's t). A cell counts if its "
        "interval leaves 0 out; in brackets, if that stands when at most 5% "
        "false discoveries are allowed on average (Benjamini and Hochberg) "
        f"among all {number} cells of all maps. The interval over all cells "
        "is of the means over them, one a seed.",
        "",
    ]
    for title, found in maps.items():
        cells = found.cells
        counts = []
        for sign in (1, -1):
            beyond = [cell for cell in cells.values() if cell.sign == sign]
            stand = sum(cell.stands for cell in beyond)
            counts.append(f"{len(beyond)} ({stand})")
        ends = [
            f"{100 * cells[place].difference.mean:+.1f} at "
            + ", ".join(f"{d} {level:g}" for d, level in zip(dials, place))
            for place in (
                max(cells, key=lambda p: cells[p].difference.mean),
                min(cells, key=lambda p: cells[p].difference.mean),
            )
        ]
        lines.append(
            f"- {title}: above 0 in {counts[0]} of {len(cells)} cells, below "
            f"in {counts[1]}; over all cells "
            f"{format_difference(found.over_all)}; highest {ends[0]}; lowest "
            f"{ends[1]}."
        )
    return "\n".join(lines)


def level_table(maps, dials):
    """Format the means over a row or a column of each map.

    Args:
        maps: Dict from titles to `DialMap`.
        dials: Names of the rows' and of the columns' setting.

    Returns:
        String, a Markdown table.
    """
    first = next(iter(maps.values()))
    lines = [("all cells of", *maps)]
    for name, levels in zip(dials, ("by_row", "by_column")):
        for level in getattr(first, levels):
            found = [getattr(m, levels)[level] for m in maps.values()]
            lines.append((f"{name} {level:g}", *map(format_difference, found)))
    return _table(lines)


def cell_table(maps, dials):
    """Format every cell of every map; bold is what stands.

    Args:
        maps: Dict from titles to `DialMap`.
        dials: Names of the rows' and of the columns' setting.

    Returns:
        String, a Markdown table.
    """
    lines = [(*dials, *maps)]
    for place in next(iter(maps.values())).cells:
        entries = []
        for found in maps.values():
            cell = found.cells[place]
            text = format_difference(cell.difference)
            entries.append(f"**{text}**" if cell.stands else text)
        lines.append((*(f"{level:g}" for level in place), *entries))
    return (
        f"{_table(lines)}\n\nBold: the difference stands after the correction."
    )


def number_table(numbers, dials):
    """Format what the dials do, without any method.

    Args:
        numbers: Dict from names to dicts `(row level, column level)` to
            `Summary`.
        dials: Names of the rows' and of the columns' setting.

    Returns:
        String, a Markdown table: mean +- standard deviation, in percent.
    """
    lines = [(*dials, *numbers)]
    for place in next(iter(numbers.values())):
        entries = [format_score(cells[place]) for cells in numbers.values()]
        lines.append((*(f"{level:g}" for level in place), *entries))
    return (
        "What the dials do, in percent, mean +- standard deviation over the "
        f"seeds:\n\n{_table(lines)}"
    )


def _table(lines):
    header, *others = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([header, "|---" * len(lines[0]) + "|", *others])


def _describe_protocol(rows, options):
    data, settings = rows[0]["provenance"], options.settings
    sizes = data["sizes"]
    return (
        f"{data['data_set']}, {data['split']}: {sizes['train']} training, "
        f"{sizes['validation']} validation and {sizes['test']} test pairs. "
        f"{len(rows)} runs of {settings.epochs} epochs, seeds 0 to "
        f"{options.seeds - 1}, the last epoch tested, "
        f"{sum(row['seconds'] for row in rows):.0f} s of training in all. "
        f"Backend: {rows[0]['backend']}."
    )
