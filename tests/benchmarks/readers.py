"""Benchmark of the readers: clips a second a core, against a plain loop.

Files of the data sets' own codecs, sizes and lengths are written (their
contents are generated). Both modalities of a clip are read as in training:

- from the media: decoded, resized, resampled, and made into what the networks
  read; this is done once, then the cache has it;
- cached: read from the cache, cropped, mirrored, windowed, transformed;
- plain loop: what the authors' kind of code does in each epoch with frames
  and sound that were extracted before: Pillow opens JPEG files, librosa or
  SciPy reads and resamples a WAV file and transforms it, in a torch Dataset;
- plain extraction: what that needed once: decode, write JPEG and WAV files.

Clips are counted per second of processor time of one process, all threads
added up, in turns. In the end, `evaluate` of a network that does nothing reads
cached batches with one thread and with two: clips per second of the clock.

Floors: cached reading at least as fast as the plain loop. `KERAS_BACKEND`
chooses the backend; --smoke writes one short clip of each.
"""

import dataclasses
import pathlib
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import keras
import numpy as np
import soundfile
from measure import Figure
from measure import arguments
from measure import interleaved
from measure import report
from PIL import Image

from keras_c2kd import data as readers
from keras_c2kd.data import PairedDataset
from keras_c2kd.data import Sample
from keras_c2kd.data import Source
from keras_c2kd.data import ave
from keras_c2kd.data import crema_d
from keras_c2kd.data import crisis_mmd
from keras_c2kd.data import vggsound
from keras_c2kd.data.media import read_audio
from keras_c2kd.data.media import read_frames
from tests.data.media_files import write_video


@dataclasses.dataclass(frozen=True)
class Settings:
    """Sizes of the benchmark."""

    clips: int = 8
    repetitions: int = 5
    batch_size: int = 8
    seconds_scale: float = 1.0


SMOKE = Settings(clips=1, repetitions=1, batch_size=1, seconds_scale=0.2)


def main():
    """Measure and print all figures."""
    options = arguments(__doc__, parts=())
    settings = SMOKE if options.smoke else Settings()
    with tempfile.TemporaryDirectory() as folder:
        figures = []
        for name, prepare in DATA_SETS.items():
            root = pathlib.Path(folder) / name.replace(" ", "_")
            root.mkdir()
            figures += measure_reading(name, prepare(root, settings), settings)
        figures += measure_loading(pathlib.Path(folder), settings)
    report("readers", settings, figures, options.out)


@dataclasses.dataclass(frozen=True)
class Case:
    """One data set: our samples, and the same for the plain loop.

    Attributes:
        samples: List of `Sample`.
        readers: Dict from modalities to readers.
        extract: Function that writes what the plain loop reads; None if it
            reads the same files.
        plain: Function from an index to both arrays.
    """

    samples: list
    readers: dict
    extract: object
    plain: object


def measure_reading(name, case, settings):
    """Return the figures of one data set."""
    with tempfile.TemporaryDirectory() as cache:
        fresh = PairedDataset(case.samples, case.readers, training=True)
        cached = PairedDataset(case.samples, case.readers, cache, training=True)
        cached.prepare(max_missing_fraction=0.0, verbose=0)
        extraction = {}
        if case.extract is not None:
            case.extract()
            extraction["plain extraction"] = case.extract
        places = range(len(case.samples))
        seconds = interleaved(
            {
                "from the media": lambda: [fresh.batch([i]) for i in places],
                "cached": lambda: [cached.batch([i]) for i in places],
                "plain loop": lambda: [case.plain(i) for i in places],
                **extraction,
            },
            settings.repetitions,
            clock=time.process_time,
        )
    rates = {
        what: len(places) / np.median(times) for what, times in seconds.items()
    }
    unit = "clips/s/core"
    figures = [Figure(f"{name}, {w}", rate, unit) for w, rate in rates.items()]
    return [
        *figures,
        Figure(
            f"{name}, cached / plain loop",
            rates["cached"] / rates["plain loop"],
            "ratio",
            at_least=1.0,
        ),
    ]


def measure_loading(folder, settings):
    """Return how many clips a second `evaluate` reads from the cache."""
    root = folder / "loading"
    root.mkdir()
    case = ave_case(root, dataclasses.replace(settings, clips=1))
    # The same clip many times, as different samples.
    samples = case.samples * (16 * settings.clips)
    cache = folder / "cache"
    shapes = {name: reader.shape for name, reader in case.readers.items()}
    inputs = {name: keras.Input(x, name=name) for name, x in shapes.items()}
    means = [keras.layers.GlobalAveragePooling2D()(x) for x in inputs.values()]
    logits = keras.layers.Dense(2)(keras.layers.Concatenate()(means))
    network = keras.Model(inputs, logits)
    network.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    figures = []
    for title, kwargs in LOADERS.items():
        dataset = PairedDataset(
            samples,
            case.readers,
            cache,
            batch_size=settings.batch_size,
            training=True,
            **kwargs,
        )
        network.evaluate(dataset, verbose=0)
        times = interleaved(
            {title: lambda: network.evaluate(dataset, verbose=0)},
            settings.repetitions,
        )[title]
        rate = len(samples) / np.median(times)
        figures.append(
            Figure(f"AVE, cached, evaluate, {title}", rate, "clips/s")
        )
    return figures


LOADERS = {
    "1 thread": {"workers": 1},
    "2 threads": {"workers": 2},
}


# What the clips look like, and how long they are.


def texture(height, width, frames):
    """Frames of a coloured texture that moves, which costs some decoding."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 255, (height // 8 + 8, width // 8 + 8, 3))
    image = Image.fromarray(coarse.astype("uint8")).resize(
        (width + 64, height + 64), Image.Resampling.BICUBIC
    )
    pixels = np.asarray(image)
    return [
        np.ascontiguousarray(pixels[i % 60 :, (2 * i) % 60 :][:height, :width])
        for i in range(frames)
    ]


def noise(seconds, rate):
    """Sound that fills the spectrum."""
    random = np.random.default_rng(0)
    return random.uniform(-0.5, 0.5, (1, round(seconds * rate))).astype(
        "float32"
    )


def write_videos(root, settings, size, frame_rate, seconds, **codecs):
    """Write the clips; return their paths."""
    seconds = max(1.0, seconds * settings.seconds_scale)
    paths = []
    ending = "flv" if codecs else "mp4"
    for number in range(settings.clips):
        path = root / f"clip_{number}.{ending}"
        if not paths:
            write_video(
                path,
                texture(*size, round(seconds * frame_rate)),
                noise(seconds, 44100),
                frame_rate=frame_rate,
                **codecs,
            )
        else:
            path.write_bytes(paths[0].read_bytes())
        paths.append(path)
    return paths, seconds


# The plain loop, of the authors' kind.


def extract_clips(paths, sounds, rate):
    """Write the frames of each second as JPEG, and the sound as WAV."""
    for path, sound in zip(paths, sounds):
        for number, frame in enumerate(read_frames(path)):
            Image.fromarray(frame).save(frame_path(path, number))
        if sound.suffix != ".wav":
            soundfile.write(wave_path(path), read_audio(sound, rate), rate)


def frame_path(path, number):
    """Return where a frame is extracted to."""
    return path.with_name(f"{path.stem}_{number}.jpg")


def wave_path(path):
    """Return where the sound is extracted to."""
    return path.with_suffix(".extracted.wav")


def plain_image(path, random, size=224):
    """Open, crop at random, resize, mirror, normalise."""
    image = Image.open(path).convert("RGB")
    width, height = image.size
    role = random.uniform(0.3, 1.0)
    w, h = int(width * role), int(height * role)
    left, upper = (
        random.integers(width - w + 1),
        random.integers(height - h + 1),
    )
    image = image.crop((left, upper, left + w, upper + h))
    image = image.resize((size, size), Image.Resampling.BILINEAR)
    if random.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    pixels = np.asarray(image, "float32") / 255.0
    reader = readers.FrameReader
    return (pixels - np.float32(reader.mean)) / np.float32(
        reader.standard_deviation
    )


def plain_magnitude(path, rate, seconds, window, hop):
    """Read, resample, repeat, cut and transform by librosa."""
    import librosa

    wave = librosa.load(path, sr=rate)[0]
    wave = np.tile(wave, 10)[: int(rate * seconds)]
    spectrum = librosa.stft(
        np.clip(wave, -1.0, 1.0), n_fft=window, hop_length=hop
    )
    return np.log(np.abs(spectrum) + 1e-7)


def plain_density(path, rate, seconds, window, hop):
    """Read, repeat, cut and transform by SciPy."""
    import scipy.signal

    wave = soundfile.read(path)[0]
    wave = np.tile(wave, 10)[: int(rate * seconds)]
    values = scipy.signal.spectrogram(
        np.clip(wave, -1.0, 1.0), rate, nperseg=window, noverlap=window - hop
    )[2]
    values = np.log(values + 1e-7)
    return (values - values.mean()) / values.std()


def video_case(paths, sounds, seconds, audio, visual, frames, transform):
    """Return the case of an audio-visual data set."""
    spectrogram = audio.spectrogram
    random = np.random.default_rng(0)
    samples = [
        Sample(
            path.stem,
            0,
            {"audio": Source(sound), "visual": Source(path)},
        )
        for path, sound in zip(paths, sounds)
    ]

    def plain(index):
        path, sound = paths[index], sounds[index]
        if sound.suffix != ".wav":
            sound = wave_path(path)
        return [
            transform(
                sound,
                spectrogram.rate,
                spectrogram.seconds,
                spectrogram.window,
                spectrogram.hop,
            ),
            *(plain_image(frame_path(path, n), random) for n in range(frames)),
        ]

    return Case(
        samples,
        {"audio": audio, "visual": visual},
        lambda: extract_clips(paths, sounds, spectrogram.rate),
        plain,
    )


def crema_d_case(root, settings):
    """Flash video and a WAV file of 2.5 seconds; one frame."""
    paths, seconds = write_videos(
        root,
        settings,
        (360, 480),
        30,
        2.5,
        video_codec="flv",
        audio_codec="libmp3lame",
    )
    sounds = [path.with_suffix(".wav") for path in paths]
    for sound in sounds:
        soundfile.write(sound, noise(seconds, 16000)[0], 16000)
    return video_case(
        paths,
        sounds,
        seconds,
        crema_d.AUDIO,
        crema_d.VISUAL,
        1,
        plain_magnitude,
    )


def ave_case(root, settings):
    """MP4 of 10 seconds; one frame."""
    paths, seconds = write_videos(root, settings, (360, 640), 25, 10.0)
    return video_case(
        paths, paths, seconds, ave.AUDIO, ave.VISUAL, 1, plain_density
    )


def vggsound_case(root, settings):
    """MP4 of 10 seconds; three frames."""
    paths, seconds = write_videos(root, settings, (360, 640), 25, 10.0)
    frames = min(3, int(seconds))
    return video_case(
        paths,
        paths,
        seconds,
        vggsound.AUDIO,
        vggsound.VISUAL,
        frames,
        plain_magnitude,
    )


def crisis_mmd_case(root, settings):
    """A photograph of 1200 x 900; the text costs next to nothing."""
    (pixels,) = texture(900, 1200, 1)
    paths = [root / f"{number}.jpg" for number in range(settings.clips)]
    for path in paths:
        Image.fromarray(pixels).save(path)
    samples = [Sample(p.stem, 0, {"image": Source(p)}) for p in paths]
    random = np.random.default_rng(0)
    return Case(
        samples,
        {"image": crisis_mmd.IMAGE},
        None,
        lambda index: plain_image(paths[index], random),
    )


DATA_SETS = {
    "CREMA-D": crema_d_case,
    "AVE": ave_case,
    "VGGSound": vggsound_case,
    "CrisisMMD": crisis_mmd_case,
}


if __name__ == "__main__":
    main()
