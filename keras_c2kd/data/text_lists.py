"""The lists that data sets come with: text files of rows and fields."""

import csv


def read_rows(path, **form):
    """Return the rows of a list that are not empty, and their numbers.

    Args:
        path: Path of the file, UTF-8 with or without a byte order mark, with
            line ends of any system.
        **form: As for `csv.reader`, such as `delimiter`.

    Returns:
        List of pairs: the row's number, from 1, and the list of its fields.

    Raises:
        ValueError: If the file cannot be read, or is no such text.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file, **form))
    except (OSError, UnicodeError, csv.Error) as error:
        raise ValueError(
            f"A list is a text file in UTF-8. Received: {path}, which cannot "
            f"be read ({error}). Download it again."
        ) from error
    return [
        (number, row)
        for number, row in enumerate(rows, start=1)
        if any(field.strip() for field in row)
    ]
