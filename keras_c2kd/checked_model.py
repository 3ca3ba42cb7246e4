"""A Keras model that looks at its data before it trains on them."""

import keras

from keras_c2kd import devices
from keras_c2kd.array_batches import split
from keras_c2kd.data_checks import BatchRules
from keras_c2kd.data_shares import own_share
from keras_c2kd.mapped_batches import mapped
from keras_c2kd.non_finite_loss import StopOnNonFiniteLoss
from keras_c2kd.train_steps import KeepVariables


class CheckedModel(keras.Model):
    """Checks what goes into `fit` and `evaluate`, and what comes of it.

    Every batch is held against the rules of the model, on the host, before it
    is trained on; with several processes each trains on its share of it; a
    loss that is no longer finite stops training; and a `fit` that fails before
    its first step leaves the model as it was.

    Attributes:
        check_data: Whether data are checked.
        loss_term_names: Names of the loss terms in the logs.
    """

    check_data = True
    loss_term_names = ()

    def batch_rules(self, training):
        """Return the `BatchRules` of training or of evaluation."""
        raise NotImplementedError(
            f"{type(self).__name__} must implement `batch_rules(training)`: "
            "what a batch is held against before it is trained on."
        )

    def preparation(self, stage):
        """Return what is done to each batch after its checks, on the host.

        Args:
            stage: `"fit"`, `"evaluate"` or `"predict"`.

        Returns:
            Function of `(x, y, sample_weight)` to the same three, see
            `mapped_batches.mapped`; or None.
        """

    def used_modalities(self):
        """Return the `UsedModalities` of the model."""
        raise NotImplementedError(
            f"{type(self).__name__} must implement `used_modalities()`: "
            "which entries of a batch it reads."
        )

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose="auto",
        callbacks=None,
        **kwargs,
    ):
        """Train; as `keras.Model.fit`, on batches keyed by modality.

        Raises:
            ValueError: If the data break a rule, before they are trained on:
                a missing modality, unequal sizes, labels of a wrong shape or
                range, NaN or infinity, an empty data set.
            FloatingPointError: If a loss term is no longer finite.
        """
        self._assert_compile_called("fit")
        weights = kwargs.get("sample_weight")
        rules = self.batch_rules(training=True)
        class_weight = rules.class_weight(kwargs.get("class_weight"))
        kwargs["class_weight"] = class_weight
        size = batch_size or 32
        if y is not None:
            x = rules.used(x)
            self._checked(x, y, weights, size, class_weight, training=True)
        if devices.processes()[1] > 1:
            shuffle = kwargs.get("shuffle", True)
            x = own_share(x, y, weights, size, shuffle)
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
        own = [StopOnNonFiniteLoss(self.loss_term_names), KeepVariables()]
        if callbacks is None:
            callbacks = every = own
        elif isinstance(callbacks, keras.callbacks.CallbackList):
            for callback in own:
                callbacks.append(callback)
            every = callbacks.callbacks
        else:
            callbacks = every = [*own, *keras.tree.flatten(callbacks)]
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
            # Keras tells callbacks when training ends, not when it fails.
            for callback in every:
                try:
                    getattr(callback, "on_train_failure", _nothing)()
                except Exception as error:
                    name = type(callback).__name__
                    failure.add_note(f"{name}.on_train_failure: {error!r}")
            raise

    def evaluate(
        self,
        x=None,
        y=None,
        batch_size=None,
        *args,
        sample_weight=None,
        **kwargs,
    ):
        """Evaluate; as `keras.Model.evaluate`, with `fit`'s checks.

        Raises:
            ValueError: As `fit`, but the teacher's modality may be missing.
        """
        # Within `fit` the data were checked before the first epoch.
        if not kwargs.get("_use_cached_eval_dataset"):
            self._assert_compile_called("evaluate")
            x = self._checked(x, y, sample_weight)
            function = self.preparation("evaluate")
            if function is not None:
                x = mapped(x, function, y, sample_weight, batch_size)
                y = sample_weight = batch_size = None
        return super().evaluate(
            x, y, batch_size, *args, sample_weight=sample_weight, **kwargs
        )

    def predict(self, x, batch_size=None, *args, **kwargs):
        """Return the student's logits; as `keras.Model.predict`."""
        used = self.used_modalities()
        rules = BatchRules((), None, used=used, is_checked=False)
        x, function = rules.checked(x), self.preparation("predict")
        if function is not None:
            x = mapped(x, function, batch_size=batch_size)
            batch_size = None
        return super().predict(x, batch_size, *args, **kwargs)

    def train_on_batch(
        self,
        x,
        y=None,
        sample_weight=None,
        class_weight=None,
        return_dict=False,
    ):
        """Train on one batch; as `keras.Model.train_on_batch`, with checks.

        Raises:
            ValueError: As `fit`. That a loss stays finite is not checked.
        """
        self._assert_compile_called("train_on_batch")
        rules = self.batch_rules(training=True)
        x, y, sample_weight = rules.take((x, y, sample_weight))
        class_weight = rules.class_weight(class_weight)
        if self.check_data:
            rules.check_class_weight(class_weight)
        x, y, sample_weight = self._prepared("fit", x, y, sample_weight)
        return super().train_on_batch(
            x, y, sample_weight, class_weight, return_dict
        )

    def test_on_batch(self, x, y=None, sample_weight=None, return_dict=False):
        """Evaluate one batch; as `keras.Model.test_on_batch`, with checks.

        Raises:
            ValueError: As `evaluate`.
        """
        self._assert_compile_called("test_on_batch")
        rules = self.batch_rules(training=False)
        x, y, sample_weight = rules.take((x, y, sample_weight))
        x, y, sample_weight = self._prepared("evaluate", x, y, sample_weight)
        return super().test_on_batch(x, y, sample_weight, return_dict)

    def predict_on_batch(self, x):
        """Return the logits of one batch; as `predict`."""
        x = self.used_modalities()(x)
        return super().predict_on_batch(self._prepared("predict", x)[0])

    def _prepared(self, stage, x, y=None, sample_weight=None):
        """Prepare one batch."""
        function = self.preparation(stage)
        if function is None:
            return x, y, sample_weight
        return function(x, y, sample_weight)

    def _prepared_to_fit(self, x, y, batch_size, kwargs):
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
            share = kwargs.pop("validation_split", None)
            if share and kwargs.get("validation_data") is None:
                (x, y, weights), validation = split((x, y, weights), share)
                kwargs["validation_data"] = validation
        shuffle = kwargs.get("shuffle", True)
        if y is not None:
            # Samples are shuffled here, and whole batches by Keras.
            kwargs["shuffle"] = shuffle == "batch"
        x = mapped(x, function, y, weights, batch_size, shuffle is True)
        validation = kwargs.get("validation_data")
        if validation is not None:
            if not isinstance(validation, (tuple, list)):
                validation = (validation,)
            size = kwargs.get("validation_batch_size") or batch_size
            inputs, *labels = keras.utils.unpack_x_y_sample_weight(validation)
            function = self.preparation("evaluate")
            kwargs["validation_data"] = mapped(
                inputs, function, *labels, batch_size=size
            )
        return x, None, None

    def _checked(
        self,
        x,
        y=None,
        sample_weight=None,
        batch_size=None,
        class_weight=None,
        training=False,
    ):
        """Check arrays now, and wrap streams so that each batch is checked.

        Returns:
            `x` without the modalities that are not used.
        """
        rules = self.batch_rules(training)
        if self.check_data:
            rules.check_class_weight(class_weight)
        if y is None and devices.processes()[1] > 1:
            rules.least_batch_size = 1  # Of a share of the batch.
        if y is None:
            return rules.checked(x)
        x = rules.used(x)
        if self.check_data:
            size = rules.check(x, y, sample_weight)
            if training:
                rules.check_batch_size(min(size, batch_size))
        return x


def _nothing():
    """What a callback does that has no say when training fails."""
