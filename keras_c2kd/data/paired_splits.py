"""The three parts of an indexed data set."""

import dataclasses

import numpy as np

from keras_c2kd.data.paired_dataset import PairedDataset


@dataclasses.dataclass(frozen=True)
class PairedSplits:
    """Training, validation and test samples of one data set.

    Attributes:
        train: `PairedDataset` that is shuffled and augmented.
        validation: `PairedDataset` to choose with.
        test: `PairedDataset` to report.
        provenance: Plain values that can be written as JSON: the data set,
            its `classes`, how it was split (`split`), the `sizes`, and what
            was `left_out` at indexing, each with `name` and `reason`.
    """

    train: PairedDataset
    validation: PairedDataset
    test: PairedDataset
    provenance: dict


def paired_splits(
    name, classes, parts, readers, left_out, split, cache, seed, **kwargs
):
    """Build the data sets of three parts.

    Args:
        name: String, the data set's name.
        classes: Sequence of the classes' names in the order of the labels.
        parts: Dict from `"train"`, `"validation"`, `"test"` to lists of
            `Sample`.
        readers: Dict from the modality to its reader.
        left_out: List of dicts with `name` and `reason`.
        split: String, how the samples were split.
        cache: As for `PairedDataset`.
        seed: As for `PairedDataset`, of the training part.
        **kwargs: As for `PairedDataset`.

    Returns:
        `PairedSplits`.

    Raises:
        ValueError: If a part is empty.
    """
    for part, samples in parts.items():
        if not samples:
            raise ValueError(
                f"Each part of {name} needs samples. Received: none for "
                f"{part}, {len(left_out)} left out"
                + (f", such as {left_out[0]}" if left_out else "")
            )
    provenance = {
        "data_set": name,
        "split": split,
        "sizes": {part: len(samples) for part, samples in parts.items()},
        "classes": list(classes),
        "left_out": left_out,
    }
    datasets = {
        part: PairedDataset(
            samples,
            readers,
            cache,
            training=part == "train",
            seed=seed,
            **kwargs,
        )
        for part, samples in parts.items()
    }
    return PairedSplits(**datasets, provenance=provenance)


def split_off(items, share, seed=2024):
    """Divide items at random: a share of them, and the rest.

    Args:
        items: Sequence; equal ones in equal order are divided equally.
        share: Float from 0 to 1.
        seed: Integer. Not that of training, so that no choice can have met
            what is reported.

    Returns:
        Two lists: the share, the rest.
    """
    order = np.random.default_rng(seed).permutation(len(items))
    count = round(share * len(items))
    return [items[i] for i in order[:count]], [items[i] for i in order[count:]]
