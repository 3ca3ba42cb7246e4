"""A Keras model that trains a student and its teacher in the same step."""

import types

import keras
from keras import ops

from keras_c2kd.backend import distribution
from keras_c2kd.backend.distribution.sync_batch_norm import SyncBatchNorm
from keras_c2kd.backend.keras_internals import StepSeeds
from keras_c2kd.backend.keras_internals import layers_within
from keras_c2kd.distiller.checked_model import CheckedModel
from keras_c2kd.distiller.logged_model import LoggedModel
from keras_c2kd.distiller.loss_checks import check_loss
from keras_c2kd.distiller.loss_checks import check_loss_weights
from keras_c2kd.distiller.network_metrics import metrics_of_pair
from keras_c2kd.distiller.network_pair import NetworkPair
from keras_c2kd.distiller.network_pair import logits_of
from keras_c2kd.distiller.preprocessing import Preprocessing
from keras_c2kd.distiller.saved_model import SavedModel
from keras_c2kd.distiller.targets import LabelSpec
from keras_c2kd.distiller.targets import aligned_labels
from keras_c2kd.distiller.targets import check_unlabeled
from keras_c2kd.distiller.targets import copied
from keras_c2kd.distiller.targets import row_weights
from keras_c2kd.distiller.targets import single_loss
from keras_c2kd.distiller.teacher_freezing import PartlyFrozen
from keras_c2kd.distiller.teacher_freezing import TeacherFreezing
from keras_c2kd.distiller.two_optimizers import check_learning_rates
from keras_c2kd.distiller.two_optimizers import check_unused
from keras_c2kd.distiller.two_optimizers import two_optimizers
from keras_c2kd.methods import C2KD
from keras_c2kd.methods import DistillationMethod
from keras_c2kd.methods.building_blocks import check_returned
from keras_c2kd.networks.network_checks import check_activation
from keras_c2kd.ops import full_precision
from keras_c2kd.utils.argument_checks import check_instance
from keras_c2kd.utils.final_arguments import FinalArguments


@keras.saving.register_keras_serializable("keras_c2kd")
class CrossModalDistiller(
    SavedModel, FinalArguments, LoggedModel, PartlyFrozen, CheckedModel
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
            takes its statistics from the rows of all of them, as one device
            would. Defaults to `True`. `False` saves the exchange: each device
            normalises its own rows, and the moving statistics are the mean
            over devices; not on JAX, where a program sees all rows.
        unlabeled_class: Label of the rows (samples or pixels) that have none,
            such as `-1`; of one-hot labels, rows of zeros have none. They
            have no supervised term, and the teacher teaches them: terms on
            logits and features count them as they are, C2KD's non-target
            terms take the whole divergence there, other terms that need a
            class take the teacher's most probable one. Metrics and `val_loss`
            leave them out. Defaults to `None`: every row has a label.
        unlabeled_confidence: Float from 0 to 1. Terms that need a class leave
            out unlabelled rows to whose most probable class the teacher gives
            a smaller probability. Defaults to `0.0`.
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
            could be trained; if there are rows without labels and no teacher.

    Logged by `fit`: `loss`, the student's metrics under their own names, the
    teacher's as `teacher_<name>`, the method's loss terms and diagnostics by
    name. `evaluate` and `validation_data` log the student's supervised loss
    and metrics, and the teacher's metrics if its modality is there. For every
    method, `val_loss` and the `loss` of `evaluate` are the compiled loss of the
    student's logits (SHAKE: normalised, as it trains them) and what the
    student's layers add to it, without the method's weights.

    Example:
    ```python
    distiller = CrossModalDistiller(
        student=visual_classifier,
        teacher=audio_classifier,
        student_modality="visual",
        teacher_modality="audio",
        method=C2KD(),
    )
    distiller.compile(
        optimizer=keras.optimizers.SGD(1e-2, momentum=0.9),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    distiller.fit(paired_dataset, validation_data=paired_validation)
    distiller.student.save("visual.keras")
    ```

    Reference: Huo et al., CVPR 2024, section 3.2 and Fig. 2.
    """

    def __init__(
        self,
        student,
        teacher=None,
        *,
        student_modality,
        teacher_modality=None,
        method=None,
        student_features=None,
        teacher_features=None,
        teacher_top_layers=None,
        synchronize_batch_norm=True,
        unlabeled_class=None,
        unlabeled_confidence=0.0,
        check_data=True,
        preprocess=True,
        stop_on_non_finite=True,
        name="cross_modal_distiller",
        **kwargs,
    ):
        method = C2KD() if method is None else method
        check_instance(method, DistillationMethod, "method", "C2KD()")
        kwargs.setdefault("dtype", _dtype_policy(student, teacher, method))
        super().__init__(name=name, autocast=False, **kwargs)
        # A saved tuple comes back as a list.
        self.student_modality, self.teacher_modality = (
            tuple(modality) if isinstance(modality, list) else modality
            for modality in (student_modality, teacher_modality)
        )
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
        self.student = student
        self.teacher = teacher
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
        self._teacher_metrics = None
        self._label_spec = LabelSpec()
        # Keras would wrap a set. Entries of batches that a warning has named.
        self._warned = types.SimpleNamespace(keys=set())
        self.built = True

    def may_change(self, name):
        """Return whether a constructor's argument can still be set."""
        return name in ("check_data", "stop_on_non_finite")

    # One step, see `Trainer` of the backend in use.

    def call(self, inputs, training=False):
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

    def compute_outputs(self, inputs, training=True):
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

    def _joint_outputs(self, inputs):
        pair, outputs = self._pair, {}
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

    def _evaluation_outputs(self, inputs):
        outputs = {"student": {"logits": self(inputs, training=False)}}
        if self.teacher is not None and self._pair.has_input(inputs, "teacher"):
            teacher_input = self._pair.input_of(inputs, "teacher")
            logits = self.teacher(teacher_input, training=False)
            outputs["teacher"] = {"logits": logits}
        return outputs

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
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
        targets = self._targets(y, y_pred, sample_weight)
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
        return sum(ops.sum(term) for term in terms)

    def _evaluation_loss(self, y, logits, sample_weight):
        logits = self.method.supervised_logits(logits)
        if self._label_spec.has_unlabeled or self.num_replicas > 1:
            targets = self._targets(
                y, {"student": {"logits": logits}}, sample_weight
            )
            loss = targets.supervised_loss(logits)
        else:
            weights = copied(row_weights(sample_weight, logits))
            loss = self.supervised_loss(
                aligned_labels(y, logits), logits, weights
            )
        return sum(map(self.scaled_additional_loss, self.student.losses), loss)

    def _targets(self, y, outputs, sample_weight):
        several = self.num_replicas > 1
        return self._label_spec.targets(
            y,
            logits_of(outputs),
            sample_weight,
            self.supervised_loss,
            logits_of(outputs, "teacher"),
            distribution.mean_over_replicas if several else None,
            self.named_scope,
        )

    def modify_gradients(self, gradients, variables, outputs, labels):
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

    # Compiling.

    def compile(
        self,
        optimizer="rmsprop",
        loss=None,
        *,
        teacher_optimizer=None,
        **kwargs,
    ):
        """Choose optimizer, supervised loss and metrics.

        Under `mixed_float16` the optimizer is wrapped in Keras'
        `LossScaleOptimizer`. A step in which any scaled gradient overflows is
        skipped as a whole: no weight of student, teacher or heads and no
        momentum changes, the scale is halved. What only looks at the batch
        stays: running statistics, the method's memories and its warm-up step,
        the logged losses. Those come from a forward pass that was finite, and
        at the default scale of 2 ** 15 a few steps of a run are skipped. A
        loss that is itself not finite stops training.

        Args:
            optimizer: As in Keras. Updates everything that is trained, or
                everything but what belongs to the teacher with
                `teacher_optimizer`.
            loss: Supervised loss of the student, and of the teacher where the
                method trains it. Needed. Integer or one-hot labels;
                `ignore_class` is respected by all terms. The weights of the
                terms are the method's arguments (`supervised_weight`, ...):
                `loss_weights` is refused.
            teacher_optimizer: Optional second optimizer for the teacher and
                the method's heads whose name begins with `teacher_`, such as
                C2KD's proxy. Both share one loss scale.
            **kwargs: As in Keras (`metrics`, `weighted_metrics`,
                `run_eagerly`, `jit_compile`, `steps_per_execution`, ...). The
                metrics read the logits of the student and, copied and named
                `teacher_<name>`, those of the teacher.

        Raises:
            ValueError: If there is no loss, if the method or the network has
                no use for it, if an optimizer has been used for another
                model, if `loss_weights` are not 1, if a metric has the name of
                another figure in the log (`loss`, a term or diagnostic of the
                method, ...), if one network ends in a softmax while the loss
                (or the method) takes logits, or the reverse, if one of two
                optimizers scales the loss on its own, if nothing on the
                teacher's part is trained by its optimizer, or if a learning
                rate is negative, NaN or infinite.
        """
        loss = single_loss(loss)
        spec = LabelSpec.of(
            loss, self.unlabeled_class, self.unlabeled_confidence
        )
        arguments = {**kwargs, "loss": loss}
        arguments["optimizer"] = keras.optimizers.get(optimizer)
        if teacher_optimizer is not None:
            teacher_optimizer = keras.optimizers.get(teacher_optimizer)
        arguments["teacher_optimizer"] = teacher_optimizer
        check_learning_rates(arguments["optimizer"], teacher_optimizer)
        for one in (arguments["optimizer"], teacher_optimizer):
            if one is not None:
                check_unused(
                    one, self.trainable_variables, teacher_optimizer is None
                )
        check_loss(loss, self.method, self._pair.logits_shape)
        for role in ("student", "teacher"):
            check_activation(
                getattr(self, role),
                role,
                spec.from_logits,
                self.method.needs_logits,
            )
        check_loss_weights(kwargs.get("loss_weights"), self.method)
        student_metrics, teacher_metrics = metrics_of_pair(
            kwargs.get("metrics"),
            kwargs.get("weighted_metrics"),
            self.teacher is not None,
            ["loss", *(m.name for m in self._method_metrics)]
            + [metric.name for metric in self.method.metrics],
        )
        super().compile(
            optimizer=two_optimizers(
                arguments["optimizer"],
                teacher_optimizer,
                self.teacher,
                self.method,
                self.trainable_variables,
                scales_loss=self.dtype_policy.name == "mixed_float16"
                and kwargs.get("auto_scale_loss", True),
            ),
            loss=loss,
            **kwargs,
        )
        self.set_network_metrics(student_metrics)
        # Keras lists the student's by itself, and would list the teacher's
        # earlier ones for ever, never updated.
        for metrics in (student_metrics, self._teacher_metrics):
            if metrics is not None:
                self.untrack(metrics)
        self._teacher_metrics = teacher_metrics
        self._label_spec = spec
        # Keras would track the metrics of a dict as the model's own.
        self._compile_arguments = types.SimpleNamespace(config=arguments)

    def get_compile_config(self):
        """Return the arguments of `compile()`, serialised."""
        if not self.compiled:
            return {}
        return keras.saving.serialize_keras_object(
            self._compile_arguments.config
        )

    def compile_from_config(self, config):
        """Compile as `get_compile_config()` says, optimizer state included."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)


def _dtype_policy(student, teacher, method):
    """Return the policy that decides whether the loss is scaled."""
    policy = getattr(student, "dtype_policy", None)
    if method.teacher_update != "none":
        other = getattr(teacher, "dtype_policy", policy)
        return other if other.compute_dtype == "float16" else policy
    return policy
