"""Changing each batch of a data source on its way, on the host."""

import keras

from keras_c2kd.utils.array_batches import ArrayBatches
from keras_c2kd.utils.array_batches import WrappedPyDataset


def mapped(
    data,
    function,
    y=None,
    sample_weight=None,
    batch_size=None,
    shuffle=False,
):
    """Return a data source whose batches went through a function.

    Args:
        data: Whatever `fit(x=...)` takes. Arrays become batches, so that the
            function sees one of them at a time.
        function: Function of `(x, y, sample_weight)`, absent ones None, to the
            same three. It receives what the source gives: within `tf.data`
            tensors of its graph.
        y: Labels of arrays.
        sample_weight: Weights of arrays.
        batch_size: Integer, of arrays. Defaults to `32`.
        shuffle: Whether arrays are shuffled, anew in each epoch.

    Returns:
        A data source for Keras.

    Raises:
        ValueError: If it is no kind of source that Keras takes.
    """

    def of_batch(batch):
        batch = tuple(batch) if isinstance(batch, list) else batch
        batch = keras.utils.unpack_x_y_sample_weight(batch)
        return keras.utils.pack_x_y_sample_weight(*function(*batch))

    if isinstance(data, keras.utils.PyDataset):
        return _MappedPyDataset(data, of_batch)
    kind = type(data).__module__.partition(".")[0]
    if hasattr(data, "map") and kind == "tensorflow":
        import tensorflow as tf

        return data.map(
            lambda *batch: of_batch(batch[0] if len(batch) == 1 else batch),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
    if hasattr(data, "map") and kind == "grain":
        return data.map(of_batch)
    if hasattr(data, "collate_fn") and hasattr(data, "dataset"):
        return _mapped_data_loader(data, of_batch)
    if hasattr(data, "__next__"):
        return (of_batch(batch) for batch in data)
    if isinstance(data, (dict, tuple, list)) or hasattr(data, "shape"):
        arrays = ArrayBatches(data, y, sample_weight, batch_size or 32, shuffle)
        return _MappedPyDataset(arrays, of_batch)
    raise ValueError(
        "Batches are changed on their way in arrays, tf.data.Dataset, "
        "PyDataset, torch DataLoader, grain datasets and generators. "
        f"Received: {type(data).__name__}"
    )


class _MappedPyDataset(WrappedPyDataset):
    """A PyDataset that applies a function to each batch of another one."""

    def __init__(self, dataset, function):
        # Threads in place of processes: those are forks, in which what runs on
        # a backend could wait for ever.
        super().__init__(dataset, use_multiprocessing=False)
        self._function = function

    def __getitem__(self, index):
        return self._function(self._dataset[index])


def _mapped_data_loader(loader, function):
    """Apply a function to what a DataLoader gives, not in its workers."""
    from torch.utils.data import DataLoader
    from torch.utils.data import IterableDataset

    class Batches(IterableDataset):
        def __iter__(self):
            return map(function, loader)

    class SizedBatches(Batches):
        def __len__(self):
            return len(loader)

    sized = hasattr(loader.dataset, "__len__")
    return DataLoader(SizedBatches() if sized else Batches(), batch_size=None)
