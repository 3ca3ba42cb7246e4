"""Which rows of one's own data are trained on, chosen with and reported."""

import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_c2kd.data.epoch_dataset import UNLABELED
from keras_c2kd.data.epoch_dataset import is_labeled

# A fraction; or groups, indices of rows, or a boolean a row.
Choice = float | Sequence[Any] | NDArray[Any]
Mask = NDArray[np.bool_]


def checked_labels(labels: Any) -> NDArray[np.int64]:
    """Return labels as a new integer array.

    Args:
        labels: Integers `(rows, ...)` from 0, or `-1` for no label.

    Raises:
        ValueError: If they are something else.
    """
    array = np.asarray(labels)
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise ValueError(
            "A row without a label has the label -1. Received: "
            f"{int(np.isnan(array).sum())} labels that are NaN. Write "
            'np.nan_to_num(labels, nan=-1).astype("int64").'
        )
    if array.dtype.kind not in "biu" or not array.ndim:
        raise ValueError(
            "Labels are integers, an array with one a row. Received: dtype "
            f"{array.dtype}, shape {array.shape}. Number the classes from 0: "
            "`names, labels = np.unique(names, return_inverse=True)`; of "
            "one-hot labels take `labels.argmax(axis=-1)`."
        )
    array = array.astype("int64")
    if array.size and array.min() < UNLABELED:
        raise ValueError(
            "Labels are numbers of classes from 0, or -1 for none. Received: "
            f"{array.min()}. Number the classes from 0."
        )
    return array


def chosen_rows(
    name: str, choice: Any, size: int, groups: NDArray[Any] | None
) -> Mask:
    """Return which rows are meant, as booleans.

    Args:
        name: String, the argument's name.
        choice: Booleans, one a row; else groups if there are some; else
            indices of rows.
        size: Integer, number of rows.
        groups: Array `(rows,)`, or None.

    Raises:
        ValueError: If there are no such rows.
    """
    is_array = isinstance(choice, np.ndarray)
    values = choice if is_array else np.asarray(list(choice))
    if values.dtype == bool:
        if values.shape != (size,):
            raise ValueError(
                f"`{name}` as booleans has one for each of the {size} rows. "
                f"Received: shape {values.shape}. Give {size} booleans."
            )
        mask = values
    elif groups is not None:
        known = np.unique(groups)
        if unknown := values[~np.isin(values, known)].tolist():
            raise ValueError(
                f"`{name}` names groups that rows belong to. Received: "
                f"{unknown}, which have no row. The groups are "
                f"{known.tolist()}."
            )
        mask = np.isin(groups, values)
    else:
        is_index = values.dtype.kind in "iu"
        if len(values) and not (
            is_index and 0 <= values.min() <= values.max() < size
        ):
            raise ValueError(
                f"`{name}` has indices of rows from 0 to {size - 1}. "
                f"Received: {name}={choice!r}. To name groups, give `groups` "
                "too."
            )
        mask = np.zeros(size, bool)
        mask[values.astype("int64")] = True
    if not mask.any():
        raise ValueError(
            f"`{name}` needs at least one row. Received: {name}={choice!r}. "
            "Name some rows, or leave it out."
        )
    return mask


def split_rows(
    labels: NDArray[np.int64],
    groups: NDArray[Any] | None,
    test: Choice,
    validation: Choice,
    seed: int,
) -> dict[str, Mask]:
    """Divide rows into three parts; no group is in two of them.

    Without groups, a fraction is taken of each class, and rows without a
    label are trained on. With groups, whole groups are taken so that the
    parts' sizes and classes come near to the fraction.

    Args:
        labels: Integer array `(rows, ...)`, `-1` for none. Where a row has
            many, the classes do not count.
        groups: Array `(rows,)`, or None.
        test: Fraction of the rows, or which they are (see `chosen_rows`).
        validation: The same of the rows that are left.
        seed: Integer, which draws them.

    Returns:
        Dict from `"train"`, `"validation"`, `"test"` to booleans `(rows,)`.

    Raises:
        ValueError: If that is impossible.
    """
    size = len(labels)
    choices = {"test": test, "validation": validation}
    fractions = {
        part: _checked_fraction(part, choice)
        for part, choice in choices.items()
        if isinstance(choice, numbers.Real)
    }
    parts = {
        part: chosen_rows(part, choice, size, groups)
        for part, choice in choices.items()
        if part not in fractions
    }
    if len(parts) == 2 and (both := parts["test"] & parts["validation"]).any():
        what = "rows" if groups is None else "groups"
        named = np.flatnonzero(both) if groups is None else groups[both]
        raise ValueError(
            f"No {what[:-1]} is in two parts. Received: {what} "
            f"{np.unique(named).tolist()[:20]} in test and validation. Take "
            "them out of one of the two."
        )
    free = ~np.any([np.zeros(size, bool), *parts.values()], axis=0)
    for number, part in enumerate(fractions):
        # A part that is drawn later needs rows too, and so does training.
        others = len(fractions) - number
        random = np.random.default_rng([seed, number])
        drawn = fractions[part], others, random
        if groups is None:
            parts[part] = _draw_rows(labels, free, *drawn)
        else:
            parts[part] = _draw_groups(labels, groups, free, *drawn)
        free &= ~parts[part]
    parts["train"] = free
    if groups is not None:
        check_groups(groups, parts)
    return parts


def check_groups(groups: NDArray[Any], parts: dict[str, Mask]) -> None:
    """Raise a ValueError if a group is in two parts.

    Args:
        groups: Array `(rows,)`.
        parts: Dict from the part to booleans `(rows,)`.
    """
    present = [np.unique(groups[mask]) for mask in parts.values()]
    names, counts = np.unique(np.concatenate(present), return_counts=True)
    if split := names[counts > 1].tolist():
        raise ValueError(
            "No group may be in two parts. Received: the groups "
            f"{split[:20]}, which are in several of {tuple(parts)}. Move each "
            "to one part."
        )


def check_classes(
    labels: dict[str, NDArray[np.int64]], class_names: Sequence[str]
) -> None:
    """Raise a ValueError unless every class is trained on.

    Args:
        labels: Dict from the part to its labels, `-1` for none.
        class_names: Sequence of the classes' names.
    """
    for part, given in labels.items():
        if not (given >= 0).any():
            raise ValueError(
                "Each part needs rows with a label. Received: none for "
                f"{part}. Move some there."
            )
        if given.max() >= len(class_names):
            raise ValueError(
                f"There are {len(class_names)} classes, whose labels go from 0 "
                f"to {len(class_names) - 1}. Received: the label "
                f"{given.max()} in {part}. Name all classes."
            )
    trained = np.unique(labels["train"])
    missing = sorted(set(range(len(class_names))) - set(trained.tolist()))
    if missing:
        raise ValueError(
            "Every class needs labelled rows to train on. Received: none of "
            f"{', '.join(f'{n} ({class_names[n]})' for n in missing[:20])}. "
            "Number the classes from 0 without gaps, or divide the rows "
            "otherwise."
        )


def _checked_fraction(part: str, fraction: Any) -> float:
    if isinstance(fraction, bool) or not 0 < fraction < 1:
        raise ValueError(
            f"`{part}` is a fraction above 0 and below 1, or says which rows "
            f"they are. Received: {part}={fraction!r}. 0.2 takes a fifth; "
            f"one row or group is a list, {part}=[{fraction!r}]."
        )
    return float(fraction)


def _draw_rows(
    labels: NDArray[np.int64],
    free: Mask,
    fraction: float,
    others: int,
    random: np.random.Generator,
) -> Mask:
    """Return a fraction of each class."""
    classes = labels if labels.ndim == 1 else np.zeros(len(labels), "int64")
    usable = free & is_labeled(labels)
    mask = np.zeros(len(labels), bool)
    for label in np.unique(classes[usable]):
        rows = random.permutation(np.flatnonzero(usable & (classes == label)))
        if len(rows) <= others:
            raise ValueError(
                "Each class needs a row for each part that is drawn and one "
                f"to train on. Received: {len(rows)} rows of the class "
                f"{label} for {others + 1} parts. Label more of them, or "
                "leave the class out."
            )
        count = max(round(fraction * len(rows)), 1)
        mask[rows[: min(count, len(rows) - others)]] = True
    return mask


def _draw_groups(
    labels: NDArray[np.int64],
    groups: NDArray[Any],
    free: Mask,
    fraction: float,
    others: int,
    random: np.random.Generator,
) -> Mask:
    """Return whole groups, about a fraction of all rows and of each class."""
    names, numbers_of = np.unique(groups[free], return_inverse=True)
    # A row for each group, a column for each class and one for all rows.
    classes = (
        labels if labels.ndim == 1 else np.where(is_labeled(labels), 0, -1)
    )
    classes = classes[free]
    counts = np.zeros((len(names), max(classes.max(initial=0), 0) + 2))
    for number, label in zip(numbers_of, classes):
        counts[number, -1] += 1
        if label >= 0:
            counts[number, label] += 1
    counts = counts[:, counts.any(axis=0)]
    # Groups that are equally good are taken in an order of their own.
    order = random.permutation(len(names))
    names, parts_of = names[order], (counts / counts.sum(axis=0))[order]
    taken, reached = np.zeros(len(names), bool), np.zeros(counts.shape[1])
    while taken.sum() < len(names) - others:
        after = reached + parts_of
        distances = np.sum((after - fraction) ** 2, axis=1)
        # A class that no other group has is trained on.
        distances[taken | (after > 1 - 1e-9).any(axis=1)] = np.inf
        best = int(np.argmin(distances))
        now = np.sum((reached - fraction) ** 2) if taken.any() else np.inf
        if distances[best] >= now:
            break
        taken[best], reached = True, after[best]
    if not taken.any():
        raise ValueError(
            "Each part needs a group of its own, and every class one that is "
            f"trained on. Received: {len(names)} groups, for a fraction of "
            f"{fraction} and {others} further parts. Say which groups are "
            "in which part, or divide without groups."
        )
    return free & np.isin(groups, names[taken])
