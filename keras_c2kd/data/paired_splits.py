"""The three parts of an indexed data set."""

import collections
import dataclasses
import hashlib
import pathlib
from collections.abc import Hashable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_c2kd.data.epoch_dataset import UNLABELED
from keras_c2kd.data.epoch_dataset import EpochDataset
from keras_c2kd.data.epoch_dataset import is_labeled
from keras_c2kd.data.own_data import PAIRINGS
from keras_c2kd.data.own_data import OwnData
from keras_c2kd.data.paired_dataset import PairedDataset
from keras_c2kd.data.paired_dataset import Reader
from keras_c2kd.data.paired_dataset import Sample
from keras_c2kd.data.paired_dataset import check_left_out
from keras_c2kd.data.paired_dataset import count_samples
from keras_c2kd.data.paired_dataset import listed_by_reason

_USES = {"train": "train on", "validation": "choose with", "test": "report"}
PARTS = tuple(_USES)


@dataclasses.dataclass(frozen=True)
class PairedSplits(OwnData):
    """Training, validation and test samples of one data set.

    From one's own data they are made by `from_arrays`, `from_csv`,
    `from_torch` and `from_tf_data`, or of any three `EpochDataset`s.

    Attributes:
        train: `EpochDataset` that is shuffled and augmented.
        validation: `EpochDataset` to choose with.
        test: `EpochDataset` to report.
        provenance: Dict of plain values that can be written as JSON; what is
            not given is filled in:

            - `data_set`, its name (`"own data"`);
            - `classes`, their names (`"0"`, `"1"` and so on, as many as there
              are labels);
            - `split`, how the samples were split (`"as given"`);
            - `pairing`, `"natural"` (default) where a pair is of one event,
              `"by class"` where its parts share nothing but their class;
            - `sizes` of the parts; `labeled`, how many of the training
              samples have a label; and `unlabeled_class`, the label of the
              others, `-1`, or None if all have one;
            - what was left out, each with `name` and `reason`: `missing` and
              `unreadable` samples, which should be there, and those
              `excluded` by a rule.

    Raises:
        ValueError: If `pairing` is neither of the two.

    Example:
    >>> splits = load_gaussian_pairs(train=24, validation=12, test=12)
    >>> splits.train.size, splits.validation.size, splits.test.size
    (24, 12, 12)
    >>> splits.provenance["split"]
    'each part drawn anew for each seed'
    """

    train: EpochDataset
    validation: EpochDataset
    test: EpochDataset
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Fill in what the provenance does not say."""
        given = self.provenance
        filled = {
            "data_set": "own data",
            "split": "as given",
            "pairing": PAIRINGS[0],
            "sizes": {part: getattr(self, part).size for part in PARTS},
            **{kind: [] for kind in ("missing", "unreadable", "excluded")},
            **given,
        }
        # Reading labels may take time.
        if "classes" not in given:
            count = max(_num_classes(getattr(self, part)) for part in PARTS)
            filled["classes"] = [str(label) for label in range(count)]
        if not {"labeled", "unlabeled_class"} <= given.keys():
            unlabeled_class = given.get("unlabeled_class", UNLABELED)
            count = _num_labeled(self.train, unlabeled_class)
            is_whole = count == self.train.size
            filled["labeled"] = count
            filled["unlabeled_class"] = None if is_whole else unlabeled_class
        if filled["pairing"] not in PAIRINGS:
            raise ValueError(
                f"The pairing is one of {PAIRINGS}. Received: pairing="
                f"{filled['pairing']!r}. Parts of one event are natural pairs."
            )
        object.__setattr__(self, "provenance", filled)

    def prepare(
        self, max_missing_fraction: float = 0.01, verbose: int = 1
    ) -> None:
        """Read every file once, and leave out the samples that cannot be.

        What is left out is added to the provenance (`unreadable`, each with
        its `part`), and a `fingerprint` of the samples that are left, by
        which runs on the same samples are known.

        Args:
            max_missing_fraction: Float, of the samples that may be missing or
                unreadable. Defaults to `0.01`.
            verbose: `1` (default) for progress bars and a list of what is
                left out, `0` for silence.

        Raises:
            ValueError: If there are more, or a part has none left; it lists
                the files of all parts by reason.
        """
        sizes = self.provenance["sizes"]
        missing = self.provenance["missing"]
        unreadable = self.provenance["unreadable"]
        listed = sum(sizes.values()) + count_samples([*missing, *unreadable])
        # Before hours are spent on decoding.
        check_left_out(missing, listed, max_missing_fraction)
        for part in PARTS:
            dataset = getattr(self, part)
            if verbose:
                print(f"Preparing {sizes[part]} samples to {_USES[part]}")
            unreadable += [
                {"part": part, **entry}
                for entry in dataset.prepare(1.0, verbose=verbose)
            ]
            if part == "train" and dataset.size < sizes[part]:
                self.provenance["labeled"] = _num_labeled(
                    dataset, self.provenance["unlabeled_class"]
                )
            sizes[part] = dataset.size
        unusable = [*missing, *unreadable]
        check_left_out(unusable, listed, max_missing_fraction)
        for part, size in sizes.items():
            if not size:
                raise ValueError(
                    f"Each part needs samples. Received: none for {part} that "
                    f"can be read:\n{listed_by_reason(unusable)}"
                )
        if unusable and verbose:
            print(f"Left out:\n{listed_by_reason(unusable)}")
        prints = [getattr(self, part).fingerprint() for part in PARTS]
        digest = hashlib.sha256(" ".join(prints).encode())
        self.provenance["fingerprint"] = digest.hexdigest()[:16]


def _num_labeled(dataset: EpochDataset, unlabeled_class: int | None) -> int:
    """Return how many samples have a label."""
    if unlabeled_class is None or not dataset.size:
        return dataset.size
    return int(is_labeled(dataset.labels, unlabeled_class).sum())


def _num_classes(dataset: EpochDataset) -> int:
    """Return how many classes the labels of a data set need."""
    labels = dataset.labels
    if labels.ndim > 1 and labels.dtype.kind == "f":
        return labels.shape[-1]
    return max(int(np.max(labels)) + 1, 0)


def paired_splits(
    name: str,
    classes: Sequence[str],
    parts: Mapping[str, Sequence[Sample]],
    readers: Mapping[str, Reader],
    split: str,
    missing: Sequence[dict[str, str]] = (),
    excluded: Sequence[dict[str, Any]] = (),
    kind: type[PairedDataset] = PairedDataset,
    **kwargs: Any,
) -> PairedSplits:
    """Build the data sets of three parts.

    Args:
        name: String, the data set's name.
        classes: Sequence of the classes' names in the order of the labels.
        parts: Dict from `"train"`, `"validation"`, `"test"` to lists of
            `Sample`.
        readers: Dict from the modality to its reader.
        split: String, how the samples were split.
        missing: List of dicts with `name` and `reason`: what is listed and
            not on disk. Defaults to none.
        excluded: The same of what is left out by a rule.
        kind: Class of the parts. Defaults to `PairedDataset`.
        **kwargs: As for `PairedDataset`; `seed` is that of the training part.

    Returns:
        `PairedSplits`.

    Raises:
        ValueError: If a part is empty.
    """
    left_out = [*missing, *excluded]
    for part, samples in parts.items():
        if not samples:
            raise ValueError(
                f"Each part of {name} needs samples. Received: none for "
                f"{part}, {len(left_out)} left out"
                + (f", such as {left_out[0]}" if left_out else "")
            )
    has_label = [sample.label is not None for sample in parts["train"]]
    provenance = {
        "data_set": name,
        "split": split,
        "classes": list(classes),
        "labeled": sum(has_label),
        "unlabeled_class": None if all(has_label) else UNLABELED,
        "missing": list(missing),
        "excluded": list(excluded),
    }
    datasets = {
        part: kind(samples, readers, training=part == "train", **kwargs)
        for part, samples in parts.items()
    }
    return PairedSplits(**datasets, provenance=provenance)


def path_in(root: pathlib.Path, name: str) -> pathlib.Path:
    """Return the path of a file that a list names, in the data set's folder.

    Args:
        root: `pathlib.Path` of the folder.
        name: String from the list.

    Raises:
        ValueError: If it leads out of the folder.
    """
    path = pathlib.PurePath(name)
    if path.anchor or ".." in path.parts:
        raise ValueError(
            "A list names files in the folder of its data set. Received: "
            f"{name!r}, which leads out of {root}. Nothing is read from there."
        )
    return root / path


def split_off(
    names: Sequence[str],
    fraction: float,
    seed: int = 2024,
    labels: Sequence[Hashable] | None = None,
) -> tuple[list[str], list[str]]:
    """Divide names at random: a fraction of them, and the rest.

    Each name has a number of its own, drawn from the seed and the name, and
    those with the smallest numbers are split off: where a few names are
    missing, the others are divided as before.

    Args:
        names: Sequence of strings.
        fraction: Float from 0 to 1.
        seed: Integer. Not that of training, so that no choice can have met
            what is reported.
        labels: Sequence of the names' classes, of each of which the fraction
            is then split off, as nearly as whole numbers can; None (default)
            to divide without.

    Returns:
        Two lists in the order of the names: the fraction, the rest.
    """

    def number(name: str) -> bytes:
        # Names of files need not be text.
        text = f"{seed} {name}".encode(errors="surrogateescape")
        return hashlib.sha256(text).digest()

    ranked = sorted(names, key=number)
    if labels is not None:
        classes = dict(zip(names, labels, strict=True))
        sizes = collections.Counter(classes.values())
        seen: collections.Counter[Hashable] = collections.Counter()
        positions = {}
        for name in ranked:
            label = classes[name]
            # Where in its class the name stands, from 0 to 1.
            positions[name] = (seen[label] + 0.5) / sizes[label]
            seen[label] += 1
        # Equal positions stay in the order of the numbers.
        ranked.sort(key=positions.__getitem__)
    taken = set(ranked[: round(fraction * len(ranked))])
    return (
        [name for name in names if name in taken],
        [name for name in names if name not in taken],
    )


def check_validate_on(validate_on: str, choices: Sequence[str]) -> None:
    """Raise a ValueError if `validate_on` is not one of the choices."""
    if validate_on not in choices:
        raise ValueError(
            f"`validate_on` is one of {choices}. Received: "
            f"validate_on={validate_on!r}"
        )


def described_split(split: str, validate_on: str) -> str:
    """Return a split's name, and what else its validation part is."""
    if validate_on == "validation":
        return split
    return f"{split}, validation on the {validate_on} part"
