"""Paired samples from media files, as batches keyed by modality."""

import concurrent.futures
import copy
import dataclasses
import hashlib
import json
import os
import pathlib
import reprlib
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import Protocol
from typing import Self

import keras
import numpy as np
from numpy.typing import NDArray

from keras_c2kd.data.array_cache import ArrayCache
from keras_c2kd.data.epoch_dataset import SECOND_VIEW
from keras_c2kd.data.epoch_dataset import UNLABELED
from keras_c2kd.data.epoch_dataset import Batch
from keras_c2kd.data.epoch_dataset import EpochDataset
from keras_c2kd.data.epoch_dataset import check_modalities
from keras_c2kd.data.fingerprints import hash_file
from keras_c2kd.data.fingerprints import hash_of
from keras_c2kd.data.media import MediaError
from keras_c2kd.utils.argument_checks import check_integer
from keras_c2kd.utils.argument_checks import check_number

# Batches have labels of 32 bits.
_LARGEST_LABEL = 2**31 - 1
# Names that an error has for each reason.
_NAMED_AT_MOST = 20


@dataclasses.dataclass(frozen=True)
class Source:
    """A part of a media file.

    Args:
        path: Path of the file.
        start: Float, second at which the part begins. Defaults to `0.0`.
        end: Float, second at which it ends, or None for the file's end.

    Raises:
        ValueError: If the path is none, or the part has no length.

    Example:
    >>> source = Source("clip.mp4", start=2, end=5.5)
    >>> source.start, source.end
    (2.0, 5.5)
    """

    path: str | os.PathLike[str]
    start: float = 0.0
    end: float | None = None

    def __post_init__(self) -> None:
        """Check the part; its numbers become plain ones."""
        if not isinstance(self.path, str | os.PathLike):
            raise ValueError(
                "A source is the path of a file, a string or a pathlib.Path. "
                f"Received: path={self.path!r}. What is no file goes into a "
                "Sample as it is."
            )
        check_number(minimum=0, start=self.start)
        object.__setattr__(self, "start", float(self.start))
        if self.end is None:
            return
        check_number(end=self.end)
        object.__setattr__(self, "end", float(self.end))
        if self.end <= self.start:
            raise ValueError(
                "A part of a file ends behind its start. Received: "
                f"start={self.start}, end={self.end}. `end=None` reads to the "
                "end of the file."
            )


@dataclasses.dataclass(frozen=True)
class Sample:
    """One sample.

    Args:
        name: String, the sample's name in the data set.
        label: Integer, its class, from 0; or None for a sample without a
            label, whose label in batches is `-1`.
        sources: Dict from the modality to a `Source`, or to the text itself.
            The `pathlib.Path` of a file stands for the whole file.

    Raises:
        ValueError: If the label is neither None nor an integer from 0, or
            there is no source.

    Example:
    >>> event = Source("clip.mp4", start=2, end=5.5)
    >>> sample = Sample("clip", 3, {"audio": event, "visual": event})
    >>> sample.label, sorted(sample.sources)
    (3, ['audio', 'visual'])
    """

    name: str
    label: int | None
    sources: Mapping[str, Any]

    def __post_init__(self) -> None:
        """Check label and sources; they become plain ones."""
        if self.label is not None:
            why = f"Number the classes from 0, as in sample {self.name!r}"
            check_integer(why=why, label=self.label)
            object.__setattr__(self, "label", int(self.label))
            if self.label > _LARGEST_LABEL:
                raise ValueError(
                    f"A label is at most {_LARGEST_LABEL}. Received: "
                    f"label={self.label} in sample {self.name!r}. {why}."
                )
        is_given = isinstance(self.sources, Mapping) and self.sources
        if not is_given or any(x is None for x in self.sources.values()):
            raise ValueError(
                "`sources` is a dict from each modality to a Source, a text "
                f"or an array. Received: {reprlib.repr(self.sources)} in "
                f"sample {self.name!r}. Write {{'audio': Source(path)}}."
            )
        sources = {
            modality: Source(x) if isinstance(x, os.PathLike) else x
            for modality, x in self.sources.items()
        }
        object.__setattr__(self, "sources", sources)


class Reader(Protocol):
    """From the source of one modality to what a network reads.

    What is prepared is kept in a cache, unless `settings` is None.
    """

    @property
    def settings(self) -> Mapping[str, Any] | None:
        """What a prepared array depends on besides its file, or None."""

    def prepare(self, source: Any, /) -> Any:
        """Return what is kept, the same every time."""

    def view(
        self, prepared: Any, random: np.random.Generator | None = None, /
    ) -> Any:
        """Return what a network reads; `random` is there in training."""


class PairedDataset(EpochDataset):
    """Batches `({modality: array}, labels)` of samples on disk.

    The array is a dict of arrays for texts. Training is shuffled and
    augmented anew in each epoch, see `EpochDataset`.

    Args:
        samples: List of `Sample`.
        readers: Dict from the modality to a reader, such as `AudioReader` and
            `FrameReader`.
        cache: Folder of prepared arrays, or None to read the media anew each
            time.
        root: Folder of the data set, which may be moved: arrays in the cache
            are found by the paths below it. Defaults to `None`, the folder
            that all files of the samples have in common.
        **kwargs: `batch_size`, `training`, `seed` and all else of
            `EpochDataset`.

    Raises:
        ValueError: If there are no samples, or one lacks a modality or has
            a source that its reader does not read.
        MediaError: By a batch with a file that cannot be read; call `prepare`
            first to have all of them listed.

    Example:
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> for name in ("a.wav", "b.wav"):
    ...     soundfile.write(folder / name, np.sin(np.arange(8000) / 10), 8000)
    >>> samples = [
    ...     Sample("a", 0, {"audio": Source(folder / "a.wav")}),
    ...     Sample("b", 1, {"audio": Source(folder / "b.wav")}),
    ... ]
    >>> spectrogram = LogSpectrogram(8000, 1.0, window=256, hop=128)
    >>> data = PairedDataset(samples, {"audio": AudioReader(spectrogram)})
    >>> data.prepare(verbose=0)  # Nothing had to be left out.
    []
    >>> inputs, labels = data[0]
    >>> inputs["audio"].shape, labels
    ((2, 129, 63, 1), array([0, 1], dtype=int32))
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        readers: Mapping[str, Reader],
        cache: str | os.PathLike[str] | None = None,
        root: str | os.PathLike[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not samples:
            raise ValueError("There must be samples. Received: none.")
        for sample in samples:
            if missing := set(readers) - set(sample.sources):
                raise ValueError(
                    f"Every sample needs {sorted(readers)}. Received: "
                    f"{sample.name!r} without {sorted(missing)}"
                )
            for modality, reader in readers.items():
                _check_source(sample, modality, reader)
        self.samples = list(samples)
        self.readers = dict(readers)
        root = _common_folder(self.samples) if root is None else root
        self.root = None if root is None else os.path.abspath(root)
        self.cache: ArrayCache | None = None
        if cache is not None:
            self.cache = ArrayCache(cache, self.root)
        self.chosen = tuple(readers)
        self.second_view: str | None = None

    @property
    def size(self) -> int:
        """Number of samples."""
        return len(self.samples)

    def fingerprint(self) -> str:
        """Return a short string that other samples would not have.

        It depends on the names and labels, on the readers' parameters, and on
        the sources: on texts and arrays as they are, on the size, the first
        and the last bytes of files. Where the files lie does not matter.
        """
        sources = [
            [sample.sources[modality] for modality in self.readers]
            for sample in self.samples
        ]
        files = list(
            dict.fromkeys(
                os.fspath(source.path)
                for several in sources
                for source in several
                if isinstance(source, Source)
            )
        )
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            hashes = dict(zip(files, pool.map(hash_file, files)))

        def described(source: Any) -> Any:
            if isinstance(source, Source):
                content = hashes[os.fspath(source.path)]
                return [content, source.start, source.end]
            return source if isinstance(source, str) else hash_of(source)

        samples = [
            [sample.name, sample.label, *map(described, several)]
            for sample, several in zip(self.samples, sources)
        ]
        readers = [[name, hash_of(x)] for name, x in self.readers.items()]
        text = json.dumps([readers, samples])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _read_labels(self) -> NDArray[Any]:
        labels = [
            UNLABELED if sample.label is None else sample.label
            for sample in self.samples
        ]
        return np.asarray(labels, "int32")

    def select(
        self, modalities: Sequence[str], second_view: str | None = None
    ) -> Self:
        """Return the same samples with other inputs in the batches.

        What is not selected is not read. The draws stay the same.

        Args:
            modalities: Sequence of modalities.
            second_view: A modality of which every batch also has a view that
                is drawn independently, under its name with `_second_view`
                behind, as `methods.DLB` wants it; or None (default).

        Returns:
            `PairedDataset`.

        Raises:
            ValueError: If a modality has no reader.
        """
        views = [] if second_view is None else [second_view]
        check_modalities(self.readers, [*modalities, *views])
        other = copy.copy(self)
        other.chosen = tuple(modalities)
        other.second_view = second_view
        return other

    def batch(self, indices: Sequence[int] | NDArray[Any]) -> Batch:
        """Return `(inputs, labels)` of some samples."""
        inputs = {name: self._views(name, indices) for name in self.chosen}
        if self.second_view is not None:
            inputs[self.second_view + SECOND_VIEW] = self._views(
                self.second_view, indices, view=1
            )
        labels = [self.samples[i].label for i in indices]
        given = [UNLABELED if label is None else label for label in labels]
        return inputs, np.asarray(given, "int32")

    def _views(
        self,
        modality: str,
        indices: Sequence[int] | NDArray[Any],
        view: int = 0,
    ) -> Any:
        """Return one view of some samples, stacked."""
        number = list(self.readers).index(modality) + view * len(self.readers)
        reader = self.readers[modality]

        def stack(*arrays: Any) -> NDArray[Any]:
            shapes = sorted({np.shape(array) for array in arrays})
            if len(shapes) > 1:
                raise ValueError(
                    f"All samples of {modality!r} need one shape to be a "
                    f"batch. Received: {shapes}. Give the reader a fixed "
                    "size, or cut and pad what it returns."
                )
            return np.stack(arrays)

        return keras.tree.map_structure(
            stack,
            *[
                reader.view(
                    self._prepared(modality, i), self.random_of(i, number)
                )
                for i in indices
            ],
        )

    def prepare(
        self, max_missing_fraction: float = 0.01, verbose: int = 1
    ) -> list[dict[str, str]]:
        """Read every file once, and leave out the samples that cannot be.

        With a cache, what was read is kept, and a call that is interrupted
        goes on where it stopped.

        Args:
            max_missing_fraction: Float, of the samples that may be left
                out. Defaults to `0.01`.
            verbose: `1` (default) for a progress bar, `0` for silence.

        Returns:
            List of dicts, one for each file that cannot be read: the sample's
            `name`, the `modality`, the `reason` and the `file`, below the
            folder that all files have in common.

        Raises:
            ValueError: If more samples than the fraction cannot be read.
        """
        total = len(self.samples)
        progress = keras.utils.Progbar(total, verbose=verbose, unit_name="file")
        failures = []
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for number, failure in enumerate(
                pool.map(self._failures_of, range(total))
            ):
                failures.append(failure)
                progress.update(number + 1)
        left_out = [entry for several in failures for entry in several]
        check_left_out(left_out, total, max_missing_fraction)
        self.samples = [
            sample
            for sample, several in zip(self.samples, failures)
            if not several
        ]
        return left_out

    def _failures_of(self, index: int) -> list[dict[str, str]]:
        """Return what stands in the way of a sample."""
        sample = self.samples[index]
        failures = []
        for modality, reader in self.readers.items():
            source = sample.sources[modality]
            try:
                cache = self._cache_of(reader, source)
                if cache is None or not cache.has(
                    source.path, _settings(reader, source)
                ):
                    self._prepared(modality, index)
            except MediaError as error:
                failures.append(
                    {
                        "name": sample.name,
                        "modality": modality,
                        "reason": error.reason,
                        "file": self._name_of(error.path),
                    }
                )
        return failures

    def _name_of(self, path: pathlib.Path) -> str:
        """Return a file's path below the data set's folder."""
        path = pathlib.Path(os.path.abspath(path))
        if self.root is not None and path.is_relative_to(self.root):
            path = path.relative_to(self.root)
        return path.as_posix()

    def _cache_of(self, reader: Reader, source: Any) -> ArrayCache | None:
        """Return the cache that keeps this; texts are not on disk."""
        if reader.settings is None or self.cache is None:
            return None
        return self.cache if os.path.isfile(source.path) else None

    def _prepared(self, modality: str, index: int) -> Any:
        reader = self.readers[modality]
        source = self.samples[index].sources[modality]
        cache = self._cache_of(reader, source)
        if cache is None:
            return reader.prepare(source)
        return cache.get(
            source.path,
            _settings(reader, source),
            lambda: reader.prepare(source),
        )


def check_left_out(
    left_out: Sequence[Mapping[str, str]],
    total: int,
    max_missing_fraction: float,
) -> None:
    """Raise if more samples than a fraction cannot be used.

    Args:
        left_out: List of dicts with `name` and `reason`, and perhaps the
            `part`, `modality` and `file`. One sample may be in several.
        total: Integer, number of samples that there should be.
        max_missing_fraction: Float, fraction of them that may be left out.

    Raises:
        ValueError: If there are more.
    """
    count = count_samples(left_out)
    if count > max_missing_fraction * total:
        raise ValueError(
            f"At most {max_missing_fraction:.1%} of the samples may be left "
            f"out. Received: {count} of {total} that cannot be read:\n"
            f"{listed_by_reason(left_out)}\nMend the files, or raise "
            "`max_missing_fraction`."
        )


def count_samples(left_out: Sequence[Mapping[str, str]]) -> int:
    """Return the number of samples in a list of what is left out.

    Args:
        left_out: As for `check_left_out`.
    """
    return len({(entry.get("part"), entry["name"]) for entry in left_out})


def listed_by_reason(left_out: Sequence[Mapping[str, str]]) -> str:
    """Return a line for each reason: how many files, and which.

    A file that is read for two modalities is named once a reason.

    Args:
        left_out: As for `check_left_out`.
    """
    reasons: dict[str, dict[str, list[str]]] = {}
    for entry in left_out:
        files = reasons.setdefault(entry["reason"], {})
        samples = files.setdefault(entry.get("file", ""), [])
        if entry["name"] not in samples:
            samples.append(entry["name"])
    lines = []
    for reason, files in reasons.items():
        # Samples without a file stand for themselves.
        names = [repr(name) for name in files.pop("", [])]
        for file, samples in files.items():
            more = f" and {len(samples) - 1} more" if samples[1:] else ""
            names.append(f"{file} ({samples[0]!r}{more})")
        listed = ", ".join(names[:_NAMED_AT_MOST])
        if len(names) > _NAMED_AT_MOST:
            listed += f" and {len(names) - _NAMED_AT_MOST} more"
        lines.append(f"  {reason} ({len(names)}): {listed}")
    return "\n".join(lines)


def _check_source(sample: Sample, modality: str, reader: Reader) -> None:
    """Raise a ValueError if a reader does not read a sample's source."""
    source = sample.sources[modality]
    # Readers of one's own may read anything.
    kind = getattr(reader, "source_type", object)
    if not isinstance(source, kind):
        raise ValueError(
            f"The {type(reader).__name__} of {modality!r} reads a "
            f"{kind.__name__}. Received: {reprlib.repr(source)} in sample "
            f"{sample.name!r}. Files are written as Source(path), texts as "
            "they are."
        )


def _common_folder(samples: Sequence[Sample]) -> str | None:
    """Return the folder that all files have in common, None without one."""
    folders = {
        os.path.dirname(source.path)
        for sample in samples
        for source in sample.sources.values()
        if isinstance(source, Source)
    }
    try:
        return os.path.commonpath([os.path.abspath(x) for x in folders])
    # No files, or on several drives.
    except ValueError:
        return None


def _settings(reader: Reader, source: Source) -> dict[str, Any]:
    """Return all but the file that a prepared array depends on."""
    return {"start": source.start, "end": source.end, **(reader.settings or {})}
