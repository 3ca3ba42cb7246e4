"""The lists that data sets come with: text files of rows and fields."""

import csv
import os
from typing import Any


def read_rows(
    path: str | os.PathLike[str], **form: Any
) -> list[tuple[int, list[str]]]:
    """Return the rows of a list that are not empty, and their numbers.

    Args:
        path: Path of the file, UTF-8 with or without a byte order mark, with
            line ends of any system.
        **form: As for `csv.reader`, such as `delimiter`.

    Returns:
        List of pairs: the row's number, from 1, and the list of its fields
        without blanks around them.

    Raises:
        ValueError: If the file cannot be read, or is no such text.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file, skipinitialspace=True, **form))
    except (OSError, UnicodeError, csv.Error) as error:
        raise ValueError(
            f"A list is a text file in UTF-8. Received: {path}, which cannot "
            f"be read ({error}). Download it again."
        ) from error
    rows = [[field.strip() for field in row] for row in rows]
    return [(n, row) for n, row in enumerate(rows, start=1) if any(row)]


class ListedBefore:
    """Finds the rows that name a sample which an earlier row has named.

    The first row of a sample counts in all data sets.

    Args:
        excluded: List to which the other rows are added, as dicts with `name`
            and `reason`.
    """

    def __init__(self, excluded: list[dict[str, str]]) -> None:
        self._excluded = excluded
        self._classes: dict[str, str] = {}

    def __call__(self, name: str, class_name: str) -> bool:
        """Return whether a sample has been listed before.

        Args:
            name: String, the sample's.
            class_name: String, its class by this row.
        """
        if name not in self._classes:
            self._classes[name] = class_name
            return False
        reason = "is listed before"
        if self._classes[name] != class_name:
            reason += f", and here as {class_name!r}"
        self._excluded.append({"name": name, "reason": reason})
        return True
