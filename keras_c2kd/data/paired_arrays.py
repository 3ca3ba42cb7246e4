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

from keras_c2kd.data.epoch_dataset import SECOND_VIEW
from keras_c2kd.data.epoch_dataset import Batch
from keras_c2kd.data.epoch_dataset import EpochDataset
from keras_c2kd.data.epoch_dataset import check_modalities
from keras_c2kd.data.fingerprints import hash_arrays

# From one sample of a modality, and a generator, to what training reads.
Augment = Callable[[Any, np.random.Generator], Any]


class AugmentedDataset(EpochDataset):
    """Rows of each modality, augmented in training.

    A subclass implements `size` and `_rows_of`, and assigns `labels`.

    Args:
        modalities: Sequence of the modalities.
        augment: Dict from the modality to a function `(array, rng)` of one
            sample; or None for no augmentation.
        **kwargs: As for `EpochDataset`.
    """

    def __init__(
        self,
        modalities: Sequence[str],
        augment: Mapping[str, Augment] | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.modalities = tuple(modalities)
        self.augment = dict(augment or {})
        check_modalities(self.modalities, self.augment)
        self.chosen = self.modalities
        self.second_view: str | None = None

    def _rows_of(
        self, modalities: Sequence[str], indices: Sequence[int] | NDArray[Any]
    ) -> dict[str, Any]:
        """Return copies of some samples, by modality."""
        raise NotImplementedError

    def select(
        self, modalities: Sequence[str], second_view: str | None = None
    ) -> Self:
        """Return the same samples with other inputs in the batches.

        Args:
            modalities: Sequence of modalities.
            second_view: A modality of which every batch also has a view that
                is augmented independently, under its name with `_second_view`
                behind, as `methods.DLB` wants it; or None (default).

        Returns:
            A data set of the same class.

        Raises:
            ValueError: If there is no such modality.
        """
        views = [] if second_view is None else [second_view]
        check_modalities(self.modalities, [*modalities, *views])
        other = copy.copy(self)
        other.chosen = tuple(modalities)
        other.second_view = second_view
        return other

    def batch(self, indices: Sequence[int] | NDArray[Any]) -> Batch:
        """Return `(inputs, labels)` of some samples."""
        views = [] if self.second_view is None else [self.second_view]
        names = dict.fromkeys((*self.chosen, *views))
        rows = self._rows_of(tuple(names), indices)
        inputs = {
            name: self._augmented(name, rows[name], indices)
            for name in self.chosen
        }
        for name in views:
            inputs[name + SECOND_VIEW] = self._augmented(
                name, rows[name], indices, view=1
            )
        return inputs, self.labels[indices]

    def _augmented(
        self,
        modality: str,
        rows: Any,
        indices: Sequence[int] | NDArray[Any],
        view: int = 0,
    ) -> Any:
        """Return one view of some samples, stacked."""
        augment = self.augment.get(modality)
        if augment is None:
            return rows
        # The generator knows the modality, so that no two draw alike.
        number = self.modalities.index(modality)
        number += view * len(self.modalities)
        samples = []
        for position, index in enumerate(indices):
            random = self.random_of(index, number)
            if random is None:  # Evaluation.
                return rows
            # A function that changes its argument changes no other view.
            sample = keras.tree.map_structure(
                lambda array, at=position: np.array(array[at]), rows
            )
            samples.append(augment(sample, random))
        return keras.tree.map_structure(
            lambda *arrays: np.stack(arrays), *samples
        )


class PairedArrays(AugmentedDataset):
    """Batches of arrays, shuffled anew in each epoch of training.

    See `EpochDataset` for the order. Memory maps stay on disk: a batch reads
    its own rows.

    Args:
        inputs: Dict from the modality to an array `(rows, ...)`, or to a dict
            of such arrays.
        labels: Integer array `(rows, ...)`.
        rows: Integer array `(samples,)`, the rows that are samples of this
            data set; None (default) for all.
        augment: Dict from the modality to a function `(array, rng)` of one
            sample and a `numpy.random.Generator` that returns the sample as
            training sees it. Defaults to `None`, no augmentation.
        **kwargs: As for `EpochDataset`.

    Raises:
        ValueError: If there are no samples, or unequally many, or a modality
            to augment is not there.

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
        rows: Any = None,
        augment: Mapping[str, Augment] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(tuple(inputs), augment, **kwargs)
        sizes = {len(array) for array in keras.tree.flatten([inputs, labels])}
        if len(sizes) != 1 or not min(sizes):
            raise ValueError(
                "All inputs and the labels need equally many samples, at "
                f"least one. Received: {sorted(sizes)} samples"
            )
        self.inputs = dict(inputs)
        self.rows = None if rows is None else np.asarray(rows)
        self.labels = np.asarray(labels)
        if self.rows is not None:
            self.labels = self.labels[self.rows]

    @property
    def size(self) -> int:
        """Number of samples."""
        return len(self.labels)

    def fingerprint(self) -> str:
        """Return a short string that other values would not have."""
        digest = hashlib.sha256()
        inputs = {name: self.inputs[name] for name in self.chosen}
        hash_arrays(digest, inputs, self.rows)
        hash_arrays(digest, self.labels)
        return digest.hexdigest()[:16]

    def _rows_of(
        self, modalities: Sequence[str], indices: Sequence[int] | NDArray[Any]
    ) -> dict[str, Any]:
        rows = np.asarray(indices)
        if self.rows is not None:
            rows = self.rows[rows]
        inputs = {name: self.inputs[name] for name in modalities}
        return keras.tree.map_structure(lambda x: np.asarray(x[rows]), inputs)
