"""Which method, which direction, and does it help at all?"""

import os
import pathlib
import shutil
import tempfile
import weakref
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras

from keras_c2kd.backend import distribution
from keras_c2kd.comparison.candidates import candidates_of
from keras_c2kd.comparison.plan import ModelBuilder
from keras_c2kd.comparison.plan import Plan
from keras_c2kd.comparison.processes import Engine
from keras_c2kd.comparison.processes import files_of
from keras_c2kd.comparison.processes import forget_failures
from keras_c2kd.comparison.processes import overwrite as remove_records
from keras_c2kd.comparison.processes import say
from keras_c2kd.comparison.processes import train_plan
from keras_c2kd.comparison.result import ComparisonResult
from keras_c2kd.comparison.runner import Runner
from keras_c2kd.comparison.table import choose_records
from keras_c2kd.comparison.table import missing_runs
from keras_c2kd.comparison.training import Training
from keras_c2kd.comparison.tuning import tuned_plan
from keras_c2kd.data.paired_splits import PairedSplits

Builder = Callable[[], keras.Model]


def compare(
    pairs: PairedSplits | Callable[[int], PairedSplits],
    networks: Mapping[str, Builder | keras.Model],
    student: str,
    methods: Sequence[Any] | Mapping[str, Any] = ("kd", "dml", "c2kd"),
    *,
    seeds: int | Sequence[int] = 3,
    training: Training | None = None,
    folder: str | os.PathLike[str] | None = None,
    teachers: Mapping[str, Builder | keras.Model] | None = None,
    teacher_training: Training | None = None,
    keep_weights: bool = False,
    stages: Sequence[str] | None = None,
    tune: int = 0,
    processes: int = 1,
    devices: int | None = None,
    engine: str = "local",
    gpus_per_run: float = 0.0,
    overwrite: bool = False,
    workers: int = 1,
    verbose: int = 0,
) -> ComparisonResult:
    """Train a network alone and by each method, and say what helps.

    Each modality is first trained alone: the baseline of its own direction,
    and the teacher of the other. Then every method trains the student with
    the same budget, seeds, batches and initial weights. Where training rows
    have no label, the baseline has the labelled ones, in as many updates,
    and self-training is compared too. One record a run is kept in the folder;
    called again, finished runs are kept, and an interrupted one goes on.

    Args:
        pairs: `PairedSplits`, such as `PairedSplits.from_arrays` makes, or a
            function from the seed to them.
        networks: Dict from each of the two modalities to a function without
            arguments that builds a network ending in logits, or to a
            `keras.Model`, whose architecture is taken.
        student: Modality of the deployed network, or `"both"`.
        methods: Names (see `comparison.METHODS`), `DistillationMethod`s,
            classes of them, `Candidate`s, or dicts from a row's name to one
            of these. Defaults to `("kd", "dml", "c2kd")`.
        seeds: Integer, so many from 0 on, or a sequence of them. Defaults to
            `3`, the least that gives an interval.
        training: `Training`. Defaults to `Training()`.
        folder: Where the records and networks go. Defaults to None: a
            temporary folder, gone with the process.
        teachers: Dict from a modality to the builder of the network that
            teaches, where it is another than `networks` has.
        teacher_training: `Training` of networks that only teach. Defaults to
            `training`.
        keep_weights: Whether models given as `networks` keep their weights.
            Defaults to `False`: each seed draws new ones.
        stages: Names of the layers that the networks have in common, from
            shallow to deep, for methods that read feature maps. Defaults to
            those called `stage_1` and so on.
        tune: Integer, trials of the search for each method's settings, and
            for the baseline's learning rate, on the validation part. Defaults
            to `0`: the settings given.
        processes: Integer, processes that share the runs. Defaults to `1`.
        devices: Integer, devices that train each run together. Defaults to
            one.
        engine: `"local"` (default) or `"ray"`.
        gpus_per_run: Float, GPUs that Ray gives to a run. Defaults to `0.0`.
        overwrite: Whether finished runs of this plan are removed and trained
            anew. Defaults to `False`.
        workers: Integer, threads that read batches. Defaults to `1`.
        verbose: As in Keras' `fit`, for each run. Defaults to `0`.

    Returns:
        `ComparisonResult`.

    Raises:
        ValueError: If a network, a method or its taps do not fit, before
            anything is trained.
        RuntimeError: If no run alone could be trained.

    Example:
    >>> splits = data.load_gaussian_pairs(train=60, validation=30, test=30)
    >>> def network():
    ...     inputs = keras.Input((32,))
    ...     return keras.Model(inputs, keras.layers.Dense(12)(inputs))
    >>> result = compare(
    ...     splits,
    ...     {"a": network, "b": network},
    ...     student="a",
    ...     methods=["kd"],
    ...     seeds=1,
    ...     training=Training(epochs=1),
    ... )  # doctest: +ELLIPSIS
    6 runs...
    >>> [row.method for row in result.rows]
    ['alone', 'kd']

    Reference: Huo et al., CVPR 2024, section 4: the protocol of its tables.
    """
    plan = make_plan(
        pairs,
        networks,
        student,
        methods,
        seeds=seeds,
        training=training,
        teachers=teachers,
        teacher_training=teacher_training,
        keep_weights=keep_weights,
        stages=stages,
        verbose=verbose,
    )
    temporary = None
    if folder is None:
        folder = temporary = tempfile.mkdtemp(prefix="keras_c2kd_")
    try:
        result = run_plan(
            plan,
            folder,
            Engine(processes, devices, engine, gpus_per_run),
            tune=tune,
            overwrite=overwrite,
            workers=workers,
            verbose=verbose,
        )
    except BaseException:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        raise
    if temporary is not None:  # The folder lives as long as the result.
        weakref.finalize(result, shutil.rmtree, temporary, ignore_errors=True)
    return result


def make_plan(
    pairs: PairedSplits | Callable[[int], PairedSplits],
    networks: Mapping[str, Builder | keras.Model],
    student: str,
    methods: Sequence[Any] | Mapping[str, Any],
    *,
    seeds: int | Sequence[int] = 3,
    training: Training | None = None,
    teachers: Mapping[str, Builder | keras.Model] | None = None,
    teacher_training: Training | None = None,
    keep_weights: bool = False,
    stages: Sequence[str] | None = None,
    verbose: int = 0,
    **options: Any,
) -> Plan:
    """Return the plan of a comparison; the arguments are `compare`'s.

    Raises:
        ValueError: If an argument has no meaning.
    """
    if len(networks) != 2:
        raise ValueError(
            "A comparison has networks for two modalities. Received: "
            f"{list(networks)}"
        )
    if student not in (*networks, "both"):
        raise ValueError(
            f"`student` must be one of {tuple(networks)} or 'both'. "
            f"Received: student={student!r}"
        )
    if unknown := set(teachers or {}) - set(networks):
        raise ValueError(
            f"`teachers` has networks of the modalities {tuple(networks)}. "
            f"Received: {sorted(unknown)}"
        )
    chosen = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    if not chosen or len(set(chosen)) < len(chosen):
        raise ValueError(
            "`seeds` is a number of at least 1, or different integers. "
            f"Received: seeds={seeds!r}"
        )
    builders: dict[str, dict[str, Builder]] = {}
    as_student, as_teacher = {}, {}
    for modality, network in networks.items():
        name, build = _builder(network, modality, keep_weights)
        builders[modality] = {name: build}
        as_student[modality] = as_teacher[modality] = name
        if modality in (teachers or {}):
            other, build = _builder(
                (teachers or {})[modality], modality, keep_weights
            )
            other = f"{other}_teacher" if other == name else other
            builders[modality][other] = build
            as_teacher[modality] = other
    return Plan(
        pairs=pairs,
        networks=builders,
        students=tuple(networks) if student == "both" else (student,),
        candidates=candidates_of(methods),
        seeds=tuple(chosen),
        training=Training() if training is None else training,
        student_networks=as_student,
        teacher_networks=as_teacher,
        teacher_training=teacher_training,
        stages=stages,
        verbose=verbose,
        **options,
    )


def _builder(
    network: Builder | keras.Model, modality: str, keep_weights: bool
) -> tuple[str, Builder]:
    """Return the name of a network, and what builds it."""
    if isinstance(network, keras.Model):
        return modality, ModelBuilder.of(network, keep_weights)
    if not callable(network):
        raise ValueError(
            f"networks[{modality!r}] is a function that builds a keras.Model, "
            f"or a model. Received: {network!r}"
        )
    name = getattr(network, "__name__", modality)
    return (modality if name == "<lambda>" else name), network


def run_plan(
    plan: Plan,
    folder: str | os.PathLike[str],
    engine: Engine | None = None,
    *,
    tune: int = 0,
    overwrite: bool = False,
    workers: int = 1,
    verbose: int = 0,
    least_seconds: float = 60.0,
    profile: str | None = None,
) -> ComparisonResult:
    """Check a plan, train what is not finished, return the result.

    Args:
        plan: `Plan`.
        folder: Where the records and networks go.
        engine: `Engine`; None (default) for this process.
        tune: As for `compare`.
        overwrite: As for `compare`.
        workers: As for `compare`.
        verbose: As for `compare`.
        least_seconds: Float, pause between two states of a run from which it
            can go on. Defaults to `60.0`.
        profile: Folder for traces of training steps; None (default).
    """
    files = files_of(folder)
    # Not after hours of decoding and training.
    files.check_writable()
    plan = plan.with_baselines()
    plan.check()
    if tune:
        plan = tuned_plan(plan, folder, tune, engine, workers)
    runner = Runner(plan, files, workers, verbose, least_seconds, profile)
    training = plan.training
    length = f"{training.epochs} epochs"
    if training.steps:
        length = f"{training.steps} steps"
    say(
        f"{len(plan.runs())} runs of {length} on "
        f"{keras.backend.backend()}, results in {folder}"
    )
    if distribution.is_first_process():
        if overwrite:
            remove_records(runner)
        forget_failures(runner)
    distribution.barrier()
    _, words = choose_records(runner)
    for sentence in words:
        say(sentence)
    failures = train_plan(runner, engine or Engine())
    records, words = choose_records(runner)
    missing = missing_runs(plan, records, failures)
    if not records:
        raise RuntimeError("No run could be trained. " + " ".join(missing[:3]))
    return ComparisonResult(
        records,
        tuple(plan.students),
        plan.training.metric,
        tuple([*missing, *words]),
        pathlib.Path(folder) / "runs",
    )
