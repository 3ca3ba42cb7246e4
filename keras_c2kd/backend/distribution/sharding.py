"""The rows of each batch that one of several processes trains on."""

import hashlib

import keras
import numpy as np

from keras_c2kd.backend import distribution
from keras_c2kd.utils.array_batches import ArrayBatches
from keras_c2kd.utils.array_batches import WrappedPyDataset
from keras_c2kd.utils.array_batches import rows_of


def shard(x, y=None, sample_weight=None, batch_size=32, shuffle=True):
    """Return this process' share of the data given to `fit`.

    Every batch of the whole is divided among the processes in its order, so
    that together they train on what one process would, each sample once.

    Args:
        x: Arrays, a `PyDataset` or a torch `DataLoader`.
        y: Labels of arrays.
        sample_weight: Weights of arrays, or None.
        batch_size: Integer, of arrays: that of all processes together.
        shuffle: Whether arrays are shuffled, anew in each epoch.

    Returns:
        The data source, as it is with one process.

    Raises:
        ValueError: If the source cannot be divided; if it is not the same in
            all processes; by a batch with fewer samples than processes.
    """
    index, count = distribution.processes()
    if count == 1:
        return x
    if y is not None:
        x = ArrayBatches(x, y, sample_weight, batch_size, shuffle)
    if isinstance(x, keras.utils.PyDataset):
        distribution.check_equal(
            _digest(x[0]) if len(x) else "empty",
            "Each process takes its rows of the same batches. Give the data "
            "set the same seed in every process.",
        )
        return _Shard(x, index, count)
    sampler = getattr(x, "sampler", None)
    if type(sampler).__name__ == "DistributedSampler":
        return x
    raise ValueError(
        "With several processes each trains on its share of the data: give "
        "arrays, a PyDataset, or a torch DataLoader with a "
        "DistributedSampler (whose batches are those of one process). "
        f"Received: {type(x).__name__}"
    )


class _Shard(WrappedPyDataset):
    """The rows of one process of the batches of a data set."""

    def __init__(self, dataset, index, count):
        super().__init__(dataset)
        self._index, self._count = index, count

    def __getitem__(self, batch):
        if hasattr(self._dataset, "share"):
            return self._dataset.share(batch, self._index, self._count)
        whole = self._dataset[batch]
        size = len(keras.tree.flatten(whole)[0])
        rows = rows_of(size, self._index, self._count, batch)
        return keras.tree.map_structure(lambda array: array[rows], whole)


def _digest(batch):
    """Return a short string that another batch would not have."""
    digest = hashlib.sha256()
    for leaf in keras.tree.flatten(batch):
        if leaf is not None:
            array = keras.ops.convert_to_numpy(leaf)
            if array.dtype.kind == "O":  # Texts, not where they are kept.
                array = array.astype("U")
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
