"""Rows of logits with a label, collected from batches of two networks."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_c2kd.networks.network_checks import check_logits

ROLES = ("teacher", "student")


class LabelledRows:
    """Rows of logits with a label, collected from batches.

    Args:
        num_classes: Integer that the logits must agree with, or None.
        ignore_class: Label of rows that do not count, or None.
        pixels: Integer, at most so many pixels of an image are kept, drawn
            evenly from those that count, the same ones every time.

    Attributes:
        seen: Integer, how many samples were added.
        is_dense: Whether the logits are dense.
    """

    def __init__(
        self,
        num_classes: int | None = None,
        ignore_class: int | None = None,
        pixels: int = 256,
    ) -> None:
        self.num_classes = num_classes
        self.ignore_class = ignore_class
        self.pixels = pixels
        self.is_dense = False
        self.seen = 0
        names = ("labels", "sample_of", *ROLES)
        self._kept: dict[str, list[NDArray[Any]]] = {n: [] for n in names}

    def add(
        self,
        logits: Mapping[str, NDArray[Any]],
        labels: NDArray[Any],
        where: str,
    ) -> None:
        """Add one batch.

        Args:
            logits: Dict from the role to an array `(batch, ..., classes)`.
            labels: Array of integers, or of one-hot rows.
            where: String that names the batch in errors.

        Raises:
            ValueError: If logits or labels are not what they must be.
        """
        shape = logits["student"].shape
        check_logits({s: {"logits": logits[s].shape} for s in ROLES})
        if self.num_classes not in (None, shape[-1]):
            raise ValueError(
                "`class_names` has one name for each class. Received: "
                f"{self.num_classes} names for logits of {shape[-1]} classes."
            )
        labels = _integer_labels(labels, shape, self.ignore_class, where)
        labels = labels.reshape(len(labels), -1)
        samples, positions = self._draw(labels)
        for role in ROLES:
            wide = _wide(logits[role])
            rows = wide.reshape(*labels.shape, -1)[samples, positions]
            _check_finite(rows, samples, role, where)
            if not self.seen:
                _check_no_probabilities(rows, role, where)
            self._kept[role].append(rows)
        self._kept["labels"].append(labels[samples, positions])
        self._kept["sample_of"].append(self.seen + samples)
        self.seen += len(labels)
        self.is_dense = len(shape) > 2

    def _draw(self, labels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return sample and position, in it, of the rows that are kept."""
        chosen = []
        for sample, row in enumerate(labels):
            positions = np.arange(len(row))
            if self.ignore_class is not None:
                positions = positions[row != self.ignore_class]
            if len(positions) > self.pixels:
                random = np.random.default_rng([0, self.seen + sample])
                positions = random.choice(positions, self.pixels, replace=False)
            chosen.append(np.sort(positions))
        samples = np.repeat(np.arange(len(labels)), list(map(len, chosen)))
        return samples, np.concatenate(chosen)

    def result(
        self,
    ) -> tuple[dict[str, NDArray[Any]], NDArray[Any], NDArray[Any]]:
        """Return the logits by role, the labels, and the rows' samples.

        Raises:
            ValueError: If no row was kept.
        """
        if not sum(map(len, self._kept["labels"])):
            raise ValueError(
                "There must be labelled samples to compare the networks on. "
                f"Received: {self.seen} samples, none of them with a label "
                "that counts."
            )
        rows = {name: np.concatenate(kept) for name, kept in self._kept.items()}
        logits = {role: rows[role] for role in ROLES}
        return logits, rows["labels"], rows["sample_of"]


def _integer_labels(
    labels: NDArray[Any],
    logits_shape: tuple[int, ...],
    ignore_class: int | None,
    where: str,
) -> NDArray[Any]:
    """Return integer labels, one a row of logits."""
    rows, classes = logits_shape[:-1], logits_shape[-1]
    if labels.shape == (*rows, classes) and (labels.max(-1) > 0).all():
        return labels.argmax(-1)
    if labels.shape == (*rows, 1):
        labels = labels[..., 0]
    if labels.shape != rows or labels.dtype.kind not in "biuf":
        raise ValueError(
            f"Labels are integers of shape {rows}, one a row of logits, or "
            f"one-hot rows of shape {logits_shape}. Received in {where}: "
            f"labels of shape {labels.shape} and type {labels.dtype}."
        )
    wrong = (labels < 0) | (labels >= classes) | (labels != np.floor(labels))
    if ignore_class is not None:
        wrong &= labels != ignore_class
    if wrong.any():
        position = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(
            f"Labels must be integers from 0 to {classes - 1}. Received in "
            f"{where}: {labels[position]} at sample {position[0]} "
            f"({int(wrong.sum())} such labels). Pass `ignore_class=` if it "
            "stands for no label."
        )
    return labels.astype("int64")


def _check_finite(
    rows: NDArray[Any], samples: NDArray[Any], role: str, where: str
) -> None:
    finite = np.isfinite(rows).all(axis=-1)
    if not finite.all():
        bad = np.flatnonzero(~finite)
        kind = "NaN" if np.isnan(rows[bad]).any() else "infinity"
        raise ValueError(
            f"Logits must be finite. Received in {where}: {kind} in the "
            f"logits of the {role}, for sample {samples[bad[0]]} and in "
            f"{len(bad)} rows in all. Was its training finite? Are its "
            "weights loaded?"
        )


def _check_no_probabilities(rows: NDArray[Any], role: str, where: str) -> None:
    """Raise a ValueError for logits that look like probabilities."""
    adds_up = np.allclose(rows.sum(-1), 1, atol=1e-4)
    if len(rows) and adds_up and (rows >= 0).all():
        raise ValueError(
            f"The comparison needs logits, but the {role} gives rows that "
            f"are not negative and add up to 1. Received in {where}: "
            f"{rows[0]}. Remove the softmax at its end."
        )


def _wide(array: NDArray[Any]) -> NDArray[Any]:
    """Return logits in single or double precision."""
    return array if array.dtype == "float64" else array.astype("float32")
