"""Batches that depend on the seed, the epoch and the sample alone."""

import copy
import functools
import hashlib
import threading
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any
from typing import Self

import keras
import numpy as np
from numpy.typing import NDArray

from keras_c2kd.data.fingerprints import hash_arrays
from keras_c2kd.data.read_ahead import ReadAhead
from keras_c2kd.utils.argument_checks import check_integer
from keras_c2kd.utils.array_batches import rows_of

# Inputs by modality, and labels.
Batch = tuple[dict[str, Any], NDArray[Any]]

# Behind a modality's name: the key of its second view.
SECOND_VIEW = "_second_view"

# Label of what has none.
UNLABELED = -1

# Samples that are read at a time where no batch is asked for.
_SAMPLES_AT_ONCE = 64

# Nobody holds it for longer than it takes to look what is read ahead.
_LOOKING = threading.Lock()


class EpochDataset(keras.utils.PyDataset):
    """Batches of indexed samples, drawn anew in each epoch of training.

    Training is shuffled, and augmented by subclasses, from the seed, the
    epoch and the sample alone: the batches do not depend on the number of
    workers, nor on what was read before. Evaluation is the same every time.
    Keras' `fit` shuffles the order of batches once more, from Python's global
    generator, unless it is called with `shuffle=False`.

    A subclass implements `size` and `batch`. It may override `labels` and
    `fingerprint`, whose defaults read every sample, `select`, whose default
    reads what it then leaves out, and `prepare` if there is something to do
    before training. What `batch` draws comes from `random_of`.

    Args:
        batch_size: Integer. Defaults to `64`.
        training: Whether to shuffle and augment. Defaults to `False`.
        seed: Integer. Defaults to `0`.
        workers: Integer, threads that read batches; several read ahead, as
            long as batches are asked for in their order (`shuffle=False`).
            Defaults to `1`.
        max_queue_size: Integer, batches that several threads read ahead at
            most. Defaults to `10`.
        use_multiprocessing: Must be `False`.

    Attributes:
        threads: Integer, the `workers` above. Keras itself uses one worker:
            its own queue would go on with batches of an earlier epoch.
        epoch: Integer, which the batches of training depend on. It counts the
            epochs that have ended, and Keras' look at the first batch before
            training may count as one: with `FollowEpochs` among the callbacks
            it is Keras' own number, in an interrupted run that goes on too.

    Raises:
        ValueError: If the batch size is not positive, or worker processes are
            asked for.

    Example:
    >>> class Squares(EpochDataset):
    ...     size = 10
    ...
    ...     def batch(self, indices):
    ...         return {"number": indices}, indices**2
    >>> squares = Squares(batch_size=4)
    >>> len(squares), squares[2]
    (3, ({'number': array([8, 9])}, array([64, 81])))
    """

    _known_labels: NDArray[Any] | None = None

    # Nothing is read ahead until several threads read.
    _ahead: tuple[dict[str, Any], tuple[int, ...], ReadAhead] | None = None

    def __init__(
        self,
        batch_size: int = 64,
        training: bool = False,
        seed: int = 0,
        workers: int = 1,
        max_queue_size: int = 10,
        use_multiprocessing: bool = False,
    ) -> None:
        super().__init__(max_queue_size=max_queue_size)
        if use_multiprocessing:
            raise ValueError(
                "Keras' worker processes go on with batches of an earlier "
                "epoch, and with JAX they hang. Received: "
                "use_multiprocessing=True. Use threads: workers=2."
            )
        if batch_size < 1:
            raise ValueError(
                "A batch has at least one sample. Received: "
                f"batch_size={batch_size}"
            )
        self.batch_size = batch_size
        self.training = training
        self.seed = seed
        self.threads = workers
        self.epoch = 0
        self._rows: NDArray[np.int64] | None = None
        self._steps: int | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave what is read ahead out of copies."""
        return {k: v for k, v in vars(self).items() if k != "_ahead"}

    @property
    def workers(self) -> int:
        """Workers that Keras starts, `1`; setting it sets `threads`."""
        return 1

    @workers.setter
    def workers(self, value: int) -> None:
        self.threads = value

    @property
    def size(self) -> int:
        """Number of samples."""
        raise NotImplementedError

    def batch(self, indices: Sequence[int] | NDArray[Any]) -> Batch:
        """Return `(inputs, labels)` of some samples, in the given order."""
        raise NotImplementedError

    @property
    def labels(self) -> NDArray[Any]:
        """Labels of all samples, an array `(size, ...)`.

        By default every sample is read for it, inputs and all, each time; a
        subclass that knows them assigns them.
        """
        if self._known_labels is not None:
            return self._known_labels
        return self._read_labels()

    @labels.setter
    def labels(self, labels: NDArray[Any]) -> None:
        self._known_labels = labels

    def _read_labels(self) -> NDArray[Any]:
        return np.concatenate([labels for _, labels in self._evaluated()])

    def fingerprint(self) -> str:
        """Return a short string that other samples would not have.

        By default a hash of all inputs and labels as evaluation sees them.
        """
        digest = hashlib.sha256()
        for batch in self._evaluated():
            hash_arrays(digest, batch)
        return digest.hexdigest()[:16]

    def _evaluated(self) -> Iterator[Batch]:
        """Yield all samples in their order, in batches of one size."""
        dataset = self.evaluation()
        rows = np.arange(self.size)
        for start in range(0, self.size, _SAMPLES_AT_ONCE):
            yield dataset.batch(rows[start : start + _SAMPLES_AT_ONCE])

    def select(
        self, modalities: Sequence[str], second_view: str | None = None
    ) -> "EpochDataset":
        """Return the same samples with other inputs in the batches.

        Args:
            modalities: Sequence of modalities.
            second_view: A modality of which every batch also has a second
                view, under its name with `_second_view` behind, as
                `methods.DLB` wants it; or None (default). It is the same view
                unless a subclass draws another one.

        Returns:
            `EpochDataset`.

        Raises:
            ValueError: If there is no such modality.
        """
        return _Selected(self, modalities, second_view)

    def labeled(
        self, steps: int | None = None, unlabeled_class: int = UNLABELED
    ) -> Self:
        """Return a copy whose batches have the labelled samples alone.

        With `steps`, an epoch of training has exactly so many batches of the
        full size, which go through the labelled samples again and again, in a
        new order and with new draws each time: a baseline on few labels can
        be trained with as many updates as a network that sees all samples.
        Its samples keep their numbers: `size` and `labels` stay as they are.
        Call `prepare` before.

        Args:
            steps: Integer, number of batches of an epoch, or None (default)
                for one pass over the samples.
            unlabeled_class: Integer, the label of what has none; a sample
                with many labels is unlabelled if all are. One-hot labels,
                which are floats, are then all zero. Defaults to `-1`.

        Returns:
            `EpochDataset`.

        Raises:
            ValueError: If no sample has a label, or `steps` is not positive.
        """
        if steps is not None:
            check_integer(minimum=1, steps=steps)
        order = self._order()
        rows = order[is_labeled(self.labels, unlabeled_class)[order]]
        if not len(rows):
            raise ValueError(
                "Some samples must have a label. Received: none of "
                f"{len(order)}, with unlabeled_class={unlabeled_class}. Label "
                "some, or name the class that stands for none."
            )
        other = copy.copy(self)
        other._rows, other._steps = rows, steps
        return other

    def prepare(
        self, max_missing_fraction: float = 0.01, verbose: int = 1
    ) -> list[dict[str, str]]:
        """Read what is slow to read; return what had to be left out.

        Args:
            max_missing_fraction: Float, of the samples that may be left
                out.
            verbose: `1` (default) for a progress bar, `0` for silence.

        Returns:
            List of dicts with `name` and `reason`.
        """
        return []

    def __len__(self) -> int:
        if self._steps is not None:
            return self._steps
        return -(-len(self._order()) // self.batch_size)

    def __getitem__(self, index: int) -> Batch:
        return self._read(index)

    def share(self, index: int, process: int, processes: int) -> Batch:
        """Return the samples of a batch that one of several processes reads.

        Args:
            index: Integer, the batch's.
            process: Integer, the process'.
            processes: Integer, their number.

        Raises:
            ValueError: If there are fewer samples than processes.
        """
        return self._read(index, process, processes)

    def _read(self, index: int, *part: int) -> Batch:
        """Return a batch, or the part of one of several processes."""
        if self.threads < 2:
            return self._read_now(part, index)
        with _LOOKING:
            ahead = self._read_ahead(part)
        return ahead.take(index)

    def _read_now(self, part: tuple[int, ...], index: int) -> Batch:
        passes, indices = self._drawn(index)
        if part:
            process, processes = part
            rows = rows_of(len(indices), process, processes, index)
            passes, indices = passes[rows], indices[rows]
        if self._steps is None:
            return self.batch(indices)
        batches = []
        for number in np.unique(passes):
            # Each pass over the samples draws as an epoch of its own.
            dataset = copy.copy(self)
            dataset.epoch = int(number)
            batches.append(dataset.batch(indices[passes == number]))
        return keras.tree.map_structure(
            lambda *arrays: np.concatenate(arrays), *batches
        )

    def _read_ahead(self, part: tuple[int, ...]) -> ReadAhead:
        """Return the threads that read for the data set as it is now."""
        now = self.__getstate__()
        if self._ahead is not None:
            before, part_before, ahead = self._ahead
            if (
                part == part_before
                and now.keys() == before.keys()
                and all(now[name] is before[name] for name in now)
            ):
                return ahead
            ahead.stop()
        # A copy, whose epoch stays as it is while threads read.
        read = functools.partial(copy.copy(self)._read_now, part)
        ahead = ReadAhead(read, len(self), self.threads, self.max_queue_size)
        self._ahead = now, part, ahead
        return ahead

    def _drawn(self, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the samples of a batch, and which pass each belongs to."""
        first = index * self.batch_size
        if self._steps is None:
            rows = self._order_in(self.epoch)[first:][: self.batch_size]
            return np.full(len(rows), self.epoch), rows
        # A pass goes on in the next epoch: no sample is seen more often.
        first += self.epoch * self._steps * self.batch_size
        passes, positions = np.divmod(
            first + np.arange(self.batch_size), len(self._order())
        )
        rows = np.concatenate(
            [
                self._order_in(number)[positions[passes == number]]
                for number in np.unique(passes)
            ]
        )
        return passes, rows

    def _order_in(self, number: int) -> NDArray[np.int64]:
        """Return the samples in the order of a pass over them."""
        order = self._order()
        if self.training:
            random = np.random.default_rng([self.seed, number])
            order = random.permutation(order)
        return order

    def random_of(self, *numbers: int) -> np.random.Generator | None:
        """Return a generator for a part of the current epoch; or None.

        Args:
            *numbers: Non-negative integers that tell what is drawn, such as
                the sample's index.

        Returns:
            Numpy generator in training, `None` in evaluation.
        """
        if not self.training:
            return None
        return np.random.default_rng(
            [self.seed, self.epoch, *(int(number) for number in numbers)]
        )

    def on_epoch_end(self) -> None:
        """Shuffle and augment differently from now on."""
        self.epoch += 1

    def evaluation(self, largest: int | None = None) -> Self:
        """Return the same samples in their order, without augmentation.

        Args:
            largest: Integer: of more samples, so many are drawn, the same
                ones every time. `None` (default) for all.

        Returns:
            `EpochDataset`.
        """
        other = copy.copy(self)
        other.training = False
        other._steps = None
        order = self._order()
        if largest is not None and largest < len(order):
            drawn = np.random.default_rng(0).permutation(order)[:largest]
            other._rows = np.sort(drawn)
        return other

    def _order(self) -> NDArray[np.int64]:
        return np.arange(self.size) if self._rows is None else self._rows


class _Selected(EpochDataset):
    """Some inputs of any data set.

    Args:
        dataset: `EpochDataset`.
        modalities: Sequence of modalities.
        second_view: A modality, or None.
    """

    def __init__(
        self,
        dataset: EpochDataset,
        modalities: Sequence[str],
        second_view: str | None,
    ) -> None:
        super().__init__(
            batch_size=dataset.batch_size,
            training=dataset.training,
            seed=dataset.seed,
            workers=dataset.threads,
            max_queue_size=dataset.max_queue_size,
        )
        self.epoch = dataset.epoch
        self._rows, self._steps = dataset._rows, dataset._steps
        self._dataset = dataset
        self._keys = {name: name for name in modalities}
        if second_view is not None:
            self._keys[second_view + SECOND_VIEW] = second_view
        known, _ = dataset.evaluation().batch([0])
        check_modalities(known, self._keys.values())

    @property
    def size(self) -> int:
        """Number of samples."""
        return self._dataset.size

    def _read_labels(self) -> NDArray[Any]:
        return self._dataset.labels

    def batch(self, indices: Sequence[int] | NDArray[Any]) -> Batch:
        """Return `(inputs, labels)` of some samples."""
        dataset = copy.copy(self._dataset)
        dataset.training, dataset.seed = self.training, self.seed
        dataset.epoch = self.epoch
        inputs, labels = dataset.batch(indices)
        return {key: inputs[name] for key, name in self._keys.items()}, labels

    def prepare(
        self, max_missing_fraction: float = 0.01, verbose: int = 1
    ) -> list[dict[str, str]]:
        """Prepare the data set itself."""
        return self._dataset.prepare(max_missing_fraction, verbose)


def is_labeled(
    labels: NDArray[Any], unlabeled_class: int = UNLABELED
) -> NDArray[np.bool_]:
    """Return which samples have a label, a boolean array `(samples,)`.

    Args:
        labels: Array `(samples, ...)`: integers, or floats that are one-hot.
        unlabeled_class: Integer, the label of what has none.
    """
    is_one_hot = labels.ndim > 1 and labels.dtype.kind == "f"
    given = labels != (0 if is_one_hot else unlabeled_class)
    return given.reshape(len(labels), -1).any(axis=1)


def hide_labels(
    labels: NDArray[np.int64],
    keep: int,
    seed: int | Sequence[int] = 0,
) -> NDArray[np.int64]:
    """Return labels of which so many of each class stay, the others are -1.

    For experiments with few labels on data that have them all.

    Args:
        labels: Integers `(samples,)`, none of them -1.
        keep: Integer from 1 on, samples of each class that keep their label.
        seed: Integer, or sequence of them, that draws which. Defaults to `0`.

    Returns:
        Array like `labels`.

    Raises:
        ValueError: If a class has fewer samples.

    Example:
    >>> hidden = hide_labels(np.array([0, 1, 0, 1, 0, 0]), keep=1)
    >>> sorted(hidden.tolist())
    [-1, -1, -1, -1, 0, 1]
    """
    check_integer(minimum=1, keep=keep)
    random = np.random.default_rng(seed)
    few = np.full_like(labels, UNLABELED)
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        if len(own) < keep:
            raise ValueError(
                f"Every class needs {keep} samples. Received: {len(own)} of "
                f"class {label}. Take a lower `keep`."
            )
        few[random.permutation(own)[:keep]] = label
    return few


def check_modalities(known: Iterable[str], wanted: Iterable[str]) -> None:
    """Raise a ValueError for modalities that a data set does not have.

    Args:
        known: The data set's modalities.
        wanted: Those that are asked for.
    """
    if unknown := sorted(set(wanted) - set(known)):
        raise ValueError(
            f"The modalities are {sorted(known)}. Received: {unknown}. Select "
            "some of these."
        )


class FollowEpochs(keras.callbacks.Callback):
    """Gives an `EpochDataset` the number of the epoch that begins.

    With it, `fit(..., initial_epoch=30, shuffle=False)` trains on the batches
    that the 31st epoch of an uninterrupted run has.

    Args:
        dataset: `EpochDataset` that is trained on.

    Example:
    >>> inputs = {"audio": np.ones((8, 2))}
    >>> data = PairedArrays(inputs, np.arange(8), training=True)
    >>> follow = FollowEpochs(data)
    >>> follow.on_epoch_begin(30)  # As `fit(..., initial_epoch=30)` calls it.
    >>> data.epoch
    30
    """

    def __init__(self, dataset: EpochDataset) -> None:
        super().__init__()
        self.dataset = dataset

    def on_epoch_begin(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Set the number, before the first batch is read."""
        self.dataset.epoch = epoch
