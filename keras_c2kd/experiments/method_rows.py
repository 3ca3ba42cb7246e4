"""The rows of a table: each method by name, as every recipe builds it."""

import dataclasses
import math
from collections.abc import Callable

import keras

from keras_c2kd import losses
from keras_c2kd import methods
from keras_c2kd.data.epoch_dataset import SECOND_VIEW
from keras_c2kd.layers import FiLMFusion
from keras_c2kd.selection import CosineSelection
from keras_c2kd.selection import GradientCosineSelection
from keras_c2kd.selection import KendallSelection
from keras_c2kd.selection import PearsonSelection
from keras_c2kd.selection import RandomSelection
from keras_c2kd.selection import SelectAll

BASELINE = "without-kd"


@dataclasses.dataclass(frozen=True)
class RunContext:
    """What a method may want to know of the run it is built for.

    Attributes:
        student: Modality of the student.
        seed: Integer.
        batch_size: Integer.
        warmup_steps: Integer, training steps of the warm-up of the methods
            that have one.
        stages: Names of the networks' stages, from shallow to deep.
    """

    student: str
    seed: int
    batch_size: int
    warmup_steps: int
    stages: tuple


@dataclasses.dataclass(frozen=True)
class MethodRow:
    """One method of a table.

    Attributes:
        build: Function from a `RunContext` to a new `DistillationMethod`.
        student_features: Function from the stages to the student's taps, or
            None for the input of the classifier.
        teacher_features: The same for the teacher.
        is_fused: Whether the teacher reads both modalities.
        fusion: Function from the number of classes to the layer that joins
            both; None for the default.
        has_teacher: Whether there is a teacher.
        has_second_view: Whether batches need a second view of the student's
            modality.
    """

    build: Callable
    student_features: Callable | None = None
    teacher_features: Callable | None = None
    is_fused: bool = False
    fusion: Callable | None = None
    has_teacher: bool = True
    has_second_view: bool = False

    def taps(self, stages):
        """Return the arguments of `CrossModalDistiller` that name taps."""
        found = {
            "student_features": self.student_features,
            "teacher_features": self.teacher_features,
        }
        return {name: tap(stages) for name, tap in found.items() if tap}


def _stages_and_pool(stages):
    return [*stages, "pool"]


def _fused(modulation=None, fusion=None):
    """Return the row of a teacher that reads both modalities (Table 7)."""
    return MethodRow(
        lambda run: methods.MultimodalTeacher(
            modulation=modulation(run) if modulation else None
        ),
        is_fused=True,
        fusion=fusion,
    )


def _bidirectional(divergence=None):
    """Return C2KD with bidirectional distillation alone, Table 5 (b)."""
    return methods.C2KD(
        divergence=divergence,
        proxies=False,
        selection=SelectAll(),
        non_target=False,
    )


def _kd(selection=None):
    """Return Eq. 1 with `lambda` = 1, as the paper leaves it open."""
    return methods.KnowledgeDistillation(4.0, 1.0, 1.0, selection=selection)


# Every method but KD has the package's default weights.
METHOD_ROWS = {
    # Every table: training alone.
    BASELINE: MethodRow(lambda run: methods.Supervised(), has_teacher=False),
    # Tables 1 and 3.
    "kd": MethodRow(lambda run: _kd()),
    "fitnet": MethodRow(
        lambda run: methods.FitNet(),
        # The third of five taps, counting the stem.
        student_features=lambda stages: stages[1],
        teacher_features=lambda stages: stages[1],
    ),
    "review-kd": MethodRow(
        lambda run: methods.ReviewKD(
            levels=len(run.stages) + 1, warmup_steps=run.warmup_steps
        ),
        student_features=_stages_and_pool,
        teacher_features=_stages_and_pool,
    ),
    "dml": MethodRow(lambda run: methods.DML()),
    "shake": MethodRow(
        lambda run: methods.SHAKE(),
        # The shadow ends in the teacher's classifier, which reads the last.
        teacher_features=lambda stages: list(stages[-3:]),
    ),
    "rkd": MethodRow(lambda run: methods.RKD()),
    "dkd": MethodRow(lambda run: methods.DKD(warmup_steps=run.warmup_steps)),
    "dist": MethodRow(lambda run: methods.DIST()),
    "nkd": MethodRow(lambda run: methods.NKD()),
    "c2kd-top": MethodRow(lambda run: methods.C2KD(teacher_update="top")),
    "c2kd": MethodRow(lambda run: methods.C2KD()),
    # Table 2.
    "kd+krc": MethodRow(lambda run: _kd(KendallSelection())),
    "kd+random": MethodRow(lambda run: _kd(RandomSelection(seed=run.seed))),
    "tckd": MethodRow(lambda run: methods.DKD(non_target_weight=0.0)),
    "nckd": MethodRow(lambda run: methods.DKD(0.0, 1.0)),
    "nckd+krc": MethodRow(
        lambda run: methods.DKD(0.0, 1.0, selection=KendallSelection())
    ),
    "nckd+random": MethodRow(
        lambda run: methods.DKD(
            0.0, 1.0, selection=RandomSelection(seed=run.seed)
        )
    ),
    # Table 4 and Fig. 5.
    "cirkd": MethodRow(lambda run: methods.CIRKD()),
    "c2kd+dist": MethodRow(lambda run: methods.C2KD(losses.DISTLoss())),
    "c2kd+nkd": MethodRow(lambda run: methods.C2KD(losses.NKDLoss())),
    # Fig. 5, between DIST or NKD itself and C2KD with its loss: (b) and (c).
    "c2kd-b+dist": MethodRow(lambda run: _bidirectional(losses.DISTLoss())),
    "c2kd-c+dist": MethodRow(
        lambda run: methods.C2KD(divergence=losses.DISTLoss(), proxies=False)
    ),
    "c2kd-b+nkd": MethodRow(lambda run: _bidirectional(losses.NKDLoss())),
    "c2kd-c+nkd": MethodRow(
        lambda run: methods.C2KD(divergence=losses.NKDLoss(), proxies=False)
    ),
    # Table 5: (a), (b), non-target classes alone, selection alone, (c).
    "c2kd-a": MethodRow(
        lambda run: methods.C2KD(
            proxies=False,
            selection=SelectAll(),
            non_target=False,
            bidirectional=False,
        )
    ),
    "c2kd-b": MethodRow(lambda run: _bidirectional()),
    "c2kd-nt": MethodRow(
        lambda run: methods.C2KD(proxies=False, selection=SelectAll())
    ),
    "c2kd-ofs": MethodRow(
        lambda run: methods.C2KD(proxies=False, non_target=False)
    ),
    "c2kd-c": MethodRow(lambda run: methods.C2KD(proxies=False)),
    # Table 6.
    "dlb": MethodRow(
        lambda run: methods.DLB(
            run.batch_size, second_view=run.student + SECOND_VIEW
        ),
        has_teacher=False,
        has_second_view=True,
    ),
    "zipf-kd": MethodRow(lambda run: methods.ZipfKD(), has_teacher=False),
    "uskd": MethodRow(
        lambda run: methods.USKD(),
        has_teacher=False,
        student_features=lambda stages: stages[-2],
    ),
    # Table 7.
    "concat": _fused(),
    "film": _fused(fusion=FiLMFusion),
    "ogm": _fused(lambda run: methods.OGM()),
    "ogm-ge": _fused(lambda run: methods.OGM(noise=True, seed=run.seed)),
}

# Fig. 4: what a row's selection can be replaced by, `<row>@<name>=<threshold>`.
SELECTIONS = {
    "kendall": KendallSelection,
    "cosine": CosineSelection,
    "pearson": PearsonSelection,
    "gradcos": GradientCosineSelection,
}


def base_row(name):
    """Return the name of the row without its selection: `c2kd@all`, `c2kd`."""
    return name.partition("@")[0]


def method_row(name):
    """Return a row by its name, or a row with another selection.

    `c2kd@cosine=0.2` is the row `c2kd` with `CosineSelection(threshold=0.2)`,
    and `c2kd@all` the same with `SelectAll()`, for every row whose method has
    a selection.

    Args:
        name: String.

    Returns:
        `MethodRow`.

    Raises:
        ValueError: If there is no such row or selection, or if the threshold
            is not written in its shortest form, so that a run has one name.
    """
    base, at, choice = name.partition("@")
    if base not in METHOD_ROWS:
        raise ValueError(
            f"The methods are {tuple(METHOD_ROWS)}. Received: {name!r}"
        )
    row = METHOD_ROWS[base]
    if not at:
        return row
    new_selection = _selection(name, choice)

    def build(run):
        method = row.build(run)
        if not hasattr(method, "selection"):
            raise ValueError(
                f"{name!r} replaces the selection of a method, and "
                f"{type(method).__name__} has none."
            )
        selection = new_selection(method.selection.on)
        return type(method).from_config(
            {
                **method.get_config(),
                "selection": keras.saving.serialize_keras_object(selection),
            }
        )

    return dataclasses.replace(row, build=build)


def _selection(name, choice):
    """Return a function from `on` to the selection that a name asks for."""
    if choice == "all":
        return lambda on: SelectAll(on=on)
    kind, _, text = choice.partition("=")
    try:
        threshold = float(text)
    except ValueError:
        threshold = math.nan
    # Adding 0 makes minus 0 plain 0.
    is_shortest = math.isfinite(threshold) and text == f"{threshold + 0.0:g}"
    if kind not in SELECTIONS or not is_shortest:
        raise ValueError(
            f"A selection is `all` or <name>=<threshold>, one of "
            f"{tuple(SELECTIONS)} and a number in its shortest form, such as "
            f"c2kd@cosine=0.2. Received: {name!r}"
        )
    return lambda on: SELECTIONS[kind](threshold=threshold, on=on)
