"""Batches that depend on the seed, the epoch and the sample alone."""

import copy
import functools
import threading
from collections.abc import Sequence
from typing import Any
from typing import Self

import keras
import numpy as np
from numpy.typing import NDArray

from keras_c2kd.data.read_ahead import ReadAhead
from keras_c2kd.utils.array_batches import rows_of

# Inputs by modality, and labels.
Batch = tuple[dict[str, Any], NDArray[Any]]

# Nobody holds it for longer than it takes to look what is read ahead.
_LOOKING = threading.Lock()


class EpochDataset(keras.utils.PyDataset):
    """Batches of indexed samples, drawn anew in each epoch of training.

    Training is shuffled, and augmented by subclasses, from the seed, the
    epoch and the sample alone: the batches do not depend on the number of
    workers, nor on what was read before. Evaluation is the same every time.
    Keras' `fit` shuffles the order of batches once more, from Python's global
    generator, unless it is called with `shuffle=False`.

    A subclass implements `size`, `batch` and `fingerprint`, and `prepare` if
    there is something to do before training.

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

    def fingerprint(self) -> str:
        """Return a short string that other samples would not have."""
        raise NotImplementedError

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
        indices = self._indices(index)
        if part:
            process, processes = part
            rows = rows_of(len(indices), process, processes, index)
            indices = indices[rows]
        return self.batch(indices)

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

    def _indices(self, index: int) -> NDArray[np.int64]:
        """Return the samples of a batch."""
        order = self._order()
        if self.training:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(
                order
            )
        return order[index * self.batch_size :][: self.batch_size]

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
        if largest is not None and largest < self.size:
            drawn = np.random.default_rng(0).permutation(self.size)[:largest]
            other._rows = np.sort(drawn)
        return other

    def _order(self) -> NDArray[np.int64]:
        return np.arange(self.size) if self._rows is None else self._rows


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
