"""A comparison on one data set, as a script with a command line."""

import dataclasses
import functools
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras

from keras_c2kd.comparison.candidates import METHODS
from keras_c2kd.comparison.candidates import candidates_of
from keras_c2kd.comparison.plan import Plan
from keras_c2kd.comparison.training import Training
from keras_c2kd.data.paired_splits import PairedSplits

BuildNetwork = Callable[[Any, int, Any], keras.Model]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A data set, its networks, and what is compared on it.

    Attributes:
        name: String, also of the result folder.
        settings: `Training`, or a dataclass derived from it.
        load: Function `(settings, seed, data, cache)` to `PairedSplits`, from
            the settings, the seed, the folder that the user names and the
            folder for prepared arrays.
        networks: Dict from each of the two modalities to a dict from names to
            functions `(input_shape, num_classes, settings)` that build a
            network ending in logits; the first is the default. `input_shape`
            is that of one sample (a dict of them for texts).
        methods: What can be chosen, as `candidates_of` takes it. Defaults to
            all of `METHODS`.
        default_methods: Names of those that run if none is chosen.
        stages: Names of the layers that all networks have, shallow to deep;
            None (default) for those called `stage_1` and so on.
        seeds: Integer, number of seeds, from 0 on. Defaults to `3`.
        data_folder: What the user's folder must hold, for the help text;
            None (default) if the data come with the package.
        data_depend_on_seed: Whether each seed has data of its own.
        max_missing_fraction: Float, share of the samples that may be missing
            or unreadable. Defaults to `0.01`.
        smoke: Dict of the settings of a trial.
        smoke_networks: Dict from the modality to the default network of a
            trial.
        taps: Dict from methods to the arguments of `CrossModalDistiller` that
            name taps, where they are others than the candidate's.
        ranked_pairs: As for `Plan`. Defaults to `0`.
        illustrate: Function `(plan, result, folder)` that writes more than
            the table and its figures; None (default) for nothing.

    Raises:
        ValueError: If a method is unknown or there are not two modalities.
    """

    name: str
    settings: Training
    load: Callable[[Any, int, Any, Any], PairedSplits]
    networks: Mapping[str, Mapping[str, BuildNetwork]]
    methods: Sequence[Any] | Mapping[str, Any] = tuple(METHODS)
    default_methods: Sequence[str] = ("kd", "c2kd")
    stages: Sequence[str] | None = None
    seeds: int = 3
    data_folder: str | None = None
    data_depend_on_seed: bool = False
    max_missing_fraction: float = 0.01
    smoke: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    smoke_networks: Mapping[str, str] = dataclasses.field(default_factory=dict)
    taps: Mapping[str, Mapping[str, Any]] = dataclasses.field(
        default_factory=dict
    )
    ranked_pairs: int = 0
    illustrate: Callable[..., None] | None = None

    def __post_init__(self) -> None:
        """Check the names."""
        known = candidates_of(self.methods)
        if unknown := set(self.default_methods) - set(known):
            raise ValueError(
                f"The methods are {tuple(known)}. Received: {sorted(unknown)}"
            )
        if len(self.networks) != 2:
            raise ValueError(
                "A recipe has networks for two modalities. "
                f"Received: {sorted(self.networks)}"
            )

    @property
    def modalities(self) -> tuple[str, ...]:
        """Both modalities."""
        return tuple(self.networks)

    def other(self, modality: str) -> str:
        """Return the other modality."""
        first, second = self.modalities
        return second if modality == first else first

    def trial(self) -> "Recipe":
        """Return the recipe of a trial: small, short, one seed."""
        networks = {}
        for modality, names in self.networks.items():
            first = self.smoke_networks.get(modality, next(iter(names)))
            networks[modality] = {first: names[first], **names}
        return dataclasses.replace(
            self,
            settings=dataclasses.replace(self.settings, **self.smoke),
            networks=networks,
            seeds=1,
        )

    def network(self, modality: str, name: str | None = None) -> str:
        """Return a network's name, the default's without one.

        Raises:
            ValueError: If the modality has no such network.
        """
        names = self.networks[modality]
        if name is not None and name not in names:
            raise ValueError(
                f"Networks for {modality} are {tuple(names)}. "
                f"Received: {name!r}"
            )
        return next(iter(names)) if name is None else name

    def plan(
        self,
        methods: Sequence[Any] | Mapping[str, Any] | None = None,
        students: Sequence[str] | None = None,
        seeds: Sequence[int] | None = None,
        settings: Training | None = None,
        data: str | None = None,
        cache: str | None = None,
        student_network: str | None = None,
        teacher_network: str | None = None,
        max_missing_fraction: float | None = None,
        verbose: int = 0,
    ) -> Plan:
        """Return the plan of some methods; the data are read.

        Args:
            methods: As `candidates_of` takes them, names being the recipe's;
                None (default) for the default ones.
            students: Modalities; None (default) for both.
            seeds: Integers; None (default) for the recipe's.
            settings: In place of the recipe's.
            data: The user's folder.
            cache: Folder of prepared arrays.
            student_network: Name of the deployed network; None for the
                default of its modality.
            teacher_network: The same for the other modality.
            max_missing_fraction: In place of the recipe's.
            verbose: Whether reading the data shows its progress.
        """
        settings = self.settings if settings is None else settings
        load = functools.partial(_load, self.load, settings, data, cache)
        students = tuple(students or self.modalities)
        seeds = tuple(range(self.seeds) if seeds is None else seeds)
        share = max_missing_fraction
        own = {m: self.network(m, student_network) for m in students}
        taught_by = {
            self.other(m): self.network(self.other(m), teacher_network)
            for m in students
        }
        plan = Plan(
            pairs=load if self.data_depend_on_seed else load(0),
            networks={},
            students=students,
            candidates=candidates_of(
                self.chosen(methods or self.default_methods)
            ),
            seeds=seeds,
            training=settings,
            student_networks={**taught_by, **own},
            teacher_networks={**own, **taught_by},
            stages=self.stages,
            taps=self.taps,
            max_missing_fraction=self.max_missing_fraction
            if share is None
            else share,
            ranked_pairs=self.ranked_pairs,
            verbose=verbose,
        )
        splits = plan.splits(seeds[0])
        classes = len(splits.provenance["classes"])
        for modality, names in self.networks.items():
            inputs, _ = splits.test.select((modality,)).batch([0])
            shape = keras.tree.map_structure(
                lambda array: tuple(array.shape[1:]), inputs[modality]
            )
            plan.networks = {
                **plan.networks,
                modality: {
                    name: functools.partial(build, shape, classes, settings)
                    for name, build in names.items()
                },
            }
        return plan

    def chosen(self, methods: Sequence[Any] | Mapping[str, Any]) -> list[Any]:
        """Return methods with the recipe's own in place of their names."""
        known = candidates_of(self.methods)
        parts = [methods] if isinstance(methods, Mapping) else methods
        return [
            {part: known[part]}
            if isinstance(part, str) and part in known
            else part
            for part in parts
        ]


def _load(
    load: Callable[..., PairedSplits],
    settings: Training,
    data: str | None,
    cache: str | None,
    seed: int,
) -> PairedSplits:
    return load(settings, seed, data, cache)
