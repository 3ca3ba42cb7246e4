"""Recordings that are cut off, and those that only look so."""

import io
import struct

import av
import numpy as np
import pytest
import soundfile

from keras_c2kd.data import MediaError
from keras_c2kd.data.media import read_audio
from keras_c2kd.data.media import read_frames
from tests.data.media_files import tone
from tests.data.media_files import write_timed
from tests.data.media_files import write_video
from tests.data.test_media import in_front

pytestmark = pytest.mark.backend_free

RATE = 16000
NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, (4801, 1))


def sound(**kwargs):
    return lambda path: soundfile.write(path, NOISE, RATE, **kwargs)


def film(video_codec, audio_codec, rate=44100):
    def write(path):
        wave = tone(500, 0.3, rate)
        colours = [(200, 20, 20)] * 3
        write_video(path, colours, wave, video_codec, audio_codec, rate=rate)

    return write


def streamed(path):
    """An MP4 file with its index in front."""
    film("libx264", "aac")(path)
    path.write_bytes(in_front(path).read_bytes())


def track(audio_codec, rate=RATE):
    """Sound alone, of half a second, as FFmpeg writes it."""

    def write(path):
        wave = NOISE[:, 0].astype("float32")[None]
        write_timed(path, None, [(0.0, wave)], audio_codec, rate=rate)

    return write


KINDS = {
    "pcm.wav": sound(),
    "stereo.wav": lambda path: soundfile.write(
        path, np.repeat(NOISE, 2, axis=1), RATE, subtype="PCM_24"
    ),
    "float.wav": sound(subtype="FLOAT"),
    "adpcm.wav": sound(subtype="IMA_ADPCM"),
    "rf64.wav": sound(format="RF64"),
    "w64.wav": sound(format="W64"),
    "extensible.wav": sound(format="WAVEX"),
    "x.flac": sound(),
    "vorbis.ogg": sound(),
    "opus.ogg": sound(format="OGG", subtype="OPUS"),
    "x.mp3": sound(),
    "constant.mp3": sound(bitrate_mode="CONSTANT"),
    "x.mp4": film("libx264", "aac"),
    "streamed.mp4": streamed,
    "x.mov": film("mpeg4", "aac"),
    "x.mkv": film("libx264", "aac"),
    "x.webm": film("libvpx-vp9", "libopus", 48000),
    "x.flv": film("flv", "libmp3lame"),
    "x.avi": film("mpeg4", "libmp3lame"),
    "x.m4a": track("aac"),
    "x.aac": track("aac"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_is_cut_off_is_refused(kind, tmp_path):
    path = tmp_path / kind
    KINDS[kind](path)
    reads = [lambda: read_audio(path, RATE)]
    if path.suffix in (".mp4", ".mov", ".mkv", ".webm", ".flv", ".avi"):
        reads.append(lambda: read_frames(path, 4.0))
    for read in reads:
        assert len(read()) > 0
    content = path.read_bytes()
    # Behind the last tag of FLV there is nothing but its size once more.
    last = len(content) - (5 if path.suffix == ".flv" else 1)
    for length in (*(last * n // 100 for n in (50, 70, 92, 99)), last):
        path.write_bytes(content[:length])
        for read in reads:
            with pytest.raises(MediaError):
                read()


def test_a_short_mp3_says_how_much_is_missing(tmp_path):
    path = tmp_path / "x.mp3"
    soundfile.write(path, NOISE[:2384], 8000)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(MediaError, match=r"after \d+ of 2,384 samples|bytes"):
        read_audio(path, 8000)


def wave_file(subtype="PCM_16", kind="WAV"):
    file = io.BytesIO()
    soundfile.write(file, NOISE, RATE, format=kind, subtype=subtype)
    return bytearray(file.getvalue())


UNKNOWN = [0, 2**31 - 4096, 2**31 - 4, 2**31 - 1, 2**31, 2**32 - 16, 2**32 - 1]


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT", "IMA_ADPCM"])
def test_sizes_that_a_pipe_does_not_know(subtype, tmp_path):
    path = tmp_path / "x.wav"
    content = wave_file(subtype)
    path.write_bytes(content)
    expected = read_audio(path, RATE)
    data = content.find(b"data", 12) + 4
    for whole in (0, 8, 36, 2**31 + 36, *UNKNOWN, len(content) - 8):
        content[4:8] = struct.pack("<I", whole)
        for part in UNKNOWN:
            content[data : data + 4] = struct.pack("<I", part)
            path.write_bytes(content)
            np.testing.assert_array_equal(read_audio(path, RATE), expected)
    # The one size is known: it is believed.
    path.write_bytes(content[:-2000])
    with pytest.raises(MediaError, match="is cut off after"):
        read_audio(path, RATE)


@pytest.mark.parametrize("size", [0, 2**32 - 1, 2**63 - 1, 2**64 - 1])
@pytest.mark.parametrize("kind", ["RF64", "W64"])
def test_long_sizes_that_a_pipe_does_not_know(kind, size, tmp_path):
    path = tmp_path / "x.wav"
    content = wave_file(kind=kind)
    place = content.find(b"ds64") + 8
    places = (place, place + 8, place + 16)
    if kind == "W64":
        places = (16, content.find(b"data") + 16)
    for place in places:
        content[place : place + 8] = struct.pack("<Q", size)
    path.write_bytes(content)
    path_of_known = tmp_path / "known.wav"
    path_of_known.write_bytes(wave_file())
    np.testing.assert_array_equal(
        read_audio(path, RATE), read_audio(path_of_known, RATE)
    )


def test_an_empty_wave_is_not_of_unknown_size(tmp_path):
    file = io.BytesIO()
    soundfile.write(file, NOISE[:0], RATE, format="WAV")
    content = bytearray(file.getvalue()) + b"LIST\x04\0\0\0INFO"
    content[4:8] = struct.pack("<I", len(content) - 8)
    (tmp_path / "x.wav").write_bytes(content)
    with pytest.raises(MediaError, match="has no sound"):
        read_audio(tmp_path / "x.wav", RATE)


def test_what_only_looks_cut_off(tmp_path):
    """Sizes that count their own header; tags; no byte to fill up a pair."""
    path = tmp_path / "x.wav"
    content = wave_file()
    size = len(content)
    for whole in (size - 8, size - 7, size):
        content[4:8] = struct.pack("<I", whole)
        path.write_bytes(content)
        assert len(read_audio(path, RATE)) == 4801
    soundfile.write(path, NOISE, RATE, subtype="PCM_U8")
    content = path.read_bytes()
    path.write_bytes(content[:-1] if len(content) % 2 == 0 else content)
    assert len(read_audio(path, RATE)) == 4801
    path = tmp_path / "x.mp3"
    soundfile.write(path, NOISE, RATE)
    expected = read_audio(path, RATE)
    front = b"ID3\x03\0\0\0\0\x01\x48" + bytes(200)
    path.write_bytes(front + path.read_bytes() + b"TAG" + bytes(125))
    np.testing.assert_array_equal(read_audio(path, RATE), expected)


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_mp3_that_does_not_count_its_frames(mode, tmp_path):
    """libsndfile estimates their number, and reads no more than that."""
    path = tmp_path / "x.mp3"
    soundfile.write(path, np.tile(NOISE, (6, 1)), RATE, bitrate_mode=mode)
    content = path.read_bytes()
    # The first frame has nothing but the numbers.
    place = content.index(content[:2], 100)
    bare = content[place:]
    path.write_bytes(bare)
    frames = bare.count(content[:2])
    assert abs(len(read_audio(path, RATE)) - 576 * frames) <= 576
    assert len(read_audio(path, RATE)) >= 6 * len(NOISE)
    path.write_bytes(bare[:-7])
    with pytest.raises(MediaError, match="is cut off after"):
        read_audio(path, RATE)


class Pipe:
    """A file that cannot be sought in."""

    def __init__(self):
        self.content = bytearray()

    def write(self, content):
        self.content += bytes(content)
        return len(content)


@pytest.mark.parametrize(
    ("kind", "codec"),
    [("flac", "flac"), ("wav", "pcm_s16le"), ("matroska", "pcm_s16le")],
)
def test_files_that_were_written_to_a_pipe(kind, codec, tmp_path):
    pipe = Pipe()
    wave = (NOISE[:4608].T * 2**15).astype("int16")
    with av.open(pipe, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=RATE, layout="mono")
        for place in range(0, 4608, 1152):
            part = np.ascontiguousarray(wave[:, place : place + 1152])
            frame = av.AudioFrame.from_ndarray(part, "s16", layout="mono")
            frame.sample_rate, frame.pts = RATE, place
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    path = tmp_path / f"x.{kind.replace('matroska', 'mka')}"
    path.write_bytes(pipe.content)
    expected = (wave[0] / 2**15).astype("float32")
    np.testing.assert_array_equal(read_audio(path, RATE), expected)


@pytest.mark.parametrize("suffix", ["mkv", "flv"])
def test_sound_may_end_before_its_pictures(suffix, tmp_path):
    """Their duration is the file's: it says nothing of the sound."""
    path = tmp_path / f"x.{suffix}"
    colours, wave = [(200, 20, 20)] * 30, tone(500, 1.0)
    codecs = ("flv", "libmp3lame") if suffix == "flv" else ("mpeg4", "aac")
    write_video(path, colours, wave, *codecs)
    assert 16000 <= len(read_audio(path, RATE)) < 18000
    # Between two tags of an FLV file, there is the duration alone.
    if suffix == "flv":
        content = path.read_bytes()
        place = struct.unpack(">I", content[5:9])[0] + 4
        while place < len(content) // 2:
            place += 15 + int.from_bytes(content[place + 1 : place + 4], "big")
        path.write_bytes(content[:place])
        with pytest.raises(MediaError, match="is cut off after"):
            read_frames(path)


# The checksum of Ogg's pages, bit by bit.
def checksum(page):
    value = 0
    for byte in page:
        value ^= byte << 24
        for _ in range(8):
            value = value << 1 ^ (0x104C11DB7 if value >> 31 else 0)
    return value


def later(content, samples):
    """Return an Ogg file whose stream begins later, cut out of a longer one."""
    place, pages = 0, []
    while place < len(content):
        table = content[place + 27 :][: content[place + 26]]
        size = 27 + len(table) + sum(table)
        page = bytearray(content[place : place + size])
        if len(pages) >= 2:
            (time,) = struct.unpack_from("<q", page, 6)
            struct.pack_into("<qIII", page, 6, time + samples, *[0] * 3)
            page[14:22] = content[place + 14 : place + 22]
            page[22:26] = struct.pack("<I", checksum(page))
        pages.append(bytes(page))
        place += size
    return b"".join(pages)


@pytest.mark.parametrize("start", [0, 100, 480000])
def test_opus_is_in_time_wherever_it_begins(start, tmp_path):
    """Also without the samples that its decoder needs before the first."""
    seconds = np.arange(60000) / 48000
    chirp = 0.5 * np.sin(2 * np.pi * (200 + 1000 * seconds) * seconds)
    path = tmp_path / "x.ogg"
    soundfile.write(path, chirp, 48000, format="OGG", subtype="OPUS")
    path.write_bytes(later(path.read_bytes(), start))
    found = read_audio(path, 48000)
    assert len(found) == 60000
    for late in (-5, -1, 0, 1, 5):
        part = chirp[20000 - late : 40000 - late]
        difference = np.abs(found[20000:40000] - part).max()
        assert (difference < 0.05) == (late == 0)
