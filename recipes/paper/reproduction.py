"""Records of several recipes, found or trained under one set of choices."""

import argparse
import collections
import dataclasses
import functools
import importlib
import pathlib
import sys

import keras
import pandas as pd
from rows import cell_of
from rows import row

from keras_c2kd import comparison
from keras_c2kd.comparison.command_line import HelpFormatter
from keras_c2kd.comparison.identity import plain
from keras_c2kd.comparison.records import load_records
from keras_c2kd.comparison.records import write_runs
from keras_c2kd.comparison.table import CELL
from keras_c2kd.comparison.table import shared_settings

RECIPES = pathlib.Path(__file__).parents[1]
# Recipes that need no data, for what the paper measures.
STAND_INS = ("av_digits", "rgbd_scenes")
# Training pairs whose ranks are compared after each epoch, for Fig. 3.
RANKED_PAIRS = 512
# What `runs.csv` keeps of a history; figures draw no more of it.
CURVES = ("accuracy", "mean_iou", "loss", "val_accuracy", "val_mean_iou")
CURVES += ("rank_distorted_share",)


@dataclasses.dataclass(frozen=True)
class Wanted:
    """Methods of one direction, whose records are looked for or trained."""

    recipe: str
    student: str
    own: str
    teacher: str
    taught_by: str
    methods: tuple

    def cells(self):
        """Return the cells of a table, as records name them."""
        networks = self.student, self.own, self.teacher, self.taught_by
        return [cell_of(method, *networks) for method in self.methods]


class Reproduction:
    """The records that tables and figures are made of.

    They are looked for in `<results>/<recipe>`, or with `--run` trained there
    through the recipes, whose finished runs are kept. `options` are those of
    `parser`.
    """

    def __init__(self, options):
        self.options, self.run = options, options.run
        self.results = pathlib.Path(options.results)
        self.data, self.changes = dict(options.data), dict(options.set)
        # Data are read once.
        self.plan = functools.cache(self._plan)
        for name in self.data:
            self.recipe(name)

    def recipe(self, name):
        """Return a recipe by the name of its file."""
        if not (RECIPES / f"{name}.py").exists():
            raise ValueError(
                f"A recipe is a file in {RECIPES}. Received: {name!r}, and "
                f"there is no {name}.py"
            )
        # By this name, processes that train find it too.
        if str(RECIPES) not in sys.path:
            sys.path.append(str(RECIPES))
        module = importlib.import_module(name)
        return getattr(module, "LABELLED", module.RECIPE)

    def in_use(self, name):
        """Return a recipe, that of a trial if the runs are trials."""
        recipe = self.recipe(name)
        return recipe.trial() if self.options.smoke else recipe

    def changed(self, name):
        """Return the settings given with `--set` that a recipe has."""
        settings = vars(self.in_use(name).settings)
        return {
            key: parse_value(key, text, settings[key])
            for key, text in self.changes.items()
            if key in settings
        }

    def check_changes(self, names):
        """Raise a ValueError for a setting that none of some recipes has."""
        known = {
            key for name in names for key in vars(self.recipe(name).settings)
        }
        if unknown := sorted(set(self.changes) - known):
            raise ValueError(
                f"The settings of {', '.join(names)} are {sorted(known)}. "
                f"Received: {unknown}"
            )

    def can_train(self, name):
        """Whether a recipe's data are there, or it needs none."""
        return self.recipe(name).data_folder is None or name in self.data

    def wanted(self, name, methods, network=None):
        """Return methods of both directions, with the default networks."""
        recipe = self.in_use(name)
        networks = [(m, recipe.network(m, network)) for m in recipe.modalities]
        methods = tuple(dict.fromkeys(methods))
        return [
            Wanted(name, *one, *other, methods)
            for one, other in (networks, networks[::-1])
        ]

    def records(self, wanted):
        """Return the records of some cells of one recipe, all alike.

        They are trained before if so chosen. Those that are not there are left
        out; of several with unlike settings, `choose_records` tells in words.
        """
        name = wanted[0].recipe
        folder, settings = self.results / name, self.changed(name)
        if self.options.smoke:
            settings = {**self.recipe(name).smoke, **settings}
        if self.run and self.can_train(name):
            self._train(name, wanted)
            settings = plain(self.plan(name).training)
            settings["backend"] = keras.backend.backend()
        elif self.run:
            print(f"{name}: no --data {name}=FOLDER, so nothing is trained.")
        if self.options.backend:
            settings["backend"] = self.options.backend
        return choose_records(
            load_records(folder),
            {cell for one in wanted for cell in one.cells()},
            settings,
            self.options.seeds,
            self.recipe(name).data_depend_on_seed,
            str(folder),
        )

    def _train(self, name, wanted):
        """Train what is not finished, and write all records as `runs.csv`."""
        folder = self.results / name
        if (folder / "runs.csv").exists() and not (folder / "runs").exists():
            raise ValueError(
                f"{folder} has the records of runs that were trained "
                "elsewhere, without their networks. Received: --run. Train "
                "into another folder, --results FOLDER."
            )
        groups = collections.defaultdict(list)
        for one in wanted:
            networks = {one.student: one.own, one.teacher: one.taught_by}
            groups[one.methods, tuple(sorted(networks.items()))].append(one)
        engine = comparison.Engine(processes=self.options.processes)
        for (methods, networks), found in groups.items():
            plan = dataclasses.replace(
                self.plan(name),
                students=tuple(dict.fromkeys(one.student for one in found)),
                candidates={m: row(m) for m in ("alone", *methods)},
                student_networks=dict(networks),
                teacher_networks=dict(networks),
            )
            verbose = self.options.verbose
            comparison.run_plan(plan, folder, engine, verbose=verbose)
        records = map(compact, load_records(folder))
        write_runs(records, folder / "runs.csv")

    def _plan(self, name, settings=None):
        """Return the plan of a recipe with its data, as yet of no method."""
        recipe, options = self.in_use(name), self.options
        changed = self.changed(name)
        settings = settings or dataclasses.replace(recipe.settings, **changed)
        plan = recipe.plan(
            ["alone"],
            seeds=range(options.seeds or recipe.seeds),
            settings=settings,
            data=self.data.get(name),
            cache=str(pathlib.Path(options.cache) / name),
            max_missing_fraction=options.max_missing_fraction,
            verbose=options.verbose,
        )
        ranked = RANKED_PAIRS if settings.metric == "accuracy" else 0
        return dataclasses.replace(plan, ranked_pairs=ranked)

    def test_data(self, name, record):
        """Return the test samples that a record tells of, and the classes."""
        if not self.can_train(name):
            raise ValueError(
                f"The networks of {name} are run on its test samples. Pass "
                f"--data {name}=FOLDER. Received: none"
            )
        stored, recipe = record["settings"], self.in_use(name)
        known = set(vars(recipe.settings)) & set(stored)
        settings = dataclasses.replace(
            recipe.settings, **{key: stored[key] for key in known}
        )
        splits = self.plan(name, settings).splits(stored["seed"])
        found = splits.provenance["fingerprint"]
        if found != stored["data"]:
            raise ValueError(
                "Networks are compared on the samples of their runs, "
                f"{stored['data']}. Received: other samples of {name}, {found}"
            )
        test = splits.test.select(recipe.modalities)
        return test, splits.provenance["classes"]

    def network(self, name, record):
        """Return the network that a run kept."""
        path = self.results / name / "runs" / str(record["network"])
        if not path.exists():
            raise ValueError(
                f"The network of {record['name']} is needed. Received: no "
                f"{path}. Train it again, with --run."
            )
        return keras.saving.load_model(path, compile=False)

    def describe(self, name, records):
        """Say how the numbers of a recipe came about; nothing without any."""
        if not records:
            return []
        recipe, settings = self.recipe(name), records[0]["settings"]
        result = comparison.ComparisonResult(records, recipe.modalities)
        seeds = sorted({str(record["settings"]["seed"]) for record in records})
        text = (
            f"{name}: {result.protocol()} {settings['epochs']} epochs, seeds "
            f"{', '.join(seeds)}."
        )
        changed = ", ".join(
            f"{key}={settings[key]} ({value})"
            for key, value in plain(recipe.settings).items()
            if settings.get(key, value) != value and key != "code"
        )
        return [text + f" Unlike the recipe: {changed}." * bool(changed)]


def choose_records(
    records, cells, wanted, seeds=None, data_depend_on_seed=False, where=""
):
    """Return the records of some cells, all with the same settings.

    Args:
        records: List of records.
        cells: Set of tuples, as `cell_of` returns them.
        wanted: Dict of settings that the records must have.
        seeds: Integer, how many seeds are wanted, from 0 on; None (default)
            for all that there are.
        data_depend_on_seed: Whether each seed has data of its own. Defaults
            to `False`: all records must be of the same samples.
        where: What to call the folder in errors.

    Raises:
        ValueError: If records with unlike settings are left, or two of the
            same cell and seed.
    """
    found = [
        record
        for record in records
        for settings in [record["settings"]]
        if tuple(settings.get(key) for key in CELL) in cells
        and (seeds is None or settings["seed"] < seeds)
        and all(settings.get(key) == value for key, value in wanted.items())
    ]
    groups = collections.defaultdict(list)
    for record in found:
        settings, move = record["settings"], "Move the others to another folder"
        what = f"{settings['method']} ({settings['student']} student)"
        method = ("method_config", "student_features", "teacher_features")
        groups[f"{what} have the same method", move, method].append(settings)
        data = f"seed {settings['seed']} are of the same samples"
        groups[data, move, ("data",)].append(settings)
        choose = "Choose with --backend, --smoke or --set <name>=<value>"
        shared = [
            *shared_settings(settings),
            *["data"] * (not data_depend_on_seed),
        ]
        alike = groups["one table have the same settings", choose, None]
        alike.append({key: settings.get(key) for key in shared})
    # The widest rule first.
    for (rule, fix, keys), group in sorted(
        groups.items(), key=lambda item: item[0][2] is not None
    ):
        parts = [{k: s.get(k) for k in keys or s} for s in group]
        _refuse_unlike(parts, f"All records in {where} of {rule}", fix)
    places = collections.Counter(
        tuple(record["settings"][key] for key in (*CELL, "seed"))
        for record in found
    )
    for (student, *_, method, seed), count in places.items():
        if count > 1:
            raise ValueError(
                f"There is one record of each cell and seed in {where}. "
                f"Received two of {method} ({student} student), seed {seed}."
            )
    return found


def _refuse_unlike(parts, rule, fix):
    """Raise an error that lists the variants, if there are several."""
    frame = pd.json_normalize(parts)
    # The seed of a random selection is that of the run.
    frame = frame[[key for key in frame if not key.endswith(".seed")]]
    frame = frame.astype(object).where(frame.notna(), None).map(str)
    unlike = frame.loc[:, frame.nunique() > 1]
    if not unlike.empty:
        lines = [
            ", ".join(f"{key}={x}" for key, x in zip(unlike, values))
            + f": {count} {'run' if count == 1 else 'runs'}"
            for values, count in unlike.value_counts(sort=False).items()
        ]
        listed = "\n  ".join(["Received:", *lines])
        raise ValueError(f"{rule}. {listed}\n{fix}.")


def compact(record):
    """Return a record with the curves that figures use, to five digits."""
    history = {
        key: [None if x is None else float(f"{x:.5g}") for x in values]
        for key, values in record["history"].items()
        if key in CURVES
    }
    return {**record, "history": history}


def parse_value(name, text, like):
    """Return the value of a setting from its text, of the type of another."""
    try:
        if isinstance(like, bool):
            return {"true": True, "false": False}[text.lower()]
        return type(like)(text)
    except (KeyError, ValueError):
        kind = type(like).__name__
        raise ValueError(
            f"--set {name} takes a value of type {kind}, such as {like}. "
            f"Received: {text!r}"
        ) from None


def parser(description):
    """Return a parser with the options that tables and figures share."""
    found = argparse.ArgumentParser(
        description=description, formatter_class=HelpFormatter
    )
    names = {"type": _names, "metavar": "NAME[,NAME]"}
    pairs = {"type": _pair, "action": "append", "default": []}
    for name, text, options in (
        (
            "results",
            "folder with the result folder of each recipe; --results "
            "recipes/results prints the records that come with the repository",
            {"default": "results"},
        ),
        ("only", "only these data sets (by recipe), students, methods", names),
        (
            "substitute",
            "recipes in place of the paper's data sets, without its numbers; "
            f"{','.join(STAND_INS)} if none is named",
            {**names, "nargs": "?", "const": STAND_INS},
        ),
        ("seeds", "number of seeds, from 0 on", {"type": int}),
        ("smoke", "trials: small and short", {"action": "store_true"}),
        (
            "set",
            "a setting of the recipes, such as epochs=12; may be repeated",
            {**pairs, "metavar": "NAME=VALUE"},
        ),
        ("backend", "which records to take, if there are several", {}),
        ("run", "train the runs that are missing", {"action": "store_true"}),
        ("processes", "that share the runs", {"type": int, "default": 1}),
        (
            "data",
            "folder of a data set, as its recipe takes it; may be repeated",
            {**pairs, "metavar": "RECIPE=FOLDER"},
        ),
        ("cache", "folder for what was decoded", {"default": "cache"}),
        (
            "max-missing-fraction",
            "samples that may be missing",
            {"type": float},
        ),
        ("verbose", "as in Keras' fit", {"type": int, "default": 0}),
        ("out", "folder of what is written; in --results if not given", {}),
    ):
        found.add_argument(f"--{name}", help=text, **options)
    return found


def split_names(names, kinds):
    """Sort the names of `--only` by what they name.

    Args:
        names: Sequence of names, or None for no restriction.
        kinds: Dict from a kind, such as `"methods"`, to the names of that
            kind that can be chosen.

    Returns:
        List of sets, one a kind; None where nothing is restricted.
    """
    chosen = set(names or ())
    if unknown := sorted(chosen.difference(*kinds.values())):
        listed = ", ".join(f"{kind} {[*own]}" for kind, own in kinds.items())
        raise ValueError(f"--only takes {listed}. Received: {unknown}")
    return [chosen & set(own) or None for own in kinds.values()]


def _names(text):
    return tuple(name for name in text.split(",") if name)


def _pair(text):
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"NAME=VALUE, not {text!r}")
    return name.replace("-", "_"), value
