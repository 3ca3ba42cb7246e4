"""Sound decoded and resampled inside a tf.data graph, by tensorflow-io.

For an environment of its own (extra `tensorflow-io`): its last release ends at
TensorFlow 2.17. Nothing else in the package imports this module.
"""

import copy
import functools
import math
import os
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_c2kd.data.modality_readers import AudioReader
from keras_c2kd.data.paired_dataset import PairedDataset
from keras_c2kd.data.paired_dataset import Source

_INSTALL = (
    'Make an environment of its own for it, with pip install "keras_c2kd'
    '[tensorflow-io]"; everything else reads media without it.'
)
try:
    import tensorflow as tf
    import tensorflow_io as tfio
except ImportError as error:
    raise ImportError(
        f"This reader needs tensorflow and tensorflow-io. {_INSTALL}"
    ) from error
if tf.__version__.split(".")[:2] not in (["2", "16"], ["2", "17"]):
    raise ImportError(
        "tensorflow-io runs with TensorFlow 2.16 and 2.17. Received: "
        f"{tf.__version__}. {_INSTALL}"
    )

_LFS = b"version https://git-lfs"
# Of a rate in a damaged header, a second need not fit into memory.
_LARGEST_RATE = 768000
# Taps of tensorflow-io's resampling filter at the lower of the two rates.
_TAPS = 64
# MP3: samples a second of MPEG 1, halved by MPEG 2, quartered by MPEG 2.5.
_MP3_RATES = (44100, 48000, 32000)


def read_audio_in_graph(
    path: Any, rate: int, start: Any = 0.0, end: Any = None
) -> Any:
    """Read a file's sound as one channel at a given rate, by graph operations.

    What `media.read_audio` does, for tf.data; the file's first bytes tell its
    format. The samples of WAV (8, 16 or 24 bits, or 32-bit float) and FLAC
    (8, 16 or 24 bits) are equal to soundfile's; those of OGG Vorbis and MP3
    are within 1e-6 of them.

    The length is soxr's at every rate. Values differ, for tensorflow-io's
    filter is shorter than soxr's HQ. Measured from 16,000 to 22,050 Hz and
    from 44,100, 48,000 and 22,050 to 16,000 Hz, at a peak of 0.5:

    - below 80 % of the lower rate's half (6.4 of 8 kHz): by at most 3e-4,
      within 100 samples of the ends, where the wave is cut off, 3e-2;
    - above, tensorflow-io lets less through and more pass that is not in the
      file: a tone at 7 kHz differs by up to 0.025, one at 7.5 kHz by 0.36.

    In a log-spectrogram of noise at 22,050 Hz that is 4e-4 on average below
    6.4 kHz, 0.6 from 7 to 8 kHz, and 2 above, where the file has no sound
    (about -10 instead of -12). Train and evaluate with the same reader.

    Args:
        path: Path of the file, or a string tensor. It is only read.
        rate: Integer, samples a second of the result.
        start: Float or float64 tensor, seconds to leave out. Defaults to `0.0`.
        end: Float or float64 tensor, seconds at which the part ends; `None`
            (default) or infinity for the end of the file.

    Returns:
        Float32 tensor `(samples,)`, about -1 to 1, at least one sample.

    Raises:
        tf.errors.NotFoundError: If the file is missing.
        tf.errors.InvalidArgumentError: With the path and the reason, if the
            file is empty, a Git LFS stub, damaged, cut off, of another
            format, or over before `start`.
    """
    if not tf.is_tensor(path):
        path = tf.constant(os.fspath(path))
    content = tf.io.read_file(path)
    content = _if(tf.strings.length(content) > 0, content, path, "is empty")
    content = _if(
        tf.strings.substr(content, 0, len(_LFS)) != _LFS,
        content,
        path,
        "is a Git LFS stub: fetch the media with `git lfs pull`",
    )
    wave, own_rate = _decoded_or_nothing(content)
    own_rate = _if(
        (0 < own_rate) & (own_rate <= _LARGEST_RATE),
        own_rate,
        path,
        "is damaged or cut off, or not of a format that tensorflow-io decodes "
        "(WAV of 8, 16, 24 bits or 32-bit float, FLAC, OGG Vorbis, MP3)",
    )
    wave = _part(wave, own_rate, start, math.inf if end is None else end)
    reason = ["has no sound from second ", tf.as_string(start), " on"]
    wave = _if(tf.size(wave) > 0, wave, path, *reason)
    wave = tf.cond(
        own_rate == rate, lambda: wave, lambda: _resampled(wave, own_rate, rate)
    )
    return _if(
        tf.size(wave) > 0,
        wave,
        path,
        f"has less sound than a sample at {rate} Hz",
    )


def tensorflow_io_batches(
    dataset: PairedDataset, modality: str = "audio"
) -> Any:
    """Return a PairedDataset's batches with the sound read by tensorflow-io.

    The same samples in the same batches and order. Only the sound's files go
    through `read_audio_in_graph`, several at a time and without Python; their
    views, the labels and the other modalities come from the data set itself,
    and so do all draws.

    Not for speed: resampling 2.5 s takes tensorflow-io 18 ms of a core, soxr
    0.6 ms; and the data set's cache, which is not used for the sound, needs no
    decoding at all.

    The epoch is the data set's when a pass begins. As Keras cannot tell it,
    training needs `FollowEpochs`; without it every epoch is the same:

    ```python
    distiller.fit(
        tensorflow_io_batches(data.train),
        validation_data=tensorflow_io_batches(data.validation),
        shuffle=False,
        callbacks=[FollowEpochs(data.train)],
    )
    ```

    Args:
        dataset: `PairedDataset`, after its `prepare`.
        modality: String, a modality of its batches with an `AudioReader`.
            Defaults to `"audio"`.

    Returns:
        `tf.data.Dataset` of `({modality: array}, labels)`.

    Raises:
        ValueError: If the modality is not in the batches, or no sound.
        MediaError: If the first sample's other modalities cannot be read.
        tf.errors.OpError: By an iteration, with the path and the reason, if a
            file cannot be read, or is silent.
    """
    reader = dataset.readers.get(modality)
    known = (*dataset.chosen, dataset.second_view)
    if modality not in known or not isinstance(reader, AudioReader):
        raise ValueError(
            "`modality` is one of the batches' modalities and has an "
            f"`AudioReader`. Received: modality={modality!r} with the reader "
            f"{reader!r}, batches of {list(dataset.chosen)}"
        )
    steps = _Steps(dataset, modality, reader)
    return (
        tf.data.Dataset.from_tensors(0)
        .map(steps.list_files)
        .unbatch()
        .map(steps.read, num_parallel_calls=tf.data.AUTOTUNE)
        .ragged_batch(dataset.batch_size)
        .map(steps.batch, num_parallel_calls=tf.data.AUTOTUNE)
        .apply(tf.data.experimental.assert_cardinality(len(dataset)))
        .prefetch(tf.data.AUTOTUNE)
    )


class _Steps:
    """What a pass does, step by step."""

    def __init__(
        self, dataset: PairedDataset, modality: str, reader: AudioReader
    ) -> None:
        self.dataset = dataset
        self.modality = modality
        self.reader = reader
        # With an invented wave: what the batches consist of.
        self.example = self._batch([0], 0, [np.ones(1)])

    def list_files(self, _: Any) -> tuple[Any, ...]:
        """Return the samples in their order, as the pass begins."""
        types = [tf.int64, tf.int64, tf.string, tf.float64, tf.float64]
        columns = tf.numpy_function(self._columns, [], types)
        for column in columns:
            column.set_shape((None,))
        return tuple(columns)

    def read(
        self, index: Any, epoch: Any, path: Any, start: Any, end: Any
    ) -> tuple[Any, Any, Any]:
        """Return one sample's wave."""
        rate = self.reader.spectrogram.rate
        wave = read_audio_in_graph(path, rate, start, end)
        is_heard = tf.reduce_any(wave != 0.0)
        return index, epoch, _if(is_heard, wave, path, "is silent")

    def batch(self, indices: Any, epochs: Any, waves: Any) -> Any:
        """Return the data set's batch, made with these waves."""

        def leaves_of(
            indices: NDArray[Any],
            epoch: NDArray[Any],
            values: NDArray[Any],
            lengths: NDArray[Any],
        ) -> Any:
            waves = np.split(values, np.cumsum(lengths)[:-1])
            return tf.nest.flatten(self._batch(indices, epoch, waves))

        leaves = tf.nest.flatten(self.example)
        arrays = tf.numpy_function(
            leaves_of,
            [indices, epochs[0], waves.values, waves.row_lengths()],
            [leaf.dtype for leaf in leaves],
        )
        for array, leaf in zip(arrays, leaves):
            array.set_shape((None, *leaf.shape[1:]))
        return tf.nest.pack_sequence_as(self.example, arrays)

    def _columns(self) -> tuple[NDArray[Any], ...]:
        listing: Any = copy.copy(self.dataset)
        # Its batches are the samples' numbers.
        listing.batch = np.asarray
        batches = [listing[i] for i in range(len(listing))]
        indices = np.concatenate(batches).astype("int64")
        sources = self._sources(indices)
        ends = [math.inf if x.end is None else x.end for x in sources]
        return (
            indices,
            np.full(len(indices), listing.epoch, "int64"),
            np.asarray([os.fsencode(source.path) for source in sources]),
            np.asarray([source.start for source in sources], "float64"),
            np.asarray(ends, "float64"),
        )

    def _batch(
        self, indices: Any, epoch: Any, waves: Sequence[NDArray[Any]]
    ) -> Any:
        at_epoch = copy.copy(self.dataset)
        at_epoch.epoch = int(epoch)
        at_epoch.readers = {
            **self.dataset.readers,
            self.modality: _DecodedReader(
                self.reader, dict(zip(self._sources(indices), waves))
            ),
        }
        return at_epoch.batch(indices)

    def _sources(self, indices: Any) -> list[Source]:
        samples = self.dataset.samples
        return [samples[i].sources[self.modality] for i in indices]


class _DecodedReader:
    """An `AudioReader` of waves that have been read."""

    # Nothing to look for in a cache.
    settings = None

    def __init__(
        self, reader: AudioReader, waves: dict[Source, NDArray[Any]]
    ) -> None:
        self.view = reader.view
        self.waves = waves

    def prepare(self, source: Source) -> NDArray[Any]:
        return self.waves[source]


def _if(condition: Any, value: Any, path: Any, *reason: Any) -> Any:
    """Return a value under a condition; raise with path and reason else."""
    message = tf.strings.join([path, ": ", *reason])
    with tf.control_dependencies([tf.debugging.Assert(condition, [message])]):
        return tf.identity(value)


def _decoded_or_nothing(content: Any) -> tuple[Any, Any]:
    """Return the wave and its rate; no sample and 0 if decoding fails.

    A graph has no `except`, and the decoders' errors do not name the file;
    but a data set can go on behind an element that fails.
    """
    found = tf.data.Dataset.from_tensors(content).map(_decoded).ignore_errors()
    nothing = (tf.zeros([0]), tf.zeros([], tf.int64))
    either = found.concatenate(tf.data.Dataset.from_tensors(nothing))
    return either.take(1).get_single_element()


def _decoded(content: Any) -> tuple[Any, Any]:
    """Return the mean of the channels, and the file's rate.

    The decoders do not return the rate, which is read from the headers here.
    `tfio.audio.AudioIOTensor` would, but its handle is one a graph: files that
    are read in parallel get mixed up.
    """
    beginning = tf.strings.substr(content, 0, 4)
    # The first that holds; what begins otherwise may be MP3.
    cases = tf.concat([beginning == [b"RIFF", b"fLaC", b"OggS"], [True]], 0)
    formats = (_wav, _flac, _vorbis, _mp3)
    channels, rate = tf.switch_case(
        tf.argmax(cases, output_type=tf.int32),
        [functools.partial(decode, content) for decode in formats],
    )
    return tf.reduce_mean(channels, axis=1), rate


def _wav(content: Any) -> tuple[Any, Any]:
    # If the samples are an odd number of bytes, the decoder looks for another
    # chunk behind the last byte.
    content = tf.strings.join([content, b"\0" * 8])

    def behind(position: Any) -> Any:
        size = _number(content, position + 4, 4)
        return position + 8 + size + size % 2

    # Other chunks may come first.
    position = tf.while_loop(
        lambda at: tf.strings.substr(content, at, 4) != b"fmt ",
        behind,
        [tf.constant(12, tf.int64)],
    )[0]
    kind = _number(content, position + 8, 2)
    # The extensible kind says further behind what it is.
    kind = tf.where(kind == 0xFFFE, _number(content, position + 32, 2), kind)
    bits = _number(content, position + 22, 2)
    # 1: integers, 3: floats. The decoder would take one for the other.
    tf.debugging.Assert((kind == 3) == (bits == 32), [kind, bits])
    wave = _by_bits(tfio.audio.decode_wav, content, bits, (8, 16, 24, 32))
    return wave, _number(content, position + 12, 4)


def _flac(content: Any) -> tuple[Any, Any]:
    # 20 bits of rate, 3 of channels, 5 of bits less 1, 4 of the length.
    packed = _number(content, 18, 4, big_endian=True)
    bits = packed // 2**4 % 2**5 + 1
    wave = _by_bits(tfio.audio.decode_flac, content, bits, (8, 16, 24))
    return wave, packed // 2**12


def _vorbis(content: Any) -> tuple[Any, Any]:
    return tfio.audio.decode_vorbis(content), _number(content, 40, 4)


def _mp3(content: Any) -> tuple[Any, Any]:
    # Tags come first, whose size has 7 bits a byte.
    has_tags = tf.strings.substr(content, 0, 3) == b"ID3"
    size = _number(content, 6, 4, big_endian=True, base=2**7)
    position = tf.where(has_tags, 10 + size, 0)
    frame = _number(content, position, 4, big_endian=True)
    tf.debugging.Assert(frame // 2**21 == 2**11 - 1, [frame])
    # 3: MPEG 1, 2: MPEG 2, 0: MPEG 2.5; 1 and a fourth rate do not exist.
    version, number = frame // 2**19 % 4, frame // 2**10 % 4
    rate = tf.gather(tf.constant(_MP3_RATES, tf.int64), number)
    divisor = tf.gather(tf.constant([4, 1, 2, 1], tf.int64), version)
    return tfio.audio.decode_mp3(content), rate // divisor


def _number(
    content: Any,
    position: Any,
    size: int,
    big_endian: bool = False,
    base: int = 2**8,
) -> Any:
    """Return a number in a file's header, int64."""
    part = tf.strings.substr(content, position, size)
    digits = tf.cast(tf.io.decode_raw(part, tf.uint8), tf.int64)
    weights = [base**digit for digit in range(size)]
    weights = weights[::-1] if big_endian else weights
    return tf.reduce_sum(digits * tf.constant(weights, tf.int64))


def _by_bits(
    decode: Callable[..., Any], content: Any, bits: Any, possible: Sequence[int]
) -> Any:
    """Decode samples of as many bits as the header says, to -1 to 1."""
    # 24 bits come as the upper ones of 32.
    kinds = {
        8: (tf.uint8, 2**7),
        16: (tf.int16, 2**15),
        24: (tf.int32, 2**31),
        32: (tf.float32, 1),
    }

    def scaled(number: int) -> Any:
        dtype, scale = kinds[number]
        # Raises if the file's samples are not of this type.
        wave = tf.cast(decode(content, dtype=dtype), tf.float32) / scale
        return wave - 1.0 if number == 8 else wave

    return tf.switch_case(
        tf.cast(bits // 8 - 1, tf.int32),
        [functools.partial(scaled, number) for number in possible],
    )


def _part(wave: Any, rate: Any, start: Any, end: Any) -> Any:
    """Return the part between two seconds, as Python's slices bound it."""
    seconds = [tf.convert_to_tensor(x, tf.float64) for x in (start, end)]
    # Both Python's and TensorFlow's halves are rounded to even.
    bounds = tf.round(tf.stack(seconds) * tf.cast(rate, tf.float64))
    bounds = tf.minimum(bounds, tf.cast(tf.size(wave), tf.float64))
    first, last = tf.unstack(tf.cast(bounds, tf.int64))
    return wave[first:last]


def _resampled(wave: Any, own_rate: Any, rate: int) -> Any:
    """Resample to soxr's length, without tensorflow-io's delay.

    Its output is late by half its filter, of which it cuts off as much at the
    end. With zeros in front that make this a whole number of samples at the
    new rate, and zeros behind, it can be taken away.
    """
    samples = tf.size(wave, tf.int64)
    divisors = [number for number in range(1, rate + 1) if rate % number == 0]
    common = tf.cast(own_rate % divisors == 0, tf.int64) * divisors
    divisor = tf.reduce_max(common)
    numerator, denominator = own_rate // divisor, rate // divisor
    shortest = tf.constant(_TAPS, tf.int64)
    taps = tf.maximum(shortest, shortest * numerator // denominator)
    delay = (taps + 7) // 8 * 8 // 2
    front = -delay % numerator
    padded = tf.pad(wave, [[front, delay + numerator]])
    first = (delay + front) // numerator * denominator
    length = (2 * samples * rate + own_rate) // (2 * own_rate)
    late = tfio.audio.resample(padded, own_rate, rate)
    return tf.ensure_shape(late, (None,))[first : first + length]
