"""Tables of files: a row a sample, a column a modality."""

import numbers
import os
import pathlib
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import cast

import numpy as np
from numpy.typing import NDArray

from keras_c2kd.data.epoch_dataset import UNLABELED
from keras_c2kd.data.modality_readers import FunctionReader
from keras_c2kd.data.paired_dataset import Reader
from keras_c2kd.data.paired_dataset import Source
from keras_c2kd.data.row_splits import Choice
from keras_c2kd.data.row_splits import Mask
from keras_c2kd.data.row_splits import checked_labels
from keras_c2kd.data.text_lists import read_rows

# A reader, or a function from a path to an array.
AnyReader = Reader | Callable[[pathlib.Path], Any]


def columns_and_readers(
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


def read_table(
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


def labels_of(
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


def masks_of(
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


def groups_of(
    cells: Sequence[str], numbers_of: Sequence[int], column: str
) -> NDArray[Any]:
    """Return the groups of a column, an array of texts.

    Args:
        cells: The column.
        numbers_of: The rows' numbers in the table.
        column: Its name.
    """
    for number, cell in zip(numbers_of, cells):
        if not cell:
            raise ValueError(
                f"Every row belongs to a group. Received: row {number} without "
                f"one in the column {column!r}. Give it one."
            )
    return np.asarray(cells)


def as_texts(choice: Choice) -> Choice:
    """Return groups as a table writes them; fractions and booleans stay.

    Args:
        choice: What may be a list of groups.
    """
    if isinstance(choice, numbers.Real):
        return choice
    values = list(cast(Iterable[Any], choice))
    if values and all(isinstance(x, bool | np.bool_) for x in values):
        return np.asarray(values)
    return [str(value) for value in values]


def sources_of(
    cells: Sequence[str], reader: Any, root: pathlib.Path
) -> list[Source | str]:
    """Return the texts, or the files, of a column."""
    if getattr(reader, "source_type", object) is str:
        return list(cells)
    return [Source(root / cell) for cell in cells]


def missing_files(
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
