"""What all runs of a recipe share: data, networks, training."""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np

from keras_c2kd.analysis import MeanIoU
from keras_c2kd.analysis.target_probability import mean_target_probability
from keras_c2kd.data.scene_dataset import IGNORED
from keras_c2kd.experiments.method_rows import BASELINE
from keras_c2kd.experiments.method_rows import METHOD_ROWS
from keras_c2kd.experiments.method_rows import base_row
from keras_c2kd.experiments.method_rows import method_row
from keras_c2kd.experiments.per_epoch import PerEpoch
from keras_c2kd.experiments.settings import setting
from keras_c2kd.networks.modalities import predict_on_batch

RATES_PER = ("step", "epoch")
PROTOCOLS = ("last", "best_validation")


@dataclasses.dataclass(frozen=True)
class Training:
    """What decides the outcome of a run besides method, networks and seed.

    A recipe adds fields of its own in a subclass. All of them are stored with
    every result, and each is an option of the command line.

    Args:
        epochs: Integer. Defaults to `100`.
        batch_size: Integer. Defaults to `64`.
        learning_rate: Float, of the first step. Defaults to `1e-2`.
        end_learning_rate: Float, of the last step. Defaults to `1e-4`, the
            floor of the authors' code and Keras' default; the paper names
            none.
        power: Float, of the polynomial decay between them. Defaults to `0.9`.
        learning_rate_per: `"step"` (default): the rate decays with every
            step, as Keras' schedules do; `"epoch"`: once an epoch, as in the
            authors' code. Records hold it where it is `"epoch"`.
        momentum: Float, of SGD. Defaults to `0.9`.
        warmup_epochs: Integer, epochs in which the weights of DKD and
            ReviewKD grow from 0. Defaults to `20`, as in their authors' code.
        protocol: `"last"` (default): the network after the last epoch is
            tested; `"best_validation"`: the one with the best validation
            score of all epochs.

    Reference: Huo et al., CVPR 2024, section 4.1.
    """

    epochs: int = setting(100, "passes over the training samples")
    batch_size: int = setting(64, "samples of a step")
    learning_rate: float = setting(1e-2, "of the first step")
    end_learning_rate: float = setting(1e-4, "of the last step")
    power: float = setting(0.9, "of the polynomial decay between the two")
    learning_rate_per: str = setting(
        "step", "after what the learning rate decays", RATES_PER
    )
    momentum: float = setting(0.9, "of SGD")
    warmup_epochs: int = setting(
        20, "epochs in which the weights of DKD and ReviewKD grow from 0"
    )
    protocol: str = setting(
        "last", "which epoch's network is tested", PROTOCOLS
    )

    def compile(self, distiller, steps, classes):
        """Compile for a run of so many steps.

        Args:
            distiller: `CrossModalDistiller`.
            steps: Integer, training steps of the whole run.
            classes: Names of the classes.
        """
        distiller.compile(
            optimizer=keras.optimizers.SGD(
                self.schedule(steps), momentum=self.momentum
            ),
            loss=self.loss(),
            metrics=self.metrics(classes),
        )

    def schedule(self, steps):
        """Return the learning rate's schedule.

        Args:
            steps: Integer, training steps of the whole run.

        Raises:
            ValueError: If `learning_rate_per` is unknown.
        """
        if self.learning_rate_per not in RATES_PER:
            raise ValueError(
                f"`learning_rate_per` must be one of {RATES_PER}. Received: "
                f"learning_rate_per={self.learning_rate_per!r}"
            )
        per_epoch = self.learning_rate_per == "epoch"
        decay = keras.optimizers.schedules.PolynomialDecay(
            self.learning_rate,
            self.epochs if per_epoch else steps,
            end_learning_rate=self.end_learning_rate,
            power=self.power,
        )
        return PerEpoch(decay, steps // self.epochs) if per_epoch else decay

    def loss(self):
        """Return the supervised loss."""
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def metrics(self, classes):
        """Return the metrics, of which the recipe reports one."""
        return ["accuracy"]

    def test_scores(self, network, modality, dataset, classes):
        """Return further scores of the tested student, to be stored.

        Args:
            network: The student.
            modality: Its modality.
            dataset: Test batches.
            classes: Names of the classes.

        Returns:
            Dict of plain values: here the mean probability of the label's
            class, `target_probability`.
        """
        probability = mean_target_probability(network, modality, dataset)
        return {"target_probability": probability}


@dataclasses.dataclass(frozen=True)
class DenseTraining(Training):
    """Training with a label a pixel, of which some are ignored.

    The metric is the mean intersection over union, `mean_iou`, of the classes
    that occur in labels or predictions. That of each class of the test
    samples, `iou_<class>`, is stored with the results. Ignored pixels count
    in none.
    """

    def loss(self):
        """Return the cross-entropy of the pixels that are not ignored."""
        return keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, ignore_class=IGNORED
        )

    def metrics(self, classes):
        """Return the mean intersection over union."""
        return [_mean_iou(len(classes))]

    def test_scores(self, network, modality, dataset, classes):
        """Return the intersection over union of each class."""
        metric = _mean_iou(len(classes))
        for index in range(len(dataset)):
            inputs, labels = dataset[index]
            logits = predict_on_batch(network, inputs[modality])
            metric.update_state(labels, logits)
        counts = keras.ops.convert_to_numpy(metric.total_cm)
        hits = np.diag(counts)
        union = counts.sum(axis=0) + counts.sum(axis=1) - hits
        # NaN cannot be written as JSON: a class that does not occur is None.
        return {
            f"iou_{name.replace(' ', '_')}": float(hit / total)
            if total
            else None
            for name, hit, total in zip(classes, hits, union)
        }


def _mean_iou(num_classes):
    return MeanIoU(
        num_classes=num_classes,
        ignore_class=IGNORED,
        sparse_y_pred=False,
        name="mean_iou",
    )


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
        methods: Names in `METHOD_ROWS` that can be chosen.
        default_methods: Those that run if none is chosen.
        stages: Names of the layers that all networks have, shallow to deep.
        metric: Name of the metric to report. Defaults to `"accuracy"`.
        metric_name: What the metric is called in texts. Defaults to
            `"accuracy"`.
        seeds: Integer, number of seeds, from 0 on. Defaults to `3`, as in
            the paper.
        data_folder: What the user's folder must hold, for the help text;
            None (default) if the data come with the package.
        data_depend_on_seed: Whether each seed has data of its own.
        max_missing_fraction: Float, share of the samples that may be missing or
            unreadable. Defaults to `0.01`.
        smoke: Dict of the settings of a trial.
        smoke_networks: Dict from the modality to the default network of a
            trial.
        taps: Dict from methods to the arguments of `CrossModalDistiller` that
            name taps, where they are others than in `METHOD_ROWS`.
        ranked_pairs: Integer, training pairs whose ranks are looked at after
            each epoch. Defaults to `512`.
        illustrate: Function `(runner, records, directory)` that writes more
            than the table and its figures; None (default) for nothing.
        verbose: As in Keras' `fit`, for each run. Defaults to `"auto"`.
        script: Path of the recipe, from which other processes start it.

    Raises:
        ValueError: If a method is unknown or there are not two modalities.
    """

    name: str
    settings: Training
    load: Callable
    networks: dict
    methods: tuple = tuple(METHOD_ROWS)
    default_methods: tuple = ("kd", "c2kd")
    stages: tuple = ("stage_1", "stage_2", "stage_3", "stage_4")
    metric: str = "accuracy"
    metric_name: str = "accuracy"
    seeds: int = 3
    data_folder: str | None = None
    data_depend_on_seed: bool = False
    max_missing_fraction: float = 0.01
    smoke: dict = dataclasses.field(default_factory=dict)
    smoke_networks: dict = dataclasses.field(default_factory=dict)
    taps: dict = dataclasses.field(default_factory=dict)
    ranked_pairs: int = 512
    illustrate: Callable | None = None
    verbose: object = "auto"
    script: str | None = None

    def __post_init__(self):
        """Check the names."""
        unknown = {*self.methods, *self.default_methods} - set(METHOD_ROWS)
        if unknown:
            raise ValueError(
                f"The methods are {tuple(METHOD_ROWS)}. "
                f"Received: {sorted(unknown)}"
            )
        if len(self.networks) != 2:
            raise ValueError(
                "A recipe has networks for two modalities. "
                f"Received: {sorted(self.networks)}"
            )

    @property
    def modalities(self):
        """Both modalities."""
        return tuple(self.networks)

    def trial(self):
        """Return the recipe of a trial: small, short, one seed."""
        networks = {
            modality: {
                name: names[name]
                for name in (
                    self.smoke_networks.get(modality, next(iter(names))),
                    *names,
                )
            }
            for modality, names in self.networks.items()
        }
        return dataclasses.replace(
            self,
            settings=dataclasses.replace(self.settings, **self.smoke),
            networks=networks,
            seeds=1,
        )

    def taps_of(self, method):
        """Return the arguments of `CrossModalDistiller` that name taps."""
        found = method_row(method).taps(self.stages)
        return {**found, **self.taps.get(base_row(method), {})}

    def other(self, modality):
        """Return the other modality."""
        first, second = self.modalities
        return second if modality == first else first

    def network(self, modality, name=None):
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


@dataclasses.dataclass(frozen=True)
class Run:
    """One training of one network: a cell of a table, for one seed.

    Attributes:
        method: Name of the method.
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
    def name(self):
        """What the result file's name begins with."""
        networks = [self.student_network, self.teacher_network]
        pair = "-".join(name for name in networks if name)
        return f"{self.method}-{self.student}-{pair}-seed{self.seed}"


def baseline_run(student, network, seed):
    """Return the run of a network that trains alone."""
    return Run(BASELINE, student, network, None, None, seed)


def plan_runs(
    recipe,
    methods,
    students,
    seeds,
    student_network=None,
    teacher_network=None,
):
    """List the runs of a table, pre-trained teachers first.

    Args:
        recipe: `Recipe`.
        methods: Names of methods, see `method_row`; the baseline is always
            run.
        students: Modalities of the deployed network.
        seeds: Sequence of integers.
        student_network: Name of the deployed network; None for the
            modality's default.
        teacher_network: The same for the other modality.

    Returns:
        List of `Run`.

    Raises:
        ValueError: If a modality has no such network.
    """
    plan = []
    for seed in seeds:
        for student in students:
            teacher = recipe.other(student)
            own = recipe.network(student, student_network)
            other = recipe.network(teacher, teacher_network)
            # Both modalities train alone: for the gap, and to have teachers.
            plan.append(baseline_run(student, own, seed))
            plan.append(baseline_run(teacher, other, seed))
            for method in methods:
                row = method_row(method)
                if method == BASELINE:
                    continue
                if not row.has_teacher:
                    plan.append(Run(method, student, own, None, None, seed))
                    continue
                reads = "both" if row.is_fused else teacher
                plan.append(Run(method, student, own, reads, other, seed))
    plan = list(dict.fromkeys(plan))
    # Stable: within a seed, those that train alone come first.
    return sorted(plan, key=lambda run: (run.seed, run.method != BASELINE))
