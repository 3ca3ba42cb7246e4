"""Damaged files of every codec: each is read whole, or refused with a reason.

`python -m tests.data.damaged_files` damages each kind of file many times, in a
process a kind, so that a crash of a decoder is seen and told from the others,
and prints what became of them. The tests take the first few.
"""

import argparse
import faulthandler
import pathlib
import random
import resource
import subprocess
import sys
import tempfile
import time
import warnings

import numpy as np
import soundfile
from PIL import Image

from keras_c2kd.data.array_cache import ArrayCache
from keras_c2kd.data.media import MediaError
from keras_c2kd.data.media import read_audio
from keras_c2kd.data.media import read_frames
from keras_c2kd.data.media import read_image
from keras_c2kd.data.nyu_depth_v2 import load_nyu_depth_v2
from tests.data.media_files import tone
from tests.data.media_files import write_video
from tests.data.nyu_file import write_nyu_depth_v2

# More than a small file needs, whatever its header claims.
MOST_MEMORY = 2**30
MOST_SECONDS = 60
RATE = 16000


def _sound(path, **kwargs):
    wave = tone(440, 1.2, RATE, channels=2).T
    soundfile.write(path, wave, RATE, **kwargs)


def _video(path, **codecs):
    rate = 48000 if codecs["audio_codec"] == "libopus" else 44100
    colours = [(200, 20, 20), (20, 200, 20)] * 10
    write_video(path, colours, tone(500, 2.0, rate), rate=rate, **codecs)


def _image(path, mode="RGB", **kwargs):
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), "uint8")
    Image.fromarray(pixels).convert(mode).save(path, **kwargs)


def _read_sound(path):
    wave = read_audio(path, 22050)
    assert wave.dtype == "float32" and wave.ndim == 1 and len(wave) > 0
    assert np.isfinite(wave).all()


def _read_pictures(path):
    frames = read_frames(path, per_second=4)
    assert frames.dtype == "uint8" and frames.ndim == 4
    assert frames.shape[-1] == 3 and frames.size > 0


def _read_photograph(path):
    image = read_image(path)
    assert image.dtype == "uint8" and image.ndim == 3
    assert image.shape[-1] == 3 and image.size > 0


def _read_scenes(path):
    scenes = load_nyu_depth_v2(path.parent, validate_on="test", batch_size=2)
    for part in (scenes.train, scenes.test):
        inputs, labels = part[0]
        for values in inputs.values():
            assert values.dtype == "float32" and np.isfinite(values).all()
        assert labels.dtype == "int32"
        assert labels.min() >= -1 and labels.max() < 40


def _read_array(path):
    """The array is as it was, or computed again."""
    folder = path.parent / "cache"
    cache = ArrayCache(folder)
    source = path.with_name("source")
    source.write_bytes(b"media")
    place = folder / cache.path_of(source, {}).relative_to(folder)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(path.read_bytes())
    found = cache.get(source, {}, lambda: _ARRAY)
    assert isinstance(found, np.ndarray)
    assert found.size == _ARRAY.size and found.dtype.itemsize == 4


_ARRAY = np.arange(600, dtype="float32").reshape(20, 30)


def _nyu(path, **kwargs):
    write_nyu_depth_v2(
        path.parent, num_train=8, num_test=2, size=(8, 12), **kwargs
    )


# Kind of file: its name, how it is written, and how it is read.
KINDS = {
    "wav": ("x.wav", _sound, [_read_sound]),
    "wav-float": (
        "x.wav",
        lambda path: _sound(path, subtype="FLOAT"),
        [_read_sound],
    ),
    "wav-adpcm": (
        "x.wav",
        lambda path: _sound(path, subtype="MS_ADPCM"),
        [_read_sound],
    ),
    "flac": ("x.flac", _sound, [_read_sound]),
    "mp3": ("x.mp3", _sound, [_read_sound]),
    "ogg": ("x.ogg", _sound, [_read_sound]),
    "flv": (
        "x.flv",
        lambda path: _video(path, video_codec="flv", audio_codec="libmp3lame"),
        [_read_sound, _read_pictures],
    ),
    "mp4-h264": (
        "x.mp4",
        lambda path: _video(path, video_codec="libx264", audio_codec="aac"),
        [_read_sound, _read_pictures],
    ),
    "mp4-mpeg4": (
        "x.mp4",
        lambda path: _video(path, video_codec="mpeg4", audio_codec="aac"),
        [_read_sound, _read_pictures],
    ),
    "mkv": (
        "x.mkv",
        lambda path: _video(path, video_codec="libx264", audio_codec="aac"),
        [_read_sound, _read_pictures],
    ),
    "webm": (
        "x.webm",
        lambda path: _video(
            path, video_codec="libvpx-vp9", audio_codec="libopus"
        ),
        [_read_sound, _read_pictures],
    ),
    "jpg": ("x.jpg", _image, [_read_photograph]),
    "jpg-progressive": (
        "x.jpg",
        lambda path: _image(path, progressive=True),
        [_read_photograph],
    ),
    "png": ("x.png", _image, [_read_photograph]),
    "png-palette": (
        "x.png",
        lambda path: _image(path, "P"),
        [_read_photograph],
    ),
    "gif": ("x.gif", lambda path: _image(path, "P"), [_read_photograph]),
    "webp": ("x.webp", _image, [_read_photograph]),
    "bmp": ("x.bmp", _image, [_read_photograph]),
    "tiff": ("x.tif", _image, [_read_photograph]),
    "nyu": ("nyu_depth_v2_labeled.mat", _nyu, [_read_scenes]),
    "nyu-split": ("splits.mat", _nyu, [_read_scenes]),
    "nyu-split-7.3": (
        "splits.mat",
        lambda path: _nyu(path, small_files="7.3"),
        [_read_scenes],
    ),
    "nyu-mapping": ("classMapping40.mat", _nyu, [_read_scenes]),
    "array": ("x.npy", lambda path: np.save(path, _ARRAY), [_read_array]),
}


def damages(content, number, seed=0):
    """Yield names and contents: cut off everywhere, then bits turned over."""
    size = len(content)
    for length in sorted({0, 1, 12, 44, 200, size // 2, size - 1}):
        yield f"cut at {length}", content[:length]
    draw = random.Random(seed)
    for index in range(number):
        kind = draw.choice(("bits", "header", "cut", "zeros", "bytes"))
        damaged = bytearray(content)
        if kind == "cut":
            damaged = damaged[: draw.randrange(size)]
        elif kind == "zeros":
            start = draw.randrange(size)
            stop = min(size, start + draw.choice((4, 64, 1024)))
            damaged[start:stop] = bytes(stop - start)
        else:
            last = min(size, 512) if kind == "header" else size
            for _ in range(draw.choice((1, 1, 4, 32))):
                place = draw.randrange(last)
                if kind == "bytes":
                    damaged[place] = draw.choice((0, 127, 128, 255))
                else:
                    damaged[place] ^= 1 << draw.randrange(8)
        yield f"{kind} {index}", bytes(damaged)


def examine(kind, folder, number, seed=0, note=None):
    """Damage one kind of file; return how often it was read and refused.

    Args:
        kind: A key of `KINDS`.
        folder: Path of an empty folder.
        number: Integer, damages besides those at fixed places.
        seed: Integer.
        note: Function that is told what comes next.

    Returns:
        Dict: how many damaged files were `read` and `refused`, the `slowest`
        in seconds, and the `broken` promises: what was done to the file, and
        which other error came out.
    """
    name, write, readers = KINDS[kind]
    path = folder / name
    write(path)
    for read in readers:
        read(path)
    content = path.read_bytes()
    found = {"read": 0, "refused": 0, "slowest": 0.0, "broken": []}
    for damage, damaged in damages(content, number, seed):
        if note is not None:
            note(damage)
        path.write_bytes(damaged)
        for read in readers:
            start = time.perf_counter()
            try:
                found[_outcome(read, path)] += 1
            except Exception as error:
                found["broken"].append(f"{damage}: {error!r}")
            seconds = time.perf_counter() - start
            found["slowest"] = max(found["slowest"], round(seconds, 2))
    return found


def _outcome(read, path):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read(path)
    except (MediaError, ValueError) as error:
        greedy = isinstance(error.__cause__, MemoryError)
        ours = isinstance(error, MediaError) or "Received: " in str(error)
        if greedy or not ours:
            raise
        return "refused"
    return "read"


def _examine_alone(kind, number, seed, progress):
    """Examine one kind in this process, with bounds on memory and time."""
    with open("/proc/self/statm", encoding="ascii") as file:
        pages = int(file.read().split()[0])
    most = pages * resource.getpagesize() + MOST_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))

    def note(what):
        faulthandler.dump_traceback_later(MOST_SECONDS, exit=True)
        pathlib.Path(progress).write_text(what, encoding="utf-8")

    with tempfile.TemporaryDirectory() as folder:
        found = examine(kind, pathlib.Path(folder), number, seed, note)
    broken = found.pop("broken")
    print(", ".join(f"{key} {value}" for key, value in found.items()))
    if broken:
        raise AssertionError("\n".join(broken))


def main():
    """Examine all kinds, each in a process; return 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS))
    parser.add_argument("--number", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        (kind,) = arguments.kinds
        _examine_alone(kind, arguments.number, arguments.seed, arguments.alone)
        return 0
    failed = False
    for kind in arguments.kinds:
        with tempfile.NamedTemporaryFile("r", encoding="utf-8") as progress:
            start = time.time()
            command = [sys.executable, "-X", "faulthandler", "-m"]
            command += ["tests.data.damaged_files", "--kinds", kind]
            command += ["--number", str(arguments.number)]
            command += ["--seed", str(arguments.seed)]
            run = subprocess.run(
                [*command, "--alone", progress.name],
                capture_output=True,
                text=True,
            )
            seconds = time.time() - start
            if run.returncode:
                failed = True
                print(f"{kind}: FAILED at {progress.read()}")
                print(f"  exit status {run.returncode}\n{run.stderr[-3000:]}")
            else:
                result = run.stdout.strip().splitlines()[-1]
                print(f"{kind}: {result}, {seconds:.0f} s", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
