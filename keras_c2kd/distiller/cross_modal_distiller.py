"""A Keras model that trains a student and its teacher in the same step."""

import types
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_c2kd.backend import distribution
from keras_c2kd.backend.distribution.sync_batch_norm import SyncBatchNorm
from keras_c2kd.backend.keras_internals import StepSeeds
from keras_c2kd.backend.keras_internals import layers_within
from keras_c2kd.distiller.checked_model import CheckedModel
from keras_c2kd.distiller.compiled_model import CompiledModel
from keras_c2kd.distiller.label_spec import LabelSpec
from keras_c2kd.distiller.label_spec import check_unlabeled
from keras_c2kd.distiller.logged_model import LoggedModel
from keras_c2kd.distiller.network_metrics import NetworkMetrics
from keras_c2kd.distiller.network_pair import NetworkPair
from keras_c2kd.distiller.network_pair import dtype_policy_of
from keras_c2kd.distiller.network_pair import logits_of
from keras_c2kd.distiller.preprocessing import Preprocessing
from keras_c2kd.distiller.saving import SavableModel
from keras_c2kd.distiller.targets import aligned_labels
from keras_c2kd.distiller.targets import broadcast_weights
from keras_c2kd.distiller.targets import copied
from keras_c2kd.distiller.targets import targets_of_batch
from keras_c2kd.distiller.teacher_freezing import PartlyFrozen
from keras_c2kd.distiller.teacher_freezing import TeacherFreezing
from keras_c2kd.methods import C2KD
from keras_c2kd.methods import DistillationMethod
from keras_c2kd.methods import Targets
from keras_c2kd.methods.building_blocks import check_returned
from keras_c2kd.ops import full_precision
from keras_c2kd.typing import Modality
from keras_c2kd.typing import Model
from keras_c2kd.typing import Network
from keras_c2kd.typing import Taps
from keras_c2kd.typing import Tensor
from keras_c2kd.typing import Tensors
from keras_c2kd.utils.argument_checks import check_instance
from keras_c2kd.utils.final_arguments import FinalArguments


@keras.saving.register_keras_serializable("keras_c2kd")
class CrossModalDistiller(
    SavableModel,
    FinalArguments,
    LoggedModel,
    PartlyFrozen,
    CompiledModel,
    CheckedModel,
):
    """Trains a network of one modality with the help of another modality.

    Two sensors are there at training time, one at deployment. The distiller
    holds two plain models, the student of the deployed modality and the
    teacher of the other one, and a method that says how they learn from each
    other. `fit` runs each network once a step and updates student, teacher
    (as the method says) and the method's own heads together. `predict` and
    `evaluate` need the student's modality alone, and `distiller.student`
    stays the plain model to deploy.

    Batches are keyed by modality: `({"audio": a, "visual": v}, labels)` or
    `({...}, labels, sample_weight)`, from anything that Keras' `fit` takes:
    numpy arrays, `tf.data`, a torch `DataLoader`, a `PyDataset`, a generator.
    A modality may itself be a dict (token ids and padding mask of a text
    model).

    Args:
        student: Built `keras.Model`, one modality in, logits
            `(batch, num_classes)` out.
        teacher: Built `keras.Model` of the other modality with equally many
            classes, or None for methods without a teacher. Pre-train it with
            `method=Supervised()` and that network as the student.
        student_modality: Key of the student's input in the batch; a tuple of
            keys for a network that reads several modalities as a dict, such
            as `methods.fuse` builds.
        teacher_modality: The same for the teacher; needed with a teacher.
        method: `DistillationMethod`, used by this distiller only. Defaults to
            `C2KD()`.
        student_features: Where the method's feature maps are in the student:
            one tap, or a dict from the method's names to taps. A tap is a
            layer name (also of a nested backbone), a `KerasTensor`, a
            callable that takes the model and returns one of these, or None,
            the default: the input of the classifier, before its pooling.
        teacher_features: The same for the teacher.
        teacher_top_layers: For `teacher_update="top"`: list of layer names or
            shell-style patterns (`["stack3_*", "predictions"]`). Defaults to
            the last two layers with a kernel and the normalisation between.
        synchronize_batch_norm: Whether on several devices batch normalisation
            takes its statistics from the samples of all of them, as one
            device would. Defaults to `True`. `False` saves the exchange: each
            device normalises its own samples, and the moving statistics are
            the mean over devices; not on JAX, where a program sees all
            samples.
        unlabeled_class: Label of the samples or pixels that have none, such
            as `-1`; one-hot labels of zeros alone are none. They have no
            supervised term, and the teacher teaches them: terms on logits and
            features count them as they are, C2KD's non-target terms take the
            whole divergence there, other terms that need a class take the
            teacher's most probable one. Metrics and `val_loss` leave them
            out. Defaults to `None`: every sample has a label.
        unlabeled_confidence: Float from 0 to 1. Terms that need a class leave
            out unlabelled samples to whose most probable class the teacher
            gives a smaller probability. Defaults to `0.0`.
        check_data: Whether every batch is checked on the host for missing
            modalities, NaN and infinity, and labels out of range, before it
            is trained on. Defaults to `True`.
        preprocess: Whether batches are raw for networks with a
            `preprocessor`, KerasHub's tasks: as their own `fit`, `evaluate`
            and `predict` do, the distiller's run it on each batch, on the
            host, after the checks. A list of modalities for batches of which
            only these are raw. Defaults to `True`; a network without a
            preprocessor takes its input as it is.
        stop_on_non_finite: Whether `fit` stops with an error as soon as a
            loss term is NaN or infinite, or a weight after an epoch. Defaults
            to `True`.
        name: Name of the model.
        **kwargs: As for every Keras model. `dtype` decides on loss scaling
            and defaults to the student's policy; to the teacher's if that one
            is trained in float16 and the student is not.

    Raises:
        ValueError: If the networks are not built, are the same object, share
            variables, or have unequal class counts; if a tap is not found; if
            a feature map has a wrong rank for the method; if the method is no
            `DistillationMethod` or was used by another distiller; if nothing
            could be trained; if there are samples without labels and no
            teacher.

    Logged by `fit`: `loss`, the student's metrics under their own names, the
    teacher's as `teacher_<name>`, the method's loss terms and diagnostics by
    name. `evaluate` and `validation_data` log the student's supervised loss
    and metrics, and the teacher's metrics if its modality is there. For every
    method, `val_loss` and the `loss` of `evaluate` are the compiled loss of the
    student's logits (SHAKE: normalised, as it trains them) and what the
    student's layers add to it, without the method's weights.

    Example:
    >>> def classifier(size, name):
    ...     inputs = keras.Input((size,))
    ...     hidden = keras.layers.Dense(8, activation="relu")(inputs)
    ...     logits = keras.layers.Dense(5)(hidden)
    ...     return keras.Model(inputs, logits, name=name)
    >>> distiller = CrossModalDistiller(
    ...     student=classifier(6, "visual"),
    ...     teacher=classifier(4, "audio"),
    ...     student_modality="visual",
    ...     teacher_modality="audio",
    ...     method=C2KD(),
    ... )
    >>> distiller.compile(
    ...     optimizer=keras.optimizers.SGD(1e-2, momentum=0.9),
    ...     loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    ...     metrics=["accuracy"],
    ... )
    >>> batch = {"visual": np.ones((16, 6)), "audio": np.ones((16, 4))}
    >>> labels = np.arange(16) % 5
    >>> history = distiller.fit(batch, labels, batch_size=8, verbose=0)
    >>> "accuracy" in history.history, "teacher_accuracy" in history.history
    (True, True)
    >>> distiller.predict({"visual": np.ones((3, 6))}, verbose=0).shape
    (3, 5)

    The student stays a plain model: `distiller.student.save(...)`. Without a
    teacher, `Supervised` trains a network alone, with the same checks:

    >>> baseline = CrossModalDistiller(
    ...     classifier(6, "alone"),
    ...     student_modality="visual",
    ...     method=Supervised(),
    ... )

    Reference: Huo et al., CVPR 2024, section 3.2 and Fig. 2.
    """

    def __init__(
        self,
        student: Model,
        teacher: Model | None = None,
        *,
        student_modality: Modality,
        teacher_modality: Modality | None = None,
        method: DistillationMethod | None = None,
        student_features: Taps = None,
        teacher_features: Taps = None,
        teacher_top_layers: Sequence[str] | None = None,
        synchronize_batch_norm: bool = True,
        unlabeled_class: int | None = None,
        unlabeled_confidence: float = 0.0,
        check_data: bool = True,
        preprocess: bool | Sequence[str] = True,
        stop_on_non_finite: bool = True,
        name: str = "cross_modal_distiller",
        **kwargs: Any,
    ) -> None:
        method = C2KD() if method is None else method
        check_instance(method, DistillationMethod, "method", "C2KD()")
        kwargs.setdefault("dtype", dtype_policy_of(student, teacher, method))
        super().__init__(name=name, autocast=False, **kwargs)
        # A saved tuple comes back as a list.
        modalities: Any = (
            tuple(modality) if isinstance(modality, list) else modality
            for modality in (student_modality, teacher_modality)
        )
        self.student_modality, self.teacher_modality = modalities
        self._pair = NetworkPair(
            student,
            teacher,
            {
                "student": self.student_modality,
                "teacher": self.teacher_modality,
            },
            {"student": student_features, "teacher": teacher_features},
            method,
        )
        check_unlabeled(unlabeled_class, unlabeled_confidence, teacher, method)
        self.student: Network = student
        self.teacher: Network | None = teacher
        self.method = method
        self.teacher_top_layers = teacher_top_layers
        self.synchronize_batch_norm = synchronize_batch_norm
        self.unlabeled_class = unlabeled_class
        self.unlabeled_confidence = unlabeled_confidence
        self.check_data = check_data
        self.preprocess = preprocess
        self.stop_on_non_finite = stop_on_non_finite
        self._preprocessing = Preprocessing(
            (self.student_modality, student),
            (self.teacher_modality, teacher),
            preprocess,
        )
        self.check_unlabeled_class()
        method.own_shard = distribution.own_shard
        method.attach(student, teacher)
        method.build(self._pair.shapes)
        self._freezing = TeacherFreezing(
            teacher,
            method.teacher_update,
            teacher_top_layers,
            method.update_frozen_statistics,
        )
        self._freezing.check_something_trains(student)
        self._sync_batch_norm = SyncBatchNorm(
            layers_within(self), synchronize_batch_norm
        )
        self.step_seeds = StepSeeds()
        self._method_metrics = [
            keras.metrics.Mean(name=name)
            for name in (*method.loss_names, *method.diagnostic_names)
        ]
        self._teacher_metrics: NetworkMetrics | None = None
        self._label_spec = LabelSpec()
        # Keras would wrap a set. Entries of batches that a warning has named.
        self._warned = types.SimpleNamespace(keys=set())
        self.built = True

    def may_change(self, name: str) -> bool:
        """Return whether a constructor's argument can still be set."""
        return name in ("check_data", "stop_on_non_finite")

    # One step, see `Trainer` of the backend in use.

    def call(self, inputs: Tensors, training: bool = False) -> Tensor:
        """Return the student's logits.

        Args:
            inputs: Dict keyed by modality, or the student's input alone.
            training: Boolean.

        Returns:
            Tensor `(batch, ..., num_classes)`.
        """
        if not self._pair.is_known:
            self._pair.learn(inputs)
        student_input = self._pair.input_of(inputs, "student")
        return self.student(student_input, training=training)

    def compute_outputs(
        self, inputs: Tensors, training: bool = True
    ) -> dict[str, Any]:
        """Run each network once, and in training the method's heads.

        Args:
            inputs: Dict keyed by modality.
            training: Boolean. If not, the teacher runs if its modality is
                there, and there are no heads and no features.

        Returns:
            `{"student": {"logits": ..., feature: ...}, "teacher": {...},
            "heads": {...}}`.
        """
        if not training:
            return self._evaluation_outputs(inputs)
        pair = self._pair
        if not pair.is_known:
            pair.learn(inputs)
        if self.num_replicas > 1:
            with self._sync_batch_norm.applied():
                return self._joint_outputs(inputs)
        return self._joint_outputs(inputs)

    def _joint_outputs(self, inputs: Tensors) -> dict[str, Any]:
        pair, outputs = self._pair, dict[str, Any]()
        inputs = keras.tree.map_structure(ops.convert_to_tensor, inputs)
        with self.named_scope("student"):
            outputs["student"] = self.method.run_student(
                pair.extractors["student"],
                pair.input_of(inputs, "student"),
                inputs,
            )
        if self.teacher is not None:
            with self.named_scope("teacher"), self._freezing.applied():
                outputs["teacher"] = pair.extractors["teacher"](
                    pair.input_of(inputs, "teacher"),
                    training=self._freezing.runs_in_training_mode,
                )
            if self.method.teacher_update == "none":
                outputs["teacher"] = keras.tree.map_structure(
                    ops.stop_gradient, outputs["teacher"]
                )
        if not pair.is_known:
            pair.check_outputs(outputs)
        with self.named_scope("heads"):
            outputs["heads"] = self.method(outputs, training=True)
        return outputs

    def _evaluation_outputs(self, inputs: Tensors) -> dict[str, Any]:
        outputs = {"student": {"logits": self(inputs, training=False)}}
        if self.teacher is not None and self._pair.has_input(inputs, "teacher"):
            teacher_input = self._pair.input_of(inputs, "teacher")
            logits = self.teacher(teacher_input, training=False)
            outputs["teacher"] = {"logits": logits}
        return outputs

    def compute_loss(
        self,
        x: Tensors = None,
        y: Any = None,
        y_pred: Tensors = None,
        sample_weight: Tensor | None = None,
        training: bool = True,
    ) -> Tensor:
        """Return the sum of the method's terms and of the regularisation.

        Args:
            x: Unused.
            y: Labels of the batch.
            y_pred: What `compute_outputs` returned. Without `training`, the
                student's logits alone will do.
            sample_weight: Optional weights.
            training: Boolean. If not, the loss is the compiled one of the
                student, and what its layers add.

        Returns:
            Scalar tensor.
        """
        if not training:
            return self._evaluation_loss(y, logits_of(y_pred), sample_weight)
        targets = self._targets(y, y_pred, sample_weight, self.num_replicas > 1)
        with self.named_scope("losses"):
            losses, diagnostics = check_returned(
                self.method, self.method.compute_losses(y_pred, targets)
            )
        weight, size, scale = 1.0, ops.shape(targets.labels)[0], 1.0
        if self.num_replicas > 1:
            weight, size = distribution.replica_weight(size)
            scale = distribution.replica_loss_scale()
        logged = {name: term / scale for name, term in losses.items()}
        logged |= diagnostics
        for metric in self._method_metrics:
            metric.update_state(
                logged[metric.name] * weight, sample_weight=size
            )
        terms = [full_precision(term) * weight for term in losses.values()]
        terms += [full_precision(term) * scale for term in self.losses]
        total: Tensor = sum(ops.sum(term) for term in terms)
        return total

    def _evaluation_loss(
        self, y: Tensor, logits: Tensor, sample_weight: Tensor | None
    ) -> Tensor:
        logits = self.method.supervised_logits(logits)
        if self._label_spec.has_unlabeled or self.shares_evaluation:
            targets = self._targets(
                y,
                {"student": {"logits": logits}},
                sample_weight,
                self.shares_evaluation,
            )
            loss = targets.supervised_loss(logits)
        else:
            weights = copied(broadcast_weights(sample_weight, logits))
            loss = self.supervised_loss(
                aligned_labels(y, logits), logits, weights
            )
        return sum(map(self.scaled_additional_loss, self.student.losses), loss)

    def _targets(
        self,
        y: Tensor,
        outputs: dict[str, Any],
        sample_weight: Tensor | None,
        several: bool,
    ) -> Targets:
        return targets_of_batch(
            self._label_spec,
            y,
            logits_of(outputs),
            sample_weight,
            self.supervised_loss,
            logits_of(outputs, "teacher"),
            distribution.mean_over_replicas if several else None,
            self.named_scope,
        )

    def modify_gradients(
        self,
        gradients: list[Tensor | None],
        variables: list[keras.Variable],
        outputs: dict[str, Any],
        labels: Tensor,
    ) -> list[Tensor | None]:
        """Return the gradients that the optimizer applies.

        Args:
            gradients: List of tensors or None, of the whole batch.
            variables: List of variables in the same order.
            outputs: What `compute_outputs` returned.
            labels: Labels of the batch.
        """
        if not self.method.modifies_gradients:
            return gradients
        return self.method.modify_gradients(
            gradients, variables, outputs, labels
        )
