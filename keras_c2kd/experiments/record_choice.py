"""Which records of a folder belong together."""

import collections
import dataclasses
import json

from keras_c2kd.experiments.settings import with_former

# What tells runs of one experiment apart. Everything else in the settings of
# a record is shared by all runs that may stand in one table.
_CELL = ("method", "student", "student_network", "teacher", "teacher_network")
_METHOD = ("method_config", "student_features", "teacher_features")
_OF_A_RUN = {*_CELL, *_METHOD, "seed", "recipe"}


def cell_of(settings):
    """Return the cell of a table that a run's settings belong to.

    Args:
        settings: Dict with `method`, `student`, `student_network`, `teacher`
            and `teacher_network`, or a `Run`.

    Returns:
        Tuple of these five.
    """
    if not isinstance(settings, dict):
        settings = dataclasses.asdict(settings)
    return tuple(settings[key] for key in _CELL)


def is_complete(record):
    """Whether a record tells its cell and seed; those of old versions may not.

    Args:
        record: Dict with `settings`.
    """
    return {*_CELL, "seed"} <= set(record["settings"])


def choose_records(
    records, runs, wanted, seeds=None, data_depend_on_seed=False, where=""
):
    """Return the records of some runs, all with the same settings.

    Args:
        records: List of records, as `RunFiles.load_all` returns them.
        runs: List of `Run` whose cells are wanted, whatever the seed.
        wanted: Dict of settings that the records must have, such as
            `{"epochs": 100, "backend": "jax"}`.
        seeds: Integer, how many seeds are wanted, from 0 on; None (default)
            for all that there are.
        data_depend_on_seed: Whether each seed has data of its own. Otherwise
            all records must be of the same samples. Defaults to `False`.
        where: What to call the folder in errors.

    Returns:
        List of records, in their order; empty if there are none.

    Raises:
        ValueError: If records with unlike settings are left, or two of the
            same cell and seed.
    """
    cells = {cell_of(run) for run in runs}
    found = [
        record
        for record in records
        if is_complete(record)
        and cell_of(record["settings"]) in cells
        and (seeds is None or record["settings"]["seed"] < seeds)
        and all(
            with_former(record["settings"]).get(key) == value
            for key, value in wanted.items()
        )
    ]
    by_seed = {"data"} if data_depend_on_seed else set()
    _check_alike(
        found,
        lambda settings: {
            key: value
            for key, value in with_former(settings).items()
            if key not in _OF_A_RUN | by_seed
        },
        f"All records of {where} that stand in one table have the same "
        "settings",
        "Choose with --backend, --smoke or --set <name>=<value>",
    )
    groups = collections.defaultdict(list)
    for record in found:
        groups[cell_of(record["settings"])].append(record)
    for cell, group in groups.items():
        _check_alike(
            group,
            _method_settings,
            f"All records of {cell[0]} ({cell[1]} student) in {where} have "
            "the same method",
            "Move the others to another folder",
        )
    _check_data(found, where)
    return found


def _method_settings(settings):
    """Return what decides about the method, whatever the seed."""
    given = {key: settings.get(key) for key in _METHOD}
    return _flatten(given)


def _flatten(value, path=""):
    """Return a dict from paths to plain values, without seeds."""
    if not isinstance(value, dict):
        return {path: value}
    flat = {}
    for key, inner in value.items():
        if key != "seed":
            flat |= _flatten(inner, f"{path}.{key}" if path else key)
    return flat


def _check_alike(records, part_of, rule, fix):
    """Raise an error that lists the variants, if there are several."""
    variants = collections.Counter()
    for record in records:
        part = part_of(record["settings"])
        variants[json.dumps(part, sort_keys=True)] += 1
    if len(variants) < 2:
        return
    parts = [json.loads(variant) for variant in variants]
    unlike = [
        key
        for key in dict.fromkeys(key for part in parts for key in part)
        if len({json.dumps(part.get(key)) for part in parts}) > 1
    ]
    lines = [
        f"  {', '.join(f'{key}={part.get(key)}' for key in unlike)}: "
        f"{count} {'run' if count == 1 else 'runs'}"
        for part, count in zip(parts, variants.values())
    ]
    raise ValueError(
        f"{rule}. Received:\n" + "\n".join(sorted(lines)) + f"\n{fix}."
    )


def _check_data(records, where):
    """Check that runs of a seed saw the same samples, and are there once."""
    data, taken = {}, set()
    for record in records:
        settings = record["settings"]
        seed = settings["seed"]
        if data.setdefault(seed, settings.get("data")) != settings.get("data"):
            raise ValueError(
                f"All records of {where} with the same seed are of the same "
                f"samples. Received: seed {seed} with the data "
                f"{data[seed]!r} and {settings.get('data')!r}. Move the others "
                "to another folder."
            )
        place = cell_of(settings), seed
        if place in taken:
            raise ValueError(
                f"There is one record of each cell and seed in {where}. "
                f"Received two of {settings['method']} ({settings['student']} "
                f"student), seed {seed}."
            )
        taken.add(place)
