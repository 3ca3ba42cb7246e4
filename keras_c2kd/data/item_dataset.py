"""Items of data sets that are read by index or one after the other."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from keras_c2kd.data.epoch_dataset import UNLABELED
from keras_c2kd.data.paired_arrays import Augment
from keras_c2kd.data.paired_arrays import AugmentedDataset
from keras_c2kd.data.row_splits import checked_labels

# Items that are read twice, to see whether they are the same.
_READ_TWICE = 8


class ItemDataset(AugmentedDataset):
    """Items by index, such as those of a PyTorch Dataset.

    Args:
        dataset: Object with items by index.
        labels: Integer array, a label an item.
        rows: Integer array, the items that are samples.
        modalities: Sequence of the modalities.
        label: Key of the label in dicts.
        augment: As for `PairedArrays`.
        **kwargs: As for `EpochDataset`.
    """

    def __init__(
        self,
        dataset: Any,
        labels: NDArray[np.int64],
        rows: NDArray[np.int64],
        modalities: Sequence[str],
        label: str,
        augment: Mapping[str, Augment] | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(modalities, augment, **kwargs)
        self.dataset = dataset
        self.rows = rows
        self.label = label
        self.labels = labels[rows]

    @property
    def size(self) -> int:
        """Number of samples."""
        return len(self.rows)

    def _rows_of(
        self, modalities: Sequence[str], indices: Sequence[int] | NDArray[Any]
    ) -> dict[str, Any]:
        samples = []
        for row in self.rows[np.asarray(indices)]:
            item = self.dataset[int(row)]
            inputs, _ = _pair_of(item, self.modalities, self.label)
            samples.append({name: inputs[name] for name in modalities})
        return _stacked(samples)


def as_arrays(value: Any) -> Any:
    """Return arrays in the same dicts, memory maps as they are."""
    if isinstance(value, Mapping):
        return {key: as_arrays(part) for key, part in value.items()}
    if isinstance(value, np.ndarray):
        return value
    # A tensor of PyTorch that has gradients, or lies on another device.
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    return np.asarray(value)


def _pair_of(
    item: Any, modalities: Sequence[str], label: str
) -> tuple[dict[str, Any], Any]:
    """Return the inputs by modality and the label of an item."""
    inputs, given = None, None
    if isinstance(item, Mapping) and label in item:
        inputs, given = item, item[label]
    elif isinstance(item, tuple | list) and len(item) == 2:
        # The arrays of one modality may be a dict too.
        if isinstance(item[0], Mapping) and set(modalities) <= set(item[0]):
            inputs, given = item
    if inputs is None and isinstance(item, tuple | list):
        if len(item) == len(modalities) + 1:
            *values, given = item
            inputs = dict(zip(modalities, values))
    if inputs is None or not set(modalities) <= set(inputs):
        form = sorted(item) if isinstance(item, Mapping) else type(item)
        raise ValueError(
            f"An item is a dict of {list(modalities)} and {label!r}, a tuple "
            "of such a dict and the label, or a tuple of "
            f"{len(modalities) + 1}, the label last. Received: {form}"
            + (f" of {len(item)}" if isinstance(item, tuple | list) else "")
            + ". Wrap the data set so that its items have one of these forms."
        )
    arrays = {name: as_arrays(inputs[name]) for name in modalities}
    return arrays, UNLABELED if given is None else as_arrays(given)


def check_same(
    dataset: Any, part: str, modalities: Sequence[str], label: str
) -> None:
    """Raise a ValueError if a data set is empty, or differs when read again."""
    if not len(dataset):
        raise ValueError(
            f"Each part needs samples. Received: none for {part}. Give it some."
        )
    for index in range(min(len(dataset), _READ_TWICE)):
        first, second = (
            keras.tree.flatten(_pair_of(dataset[index], modalities, label))
            for _ in range(2)
        )
        if not all(
            np.array_equal(a, b, equal_nan=np.asarray(a).dtype.kind == "f")
            for a, b in zip(first, second)
        ):
            raise ValueError(
                "An item is the same each time it is read, so that a batch "
                "depends on seed, epoch and sample alone. Received: item "
                f"{index} of {part}, which differs when it is read again. "
                "Move random transforms into `augment`."
            )


def labels_of_items(
    dataset: Any, modalities: Sequence[str], label: str
) -> NDArray[np.int64]:
    """Return the labels of all items, each of which is read.

    Args:
        dataset: Object with `len` and items by index.
        modalities: Sequence of the modalities.
        label: Key of the label in dicts.
    """
    pairs = (
        _pair_of(dataset[index], modalities, label)
        for index in range(len(dataset))
    )
    return checked_labels([given for _, given in pairs])


def _stacked(samples: Sequence[Any]) -> Any:
    """Return samples as one array, in the same dicts."""
    shapes = {tuple(x.shape for x in keras.tree.flatten(s)) for s in samples}
    if len(shapes) > 1:
        raise ValueError(
            "All samples need equal shapes. Received: "
            f"{' and '.join(map(str, sorted(shapes)[:2]))}. Cut and pad them "
            "to one shape; batches of tf.data are taken apart by `unbatch()`."
        )
    return keras.tree.map_structure(lambda *x: np.stack(x), *samples)


def read_elements(
    part: str, dataset: Any, modalities: Sequence[str], label: str
) -> tuple[dict[str, Any], NDArray[np.int64]]:
    """Return inputs and labels of a `tf.data.Dataset`."""
    # -1 says that there is no end, -2 that none is known.
    if int(dataset.cardinality()) == -1:
        raise ValueError(
            "A data set that is read into arrays has an end. Received: "
            f"{part} without one. Leave out `repeat()`, or add `take(count)`."
        )
    pairs = [
        _pair_of(element, modalities, label)
        for element in dataset.as_numpy_iterator()
    ]
    if not pairs:
        raise ValueError(
            f"Each part needs samples. Received: none for {part}. Give it some."
        )
    inputs, labels = zip(*pairs)
    return _stacked(inputs), checked_labels(
        _stacked([*map(np.asarray, labels)])
    )
