"""Splits of one's own data: arrays, tables of files, PyTorch, tf.data."""

import numbers
import os
import pathlib
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import Self

import keras
import numpy as np
from numpy.typing import NDArray

from keras_c2kd.data.epoch_dataset import UNLABELED
from keras_c2kd.data.epoch_dataset import EpochDataset
from keras_c2kd.data.epoch_dataset import check_modalities
from keras_c2kd.data.epoch_dataset import is_labeled
from keras_c2kd.data.file_tables import AnyReader
from keras_c2kd.data.file_tables import as_texts
from keras_c2kd.data.file_tables import columns_and_readers
from keras_c2kd.data.file_tables import groups_of
from keras_c2kd.data.file_tables import labels_of
from keras_c2kd.data.file_tables import masks_of
from keras_c2kd.data.file_tables import missing_files
from keras_c2kd.data.file_tables import read_table
from keras_c2kd.data.file_tables import sources_of
from keras_c2kd.data.item_dataset import ItemDataset
from keras_c2kd.data.item_dataset import as_arrays
from keras_c2kd.data.item_dataset import check_same
from keras_c2kd.data.item_dataset import labels_of_items
from keras_c2kd.data.item_dataset import read_elements
from keras_c2kd.data.modality_readers import AugmentedReader
from keras_c2kd.data.paired_arrays import Augment
from keras_c2kd.data.paired_arrays import PairedArrays
from keras_c2kd.data.paired_dataset import PairedDataset
from keras_c2kd.data.paired_dataset import Sample
from keras_c2kd.data.row_splits import Choice
from keras_c2kd.data.row_splits import Mask
from keras_c2kd.data.row_splits import check_classes
from keras_c2kd.data.row_splits import check_groups
from keras_c2kd.data.row_splits import checked_labels
from keras_c2kd.data.row_splits import chosen_rows
from keras_c2kd.data.row_splits import split_rows

# How what is seen at a time belongs together: one event, or only one class.
PAIRINGS = ("natural", "by class")


class OwnData:
    """Constructors of `PairedSplits` from one's own data."""

    @classmethod
    def from_arrays(
        cls,
        inputs: Mapping[str, Any],
        labels: Any,
        *,
        groups: Any = None,
        test: Choice = 0.2,
        validation: Choice = 0.2,
        unlabeled: Any = None,
        augment: Mapping[str, Augment] | None = None,
        class_names: Sequence[str] | None = None,
        batch_size: int = 64,
        seed: int = 0,
        name: str = "own data",
        pairing: str = "natural",
    ) -> Self:
        """Divide the rows of arrays into training, validation and test.

        Rows are never copied but for a batch: memory maps stay on disk.
        Without groups, fractions are taken of each class, and all rows
        without a label are trained on. In validation and test, rows without a
        label are dropped, and counted in `provenance["excluded"]`.

        Args:
            inputs: Dict from the modality to an array `(rows, ...)`, a memory
                map, or a dict of such arrays.
            labels: Integer array `(rows,)`, or `(rows, ...)` for a label a
                pixel: classes from 0, or `-1` for none.
            groups: Array `(rows,)` of what must not be in two parts, such as
                the person. Defaults to `None`.
            test: Fraction of the rows (default `0.2`), taken of each class or
                as whole groups; or which they are: a list of groups, or
                without groups indices of rows; or booleans, one a row.
            validation: The same of what is left. Defaults to `0.2`.
            unlabeled: Rows whose labels are not to be used, named as for
                `test`; or None (default).
            augment: Dict from the modality to a function `(array, rng)` of
                one sample and a `numpy.random.Generator`, which returns what
                training sees. Defaults to `None`.
            class_names: Sequence of strings. Defaults to `"0"`, `"1"`, ...
            batch_size: Integer. Defaults to `64`.
            seed: Integer, draws the parts and the training batches. Defaults
                to `0`.
            name: String, the data set's. Defaults to `"own data"`.
            pairing: `"natural"` (default) if a row is of one event, or
                `"by class"` if its inputs share nothing but the class.

        Returns:
            `PairedSplits`.

        Raises:
            ValueError: If there are unequally many rows, labels are no such
                integers, a class has too few rows or none to train on, a
                group or row is in two parts, or an argument has no meaning.

        Example:
        >>> inputs = {"wrist": np.zeros((50, 9)), "camera": np.zeros((50, 4))}
        >>> labels, person = np.arange(50) % 2, np.arange(50) // 10
        >>> data = PairedSplits.from_arrays(
        ...     inputs, labels, groups=person, test=[4], validation=0.25
        ... )
        >>> data.train.size, data.validation.size, data.test.size
        (30, 10, 10)
        """
        arrays = {key: as_arrays(value) for key, value in inputs.items()}
        labels = checked_labels(labels)
        if groups is not None:
            groups = np.asarray(groups)
            # NaN is not equal to itself.
            if (groups != groups).any():
                raise ValueError(
                    "Every row belongs to a group. Received: "
                    f"{int((groups != groups).sum())} rows whose group is NaN. "
                    "Give each of them one."
                )
        _check_lengths({**arrays, "labels": labels}, groups)
        if unlabeled is not None:
            labels[chosen_rows("unlabeled", unlabeled, len(labels), groups)] = (
                UNLABELED
            )
        masks = split_rows(labels, groups, test, validation, seed)
        rows, provenance = _described(labels, masks, class_names)
        parts = {
            part: PairedArrays(
                arrays,
                labels,
                chosen,
                augment if part == "train" else None,
                training=part == "train",
                batch_size=batch_size,
                seed=seed,
            )
            for part, chosen in rows.items()
        }
        split = _split_name(groups, test, validation, seed)
        return _splits(cls, parts, name, split, pairing, provenance)

    @classmethod
    def from_csv(
        cls,
        path: str | os.PathLike[str],
        *,
        modalities: Mapping[str, tuple[str, AnyReader] | AnyReader],
        label: str = "label",
        split: str | None = None,
        group: str | None = None,
        test: Choice = 0.2,
        validation: Choice = 0.2,
        root: str | os.PathLike[str] | None = None,
        cache: str | os.PathLike[str] | None = None,
        augment: Mapping[str, Augment] | None = None,
        class_names: Sequence[str] | None = None,
        batch_size: int = 64,
        seed: int = 0,
        workers: int = 1,
        name: str | None = None,
        pairing: str = "natural",
    ) -> Self:
        r"""Index a table of files: a row a sample, a column a modality.

        The first row names the columns. Files that are not there are listed
        in `provenance["missing"]`, and their rows are left out; `prepare`
        reads all others once and refuses more than some that cannot be used.

        Args:
            path: Path of the table, CSV in UTF-8.
            modalities: Dict from the modality to its reader, or to a pair of
                the column's name, if it is another, and the reader. A reader
                is `AudioReader`, `FrameReader`, `ImageReader`, `NumpyReader`,
                `TextReader` (whose column has the text itself), one of your
                own, or any function from a `pathlib.Path` to an array.
            label: Name of the column of labels: integers from 0, or the
                classes' names. No text, or `-1`, is no label. Defaults to
                `"label"`.
            split: Name of a column of `train`, `validation` and `test`; or
                None (default) to draw the parts.
            group: Name of a column of what must not be in two parts, such as
                the person. Defaults to `None`.
            test: As for `from_arrays`; rows are counted from 0. Not used
                with `split`.
            validation: The same.
            root: Folder of the files. Defaults to `None`, the table's.
            cache: Folder of prepared arrays, or None (default). What
                `NumpyReader`, `TextReader` and functions return is not kept.
            augment: As for `from_arrays`: applied to what a reader returns,
                in training.
            class_names: Sequence of strings, in the order of the labels.
                Defaults to `None`: the names in the column, sorted.
            batch_size: Integer. Defaults to `64`.
            seed: Integer, draws the parts and the training batches. Defaults
                to `0`.
            workers: Integer, threads that read batches. Defaults to `1`.
            name: String, the data set's. Defaults to the table's.
            pairing: As for `from_arrays`.

        Returns:
            `PairedSplits`.

        Raises:
            ValueError: As `from_arrays`, and if the table lacks a column, a
                cell has no meaning, or none of the files is there.

        Example:
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> rows = ["wrist,label"]
        >>> for number in range(12):
        ...     np.save(folder / f"{number}.npy", np.full(3, number))
        ...     rows.append(f"{number}.npy,{['walk', 'run'][number % 2]}")
        >>> _ = (folder / "pairs.csv").write_text("\n".join(rows))
        >>> data = PairedSplits.from_csv(
        ...     folder / "pairs.csv", modalities={"wrist": NumpyReader()}
        ... )
        >>> data.provenance["classes"], data.provenance["sizes"]
        (['run', 'walk'], {'train': 8, 'validation': 2, 'test': 2})
        """
        path = pathlib.Path(path)
        root = path.parent if root is None else pathlib.Path(root)
        columns, readers = columns_and_readers(modalities)
        functions = dict(augment or {})
        check_modalities(readers, functions)
        used = [*columns.values(), label, *filter(None, (split, group))]
        numbers_of, table = read_table(path, used)
        labels, found = labels_of(table[label], numbers_of, class_names)
        groups = None
        if group is not None:
            groups = groups_of(table[group], numbers_of, group)
            test, validation = as_texts(test), as_texts(validation)
        if split is None:
            masks = split_rows(labels, groups, test, validation, seed)
            split_name = _split_name(groups, test, validation, seed)
        else:
            masks = masks_of(table[split], numbers_of, split)
            split_name = f"by the column {split!r}"
            if groups is not None:
                check_groups(groups, masks)
        sources = {
            key: sources_of(table[column], readers[key], root)
            for key, column in columns.items()
        }
        missing = missing_files(sources, columns, table, numbers_of)
        is_there = ~np.isin(
            [f"row {n}" for n in numbers_of], [x["name"] for x in missing]
        )
        if not is_there.any():
            first = missing[0]
            raise ValueError(
                "The files of a table lie where it says. Received: no row "
                f"whose files are all in {root}; {first['name']} "
                f"{first['reason']}: {first['file']!r}. Name their folder: "
                "root=..."
            )
        masks = {part: mask & is_there for part, mask in masks.items()}
        rows, provenance = _described(labels, masks, found)
        parts = {}
        for part, chosen in rows.items():
            samples = [
                Sample(
                    f"row {numbers_of[row]}",
                    None if labels[row] == UNLABELED else int(labels[row]),
                    {key: several[row] for key, several in sources.items()},
                )
                for row in chosen
            ]
            parts[part] = PairedDataset(
                samples,
                {
                    key: AugmentedReader(reader, functions[key])
                    if part == "train" and key in functions
                    else reader
                    for key, reader in readers.items()
                },
                cache,
                root,
                training=part == "train",
                batch_size=batch_size,
                seed=seed,
                workers=workers,
            )
        return _splits(
            cls,
            parts,
            path.stem if name is None else name,
            split_name,
            pairing,
            {**provenance, "missing": missing},
        )

    @classmethod
    def from_torch(
        cls,
        train: Any,
        validation: Any,
        test: Any,
        *,
        modalities: Sequence[str],
        label: str = "label",
        augment: Mapping[str, Augment] | None = None,
        class_names: Sequence[str] | None = None,
        batch_size: int = 64,
        seed: int = 0,
        workers: int = 1,
        name: str = "own data",
        pairing: str = "natural",
    ) -> Self:
        """Take three map-style Datasets of PyTorch, or what behaves as such.

        An item is read when its batch is; here each is read once for its
        label. Items must be the same each time: random transforms belong into
        `augment`, so that a batch depends on seed, epoch and sample alone.

        Args:
            train: Object with `len` and items by index. An item is a dict of
                the modalities and the label, a tuple of such a dict and the
                label, or a tuple of the inputs in the order of `modalities`
                and the label. Labels are integers from 0; `-1` or None is
                none.
            validation: The same.
            test: The same.
            modalities: Sequence of the modalities.
            label: Key of the label in dicts. Defaults to `"label"`.
            augment: As for `from_arrays`; so are all others but
            class_names: Sequence of strings. Defaults to `"0"`, `"1"`, ...
            batch_size: Integer. Defaults to `64`.
            seed: Integer, draws the training batches. Defaults to `0`.
            workers: Integer, threads that read batches. Defaults to `1`.
            name: String, the data set's. Defaults to `"own data"`.
            pairing: As for `from_arrays`.

        Returns:
            `PairedSplits`.

        Raises:
            ValueError: If items have another form or are not the same when
                they are read again, or as `from_arrays` for the labels.

        Example:
        >>> items = [(np.full(3, n), np.full(2, n), n % 2) for n in range(8)]
        >>> data = PairedSplits.from_torch(
        ...     items, items[:4], items[4:], modalities=("wrist", "camera")
        ... )
        >>> inputs, labels = data.test[0]
        >>> inputs["wrist"].shape, inputs["camera"].shape, labels
        ((4, 3), (4, 2), array([0, 1, 0, 1]))
        """
        items = {"train": train, "validation": validation, "test": test}
        labels = {}
        for part, dataset in items.items():
            check_same(dataset, part, modalities, label)
            labels[part] = labels_of_items(dataset, modalities, label)
        rows, provenance = _described_parts(labels, class_names)
        parts = {
            part: ItemDataset(
                items[part],
                labels[part],
                rows[part],
                modalities,
                label,
                augment if part == "train" else None,
                training=part == "train",
                batch_size=batch_size,
                seed=seed,
                workers=workers,
            )
            for part in items
        }
        return _splits(cls, parts, name, "as given", pairing, provenance)

    @classmethod
    def from_tf_data(
        cls,
        train: Any,
        validation: Any,
        test: Any,
        modalities: Sequence[str],
        *,
        label: str = "label",
        augment: Mapping[str, Augment] | None = None,
        class_names: Sequence[str] | None = None,
        batch_size: int = 64,
        seed: int = 0,
        name: str = "own data",
        pairing: str = "natural",
    ) -> Self:
        """Read three finite, unbatched `tf.data.Dataset`s into arrays.

        Each is read ONCE, here, and held in memory. What it shuffles or
        augments stays as it was then: leave it out, training shuffles by
        itself, and random changes belong into `augment`.

        Args:
            train: `tf.data.Dataset` of samples: tuples of a dict of the
                modalities and the label, or of the inputs in the order of
                `modalities` and the label. All samples have equal shapes.
            validation: The same.
            test: The same.
            modalities: Sequence of the modalities.
            label: Key of the label, if samples are dicts with it. Defaults to
                `"label"`.
            augment: As for `from_arrays`.
            class_names: Sequence of strings. Defaults to `"0"`, `"1"`, ...
            batch_size: Integer. Defaults to `64`.
            seed: Integer, draws the training batches. Defaults to `0`.
            name: String, the data set's. Defaults to `"own data"`.
            pairing: As for `from_arrays`.

        Returns:
            `PairedSplits`.

        Raises:
            ValueError: If a data set has no end or no samples, samples have
                another form or unequal shapes, or as `from_arrays` for the
                labels.

        Example:
        ```python
        train = tf.data.Dataset.from_tensor_slices((inputs, labels))
        data = PairedSplits.from_tf_data(
            train, validation, test, modalities=("wrist", "camera")
        )
        ```
        """
        read = {
            part: read_elements(part, dataset, modalities, label)
            for part, dataset in (
                ("train", train),
                ("validation", validation),
                ("test", test),
            )
        }
        labels = {part: given for part, (_, given) in read.items()}
        rows, provenance = _described_parts(labels, class_names)
        parts = {
            part: PairedArrays(
                inputs,
                given,
                rows[part],
                augment if part == "train" else None,
                training=part == "train",
                batch_size=batch_size,
                seed=seed,
            )
            for part, (inputs, given) in read.items()
        }
        return _splits(cls, parts, name, "as given", pairing, provenance)


def _check_lengths(arrays: Mapping[str, Any], groups: Any) -> None:
    """Raise a ValueError unless all arrays have equally many rows."""
    named = {**arrays, **({} if groups is None else {"groups": groups})}
    shapes = {
        name: {np.shape(x)[:1] for x in keras.tree.flatten(value)}
        for name, value in named.items()
    }
    sizes = set().union(*shapes.values())
    if len(sizes) != 1 or sizes & {(), (0,)}:
        listed = ", ".join(
            f"{name} {' and '.join(str(*size) for size in sorted(several))}"
            for name, several in shapes.items()
        )
        raise ValueError(
            "All inputs, the labels and the groups need equally many rows, at "
            f"least one. Received rows: {listed}. Pair them row by row."
        )


def _described(
    labels: NDArray[np.int64],
    masks: Mapping[str, Mask],
    class_names: Sequence[str] | None,
) -> tuple[dict[str, NDArray[np.int64]], dict[str, Any]]:
    """Return the rows of each part that are used, and their provenance."""
    has_label = is_labeled(labels)
    rows, excluded = {}, []
    for part in ("train", "validation", "test"):
        usable = masks[part]
        if part != "train" and (count := int((usable & ~has_label).sum())):
            reason = "have no label, which nothing is measured by"
            excluded.append(
                {"name": f"{count} rows of {part}", "reason": reason}
            )
            usable = usable & has_label
        rows[part] = np.flatnonzero(usable)
    if class_names is None:
        class_names = [str(n) for n in range(int(labels.max(initial=0)) + 1)]
    check_classes({part: labels[x] for part, x in rows.items()}, class_names)
    return rows, {"classes": list(class_names), "excluded": excluded}


def _described_parts(
    labels: Mapping[str, NDArray[np.int64]], class_names: Sequence[str] | None
) -> tuple[dict[str, NDArray[np.int64]], dict[str, Any]]:
    """Return the same for parts that are data sets of their own."""
    together = np.concatenate(list(labels.values()))
    ends = np.cumsum([len(given) for given in labels.values()])
    starts = dict(zip(labels, (0, *ends.tolist())))
    places = np.arange(len(together))
    masks = {
        part: (places >= start) & (places < start + len(labels[part]))
        for part, start in starts.items()
    }
    rows, provenance = _described(together, masks, class_names)
    return {part: rows[part] - starts[part] for part in rows}, provenance


def _split_name(
    groups: NDArray[Any] | None, test: Any, validation: Any, seed: int
) -> str:
    """Return in words how rows were divided."""
    kind = "by class" if groups is None else "by groups"

    def named(choice: Any) -> str:
        return str(choice) if isinstance(choice, numbers.Real) else "as given"

    return f"{kind}: test {named(test)}, validation {named(validation)}, " + (
        f"seed {seed}"
    )


def _splits(
    cls: Any,
    parts: Mapping[str, EpochDataset],
    name: str,
    split: str,
    pairing: str,
    provenance: Mapping[str, Any],
) -> Any:
    """Return the `PairedSplits`."""
    named = {"data_set": name, "split": split, "pairing": pairing}
    return cls(**parts, provenance={**named, **provenance})
