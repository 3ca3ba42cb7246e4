"""Paired samples that fit into memory, as batches keyed by modality."""

import copy
import hashlib
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import Self

import keras
import numpy as np
from numpy.typing import NDArray

from keras_c2kd.data.epoch_dataset import Batch
from keras_c2kd.data.epoch_dataset import EpochDataset
from keras_c2kd.data.paired_dataset import SECOND_VIEW

# From one sample's array, and a generator, to another array.
Augment = Callable[[Any, Any], Any]


class PairedArrays(EpochDataset):
    """Batches of arrays, shuffled anew in each epoch of training.

    See `EpochDataset` for the order.

    Args:
        inputs: Dict from the modality to an array `(samples, ...)`, or to a
            dict of such arrays.
        labels: Integer array `(samples, ...)`.
        augment: Dict from the modality to a function of one sample's array
            and a Numpy generator, which returns the array that training sees.
            Defaults to None, no augmentation.
        **kwargs: As for `EpochDataset`.

    Raises:
        ValueError: If there are no samples, or unequally many.

    Example:
    >>> inputs = {"audio": np.zeros((5, 16)), "visual": np.zeros((5, 8, 8))}
    >>> data = PairedArrays(inputs, np.arange(5) % 2, batch_size=2)
    >>> batch, labels = data[0]
    >>> batch["audio"].shape, batch["visual"].shape, labels
    ((2, 16), (2, 8, 8), array([0, 1]))
    """

    def __init__(
        self,
        inputs: Mapping[str, Any],
        labels: Any,
        augment: Mapping[str, Augment] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        sizes = {len(array) for array in keras.tree.flatten([inputs, labels])}
        if len(sizes) != 1 or not min(sizes):
            raise ValueError(
                "All inputs and the labels need equally many samples, at "
                f"least one. Received: {sorted(sizes)} samples"
            )
        if unknown := set(augment or {}) - set(inputs):
            raise ValueError(
                "`augment` names modalities of the inputs, "
                f"{list(inputs)}. Received: {sorted(unknown)}"
            )
        self.inputs = dict(inputs)
        self.augment = dict(augment or {})
        # Draws stay the same where modalities are selected.
        self._numbers = {name: number for number, name in enumerate(inputs)}
        self.labels = np.asarray(labels)

    @property
    def size(self) -> int:
        """Number of samples."""
        return len(self.labels)

    def fingerprint(self) -> str:
        """Return a short string that other values would not have."""
        digest = hashlib.sha256()
        for array in keras.tree.flatten([self.inputs, self.labels]):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

    def select(
        self, modalities: Sequence[str], second_view: str | None = None
    ) -> Self:
        """Return the same samples with other inputs in the batches.

        Args:
            modalities: Sequence of modalities.
            second_view: As for `PairedDataset`; without augmentation it is
                the same view.

        Returns:
            `PairedArrays`.
        """
        other = copy.copy(self)
        other.inputs = {name: self.inputs[name] for name in modalities}
        if second_view is not None:
            key = second_view + SECOND_VIEW
            other.inputs[key] = self.inputs[second_view]
            number = self._numbers[second_view] + len(self._numbers)
            other._numbers = {**self._numbers, key: number}
            if second_view in self.augment:
                other.augment = {
                    **self.augment,
                    key: self.augment[second_view],
                }
        return other

    def batch(self, indices: Sequence[int] | NDArray[Any]) -> Batch:
        """Return `(inputs, labels)` of some samples."""
        inputs = keras.tree.map_structure(lambda x: x[indices], self.inputs)
        for name, augment in self.augment.items():
            if self.training and name in inputs:
                number = self._numbers[name]
                inputs[name] = np.stack(
                    [
                        augment(row, self.random_of(index, number))
                        for index, row in zip(indices, inputs[name])
                    ]
                )
        return inputs, self.labels[indices]
