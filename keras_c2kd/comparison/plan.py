"""A plan of runs: data, networks, methods, seeds; checked before it begins."""

import dataclasses
import re
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras

from keras_c2kd.backend import distribution
from keras_c2kd.comparison.candidates import BASELINE
from keras_c2kd.comparison.candidates import BOTH
from keras_c2kd.comparison.candidates import METHODS
from keras_c2kd.comparison.candidates import OTHER
from keras_c2kd.comparison.candidates import OWN
from keras_c2kd.comparison.candidates import SELF_TRAINING
from keras_c2kd.comparison.candidates import Candidate
from keras_c2kd.comparison.candidates import RunContext
from keras_c2kd.comparison.identity import RESULTS_VERSION
from keras_c2kd.comparison.identity import method_identity
from keras_c2kd.comparison.identity import network_digest
from keras_c2kd.comparison.identity import plain
from keras_c2kd.comparison.training import Training
from keras_c2kd.data.epoch_dataset import EpochDataset
from keras_c2kd.data.paired_splits import PairedSplits
from keras_c2kd.distiller.cross_modal_distiller import CrossModalDistiller
from keras_c2kd.methods import DistillationMethod
from keras_c2kd.methods import fuse
from keras_c2kd.networks.modalities import predict_on_batch

_STAGE = re.compile(r"stage_\d+")


@dataclasses.dataclass(frozen=True)
class Run:
    """One training of one network: a cell of a table, for one seed.

    Attributes:
        method: Name of the row.
        student: Modality of the deployed network.
        student_network: Name of the deployed network.
        teacher: Modality of the teacher, `"both"` for one that reads both,
            None without a teacher.
        teacher_network: Name of the network of the other modality, or None.
        seed: Integer.
    """

    method: str
    student: str
    student_network: str
    teacher: str | None
    teacher_network: str | None
    seed: int

    @property
    def name(self) -> str:
        """What the names of its files begin with."""
        networks = [self.student_network, self.teacher_network]
        parts = [self.method, self.student, *networks, f"seed{self.seed}"]
        words = "-".join(part for part in parts if part)
        return re.sub(r"[^\w.+@=-]+", "_", words)[:120]


@dataclasses.dataclass(frozen=True)
class ModelBuilder:
    """Builds the network of a model that was given as an example.

    Args:
        kind: Class of the model.
        config: Its configuration.
        weights: Its weights, or None for new ones.
    """

    kind: type[keras.Model]
    config: Mapping[str, Any]
    weights: list[Any] | None = None

    @classmethod
    def of(cls, model: keras.Model, keep_weights: bool) -> "ModelBuilder":
        """Return the builder of networks like a model."""
        weights = model.get_weights() if keep_weights else None
        return cls(type(model), model.get_config(), weights)

    def __call__(self) -> keras.Model:
        """Return a new network."""
        model = self.kind.from_config(dict(self.config))
        if self.weights is not None:
            model.set_weights(self.weights)
        return model


@dataclasses.dataclass(frozen=True)
class _Known:
    """What is known of a network without its weights."""

    digest: str
    stages: tuple[str, ...]


@dataclasses.dataclass
class Plan:
    """What is compared, as data that other processes can be sent.

    Attributes:
        pairs: `PairedSplits`, or a function from the seed to them.
        networks: Dict from the modality to a dict from names to functions
            without arguments that build a network.
        students: Modalities of the deployed networks.
        candidates: Dict from the row's name to its `Candidate`.
        seeds: Integers.
        training: `Training` of all runs, and of the teachers' pre-training
            if `teacher_training` is None.
        student_networks: Dict from the modality to the name of its network
            as a student.
        teacher_networks: The same as a teacher.
        teacher_training: `Training` of networks that are only teachers.
        stages: Names of the stages of all networks, or None: those layers
            that are called `stage_1` and so on.
        taps: Dict from a row's name to arguments of `CrossModalDistiller`
            that name taps, in place of the candidate's.
        tuned: Dict from student and row to the `Candidate` that takes the
            row's place there.
        max_missing_fraction: Float, of the samples that may be unreadable.
        ranked_pairs: Integer, training pairs whose rank distortion is logged
            after each epoch; 0 for none.
    """

    pairs: PairedSplits | Callable[[int], PairedSplits]
    networks: Mapping[str, Mapping[str, Callable[[], keras.Model]]]
    students: Sequence[str]
    candidates: Mapping[str, Candidate]
    seeds: Sequence[int]
    training: Training
    student_networks: Mapping[str, str]
    teacher_networks: Mapping[str, str]
    teacher_training: Training | None = None
    stages: Sequence[str] | None = None
    taps: Mapping[str, Mapping[str, Any]] = dataclasses.field(
        default_factory=dict
    )
    tuned: Mapping[tuple[str, str], Candidate] = dataclasses.field(
        default_factory=dict
    )
    max_missing_fraction: float = 0.01
    ranked_pairs: int = 0
    verbose: int = 0

    def __post_init__(self) -> None:
        """Begin with nothing read or built."""
        self._splits: tuple[int | None, PairedSplits] | None = None
        self._known: dict[tuple[str, str], _Known] = {}
        self._identities: dict[Run, dict[str, Any]] = {}

    # The data.

    def splits(self, seed: int) -> PairedSplits:
        """Return the prepared data of a seed, those of one seed kept."""
        key = seed if callable(self.pairs) else None
        if self._splits is None or self._splits[0] != key:
            pairs = self.pairs(seed) if callable(self.pairs) else self.pairs
            # Of several processes the first one fills the cache.
            for turn in (True, False):
                is_turn = distribution.is_first_process() == turn
                if is_turn and "fingerprint" not in pairs.provenance:
                    pairs.prepare(
                        self.max_missing_fraction, verbose=self.verbose
                    )
                distribution.barrier()
            self._splits = key, pairs
        return self._splits[1]

    def train_data(self, run: Run) -> EpochDataset:
        """Return the training batches of a run: equally many for all."""
        splits, candidate = self.splits(run.seed), self.candidate(run)
        second = run.student if candidate.has_second_view else None
        train = splits.train.select(self.modalities_of(run), second)
        if size := self.training_of(run).batch_size:
            train.batch_size = size
        train.seed = run.seed
        if run.teacher is None and self.has_unlabeled(run.seed):
            return train.labeled(len(train))
        return train

    def has_unlabeled(self, seed: int) -> bool:
        """Return whether some training rows have no label."""
        provenance = self.splits(seed).provenance
        size = provenance["sizes"]["train"]
        return provenance.get("labeled", size) < size

    def modalities_of(self, run: Run) -> tuple[str, ...]:
        """Return the modalities that the networks of a run read."""
        if run.teacher is None:
            return (run.student,)
        wanted = self.modalities if run.teacher == BOTH else (run.teacher,)
        return tuple(dict.fromkeys((run.student, *wanted)))

    # The runs.

    @property
    def modalities(self) -> tuple[str, ...]:
        """Both modalities."""
        return tuple(self.networks)

    def other(self, modality: str) -> str:
        """Return the other modality."""
        first, second = self.modalities
        return second if modality == first else first

    def candidate(self, run: Run) -> Candidate:
        """Return what a run trains."""
        row = self.candidates[run.method]
        return self.tuned.get((run.student, run.method), row)

    def training_of(self, run: Run) -> Training:
        """Return the training of a run, with its method's learning rate."""
        training = self._training_of_all(run)
        rate = self.candidate(run).learning_rate
        if rate is not None:
            training = dataclasses.replace(training, learning_rate=rate)
        return training

    def _training_of_all(self, run: Run) -> Training:
        is_student = (
            run.student in self.students
            and run.student_network == self.student_networks[run.student]
        )
        if self.teacher_training is not None and not is_student:
            return self.teacher_training
        return self.training

    def total_steps(self, run: Run) -> int:
        """Return the training steps of a run."""
        steps = len(self.train_data(run))
        return steps * self.training_of(run).num_epochs(steps)

    def alone(self, modality: str, network: str, seed: int) -> Run:
        """Return the run of a network that trains alone."""
        return Run(BASELINE, modality, network, None, None, seed)

    def runs(self) -> list[Run]:
        """Return all runs, those that others start from first."""
        plan = []
        for seed in self.seeds:
            for student in self.students:
                other = self.other(student)
                own, taught_by = (
                    self.student_networks[student],
                    self.teacher_networks[other],
                )
                plan.append(self.alone(student, own, seed))
                plan.append(self.alone(other, taught_by, seed))
                for label, candidate in self.candidates.items():
                    if label == BASELINE:
                        continue
                    teacher, network = {
                        None: (None, None),
                        OWN: (student, own),
                        OTHER: (other, taught_by),
                        BOTH: (BOTH, taught_by),
                    }[candidate.teacher]
                    plan.append(
                        Run(label, student, own, teacher, network, seed)
                    )
        plan = list(dict.fromkeys(plan))
        # Stable: within a seed, those that train alone come first.
        return sorted(plan, key=lambda run: (run.seed, run.method != BASELINE))

    def starts_from(self, run: Run) -> list[Run]:
        """Return the runs whose networks a run starts from."""
        if run.teacher is None or run.teacher_network is None:
            return []
        own = self.alone(run.student, run.student_network, run.seed)
        if run.teacher == run.student:
            return [own]
        other = self.alone(
            self.other(run.student), run.teacher_network, run.seed
        )
        return [other, own] if run.teacher == BOTH else [other]

    # What a run is.

    def identity(self, run: Run) -> dict[str, Any]:
        """Return all that decides the outcome of a run, as plain values."""
        if run not in self._identities:
            names = {run.student: run.student_network}
            if run.teacher == BOTH:
                names[self.other(run.student)] = str(run.teacher_network)
            elif run.teacher is not None:
                names.setdefault(run.teacher, str(run.teacher_network))
            training = self._training_of_all(run)
            own: dict[str, Any] = {}
            rate = self.candidate(run).learning_rate
            if rate is not None:
                own["method_learning_rate"] = rate
            before = [self.training_of(one) for one in self.starts_from(run)]
            if before and before[0] != training:
                own["teacher_training"] = plain(before[0])
            self._identities[run] = {
                "results_version": RESULTS_VERSION,
                "backend": keras.backend.backend(),
                **dataclasses.asdict(run),
                **plain(training),
                **own,
                "method_config": method_identity(self.method(run)),
                **plain(self.taps_of(run)),
                "networks": {
                    modality: self.known(modality, name).digest
                    for modality, name in names.items()
                },
                "data": self.splits(run.seed).provenance["fingerprint"],
            }
        return self._identities[run]

    def known(self, modality: str, name: str) -> _Known:
        """Return what is known of a network, built once to look at it."""
        if (modality, name) not in self._known:
            # Layers number their names, which tell what joins what.
            distribution.clear_session()
            first, second = (
                self.build_network(modality, name, seed) for seed in (0, 1)
            )
            self._check_network(first, modality, name)
            layers = [layer.name for layer in first.layers]
            self._known[modality, name] = _Known(
                network_digest(first, second),
                tuple(filter(_STAGE.fullmatch, layers)),
            )
        return self._known[modality, name]

    def _check_network(
        self, network: keras.Model, modality: str, name: str
    ) -> None:
        """Refuse a network that does not fit the data, in words."""
        splits = self.splits(self.seeds[0])
        inputs, _ = splits.test.select((modality,)).batch([0])
        shapes = keras.tree.map_structure(
            lambda array: array.shape[1:], inputs[modality]
        )
        classes = len(splits.provenance["classes"])
        rule = (
            f"The network {name!r} of {modality!r} takes samples of "
            f"{shapes} and ends in logits of {classes} classes. Received: "
        )
        if hasattr(network, "preprocessor") and network.preprocessor:
            return
        try:
            logits = predict_on_batch(network, inputs[modality])
        except Exception as error:
            raise ValueError(
                f"{rule}a network that fails on a sample: {error}"
            ) from error
        found = tuple(keras.ops.shape(logits))
        if found[-1] < classes:
            raise ValueError(f"{rule}outputs of shape {found}.")

    def method(self, run: Run) -> DistillationMethod:
        """Return a new method for a run."""
        train, training = self.splits(run.seed).train, self.training_of(run)
        steps = -(-train.size // (training.batch_size or train.batch_size))
        context = RunContext(
            student=run.student,
            seed=run.seed,
            batch_size=training.batch_size or train.batch_size,
            warmup_steps=steps * training.warmup_epochs,
            stages=self._stages(run.student, run.student_network),
        )
        return self.candidate(run).build(context)

    def _stages(self, modality: str, name: str | None) -> tuple[str, ...]:
        if self.stages is not None:
            return tuple(self.stages)
        return self.known(modality, str(name)).stages

    def taps_of(self, run: Run) -> dict[str, Any]:
        """Return the arguments of `CrossModalDistiller` that name taps.

        Raises:
            ValueError: If they are those of stages that a network lacks.
        """
        candidate = self.candidate(run)
        sides = {"student_features": (run.student, run.student_network)}
        if run.teacher is not None:
            modality = (
                self.other(run.student) if run.teacher == BOTH else run.teacher
            )
            sides["teacher_features"] = (modality, str(run.teacher_network))
        found: dict[str, Any] = {}
        for side, (modality, name) in sides.items():
            stages = self._stages(modality, name)
            try:
                taps = candidate.taps(stages)
            except IndexError:
                raise ValueError(
                    f"{run.method} reads feature maps of the networks' stages, "
                    "layers called stage_1, stage_2 and so on. Received: the "
                    f"network {name!r} of {modality!r} with "
                    f"{list(stages) or 'none'}. Name its layers so, or say "
                    "where the maps are: Candidate(method, "
                    "student_features='layer', teacher_features='layer')"
                ) from None
            if side in taps:
                found[side] = taps[side]
        return {**found, **self.taps.get(run.method, {})}

    # The networks.

    def build_network(self, modality: str, name: str, seed: int) -> keras.Model:
        """Build a network of a modality from a seed."""
        keras.utils.set_random_seed(seed)
        training = self.training
        with training.dtype_policy():
            network = self.networks[modality][name]()
        if not isinstance(network, keras.Model):
            raise ValueError(
                f"networks[{modality!r}] must return a keras.Model. "
                f"Received: {network!r}"
            )
        return network

    def distiller(
        self, run: Run, alone: Callable[[Run], keras.Model]
    ) -> CrossModalDistiller:
        """Return the distiller of a run, not compiled.

        Args:
            run: `Run`.
            alone: Function from a run of `starts_from` to its network.
        """
        candidate = self.candidate(run)
        teacher = None
        modality: Any = run.teacher
        # A loaded teacher's dropout draws its seed when it is loaded.
        keras.utils.set_random_seed(run.seed)
        networks = [alone(other) for other in self.starts_from(run)]
        if run.teacher == BOTH:
            other, own = networks
            keras.utils.set_random_seed(run.seed)
            classes = len(self.splits(run.seed).provenance["classes"])
            modality = (run.student, self.other(run.student))
            teacher = fuse(
                own,
                other,
                fusion=candidate.fusion and candidate.fusion(classes),
                first_modality=modality[0],
                second_modality=modality[1],
            )
        elif networks:
            (teacher,) = networks
        method = self.method(run)
        # Seeded twice: equal students whatever the teacher, and equal random
        # states whatever heads the method adds.
        student = self.build_network(run.student, run.student_network, run.seed)
        unlabeled = self.splits(run.seed).provenance.get("unlabeled_class")
        distiller = CrossModalDistiller(
            student=student,
            teacher=teacher,
            student_modality=run.student,
            teacher_modality=modality,
            method=method,
            unlabeled_class=None if teacher is None else unlabeled,
            **self.taps_of(run),
        )
        keras.utils.set_random_seed(run.seed)
        return distiller

    def check(self) -> None:
        """Build what each row of the first seed trains, to see that it fits.

        Raises:
            ValueError: If a network, a method or its taps do not fit.
        """
        for run in self.runs():
            if run.seed != self.seeds[0] or run.method == BASELINE:
                continue
            distribution.clear_session()
            try:
                self.distiller(
                    run,
                    lambda one: self.build_network(
                        one.student, one.student_network, 0
                    ),
                )
            except ValueError as error:
                raise ValueError(
                    f"{run.method} cannot be trained with the {run.student} "
                    f"student: {error}"
                ) from error

    def with_baselines(self) -> "Plan":
        """Return the plan with self-training, if there are rows for it."""
        if not self.has_unlabeled(self.seeds[0]):
            return self
        rows = {BASELINE: self.candidates[BASELINE]}
        rows[SELF_TRAINING] = METHODS[SELF_TRAINING]
        return dataclasses.replace(self, candidates={**rows, **self.candidates})

    def __getstate__(self) -> dict[str, Any]:
        """Leave what can be read again out of copies for other processes."""
        state = dict(vars(self))
        if callable(self.pairs):
            state["_splits"] = None
        return state
