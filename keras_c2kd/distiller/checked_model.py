"""A Keras model that looks at its data before it trains on them."""

import types
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import keras

from keras_c2kd.backend import distribution
from keras_c2kd.backend import trainer
from keras_c2kd.backend.distribution.sharding import shard
from keras_c2kd.backend.distribution.sync_batch_norm import SyncBatchNorm
from keras_c2kd.backend.keras_internals import TrainedModel
from keras_c2kd.backend.keras_internals import is_within_fit
from keras_c2kd.distiller.batch_sources import BatchFunction
from keras_c2kd.distiller.batch_sources import DataSource
from keras_c2kd.distiller.batch_sources import checked
from keras_c2kd.distiller.batch_sources import mapped
from keras_c2kd.distiller.batch_spec import BatchSpec
from keras_c2kd.distiller.callbacks import KeepVariables
from keras_c2kd.distiller.callbacks import StopOnNonFiniteLoss
from keras_c2kd.distiller.label_spec import LabelSpec
from keras_c2kd.distiller.network_pair import NetworkPair
from keras_c2kd.distiller.passes import NoEmptyPass
from keras_c2kd.distiller.passes import first_batch
from keras_c2kd.distiller.passes import in_front
from keras_c2kd.distiller.passes import never_empty
from keras_c2kd.distiller.preprocessing import Preprocessing
from keras_c2kd.distiller.two_optimizers import check_learning_rates
from keras_c2kd.distiller.used_modalities import UsedModalities
from keras_c2kd.losses.kinds import label_interval
from keras_c2kd.methods import DistillationMethod
from keras_c2kd.networks.modalities import modality_keys
from keras_c2kd.typing import Array
from keras_c2kd.typing import Modality
from keras_c2kd.typing import Network
from keras_c2kd.typing import Shape
from keras_c2kd.typing import Tensors
from keras_c2kd.utils.argument_checks import check_counts
from keras_c2kd.utils.array_batches import split

_Trainer: Any = trainer()


class CheckedModel(_Trainer, TrainedModel):
    """Checks what goes into `fit` and `evaluate`, and what comes of it.

    A `BatchSpec` checks every batch, on the host, before it is trained on;
    with several processes each trains on its shard of it; a loss or a weight
    that is no longer finite stops training; an epoch without a batch does;
    and a `fit` that fails before its first step leaves the model as it was.

    Attributes:
        batch_of_pass: Index of the batch that was begun last.
    """

    batch_of_pass: int | None = None

    student: Network
    teacher: Network | None
    method: DistillationMethod
    student_modality: Modality
    teacher_modality: Modality | None
    unlabeled_class: int | None
    check_data: bool
    stop_on_non_finite: bool
    _compile_arguments: types.SimpleNamespace
    _label_spec: LabelSpec
    _pair: NetworkPair
    _preprocessing: Preprocessing
    _sync_batch_norm: SyncBatchNorm
    _warned: types.SimpleNamespace

    def batch_spec(self, training: bool) -> BatchSpec:
        """Return the `BatchSpec` of training or of evaluation."""
        needed = dict.fromkeys(modality_keys(self.student_modality))
        if training and self.teacher is not None:
            modality = self.teacher_modality or ()
            needed |= dict.fromkeys(modality_keys(modality))
        shape = self._pair.logits_shape
        labels = self._label_spec
        raw = self._preprocessing.modalities
        sizes: Shape = () if shape is None else shape[1:-1]
        if self.student_modality in raw:
            sizes = (None,) * len(sizes)  # Labels may be resized with inputs.
        needs_logits = self.method.needs_logits
        return BatchSpec(
            required=needed,
            num_classes=None if shape is None else shape[-1],
            logits_rank=None if shape is None else len(shape),
            logits_size=sizes,
            bare=len(needed) == 1,
            raw=raw,
            min_batch_size=self.method.min_batch_size if training else 1,
            sparse=labels.sparse,
            # A softmax over the logits gives each sample one class.
            distributions=labels.distributions or needs_logits,
            ignore_class=labels.ignore_class,
            unlabeled_class=labels.unlabeled_class,
            interval=label_interval(
                self._compile_arguments.config["loss"], needs_logits
            ),
            # Networks do not take what is not preprocessed yet.
            learn=None if raw else self._learn_logits,
            used=self.used_modalities(),
            is_checked=self.check_data,
        )

    def _learn_logits(self, inputs: Tensors) -> Shape | None:
        """Learn the logits' shape from a batch and return it."""
        self._pair.learn(inputs)
        self.check_unlabeled_class()
        return self._pair.logits_shape

    def check_unlabeled_class(self) -> None:
        """Raise a ValueError if the label of no class is that of a class."""
        shape, label = self._pair.logits_shape, self.unlabeled_class
        if label is not None and shape and label in range(shape[-1] or 0):
            raise ValueError(
                "`unlabeled_class` stands for no class. Received: "
                f"unlabeled_class={label}, which is one of the "
                f"{shape[-1]} classes. Choose another number, such as -1."
            )

    def preparation(self, stage: str) -> BatchFunction | None:
        """Return what runs the preprocessors of a stage's batches, or None.

        Args:
            stage: `"fit"`, `"evaluate"` or `"predict"`.

        Returns:
            `BatchFunction`, see `mapped`; or None.
        """
        return self._preprocessing.of_batches(stage == "predict")

    def used_modalities(self) -> UsedModalities:
        """Return the `UsedModalities` of networks and method."""
        return UsedModalities(
            self.student_modality,
            None if self.teacher is None else self.teacher_modality,
            self.method.other_inputs,
            self._warned.keys,
        )

    @property
    def loss_term_names(self) -> tuple[str, ...]:
        """Names of the method's loss terms."""
        return self.method.loss_names

    @property
    def parts(self) -> dict[str, keras.layers.Layer]:
        """Student, teacher and heads, by name."""
        parts = {
            "student": self.student,
            "teacher": self.teacher,
            "heads": self.method,
        }
        return {name: part for name, part in parts.items() if part is not None}

    def make_train_function(self, force: bool = False) -> Any:
        """Make what `fit` calls; refuse devices that cannot be as asked."""
        self._sync_batch_norm.check()
        return super().make_train_function(force)

    def fit(
        self,
        x: DataSource = None,
        y: Tensors = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: str | int = "auto",
        callbacks: Any = None,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """Train; as `keras.Model.fit`, on batches keyed by modality.

        Raises:
            ValueError: If the data break a rule, before they are trained on:
                a missing modality, unequal sizes, labels of a wrong shape or
                range, NaN or infinity, an empty data set; or if batches,
                steps or learning rates are none that can be trained with, or
                an epoch has no batch.
            FloatingPointError: If a loss term is no longer finite, or at the
                end of an epoch a weight; see `stop_on_non_finite`.
        """
        self.check_is_compiled("fit")
        check_counts(
            batch_size=batch_size,
            steps_per_epoch=kwargs.get("steps_per_epoch"),
            validation_batch_size=kwargs.get("validation_batch_size"),
            validation_steps=kwargs.get("validation_steps"),
        )
        check_learning_rates(self.optimizer)
        weights = kwargs.get("sample_weight")
        spec = self.batch_spec(training=True)
        class_weight = spec.class_weight(kwargs.get("class_weight"))
        kwargs["class_weight"] = class_weight
        size = batch_size or 32
        if y is not None:
            x = self._checked(
                x,
                y,
                weights,
                size,
                class_weight=class_weight,
                training=True,
            )
        if distribution.processes()[1] > 1:
            shuffle = kwargs.get("shuffle", True)
            x = shard(x, y, weights, size, shuffle)
            kwargs.setdefault("validation_batch_size", batch_size)
            y = batch_size = kwargs["sample_weight"] = None
        if y is None:
            x = self._checked(x, class_weight=class_weight, training=True)
        validation = kwargs.get("validation_data")
        if isinstance(validation, (tuple, list)):
            x_of_validation = self._checked(*validation, training=False)
            kwargs["validation_data"] = (x_of_validation, *validation[1:])
        elif validation is not None:
            kwargs["validation_data"] = self._checked(
                validation, training=False
            )
        x, y, batch_size = self._prepared_to_fit(x, y, batch_size, kwargs)
        keep = KeepVariables()
        own = [keep, NoEmptyPass()]
        if self.stop_on_non_finite:
            own.append(self._stop_on_non_finite(callbacks))
        with in_front(own, callbacks, self) as callbacks:
            try:
                return super().fit(
                    x=x,
                    y=y,
                    batch_size=batch_size,
                    epochs=epochs,
                    verbose=verbose,
                    callbacks=callbacks,
                    **kwargs,
                )
            except BaseException as failure:
                keep.put_back()
                # Keras calls its callbacks when training ends, not when it
                # fails.
                for callback in getattr(callbacks, "callbacks", callbacks):
                    try:
                        if hasattr(callback, "on_train_failure"):
                            callback.on_train_failure()
                    except Exception as error:
                        name = type(callback).__name__
                        failure.add_note(f"{name}.on_train_failure: {error!r}")
                raise

    def _stop_on_non_finite(self, callbacks: Any) -> StopOnNonFiniteLoss:
        """Return the callback that stops training, for a user's callbacks."""
        given = getattr(callbacks, "callbacks", keras.tree.flatten(callbacks))
        return StopOnNonFiniteLoss(
            self.loss_term_names,
            self.parts,
            # What saves within an epoch has a number of batches there.
            each_step=any(
                isinstance(getattr(callback, "save_freq", None), int)
                for callback in given
            ),
        )

    def evaluate(
        self,
        x: DataSource = None,
        y: Tensors = None,
        batch_size: int | None = None,
        *args: Any,
        sample_weight: Tensors = None,
        **kwargs: Any,
    ) -> Any:
        """Evaluate; as `keras.Model.evaluate`, with `fit`'s checks.

        Raises:
            ValueError: As `fit`, but the teacher's modality may be missing.
        """
        # Within `fit` all of that was done before the first epoch.
        if is_within_fit(kwargs):
            return super().evaluate(
                x, y, batch_size, *args, sample_weight=sample_weight, **kwargs
            )
        self.check_is_compiled("evaluate")
        check_counts(batch_size=batch_size, steps=kwargs.get("steps"))
        x = self._checked(x, y, sample_weight)
        function = self.preparation("evaluate")
        if function is not None:
            x = mapped(x, function, y, sample_weight, batch_size=batch_size)
            y = sample_weight = batch_size = None
        keep = KeepVariables()
        own = [keep, NoEmptyPass()]
        with in_front(own, kwargs.pop("callbacks", None), self) as callbacks:
            try:
                return super().evaluate(
                    x,
                    y,
                    batch_size,
                    *args,
                    sample_weight=sample_weight,
                    callbacks=callbacks,
                    **kwargs,
                )
            except BaseException:
                keep.put_back()
                raise

    def predict(
        self,
        x: DataSource,
        batch_size: int | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Array:
        """Return the student's logits; as `keras.Model.predict`."""
        used = self.used_modalities()
        spec = BatchSpec((), None, used=used, is_checked=False)
        x, function = checked(x, spec), self.preparation("predict")
        if function is not None:
            x = mapped(x, function, batch_size=batch_size)
            batch_size = None
        return super().predict(x, batch_size, *args, **kwargs)

    def train_on_batch(
        self,
        x: Tensors,
        y: Tensors = None,
        sample_weight: Tensors = None,
        class_weight: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """Train on one batch; as `keras.Model.train_on_batch`, with checks.

        Raises:
            ValueError: As `fit`. That a loss stays finite is not checked.
        """
        self.check_is_compiled("train_on_batch")
        spec = self.batch_spec(training=True)
        x, y, sample_weight = spec.take((x, y, sample_weight))
        class_weight = spec.class_weight(class_weight)
        if self.check_data:
            spec.check_class_weight(class_weight)
        x, y, sample_weight = self._prepared("fit", x, y, sample_weight)
        return super().train_on_batch(
            x, y, sample_weight, class_weight, return_dict
        )

    def test_on_batch(
        self,
        x: Tensors,
        y: Tensors = None,
        sample_weight: Tensors = None,
        return_dict: bool = False,
    ) -> Any:
        """Evaluate one batch; as `keras.Model.test_on_batch`, with checks.

        Raises:
            ValueError: As `evaluate`.
        """
        self.check_is_compiled("test_on_batch")
        spec = self.batch_spec(training=False)
        x, y, sample_weight = spec.take((x, y, sample_weight))
        x, y, sample_weight = self._prepared("evaluate", x, y, sample_weight)
        return super().test_on_batch(x, y, sample_weight, return_dict)

    def predict_on_batch(self, x: Tensors) -> Array:
        """Return the logits of one batch; as `predict`."""
        x = self.used_modalities()(x)
        return super().predict_on_batch(self._prepared("predict", x)[0])

    def _prepared(
        self,
        stage: str,
        x: Tensors,
        y: Tensors = None,
        sample_weight: Tensors = None,
    ) -> tuple[Tensors, Tensors, Tensors]:
        """Prepare one batch."""
        function = self.preparation(stage)
        if function is None:
            return x, y, sample_weight
        return function(x, y, sample_weight)

    def _prepared_to_fit(
        self,
        x: DataSource,
        y: Tensors,
        batch_size: int | None,
        kwargs: dict[str, Any],
    ) -> tuple[DataSource, Tensors, int | None]:
        """Prepare each batch of what `fit` received, `kwargs` included.

        Returns:
            Tuple of inputs, labels and batch size for Keras.
        """
        function = self.preparation("fit")
        if function is None:
            return x, y, batch_size
        weights = validation = None
        if y is not None:
            weights = kwargs.pop("sample_weight", None)
            fraction = kwargs.pop("validation_split", None)
            if fraction and kwargs.get("validation_data") is None:
                (x, y, weights), validation = split((x, y, weights), fraction)
                kwargs["validation_data"] = validation
        shuffle = kwargs.get("shuffle", True)
        if y is not None:
            # Samples are shuffled here, and whole batches by Keras.
            kwargs["shuffle"] = shuffle == "batch"
        x = mapped(
            x,
            function,
            y,
            weights,
            batch_size=batch_size,
            shuffle=shuffle is True,
        )
        validation = kwargs.get("validation_data")
        if validation is not None:
            if not isinstance(validation, (tuple, list)):
                validation = (validation,)
            size = kwargs.get("validation_batch_size") or batch_size
            inputs, *labels = keras.utils.unpack_x_y_sample_weight(validation)
            kwargs["validation_data"] = mapped(
                inputs, function, *labels, batch_size=size
            )
        return x, None, None

    def batches_to_build_by(self, iterator: Any) -> Iterator[Any]:
        """Return the first batch; raise if there is none to build by."""
        return first_batch(iterator)

    def function_to_call(
        self, function: Callable[..., Any]
    ) -> Callable[..., Any]:
        """Return a function that raises if a pass has no first batch."""
        return never_empty(function, self)

    def _checked(
        self,
        x: DataSource,
        y: Tensors = None,
        sample_weight: Tensors = None,
        batch_size: int | None = None,
        *,
        class_weight: Any = None,
        training: bool = False,
    ) -> DataSource:
        """Check arrays now, and wrap streams so that each batch is checked.

        Returns:
            `x` without the modalities that are not used.
        """
        spec = self.batch_spec(training)
        if self.check_data:
            spec.check_class_weight(class_weight)
        if y is None and distribution.processes()[1] > 1:
            spec.min_batch_size = 1  # Of a shard of the batch.
        if y is None:
            return checked(x, spec)
        x = self.used_modalities()(x)
        if self.check_data:
            size = spec.check(x, y, sample_weight)
            if training:
                spec.check_batch_size(min(size, batch_size or size))
        return x
