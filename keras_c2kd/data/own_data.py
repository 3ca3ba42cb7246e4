"""Splits of one's own data: arrays, tables of files, PyTorch, tf.data."""

import numbers
import os
import pathlib
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import Self

import keras
import numpy as np
from numpy.typing import NDArray

from keras_c2kd.data.epoch_dataset import UNLABELED
from keras_c2kd.data.epoch_dataset import EpochDataset
from keras_c2kd.data.epoch_dataset import is_labeled
from keras_c2kd.data.modality_readers import AugmentedReader
from keras_c2kd.data.modality_readers import FunctionReader
from keras_c2kd.data.paired_arrays import Augment
from keras_c2kd.data.paired_arrays import AugmentedDataset
from keras_c2kd.data.paired_arrays import PairedArrays
from keras_c2kd.data.paired_dataset import PairedDataset
from keras_c2kd.data.paired_dataset import Reader
from keras_c2kd.data.paired_dataset import Sample
from keras_c2kd.data.paired_dataset import Source
from keras_c2kd.data.row_splits import Choice
from keras_c2kd.data.row_splits import Mask
from keras_c2kd.data.row_splits import check_classes
from keras_c2kd.data.row_splits import check_groups
from keras_c2kd.data.row_splits import checked_labels
from keras_c2kd.data.row_splits import chosen_rows
from keras_c2kd.data.row_splits import split_rows
from keras_c2kd.data.text_lists import read_rows

# How what is seen at a time belongs together: one event, or only one class.
PAIRINGS = ("natural", "by class")

# A reader, or a function from a path to an array.
AnyReader = Reader | Callable[[pathlib.Path], Any]

# Items of a data set that are read twice, to see whether they are the same.
_READ_TWICE = 8


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
        arrays = {key: _as_arrays(value) for key, value in inputs.items()}
        labels = checked_labels(labels)
        groups = None if groups is None else np.asarray(groups)
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
            test: As for `from_arrays`; rows are counted from 0, groups are
                texts. Not used with `split`.
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
        columns, readers = _columns_and_readers(modalities)
        used = [*columns.values(), label, *filter(None, (split, group))]
        numbers_of, table = _read_table(path, used)
        labels, found = _labels_of(table[label], numbers_of, class_names)
        groups = None if group is None else np.asarray(table[group])
        if split is None:
            masks = split_rows(labels, groups, test, validation, seed)
            split_name = _split_name(groups, test, validation, seed)
        else:
            masks = _masks_of(table[split], numbers_of, split)
            split_name = f"by the column {split!r}"
            if groups is not None:
                check_groups(groups, masks)
        sources = {
            key: _sources(table[column], readers[key], root)
            for key, column in columns.items()
        }
        missing = _missing(sources, columns, table, numbers_of)
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
            functions = (augment or {}) if part == "train" else {}
            parts[part] = PairedDataset(
                samples,
                {
                    key: AugmentedReader(reader, functions[key])
                    if key in functions
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
            _check_same(dataset, part, modalities, label)
            labels[part] = checked_labels(
                [
                    _pair_of(dataset[i], modalities, label)[1]
                    for i in range(len(dataset))
                ]
            )
        rows, provenance = _described_parts(labels, class_names)
        parts = {
            part: _ItemDataset(
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
        *,
        modalities: Sequence[str],
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
            part: _read_elements(part, dataset, modalities, label)
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


class _ItemDataset(AugmentedDataset):
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


def _as_arrays(value: Any) -> Any:
    """Return arrays in the same dicts, memory maps as they are."""
    if isinstance(value, Mapping):
        return {key: _as_arrays(part) for key, part in value.items()}
    if isinstance(value, np.ndarray):
        return value
    # A tensor of PyTorch that has gradients, or lies on another device.
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    return np.asarray(value)


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


def _columns_and_readers(
    modalities: Mapping[str, Any],
) -> tuple[dict[str, str], dict[str, Reader]]:
    """Return the column and the reader of each modality."""
    columns, readers = {}, {}
    for modality, given in modalities.items():
        column, reader = (
            given if isinstance(given, tuple) else (modality, given)
        )
        if isinstance(reader, type) or not (
            callable(reader) or hasattr(reader, "prepare")
        ):
            raise ValueError(
                "A modality has a reader, or a pair of a column and a reader; "
                "a reader may be a function from a path to an array. "
                f"Received: {modality!r} with {reader!r}. Pass an instance: "
                "NumpyReader()."
            )
        is_reader = hasattr(reader, "prepare") and hasattr(reader, "view")
        columns[modality] = column
        readers[modality] = reader if is_reader else FunctionReader(reader)
    return columns, readers


def _read_table(
    path: pathlib.Path, columns: Iterable[str]
) -> tuple[list[int], dict[str, list[str]]]:
    """Return the numbers of a table's rows, and its columns by name."""
    (_, header), *rows = read_rows(path) or [(1, [])]
    lacking = [name for name in columns if header.count(name) != 1]
    if lacking or not rows:
        raise ValueError(
            "A table has rows below a first one that names each column once. "
            f"Received: {path} with the columns {header}, of which {lacking} "
            f"are asked for, and {len(rows)} rows. Name the columns as the "
            "table does."
        )
    for number, row in rows:
        if len(row) != len(header):
            raise ValueError(
                f"A row has as many cells as the first one, {len(header)}. "
                f"Received: {len(row)} in row {number} of {path}. Put cells "
                "with commas between quotes."
            )
    table = {
        name: [row[column] for _, row in rows]
        for column, name in enumerate(header)
    }
    return [number for number, _ in rows], table


def _labels_of(
    cells: Sequence[str],
    numbers_of: Sequence[int],
    class_names: Sequence[str] | None,
) -> tuple[NDArray[np.int64], Sequence[str] | None]:
    """Return labels, and the classes' names if the cells have them."""
    given = [cell for cell in cells if cell]
    if all(cell.removeprefix("-").isdecimal() for cell in given):
        return checked_labels([int(x or UNLABELED) for x in cells]), class_names
    names = sorted(set(given)) if class_names is None else list(class_names)
    for number, cell in zip(numbers_of, cells):
        if cell and (cell not in names or _is_number(cell)):
            raise ValueError(
                "Labels are integers from 0 in all rows, or names of classes "
                f"in all rows. Received: {cell!r} in row {number}. Leave the "
                "cell empty if it has no label."
            )
    numbered = {name: number for number, name in enumerate(names)}
    return checked_labels([numbered.get(x, UNLABELED) for x in cells]), names


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _masks_of(
    cells: Sequence[str], numbers_of: Sequence[int], column: str
) -> dict[str, Mask]:
    """Return which rows are in each part by a column."""
    parts = ("train", "validation", "test")
    for number, cell in zip(numbers_of, cells):
        if cell not in parts:
            raise ValueError(
                f"The column {column!r} has one of {parts} in each row. "
                f"Received: {cell!r} in row {number}. Write one of them."
            )
    return {part: np.asarray(cells) == part for part in parts}


def _sources(
    cells: Sequence[str], reader: Any, root: pathlib.Path
) -> list[Source | str]:
    """Return the texts, or the files, of a column."""
    if getattr(reader, "source_type", object) is str:
        return list(cells)
    return [Source(root / cell) for cell in cells]


def _missing(
    sources: Mapping[str, Sequence[Source | str]],
    columns: Mapping[str, str],
    table: Mapping[str, Sequence[str]],
    numbers_of: Sequence[int],
) -> list[dict[str, str]]:
    """Return what is not there."""
    missing = []
    for row, number in enumerate(numbers_of):
        for modality, several in sources.items():
            source, cell = several[row], table[columns[modality]][row]
            if not isinstance(source, Source):
                continue
            reason = f"names no file for {modality!r}"
            if cell:
                reason = "is not there"
                if os.path.isfile(source.path):
                    continue
            missing.append(
                {
                    "name": f"row {number}",
                    "modality": modality,
                    "reason": reason,
                    "file": cell or f"row {number}",
                }
            )
    return missing


def _pair_of(
    item: Any, modalities: Sequence[str], label: str
) -> tuple[dict[str, Any], Any]:
    """Return the inputs by modality and the label of an item."""
    inputs, given = None, None
    if isinstance(item, Mapping) and label in item:
        inputs, given = item, item[label]
    elif isinstance(item, tuple | list) and len(item) == 2:
        if isinstance(item[0], Mapping):
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
    arrays = {name: _as_arrays(inputs[name]) for name in modalities}
    return arrays, UNLABELED if given is None else _as_arrays(given)


def _check_same(
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


def _read_elements(
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
