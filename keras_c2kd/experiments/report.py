"""From the records of a recipe to its table and figures."""

from keras_c2kd.analysis.figures import plot_comparison
from keras_c2kd.analysis.figures import plot_training_dynamics
from keras_c2kd.experiments.method_rows import BASELINE
from keras_c2kd.experiments.results import write_atomically
from keras_c2kd.experiments.sheets import markdown_text
from keras_c2kd.experiments.tables import compare_methods
from keras_c2kd.experiments.tables import format_difference
from keras_c2kd.experiments.tables import format_score
from keras_c2kd.experiments.tables import markdown_table
from keras_c2kd.experiments.tables import summarize

MOST_LINES = 5  # More in one figure of training dynamics cannot be told apart.


def report(recipe, records, directory, students=None):
    """Print the table of some records; write it and its figures.

    Args:
        recipe: `Recipe`.
        records: List of records of its runs, with the same settings.
        directory: `pathlib.Path` of the folder for `table.md`, `table.png`
            and `dynamics.png`.
        students: Modalities to draw; None (default) for all.

    Returns:
        List of `Comparison`.
    """
    comparisons = compare_methods(records, BASELINE)
    text = "\n\n".join(
        (
            describe_gap(recipe, records),
            markdown_table(comparisons),
            describe_protocol(recipe, records),
        )
    )
    print(f"\n{text}")
    write_atomically(directory / "table.md", text + "\n")
    students = students or recipe.modalities
    shown = [row for row in comparisons if row.student in students]
    plot_comparison(shown, directory / "table.png", recipe.metric_name)
    plot_training_dynamics(
        _drawable(records, students, recipe),
        directory / "dynamics.png",
        records[0]["settings"]["batch_size"],
        recipe.metric,
    )
    print(f"\nWritten: table.md, table.png and dynamics.png in {directory}")
    return comparisons


def describe_gap(recipe, records):
    """Say what each modality reaches alone, and by how much they differ.

    Args:
        recipe: `Recipe`.
        records: List of records.

    Returns:
        String, a line for each pair of networks.
    """
    alone = {}
    for record in records:
        settings = record["settings"]
        if settings["method"] == BASELINE:
            key = settings["student"], settings["student_network"]
            scores = alone.setdefault(key, {})
            scores[settings["seed"]] = record["scores"]["student"]
    first, second = recipe.modalities
    lines = []
    for one in (key for key in alone if key[0] == first):
        for other in (key for key in alone if key[0] == second):
            seeds = set(alone[one]) & set(alone[other])
            if not seeds:
                continue
            gaps = [alone[one][seed] - alone[other][seed] for seed in seeds]
            sides = ", ".join(
                f"{key[0]} ({key[1]}) "
                f"{format_score(summarize(alone[key].values()))}"
                for key in (one, other)
            )
            lines.append(
                f"Each modality alone, test {recipe.metric_name} in percent: "
                f"{sides}. Modality gap: "
                f"{format_difference(summarize(gaps))} points."
            )
    return "\n".join(lines)


def describe_protocol(recipe, records):
    """Say how the numbers of a table came about.

    Args:
        recipe: `Recipe`.
        records: List of records with the same settings.

    Returns:
        String.
    """
    settings, data = records[0]["settings"], records[0]["data"]
    sizes, seeds = data["sizes"], {r["settings"]["seed"] for r in records}
    chosen = {
        "last": f"after the last of {settings['epochs']} epochs",
        "best_validation": "after the epoch with the best validation score of "
        f"{settings['epochs']}",
    }[settings["protocol"]]
    left_out = sum(
        len(data[kind]) for kind in ("missing", "unreadable", "excluded")
    )
    return (
        f"{markdown_text(data['data_set'])}, split: "
        f"{markdown_text(data['split'])}; {sizes['train']} "
        f"training, {sizes['validation']} validation and {sizes['test']} test "
        f"samples, {left_out} left out. Test {recipe.metric_name} in percent "
        f"{chosen}, mean +- standard deviation over {len(seeds)} seeds. "
        f"Difference: to {BASELINE} with the same seed, in points, with the "
        "95% interval of its mean. Backend: "
        f"{settings['backend']}."
    )


def _drawable(records, students, recipe):
    """Return the records whose dynamics fit into one figure."""
    runs = [run for run in records if run["settings"]["student"] in students]
    names = {run["settings"]["method"] for run in runs}
    if len(names) > MOST_LINES:
        names = {BASELINE, *recipe.default_methods}
    return [run for run in runs if run["settings"]["method"] in names]
