"""C2KD: customized cross-modal knowledge distillation."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_c2kd.layers import ProxyHead
from keras_c2kd.losses import KLDivergence
from keras_c2kd.methods.distillation_method import DistillationMethod
from keras_c2kd.methods.method_options import TeacherUpdate
from keras_c2kd.methods.search_space import WEIGHT
from keras_c2kd.methods.search_space import SearchChoice
from keras_c2kd.methods.search_space import SearchSpace
from keras_c2kd.methods.targets import Targets
from keras_c2kd.ops import exclude_target
from keras_c2kd.ops import full_precision
from keras_c2kd.ops import zero_target
from keras_c2kd.selection import KendallSelection
from keras_c2kd.selection import SampleSelection
from keras_c2kd.selection.sample_selection import check_selection
from keras_c2kd.typing import Config
from keras_c2kd.typing import NamedTensors
from keras_c2kd.typing import Outputs
from keras_c2kd.typing import OutputShapes
from keras_c2kd.typing import Tensor
from keras_c2kd.utils.argument_checks import check_number
from keras_c2kd.utils.argument_checks import check_weights


@keras.saving.register_keras_serializable("keras_c2kd")
class C2KD(DistillationMethod):
    """Teacher and student teach each other through proxy heads.

    With main logits `f`, proxy logits `g`, "learner <- target" for a
    divergence whose target is held constant, and `eta` the selection:

    - `student_supervised` = H(f_S, y), `teacher_supervised` = H(f_T, y)
    - `teacher_proxy` = lambda_1 * ([f_T <- g_T] + [g_T <- f_T])
    - `student_proxy` = lambda_2 * ([f_S <- g_S] + [g_S <- f_S])
    - `cross_modal` = lambda_3 * eta * ([g_S^ <- g_T^] + [g_T^ <- g_S^]),
      where ^ leaves the label's class out

    Samples without a label (`CrossModalDistiller(unlabeled_class=)`) have no
    supervised terms. `cross_modal` leaves out a label's class because the
    supervised terms teach it already. Without a label only the other network
    can teach it: there `cross_modal` takes the whole divergence, selected as
    everywhere, and nothing of the student's reaches the teacher: it does not
    learn from its proxy there, nor its proxy from the student's (zeros in the
    mean). With few labels a teacher that follows a weaker student forgets what
    it knew (our choice, measured: docs/when-it-helps.md; the paper labels
    every pair).

    Each term is a mean over the samples (pixels) that it counts; samples that
    are not selected count as zeros. The method leaves out a term that could
    train nothing, because its learner is a frozen teacher.

    Every row of the paper's Table 5 is one call:

    - (e) w/o KD: `Supervised()`
    - (a) plain KD: `C2KD(proxies=False, selection=SelectAll(),
      non_target=False, bidirectional=False)`
    - (b) +BD: `C2KD(proxies=False, selection=SelectAll(), non_target=False)`
    - (c) +OFSD: `C2KD(proxies=False)`
    - NT without OFS: `C2KD(proxies=False, selection=SelectAll())`
    - OFS without NT: `C2KD(proxies=False, non_target=False)`
    - (d) everything: `C2KD()`; with only the top of the teacher trained
      (dagger in Table 3): `C2KD(teacher_update="top")`

    The authors' code, where it differs from the paper:
    `C2KD(zero_target_logit=True, selection=KendallSelection(on="proxy"))`,
    with the third of four stages tapped for the proxies
    (`student_features=`, `teacher_features=`).

    Args:
        divergence: Loss of `keras_c2kd.losses` on (target logits, learner
            logits). Defaults to `KLDivergence()`. With `DISTLoss()` or
            `NKDLoss()` it is "Ours + DIST" and the like of Table 4 and Fig. 5:
            it replaces every KL above, in the cross-modal term on the logits
            that lack the label's class (where NKD has its non-target part
            alone).
        selection: `SampleSelection`. Defaults to `KendallSelection()`:
            Kendall's tau-a of the proxies' logits above 0.
        non_target: Whether the cross-modal term leaves the label's class
            out. Defaults to `True`. With two classes nothing is left and the
            term is exactly 0.
        zero_target_logit: Whether the label's logit is set to 0 and kept as a
            class, as in the authors' code, instead of being left out. Only
            with `non_target=True`. Defaults to `False`.
        proxies: Whether there are proxy heads. Without them the cross-modal
            term joins the networks' own logits. Defaults to `True`.
        bidirectional: Whether the teacher learns too. `False` fixes the
            teacher, as `teacher_update="none"` does, and drops
            `[g_T^ <- g_S^]`. Defaults to `True`.
        teacher_update: `"all"` (double dagger in Table 3), `"top"` (dagger)
            or `"none"`. Defaults to `"all"`, with `bidirectional=False` to
            `"none"`, the only one that it allows.
        proxy_weights: Two floats, `(lambda_1, lambda_2)`: the weights of
            `teacher_proxy` and `student_proxy`. Defaults to `(1.0, 1.0)`.
        cross_modal_weight: Float, `lambda_3`. Defaults to `1.0`.
        proxy_negative_slope: Float, slope of the proxies' activation below
            0. Defaults to `0.1` (authors' code); `0.0` is the paper's ReLU.
        **kwargs: `update_frozen_statistics`, `name` and `dtype`, see
            `DistillationMethod`.

    Raises:
        ValueError: If `divergence` is no loss, `selection` no
            `SampleSelection`, or if `zero_target_logit=True` meets
            `non_target=False` or a divergence that treats the label's class
            apart; if `bidirectional=False` and the teacher is to be trained;
            if a weight is negative or not finite.

    Logged besides the terms: `selected_fraction`, of the samples, and
    `kendall`, the mean Kendall correlation of the scored logits.

    Example:
    >>> method = C2KD(selection=KendallSelection(threshold=0.2))
    >>> method.loss_names[:2]
    ('student_supervised', 'teacher_supervised')
    >>> method.loss_names[2:]
    ('teacher_proxy', 'student_proxy', 'cross_modal')
    >>> C2KD(proxies=False, bidirectional=False).loss_names
    ('student_supervised', 'cross_modal')

    Reference: Huo et al., CVPR 2024, section 3.2, Eq. 4 to 6, Table 5. Eq. 4
    scores the main logits, the authors' code the proxies'; both are here
    (`on=`). The paper taps the backbone's output (the default here), the code
    its third stage.
    """

    student_features: tuple[str, ...] = ("features",)
    teacher_features: tuple[str, ...] = ("features",)
    loss_names: tuple[str, ...] = (
        "student_supervised",
        "teacher_supervised",
        "teacher_proxy",
        "student_proxy",
        "cross_modal",
    )
    diagnostic_names = ("selected_fraction", "kendall")

    search_space: SearchSpace = {
        "cross_modal_weight": WEIGHT,
        "proxy_weights": SearchChoice(
            ((0.1, 0.1), (0.3, 0.3), (1.0, 1.0), (3.0, 3.0))
        ),
    }

    def __init__(
        self,
        divergence: keras.losses.Loss | None = None,
        selection: SampleSelection | None = None,
        non_target: bool = True,
        zero_target_logit: bool = False,
        proxies: bool = True,
        bidirectional: bool = True,
        teacher_update: TeacherUpdate | None = None,
        proxy_weights: Sequence[float] = (1.0, 1.0),
        cross_modal_weight: float = 1.0,
        proxy_negative_slope: float = 0.1,
        **kwargs: Any,
    ) -> None:
        if teacher_update is None:
            teacher_update = "all" if bidirectional else "none"
        super().__init__(teacher_update=teacher_update, **kwargs)
        if not bidirectional and teacher_update != "none":
            raise ValueError(
                "In one direction only the student learns: "
                "`bidirectional=False` fixes the teacher. Received: "
                f"teacher_update={teacher_update!r}, bidirectional=False"
            )
        if zero_target_logit and not non_target:
            raise ValueError(
                "`zero_target_logit` is a form of leaving the target out and "
                "needs `non_target=True`. Received: non_target=False, "
                "zero_target_logit=True"
            )
        divergence = KLDivergence() if divergence is None else divergence
        if not isinstance(divergence, keras.losses.Loss):
            raise ValueError(
                "`divergence` is a loss of keras_c2kd.losses, such as "
                "losses.KLDivergence() or losses.DISTLoss(). Received: "
                f"{divergence!r} of type {type(divergence).__name__}"
            )
        if zero_target_logit and getattr(divergence, "takes_labels", False):
            raise ValueError(
                "`zero_target_logit` is a form of the KL divergence. "
                f"{type(divergence).__name__} treats the label's class apart "
                "itself. Received: zero_target_logit=True"
            )
        if len(proxy_weights) != 2:
            raise ValueError(
                "`proxy_weights` are two, of the teacher's and the student's "
                f"proxy. Received: proxy_weights={proxy_weights!r}"
            )
        for weight in proxy_weights:
            check_weights(proxy_weights=weight)
        check_weights(cross_modal_weight=cross_modal_weight)
        check_number(minimum=0, proxy_negative_slope=proxy_negative_slope)
        self.divergence = divergence
        self.selection = KendallSelection() if selection is None else selection
        check_selection(self.selection)
        self.non_target = non_target
        self.zero_target_logit = zero_target_logit
        self.proxies = proxies
        self.bidirectional = bidirectional
        self.proxy_weights = tuple(proxy_weights)
        self.cross_modal_weight = cross_modal_weight
        self.proxy_negative_slope = proxy_negative_slope
        self._trains_teacher = self.teacher_update != "none"
        names = list(C2KD.loss_names)
        if not proxies:
            names.remove("teacher_proxy")
            names.remove("student_proxy")
            self.search_space = {"cross_modal_weight": WEIGHT}
            self.student_features = self.teacher_features = ()
        if not self._trains_teacher:
            names.remove("teacher_supervised")
        self.loss_names = tuple(names)

    def build(self, outputs_shape: OutputShapes) -> None:
        """Create the two proxy heads."""
        if self.proxies:
            self.student_proxy, self.teacher_proxy = (
                self._build_proxy(role, outputs_shape[role])
                for role in ("student", "teacher")
            )
        self.built = True

    def _build_proxy(
        self, role: str, shapes: dict[str, tuple[Any, ...]]
    ) -> ProxyHead:
        size = self.dense_size(shapes["logits"], role)
        proxy = ProxyHead(
            shapes["logits"][-1],
            size,
            negative_slope=self.proxy_negative_slope,
            dtype=self.dtype_policy,
            name=f"{role}_proxy",
        )
        try:
            proxy.build(shapes["features"])
        except ValueError as error:
            raise ValueError(f"{role}_features: {error}") from None
        return proxy

    def call(self, outputs: Outputs, training: bool = False) -> NamedTensors:
        """Return the proxies' logits, of the shape of the networks' own."""
        if not self.proxies:
            return {}
        return {
            f"{role}_proxy": proxy(outputs[role]["features"], training=training)
            for role, proxy in (
                ("student", self.student_proxy),
                ("teacher", self.teacher_proxy),
            )
        }

    def compute_losses(
        self, outputs: Outputs, targets: Targets
    ) -> tuple[NamedTensors, NamedTensors]:
        """Return the terms of Eq. 6 and the figures of the selection."""
        student = full_precision(outputs["student"]["logits"])
        teacher = full_precision(outputs["teacher"]["logits"])
        # Eq. 6, supervised: H(f_S, y)
        losses = {"student_supervised": targets.supervised_loss(student)}
        if self._trains_teacher:
            # H(f_T, y)
            losses["teacher_supervised"] = targets.supervised_loss(teacher)

        student_bridge, teacher_bridge = student, teacher
        if self.proxies:
            heads = outputs["heads"]
            student_bridge = full_precision(heads["student_proxy"])
            teacher_bridge = full_precision(heads["teacher_proxy"])
            # [g_T <- f_T], and of a trained teacher [f_T <- g_T]
            teacher_terms = self._learn(teacher_bridge, teacher, targets)
            if self._trains_teacher:
                teacher_terms += self._learn(
                    teacher, teacher_bridge, targets, by_teacher=True
                )
            # [f_S <- g_S] + [g_S <- f_S]
            student_terms = self._learn(
                student, student_bridge, targets
            ) + self._learn(student_bridge, student, targets)
            # Eq. 6, teacher's proxy: lambda_1 * ([f_T <- g_T] + [g_T <- f_T])
            losses["teacher_proxy"] = self.proxy_weights[0] * teacher_terms
            # Eq. 6, student's proxy: lambda_2 * ([f_S <- g_S] + [g_S <- f_S])
            losses["student_proxy"] = self.proxy_weights[1] * student_terms

        # Eq. 3 and 4: the weights are eta, 1 where Kendall's tau exceeds the
        # threshold, else 0.
        scored = (teacher, student)
        if self.selection.on == "proxy":
            scored = (teacher_bridge, student_bridge)
        weights, diagnostics = self.select(
            self.selection,
            *scored,
            targets,
            None if self.non_target else self.divergence,
        )
        # eta * [g_S^ <- g_T^]
        cross_modal = self._exchange(
            student_bridge, teacher_bridge, targets, weights
        )
        if self.bidirectional and (self.proxies or self._trains_teacher):
            # eta * [g_T^ <- g_S^]
            cross_modal += self._exchange(
                teacher_bridge,
                student_bridge,
                targets,
                weights,
                by_teacher=True,
            )
        # Eq. 6, cross-modal:
        # lambda_3 * eta * ([g_S^ <- g_T^] + [g_T^ <- g_S^])
        losses["cross_modal"] = self.cross_modal_weight * cross_modal
        return losses, diagnostics

    def _learn(
        self,
        learner: Tensor,
        target: Tensor,
        targets: Targets,
        by_teacher: bool = False,
    ) -> Tensor:
        """Return the term "learner <- target" on the logits of all classes."""
        weights = targets.weights_for(self.divergence)
        if by_teacher and targets.labeled is not None:
            ones = ops.ones_like(targets.labels, dtype=learner.dtype)
            weights, _ = targets.split(ones if weights is None else weights)
        return self.diverge(
            self.divergence, target, learner, targets.labels, weights
        )

    def _exchange(
        self,
        learner: Tensor,
        target: Tensor,
        targets: Targets,
        weights: Tensor,
        by_teacher: bool = False,
    ) -> Tensor:
        """Return the term "learner^ <- target^" with weights of the samples.

        It leaves no class out of samples without a label, from which the
        teacher does not learn.
        """
        if by_teacher:
            weights, _ = targets.split(weights)
        if not self.non_target:
            return self.diverge(
                self.divergence, target, learner, targets.labels, weights
            )
        labeled, unlabeled = targets.split(weights)
        leave_out = zero_target if self.zero_target_logit else exclude_target
        rest, target_rest = (
            leave_out(logits, targets.labels) for logits in (learner, target)
        )
        # Of two classes nothing is left that a divergence could compare.
        term: Tensor = ops.zeros((), dtype=learner.dtype)
        if rest.shape[-1] > 1:
            term = self.diverge(
                self.divergence, target_rest, rest, None, labeled
            )
        if unlabeled is not None and not by_teacher:
            term += self.diverge(
                self.divergence, target, learner, None, unlabeled
            )
        return term

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "divergence": serialize(self.divergence),
            "selection": serialize(self.selection),
            "non_target": self.non_target,
            "zero_target_logit": self.zero_target_logit,
            "proxies": self.proxies,
            "bidirectional": self.bidirectional,
            "proxy_weights": self.proxy_weights,
            "cross_modal_weight": self.cross_modal_weight,
            "proxy_negative_slope": self.proxy_negative_slope,
        }
