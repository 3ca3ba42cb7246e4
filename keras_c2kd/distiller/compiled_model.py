"""What a model is compiled with: optimizers, the supervised loss, metrics."""

import types
from collections.abc import Callable
from typing import Any

import keras

from keras_c2kd.distiller.label_spec import LabelSpec
from keras_c2kd.distiller.label_spec import single_loss
from keras_c2kd.distiller.loss_checks import check_loss
from keras_c2kd.distiller.network_metrics import NetworkMetrics
from keras_c2kd.distiller.network_metrics import metrics_of_pair
from keras_c2kd.distiller.network_pair import NetworkPair
from keras_c2kd.distiller.two_optimizers import check_optimizers
from keras_c2kd.distiller.two_optimizers import two_optimizers
from keras_c2kd.methods import DistillationMethod
from keras_c2kd.typing import Config
from keras_c2kd.typing import Network
from keras_c2kd.typing import Tensor


class CompiledModel(keras.Model):
    """Compiles a distiller; what cannot train together is refused."""

    teacher: Network | None
    method: DistillationMethod
    unlabeled_class: int | None
    unlabeled_confidence: float
    _pair: NetworkPair
    _label_spec: LabelSpec
    _method_metrics: list[keras.metrics.Mean]
    _teacher_metrics: NetworkMetrics | None

    def compile(
        self,
        optimizer: str | keras.optimizers.Optimizer = "rmsprop",
        loss: str | Callable[..., Tensor] | keras.losses.Loss | None = None,
        *,
        teacher_optimizer: str | keras.optimizers.Optimizer | None = None,
        **kwargs: Any,
    ) -> None:
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
        optimizer = keras.optimizers.get(optimizer)
        if teacher_optimizer is not None:
            teacher_optimizer = keras.optimizers.get(teacher_optimizer)
        check_optimizers(optimizer, teacher_optimizer, self.trainable_variables)
        check_loss(
            loss,
            kwargs.get("loss_weights"),
            self.method,
            self._pair.logits_shape,
        )
        self._pair.check_activations(spec.from_logits)
        student_metrics, teacher_metrics = metrics_of_pair(
            kwargs.get("metrics"),
            kwargs.get("weighted_metrics"),
            self.teacher is not None,
            ["loss", *(m.name for m in self._method_metrics)]
            + [metric.name for metric in self.method.metrics],
        )
        super().compile(
            optimizer=two_optimizers(
                optimizer,
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
        self._compile_arguments = types.SimpleNamespace(
            config={
                **kwargs,
                "loss": loss,
                "optimizer": optimizer,
                "teacher_optimizer": teacher_optimizer,
            }
        )

    def get_compile_config(self) -> Config:
        """Return the arguments of `compile()`, serialised."""
        if not self.compiled:
            return {}
        return keras.saving.serialize_keras_object(
            self._compile_arguments.config
        )

    def compile_from_config(self, config: Config) -> None:
        """Compile as `get_compile_config()` says, optimizer state included."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)
