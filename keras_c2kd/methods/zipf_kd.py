"""Self-distillation towards Zipf's law."""

from collections.abc import Sequence
from typing import Any
from typing import Literal
from typing import TypeAlias
from typing import get_args

import keras
from keras import ops

from keras_c2kd.losses import KLDivergence
from keras_c2kd.methods.distillation_method import DistillationMethod
from keras_c2kd.methods.linear_classifier import LinearClassifier
from keras_c2kd.methods.search_space import SearchRange
from keras_c2kd.methods.targets import Targets
from keras_c2kd.ops import descending_ranks
from keras_c2kd.ops import exclude_target
from keras_c2kd.ops import full_precision
from keras_c2kd.typing import Config
from keras_c2kd.typing import NamedTensors
from keras_c2kd.typing import Network
from keras_c2kd.typing import Outputs
from keras_c2kd.typing import OutputShapes
from keras_c2kd.typing import Tensor
from keras_c2kd.utils.argument_checks import check_positive
from keras_c2kd.utils.argument_checks import check_weights

Ranking: TypeAlias = Literal["votes", "logits"]
_RANKINGS = get_args(Ranking)


@keras.saving.register_keras_serializable("keras_c2kd")
class ZipfKD(DistillationMethod):
    """Non-target classes follow a power law of their own ranks; no teacher.

    `L = H(f_S, y) + w KL(q || softmax(f_S^))`, where ^ leaves the label's
    class out and `q_c` is proportional to `rank_c^(-power)` among the other
    classes. `q` is constant.

    - `rank_by="votes"`: the student's classifier reads each position of its
      last feature map, each position votes for its highest class, and
      `rank_c` is 1 plus the number of classes with more votes. Ties share a
      rank, so all classes without a vote do. A vector casts one vote.
    - `rank_by="logits"`: ranks of the student's logits. Needs no map.

    Ranks count the label's class, which `q` then leaves out.

    The power law of a rank is the value at one point. The authors'
    "unbiased" law, `unbiased_bounds=(a, b)`, is the integral of `x^(-power)`
    over the rank's own interval, the r-th of C equal ones between `a` and
    `b`. Of votes, tied classes share the integral over the intervals of all
    of them; of logits, each has that of the rank that they share.

    Reads one feature map of the student, `features` (with votes): the input
    of its classifier before the pooling.

    Args:
        power: Positive float. Defaults to `1.0`.
        distillation_weight: Float, `w`. Defaults to `0.1` (CIFAR, ImageNet;
            the authors take 1.0 on TinyImageNet and INaturalist).
        rank_by: `"votes"` (default) or `"logits"`.
        only_correct: Whether only samples that the student classifies
            correctly are distilled; the others count as zeros. Defaults to
            `False`.
        mean_over: With `only_correct`, what the term is a mean over:
            `"batch"` (default) or `"selected"`, the correctly classified
            samples, as in the authors' code. Exactly 0 if there is none.
        unbiased_bounds: Two floats, `0 < a < b`, for the authors' "unbiased"
            law; the default of their script is `(0.001, 1.0)`. `None`
            (default) for the power law of the paper.
        **kwargs: `name` and `dtype`, see `DistillationMethod`.

    Raises:
        ValueError: If `rank_by` or `mean_over` is unknown, `power` is not
            positive, the bounds are no two growing positive numbers, logits
            are dense with votes, or the student's classifier does not fit
            its feature map; if `mean_over="selected"` without
            `only_correct`.

    Example:
    >>> method = ZipfKD(rank_by="logits", unbiased_bounds=(0.001, 1.0))
    >>> method.loss_names, method.student_features
    (('student_supervised', 'zipf'), ())

    Reference: Liang et al., ECCV 2022, section 3; the authors' options
    `unbiased_zipf` and `--mask`. Votes of intermediate layers through extra
    classifiers, an option of theirs, are not here.
    """

    needs_teacher = False
    student_features: tuple[str, ...] = ("features",)
    loss_names = ("student_supervised", "zipf")

    search_space = {
        "distillation_weight": SearchRange(0.01, 1.0, log=True),
        "power": SearchRange(0.5, 2.0, log=True),
    }

    def __init__(
        self,
        power: float = 1.0,
        distillation_weight: float = 0.1,
        rank_by: Ranking = "votes",
        only_correct: bool = False,
        mean_over: Literal["batch", "selected"] = "batch",
        unbiased_bounds: Sequence[float] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if rank_by not in _RANKINGS:
            raise ValueError(
                f"`rank_by` must be one of {_RANKINGS}. Received: "
                f"rank_by={rank_by!r}"
            )
        check_positive(power=power)
        check_weights(distillation_weight=distillation_weight)
        if mean_over not in ("batch", "selected"):
            raise ValueError(
                '`mean_over` must be "batch" or "selected". Received: '
                f"mean_over={mean_over!r}"
            )
        if mean_over == "selected" and not only_correct:
            raise ValueError(
                "Without a selection the mean is over the batch: "
                '`mean_over="selected"` needs `only_correct=True`. Received: '
                f"only_correct={only_correct!r}"
            )
        if unbiased_bounds is not None:
            unbiased_bounds = _checked_bounds(unbiased_bounds)
        self.power = power
        self.distillation_weight = distillation_weight
        self.rank_by = rank_by
        self.only_correct = only_correct
        self.mean_over = mean_over
        self.unbiased_bounds = unbiased_bounds
        self.divergence = KLDivergence()
        if rank_by == "logits":
            self.student_features = ()

    def attach(self, student: Network, teacher: Network | None) -> None:
        """Find the student's classifier."""
        if self.rank_by == "votes":
            self._classifier = LinearClassifier(student, "student")

    def build(self, outputs_shape: OutputShapes) -> None:
        """Check that the classifier can vote at each position."""
        shapes = outputs_shape["student"]
        if self.rank_by == "votes":
            if len(shapes["logits"]) != 2:
                raise ValueError(
                    "Votes of positions are for one label a sample. Received: "
                    f"logits of shape {shapes['logits']}. Use "
                    'ZipfKD(rank_by="logits") for dense logits.'
                )
            if shapes["features"][-1] != self._classifier.width:
                raise ValueError(
                    "The student's classifier votes at each position of its "
                    f"own input, which has {self._classifier.width} channels. "
                    "Received: student_features of shape "
                    f"{shapes['features']}. Leave `student_features` out, or "
                    'use ZipfKD(rank_by="logits").'
                )
        self.built = True

    def compute_losses(
        self, outputs: Outputs, targets: Targets
    ) -> tuple[NamedTensors, NamedTensors]:
        """Return the supervised and the Zipf term."""
        logits = full_precision(outputs["student"]["logits"])
        # H(f_S, y)
        supervised = targets.supervised_loss(logits)
        # Of two classes nothing is left that has a rank.
        zipf = ops.zeros((), dtype=logits.dtype)
        if logits.shape[-1] > 2:
            law = self._law(self._scores(outputs["student"]), logits.dtype)
            weights = targets.weights
            if self.only_correct:
                predicted = ops.cast(ops.argmax(logits, axis=-1), "int32")
                correct = predicted == targets.labels
                if self.mean_over == "selected":
                    if targets.valid is not None:
                        correct = ops.logical_and(correct, targets.valid)
                    weights = targets.weights_where(correct)
                else:
                    correct = ops.cast(correct, logits.dtype)
                    weights = correct if weights is None else weights * correct
            # w KL(q || softmax(f_S^))
            zipf = self.distillation_weight * self.diverge(
                self.divergence,
                exclude_target(law, targets.labels),
                exclude_target(logits, targets.labels),
                None,
                weights,
            )
        return {"student_supervised": supervised, "zipf": zipf}, {}

    def _law(self, scores: Tensor, dtype: str) -> Tensor:
        """Return the logarithm of the law at each class, up to a constant."""
        rank = ops.cast(descending_ranks(scores), dtype)
        if self.unbiased_bounds is None:
            # log q_c = -power log(rank_c)
            return -self.power * ops.log(rank)
        begin, end = self.unbiased_bounds
        width = (end - begin) / scores.shape[-1]
        tied = ops.ones_like(rank)
        if self.rank_by == "votes":
            # The last of their ranks counts from the other end.
            last = 1 + scores.shape[-1] - descending_ranks(-scores)
            tied = ops.cast(last, dtype) - rank + 1.0
        left = begin + (rank - 1.0) * width
        # With x = left * exp(t), the integral of x^(-power) over x is
        # left^(1 - power) times that of exp((1 - power) t) over t.
        growth = ops.log1p(tied * width / left)
        exponent = 1.0 - self.power
        if exponent == 0:
            integral = ops.log(growth)
        else:
            integral = exponent * ops.log(left) + ops.log(
                ops.expm1(exponent * growth) / exponent
            )
        return integral - ops.log(tied)

    def _scores(self, outputs: NamedTensors) -> Tensor:
        """Return the votes or the logits that rank the classes."""
        if self.rank_by == "logits":
            return ops.stop_gradient(outputs["logits"])
        votes = self._classifier(ops.stop_gradient(outputs["features"]))
        chosen = ops.one_hot(
            ops.cast(ops.argmax(votes, axis=-1), "int32"),
            votes.shape[-1],
            dtype="int32",
        )
        axes = tuple(range(1, len(chosen.shape) - 1))
        return ops.sum(chosen, axis=axes) if axes else chosen

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "power": self.power,
            "distillation_weight": self.distillation_weight,
            "rank_by": self.rank_by,
            "only_correct": self.only_correct,
            "mean_over": self.mean_over,
            "unbiased_bounds": self.unbiased_bounds,
        }


def _checked_bounds(bounds: Sequence[float]) -> tuple[float, ...]:
    """Return two growing positive numbers as a tuple, or raise."""
    is_pair = isinstance(bounds, (tuple, list)) and len(bounds) == 2
    for bound in bounds if is_pair else ():
        check_positive(unbiased_bounds=bound)
    if not is_pair or bounds[0] >= bounds[1]:
        raise ValueError(
            "`unbiased_bounds` are two positive numbers, the lower one first, "
            "such as (0.001, 1.0). Received: "
            f"unbiased_bounds={bounds!r}"
        )
    return tuple(bounds)
