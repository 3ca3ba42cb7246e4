"""Networks that trained alone, compared two by two on test samples."""

import dataclasses

from keras_c2kd.analysis import ModalityGap
from keras_c2kd.analysis import modality_gap
from keras_c2kd.experiments.method_rows import BASELINE

BETWEEN, WITHIN = "between", "within"


@dataclasses.dataclass(frozen=True)
class NetworkPair:
    """Two networks that trained alone.

    Attributes:
        kind: `"between"` two modalities or `"within"` one.
        label: Which networks, whatever the seed.
        sides: What the first and the second are called.
        seed: Integer, that of the first.
        gap: `ModalityGap` of the two.
    """

    kind: str
    label: str
    sides: tuple
    seed: int
    gap: ModalityGap


def compare_networks(reproduction, name, records, larger=None, stages=()):
    """Compare networks between the modalities, and within each.

    Between: the default networks of a seed. Within: the default network of a
    seed and the larger one where there are any, else the default networks of
    a seed and the next.

    Args:
        reproduction: `Reproduction`.
        name: Name of a recipe.
        records: List of records of its networks that trained alone.
        larger: Name of a larger network of both modalities, or None.
        stages: Names of the layers whose features are compared.

    Returns:
        List of `NetworkPair`.
    """
    recipe = reproduction.in_use(name)
    by_network = {}
    for record in records:
        settings = record["settings"]
        if settings["method"] == BASELINE:
            key = settings["student"], settings["student_network"]
            by_network.setdefault(key, {})[settings["seed"]] = record
    first, second = ((m, recipe.network(m)) for m in recipe.modalities)
    wanted = [_between(by_network, first, second)]
    for modality, network in (first, second):
        other = (modality, larger)
        if larger and by_network.get(other):
            pairs = _capacities(by_network, (modality, network), other)
        else:
            pairs = _seeds(by_network, (modality, network))
        wanted.append(pairs)
    # Data of a seed are read once.
    found = [
        (kind, label, sides, *pair)
        for kind, label, sides, pairs in wanted
        for pair in pairs
    ]
    found.sort(key=lambda pair: pair[3]["settings"]["seed"])
    return [
        NetworkPair(
            kind,
            label,
            sides,
            one["settings"]["seed"],
            _gap(reproduction, name, one, other, stages),
        )
        for kind, label, sides, one, other in found
    ]


def _between(by_network, first, second):
    seeds = sorted(
        set(by_network.get(first, ())) & set(by_network.get(second, ()))
    )
    label = f"{first[0]} - {second[0]}, {first[1]}"
    if first[1] != second[1]:
        label = f"{first[0]} {first[1]} - {second[0]} {second[1]}"
    pairs = [(by_network[first][s], by_network[second][s]) for s in seeds]
    return BETWEEN, label, (first[0], second[0]), pairs


def _capacities(by_network, one, larger):
    seeds = sorted(set(by_network.get(one, ())) & set(by_network[larger]))
    label = f"{one[0]}, {one[1]} - {larger[1]}"
    pairs = [(by_network[one][s], by_network[larger][s]) for s in seeds]
    return WITHIN, label, (one[1], larger[1]), pairs


def _seeds(by_network, network):
    runs = by_network.get(network, {})
    seeds = sorted(runs)
    label = f"{network[0]}, {network[1]}, two seeds"
    pairs = [(runs[s], runs[t]) for s, t in zip(seeds, seeds[1:])]
    return WITHIN, label, ("one seed", "the next"), pairs


def _gap(reproduction, name, one, other, stages):
    """Compare the networks of two records on the first one's test samples."""
    data, classes = reproduction.test_data(name, one)
    return modality_gap(
        reproduction.network(name, one),
        reproduction.network(name, other),
        data,
        teacher_modality=one["settings"]["student"],
        student_modality=other["settings"]["student"],
        class_names=classes,
        teacher_features=list(stages),
        student_features=list(stages),
        verbose=0,
    )
