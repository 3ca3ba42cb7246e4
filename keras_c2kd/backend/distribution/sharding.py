"""The shard of each batch that one of several processes trains on."""

import hashlib
from typing import Any

import keras
import numpy as np

from keras_c2kd.backend import distribution
from keras_c2kd.typing import Tensors
from keras_c2kd.utils.array_batches import ArrayBatches
from keras_c2kd.utils.array_batches import WrappedPyDataset
from keras_c2kd.utils.array_batches import rows_of


def shard(
    x: Any,
    y: Tensors = None,
    sample_weight: Tensors = None,
    batch_size: int = 32,
    shuffle: bool = True,
) -> Any:
    """Return this process' shard of the data given to `fit`.

    The processes divide every batch in its order, so that together they train
    on the samples of one process, on each of them once.

    Args:
        x: Arrays, a `PyDataset` or a torch `DataLoader`.
        y: Labels of arrays.
        sample_weight: Weights of arrays, or None.
        batch_size: Integer, samples of a batch of arrays, in all processes
            together.
        shuffle: Whether arrays are shuffled, anew in each epoch.

    Returns:
        A data source for `fit`; with one process, `x` itself.

    Raises:
        ValueError: If the source cannot be divided or is not the same in all
            processes; later, if a batch has fewer samples than processes.
    """
    index, count = distribution.processes()
    if count == 1:
        return x
    if y is not None:
        x = ArrayBatches(x, y, sample_weight, batch_size, shuffle)
    if isinstance(x, keras.utils.PyDataset):
        distribution.check_equal(
            _digest(x[0]) if len(x) else "empty",
            "Each process takes its shard of the same batches. Give the data "
            "set the same seed in every process.",
        )
        return _Shard(x, index, count)
    sampler = getattr(x, "sampler", None)
    if type(sampler).__name__ == "DistributedSampler":
        return x
    raise ValueError(
        "With several processes each trains on its shard of the data: give "
        "arrays, a PyDataset, or a torch DataLoader with a "
        "DistributedSampler (whose batches are those of one process). "
        f"Received: {type(x).__name__}"
    )


class _Shard(WrappedPyDataset):
    """The shards of one process of the batches of a data set."""

    def __init__(
        self, dataset: keras.utils.PyDataset, index: int, count: int
    ) -> None:
        super().__init__(dataset)
        self._index, self._count = index, count

    def __getitem__(self, batch: int) -> Tensors:
        if hasattr(self._dataset, "share"):
            return self._dataset.share(batch, self._index, self._count)
        whole = self._dataset[batch]
        size = len(keras.tree.flatten(whole)[0])
        rows = rows_of(size, self._index, self._count, batch)
        return keras.tree.map_structure(lambda array: array[rows], whole)


def _digest(batch: Tensors) -> str:
    """Return a short string that another batch would not have."""
    digest = hashlib.sha256()
    for leaf in keras.tree.flatten(batch):
        if leaf is not None:
            array = keras.ops.convert_to_numpy(leaf)
            if array.dtype.kind == "O":  # Texts, not their addresses.
                array = array.astype("U")
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
