"""What the labels of a batch say: which rows count for which term."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from numbers import Integral

import keras
from keras import ops

from keras_c2kd.backend.keras_internals import function_arguments
from keras_c2kd.backend.keras_internals import mask_of
from keras_c2kd.methods import Targets
from keras_c2kd.ops import full_precision
from keras_c2kd.ops import full_precision_dtype
from keras_c2kd.utils.argument_checks import check_number

# Losses of Keras that read probabilities and have no `from_logits`.
_OF_PROBABILITIES = (
    keras.losses.KLDivergence,
    keras.losses.CategoricalGeneralizedCrossEntropy,
    keras.losses.Dice,
    keras.losses.Tversky,
)
_OF_INTEGERS = (keras.losses.CategoricalGeneralizedCrossEntropy,)
_ARGUMENTS = ("from_logits", "ignore_class", "axis")


@dataclasses.dataclass(frozen=True)
class LabelSpec:
    """What the compiled loss, and the distiller, say about labels.

    A row (sample or pixel) is *labelled*; *ignored*, if the loss ignores its
    label or a layer has masked it, and then counts in no term; or
    *unlabelled*, and then has no supervised term, but the other modality may
    teach it.

    Attributes:
        sparse: Whether the loss takes integers (`True`) or one-hot rows
            (`False`); `None` if it does not tell.
        distributions: Whether one-hot rows are probabilities of one class.
        from_logits: Whether the loss takes logits; `None` if it does not tell.
        ignore_class: Label of ignored rows, or `None`.
        reduction: As for every Keras loss.
        unlabeled_class: Label of unlabelled rows, or `None` if there are
            none. Of one-hot labels, rows of zeros are unlabelled.
        unlabeled_confidence: Float from 0 to 1. Terms that need a class leave
            out unlabelled rows to whose most probable class the teacher gives
            less.
    """

    sparse: bool | None = None
    distributions: bool = False
    from_logits: bool | None = None
    ignore_class: int | None = None
    reduction: str | None = "sum_over_batch_size"
    unlabeled_class: int | None = None
    unlabeled_confidence: float = 0.0

    @classmethod
    def of(cls, loss, unlabeled_class=None, unlabeled_confidence=0.0):
        """Read the rules of a loss.

        Args:
            loss: `keras.losses.Loss`, function or name, as `single_loss`
                returns it.
            unlabeled_class: As for the class.
            unlabeled_confidence: As for the class.

        Raises:
            ValueError: If the loss takes the classes from another axis than
                the last, or ignores the label of unlabelled rows, or if there
                are unlabelled rows for a loss that knows no classes.
        """
        loss = keras.losses.get(loss)
        said = _arguments(loss)
        name = _crossentropy_name(loss)
        if name is not None and said.get("axis", -1) != -1:
            raise ValueError(
                "The classes lie on the last axis of the logits. Received: a "
                f"loss with axis={said['axis']}. Leave `axis` out, and let "
                "the network end with the classes on its last axis."
            )
        sparse = None if name is None else "sparse" in name
        from_logits = said.get("from_logits")
        if _is_one_of(loss, _OF_PROBABILITIES):
            from_logits = False
        if _is_one_of(loss, _OF_INTEGERS):
            sparse = True
        rules = cls(
            sparse=sparse,
            distributions=sparse is False and "categorical" in name,
            from_logits=from_logits,
            ignore_class=said.get("ignore_class"),
            reduction=getattr(loss, "reduction", "sum_over_batch_size"),
            unlabeled_class=unlabeled_class,
            unlabeled_confidence=unlabeled_confidence,
        )
        rules._check_unlabeled(loss)
        return rules

    def _check_unlabeled(self, loss):
        if self.unlabeled_class is None:
            return
        if self.unlabeled_class == self.ignore_class:
            raise ValueError(
                "A row is ignored or unlabelled, and one label cannot say "
                f"both. Received: unlabeled_class={self.unlabeled_class} and "
                f"a loss with ignore_class={self.ignore_class}. Leave "
                "`ignore_class` out of the loss, or give the unlabelled rows "
                "another number."
            )
        if self.sparse is None or (not self.sparse and not self.distributions):
            name = getattr(loss, "name", getattr(loss, "__name__", loss))
            raise ValueError(
                "Rows without labels need a loss of one class a row, such as "
                "keras.losses.SparseCategoricalCrossentropy(from_logits="
                f"True). Received: unlabeled_class={self.unlabeled_class} "
                f"with the loss {name!r}"
            )

    @property
    def has_unlabeled(self):
        """Whether rows may be unlabelled."""
        return self.unlabeled_class is not None

    def is_unlabeled(self, labels, classes):
        """Return which rows have no label, boolean `(...)`.

        Args:
            labels: Tensor or array as the labels came.
            classes: The class of each row, integers `(...)`.
        """
        if self.sparse is False:
            return ops.max(ops.abs(labels), axis=-1) == 0
        return classes == self.unlabeled_class

    def count_labeled(self, y, logits):
        """Return how many samples or pixels of a batch have a label.

        Args:
            y: Labels as they came.
            logits: The student's, `(batch, ..., num_classes)`.
        """
        labels = self.read(aligned_labels(y, logits), logits)
        return ops.sum(ops.cast(labels.labeled, full_precision_dtype()))

    def read(self, y, logits):
        """Return labels, and which rows count and have a label.

        Args:
            y: Labels as they came, integers or one-hot.
            logits: Tensor `(batch, ..., num_classes)`.

        Returns:
            `Labels`.
        """
        classes = y
        if len(y.shape) == len(logits.shape):
            is_one_hot = y.shape[-1] == logits.shape[-1]
            if y.shape[-1] is None:
                is_one_hot = not self.sparse
            classes = ops.argmax(y, -1) if is_one_hot else y[..., 0]
        classes = ops.cast(classes, "int32")
        valid, labeled, given = mask_of(logits), None, y
        if valid is not None:
            valid = ops.cast(valid, "bool")
        if self.ignore_class is not None:
            counts = classes != self.ignore_class
            valid = counts if valid is None else ops.logical_and(valid, counts)
            classes = ops.where(counts, classes, ops.zeros_like(classes))
        if self.unlabeled_class is not None:
            unlabeled = self.is_unlabeled(y, classes)
            labeled = ops.logical_not(unlabeled)
            if valid is not None:
                labeled = ops.logical_and(labeled, valid)
            classes = ops.where(unlabeled, ops.zeros_like(classes), classes)
            if self.sparse:
                # A class that the loss does not ignore; its weight is 0.
                neutral = int(self.ignore_class == 0)
                unlabeled = ops.reshape(unlabeled, ops.shape(y))
                given = ops.where(unlabeled, ops.full_like(y, neutral), y)
        return Labels(classes, given, valid, labeled)

    def targets(
        self,
        y,
        logits,
        sample_weight,
        loss,
        teacher_logits=None,
        mean_over_replicas=None,
        named_scope=keras.name_scope,
    ):
        """Bring labels, weights and rows into the form that methods take.

        Args:
            y: Labels as they came: integers or one-hot, one a row of the
                logits.
            logits: The student's, `(batch, ..., num_classes)`.
            sample_weight: Weights, one a sample or one a row, or None.
            loss: Function `(labels, logits, weights)` to the scalar
                supervised loss, the labels as they came, the weights one a
                row.
            teacher_logits: The teacher's logits, of the same shape, or None
                where there is none.
            mean_over_replicas: Function of this device's mean and its number
                of samples to the mean of all devices; None with one device.
            named_scope: See `Targets`.

        Returns:
            `Targets`.
        """
        y = aligned_labels(y, logits)
        labels = self.read(y, logits)
        weights = None
        if sample_weight is not None:
            weights = row_weights(sample_weight, logits)
        count = functools.partial(Rows.of, mean_over_replicas)
        valid = count(labels.valid)
        classes, class_rows, labeled = labels.classes, valid, valid
        if labels.labeled is not None:
            labeled = class_rows = count(labels.labeled)
            if teacher_logits is not None:
                teacher_logits = ops.stop_gradient(
                    full_precision(teacher_logits)
                )
                classes, has_class = self._classes_of_teacher(
                    labels, teacher_logits
                )
                class_rows = count(has_class)

        def supervised_loss(logits):
            if labels.labeled is None:
                # On PyTorch, Keras' losses write the mask into the weights.
                own = None if weights is None else ops.copy(weights)
                value = loss(labels.given, logits, own)
            else:
                mask = ops.cast(labels.labeled, full_precision_dtype())
                counted = mask if weights is None else weights * mask
                value = loss(labels.given, logits, counted)
            # Keras takes the mean over this device's rows that it does not
            # ignore; it is to be over the labelled ones of all devices.
            if self.reduction not in ("sum_over_batch_size", "mean"):
                return value
            own = valid.own_fraction
            if labeled.fraction is own:  # None too: there is nothing to mend.
                return value
            own = 1.0 if own is None else own
            return value * ops.divide_no_nan(own, labeled.fraction)

        of_samples = None
        if sample_weight is not None:
            of_samples = _mean_of_samples(sample_weight)
        of_features = of_samples
        if labels.valid is not None:
            # A sample of which all is ignored has no feature to learn either.
            axes = tuple(range(1, len(labels.valid.shape)))
            some = ops.any(labels.valid, axis=axes) if axes else labels.valid
            of_features = count(some).weights(of_samples)
        return Targets(
            labels=classes,
            weights=valid.weights(weights),
            valid=labels.valid,
            supervised_loss=supervised_loss,
            sample_weights=of_samples,
            given_labels=y,
            loss=loss,
            valid_fraction=valid.fraction,
            labeled=labels.labeled,
            has_class=class_rows.mask,
            class_weights=class_rows.weights(weights),
            weights_where=lambda mask: count(mask).weights(weights),
            feature_weights=of_features,
            named_scope=named_scope,
        )

    def _classes_of_teacher(self, labels, teacher_logits):
        """Give unlabelled rows the teacher's class; say which rows have one."""
        guess = ops.cast(ops.argmax(teacher_logits, axis=-1), "int32")
        classes = ops.where(labels.labeled, labels.classes, guess)
        if not self.unlabeled_confidence:
            return classes, labels.valid
        sure = ops.max(ops.softmax(teacher_logits, axis=-1), axis=-1)
        has_class = ops.logical_or(
            labels.labeled, sure >= self.unlabeled_confidence
        )
        if labels.valid is not None:
            has_class = ops.logical_and(has_class, labels.valid)
        return classes, has_class


@dataclasses.dataclass(frozen=True)
class Labels:
    """Labels of one batch, read by the rules.

    Attributes:
        classes: Integers, one a row; 0 where the row has none.
        given: Labels as they came, a class of weight 0 for unlabelled rows.
        valid: Boolean, rows that are not ignored; None for all.
        labeled: Boolean, rows that are not ignored and have a label; None for
            all that are valid.
    """

    classes: object
    given: object
    valid: object
    labeled: object


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows that a term counts, on this device and on all.

    Attributes:
        mask: Boolean tensor, or None for all rows.
        own_fraction: Their fraction of this device's rows; None for all.
        fraction: Their fraction of the rows of all devices; the same object
            with one device.
    """

    mask: object = None
    own_fraction: object = None
    fraction: object = None

    @classmethod
    def of(cls, mean_over_replicas, mask):
        """Count the rows of a boolean mask; None stands for all."""
        if mask is None:
            return cls()
        counted = ops.cast(mask, full_precision_dtype())
        own = fraction = ops.mean(counted)
        if mean_over_replicas is not None:
            fraction = mean_over_replicas(own, ops.shape(counted)[0])
        return cls(mask, own, fraction)

    def weights(self, weights):
        """Return weights whose mean of products is the mean of these rows.

        Args:
            weights: One weight a row, or None.
        """
        if self.mask is None:
            return weights
        counted = ops.divide_no_nan(
            ops.cast(self.mask, full_precision_dtype()), self.fraction
        )
        return counted if weights is None else weights * counted


def single_loss(loss):
    """Return the one loss of what `compile(loss=)` received.

    Args:
        loss: A loss as Keras takes it (object, function or name), or a list
            or dict of one.

    Raises:
        ValueError: If there is none, or several.
    """
    given = loss
    while isinstance(loss, (list, tuple, dict)):
        parts = list(loss.values() if isinstance(loss, dict) else loss)
        if len(parts) != 1:
            raise ValueError(
                "A distiller has one output, the student's logits, and one "
                f"supervised loss. Received: loss={given!r}. Pass one loss; "
                "the method adds its own terms."
            )
        loss = parts[0]
    if loss is None:
        raise ValueError(
            "`compile()` needs the supervised loss. Pass "
            "loss=keras.losses.SparseCategoricalCrossentropy("
            f"from_logits=True). Received: loss={given!r}"
        )
    return loss


def check_unlabeled(unlabeled_class, unlabeled_confidence, teacher, method):
    """Refuse arguments about unlabelled rows that mean nothing.

    Raises:
        ValueError: If the class is no integer, the confidence is not between
            0 and 1 or is given without the class, or there is no teacher.
    """
    check_number(
        minimum=0, maximum=1, unlabeled_confidence=unlabeled_confidence
    )
    if unlabeled_class is None:
        if unlabeled_confidence:
            raise ValueError(
                "`unlabeled_confidence` is about rows without labels. "
                f"Received: unlabeled_confidence={unlabeled_confidence} and "
                "unlabeled_class=None. Say which label these rows have, for "
                "example unlabeled_class=-1."
            )
        return
    if not isinstance(unlabeled_class, Integral) or isinstance(
        unlabeled_class, bool
    ):
        raise ValueError(
            "`unlabeled_class` is the integer that stands for no label, such "
            f"as -1. Received: unlabeled_class={unlabeled_class!r}"
        )
    if teacher is None:
        raise ValueError(
            "Rows without labels learn from the teacher, and "
            f"{type(method).__name__} has none: it can do nothing with them. "
            f"Received: unlabeled_class={unlabeled_class} and teacher=None. "
            "Leave the unlabelled rows out of its data, or use a method with "
            "a teacher."
        )


def row_weights(weights, logits):
    """Return one weight a row of logits, or None.

    Keras' losses put a dimension behind the weights at most: one weight a
    sample would meet the wrong axis of the losses of dense logits.
    """
    if weights is None:
        return None
    weights = ops.cast(weights, full_precision_dtype())
    rank = len(logits.shape) - 1
    if len(weights.shape) > rank:
        weights = ops.squeeze(weights, -1)
    while len(weights.shape) < rank:
        weights = ops.expand_dims(weights, -1)
    return ops.broadcast_to(weights, ops.shape(logits)[:-1])


def aligned_labels(y, outputs):
    """Return labels with the axes of the outputs they are compared with.

    Args:
        y: Labels, one for each row of the outputs.
        outputs: Tensor `(batch, ..., num_outputs)`.

    Raises:
        ValueError: If dense labels have another size than the outputs.
    """
    if getattr(y.shape, "rank", 0) is None:
        # TensorFlow forgets the rank of labels that came in two forms.
        one = outputs.shape[-1] == 1
        return ops.reshape(y, ops.shape(outputs)) if one else y
    size, own = outputs.shape[1:-1], y.shape[1 : len(outputs.shape) - 1]
    if any(None not in pair and pair[0] != pair[1] for pair in zip(size, own)):
        raise ValueError(
            "Dense labels must have the size of the logits, "
            f"{tuple(size)}. Received: labels of size {tuple(own)}. Let the "
            "network resize its logits to the labels' size, or take every "
            "n-th label, labels[:, ::n, ::n]."
        )
    if outputs.shape[-1] == 1 and len(y.shape) == len(outputs.shape) - 1:
        return ops.expand_dims(y, -1)
    return y


def _mean_of_samples(weights):
    """Return one weight a sample, `(batch,)`."""
    weights = ops.cast(weights, full_precision_dtype())
    axes = tuple(range(1, len(weights.shape)))
    return ops.mean(weights, axis=axes) if axes else weights


def copied(weights):
    """Copy weights: on PyTorch, Keras' losses write the mask into theirs."""
    return None if weights is None else ops.copy(weights)


def _arguments(loss):
    """Return what a loss says of the arguments that matter here.

    A loss object by its configuration, or by its attributes where that lacks
    them; a function by the values it is called with.
    """
    said = {}
    function = getattr(loss, "fn", loss)
    while isinstance(function, functools.partial):
        said = {**function.keywords, **said}
        function = function.func
    if isinstance(function, Callable) and inspect.isroutine(function):
        try:
            parameters = inspect.signature(function).parameters
        except (TypeError, ValueError):
            parameters = {}
        for name, parameter in parameters.items():
            if parameter.default is not parameter.empty:
                said.setdefault(name, parameter.default)
    if isinstance(loss, keras.losses.Loss):
        # What it hands to its function: the configuration of Keras' sparse
        # cross-entropy lacks the axis.
        said |= function_arguments(loss)
        for name in _ARGUMENTS:
            if hasattr(loss, name):
                said[name] = getattr(loss, name)
        try:
            said |= loss.get_config()
        except (NotImplementedError, TypeError, AttributeError):
            pass  # A loss of the user's that cannot be saved.
    return {name: said[name] for name in _ARGUMENTS if name in said}


def _names(loss):
    """Return what a loss is called: its classes and its functions."""
    functions = [getattr(loss, "fn", loss)]
    while isinstance(functions[-1], functools.partial):
        functions.append(functions[-1].func)
    names = [getattr(function, "__name__", "") for function in functions]
    names += [kind.__name__ for kind in type(loss).__mro__]
    return [name.lower().replace("_", "") for name in names]


def _crossentropy_name(loss):
    """Return the name that tells the kind of cross-entropy, or None."""
    return next((name for name in _names(loss) if "crossentropy" in name), None)


def _is_one_of(loss, kinds):
    """Whether a loss is of one of Keras' classes, or is its function."""
    if isinstance(loss, kinds):
        return True
    known = {kind.__name__.lower() for kind in kinds}
    module = getattr(getattr(loss, "fn", loss), "__module__", "") or ""
    return module.startswith("keras.") and bool(known & set(_names(loss)))
