"""Universal self-knowledge distillation."""

from typing import Any

import keras
from keras import ops

from keras_c2kd.methods.distillation_method import DistillationMethod
from keras_c2kd.methods.search_space import WEIGHT
from keras_c2kd.methods.search_space import SearchRange
from keras_c2kd.methods.targets import Targets
from keras_c2kd.ops import descending_ranks
from keras_c2kd.ops import exclude_target
from keras_c2kd.ops import full_precision
from keras_c2kd.ops import global_average_pool
from keras_c2kd.ops import safe_divide
from keras_c2kd.ops import target_log_probabilities
from keras_c2kd.typing import Config
from keras_c2kd.typing import NamedTensors
from keras_c2kd.typing import Outputs
from keras_c2kd.typing import OutputShapes
from keras_c2kd.typing import Tensor
from keras_c2kd.utils.argument_checks import check_number
from keras_c2kd.utils.argument_checks import check_weights

_LEAST_REST = 1e-6


@keras.saving.register_keras_serializable("keras_c2kd")
class USKD(DistillationMethod):
    """Soft labels made of the student and of a weak classifier; no teacher.

    With the student's probabilities `p`, those of a weak classifier `w` on
    pooled middle features, and the label's class `t`:

    - `target` = `-alpha mean(P log p_t)`, `P = p_t^2 + 1 - mean(p_t^2)`
    - `non_target` = `-beta mean(sum_{i != t} q_i log p^_i)`, with ^ the
      softmax without the label's class. `q` is proportional to `1 / k` of the
      class that is the k-th of all by `w / (1 - w_t) + p / (1 - p_t)`.
    - `weak` = `mu H(w, smoothed label)`; it trains the weak classifier and
      reaches the student.

    `P` and `q` are constant. `student_supervised` is H(f_S, y), without a
    weight.

    Reads one feature map of the student, `features`; the authors tap the
    third of four stages.

    Args:
        target_weight: Float, `alpha`. Defaults to `1.0` (ImageNet; CIFAR 0.1).
        non_target_weight: Float, `beta`. Defaults to `0.1`.
        weak_weight: Float, `mu`. Defaults to `0.005` (ImageNet; CIFAR 0.1).
        label_smoothing: Float from 0 to 1, of the weak classifier's labels.
            Defaults to `0.1`.
        log_score: Whether the student's part of the order is
            `log p / (1 - log p_t)`, as in the authors' code, where a
            variable is used twice. Defaults to `False`: `p / (1 - p_t)`.
        **kwargs: `name` and `dtype`, see `DistillationMethod`.

    Raises:
        ValueError: If the logits are dense: the method is for one label a
            sample.

    Example:
    >>> method = USKD(target_weight=0.1, weak_weight=0.1)
    >>> method.loss_names
    ('student_supervised', 'target', 'non_target', 'weak')

    Reference: Yang et al., ICCV 2023, section 3.3 and Eq. 9 to 12.
    """

    needs_teacher = False
    student_features = ("features",)
    needs_global_batch = True
    loss_names = ("student_supervised", "target", "non_target", "weak")

    search_space = {
        "target_weight": WEIGHT,
        "non_target_weight": SearchRange(0.01, 1.0, log=True),
        "weak_weight": SearchRange(0.0005, 0.1, log=True),
    }

    def __init__(
        self,
        target_weight: float = 1.0,
        non_target_weight: float = 0.1,
        weak_weight: float = 0.005,
        label_smoothing: float = 0.1,
        log_score: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_weights(
            target_weight=target_weight,
            non_target_weight=non_target_weight,
            weak_weight=weak_weight,
        )
        check_number(minimum=0, maximum=1, label_smoothing=label_smoothing)
        self.target_weight = target_weight
        self.non_target_weight = non_target_weight
        self.weak_weight = weak_weight
        self.label_smoothing = label_smoothing
        self.log_score = log_score

    def build(self, outputs_shape: OutputShapes) -> None:
        """Create the weak classifier."""
        shapes = outputs_shape["student"]
        self.require_one_label_a_sample(outputs_shape)
        self.weak_classifier = keras.layers.Dense(
            shapes["logits"][-1],
            dtype=self.dtype_policy,
            name="student_weak_classifier",
        )
        self.weak_classifier.build((None, shapes["features"][-1]))
        self.built = True

    def call(self, outputs: Outputs, training: bool = False) -> NamedTensors:
        """Return the weak classifier's logits."""
        features = global_average_pool(outputs["student"]["features"])
        return {"weak": self.weak_classifier(features)}

    def compute_losses(
        self, outputs: Outputs, targets: Targets
    ) -> tuple[NamedTensors, NamedTensors]:
        """Return the four terms."""
        student = full_precision(outputs["student"]["logits"])
        weak = full_precision(outputs["heads"]["weak"])
        labels, weights = targets.labels, targets.weights
        log_p = target_log_probabilities(student, labels)[..., 0]
        # P = p_t^2 + 1 - mean(p_t^2)
        squares = ops.stop_gradient(ops.exp(2.0 * log_p))
        soft_target = squares + 1.0 - _mean(squares, weights)
        one_hot = ops.one_hot(labels, student.shape[-1], dtype=student.dtype)
        smoothing = self.label_smoothing
        smoothed = (1.0 - smoothing) * one_hot + smoothing / student.shape[-1]
        # H(w, smoothed label)
        weak_loss = -ops.sum(smoothed * ops.log_softmax(weak, axis=-1), axis=-1)
        losses = {
            # H(f_S, y)
            "student_supervised": targets.supervised_loss(student),
            # -alpha mean(P log p_t)
            "target": self.target_weight
            * self.reduce_samples(-soft_target * log_p, weights),
            # mu H(w, smoothed label)
            "weak": self.weak_weight * self.reduce_samples(weak_loss, weights),
        }
        # Of two classes nothing is left that has an order.
        losses["non_target"] = ops.zeros((), dtype=student.dtype)
        if student.shape[-1] > 2:
            soft = self._soft_labels(student, weak, labels, one_hot)
            rest = ops.log_softmax(exclude_target(student, labels), axis=-1)
            # -beta mean(sum_{i != t} q_i log p^_i)
            losses["non_target"] = self.non_target_weight * self.reduce_samples(
                -ops.sum(soft * rest, axis=-1), weights
            )
        return losses, {}

    def _soft_labels(
        self, student: Tensor, weak: Tensor, labels: Tensor, one_hot: Tensor
    ) -> Tensor:
        """Return `q`, `1 / k` of the non-target classes, normalised."""
        terms: list[Tensor] = []
        for logits, as_log in ((weak, False), (student, self.log_score)):
            values = ops.softmax(ops.stop_gradient(logits), axis=-1)
            if as_log:
                values = ops.log_softmax(ops.stop_gradient(logits), axis=-1)
            # w / (1 - w_t) + p / (1 - p_t)
            target = ops.sum(one_hot * values, axis=-1, keepdims=True)
            terms.append(values / (1.0 - target + _LEAST_REST))
        positions = descending_ranks(terms[0] + terms[1], break_ties=True)
        soft = exclude_target(1.0 / ops.cast(positions, student.dtype), labels)
        return soft / ops.sum(soft, axis=-1, keepdims=True)

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "target_weight": self.target_weight,
            "non_target_weight": self.non_target_weight,
            "weak_weight": self.weak_weight,
            "label_smoothing": self.label_smoothing,
            "log_score": self.log_score,
        }


def _mean(values: Tensor, weights: Tensor | None) -> Tensor:
    """Return the mean over the samples that count."""
    if weights is None:
        return ops.mean(values)
    return safe_divide(ops.sum(values * weights), ops.sum(weights))
