"""Records of runs that never were."""

import json

from keras_c2kd.comparison.identity import plain
from keras_c2kd.comparison.records import RunFiles
from keras_c2kd.comparison.table import CELL
from tests.recipes.paper.loading import load

rows = load("rows")


def made_record(recipe, method, student, seed, score, **changes):
    """Return a record of a recipe's run as the runner would store it.

    Args:
        recipe: `Recipe`.
        method: Name of a row.
        student: Modality.
        seed: Integer.
        score: The student's test score.
        **changes: Settings other than the recipe's; `teacher_after` and
            `target_probability` of the results.
    """
    other = recipe.other(student)
    networks = student, recipe.network(student), other, recipe.network(other)
    after = changes.pop("teacher_after", 0.5)
    probability = changes.pop("target_probability", 0.25)
    cell = dict(zip(CELL, rows.cell_of(method, *networks)))
    settings = {
        **cell,
        "seed": seed,
        "backend": "jax",
        **plain(recipe.settings),
        "method_config": {"class": method, "selection": {"seed": seed}},
        "data": f"data{seed if recipe.data_depend_on_seed else ''}",
        **changes,
    }
    metric = recipe.settings.metric
    scores = {"student": score, "validation": score}
    history = {f"val_{metric}": [score / 2, score]}
    if cell["teacher"]:
        scores |= {"teacher_before": 0.4, "teacher_after": after}
        history["rank_distorted_share"] = [0.5, 0.25]
    return {
        "name": f"{method}-{student}-seed{seed}",
        "settings": settings,
        "scores": scores,
        "test": {"target_probability": probability},
        "history": history,
        "updates": 10,
        "parameters": 20,
        "seconds": 1.0,
        "data": {
            "data_set": recipe.name,
            "split": "made up",
            "classes": ["a", "b"],
            "sizes": {"train": 5, "validation": 4, "test": 3},
            "missing": [],
            "unreadable": [],
            "excluded": [],
        },
        "network": None,
    }


def save_records(folder, records):
    """Write records where the runner does; `RunFiles.save` is slower."""
    files = RunFiles(folder / "runs")
    files.directory.mkdir(parents=True, exist_ok=True)
    for record in records:
        path = files.path(record["name"], record["settings"])
        written = {**record, "environment": {}, "finished": "2024-01-01"}
        path.write_text(json.dumps(written))


def spread_scores(recipe, methods=tuple(rows.ROWS), seeds=3):
    """Return records of both directions, each method 0.01 above the last."""
    return [
        made_record(
            recipe,
            method,
            student,
            seed,
            0.2 + 0.01 * number + 0.001 * seed,
        )
        for number, method in enumerate(methods)
        for student in recipe.modalities
        for seed in range(seeds)
    ]
