"""Records of several recipes, found or trained under one set of choices."""

import dataclasses
import functools
import importlib.util
import pathlib
import sys

import keras

from keras_c2kd.backend import enable_compilation_cache
from keras_c2kd.experiments.grid import train_all
from keras_c2kd.experiments.recipe import plan_runs
from keras_c2kd.experiments.record_choice import choose_records
from keras_c2kd.experiments.record_choice import is_complete
from keras_c2kd.experiments.results import RunFiles
from keras_c2kd.experiments.runner import Runner
from keras_c2kd.experiments.settings import with_former


class Reproduction:
    """The records that tables and figures are made of.

    They are looked for in `<results>/<recipe>`, or with `run` trained there
    through the recipes, whose finished runs are kept.

    Args:
        folder: Path of the folder with the recipes.
        results: Path of the folder with the recipes' result folders.
        run: Whether to train what is not finished. Defaults to `False`.
        smoke: Whether the runs are trials. Defaults to `False`.
        changes: Dict from names of settings to their text: others than the
            recipe's for runs to train, those to look for otherwise.
        backend: Name of the backend whose records are looked for; None
            (default) for any.
        seeds: Integer, how many seeds, from 0 on; None (default) for the
            recipe's to train, and for all that are found.
        data: Dict from a recipe to the user's folder.
        cache: Path of the folder with a folder of prepared arrays a recipe.
        max_missing_fraction: Float, or None (default) for the recipe's.
        verbose: As in Keras' `fit`. Defaults to `0`.

    Raises:
        ValueError: If no recipe of `data` is there.
    """

    def __init__(
        self,
        folder,
        results,
        run=False,
        smoke=False,
        changes=None,
        backend=None,
        seeds=None,
        data=None,
        cache="cache",
        max_missing_fraction=None,
        verbose=0,
    ):
        self.folder = pathlib.Path(folder)
        self.results = pathlib.Path(results)
        self.run = run
        self.smoke = smoke
        self.changes = changes or {}
        self.backend = backend
        self.seeds = seeds
        self.data = data or {}
        self.cache = pathlib.Path(cache)
        self.max_missing_fraction = max_missing_fraction
        self.verbose = verbose
        self.recipe = functools.cache(self._recipe)
        # A runner reads its data once.
        self._runner = functools.cache(self._new_runner)
        for name in self.data:
            self.recipe(name)

    def _recipe(self, name):
        """Return a recipe by the name of its file, as it stands there."""
        path = self.folder / f"{name}.py"
        if not path.exists():
            raise ValueError(
                f"A recipe is a file in {self.folder}. Received: {name!r}, "
                f"and there is no {path.name}"
            )
        spec = importlib.util.spec_from_file_location(f"recipe_{name}", path)
        module = importlib.util.module_from_spec(spec)
        # Where dataclasses look for the module of their class.
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module.RECIPE

    def in_use(self, name):
        """Return a recipe, that of a trial if the runs are trials."""
        recipe = self.recipe(name)
        return recipe.trial() if self.smoke else recipe

    def settings(self, name):
        """Return the settings of runs to train.

        Raises:
            ValueError: If a changed setting has a value of another type.
        """
        settings = self.in_use(name).settings
        return dataclasses.replace(settings, **self._changes_of(settings))

    def _changes_of(self, settings):
        """Return the changes of settings that this recipe has, as values."""
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
        """Refuse a setting that none of some recipes has.

        Args:
            names: Names of recipes.

        Raises:
            ValueError: If there is one.
        """
        known = {
            field.name
            for name in names
            for field in dataclasses.fields(self.recipe(name).settings)
        }
        if unknown := sorted(set(self.changes) - known):
            raise ValueError(
                f"The settings of {', '.join(names)} are {sorted(known)}. "
                f"Received: {unknown}"
            )

    def can_train(self, name):
        """Whether a recipe's data are there, or it needs none."""
        return self.recipe(name).data_folder is None or name in self.data

    def plan(self, name, methods, students=None, networks=None):
        """List the runs of some methods.

        Args:
            name: Name of a recipe.
            methods: Names of methods, see `method_row`.
            students: Modalities of the deployed network; None (default) for
                both.
            networks: Names of the student's and of the teacher's network;
                None (default) for the recipe's.

        Returns:
            List of `Run`.
        """
        recipe = self.in_use(name)
        seeds = range(self.seeds or recipe.seeds)
        students = students or recipe.modalities
        return plan_runs(
            recipe, methods, students, seeds, *(networks or (None, None))
        )

    def records(self, name, plan):
        """Return the records of a plan, trained before if so chosen.

        Args:
            name: Name of a recipe.
            plan: List of `Run`.

        Returns:
            List of records with the same settings; those that are not there
            are left out.

        Raises:
            ValueError: If there are several with unlike settings.
        """
        recipe = self.in_use(name)
        if self.run and self.can_train(name):
            enable_compilation_cache()
            RunFiles(self.results / name).check_writable()
            plan = list(dict.fromkeys(plan))
            # Teachers first, as they are in a plan of one call.
            plan.sort(key=lambda run: (run.seed, run.teacher is not None))
            return train_all(self._runner(name, self.settings(name)), plan)
        if self.run:
            print(f"{name}: no --data {name}=FOLDER, so nothing is trained.")
        folder = self.results / name
        found = RunFiles(folder).load_all()
        older = sum(not is_complete(record) for record in found)
        if older:
            print(f"{folder}: {older} records of an older version left out.")
        wanted = self._changes_of(recipe.settings)
        if self.smoke:
            wanted = {**recipe.smoke, **wanted}
        if self.backend:
            wanted["backend"] = self.backend
        return choose_records(
            found,
            plan,
            wanted,
            self.seeds,
            recipe.data_depend_on_seed,
            str(folder),
        )

    def _new_runner(self, name, settings):
        recipe = self.in_use(name)
        share = self.max_missing_fraction
        return Runner(
            recipe,
            settings,
            RunFiles(self.results / name),
            data=self.data.get(name),
            cache=self.cache / name,
            max_missing_fraction=recipe.max_missing_fraction
            if share is None
            else share,
            verbose=self.verbose,
        )

    def test_data(self, name, record):
        """Return the test samples that a record tells of.

        Args:
            name: Name of a recipe.
            record: Record of one of its runs.

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
        recipe, stored = self.in_use(name), with_former(record["settings"])
        settings = dataclasses.replace(
            recipe.settings,
            **{
                field.name: stored[field.name]
                for field in dataclasses.fields(recipe.settings)
            },
        )
        splits = self._runner(name, settings).splits(stored["seed"])
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
            ValueError: If it is not beside its record.
        """
        path = self.results / name / str(record["network"])
        if not path.exists():
            raise ValueError(
                f"The network of {record['name']} is needed. Received: no "
                f"{path}. Train it again, with --run."
            )
        return keras.saving.load_model(path, compile=False)


def parse_value(name, text, like):
    """Return the value of a setting from its text.

    Args:
        name: Name of the setting, for errors.
        text: String.
        like: Value of the type that is wanted.

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
