"""A Keras model that trains a student and its teacher in the same step."""

import math
import types

import keras
from keras import ops

from keras_c2kd.backend import compiled_step
from keras_c2kd.backend import distribution
from keras_c2kd.backend import layers_of_evaluation
from keras_c2kd.backend import named_scope
from keras_c2kd.backend import train_step_of_backend
from keras_c2kd.backend.distribution.sync_batch_norm import SyncBatchNorm
from keras_c2kd.backend.keras_internals import StepSeeds
from keras_c2kd.backend.keras_internals import layers_within
from keras_c2kd.distiller.batch_spec import BatchSpec
from keras_c2kd.distiller.checked_model import CheckedModel
from keras_c2kd.distiller.loss_checks import check_loss
from keras_c2kd.distiller.network_metrics import NetworkMetrics
from keras_c2kd.distiller.network_metrics import check_names
from keras_c2kd.distiller.preprocessing import Preprocessing
from keras_c2kd.distiller.targets import LabelSpec
from keras_c2kd.distiller.targets import aligned_labels
from keras_c2kd.distiller.targets import check_unlabeled
from keras_c2kd.distiller.targets import copied
from keras_c2kd.distiller.targets import row_weights
from keras_c2kd.distiller.targets import single_loss
from keras_c2kd.distiller.teacher_freezing import TeacherFreezing
from keras_c2kd.distiller.two_optimizers import check_learning_rates
from keras_c2kd.distiller.two_optimizers import check_unused
from keras_c2kd.distiller.two_optimizers import two_optimizers
from keras_c2kd.distiller.used_modalities import UsedModalities
from keras_c2kd.losses.kinds import label_interval
from keras_c2kd.methods import C2KD
from keras_c2kd.methods import DistillationMethod
from keras_c2kd.methods.distillation_method import checked_losses
from keras_c2kd.networks.feature_extractor import extractor_for_method
from keras_c2kd.networks.graph import call_once
from keras_c2kd.networks.modalities import has_modality
from keras_c2kd.networks.modalities import modality_input
from keras_c2kd.networks.modalities import modality_keys
from keras_c2kd.networks.network_checks import check_activation
from keras_c2kd.networks.network_checks import check_logits
from keras_c2kd.networks.network_checks import check_pair
from keras_c2kd.ops import full_precision
from keras_c2kd.ops import full_precision_dtype
from keras_c2kd.utils.argument_checks import check_instance
from keras_c2kd.utils.final_arguments import FinalArguments

_ROLES = ("student", "teacher")
_LABELED_LOSS = "labeled_loss"


@keras.saving.register_keras_serializable("keras_c2kd")
class CrossModalDistiller(FinalArguments, CheckedModel):
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
        check_pair(student, teacher, teacher_modality, method)
        check_unlabeled(unlabeled_class, unlabeled_confidence, teacher, method)
        self.student = student
        self.teacher = teacher
        self.method = method
        # A saved tuple comes back as a list.
        self.student_modality, self.teacher_modality = (
            tuple(modality) if isinstance(modality, list) else modality
            for modality in (student_modality, teacher_modality)
        )
        self.teacher_top_layers = teacher_top_layers
        self.synchronize_batch_norm = synchronize_batch_norm
        self.unlabeled_class = unlabeled_class
        self.unlabeled_confidence = unlabeled_confidence
        self.check_data = check_data
        self.preprocess = preprocess
        self._preprocessing = Preprocessing(
            (self.student_modality, student),
            (self.teacher_modality, teacher),
            preprocess,
        )
        self.stop_on_non_finite = stop_on_non_finite
        taps = {
            "student": extractor_for_method(
                student, student_features, method.student_features, "student"
            )
        }
        if teacher is not None:
            taps["teacher"] = extractor_for_method(
                teacher, teacher_features, method.teacher_features, "teacher"
            )
        # Keras would track the extractors of a dict or list as layers.
        self._networks = types.SimpleNamespace(**taps)
        shapes = {role: tap.shapes for role, tap in taps.items()}
        check_logits(shapes, method.needs_logits)
        # Whether the outputs of all networks are known, and fit together.
        self._pair = types.SimpleNamespace(
            is_checked=all(s["logits"] is not None for s in shapes.values())
        )
        self._check_unlabeled_is_no_class()
        method.attach(student, teacher)
        method.build(shapes)
        self._freezing = TeacherFreezing(
            teacher,
            method.teacher_update,
            teacher_top_layers,
            method.update_frozen_statistics,
        )
        self._normalization = SyncBatchNorm(
            layers_within(self), synchronize_batch_norm
        )
        self._check_something_trains()
        self.step_seeds = StepSeeds()
        self._trackers = [
            keras.metrics.Mean(name=name)
            for name in (*method.loss_names, *method.diagnostic_names)
        ]
        self._teacher_metrics = None
        self._label_spec = LabelSpec()
        self._labeled_loss = None
        self._evaluating = False
        # Keras would wrap a set. What a warning has named as unused.
        self._unused = types.SimpleNamespace(told=set())
        # Whether the metrics are of a part of the batches, as in training.
        self._reduces_metrics_in_training = False
        self.built = True

    def is_final(self, name):
        """Return whether an attribute can no longer be set."""
        changeable = name in ("check_data", "stop_on_non_finite")
        return not changeable and super().is_final(name)

    def _check_something_trains(self):
        if not self.student.trainable_variables:
            raise ValueError(
                "The student has no trainable variables: it would never "
                f"change. Received: {self.student.name!r}. Set "
                "`student.trainable = True`."
            )
        wanted = self.method.teacher_update
        if self.teacher is None or wanted == "none":
            return
        if not any(
            id(variable) not in self._freezing.variable_ids
            for variable in self.teacher.trainable_variables
        ):
            raise ValueError(
                f"teacher_update={wanted!r} trains the teacher, but none of "
                f"these variables of {self.teacher.name!r} is trainable. Set "
                '`teacher.trainable = True`, or use teacher_update="none".'
            )

    def _check_unlabeled_is_no_class(self):
        shape, label = self._logits_shape, self.unlabeled_class
        if label is not None and shape and label in range(shape[-1]):
            raise ValueError(
                "`unlabeled_class` stands for no class. Received: "
                f"unlabeled_class={label}, which is one of the "
                f"{shape[-1]} classes. Choose another number, such as -1."
            )

    # What is trained. The flags of the user's teacher stay as they are.

    @property
    def trainable_variables(self):
        """Variables that the optimizer updates, without the frozen teacher."""
        frozen = self._freezing.variable_ids
        variables = super().trainable_variables
        return [v for v in variables if id(v) not in frozen]

    @property
    def non_trainable_variables(self):
        """All other variables, the frozen teacher's included."""
        trained = {id(variable) for variable in self.trainable_variables}
        return [v for v in self.variables if id(v) not in trained]

    @property
    def trainable_weights(self):
        """As `trainable_variables`."""
        frozen = self._freezing.variable_ids
        return [v for v in super().trainable_weights if id(v) not in frozen]

    @property
    def non_trainable_weights(self):
        """As `non_trainable_variables`, without random state."""
        trained = {id(variable) for variable in self.trainable_variables}
        return [v for v in self.weights if id(v) not in trained]

    @property
    def losses(self):
        """Regularisation of what is trained; of the student in evaluation."""
        if self._evaluating:
            # On JAX what layers added in the forward pass is kept there.
            return self.losses_of_call or self.student.losses
        with self._freezing.applied():
            losses = super().losses
            if self.teacher is None or self.method.teacher_update != "none":
                return losses
            fixed = {id(loss) for loss in self.teacher.losses}
        return [loss for loss in losses if id(loss) not in fixed]

    # One step.

    def call(self, inputs, training=False):
        """Return the student's logits; in training all outputs.

        Args:
            inputs: Dict keyed by modality, or the student's input alone.
            training: Boolean.

        Returns:
            Logits `(batch, num_classes)`. With `training=True` a dict
            `{"student": {"logits": ..., features}, "teacher": {...},
            "heads": {...}}`.
        """
        if not self._pair.is_checked:
            self._learn_logits(inputs)
        if training:
            with self._normalization.applied():
                return self._forward(inputs)
        student = self.student(self._student_input(inputs), training=False)
        if not self._evaluating:
            return student
        outputs = {"student": {"logits": student}}
        if self.teacher is not None and self._has_teacher_input(inputs):
            teacher_input = modality_input(
                inputs, self.teacher_modality, self.teacher
            )
            logits = self.teacher(teacher_input, training=False)
            outputs["teacher"] = {"logits": logits}
        return outputs

    def _forward(self, inputs):
        outputs = {}
        with named_scope("student"):
            outputs["student"] = self.method.run_student(
                self._networks.student, self._student_input(inputs), inputs
            )
        if self.teacher is not None:
            if not self._has_teacher_input(inputs):
                raise ValueError(
                    "Training needs both modalities. The batch lacks "
                    f"teacher_modality={self.teacher_modality!r}. Received: "
                    f"{_describe(inputs)}"
                )
            with named_scope("teacher"), self._freezing.applied():
                outputs["teacher"] = self._networks.teacher(
                    modality_input(inputs, self.teacher_modality, self.teacher),
                    training=self._freezing.runs_in_training_mode,
                )
            if self.method.teacher_update == "none":
                outputs["teacher"] = keras.tree.map_structure(
                    ops.stop_gradient, outputs["teacher"]
                )
        if not self._pair.is_checked:
            shapes = {
                role: {"logits": tuple(tensors["logits"].shape)}
                for role, tensors in outputs.items()
            }
            check_logits(shapes, self.method.needs_logits)
        with named_scope("heads"):
            outputs["heads"] = self.method(outputs, training=True)
        return outputs

    def _student_input(self, inputs):
        if not isinstance(inputs, dict):
            return inputs
        if has_modality(inputs, self.student_modality):
            return modality_input(inputs, self.student_modality, self.student)
        own = getattr(self.student, "input", None)
        if isinstance(own, dict) and set(own) <= set(inputs):
            return inputs
        raise ValueError(
            "The batch lacks the student's modality. Received: "
            f"{_describe(inputs)}; needed: "
            f"student_modality={self.student_modality!r}"
        )

    def _has_teacher_input(self, inputs):
        return has_modality(inputs, self.teacher_modality)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """Return the sum of the method's terms and of the regularisation.

        Args:
            x: Unused.
            y: Labels of the batch.
            y_pred: What `call` returned. For anything but the outputs of
                training it is the student's supervised loss.
            sample_weight: Optional weights.
            training: Unused: the outputs tell.

        Returns:
            Scalar tensor.
        """
        if not _is_training_output(y_pred):
            return self._evaluation_loss(y, y_pred, sample_weight)
        logits = y_pred["student"]["logits"]
        targets = self._targets(
            y, logits, sample_weight, _logits_of(y_pred, "teacher")
        )
        with named_scope("losses"):
            losses, diagnostics = checked_losses(
                self.method, self.method.compute_losses(y_pred, targets)
            )
        share, size = distribution.replica_weight(ops.shape(targets.labels)[0])
        scale = distribution.replica_loss_scale()
        logged = {name: term / scale for name, term in losses.items()}
        logged |= diagnostics
        for tracker in self._trackers:
            tracker.update_state(
                logged[tracker.name] * share, sample_weight=size
            )
        terms = [full_precision(term) * share for term in losses.values()]
        terms += [full_precision(term) * scale for term in self.losses]
        return sum(ops.sum(term) for term in terms)

    def gather_global_batch(self, outputs, y, sample_weight):
        """Return the arguments with the rows of all devices, where needed.

        That is, on TensorFlow and PyTorch with several devices, for methods
        whose losses relate the samples of a batch to each other. Every device
        then computes the loss of the whole batch.

        Args:
            outputs: What `call(training=True)` returned.
            y: Labels.
            sample_weight: Weights, or None.

        Returns:
            Tuple of the three.
        """
        if not self.method.needs_global_batch:
            return outputs, y, sample_weight
        return distribution.all_gather((outputs, y, sample_weight))

    def _evaluation_loss(self, y, y_pred, sample_weight):
        """Return the student's supervised loss and its layers' own."""
        logits = _logits_of(y_pred, "student")
        compared = self.method.supervised_logits(logits)
        one_device = (
            distribution.num_replicas() == 1 or distribution.processes()[1] > 1
        )
        if one_device and not self._label_spec.has_unlabeled:
            weights = copied(row_weights(sample_weight, logits))
            y = aligned_labels(y, logits)
            return super().compute_loss(None, y, compared, weights)
        targets = self._targets(y, logits, sample_weight)
        terms = map(self.scaled_additional_loss, self.losses)
        loss = sum(terms, targets.supervised_loss(compared))
        if self._labeled_loss is not None:
            labeled = ops.cast(targets.labeled, full_precision_dtype())
            _, size = distribution.replica_weight(ops.sum(labeled))
            share, _ = distribution.replica_weight(ops.shape(labeled)[0])
            self._labeled_loss.update_state(
                ops.stop_gradient(loss) / distribution.replica_loss_scale(),
                sample_weight=size * share,
            )
        return loss

    def _targets(self, y, logits, sample_weight, teacher_logits=None):
        return self._label_spec.targets(
            y, logits, sample_weight, self.supervised_loss, teacher_logits
        )

    def track_loss(self, loss, outputs):
        """Add the total loss of one batch to the epoch's mean."""
        rows = ops.shape(outputs["student"]["logits"])[0]
        _, size = distribution.replica_weight(rows)
        self.mean_loss.update_state(
            ops.stop_gradient(loss) / distribution.replica_loss_scale(),
            sample_weight=size,
        )

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Update the metrics and return those that this batch could feed."""
        student = _logits_of(y_pred, "student")
        teacher = _logits_of(y_pred, "teacher")
        y = aligned_labels(y, student)
        counted, absent = None, set()
        if self._label_spec.has_unlabeled:
            labels = self._label_spec.read(y, student)
            y = labels.given
            counted = ops.cast(labels.labeled, full_precision_dtype())
        if self.network_metrics is not None:
            self.network_metrics.update_state(
                y, student, sample_weight, counted
            )
        if self._teacher_metrics is not None:
            self._teacher_metrics.create_variables(y, student)
            if teacher is None:
                absent |= set(self._teacher_metrics.names)
            else:
                self._teacher_metrics.update_state(
                    y, teacher, sample_weight, counted
                )
        logs = self.get_metrics_result()
        if not _is_training_output(y_pred):
            absent |= {tracker.name for tracker in self._trackers}
            if self._labeled_loss is not None:
                logs["loss"] = self._labeled_loss.result()
        return {k: value for k, value in logs.items() if k not in absent}

    def metrics_of_epoch(self, logs):
        """Return the metrics of all devices, not the last step's of one.

        Keras takes the logs of the last step if evaluation leaves names out;
        those are, on TensorFlow, the mean of what each device has seen.
        """
        results = self.get_metrics_result()
        if self._labeled_loss is not None:
            results["loss"] = self._labeled_loss.result()
        evaluated = set(results) - {tracker.name for tracker in self._trackers}
        of_teacher = getattr(self._teacher_metrics, "names", ())
        if set(logs) in (evaluated, evaluated.difference(of_teacher)):
            return {name: results[name] for name in logs}
        return super().metrics_of_epoch(logs)

    def get_metrics_result(self):
        """Return the metrics; in training those of all processes together.

        In evaluation every process sees all of the data.
        """
        if self._reduces_metrics_in_training and self.reduces_metrics:
            results = super().get_metrics_result()
        elif self._reduces_metrics_in_training:
            with distribution.metrics_of_all(self.metrics_variables):
                results = self.metrics_of_process()
        else:
            results = self.metrics_of_process()
        if self._labeled_loss is not None:
            del results[self._labeled_loss.name]  # `loss` in evaluation.
        return results

    def train_step(self, *arguments):
        """Update student, teacher and heads on one batch.

        The step of the backend in use, see `keras_c2kd.backend`.
        """
        self._reduces_metrics_in_training = True
        with self.step_seeds.in_use():
            return distribution.as_logs(
                train_step_of_backend()(self, *arguments)
            )

    def test_step(self, *arguments):
        """Evaluate the student, and the teacher if its modality is there."""
        self._reduces_metrics_in_training = False
        self._evaluating = True
        try:
            with layers_of_evaluation(self):
                return distribution.as_logs(super().test_step(*arguments))
        finally:
            self._evaluating = False

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
        rules = LabelSpec.of(
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
        check_loss(loss, self.method, self._logits_shape)
        for role in _ROLES:
            model = getattr(self, role)
            check_activation(
                model, role, rules.from_logits, self.method.needs_logits
            )
        self._check_loss_weights(kwargs.get("loss_weights"))
        student_metrics, teacher_metrics = self._metrics_of_networks(
            kwargs.get("metrics"), kwargs.get("weighted_metrics")
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
        self._label_spec = rules
        # Of the rows with labels of all batches; Keras' own is of batches.
        if rules.has_unlabeled and self._labeled_loss is None:
            self._labeled_loss = keras.metrics.Mean(name=_LABELED_LOSS)
        # Keras would track the metrics of a dict as the model's own.
        self._compile_arguments = types.SimpleNamespace(config=arguments)

    def _check_loss_weights(self, loss_weights):
        if loss_weights is None:
            return
        if all(weight == 1 for weight in keras.tree.flatten(loss_weights)):
            return
        method = type(self.method).__name__
        names = [n for n in self.method.get_config() if n.endswith("_weight")]
        raise ValueError(
            "`loss_weights` weigh the outputs of a network, and the student "
            "has one: the weights of the loss terms are arguments of the "
            f"method. Received: loss_weights={loss_weights!r}. {method} has "
            + (f"{', '.join(names)}." if names else "none.")
            + " `sample_weight` and the learning rate scale all terms."
        )

    def _metrics_of_networks(self, metrics, weighted_metrics):
        """Return the `NetworkMetrics` of student and teacher, or None."""
        student = teacher = None
        if metrics or weighted_metrics:
            student = NetworkMetrics(metrics, weighted_metrics)
            teacher = None if self.teacher is None else student.of_teacher()
        users = [m.names for m in (student, teacher) if m is not None]
        own = [m.name for m in (*self._trackers, *self.method.metrics)]
        if self.unlabeled_class is not None:
            own.append(_LABELED_LOSS)
        check_names(sum(users, ()), ["loss", *own])
        return student, teacher

    def element_spec(self, iterator):
        """Return what one device's batches look like (TensorFlow)."""
        return distribution.element_spec(iterator)

    def step_to_run(self, step_function):
        """Return the training step as the backend compiles it best."""
        if getattr(step_function, "__wrapped__", None) == self.train_step:
            return compiled_step(step_function)
        return step_function

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

    # What the data are held against.

    def batch_spec(self, training):
        """Return the `BatchSpec` of training or of evaluation."""
        needed = dict.fromkeys(modality_keys(self.student_modality))
        if training and self.teacher is not None:
            needed |= dict.fromkeys(modality_keys(self.teacher_modality))
        shape = self._logits_shape
        rules = self._label_spec
        raw = self._preprocessing.modalities
        sizes = () if shape is None else shape[1:-1]
        if self.student_modality in raw:
            sizes = (None,) * len(sizes)  # Labels may be resized with inputs.
        return BatchSpec(
            required=needed,
            num_classes=None if shape is None else shape[-1],
            logits_rank=None if shape is None else len(shape),
            logits_size=sizes,
            bare=len(needed) == 1,
            raw=raw,
            min_batch_size=self.method.min_batch_size if training else 1,
            sparse=rules.sparse,
            # What joins logits by a softmax knows one class a sample.
            distributions=rules.distributions or self.method.needs_logits,
            ignore_class=rules.ignore_class,
            unlabeled_class=rules.unlabeled_class,
            interval=label_interval(
                self._compile_arguments.config["loss"],
                self.method.needs_logits,
            ),
            # What is preprocessed tells nothing before.
            learn=None if raw else self._learn_logits,
            used=self.used_modalities(),
            is_checked=self.check_data,
        )

    def preparation(self, stage):
        """Return what runs the preprocessors of a stage's batches, or None."""
        return self._preprocessing.of_batches(stage == "predict")

    def used_modalities(self):
        """Return the `UsedModalities` of networks and method."""
        return UsedModalities(
            self.student_modality,
            None if self.teacher is None else self.teacher_modality,
            self.method.other_inputs,
            self._unused.told,
        )

    @property
    def _logits_shape(self):
        """Shape of the student's logits, None if nothing has told it yet."""
        return self._networks.student.shapes["logits"]

    def _learn_logits(self, inputs):
        """Learn from a batch what the networks give, and check the pair."""
        if not isinstance(inputs, dict):
            inputs = {self.student_modality: inputs}
        taps = vars(self._networks)
        for role, network in taps.items():
            modality = getattr(self, f"{role}_modality")
            if has_modality(inputs, modality):
                network.learn_logits(
                    modality_input(inputs, modality, getattr(self, role))
                )
        shapes = {role: network.shapes for role, network in taps.items()}
        check_logits(shapes, self.method.needs_logits)
        self._check_unlabeled_is_no_class()
        self._pair.is_checked = all(
            shape["logits"] is not None for shape in shapes.values()
        )
        return self._logits_shape

    @property
    def loss_term_names(self):
        """Names of the method's loss terms."""
        return self.method.loss_names

    @property
    def parts(self):
        """Student, teacher and heads, by name."""
        parts = {"student": self.student, "teacher": self.teacher}
        parts["heads"] = self.method
        return {name: part for name, part in parts.items() if part is not None}

    # Saving and showing.

    def export(self, filepath, *args, **kwargs):
        """Export the student, the network to deploy.

        Args:
            filepath: As in `keras.Model.export`, as all that follows.
            *args: As in Keras.
            **kwargs: As in Keras.
        """
        call_once(self.student)
        self.student.export(filepath, *args, **kwargs)

    def summary(self, line_length=None, print_fn=None, **kwargs):
        """Print Keras' summary and who is trained by what.

        Args:
            line_length: As in Keras.
            print_fn: As in Keras: receives the text. Defaults to printing.
            **kwargs: As in Keras.
        """
        super().summary(line_length=line_length, print_fn=print_fn, **kwargs)
        (print_fn or print)(self._training_summary())

    def _training_summary(self):
        trained = {id(variable) for variable in self.trainable_variables}
        update = self.method.teacher_update
        rows = [("student", self.student_modality, self.student, "")]
        if self.teacher is not None:
            note = f'teacher_update="{update}"'
            rows.append(("teacher", self.teacher_modality, self.teacher, note))
        rows.append(("heads", "", self.method, type(self.method).__name__))
        lines = ["Who is trained:"]
        for role, modality, layer, note in rows:
            modality = "+".join(modality_keys(modality))
            sizes = {id(v): math.prod(v.shape) for v in layer.weights}
            total = sum(sizes.values())
            some = sum(sizes[key] for key in sizes if key in trained)
            lines.append(
                f"  {role:<8} {modality:<12} {some:>12,} of {total:>12,}"
                f" parameters trained  {note}".rstrip()
            )
        return "\n".join(lines)

    # Keras saves weights, but not the state of random generators: without it
    # a run with dropout or random selection would not resume to the same end.

    def _random_state(self):
        others = {id(v) for v in [*self.weights, self.step_seeds.state]}
        return [v for v in self.variables if id(v) not in others]

    def save_own_variables(self, store):
        """Save the state of all random generators."""
        store["step_seeds"] = self.step_seeds.state
        for index, variable in enumerate(self._random_state()):
            store[f"random_state_{index}"] = variable

    def load_own_variables(self, store):
        """Load the state of all random generators."""
        # Older files have none.
        if "step_seeds" in store:
            self.step_seeds.state.assign(store["step_seeds"])
        for index, variable in enumerate(self._random_state()):
            if f"random_state_{index}" in store:
                variable.assign(store[f"random_state_{index}"])

    def get_config(self):
        """Return the constructor's arguments, taps as layer paths."""
        serialize = keras.saving.serialize_keras_object
        method = serialize(self.method)
        # The distiller builds its method; a built one would be refused.
        method.pop("build_config", None)
        config = {
            "name": self.name,
            "dtype": serialize(self.dtype_policy),
            "student": serialize(self.student),
            "teacher": serialize(self.teacher),
            "method": method,
            "student_modality": self.student_modality,
            "teacher_modality": self.teacher_modality,
            "teacher_top_layers": self.teacher_top_layers,
            "synchronize_batch_norm": self.synchronize_batch_norm,
            "unlabeled_class": self.unlabeled_class,
            "unlabeled_confidence": self.unlabeled_confidence,
            "check_data": self.check_data,
            "preprocess": self._preprocessing.config,
            "stop_on_non_finite": self.stop_on_non_finite,
        }
        for role, taps in vars(self._networks).items():
            config[f"{role}_features"] = taps.paths or None
        return config

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Rebuild the distiller from `get_config()`."""
        config = dict(config)
        for name in ("student", "teacher", "method", "dtype"):
            config[name] = keras.saving.deserialize_keras_object(
                config[name], custom_objects=custom_objects
            )
        return cls(**config)


def _dtype_policy(student, teacher, method):
    """Return the policy that decides whether the loss is scaled."""
    policy = getattr(student, "dtype_policy", None)
    if method.teacher_update != "none":
        other = getattr(teacher, "dtype_policy", policy)
        return other if other.compute_dtype == "float16" else policy
    return policy


def _is_training_output(y_pred):
    return isinstance(y_pred, dict) and "heads" in y_pred


def _logits_of(y_pred, role):
    if isinstance(y_pred, dict):
        return y_pred[role]["logits"] if role in y_pred else None
    return y_pred if role == "student" else None


def _describe(inputs):
    if isinstance(inputs, dict):
        return f"a batch with the keys {sorted(map(str, inputs))}"
    return f"{type(inputs).__name__}, not a dict keyed by modality"
