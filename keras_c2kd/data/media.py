"""Sound, frames and images from files, with a reason where there are none."""

import contextlib
import math
import pathlib

import numpy as np

from keras_c2kd.extras import import_extra

_LFS = b"version https://git-lfs"
# A file is cut off if it is shorter than it says by more than both.
_MISSING_SECONDS = 0.5
_MISSING_SHARE = 0.1
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
# Samples of silence that are put into gaps: 12 minutes at 48 kHz.
_MOST_SILENCE = 2**25


class MediaError(Exception):
    """A file that cannot be read, and why.

    Args:
        path: Path of the file.
        reason: String, a few words that complete "the file ...".
    """

    def __init__(self, path, reason):
        super().__init__(f"{path}: {reason}")
        self.path = pathlib.Path(path)
        self.reason = reason


def read_audio(path, rate, start=0.0, end=None):
    """Read a file's sound as one channel at a given rate.

    WAV, FLAC, OGG and MP3 are read by soundfile, everything else (the sound
    of videos) by PyAV; channels are averaged; soxr resamples (quality HQ).
    The sound of a video lies as its time stamps say, from the first picture
    on, as `read_frames` counts: where there is no sound, it is silent.

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
            without sound, or over before `start`.
        ValueError: If `start` is negative.
        ImportError: If the readers are not installed (extra `data`).
    """
    _check_start(start)
    _check_file(path)
    suffix = pathlib.Path(path).suffix.lower()
    if suffix in (".wav", ".flac", ".ogg", ".mp3"):
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


def read_frames(path, per_second=1.0, start=0.0, end=None):
    """Read a video's frames at equal distances, by their time stamps.

    Of each interval of `1 / per_second` the first frame is taken; of one in
    which no frame begins, the frame that is still on the screen, as a player
    shows it: the place of a frame in the result tells its time. Behind the
    last frame of the file nothing is repeated. Containers do not count frames
    reliably, so neither frame numbers nor the nominal frame rate are used.

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
            without pictures, or over before `start`.
        ValueError: If `start` is negative.
        ImportError: If the readers are not installed (extra `data`).
    """
    _check_start(start)
    _check_file(path)
    frames, first, shown = [], None, None
    with _opened(path) as container:
        if not container.streams.video:
            raise MediaError(path, "has no video stream")
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        time = 0.0
        for frame in container.decode(stream):
            if frame.time is None:
                continue
            _check_size(path, frame.width, frame.height)
            first = frame.time if first is None else first
            time = frame.time - first
            is_over = end is not None and time >= end - 1e-6
            if is_over:
                number = math.ceil((end - start - 1e-6) * per_second)
            else:
                number = math.floor((time - start + 1e-6) * per_second)
            if number > len(frames):
                pause = number - len(frames)
                _check_pause(path, shown, pause, per_second)
                frames += [_pixels(shown)] * pause
            if is_over:
                break
            if number == len(frames):
                frames.append(_pixels(frame))
            shown = frame
        else:
            time += 0.0 if shown is None else _seconds_shown(shown, stream)
            _check_length(path, container, stream, time, end, first)
    if len({frame.shape for frame in frames}) > 1:
        raise MediaError(path, "has frames of several sizes")
    if not frames:
        raise MediaError(path, f"has no frame from second {start} on")
    return np.stack(frames)


def read_image(path):
    """Read a photograph, upright as its camera says.

    Args:
        path: Path of the image: JPEG, PNG, GIF, WebP, TIFF or BMP, whatever
            its name says. It is only read.

    Returns:
        Uint8 array `(height, width, 3)`.

    Raises:
        MediaError: If the file is missing, a Git LFS stub, or damaged.
        ImportError: If Pillow is not installed (extra `data`).
    """
    _check_file(path)
    image = reader_module("PIL.Image")
    operations = reader_module("PIL.ImageOps")
    with _damage_named(path), image.open(path, formats=_PHOTOGRAPHS) as file:
        _check_size(path, *file.size)
        upright = operations.exif_transpose(file)
        is_png = file.format == "PNG"
        if upright.mode.startswith("I;16") or (is_png and upright.mode == "I"):
            # Grey of 16 bits, of which Pillow would show all but the darkest
            # 256 as white.
            grey = np.clip(np.asarray(upright) // 256, 0, 255).astype("uint8")
            upright = image.fromarray(grey)
        return np.array(upright.convert("RGB"))


def _check_start(start):
    if start < 0:
        raise ValueError(
            "A part of a file starts at 0 seconds or later. Received: "
            f"start={start}"
        )


def _check_size(path, width, height):
    """Raise a MediaError for pictures that are too large to be meant."""
    if width * height > _MOST_PIXELS:
        raise MediaError(
            path,
            f"claims pictures of {width} x {height} pixels, more than the "
            f"{_MOST_PIXELS:,} that are read",
        )


def _check_pause(path, frame, pause, per_second):
    """Raise a MediaError for a pause that cannot be meant."""
    if pause * frame.width * frame.height > _MOST_REPEATED:
        raise MediaError(
            path, f"has no new frame for {pause / per_second:.0f} seconds"
        )


def _seconds_shown(frame, stream):
    """Return how long a frame is on the screen, as far as a file says."""
    # Older versions of PyAV do not tell a frame's own duration.
    if duration := getattr(frame, "duration", None):
        return float(duration * frame.time_base)
    return float(1 / stream.average_rate) if stream.average_rate else 0.0


def _pixels(frame):
    return frame.to_ndarray(format="rgb24")


def _check_rate(path, rate):
    """Raise a MediaError for a sampling rate that cannot be meant."""
    if not _RATES[0] <= (rate or 0) <= _RATES[1]:
        raise MediaError(path, f"claims {rate} samples of sound a second")


def _check_file(path):
    """Raise a MediaError for what is no media file at all."""
    path = pathlib.Path(path)
    if not path.is_file():
        raise MediaError(path, "is missing")
    try:
        with path.open("rb") as file:
            beginning = file.read(len(_LFS))
    except OSError as error:
        raise MediaError(path, f"cannot be opened ({error.strerror})") from None
    if not beginning:
        raise MediaError(path, "is empty")
    if beginning == _LFS:
        raise MediaError(
            path, "is a Git LFS stub: fetch the media with `git lfs pull`"
        )


@contextlib.contextmanager
def _damage_named(path):
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
def _opened(path):
    """Open a container; its metadata need not be text.

    FFmpeg takes playlists for containers, whatever their name says. They
    name other files and addresses, of which none is opened.
    """
    av = reader_module("av")
    with (
        _damage_named(path),
        open(path, "rb") as file,
        av.open(
            file,
            metadata_errors="ignore",
            container_options={"protocol_whitelist": "none"},
        ) as container,
    ):
        yield container


def _check_length(path, container, stream, seconds, end, origin=None):
    """Raise a MediaError if much less was there than the file says.

    Args:
        path: Path of the file.
        container: The open file.
        stream: The stream that was read to its end.
        seconds: Float, where it ended, counted from `origin`.
        end: Float, as of `read_audio`.
        origin: Float, the time stamp from which seconds are counted; None
            (default) for the stream's first.
    """
    if stream.duration is not None:
        unit, part = float(stream.time_base), stream
    elif container.duration is not None:
        unit, part = 1e-6, container
    else:
        return
    declared = part.duration * unit
    if origin is not None and part.start_time is not None:
        declared += part.start_time * unit - origin
    _check_seconds(path, seconds, declared, end)


def _check_seconds(path, seconds, declared, end=None):
    wanted = declared if end is None else min(end, declared)
    missing = wanted - seconds
    if missing > max(_MISSING_SECONDS, _MISSING_SHARE * wanted):
        raise MediaError(
            path, f"is cut off after {seconds:.1f} of {declared:.1f} seconds"
        )


def _read_sound_file(path):
    soundfile = reader_module("soundfile")
    _check_riff(path)
    parts = [np.zeros(0, "float32")]
    with _damage_named(path), soundfile.SoundFile(str(path)) as file:
        rate = file.samplerate
        _check_rate(path, rate)
        size = _BLOCK // file.channels
        # As long as there is sound, whatever length the header claims.
        while len(block := file.read(size, dtype="float32", always_2d=True)):
            parts.append(block.mean(axis=1))
        declared = file.frames / rate
    wave = np.concatenate(parts)
    _check_seconds(path, len(wave) / rate, declared)
    return wave, rate


def _check_riff(path):
    """Raise a MediaError if a WAV file is shorter than its header says."""
    with open(path, "rb") as file:
        kind, declared = file.read(4), int.from_bytes(file.read(4), "little")
    size = pathlib.Path(path).stat().st_size - 8
    # What is written to a pipe cannot know its size and says the largest.
    is_known = kind == b"RIFF" and declared < 0xFFFFFF00
    if is_known and declared - size > _MISSING_SHARE * declared:
        raise MediaError(
            path, f"is cut off after {size:,} of {declared:,} bytes"
        )


def _read_sound_track(path, end):
    parts = [np.zeros(0, "float32")]
    origin = _first_picture(path)
    with _opened(path) as container:
        if not container.streams.audio:
            raise MediaError(path, "has no audio stream")
        stream = container.streams.audio[0]
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


def _first_picture(path):
    """Return the time stamp of a file's first picture; None without one."""
    with contextlib.suppress(MediaError), _opened(path) as container:
        for stream in container.streams.video[:1]:
            stream.thread_type = "NONE"
            for frame in container.decode(stream):
                if frame.time is not None:
                    return frame.time
    return None


def _sound_frames(container, stream):
    """Yield decoded frames of float32 in planes, one a channel."""
    # FFmpeg's own mixture of channels is louder than their mean.
    planes = reader_module("av").AudioResampler("fltp", rate=stream.rate)
    for frame in container.decode(stream):
        yield from planes.resample(frame)
    yield from planes.resample(None)


def _in_time(path, frames, rate, last, origin=None):
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


def reader_module(name):
    """Import a package of the extra `data` when it is needed.

    Args:
        name: String, the module.

    Raises:
        ImportError: If it is not installed.
    """
    return import_extra(name, "data", "Reading the data set")
