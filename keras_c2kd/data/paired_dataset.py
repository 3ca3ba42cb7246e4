"""Paired samples from media files, as batches keyed by modality."""

import concurrent.futures
import dataclasses
import os
import pathlib

import keras
import numpy as np

from keras_c2kd.data.array_cache import ArrayCache
from keras_c2kd.data.media import MediaError


@dataclasses.dataclass(frozen=True)
class Source:
    """A part of a media file.

    Args:
        path: Path of the file.
        start: Float, second at which the part begins. Defaults to `0.0`.
        end: Float, second at which it ends, or None for the file's end.
    """

    path: pathlib.Path
    start: float = 0.0
    end: float | None = None


@dataclasses.dataclass(frozen=True)
class Sample:
    """One labelled sample.

    Args:
        name: String, the sample's name in the data set.
        label: Integer, its class.
        sources: Dict from the modality to a `Source`, or to the text itself.
    """

    name: str
    label: int
    sources: dict


class PairedDataset(keras.utils.PyDataset):
    """Batches `({modality: array}, labels)` of samples on disk.

    The array is a dict of arrays for texts.

    Training is shuffled and augmented anew in each epoch, from the seed, the
    epoch and the sample alone: the batches do not depend on the number of
    workers, nor on what was read before. Evaluation is the same every time.

    Args:
        samples: List of `Sample`.
        readers: Dict from the modality to a reader, such as `AudioReader` and
            `FrameReader`.
        cache: Folder of prepared arrays, or None to read the media anew each
            time.
        batch_size: Integer. Defaults to `64`.
        training: Whether to shuffle and augment. Defaults to `False`.
        seed: Integer. Defaults to `0`.
        **kwargs: `workers`, `use_multiprocessing`, `max_queue_size` of
            `keras.utils.PyDataset`.

    Attributes:
        epoch: Integer, which the batches of training depend on. It counts the
            epochs that have ended, and Keras' look at the first batch before
            training may count as one: with `FollowEpochs` among the callbacks
            it is Keras' own number, in an interrupted run that goes on too.

    Raises:
        ValueError: If there are no samples, or one lacks a modality.
        MediaError: By a batch with a file that cannot be read; call `prepare`
            first to have all of them listed.
    """

    def __init__(
        self,
        samples,
        readers,
        cache=None,
        batch_size=64,
        training=False,
        seed=0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not samples:
            raise ValueError("There must be samples. Received: none.")
        for sample in samples:
            if missing := set(readers) - set(sample.sources):
                raise ValueError(
                    f"Every sample needs {sorted(readers)}. Received: "
                    f"{sample.name!r} without {sorted(missing)}"
                )
        self.samples = list(samples)
        self.readers = dict(readers)
        self.cache = None if cache is None else ArrayCache(cache)
        self.batch_size = batch_size
        self.training = training
        self.seed = seed
        self.epoch = 0

    def __len__(self):
        return -(-len(self.samples) // self.batch_size)

    def __getitem__(self, index):
        order = np.arange(len(self.samples))
        if self.training:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(
                order
            )
        chosen = order[index * self.batch_size :][: self.batch_size]
        inputs = {
            modality: keras.tree.map_structure(
                lambda *arrays: np.stack(arrays),
                *[self._view(modality, i) for i in chosen],
            )
            for modality in self.readers
        }
        labels = [self.samples[i].label for i in chosen]
        return inputs, np.asarray(labels, "int32")

    def on_epoch_end(self):
        """Shuffle and augment differently from now on."""
        self.epoch += 1

    def prepare(self, largest_share=0.01, verbose=1):
        """Read every file once, and leave out the samples that cannot be.

        With a cache, what was read is kept, and a call that is interrupted
        goes on where it stopped.

        Args:
            largest_share: Float, share of the samples that may be left out.
                Defaults to `0.01`.
            verbose: `1` (default) for a progress bar, `0` for silence.

        Returns:
            List of dicts with the `name`, the `modality` and the `reason` of
            what was left out.

        Raises:
            ValueError: If more samples than the share cannot be read.
        """
        total = len(self.samples)
        progress = keras.utils.Progbar(total, verbose=verbose, unit_name="file")
        failures = []
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for number, failure in enumerate(
                pool.map(self._failure_of, range(total))
            ):
                failures.append(failure)
                progress.update(number + 1)
        left_out = [failure for failure in failures if failure]
        if len(left_out) > largest_share * total:
            first = left_out[0]
            raise ValueError(
                f"At most {largest_share:.1%} of the samples may be left out. "
                f"Received: {len(left_out)} of {total} that cannot be read, "
                f"such as {first['name']!r}: {first['modality']} "
                f"{first['reason']}. Mend the files, or raise `largest_share`."
            )
        self.samples = [
            sample
            for sample, failure in zip(self.samples, failures)
            if not failure
        ]
        return left_out

    def _failure_of(self, index):
        """Return what stands in the way of a sample, or None."""
        for modality in self.readers:
            try:
                self._prepared(modality, index)
            except MediaError as error:
                return {
                    "name": self.samples[index].name,
                    "modality": modality,
                    "reason": error.reason,
                }
        return None

    def _prepared(self, modality, index):
        reader = self.readers[modality]
        source = self.samples[index].sources[modality]
        is_cached = self.cache is not None and reader.settings is not None
        if not is_cached or not pathlib.Path(source.path).is_file():
            return reader.prepare(source)
        return self.cache.get(
            source.path,
            {"start": source.start, "end": source.end, **reader.settings},
            lambda: reader.prepare(source),
        )

    def _view(self, modality, index):
        random = None
        if self.training:
            number = list(self.readers).index(modality)
            random = np.random.default_rng(
                [self.seed, self.epoch, int(index), number]
            )
        return self.readers[modality].view(
            self._prepared(modality, index), random
        )


class FollowEpochs(keras.callbacks.Callback):
    """Gives a `PairedDataset` the number of the epoch that begins.

    With it, `fit(..., initial_epoch=30)` trains on the batches that the 31st
    epoch of an uninterrupted run has.

    Args:
        dataset: `PairedDataset` that is trained on.
    """

    def __init__(self, dataset):
        super().__init__()
        self.dataset = dataset

    def on_epoch_begin(self, epoch, logs=None):
        """Set the number, before the first batch is read."""
        self.dataset.epoch = epoch
