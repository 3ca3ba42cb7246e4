"""Each kind of data source: its batches checked, and changed, on their way."""

import copy
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any
from typing import TypeAlias

import keras

from keras_c2kd.distiller.batch_spec import EMPTY
from keras_c2kd.distiller.batch_spec import BatchSpec
from keras_c2kd.typing import Tensors
from keras_c2kd.utils.array_batches import ArrayBatches
from keras_c2kd.utils.array_batches import WrappedPyDataset

DataSource: TypeAlias = Any
"""Whatever `fit(x=...)` takes."""

BatchFunction: TypeAlias = Callable[
    [Tensors, Tensors, Tensors], tuple[Tensors, Tensors, Tensors]
]
"""Function of `(x, y, sample_weight)`, absent ones None, to the same three."""


def checked(data: DataSource, spec: BatchSpec) -> DataSource:
    """Return the same data source, with every batch checked on its way.

    A bad first batch raises before anything is trained, a bad later one
    before it is trained on.

    Args:
        data: Whatever `fit(x=...)` takes.
        spec: `BatchSpec`.

    Returns:
        A data source of the same kind.
    """
    if isinstance(data, dict) or hasattr(data, "shape"):
        return spec.take(data, "the data")
    if spec.is_checked:
        _check_not_empty(data)
    if isinstance(data, keras.utils.PyDataset):
        return _CheckedPyDataset(data, spec)
    if _is_tf_dataset(data):
        return _checked_tf_dataset(data, spec)
    if _is_data_loader(data):
        if data.batch_size is not None and spec.is_checked:
            spec.check_batch_size(data.batch_size)
        data = copy.copy(data)
        data.collate_fn = _CheckedCollate(data.collate_fn, spec)
        return data
    if hasattr(data, "__next__"):
        return _checked_generator(data, spec)
    return data


def _is_tf_dataset(data: DataSource) -> bool:
    kind = type(data).__module__.partition(".")[0]
    return kind == "tensorflow" and hasattr(data, "element_spec")


def _is_data_loader(data: DataSource) -> bool:
    return hasattr(data, "collate_fn") and hasattr(data, "dataset")


def mapped(
    data: DataSource,
    function: BatchFunction,
    y: Tensors = None,
    sample_weight: Tensors = None,
    *,
    batch_size: int | None = None,
    shuffle: bool = False,
) -> DataSource:
    """Return a data source whose batches went through a function.

    Args:
        data: Whatever `fit(x=...)` takes. Arrays become batches, so that the
            function sees one of them at a time.
        function: `BatchFunction`. It receives what the source gives: within
            `tf.data` tensors of its graph.
        y: Labels of arrays.
        sample_weight: Weights of arrays.
        batch_size: Integer, of arrays. Defaults to `32`.
        shuffle: Whether arrays are shuffled, anew in each epoch.

    Returns:
        A data source for Keras.

    Raises:
        ValueError: If it is no kind of source that Keras takes.
    """

    def of_batch(batch: Tensors) -> Tensors:
        batch = tuple(batch) if isinstance(batch, list) else batch
        batch = keras.utils.unpack_x_y_sample_weight(batch)
        return keras.utils.pack_x_y_sample_weight(*function(*batch))

    if isinstance(data, keras.utils.PyDataset):
        return _MappedPyDataset(data, of_batch)
    if _is_tf_dataset(data) and hasattr(data, "map"):
        import tensorflow as tf

        return data.map(
            lambda *batch: of_batch(batch[0] if len(batch) == 1 else batch),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
    kind = type(data).__module__.partition(".")[0]
    if kind == "grain" and hasattr(data, "map"):
        return data.map(of_batch)
    if _is_data_loader(data):
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

    def __init__(
        self,
        dataset: keras.utils.PyDataset,
        function: Callable[[Tensors], Tensors],
    ) -> None:
        # Threads in place of processes: those are forks, in which what runs on
        # a backend could wait for ever.
        super().__init__(dataset, use_multiprocessing=False)
        self._function = function

    def __getitem__(self, index: int) -> Tensors:
        return self._function(self._dataset[index])


def _mapped_data_loader(
    loader: Any, function: Callable[[Tensors], Tensors]
) -> Any:
    """Apply a function to what a DataLoader gives, not in its workers."""
    from torch.utils.data import DataLoader
    from torch.utils.data import IterableDataset

    class Batches(IterableDataset):
        def __iter__(self) -> Iterator[Tensors]:
            return map(function, loader)

    class SizedBatches(Batches):
        def __len__(self) -> int:
            return len(loader)

    sized = hasattr(loader.dataset, "__len__")
    return DataLoader(SizedBatches() if sized else Batches(), batch_size=None)


class _CheckedPyDataset(WrappedPyDataset):
    """A PyDataset that checks each batch of another one."""

    def __init__(self, dataset: keras.utils.PyDataset, spec: BatchSpec) -> None:
        super().__init__(dataset)
        self._spec = spec

    def __getitem__(self, index: int) -> Tensors:
        return self._spec.take(self._dataset[index], f"batch {index}")


class _CheckedCollate:
    """A collate function that checks what it returns (in the worker)."""

    def __init__(
        self, collate: Callable[[Any], Tensors], spec: BatchSpec
    ) -> None:
        self._collate = collate
        self._spec = spec

    def __call__(self, samples: Any) -> Tensors:
        batch = self._collate(samples)
        return self._spec.take(
            tuple(batch) if isinstance(batch, list) else batch
        )


def _checked_generator(
    batches: Iterator[Tensors], spec: BatchSpec
) -> Iterator[Tensors]:
    index = -1
    for index, batch in enumerate(batches):
        yield spec.take(batch, f"batch {index}")
    if index < 0 and spec.is_checked:
        raise ValueError(EMPTY)


def _checked_tf_dataset(dataset: Any, spec: BatchSpec) -> Any:
    """Check each element inside the tf.data pipeline."""
    import tensorflow as tf

    if spec.used is not None:
        dataset = spec.used.of_tf_dataset(dataset)
    if not spec.is_checked:
        return dataset
    elements = dataset.element_spec
    labels = None
    if isinstance(elements, tuple) and len(elements) > 1:
        labels = elements[1]
    if getattr(labels, "shape", None) == ():
        raise ValueError(
            "Data come in batches, with the samples along the first axis. "
            f"Received: single samples, with labels like {labels}. Batch "
            "them: dataset.batch(32)."
        )
    seen: list[bool] = []
    leaves = tf.nest.flatten(elements)

    def check(*arrays: Any) -> bool:
        batch = tf.nest.pack_sequence_as(elements, arrays)
        spec.check_batch(
            tf.nest.map_structure(lambda tensor: tensor.numpy(), batch),
            "a batch" if seen else "batch 0",
        )
        seen.append(True)
        return True

    def checked(*given: Tensors) -> Tensors:
        batch = given[0] if len(given) == 1 else given
        passed = tf.py_function(check, tf.nest.flatten(batch), tf.bool)
        with tf.control_dependencies([passed]):
            return tf.nest.map_structure(tf.identity, batch)

    if not all(isinstance(leaf, tf.TensorSpec) for leaf in leaves):
        return dataset
    return dataset.map(checked)


def _check_not_empty(data: DataSource) -> None:
    """Refuse a data source that knows that it has no batches."""
    number = getattr(data, "num_batches", None)
    if hasattr(data, "__len__"):
        try:
            number = len(data)
        except (TypeError, NotImplementedError):
            number = None  # An endless tf.data.Dataset, for example.
    if number == 0:
        raise ValueError(EMPTY)
