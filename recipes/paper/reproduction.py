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

from keras_c2kd.comparison import ComparisonResult
from keras_c2kd.comparison import Engine
from keras_c2kd.comparison import run_plan
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
_OF_A_METHOD = ("method_config", "student_features", "teacher_features")


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
    through the recipes, whose finished runs are kept.

    Args:
        options: Namespace of `parser`.

    Raises:
        ValueError: If no recipe of `--data` is there.
    """

    def __init__(self, options):
        self.options = options
        self.results = pathlib.Path(options.results)
        self.run, self.smoke = options.run, options.smoke
        self.data, self.changes = dict(options.data), dict(options.set)
        # Data are read once.
        self.plan = functools.cache(self._plan)
        for name in self.data:
            self.recipe(name)

    def recipe(self, name):
        """Return a recipe by the name of its file.

        Raises:
            ValueError: If there is none.
        """
        if not (RECIPES / f"{name}.py").exists():
            raise ValueError(
                f"A recipe is a file in {RECIPES}. Received: {name!r}, and "
                f"there is no {name}.py"
            )
        # By this name, processes that train find it too.
        if str(RECIPES) not in sys.path:
            sys.path.append(str(RECIPES))
        return importlib.import_module(name).RECIPE

    def in_use(self, name):
        """Return a recipe, that of a trial if the runs are trials."""
        recipe = self.recipe(name)
        return recipe.trial() if self.smoke else recipe

    def changed(self, name):
        """Return the settings given with `--set` that a recipe has.

        Raises:
            ValueError: If one has a value of another type.
        """
        settings = self.in_use(name).settings
        return {
            field.name: parse_value(
                field.name,
                self.changes[field.name],
                getattr(settings, field.name),
            )
            for field in dataclasses.fields(settings)
            if field.name in self.changes
        }

    def check_changes(self, names):
        """Raise a ValueError for a setting that none of some recipes has."""
        known = {name for one in names for name in self._settings(one)}
        if unknown := sorted(set(self.changes) - known):
            raise ValueError(
                f"The settings of {', '.join(names)} are {sorted(known)}. "
                f"Received: {unknown}"
            )

    def _settings(self, name):
        fields = dataclasses.fields(self.recipe(name).settings)
        return [field.name for field in fields]

    def can_train(self, name):
        """Whether a recipe's data are there, or it needs none."""
        return self.recipe(name).data_folder is None or name in self.data

    def wanted(self, name, methods, network=None):
        """Return methods of both directions of a recipe.

        Args:
            name: Name of the recipe.
            methods: Names of rows.
            network: Name of a network of both modalities, or None for the
                recipe's.
        """
        recipe, found = self.in_use(name), []
        for student in recipe.modalities:
            other = recipe.other(student)
            own, taught_by = (
                recipe.network(modality, network)
                for modality in (student, other)
            )
            methods = tuple(dict.fromkeys(methods))
            found.append(Wanted(name, student, own, other, taught_by, methods))
        return found

    def records(self, wanted):
        """Return the records of some cells, trained before if so chosen.

        Args:
            wanted: List of `Wanted` of one recipe.

        Returns:
            List of records with the same settings; those that are not there
            are left out.

        Raises:
            ValueError: If there are several with unlike settings.
        """
        name = wanted[0].recipe
        folder = self.results / name
        cells = {cell for one in wanted for cell in one.cells()}
        settings = self.changed(name)
        if self.smoke:
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
            cells,
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
            key = one.methods, tuple(sorted(networks.items()))
            groups[key].append(one.student)
        for (methods, networks), students in groups.items():
            plan = dataclasses.replace(
                self.plan(name),
                students=tuple(dict.fromkeys(students)),
                candidates={method: row(method) for method in methods}
                | {"alone": row("alone")},
                student_networks=dict(networks),
                teacher_networks=dict(networks),
            )
            engine = Engine(processes=self.options.processes)
            run_plan(plan, folder, engine, verbose=self.options.verbose)
        records = [compact(record) for record in load_records(folder)]
        write_runs(records, folder / "runs.csv")

    def _plan(self, name, settings=None):
        """Return the plan of a recipe with its data, as yet of no method."""
        recipe, options = self.in_use(name), self.options
        if settings is None:
            changed = self.changed(name)
            settings = dataclasses.replace(recipe.settings, **changed)
        plan = recipe.plan(
            ["alone"],
            seeds=range(options.seeds or recipe.seeds),
            settings=settings,
            data=self.data.get(name),
            cache=str(pathlib.Path(options.cache) / name),
            max_missing_fraction=options.max_missing_fraction,
            verbose=options.verbose,
        )
        is_dense = settings.metric != "accuracy"
        return dataclasses.replace(
            plan, ranked_pairs=0 if is_dense else RANKED_PAIRS
        )

    def test_data(self, name, record):
        """Return the test samples that a record tells of.

        Returns:
            `EpochDataset` with both modalities, and the names of the classes.

        Raises:
            ValueError: If the data are not given, or are not those of the
                record.
        """
        if not self.can_train(name):
            raise ValueError(
                f"The networks of {name} are run on its test samples. Pass "
                f"--data {name}=FOLDER. Received: none"
            )
        stored, recipe = record["settings"], self.in_use(name)
        settings = dataclasses.replace(
            recipe.settings,
            **{key: stored[key] for key in self._settings(name)},
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
        """Return the network that a run kept.

        Raises:
            ValueError: If it is not there.
        """
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
        metric = recipe.settings.metric
        result = ComparisonResult(records, recipe.modalities, metric)
        seeds = sorted({record["settings"]["seed"] for record in records})
        changed = [
            f"{key}={settings[key]} ({value})"
            for key, value in plain(recipe.settings).items()
            if settings.get(key, value) != value and key != "code"
        ]
        text = (
            f"{name}: {result.protocol()} {settings['epochs']} epochs, seeds "
            f"{', '.join(map(str, seeds))}."
        )
        if changed:
            text += f" Other settings than the recipe's: {', '.join(changed)}."
        return [text]


def choose_records(
    records, cells, wanted, seeds=None, data_depend_on_seed=False, where=""
):
    """Return the records of some cells, all with the same settings.

    Args:
        records: List of records.
        cells: Set of tuples, as `cell_of` returns them.
        wanted: Dict of settings that the records must have, such as
            `{"epochs": 100, "backend": "jax"}`.
        seeds: Integer, how many seeds are wanted, from 0 on; None (default)
            for all that there are.
        data_depend_on_seed: Whether each seed has data of its own. Defaults
            to `False`: all records must be of the same samples.
        where: What to call the folder in errors.

    Returns:
        List of records, in their order; empty if there are none.

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
    by_data = () if data_depend_on_seed else ("data",)
    _refuse_unlike(
        found,
        lambda settings: {
            **shared_settings(settings),
            **{key: settings.get(key) for key in by_data},
        },
        f"All records of {where} that stand in one table have the same "
        "settings",
        "Choose with --backend, --smoke or --set <name>=<value>",
    )
    groups = collections.defaultdict(list)
    for record in found:
        settings = record["settings"]
        groups[tuple(settings[key] for key in CELL)].append(record)
        groups["seed", settings["seed"]].append(record)
    for place, group in groups.items():
        if place[0] == "seed":
            _refuse_unlike(
                group,
                lambda settings: {"data": settings.get("data")},
                f"All records of {where} with seed {place[1]} are of the same "
                "samples",
                "Move the others to another folder",
            )
            continue
        what = f"{place[-1]} ({place[0]} student)"
        _refuse_unlike(
            group,
            lambda settings: {k: settings.get(k) for k in _OF_A_METHOD},
            f"All records of {what} in {where} have the same method",
            "Move the others to another folder",
        )
        if len({r["settings"]["seed"] for r in group}) < len(group):
            raise ValueError(
                f"There is one record of each cell and seed in {where}. "
                f"Received two of {what}."
            )
    return found


def _refuse_unlike(records, part_of, rule, fix):
    """Raise an error that lists the variants, if there are several."""
    parts = pd.json_normalize([part_of(one["settings"]) for one in records])
    # The seed of a random selection is that of the run.
    parts = parts[[key for key in parts if not key.endswith(".seed")]]
    parts = parts.astype(object).where(parts.notna(), None).map(str)
    unlike = parts.loc[:, parts.nunique() > 1]
    if unlike.empty:
        return
    lines = [
        "  "
        + ", ".join(f"{key}={x}" for key, x in zip(unlike, values))
        + f": {count} {'run' if count == 1 else 'runs'}"
        for values, count in unlike.value_counts(sort=False).items()
    ]
    raise ValueError(f"{rule}. Received:\n" + "\n".join(lines) + f"\n{fix}.")


def compact(record):
    """Return a record with the curves that figures use, to five digits."""
    history = {
        key: [None if x is None else float(f"{x:.5g}") for x in values]
        for key, values in record["history"].items()
        if key in CURVES
    }
    return {**record, "history": history}


def parse_value(name, text, like):
    """Return the value of a setting from its text, of the type of another.

    Raises:
        ValueError: If the text is no such value.
    """
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
    add = found.add_argument
    add(
        "--results",
        default="results",
        help="folder with the result folder of each recipe; --results "
        "recipes/results prints from the records that come with the repository",
    )
    add(
        "--only",
        type=_names,
        metavar="NAME[,NAME]",
        help="only these data sets (by recipe), students or methods",
    )
    add(
        "--substitute",
        type=_names,
        nargs="?",
        const=STAND_INS,
        metavar="RECIPE[,RECIPE]",
        help="recipes in place of the paper's data sets, without its numbers; "
        f"{','.join(STAND_INS)} if none is named",
    )
    add("--seeds", type=int, help="number of seeds, from 0 on")
    add("--smoke", action="store_true", help="trials: small and short")
    add(
        "--set",
        type=_pair,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of the recipes, such as epochs=12; may be repeated",
    )
    add("--backend", help="which records to take, if there are several")
    add(
        "--run",
        action="store_true",
        help="train the runs that are missing, through the recipes",
    )
    add("--processes", type=int, default=1, help="that share the runs")
    add(
        "--data",
        type=_pair,
        action="append",
        default=[],
        metavar="RECIPE=FOLDER",
        help="folder of a data set, as its recipe takes it; may be repeated",
    )
    add("--cache", default="cache", help="folder for what was decoded")
    add(
        "--max-missing-fraction",
        type=float,
        help="fraction of the samples that may be missing or unreadable",
    )
    add(
        "--verbose",
        type=int,
        choices=(0, 1, 2),
        default=0,
        help="nothing, a progress bar or a line for each epoch",
    )
    add("--out", help="folder of what is written; in <results> if not given")
    return found


def split_names(names, kinds):
    """Sort the names of `--only` by what they name.

    Args:
        names: Sequence of names, or None for no restriction.
        kinds: Dict from a kind, such as `"methods"`, to the names of that
            kind that can be chosen.

    Returns:
        List of sets, one a kind; None where nothing is restricted.

    Raises:
        ValueError: If a name is of no kind.
    """
    chosen = set(names or ())
    if unknown := sorted(
        chosen - {x for names in kinds.values() for x in names}
    ):
        listed = ", ".join(
            f"{k} {[*dict.fromkeys(v)]}" for k, v in kinds.items()
        )
        raise ValueError(f"--only takes {listed}. Received: {unknown}")
    return [chosen & set(choices) or None for choices in kinds.values()]


def _names(text):
    return tuple(name for name in text.split(",") if name)


def _pair(text):
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"NAME=VALUE, not {text!r}")
    return name.replace("-", "_"), value
