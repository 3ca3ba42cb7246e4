"""Arrays in memory as batches, each made when it is needed."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_c2kd.typing import Array
from keras_c2kd.typing import Tensors


class ArrayBatches(keras.utils.PyDataset):
    """Batches of arrays, shuffled in the same way in every process.

    Args:
        x: Array, list of texts, or a dict or tuple of them.
        y: Labels, or None.
        sample_weight: Weights, or None.
        batch_size: Integer.
        shuffle: Whether samples are shuffled, anew in each epoch.
    """

    def __init__(
        self,
        x: Tensors,
        y: Tensors,
        sample_weight: Tensors,
        batch_size: int,
        shuffle: bool,
    ) -> None:
        super().__init__()
        given: tuple[Tensors, ...] = (x, y, sample_weight)
        while given[-1] is None:
            given = given[:-1]
        self._arrays = as_arrays(given)
        self._size = len(keras.tree.flatten(self._arrays)[0])
        self._batch_size = batch_size
        self._shuffle = shuffle
        if shuffle:
            # What `keras.utils.set_random_seed` set, equal in all processes.
            self._random = np.random.default_rng(np.random.randint(2**31))
        self._order = np.arange(self._size)
        self.on_epoch_end()

    def __len__(self) -> int:
        return -(-self._size // self._batch_size)

    def __getitem__(self, index: int) -> Tensors:
        samples = self._order[index * self._batch_size :][: self._batch_size]
        return map_arrays(lambda array: array[samples], self._arrays)

    def on_epoch_end(self) -> None:
        """Shuffle the samples anew."""
        if self._shuffle:
            self._order = self._random.permutation(self._size)


class WrappedPyDataset(keras.utils.PyDataset):
    """A PyDataset whose batches are made from those of another one.

    Subclasses implement `__getitem__`.

    Args:
        dataset: `keras.utils.PyDataset`, read by as many workers as itself.
        use_multiprocessing: Whether the workers may be processes.
    """

    def __init__(
        self, dataset: keras.utils.PyDataset, use_multiprocessing: bool = True
    ) -> None:
        super().__init__(
            workers=dataset.workers,
            use_multiprocessing=(
                use_multiprocessing and dataset.use_multiprocessing
            ),
            max_queue_size=dataset.max_queue_size,
        )
        self._dataset = dataset

    @property
    def num_batches(self) -> int | None:
        """Number of batches of the data set, None if it is endless."""
        return self._dataset.num_batches

    def __len__(self) -> int:
        return len(self._dataset)

    def on_epoch_begin(self) -> None:
        """Begin an epoch of the data set."""
        self._dataset.on_epoch_begin()

    def on_epoch_end(self) -> None:
        """End an epoch of the data set."""
        self._dataset.on_epoch_end()


def as_arrays(data: Tensors) -> Tensors:
    """Return numpy views of array-likes, in the same dicts and tuples.

    A list is one array, of texts for example, as it is in KerasHub.
    """
    return map_arrays(as_array, data)


def as_array(data: Any) -> Array:
    """Return a numpy view of an array-like; texts keep their own lengths."""
    if isinstance(data, np.ndarray):
        return data
    if hasattr(data, "shape"):
        return keras.ops.convert_to_numpy(data)
    array = np.asarray(data)
    return array.astype(object) if array.dtype.kind in "US" else array


def split(
    arrays: tuple[Tensors, ...], validation_split: float
) -> tuple[tuple[Tensors, ...], tuple[Tensors, ...]]:
    """Divide arrays into the first ones, and the last ones for validation.

    Args:
        arrays: Tuple of inputs, labels and weights; absent ones are None.
        validation_split: Float, the fraction that the last ones are.

    Returns:
        Two tuples of the same form.

    Raises:
        ValueError: If one of the two would have no samples.
    """
    arrays = as_arrays(arrays)
    size = len(keras.tree.flatten(arrays)[0])
    boundary = int(np.floor(size * (1.0 - validation_split)))
    if not 0 < boundary < size:
        raise ValueError(
            "`validation_split` leaves samples to train on and samples to "
            f"validate on. Received: validation_split={validation_split} of "
            f"{size} samples."
        )
    return (
        map_arrays(lambda array: array[:boundary], arrays),
        map_arrays(lambda array: array[boundary:], arrays),
    )


def map_arrays(function: Callable[[Any], Any], data: Tensors) -> Tensors:
    """Apply a function to the leaves of dicts and tuples; None stays."""
    if isinstance(data, dict):
        return {k: map_arrays(function, value) for k, value in data.items()}
    if isinstance(data, tuple):
        return tuple(map_arrays(function, value) for value in data)
    return None if data is None else function(data)


def rows_of(size: int, index: int, count: int, batch: int) -> slice:
    """Return the slice of one process of a batch of so many samples.

    Raises:
        ValueError: If there are fewer samples than processes.
    """
    if size < count:
        raise ValueError(
            "Every batch must have at least a sample for each process. "
            f"Received: batch {batch} of {size} samples for {count} "
            "processes. Choose another batch size."
        )
    begin, end = (size * number // count for number in (index, index + 1))
    return slice(begin, end)
