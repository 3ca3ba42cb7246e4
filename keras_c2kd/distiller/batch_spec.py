"""Checks of paired batches: bad data raises before it trains."""

import os
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from numbers import Integral
from numbers import Real
from typing import Any

import keras
import numpy as np

from keras_c2kd.distiller.loss_checks import methods_of_any_loss
from keras_c2kd.distiller.used_modalities import UsedModalities
from keras_c2kd.ops import full_precision_dtype
from keras_c2kd.typing import Array
from keras_c2kd.typing import Shape
from keras_c2kd.typing import Tensors
from keras_c2kd.utils.array_batches import as_arrays

# Kinds of numpy's data types; networks that read texts check them themselves.
_WITHOUT_NAN = "biu"
_NUMBERS = "biuf"
_TEXTS = "OSUT"
# By how much probabilities may miss the sum 1: half precision does.
_MOST_ROUNDING = 0.01
EMPTY = (
    "There must be samples. Received: an empty data set, there is nothing to "
    "train on. Check the path, the split, and `drop_remainder` / `drop_last` "
    "with a large batch size."
)


class BatchSpec:
    """What a paired batch must look like, checked in numpy.

    Args:
        required: Modality keys that must be there.
        num_classes: Integer, or None if the logits' shape is not known.
        logits_rank: Rank of the logits, batch axis included, or None.
        logits_size: Height and width of dense logits, None where they are not
            known; empty for one label a sample.
        sparse: Whether the loss takes integer labels. None if not known.
        distributions: Whether one-hot labels are probabilities of one class,
            which are not negative and add up to 1.
        ignore_class: Label that the loss ignores, or None.
        unlabeled_class: Label of samples without one, or None. One-hot labels
            of zeros alone stand for none.
        bare: Whether input that is no dict stands for the one required
            modality.
        min_batch_size: Integer, smaller batches are refused, if they do
            not come last.
        raw: Keys of modalities that are preprocessed after the checks; they
            may be lists, of texts for example.
        interval: Two numbers that the labels lie between where they are
            numbers, one for each output, as a single output has them; None
            where they are classes.
        learn: Function from a batch's inputs to the shape of the logits, or
            None. Called where `num_classes` is not known.
        used: `UsedModalities`, or None if every entry of a batch is used.
        is_checked: Whether batches are checked on their way.
    """

    def __init__(
        self,
        required: Iterable[str],
        num_classes: int | None,
        logits_rank: int | None = 2,
        logits_size: Iterable[int | None] = (),
        sparse: bool | None = None,
        distributions: bool = False,
        ignore_class: int | None = None,
        unlabeled_class: int | None = None,
        bare: bool = False,
        min_batch_size: int = 1,
        raw: Iterable[Any] = (),
        interval: tuple[float, float] | None = None,
        learn: Callable[[Tensors], Shape | None] | None = None,
        used: UsedModalities | None = None,
        is_checked: bool = True,
    ) -> None:
        self.required = tuple(required)
        self.num_classes = num_classes
        self.logits_rank = logits_rank
        self.logits_size = tuple(logits_size)
        self.sparse = sparse
        self.distributions = distributions
        self.ignore_class = ignore_class
        self.unlabeled_class = unlabeled_class
        self.bare = bare
        self.min_batch_size = min_batch_size
        self.raw = tuple(raw)
        self.interval = interval
        self.learn = learn
        self.used = used
        self.is_checked = is_checked
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        # The networks do not go to the processes that load data.
        return {**self.__dict__, "learn": None}

    def check(
        self,
        x: Tensors,
        y: Tensors = None,
        sample_weight: Tensors = None,
        where: str = "the data",
    ) -> int:
        """Raise a ValueError that states rule, value received and fix.

        Returns:
            The number of samples.
        """
        size = self._check_inputs(x, where)
        self._learn_logits(x)
        shape: Shape = (size, *self.logits_size)
        if y is not None:
            labels = _array(y, "labels", where)
            self._check_labels(labels, size, where)
            shape = labels.shape[: len(shape)]
        if sample_weight is not None:
            self._check_weights(sample_weight, shape, where)
        return size

    def _learn_logits(self, x: Tensors) -> None:
        """Learn from inputs what logits the networks give, if need be."""
        if self.num_classes is not None or self.learn is None:
            return
        if self._process != os.getpid():
            return  # A forked process has no accelerator.
        shape = self.learn(x)
        if shape is not None:
            self.num_classes, self.logits_rank = shape[-1], len(shape)
            self.logits_size = tuple(shape[1:-1])

    def class_weight(self, class_weight: Any) -> dict[int, float] | None:
        """Return the weights of classes as Keras takes them, as a dict.

        Args:
            class_weight: Dict from classes to numbers; or a list or an array
                of one number for each class, in their order; or None.

        Raises:
            ValueError: If a list or an array has not one for each class.
        """
        if class_weight is None or isinstance(class_weight, dict):
            return class_weight
        weights = np.asarray(_numpy(class_weight))
        classes = self.num_classes or len(weights)
        if self.interval is not None and classes == 1:
            classes = 2
        if weights.shape != (classes,) or weights.dtype.kind not in _NUMBERS:
            raise ValueError(
                "`class_weight` is a dict from classes to numbers, or a list "
                f"or an array with one for each of the {classes} classes, in "
                f"their order. Received: class_weight={class_weight!r}. For "
                "classes that the labels lack pass a dict: "
                "dict(zip(numpy.unique(labels), weights))."
            )
        return dict(enumerate(weights.tolist()))

    def check_class_weight(
        self, class_weight: Mapping[Any, Any] | None
    ) -> None:
        """Raise a ValueError if classes cannot be weighted like this.

        Args:
            class_weight: Dict from classes to numbers, or None.
        """
        if class_weight is None:
            return
        if self.unlabeled_class is not None and not self.sparse:
            raise ValueError(
                "`class_weight` goes by the class, and one-hot labels of zeros "
                "have none: Keras would give them the weight of class 0. "
                f"Received: class_weight={class_weight!r} with "
                f"unlabeled_class={self.unlabeled_class} and a loss of one-hot "
                "labels. Use integers and SparseCategoricalCrossentropy, or "
                "sample_weight=."
            )
        if self.logits_size:
            raise ValueError(
                "`class_weight` is for one label a sample. Received: "
                f"class_weight={class_weight!r} with dense logits. Pass "
                "sample_weight= an array of the labels' shape."
            )
        number = self.num_classes
        if self.interval is not None:
            if self.interval != (0, 1) or number not in (1, None):
                raise ValueError(
                    "`class_weight` is for one class a sample. Received: "
                    f"class_weight={class_weight!r} with a loss that compares "
                    "numbers. Pass sample_weight=."
                )
            number = 2  # One logit tells two classes apart.
        # How many classes a subclassed network has may not be known.
        integers = [int(k) for k in class_weight if isinstance(k, Integral)]
        classes = range(number or max(integers, default=0) + 1)
        if any(
            key not in classes or not 0 <= value < float("inf")
            for key, value in class_weight.items()
        ):
            raise ValueError(
                f"`class_weight` maps classes, from 0 to {len(classes) - 1}, "
                "to finite numbers that are not negative. Received: "
                f"class_weight={class_weight!r}"
            )

    def check_batch_size(self, size: int) -> None:
        """Raise a ValueError if batches of a size are too small."""
        if size < self.min_batch_size:
            raise ValueError(
                "The method relates the samples of a batch and needs at least "
                f"{self.min_batch_size} of them. Received: batches of "
                f"{size}. Use a larger batch size."
            )

    def _check_inputs(self, x: Tensors, where: str) -> int:
        if not isinstance(x, dict):
            if not self.bare:
                raise ValueError(
                    "A paired batch is a dict keyed by modality, with the keys "
                    f"{list(self.required)}. Received in {where}: "
                    f"{type(x).__name__}. Pass ({{"
                    + ", ".join(f"{key!r}: ..." for key in self.required)
                    + "}, labels)."
                )
            x = {self.required[0]: x}
        missing = [key for key in self.required if key not in x]
        if missing and not (self.bare and not set(self.required) & set(x)):
            raise ValueError(
                f"The batch lacks the modality {missing}. Received in "
                f"{where}: keys {sorted(map(str, x))}; needed: "
                f"{list(self.required)}. Rename the key of the batch or set "
                "`student_modality` / `teacher_modality`."
            )
        sizes = {}
        for key, value in x.items():
            what = f"modality {key!r}"
            if key in self.raw:
                value = as_arrays(value)
            for path, leaf in keras.tree.flatten_with_path(value):
                leaf = _array(leaf, what, where, texts=True)
                _check_finite(leaf, what, where)
                sizes["/".join(map(str, (key, *path)))] = len(leaf)
        if len(set(sizes.values())) > 1:
            raise ValueError(
                "Paired modalities must have the same number of samples. "
                f"Received in {where}: {sizes}. Pair them sample by sample; "
                "single samples must be put into batches, as dataset.batch(32)."
            )
        size = next(iter(sizes.values()), 0)
        if size == 0:
            raise ValueError(EMPTY)
        return size

    def _check_weights(
        self, weights: Tensors, whole: Shape, where: str
    ) -> None:
        """Check sample weights for labels of a whole shape."""
        weights = _array(weights, "sample_weight", where)
        _check_finite(weights, "sample_weight", where)
        shape = weights.shape
        if len(shape) == len(whole) + 1 and shape[-1] == 1:
            shape = shape[:-1]
        single = (*whole[:1], *(1 for _ in shape[1:]))
        if shape not in (single, whole) or len(shape) > len(whole):
            raise ValueError(
                "There is one sample weight a sample"
                + (f" or a pixel, {whole}" if whole[1:] else "")
                + f". Received in {where}: weights of shape {weights.shape} "
                f"for {whole[0]} samples."
            )
        if (weights < 0).any():
            sample = int(np.argwhere(weights < 0)[0][0])
            raise ValueError(
                "A sample weight says how much a sample counts and is not "
                f"negative. Received in {where}: {weights[sample].min()} for "
                f"sample {sample}."
            )

    def _check_labels(self, labels: Array, size: int, where: str) -> None:
        if labels.ndim and labels.shape[0] != size:
            raise ValueError(
                "There must be one label a sample. Received in "
                f"{where}: {labels.shape[0]} labels for {size} samples."
            )
        if self.interval is not None or self.num_classes == 1:
            self._check_numbers(labels, where)
            return
        if self.logits_rank is None or self.num_classes is None:
            return
        rank, classes = self.logits_rank, self.num_classes
        one_hot = labels.ndim == rank and labels.shape[-1] == classes
        column = labels.ndim == rank and labels.shape[-1] == 1
        integer = labels.ndim == rank - 1 or (column and classes > 1)
        if not (one_hot or integer) or self.sparse == one_hot:
            wanted = {
                True: "integers, one a sample",
                False: f"one-hot vectors of {classes} numbers",
                None: f"integers, or one-hot vectors of {classes} numbers",
            }[self.sparse]
            raise ValueError(
                f"The loss takes labels as {wanted} (logits of rank {rank}). "
                f"Received in {where}: labels of shape {labels.shape}. Choose "
                "between SparseCategoricalCrossentropy (integers) and "
                "CategoricalCrossentropy (one-hot)."
            )
        self._check_label_size(labels, rank, where)
        if one_hot:
            _check_finite(labels, "labels", where)
            self._check_distributions(labels, where)
            return
        wrong = (labels < 0) | (labels >= classes)
        wrong |= labels != np.floor(labels)
        for allowed in (self.ignore_class, self.unlabeled_class):
            if allowed is not None:
                wrong &= labels != allowed
        if wrong.any():
            raise ValueError(
                f"Labels must be integers from 0 to {classes - 1}. Received "
                f"in {where}: {_example(labels, wrong)}. Labels that are to be "
                "ignored need SparseCategoricalCrossentropy(ignore_class=...); "
                "samples without a label, from which the student learns the "
                "teacher's view, CrossModalDistiller(unlabeled_class=...)."
            )

    def _check_label_size(self, labels: Array, rank: int, where: str) -> None:
        size = labels.shape[1 : rank - 1]
        if any(
            own not in (None, given)
            for own, given in zip(self.logits_size, size)
        ):
            raise ValueError(
                "Dense labels must have the size of the logits, "
                f"{self.logits_size}. Received in {where}: labels of size "
                f"{size}. Let the network resize its logits to the labels' "
                "size, or take every n-th label, labels[:, ::n, ::n]."
            )

    def _check_numbers(self, labels: Array, where: str) -> None:
        """Check labels that are numbers, one for each output."""
        _check_finite(labels, "labels", where)
        rank, outputs = self.logits_rank, self.num_classes
        if rank is not None and outputs is not None:
            whole = labels.ndim == rank and labels.shape[-1] == outputs
            if not whole and not (outputs == 1 and labels.ndim == rank - 1):
                raise ValueError(
                    "The loss compares numbers: there must be a label for "
                    f"each output, {outputs} a sample or pixel (outputs of "
                    f"rank {rank}). Received in {where}: labels of shape "
                    f"{labels.shape}."
                )
            self._check_label_size(labels, rank, where)
        if self.interval is None:
            return
        lowest, highest = self.interval
        wrong = (labels < lowest) | (labels > highest)
        if wrong.any():
            raise ValueError(
                f"Labels of this loss must be from {lowest} to {highest}. "
                f"Received in {where}: {_example(labels, wrong)}."
            )

    def _check_distributions(self, labels: Array, where: str) -> None:
        if not self.distributions:
            return
        labels = labels.astype(full_precision_dtype())
        sums = labels.sum(axis=-1)
        wrong = (labels < 0).any(axis=-1) | (abs(sums - 1) > _MOST_ROUNDING)
        if self.unlabeled_class is not None:
            wrong &= (labels != 0).any(axis=-1)
        if wrong.any():
            raise ValueError(
                "One-hot labels are probabilities of the classes, not negative "
                f"and with the sum 1. Received in {where}: "
                f"{_example(labels, wrong)}. Labels "
                "that are to be ignored need "
                "SparseCategoricalCrossentropy(ignore_class=...); zeros alone, "
                "for no label, CrossModalDistiller(unlabeled_class=-1); "
                "several classes a sample can be trained by "
                f"{methods_of_any_loss()}."
            )

    def take(self, batch: Tensors, where: str = "a batch") -> Tensors:
        """Return a batch without what is not used, checked if that is asked.

        Args:
            batch: `x`, `(x, y)` or `(x, y, sample_weight)`.
            where: String that names the batch in errors.
        """
        if self.used is not None:
            batch = self.used.of_batch(batch)
        if self.is_checked:
            self.check_batch(batch, where)
        return batch

    def check_batch(self, batch: Tensors, where: str = "a batch") -> None:
        """Check `x`, `(x, y)` or `(x, y, sample_weight)`."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        if isinstance(y, Real) or getattr(y, "shape", None) == ():
            raise ValueError(
                "Data come in batches, with the samples along the first axis. "
                f"Received in {where}: a single sample, with the label "
                f"{y!r}. Batch them: dataset.batch(32) of a tf.data set, "
                "batch_size=32 of a DataLoader."
            )
        size = self.check(x, y, sample_weight, where)
        if y is None:
            raise ValueError(
                "A paired batch comes with labels: (inputs, labels) or "
                "(inputs, labels, sample_weight). Received in "
                f"{where}: inputs alone."
            )
        if where == "batch 0":
            self.check_batch_size(size)


def _numpy(tensor: Any) -> Array:
    """Return a numpy view of an array-like."""
    if isinstance(tensor, np.ndarray):
        return tensor
    if hasattr(tensor, "shape"):
        return keras.ops.convert_to_numpy(tensor)
    return np.asarray(tensor)


def _array(tensor: Any, what: str, where: str, texts: bool = False) -> Array:
    """Return a numpy view of an array of real numbers, or of texts too."""
    if not getattr(tensor, "shape", ()):
        raise ValueError(
            f"The {what} must be an array, one entry a sample, or a dict of "
            f"such arrays. Received in {where}: {type(tensor).__name__}."
        )
    array = _numpy(tensor)
    kinds = _NUMBERS + _TEXTS if texts else _NUMBERS
    if array.dtype.kind not in kinds and array.dtype.name != "bfloat16":
        raise ValueError(
            f"The {what} must be real numbers. Received in {where}: an array "
            f"of {array.dtype}."
        )
    return array


def _example(labels: Array, wrong: Array) -> str:
    """Return, in words, the first of the wrong labels and their number."""
    position = tuple(np.argwhere(wrong)[0])
    return (
        f"{labels[position]} at sample {position[0]} "
        f"({int(wrong.sum())} such labels)"
    )


def _check_finite(array: Array, what: str, where: str) -> None:
    if array.dtype.kind in _WITHOUT_NAN + _TEXTS:
        return
    # Half precision could not hold the sum, and training not what exceeds
    # its own precision.
    with np.errstate(over="ignore", invalid="ignore"):
        array = array.astype(full_precision_dtype(), copy=False)
        if np.isfinite(np.sum(array)):
            return
    finite = np.isfinite(array).reshape(len(array), -1).all(axis=1)
    if finite.all():
        return  # The sum overflowed, the values are fine.
    samples = np.flatnonzero(~finite)
    raise ValueError(
        f"Inputs must be finite. Received in {where}: NaN or infinity in "
        f"{what} of sample {samples[0]}"
        + (f" and of {len(samples) - 1} others." if len(samples) > 1 else ".")
        + f" Remove or repair these samples; {full_precision_dtype()} holds "
        f"numbers up to {np.finfo(full_precision_dtype()).max:.1e}."
    )
