"""The paper's figures from records and networks, before they are written."""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from keras_c2kd.analysis.figures import plot_training_dynamics
from keras_c2kd.analysis.paper_figures import plot_feature_similarity
from keras_c2kd.analysis.paper_figures import plot_modality_gap
from keras_c2kd.analysis.paper_figures import plot_modules
from keras_c2kd.analysis.paper_figures import plot_sensitivity
from keras_c2kd.experiments.figure_points import SCORE
from keras_c2kd.experiments.figure_points import Point
from keras_c2kd.experiments.method_rows import BASELINE
from keras_c2kd.experiments.network_pairs import BETWEEN
from keras_c2kd.experiments.network_pairs import WITHIN
from keras_c2kd.experiments.network_pairs import compare_networks
from keras_c2kd.experiments.paper import TARGET_PROBABILITY
from keras_c2kd.experiments.table_sheets import describe_records

NO_SELECTION, NO_PLACE = "w/o selection", "-"
KENDALL, CKA = "kendall", "cka"


@dataclasses.dataclass(frozen=True)
class Drawing:
    """A figure before it is written.

    Attributes:
        title: String.
        points: List of `Point`, all its numbers.
        notes: List of strings.
        draw: Function that writes the picture to a path; there must be a
            point that is not missing.
        told: Those of the points that are printed; None (default) for all.
    """

    title: str
    points: list
    notes: list
    draw: Callable
    told: list | None = None


def modality_gap_drawing(reproduction, names, larger=None):
    """Return Fig. 1: each modality alone, and how alike networks rank.

    Args:
        reproduction: `Reproduction`.
        names: Names of recipes.
        larger: Name of a larger network of both modalities, or None.

    Returns:
        `Drawing`.
    """
    points, notes = [], []
    for name in names:
        records = _train_alone(reproduction, name, larger)
        notes += _describe(reproduction, name, records)
        points += _alone_points(reproduction.in_use(name), records)
        taus = {}
        for pair in _compare(reproduction, name, records, larger, notes):
            place = taus.setdefault((pair.kind, pair.label), {})
            place[pair.seed] = pair.gap.measures.kendall.mean.value
        points += [
            Point(name, kind, label, runs, KENDALL)
            for (kind, label), runs in taus.items()
        ]
    notes.append(
        "Kendall correlation of two networks' logits: mean over the test "
        "samples, then mean and deviation over the pairs of networks."
    )
    alone, correlations = {}, {BETWEEN: {}, WITHIN: {}}
    for point in points:
        if point.quantity == KENDALL:
            label = f"{point.panel}: {point.place}"
            correlations[point.series][label] = point.summary
        else:
            parts = alone.setdefault(point.panel, {})
            parts.setdefault(point.series, []).append(point.summary)
    draw = functools.partial(plot_modality_gap, alone, correlations)
    return Drawing("Figure 1. The modality gap", points, notes, draw)


def _alone_points(recipe, records):
    """Return score and target probability of each modality alone."""
    return [
        Point(
            recipe.name,
            modality,
            f"{recipe.network(modality)}, {quantity.replace('_', ' ')}",
            _values(records, BASELINE, modality, recipe, quantity),
            quantity,
        )
        for modality in recipe.modalities
        for quantity in (SCORE, TARGET_PROBABILITY)
    ]


def dynamics_drawing(reproduction, name, methods):
    """Return Fig. 3: the score and the rank-distorted samples by epoch.

    Args:
        reproduction: `Reproduction`.
        name: Name of a recipe.
        methods: Names of methods with a teacher.

    Returns:
        `Drawing`.
    """
    recipe = reproduction.in_use(name)
    found = reproduction.records(name, reproduction.plan(name, methods))
    records = [r for r in found if r["settings"]["method"] in methods]
    points = [
        point
        for student in recipe.modalities
        for method in methods
        for key in (f"val_{recipe.metric}", "rank_distorted_share")
        for point in _by_epoch(records, student, method, key)
    ]
    notes = [
        *_describe(reproduction, name, records),
        f"Solid: {recipe.metric_name} of the validation samples (the paper "
        "has the test samples). Dotted: number of training samples in a batch "
        "whose two networks' logits have a Kendall correlation below 0, after "
        "the epoch; a share in the numbers.",
    ]

    def draw(path):
        batch_size = records[0]["settings"]["batch_size"]
        plot_training_dynamics(records, path, batch_size, recipe.metric)

    # Of each line the last epoch.
    told = {(point.panel, point.series): point for point in points}
    title = f"Figure 3. Training, {name}"
    return Drawing(title, points, notes, draw, list(told.values()))


def _by_epoch(records, student, method, key):
    """Return a point for each epoch of the history; one if there is none."""
    histories = {
        record["settings"]["seed"]: record["history"][key]
        for record in records
        if record["settings"]["student"] == student
        and record["settings"]["method"] == method
    }
    panel, series = f"{student} student", f"{method}, {key}"
    epochs = min(map(len, histories.values()), default=0)
    if not epochs:
        return [Point(panel, series, NO_PLACE, {})]
    return [
        Point(
            panel,
            series,
            f"epoch {epoch + 1}",
            {seed: history[epoch] for seed, history in histories.items()},
        )
        for epoch in range(epochs)
    ]


def sensitivity_drawing(reproduction, name, metrics, thresholds):
    """Return Fig. 4: C2KD over the threshold of each selection.

    Args:
        reproduction: `Reproduction`.
        name: Name of a recipe.
        metrics: Dict from what a metric is called to its name in
            `SELECTIONS`.
        thresholds: Sequence of floats.

    Returns:
        `Drawing`.
    """
    curves = {NO_SELECTION: {NO_PLACE: "c2kd@all"}}
    for label, kind in metrics.items():
        curves[label] = {
            f"{threshold + 0.0:g}": "c2kd"
            # The row itself has this selection.
            if kind == "kendall" and not threshold
            else f"c2kd@{kind}={threshold + 0.0:g}"
            for threshold in thresholds
        }
    title = f"Figure 4. Metric and threshold of the selection, {name}"
    points, notes = _scores(
        reproduction, name, curves, lambda series: (NO_SELECTION, NO_PLACE)
    )
    panels = {}
    for panel, lines in _nested(points).items():
        without = lines.pop(NO_SELECTION).get(NO_PLACE)
        lines = {
            label: {float(x): summary for x, summary in line.items()}
            for label, line in lines.items()
        }
        panels[panel] = {"curves": lines, "without": without}
    draw = functools.partial(plot_sensitivity, panels)
    return Drawing(title, points, notes, draw)


def modules_drawing(reproduction, name, modules):
    """Return Fig. 5: methods with more and more modules.

    Args:
        reproduction: `Reproduction`.
        name: Name of a recipe.
        modules: Dict from what a method is called to a dict from the steps
            to the names of rows; the first step is the method as it is.

    Returns:
        `Drawing`.
    """
    points, notes = _scores(
        reproduction,
        name,
        modules,
        lambda series: (series, next(iter(modules[series]))),
    )
    draw = functools.partial(plot_modules, _nested(points))
    title = f"Figure 5. Generalisability of the modules, {name}"
    return Drawing(title, points, notes, draw)


def _scores(reproduction, name, curves, reference_of):
    """Return points of test scores, one a method and student, and notes.

    Args:
        reproduction: `Reproduction`.
        name: Name of a recipe.
        curves: Dict from the name of a series to a dict from a place to a
            method.
        reference_of: Function from a series to the series and place that its
            points are compared with.
    """
    recipe = reproduction.in_use(name)
    methods = dict.fromkeys(
        method for curve in curves.values() for method in curve.values()
    )
    plan = reproduction.plan(name, list(methods))
    records = reproduction.records(name, plan)
    points = []
    for student in recipe.modalities:
        runs = {
            method: _values(records, method, student, recipe)
            for method in methods
        }
        for series, curve in curves.items():
            other, at = reference_of(series)
            base = curves[other][at]
            label = other if at == NO_PLACE else f"{other}, {at}"
            points += [
                Point(
                    f"{student} student",
                    series,
                    place,
                    runs[method],
                    reference=None if method == base else label,
                    reference_runs=runs[base],
                )
                for place, method in curve.items()
            ]
    return points, _describe(reproduction, name, records)


def _nested(points):
    """Return summaries by panel, series and place, without what is missing."""
    panels = {}
    for point in points:
        curve = panels.setdefault(point.panel, {}).setdefault(point.series, {})
        if point.runs:
            curve[point.place] = point.summary
    return panels


def similarity_drawing(reproduction, name, larger=None):
    """Return Fig. 6: CKA of the stages of networks that trained alone.

    Args:
        reproduction: `Reproduction`.
        name: Name of a recipe.
        larger: Name of a larger network of both modalities, or None.

    Returns:
        `Drawing`.
    """
    stages = reproduction.in_use(name).stages
    records = _train_alone(reproduction, name, larger)
    notes = _describe(reproduction, name, records)
    matrices, sides = {}, {}
    for pair in _compare(reproduction, name, records, larger, notes, stages):
        matrices.setdefault(pair.label, {})[pair.seed] = pair.gap.cka
        sides[pair.label] = pair.sides
    points = [
        Point(
            name,
            label,
            f"{first} / {second}",
            {seed: float(cka[row, column]) for seed, cka in found.items()},
            CKA,
        )
        for label, found in matrices.items()
        for row, first in enumerate(stages)
        for column, second in enumerate(stages)
    ]
    arrays = {
        label: np.stack(list(found.values()))
        for label, found in matrices.items()
    }
    return Drawing(
        f"Figure 6. Similarity of the features, {name}",
        points or [Point(name, "all pairs", NO_PLACE, {}, CKA)],
        [*notes, "Linear CKA, debiased, over the test samples."],
        functools.partial(plot_feature_similarity, arrays, sides, stages),
    )


def _train_alone(reproduction, name, larger):
    """Return the records of networks that train alone, and of larger ones."""
    plan = reproduction.plan(name, [])
    if larger:
        plan += reproduction.plan(name, [], networks=(larger, larger))
    return reproduction.records(name, plan)


def _compare(reproduction, name, records, larger, notes, stages=()):
    """Return the pairs of networks; none, and a note, without data."""
    if not reproduction.can_train(name):
        notes.append(f"{name}: no --data, so its networks are not compared.")
        return []
    return compare_networks(reproduction, name, records, larger, stages)


def _values(records, method, student, recipe, quantity=SCORE):
    """Return a quantity of a method's runs, of default networks, by seed."""
    found = {
        record["settings"]["seed"]: record["scores"]["student"]
        if quantity == SCORE
        else record["test"].get(quantity)
        for record in records
        if record["settings"]["method"] == method
        and record["settings"]["student"] == student
        and record["settings"]["student_network"] == recipe.network(student)
    }
    return {seed: value for seed, value in found.items() if value is not None}


def _describe(reproduction, name, records):
    """Return the protocol as a list of notes; none without records."""
    if not records:
        return []
    return [describe_records(reproduction.recipe(name), records)]
