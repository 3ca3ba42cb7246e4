"""Self-distillation towards Zipf's law."""

import keras
from keras import ops

from keras_c2kd.argument_checks import check_positive
from keras_c2kd.argument_checks import check_weights
from keras_c2kd.losses import KLDivergence
from keras_c2kd.methods.distillation_method import DistillationMethod
from keras_c2kd.methods.linear_classifier import LinearClassifier
from keras_c2kd.ops import descending_ranks
from keras_c2kd.ops import exclude_target
from keras_c2kd.ops import full_precision

_RANKINGS = ("votes", "logits")


@keras.saving.register_keras_serializable("keras_c2kd")
class ZipfKD(DistillationMethod):
    """Non-target classes follow a power law of their own ranks; no teacher.

    `L = H(f_S, y) + w KL(q || softmax(f_S^))`, where ^ leaves the label's
    class out and `q_c` is proportional to `rank_c^(-power)` among the other
    classes. `q` is constant.

    - `rank_by="votes"`: the student's classifier is applied to each place of
      its last feature map, each place votes for its highest class, and
      `rank_c` is 1 plus the number of classes with more votes. Ties share a
      rank, so all classes without a vote do. A sequence votes by its
      positions; a vector casts one vote.
    - `rank_by="logits"`: ranks of the student's logits. Needs no map.

    Ranks count the label's class; then it is left out.

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
        **kwargs: `name` and `dtype`, see `DistillationMethod`.

    Raises:
        ValueError: If `rank_by` is unknown, `power` is not positive, logits
            are dense with votes, or the student's classifier does not fit
            its feature map.

    Reference: Liang et al., ECCV 2022, section 3. Votes of intermediate
    layers through extra classifiers, an option of theirs, are not here.
    """

    needs_teacher = False
    student_features = ("features",)
    loss_names = ("student_supervised", "zipf")

    def __init__(
        self,
        power=1.0,
        distillation_weight=0.1,
        rank_by="votes",
        only_correct=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if rank_by not in _RANKINGS:
            raise ValueError(
                f"`rank_by` must be one of {_RANKINGS}. Received: "
                f"rank_by={rank_by!r}"
            )
        check_positive(power=power)
        check_weights(distillation_weight=distillation_weight)
        self.power = power
        self.distillation_weight = distillation_weight
        self.rank_by = rank_by
        self.only_correct = only_correct
        self.divergence = KLDivergence()
        if rank_by == "logits":
            self.student_features = ()

    def attach(self, student, teacher):
        """Find the student's classifier."""
        if self.rank_by == "votes":
            self._classifier = LinearClassifier(student, "student")

    def build(self, outputs_shape):
        """Check that the classifier can vote at each place."""
        shapes = outputs_shape["student"]
        if self.rank_by == "votes":
            if len(shapes["logits"]) != 2:
                raise ValueError(
                    "Votes of places are for one label a sample. Received: "
                    f"logits of shape {shapes['logits']}. Use "
                    'ZipfKD(rank_by="logits") for dense logits.'
                )
            if shapes["features"][-1] != self._classifier.width:
                raise ValueError(
                    "The student's classifier votes at each place of its own "
                    f"input, which has {self._classifier.width} channels. "
                    "Received: student_features of shape "
                    f"{shapes['features']}. Leave `student_features` out, or "
                    'use ZipfKD(rank_by="logits").'
                )
        self.built = True

    def compute_losses(self, outputs, targets):
        """Return the supervised and the Zipf term."""
        logits = full_precision(outputs["student"]["logits"])
        supervised = targets.supervised_loss(logits)
        # Of two classes nothing is left that has a rank.
        zipf = ops.zeros((), dtype=logits.dtype)
        if logits.shape[-1] > 2:
            law = -self.power * ops.log(
                ops.cast(self._ranks(outputs["student"]), logits.dtype)
            )
            weights = targets.weights
            if self.only_correct:
                correct = ops.cast(
                    ops.cast(ops.argmax(logits, axis=-1), "int32")
                    == targets.labels,
                    logits.dtype,
                )
                weights = correct if weights is None else weights * correct
            zipf = self.distillation_weight * self.diverge(
                self.divergence,
                exclude_target(law, targets.labels),
                exclude_target(logits, targets.labels),
                None,
                weights,
            )
        return {"student_supervised": supervised, "zipf": zipf}, {}

    def _ranks(self, outputs):
        """Return the rank of each class, as `rank_by` says."""
        if self.rank_by == "logits":
            return descending_ranks(outputs["logits"])
        votes = self._classifier(ops.stop_gradient(outputs["features"]))
        chosen = ops.one_hot(
            ops.cast(ops.argmax(votes, axis=-1), "int32"),
            votes.shape[-1],
            dtype="int32",
        )
        places = tuple(range(1, len(chosen.shape) - 1))
        return descending_ranks(
            ops.sum(chosen, axis=places) if places else chosen
        )

    def get_config(self):
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "power": self.power,
            "distillation_weight": self.distillation_weight,
            "rank_by": self.rank_by,
            "only_correct": self.only_correct,
        }
