"""What is compared: methods with the taps and the teacher that they need."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras

from keras_c2kd import losses
from keras_c2kd import methods
from keras_c2kd.data.epoch_dataset import SECOND_VIEW
from keras_c2kd.layers import FiLMFusion

BASELINE = "alone"
SELF_TRAINING = "self_training"
OWN, OTHER, BOTH = "own", "other", "both"


@dataclasses.dataclass(frozen=True)
class RunContext:
    """What a method may want to know of the run that it is built for.

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
    stages: tuple[str, ...]


# A tap of `CrossModalDistiller`, or a function from the stages to one.
StageTaps = Any


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A method as `compare` trains it.

    Args:
        method: A `DistillationMethod`, its class, or a function from a
            `RunContext` to a new one. Each run gets a method of its own.
        student_features: Taps of the student, as `CrossModalDistiller` takes
            them, or a function from the names of the stages to taps. Defaults
            to None, the input of the classifier.
        teacher_features: The same for the teacher.
        teacher: `"other"`: the network of the other modality that trained
            alone; `"own"`: that of the student's own; `"both"`: the two
            joined by `methods.fuse`; None: there is none. Defaults to what
            the method needs.
        fusion: Function from the number of classes to the layer that joins
            both; None (default) for that of `methods.fuse`.
        has_second_view: Whether batches need a second view of the student's
            modality. Defaults to `False`.
        learning_rate: Float, in place of the training's; None (default).

    Raises:
        ValueError: If the method is none, or `teacher` is unknown.

    Example:
    >>> method = methods.FitNet(hint_weight=50.0)
    >>> fitnet = Candidate(
    ...     method, student_features="stage_2", teacher_features="stage_2"
    ... )
    >>> fitnet.teacher
    'other'
    """

    method: Any
    student_features: StageTaps = None
    teacher_features: StageTaps = None
    teacher: str | None = ""
    fusion: Callable[[int], keras.layers.Layer] | None = None
    has_second_view: bool = False
    learning_rate: float | None = None

    def __post_init__(self) -> None:
        """Keep a recipe for the method; a built layer cannot be shared."""
        method = self.method
        if isinstance(method, methods.DistillationMethod):
            kind, config = type(method), method.get_config()
            object.__setattr__(self, "method", _Rebuilt(kind, config))
        elif isinstance(method, type) and issubclass(
            method, methods.DistillationMethod
        ):
            kind = method
            object.__setattr__(self, "method", _Rebuilt(kind))
        elif callable(method):
            kind = None
        else:
            raise ValueError(
                "A method is a DistillationMethod, its class, or a function "
                f"that returns one. Received: {method!r}"
            )
        if self.teacher == "":
            needs = kind is None or kind.needs_teacher
            object.__setattr__(self, "teacher", OTHER if needs else None)
        if self.teacher not in (OWN, OTHER, BOTH, None):
            raise ValueError(
                f"`teacher` is {OTHER!r}, {OWN!r}, {BOTH!r} or None. "
                f"Received: teacher={self.teacher!r}"
            )

    def build(self, context: RunContext) -> methods.DistillationMethod:
        """Return a new method for a run.

        Raises:
            ValueError: If the function returned something else.
        """
        method = self.method(context)
        if not isinstance(method, methods.DistillationMethod):
            raise ValueError(
                "A method must be a keras_c2kd DistillationMethod. Received: "
                f"{method!r} of {type(method).__name__}"
            )
        return method

    def taps(self, stages: Sequence[str]) -> dict[str, Any]:
        """Return the arguments of `CrossModalDistiller` that name taps."""
        found = {
            "student_features": self.student_features,
            "teacher_features": self.teacher_features,
        }
        return {
            name: tap(stages) if inspect.isfunction(tap) else tap
            for name, tap in found.items()
            if tap is not None
        }

    def with_config(self, changes: Mapping[str, Any]) -> "Candidate":
        """Return the same with other arguments of the method.

        Args:
            changes: Dict from the argument to its value; `learning_rate` is
                that of the training.
        """
        changes = dict(changes)
        rate = changes.pop("learning_rate", self.learning_rate)
        build = self.method
        if changes:
            build = functools.partial(_changed, build, changes)
        return dataclasses.replace(self, method=build, learning_rate=rate)


@dataclasses.dataclass(frozen=True)
class _Rebuilt:
    """Builds a method of a class and a configuration, for any run."""

    kind: type[methods.DistillationMethod]
    config: Mapping[str, Any] | None = None

    def __call__(
        self, context: RunContext | None = None
    ) -> methods.DistillationMethod:
        if self.config is None:
            return self.kind()
        return self.kind.from_config(dict(self.config))


def _changed(
    build: Callable[[RunContext], methods.DistillationMethod],
    changes: Mapping[str, Any],
    context: RunContext,
) -> methods.DistillationMethod:
    method = build(context)
    config = method.get_config()
    # A warm-up of no steps stands in no configuration.
    if unknown := sorted(set(changes) - {*config, *method.search_space}):
        known = sorted(set(config) - {"name", "trainable", "dtype"})
        raise ValueError(
            f"{type(method).__name__} has the arguments {known}. "
            f"Received: {', '.join(unknown)}"
        )
    return type(method).from_config({**config, **changes})


def _stages_and_pool(stages: Sequence[str]) -> list[str]:
    return [*stages, "pool"]


def _second_stage(stages: Sequence[str]) -> str:
    return stages[1]


def _last_three(stages: Sequence[str]) -> list[str]:
    return list(stages[-3:])


def _last_but_one(stages: Sequence[str]) -> str:
    return stages[-2]


# Every method has the package's default weights.
METHODS = {
    BASELINE: Candidate(methods.Supervised),
    SELF_TRAINING: Candidate(methods.PseudoLabels, teacher=OWN),
    "pseudo_labels": Candidate(methods.PseudoLabels),
    "kd": Candidate(methods.KnowledgeDistillation),
    "dkd": Candidate(lambda run: methods.DKD(warmup_steps=run.warmup_steps)),
    "nkd": Candidate(methods.NKD),
    "dist": Candidate(methods.DIST),
    "rkd": Candidate(methods.RKD),
    "fitnet": Candidate(
        methods.FitNet,
        student_features=_second_stage,
        teacher_features=_second_stage,
    ),
    "review_kd": Candidate(
        lambda run: methods.ReviewKD(
            levels=len(run.stages) + 1, warmup_steps=run.warmup_steps
        ),
        student_features=_stages_and_pool,
        teacher_features=_stages_and_pool,
    ),
    "cirkd": Candidate(methods.CIRKD),
    "dml": Candidate(methods.DML),
    # The shadow ends in the teacher's classifier, which reads the last.
    "shake": Candidate(methods.SHAKE, teacher_features=_last_three),
    "c2kd": Candidate(methods.C2KD),
    # For few labels: the teacher stays as good as it was.
    "c2kd_fixed": Candidate(
        methods.C2KD(
            losses.KLDivergence(temperature=4.0), teacher_update="none"
        )
    ),
    "dlb": Candidate(
        lambda run: methods.DLB(
            run.batch_size, second_view=run.student + SECOND_VIEW
        ),
        teacher=None,
        has_second_view=True,
    ),
    "zipf_kd": Candidate(methods.ZipfKD),
    "uskd": Candidate(methods.USKD, student_features=_last_but_one),
    "concat": Candidate(methods.MultimodalTeacher, teacher=BOTH),
    "film": Candidate(
        methods.MultimodalTeacher, teacher=BOTH, fusion=FiLMFusion
    ),
    "ogm": Candidate(
        lambda run: methods.MultimodalTeacher(modulation=methods.OGM()),
        teacher=BOTH,
    ),
    "ogm_ge": Candidate(
        lambda run: methods.MultimodalTeacher(
            modulation=methods.OGM(noise=True, seed=run.seed)
        ),
        teacher=BOTH,
    ),
}
# Their own name in the papers; in a table, "alone" is the baseline's.
ALIASES = {"supervised": BASELINE}
# The taps and the teacher of a class of the package, whatever its arguments.
_BY_CLASS = {
    methods.Supervised: BASELINE,
    methods.PseudoLabels: "pseudo_labels",
    methods.KnowledgeDistillation: "kd",
    methods.DKD: "dkd",
    methods.NKD: "nkd",
    methods.DIST: "dist",
    methods.RKD: "rkd",
    methods.FitNet: "fitnet",
    methods.ReviewKD: "review_kd",
    methods.CIRKD: "cirkd",
    methods.DML: "dml",
    methods.SHAKE: "shake",
    methods.C2KD: "c2kd",
    methods.DLB: "dlb",
    methods.ZipfKD: "zipf_kd",
    methods.USKD: "uskd",
    methods.MultimodalTeacher: "concat",
}


def candidates_of(
    given: Sequence[Any] | Mapping[str, Any],
) -> dict[str, Candidate]:
    """Return what is compared, by the names of the rows.

    Args:
        given: Sequence of names of `METHODS`, methods, classes, `Candidate`s
            and dicts from a row's name to one of these; or one such dict.

    Returns:
        Dict from the row's name to its `Candidate`. A method with its default
        arguments has the name of the package; others are called by their
        class and what is not the default. The baseline comes first.

    Raises:
        ValueError: If a name is unknown or given twice, or a method is none.

    Example:
    >>> rows = candidates_of(["kd", methods.C2KD(cross_modal_weight=2.0)])
    >>> list(rows)
    ['alone', 'kd', 'C2KD(cross_modal_weight=2.0)']
    """
    found = {BASELINE: METHODS[BASELINE]}
    parts = [given] if isinstance(given, Mapping | str) else given
    for part in parts:
        pairs = part.items() if isinstance(part, Mapping) else [(None, part)]
        for label, method in pairs:
            name, candidate = _candidate_of(method)
            label = name if label is None else str(label)
            if label == BASELINE and candidate is METHODS[BASELINE]:
                continue
            if label in found:
                raise ValueError(
                    "Each row of a comparison has a name of its own. "
                    f"Received: two of {label!r}. Name them: "
                    "methods={'one': ..., 'other': ...}"
                )
            found[label] = candidate
    return found


def _candidate_of(method: Any) -> tuple[str, Candidate]:
    """Return the name of a method's row, and its candidate."""
    if isinstance(method, str):
        name = ALIASES.get(method, method)
        if name not in METHODS:
            raise ValueError(
                f"The methods are {tuple(METHODS)}. Received: {method!r}. A "
                "method of your own is given as an instance of its class."
            )
        return name, METHODS[name]
    if isinstance(method, Candidate):
        inner = method.method
        if isinstance(inner, _Rebuilt):
            return _label(inner.kind, inner()), method
        return getattr(inner, "__name__", "method"), method
    candidate = Candidate(method)
    if not isinstance(candidate.method, _Rebuilt):
        return getattr(method, "__name__", "method"), candidate
    kind = candidate.method.kind
    if kind in _BY_CLASS:
        like = METHODS[_BY_CLASS[kind]]
        if isinstance(method, type):  # As the registry builds it.
            return _BY_CLASS[kind], like
        candidate = dataclasses.replace(like, method=method)
    return _label(kind, candidate.method()), candidate


def _label(
    kind: type[methods.DistillationMethod], method: methods.DistillationMethod
) -> str:
    """Return a row's name: the class and what is not its default."""
    try:
        default = kind().get_config()
    except TypeError:  # It has arguments that must be given.
        default = {}
    changed = {
        name: value
        for name, value in method.get_config().items()
        if name not in ("name", "trainable", "dtype")
        and (name not in default or _shown(default[name]) != _shown(value))
    }
    if not changed:
        return _BY_CLASS.get(kind, kind.__name__)
    words = ", ".join(f"{name}={_shown(x)}" for name, x in changed.items())
    return f"{kind.__name__}({words})"


def _shown(value: Any) -> str:
    """Return a value of a configuration, parts by their classes."""
    if not (isinstance(value, Mapping) and "class_name" in value):
        return repr(value)
    inner = {
        name: part
        for name, part in value.get("config", {}).items()
        if name not in ("name", "trainable", "dtype", "reduction")
    }
    words = ", ".join(f"{name}={_shown(part)}" for name, part in inner.items())
    return f"{value['class_name']}({words})"
