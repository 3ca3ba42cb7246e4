"""Sound, frames and images from files, with a reason where there are none."""

import contextlib
import math
import os
import pathlib
import stat
from collections.abc import Iterator
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_c2kd.data.file_kinds import kind_of
from keras_c2kd.data.promised_bytes import mapped
from keras_c2kd.data.promised_bytes import missing_bytes
from keras_c2kd.data.promised_bytes import mp3_samples
from keras_c2kd.data.promised_bytes import wave_coding
from keras_c2kd.data.promised_bytes import with_known_sizes
from keras_c2kd.utils.optional_imports import import_optional

_LFS = b"version https://git-lfs"
# A video that is whole by its bytes is damaged if it is shorter than it says
# by more than both: durations are not exact.
_MISSING_SECONDS = 0.5
_MISSING_FRACTION = 0.1
_VIDEOS = ("MP4", "MKV", "WebM", "FLV", "AVI", "WMV", "MPEG")
_SOUNDS = ("WAV", "FLAC", "OGG", "MP3")
_WAVE_CODINGS = ("PCM", "float", "ADPCM", "A-law", "mu-law")
_SOUND_FILES = (".wav", ".flac", ".ogg", ".mp3")
# Pillow reads more; of EPS, by running it as a program.
_PHOTOGRAPHS = ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP")
# What a header may claim before it is taken for damaged: nobody's memory or
# patience is spent on a few turned bits.
_RATES = (1000, 1_000_000)
_MOST_PIXELS = 2**26
# Pixels of a frame that is repeated: 6 minutes at 480 x 720 and one a second.
_MOST_REPEATED = 2**27
# Numbers that are decoded at a time.
_BLOCK = 2**20
# Time stamps of sound are rounded by up to some milliseconds; what differs
# more, in seconds, is a gap or an overlap.
_JITTER = 0.05
# What libsndfile says of a file whose kind it does not know.
_UNKNOWN_FORMAT = 1
# What it says of a length that the file does not know is more than this.
_UNKNOWN_LENGTH = 2**62
# Codings of WAV files that libsndfile reads.
_CODINGS = (1, 2, 3, 6, 7, 17, 20, 49, 64, 85, 100, 0xFFFE)
# Samples of silence that are put into gaps: 12 minutes at 48 kHz.
_MOST_SILENCE = 2**25


class MediaError(Exception):
    """A file that cannot be read, and why.

    Args:
        path: Path of the file.
        reason: String, a few words that complete "the file ...".

    Example:
    >>> str(MediaError("clip.wav", "is empty"))
    'clip.wav: is empty'
    """

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = pathlib.Path(path)
        self.reason = reason


def read_audio(
    path: str | os.PathLike[str],
    rate: int,
    start: float = 0.0,
    end: float | None = None,
) -> NDArray[np.float32]:
    """Read a file's sound as one channel at a given rate.

    WAV, FLAC, OGG and MP3 are read by soundfile, everything else (the sound
    of videos) by PyAV; channels are averaged; soxr resamples (quality HQ).
    The sound of a video lies as its time stamps say, from the first picture
    on, as `read_frames` counts: where there is no sound, it is silent.

    A file that has fewer bytes or samples than its headers promise is cut
    off, however little is missing. Of a video that is read to an `end`, only
    that part has to be there. Sizes that are unknown, as of a WAV file that
    was written to a pipe, promise nothing: then, and where they are not exact
    (the number of samples of an MP3 file that does not count its frames, the
    durations of FLV, Matroska and MPEG streams), the decoder has the word.

    Args:
        path: Path of the file. It is only read.
        rate: Integer, samples a second of the result.
        start: Float, seconds to leave out. Defaults to `0.0`.
        end: Float, seconds at which the part ends; `None` (default) for the
            end of the file.

    Returns:
        Float32 array `(samples,)`, about -1 to 1, at least one sample.

    Raises:
        MediaError: If the file is missing, a Git LFS stub, damaged, cut off,
            of a kind that is not supported, without sound, or over before
            `start`.
        ValueError: If `start` is negative.
        ImportError: If the readers are not installed (extra `data`).
    """
    _check_start(start)
    is_sound_file = pathlib.Path(path).suffix.lower() in _SOUND_FILES
    _check_file(path, _SOUNDS if is_sound_file else _VIDEOS)
    if is_sound_file:
        wave, own_rate = _read_sound_file(path)
    else:
        wave, own_rate = _read_sound_track(path, end)
    first = round(start * own_rate)
    last = None if end is None else round(end * own_rate)
    wave = wave[first:last]
    if not len(wave):
        raise MediaError(path, f"has no sound from second {start} on")
    if own_rate != rate:
        wave = reader_module("soxr").resample(
            wave, own_rate, rate, quality="HQ"
        )
    if not len(wave):
        raise MediaError(path, f"has less sound than a sample at {rate} Hz")
    if not np.isfinite(wave).all():
        raise MediaError(path, "is damaged (NaN or infinity in its sound)")
    return np.ascontiguousarray(wave, dtype="float32")


def read_frames(
    path: str | os.PathLike[str],
    per_second: float = 1.0,
    start: float = 0.0,
    end: float | None = None,
) -> NDArray[np.uint8]:
    """Read a video's frames at equal distances, by their time stamps.

    Of each interval of `1 / per_second` the first frame is taken; of one in
    which no frame begins, the frame that is still on the screen, as a player
    shows it: the position of a frame in the result gives its time. Behind the
    last frame of the file nothing is repeated. Containers do not count frames
    reliably, so neither frame numbers nor the nominal frame rate are used.
    Frames are upright as the file's display matrix says, which telephones
    write. What is cut off: see `read_audio`.

    Args:
        path: Path of the video. It is only read.
        per_second: Float, frames a second. Defaults to `1.0`.
        start: Float, second of the first frame. Defaults to `0.0`.
        end: Float, second before which the last frame lies; `None` (default)
            for the end of the file.

    Returns:
        Uint8 array `(frames, height, width, 3)`, at least one frame.

    Raises:
        MediaError: If the file is missing, a Git LFS stub, damaged, cut off,
            of a kind that is not supported, without pictures, or over before
            `start`.
        ValueError: If `start` is negative.
        ImportError: If the readers are not installed (extra `data`).
    """
    _check_start(start)
    _check_file(path, _VIDEOS)
    frames: list[NDArray[np.uint8]] = []
    first, shown = None, None
    with _opened(path) as container:
        if not container.streams.video:
            raise MediaError(path, "has no video stream")
        stream = container.streams.video[0]
        _check_coding(path, stream)
        stream.thread_type = "NONE"
        time, last = 0.0, math.inf if end is None else end
        for frame in container.decode(stream):
            if frame.time is None:
                continue
            _check_size(path, frame.width, frame.height)
            if first is None:
                first, matrix = frame.time, _display_matrix(frame)
            time = frame.time - first
            is_over = time >= last - 1e-6
            if is_over:
                number = math.ceil((last - start - 1e-6) * per_second)
            else:
                number = math.floor((time - start + 1e-6) * per_second)
            if number > len(frames):
                pause = number - len(frames)
                _check_pause(path, shown, pause, per_second)
                frames += [_pixels(shown, matrix)] * pause
            if is_over:
                break
            if number == len(frames):
                frames.append(_pixels(frame, matrix))
            shown = frame
        else:
            time += 0.0 if shown is None else _seconds_shown(shown, stream)
            _check_length(path, container, stream, time, end, first)
    if len({frame.shape for frame in frames}) > 1:
        raise MediaError(path, "has frames of several sizes")
    if not frames:
        raise MediaError(path, f"has no frame from second {start} on")
    return np.stack(frames)


def read_image(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Read a photograph, upright as its camera says.

    Args:
        path: Path of the image: JPEG, PNG, GIF, WebP, TIFF or BMP, whatever
            its name says. It is only read.

    Returns:
        Uint8 array `(height, width, 3)`.

    Raises:
        MediaError: If the file is missing, a Git LFS stub, damaged, or of a
            kind that is not supported.
        ImportError: If Pillow is not installed (extra `data`).
    """
    _check_file(path, _PHOTOGRAPHS)
    image = reader_module("PIL.Image")
    operations = reader_module("PIL.ImageOps")
    with _damage_named(path), _opened_image(path) as file:
        _check_size(path, *file.size)
        upright = operations.exif_transpose(file)
        is_png = file.format == "PNG"
        if upright.mode.startswith("I;16") or (is_png and upright.mode == "I"):
            # Grey of 16 bits, of which Pillow would show all but the darkest
            # 256 as white.
            grey = np.clip(np.asarray(upright) // 256, 0, 255).astype("uint8")
            upright = image.fromarray(grey)
        return np.array(upright.convert("RGB"))


def _opened_image(path: str | os.PathLike[str]) -> Any:
    image = reader_module("PIL.Image")
    try:
        return image.open(path, formats=_PHOTOGRAPHS)
    except reader_module("PIL").UnidentifiedImageError:
        kind = kind_of(_beginning(path))
        # Pillow knows more kinds, whose files are not decoded here.
        with contextlib.suppress(Exception), image.open(path) as file:
            kind = kind or file.format
        raise _other_kind(path, kind, _PHOTOGRAPHS) from None


def _other_kind(
    path: str | os.PathLike[str], kind: str | None, supported: Sequence[str]
) -> MediaError:
    """Return the MediaError for a file of another kind, None if unknown."""
    supported = ", ".join(supported)
    if kind is None:
        reason = "is damaged, or of a kind that is not supported here"
        return MediaError(path, f"{reason} ({supported} are)")
    return MediaError(
        path,
        f"is {kind}, which is not supported here ({supported} are). Convert "
        "it, or name it as what it is",
    )


def _check_coding(path: str | os.PathLike[str], stream: Any) -> None:
    """Raise a MediaError if there is no decoder for a stream."""
    if stream.codec_context is None:
        raise MediaError(
            path,
            f"has {stream.type} of a coding that is not supported by this "
            "FFmpeg. Convert it",
        )


def _check_start(start: float) -> None:
    if start < 0:
        raise ValueError(
            "A part of a file starts at 0 seconds or later. Received: "
            f"start={start}"
        )


def _check_size(path: str | os.PathLike[str], width: int, height: int) -> None:
    """Raise a MediaError for pictures that are too large to be meant."""
    if width * height > _MOST_PIXELS:
        raise MediaError(
            path,
            f"claims pictures of {width} x {height} pixels, more than the "
            f"{_MOST_PIXELS:,} that are read",
        )


def _check_pause(
    path: str | os.PathLike[str], frame: Any, pause: int, per_second: float
) -> None:
    """Raise a MediaError for a pause that cannot be meant."""
    if pause * frame.width * frame.height > _MOST_REPEATED:
        raise MediaError(
            path, f"has no new frame for {pause / per_second:.0f} seconds"
        )


def _seconds_shown(frame: Any, stream: Any) -> float:
    """Return how long a frame is on the screen, as far as a file says."""
    # Older versions of PyAV do not know a frame's own duration.
    if duration := getattr(frame, "duration", None):
        return float(duration * frame.time_base)
    return float(1 / stream.average_rate) if stream.average_rate else 0.0


def _display_matrix(frame: Any) -> tuple[int, int, int, int]:
    """Return `(a, b, c, d)` of the matrix by which a frame is shown.

    A column of pixels moves by `(a, b)` to the right and down, a row by
    `(c, d)`.
    """
    # A frame that was asked for it is freed late: ask one of four pixels.
    small = frame.reformat(width=2, height=2, format="rgb24")
    if small.rotation != frame.rotation:
        # Older versions of PyAV do not copy it.
        small = frame
    matrix = small.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return 1, 0, 0, 1
    a, b, _, c, d = np.frombuffer(matrix, "int32")[:5].tolist()
    return a, b, c, d


def _pixels(frame: Any, matrix: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """Return a frame's pixels, upright."""
    pixels = frame.to_ndarray(format="rgb24")
    a, b, c, d = matrix
    if abs(b) + abs(c) > abs(a) + abs(d):
        pixels, (a, d) = pixels.swapaxes(0, 1), (c, b)
    pixels = pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    return np.ascontiguousarray(pixels)


def _check_rate(path: str | os.PathLike[str], rate: int | None) -> None:
    """Raise a MediaError for a sampling rate that cannot be meant."""
    if not _RATES[0] <= (rate or 0) <= _RATES[1]:
        raise MediaError(path, f"claims {rate} samples of sound a second")


def _beginning(path: str | os.PathLike[str]) -> bytes:
    """Return the bytes by which a file's kind is known."""
    with pathlib.Path(path).open("rb") as file:
        return file.read(max(len(_LFS), 16))


def _check_file(path: str | os.PathLike[str], supported: Sequence[str]) -> None:
    """Raise a MediaError for what is none of the supported media files."""
    path = pathlib.Path(path)
    try:
        # Others, such as pipes, may be waited for without an end.
        if not stat.S_ISREG(path.stat().st_mode):
            raise MediaError(path, "is no file")
        beginning = _beginning(path)
    except (FileNotFoundError, NotADirectoryError):
        raise MediaError(path, "is missing") from None
    # Names may be too long, or have a byte of zero.
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise MediaError(path, f"cannot be opened ({reason})") from None
    if not beginning:
        raise MediaError(path, "is empty")
    if beginning == _LFS:
        raise MediaError(
            path, "is a Git LFS stub: fetch the media with `git lfs pull`"
        )
    # Decoders of MP3 find some frame in any file.
    kind = kind_of(beginning, recordings=supported is _SOUNDS)
    if kind is not None:
        raise _other_kind(path, kind, supported)


@contextlib.contextmanager
def _damage_named(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn whatever a decoder raises for a file into a MediaError."""
    try:
        yield
    except (MediaError, ImportError):
        raise
    # Decoders answer broken bytes with any exception.
    except Exception as error:
        what = str(getattr(error, "strerror", None) or error)
        raise MediaError(path, f"is damaged ({what})") from error


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Open a container; its metadata need not be text.

    FFmpeg takes playlists for containers, whatever their name says. They
    name other files and addresses, of which none is opened.
    """
    av = reader_module("av")
    with _damage_named(path), open(path, "rb") as file:
        try:
            container = av.open(
                file,
                metadata_errors="ignore",
                container_options={"protocol_whitelist": "none"},
            )
        except av.error.FFmpegError:
            # Of recordings FFmpeg says what is wrong with them.
            if kind_of(_beginning(path)) is None:
                raise _other_kind(path, None, _VIDEOS) from None
            raise
        with container:
            yield container


def _check_length(
    path: str | os.PathLike[str],
    container: Any,
    stream: Any,
    seconds: float,
    end: float | None,
    origin: float | None = None,
) -> None:
    """Raise a MediaError if less was there than the file says.

    Args:
        path: Path of the file.
        container: The open file.
        stream: The stream that was read to its end.
        seconds: Float, where it ended, counted from `origin`.
        end: Float, as of `read_audio`.
        origin: Float, the time stamp from which seconds are counted; None
            (default) for the stream's first.
    """
    if end is not None and seconds >= end:
        return
    with mapped(path) as content:
        missing = missing_bytes(content)
    part, unit = stream, stream.time_base
    if stream.duration is None:
        part, unit = container, 1e-6
    start = float((part.start_time or 0) * unit)
    first = start if origin is None else origin
    declared = start - first + float((part.duration or 0) * unit)
    if missing and declared - seconds < _JITTER:
        _check_bytes(path, missing)
    wanted = declared if end is None else min(end, declared)
    allowed = max(_MISSING_SECONDS, _MISSING_FRACTION * wanted)
    is_short = wanted - seconds > allowed
    if is_short and part is container:
        # Its duration is that of its longest stream.
        is_short = wanted - (_last_second(path) - first) > allowed
    if missing or is_short:
        raise MediaError(
            path, f"is cut off after {seconds:.1f} of {declared:.1f} seconds"
        )


def _last_second(path: str | os.PathLike[str]) -> float:
    """Return where the last packet of any stream ends."""
    with _opened(path) as container:
        ends = [
            float((packet.pts + (packet.duration or 0)) * packet.time_base)
            for packet in container.demux()
            if packet.pts is not None
        ]
    return max(ends, default=0.0)


def _check_bytes(
    path: str | os.PathLike[str], missing: tuple[int, int | None] | None
) -> None:
    """Raise a MediaError if bytes are missing, see `missing_bytes`."""
    if missing is None:
        return
    there, promised = missing
    if promised is None:
        raise MediaError(path, f"is cut off after {there:,} bytes, without end")
    raise MediaError(path, f"is cut off after {there:,} of {promised:,} bytes")


def _read_sound_file(path: str | os.PathLike[str]) -> tuple[NDArray[Any], int]:
    soundfile = reader_module("soundfile")
    with _damage_named(path), mapped(path) as content:
        _check_bytes(path, missing_bytes(content))
        name = with_known_sizes(content) or _name_of(path)
        samples = mp3_samples(content)
        coding = wave_coding(content)
    parts = [np.zeros(0, "float32")]
    with _damage_named(path):
        try:
            file = soundfile.SoundFile(name)
        except soundfile.LibsndfileError as error:
            if error.code == _UNKNOWN_FORMAT:
                raise _other_kind(path, None, _SOUNDS) from None
            if coding is not None and coding not in _CODINGS:
                kind = f"WAV of the coding {coding:#06x}"
                raise _other_kind(path, kind, _WAVE_CODINGS) from None
            raise
        with file:
            rate = file.samplerate
            _check_rate(path, rate)
            if file.frames > _UNKNOWN_LENGTH:
                # FLAC that was written to a pipe, which soundfile cannot read.
                return _read_sound_track(path, None)
            if file.subtype == "OPUS":
                # Else libsndfile plays the decoder's delay too, in streams
                # that do not begin at 0.
                file.seek(0)
            size = _BLOCK // file.channels
            # As long as there is sound, whatever length the header claims.
            while len(block := file.read(size, "float32", always_2d=True)):
                parts.append(block.mean(axis=1))
            declared = file.frames
    wave = np.concatenate(parts)
    if samples is not None and len(wave) < samples:
        # libsndfile estimates how many there are, and reads no more.
        return _read_sound_track(path, None)
    if samples is None and len(wave) < declared:
        raise MediaError(
            path, f"is cut off after {len(wave):,} of {declared:,} samples"
        )
    return wave, rate


def _name_of(path: str | os.PathLike[str]) -> str | bytes:
    """Return a path for libsndfile, which need not be text."""
    return str(path) if os.name == "nt" else os.fsencode(path)


def _read_sound_track(
    path: str | os.PathLike[str], end: float | None
) -> tuple[NDArray[Any], int]:
    parts = [np.zeros(0, "float32")]
    origin = _first_picture(path)
    with _opened(path) as container:
        if not container.streams.audio:
            raise MediaError(path, "has no audio stream")
        stream = container.streams.audio[0]
        _check_coding(path, stream)
        rate = stream.rate
        _check_rate(path, rate)
        length = 0
        last = math.inf if end is None else round(end * rate)
        frames = _sound_frames(container, stream)
        for samples in _in_time(path, frames, rate, last, origin):
            parts.append(samples)
            length += len(samples)
            # What lies behind the part that is asked for is not decoded.
            if length > last:
                break
        else:
            _check_length(path, container, stream, length / rate, end, origin)
    return np.concatenate(parts), rate


def _first_picture(path: str | os.PathLike[str]) -> float | None:
    """Return the time stamp of a file's first picture; None without one."""
    with contextlib.suppress(MediaError), _opened(path) as container:
        for stream in container.streams.video[:1]:
            stream.thread_type = "NONE"
            for frame in container.decode(stream):
                if frame.time is not None:
                    return frame.time
    return None


def _sound_frames(container: Any, stream: Any) -> Iterator[Any]:
    """Yield decoded frames of float32 in planes, one a channel."""
    # FFmpeg's own mixture of channels is louder than their mean.
    planes = reader_module("av").AudioResampler("fltp", rate=stream.rate)
    for frame in container.decode(stream):
        yield from planes.resample(frame)
    yield from planes.resample(None)


def _in_time(
    path: str | os.PathLike[str],
    frames: Iterator[Any],
    rate: int,
    last: float,
    origin: float | None = None,
) -> Iterator[NDArray[Any]]:
    """Yield the samples of frames one after the other, by time stamps.

    Frames that follow on each other are not torn apart by rounded time
    stamps; gaps are filled with zeros, and what overlaps is left out.

    Args:
        path: Path of the file.
        frames: Iterator of frames of sound.
        rate: Integer, samples a second.
        last: Number of samples, or infinity. A gap behind it is not filled.
        origin: Float, the time stamp of the first sample; None (default) for
            that of the first frame.
    """
    length, silence, follows = 0, 0, False
    for frame in frames:
        samples = frame.to_ndarray().mean(axis=0)
        if frame.time is not None:
            origin = frame.time if origin is None else origin
            late = round((frame.time - origin) * rate) - length
            if follows and abs(late) <= _JITTER * rate:
                late = 0
            late = min(late, last + 1 - length)
            silence += max(late, 0)
            if silence > _MOST_SILENCE:
                raise MediaError(
                    path, f"has no sound for {silence / rate:.0f} seconds"
                )
            if late > 0:
                length += late
                yield np.zeros(late, "float32")
            samples = samples[max(-late, 0) :]
        follows = len(samples) > 0
        length += len(samples)
        yield samples


def reader_module(name: str) -> ModuleType:
    """Import a package of the extra `data` when it is needed.

    Args:
        name: String, the module.

    Raises:
        ImportError: If it is not installed.
    """
    return import_optional(name, "data", "Reading the data set")
