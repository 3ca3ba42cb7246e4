"""The rows of a table: each method by name, as every recipe builds it."""

import dataclasses
from collections.abc import Callable

from keras_c2kd import losses
from keras_c2kd import methods
from keras_c2kd.data.paired_dataset import SECOND_VIEW
from keras_c2kd.layers import FiLMFusion
from keras_c2kd.selection import KendallSelection
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


# Every method has the package's default weights.
METHOD_ROWS = {
    # Every table: training alone.
    BASELINE: MethodRow(lambda run: methods.Supervised(), has_teacher=False),
    # Tables 1 and 3.
    "kd": MethodRow(lambda run: methods.KnowledgeDistillation()),
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
        teacher_features=lambda stages: list(stages[:3]),
    ),
    "rkd": MethodRow(lambda run: methods.RKD()),
    "dkd": MethodRow(lambda run: methods.DKD(warmup_steps=run.warmup_steps)),
    "dist": MethodRow(lambda run: methods.DIST()),
    "nkd": MethodRow(lambda run: methods.NKD()),
    "c2kd-top": MethodRow(lambda run: methods.C2KD(teacher_update="top")),
    "c2kd": MethodRow(lambda run: methods.C2KD()),
    # Table 2.
    "kd+krc": MethodRow(
        lambda run: methods.KnowledgeDistillation(selection=KendallSelection())
    ),
    "kd+random": MethodRow(
        lambda run: methods.KnowledgeDistillation(
            selection=RandomSelection(seed=run.seed)
        )
    ),
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
    "c2kd+dist": MethodRow(lambda run: methods.C2KD(divergence=losses.DIST())),
    "c2kd+nkd": MethodRow(lambda run: methods.C2KD(divergence=losses.NKD())),
    # Table 5: (a), (b), non-target classes alone, selection alone, (c).
    "c2kd-a": MethodRow(
        lambda run: methods.C2KD(
            proxies=False,
            selection=SelectAll(),
            non_target=False,
            bidirectional=False,
        )
    ),
    "c2kd-b": MethodRow(
        lambda run: methods.C2KD(
            proxies=False, selection=SelectAll(), non_target=False
        )
    ),
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
