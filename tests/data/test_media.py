import struct
import zlib

import av
import numpy as np
import pytest
import soundfile
from PIL import Image

from keras_c2kd.data.media import MediaError
from keras_c2kd.data.media import read_audio
from keras_c2kd.data.media import read_frames
from keras_c2kd.data.media import read_image
from tests.data.media_files import RATE
from tests.data.media_files import tone
from tests.data.media_files import write_timed
from tests.data.media_files import write_video

pytestmark = pytest.mark.backend_free

RED, GREEN, BLUE = (200, 20, 20), (20, 200, 20), (20, 20, 200)
CODECS = {
    # As CREMA-D (Sorenson H.263 and MP3) and as AVE.
    "flv": {"video_codec": "flv", "audio_codec": "libmp3lame"},
    "mp4": {"video_codec": "libx264", "audio_codec": "aac"},
}


def loudest(wave, rate):
    """Frequency of the largest part of the spectrum."""
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    return spectrum.argmax() * rate / len(wave)


@pytest.fixture(params=CODECS)
def video(request, tmp_path):
    """A second each of red, green and blue, with a tone of 1 kHz."""
    path = tmp_path / f"-clip.{request.param}"
    colours = [colour for colour in (RED, GREEN, BLUE) for _ in range(10)]
    write_video(path, colours, tone(1000, 3.0), **CODECS[request.param])
    return path


def test_frames_by_their_time(video):
    frames = read_frames(video)
    assert frames.shape == (3, 48, 64, 3) and frames.dtype == "uint8"
    for frame, channel in zip(frames, (0, 1, 2)):
        bright, dark = frame[10:-10, 40:], frame[10:-10, :12]
        assert bright.mean(axis=(0, 1)).argmax() == channel
        # Neither mirrored nor turned.
        assert bright.mean() > 2 * dark.mean()
    assert len(read_frames(video, per_second=4)) == 12
    part = read_frames(video, start=1.0, end=2.0)
    assert len(part) == 1 and part[0, 24, 50].argmax() == 1
    with pytest.raises(MediaError, match="no frame from second 7"):
        read_frames(video, start=7.0)


def greys(path, *args, **kwargs):
    """What `read_frames` finds, by the brightness."""
    frames = read_frames(path, *args, **kwargs)
    return np.rint(frames[:, 10:-10, 40:].mean(axis=(1, 2, 3)) / 20).tolist()


def write_greys(path, times):
    """Frames as bright as there were frames before."""
    write_timed(path, {time: [20 * i] * 3 for i, time in enumerate(times)})


def test_pauses_show_the_last_frame_until_the_next(tmp_path):
    path = tmp_path / "x.mp4"
    write_greys(path, [0.0, 0.5, 1.0, 1.5, 4.2, 4.7, 5.2, 5.7, 6.2])
    assert greys(path) == [0, 2, 3, 3, 4, 6, 8]
    assert greys(path, 2.0) == [0, 1, 2, 3, 3, 3, 3, 3, 4, 5, 6, 7, 8]
    assert greys(path, start=2.5) == [3, 4, 5, 7]
    assert greys(path, start=2.0, end=4.0) == [3, 3]
    assert greys(path, end=5.0) == [0, 2, 3, 3, 4]
    with pytest.raises(MediaError, match="no frame from second 8"):
        read_frames(path, start=8.0)


def test_a_frame_that_claims_to_come_much_later(tmp_path):
    path = tmp_path / "x.mp4"
    write_greys(path, [0.0, 0.5, 1.0, 90000.0])
    with pytest.raises(MediaError, match="no new frame for 89998 seconds"):
        read_frames(path)
    assert greys(path, end=3.0) == [0, 2, 2]


def test_sound_of_videos(video):
    wave = read_audio(video, 16000)
    assert wave.dtype == "float32"
    # Codecs pad a little at both ends.
    assert abs(len(wave) - 48000) < 3000
    assert loudest(wave, 16000) == pytest.approx(1000, abs=2)
    assert 0.4 < np.abs(wave[8000:40000]).max() < 0.6
    assert len(read_audio(video, 16000, start=1.0, end=2.5)) == 24000


@pytest.mark.parametrize("right", [1.0, 0.0, -0.5])
@pytest.mark.parametrize("suffix", ["wav", "flv", "mp4"])
def test_channels_are_averaged_in_every_kind_of_file(tmp_path, suffix, right):
    """The rule of FFmpeg, 0.71 of the sum, would be 3 dB louder."""
    path = tmp_path / f"x.{suffix}"
    wave = tone(440, 2.0, channels=2)
    wave[1] *= right
    if suffix == "wav":
        soundfile.write(path, wave.T, RATE)
    else:
        write_video(path, [RED] * 20, wave, **CODECS[suffix])
    found = read_audio(path, RATE)[RATE // 2 : -RATE // 2]
    assert np.abs(found).max() == pytest.approx(0.25 * (1 + right), abs=0.03)


def film(seconds, second=0.0):
    """Pictures that begin at a second of the file."""
    return {second + i / 10: RED for i in range(round(10 * seconds))}


@pytest.mark.parametrize(
    ("suffix", "codec"), [("mp4", "aac"), ("mkv", "pcm_f32le")]
)
@pytest.mark.parametrize(
    ("pictures", "sound"), [(0.0, 1.5), (0.0, 0.2), (1.0, 0.0), (0.5, 2.0)]
)
def test_sound_lies_beside_its_pictures(
    tmp_path, suffix, codec, pictures, sound
):
    path = tmp_path / f"x.{suffix}"
    length = round((6 + pictures - sound) * 16000)
    wave = np.zeros((1, length), "float32")
    # A beep when the film is four seconds old.
    place = round((4 + pictures - sound) * 16000)
    wave[:, place : place + 1600] = tone(1000, 0.1, 16000)
    write_timed(path, film(6, pictures), [(sound, wave)], codec)
    found = np.abs(read_audio(path, 16000)) > 0.1
    assert found.argmax() == pytest.approx(64000, abs=100)
    assert np.count_nonzero(found) == pytest.approx(1350, abs=150)
    part = np.abs(read_audio(path, 16000, start=3.5, end=4.5)) > 0.1
    assert len(part) == 16000
    assert part.argmax() == pytest.approx(8000, abs=100)


@pytest.mark.parametrize("pictures", [True, False])
def test_gaps_in_sound_are_silent(tmp_path, pictures):
    path = tmp_path / "x.mkv"
    second = tone(500, 1.0, 16000)
    sounds = [(0.0, second), (3.0, second), (5.0, second)]
    write_timed(path, film(6) if pictures else None, sounds, "pcm_f32le")
    found = read_audio(path, 16000).reshape(6, 16000)
    for number in (0, 3, 5):
        np.testing.assert_allclose(found[number], second[0], atol=1e-6)
    assert not found[[1, 2, 4]].any()


def test_time_stamps_that_are_not_exact_do_not_tear_the_sound(tmp_path):
    path = tmp_path / "x.mkv"
    wave = tone(500, 6.0, 16000)
    random = np.random.default_rng(0)
    sounds = [
        (place / 16000 + random.uniform(-0.01, 0.01), wave[:, place:][:, :1024])
        for place in range(1024, wave.shape[1], 1024)
    ]
    sounds = [(0.0, wave[:, :1024]), *sounds]
    write_timed(path, film(6), sounds, "pcm_f32le")
    np.testing.assert_allclose(read_audio(path, 16000), wave[0], atol=1e-6)


def test_sound_that_overlaps_is_left_out(tmp_path):
    content = b""
    for second, frequency in ((0.0, 500), (1.0, 1000)):
        path = tmp_path / f"{second}.ts"
        wave = tone(frequency, 2.0, 16000)
        write_timed(path, film(2, second), [(second, wave)])
        content += path.read_bytes()
    path = tmp_path / "both.ts"
    path.write_bytes(content)
    found = read_audio(path, 16000)
    assert len(found) == pytest.approx(3 * 16000, abs=1600)
    assert loudest(found[:30000], 16000) == pytest.approx(500, abs=2)
    assert loudest(found[34000:], 16000) == pytest.approx(1000, abs=2)


def test_sound_that_claims_to_come_much_later(tmp_path):
    path = tmp_path / "x.mkv"
    second = tone(500, 1.0, 16000)
    write_timed(path, film(3), [(0.0, second), (4000.0, second)], "pcm_f32le")
    with pytest.raises(MediaError, match="has no sound for 3999 seconds"):
        read_audio(path, 16000)
    assert len(read_audio(path, 16000, end=1.0)) == 16000


def test_wav_keeps_its_samples(tmp_path):
    wave = np.random.default_rng(0).uniform(-0.9, 0.9, (1600, 2))
    soundfile.write(tmp_path / "x.wav", wave, 16000, subtype="FLOAT")
    found = read_audio(tmp_path / "x.wav", 16000)
    np.testing.assert_allclose(found, wave.mean(axis=1), atol=1e-6)
    part = read_audio(tmp_path / "x.wav", 16000, start=0.025, end=0.05)
    np.testing.assert_array_equal(part, found[400:800])


def test_resampling_keeps_the_tone(tmp_path):
    soundfile.write(tmp_path / "x.wav", tone(440, 1.0, 16000)[0], 16000)
    wave = read_audio(tmp_path / "x.wav", 22050)
    assert len(wave) == 22050
    expected = tone(440, 1.0, 22050)[0]
    np.testing.assert_allclose(wave[500:-500], expected[500:-500], atol=1e-3)


def test_files_that_cannot_be_read(tmp_path):
    def write(name, content):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    stub = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
    silent = tmp_path / "silent.mp4"
    write_video(silent, [RED] * 10)
    whole = tmp_path / "whole.mp4"
    write_video(whole, [RED] * 10, tone(500, 1.0))
    mp4 = write("cut.mp4", whole.read_bytes()[:2000])
    for path, message in (
        (tmp_path / "absent.wav", "is missing"),
        (write("stub.wav", stub), "git lfs pull"),
        (write("stub.flv", stub), "git lfs pull"),
        (write("empty.wav", b""), "is empty"),
        (write("noise.wav", bytes(range(256))), "is damaged"),
        (write("noise.mp4", bytes(range(256))), "is damaged"),
        (mp4, "is damaged"),
        (silent, "no audio stream"),
    ):
        with pytest.raises(MediaError, match=message) as caught:
            read_audio(path, RATE)
        assert caught.value.path == path
    with pytest.raises(MediaError, match="is damaged"):
        read_frames(mp4)
    soundfile.write(tmp_path / "x.wav", tone(440, 0.1)[0], RATE)
    with pytest.raises(MediaError, match="no sound from second 2"):
        read_audio(tmp_path / "x.wav", RATE, start=2.0)
    with pytest.raises(MediaError):
        read_frames(tmp_path / "x.wav")


def in_front(path):
    """Write an MP4 file anew with its index in front, as for streaming."""
    front = path.with_name("front.mp4")
    with (
        av.open(str(path)) as source,
        av.open(str(front), "w", options={"movflags": "faststart"}) as target,
    ):
        streams = {
            stream.index: target.add_stream_from_template(stream)
            for stream in source.streams
        }
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    return front


def test_files_that_are_cut_off(video):
    """Whatever can still be decoded, the file says that there was more."""
    path = video if video.suffix == ".flv" else in_front(video)
    assert len(read_frames(path)) == 3
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    # A packet may be cut in two, which its decoder notices.
    message = r"is cut off after 1\.\d of 3\.\d seconds|is damaged"
    with pytest.raises(MediaError, match=message):
        read_frames(path)
    with pytest.raises(MediaError, match=message):
        read_audio(path, 16000)
    # The part that is asked for is there.
    assert len(read_frames(path, end=1.0)) == 1
    assert len(read_audio(path, 16000, end=1.0)) == 16000


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "flv", "avi"])
@pytest.mark.parametrize("frame_rate", [1, 2])
def test_a_low_frame_rate_is_no_cut(tmp_path, suffix, frame_rate):
    """The last frame is on the screen until the end."""
    path = tmp_path / f"x.{suffix}"
    codec = "flv" if suffix == "flv" else "mpeg4"
    frames = [RED] * 4 * frame_rate
    write_video(path, frames, video_codec=codec, frame_rate=frame_rate)
    assert len(read_frames(path)) == 4
    if suffix == "avi":  # Its index is at the end.
        return
    path = path if suffix != "mp4" else in_front(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(MediaError, match=r"is cut off after|is damaged"):
        read_frames(path)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_pictures_that_begin_later_are_not_cut_off(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    sound = (0.0, tone(500, 5.0, 16000))
    write_timed(path, film(3, 2.0), [sound], frame_rate=10)
    assert len(read_frames(path)) == 3
    assert len(read_audio(path, 16000)) == pytest.approx(48000, abs=1600)


def test_sound_files_that_are_cut_off(tmp_path):
    path = tmp_path / "x.wav"
    soundfile.write(path, tone(440, 1.0, 16000)[0], 16000)
    content = path.read_bytes()
    path.write_bytes(content[:20000])
    with pytest.raises(MediaError, match="cut off after 19,992 of 32,036"):
        read_audio(path, 16000)
    # A length that nobody knew when the file was begun.
    unknown = b"\xff" * 4
    path.write_bytes(content[:4] + unknown + content[8:40] + unknown)
    path.write_bytes(path.read_bytes() + content[44:])
    assert len(read_audio(path, 16000)) == 16000


def test_a_file_that_may_not_be_opened(tmp_path, monkeypatch):
    path = tmp_path / "x.wav"
    soundfile.write(path, tone(440, 0.1)[0], RATE)

    def refuse(*arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(MediaError, match="cannot be opened .Permission"):
        read_audio(path, RATE)


def test_sound_that_is_not_finite(tmp_path):
    path = tmp_path / "x.wav"
    wave = tone(440, 0.1)[0]
    wave[100] = np.nan
    soundfile.write(path, wave, RATE, subtype="FLOAT")
    with pytest.raises(MediaError, match="NaN or infinity in its sound"):
        read_audio(path, RATE)


def test_sound_whose_header_claims_too_much(tmp_path):
    """Neither its length nor its rate is believed before it is decoded."""
    path = tmp_path / "x.flac"
    soundfile.write(path, tone(440, 1.0)[0], RATE)
    content = bytearray(path.read_bytes())
    content[21:26] = (content[21] | 15, 255, 255, 255, 255)
    path.write_bytes(content)
    with pytest.raises(MediaError, match="is cut off after|is damaged"):
        read_audio(path, RATE)
    path = tmp_path / "x.wav"
    for rate in (1, 2**31):
        soundfile.write(path, tone(440, 0.1)[0], RATE)
        content = bytearray(path.read_bytes())
        content[24:28] = struct.pack("<I", rate)
        path.write_bytes(content)
        with pytest.raises(MediaError, match=f"{rate} samples of sound|damage"):
            read_audio(path, RATE)


def turn(path, matrix):
    """Write the display matrix `(a, b, c, d)` into an MP4 file."""
    content = bytearray(path.read_bytes())
    place = content.index(b"tkhd") + 44
    a, b, c, d = (round(number * 2**16) for number in matrix)
    numbers = (a, b, 0, c, d, 0, 0, 0, 2**30)
    content[place : place + 36] = struct.pack(">9i", *numbers)
    path.write_bytes(content)


TURNS = {
    (1, 0, 0, 1): lambda x: x,
    (-1, 0, 0, 1): lambda x: x[:, ::-1],
    (-1, 0, 0, -1): lambda x: x[::-1, ::-1],
    (1, 0, 0, -1): lambda x: x[::-1],
    # Clockwise, as a telephone that is held upright writes it; and back.
    (0, 1, -1, 0): lambda x: np.rot90(x, -1),
    (0, -1, 1, 0): lambda x: np.rot90(x),
    (0, 1, 1, 0): lambda x: x.swapaxes(0, 1),
    (0, -1, -1, 0): lambda x: np.rot90(x, 2).swapaxes(0, 1),
}


@pytest.mark.parametrize("matrix", TURNS)
def test_frames_are_upright_as_the_display_matrix_says(matrix, tmp_path):
    path = tmp_path / "x.mp4"
    frame = np.full((32, 48, 3), 40, "uint8")
    frame[:16, :24], frame[:16, 24:], frame[16:, :24] = RED, GREEN, BLUE
    write_video(path, [frame] * 10, video_codec="mpeg4")
    expected = TURNS[matrix](read_frames(path)[0])
    # Some cameras stretch pixels by it, or are not quite upright.
    for scale, tilt in ((1, 0), (2, 0), (1, 0.01)):
        turn(path, [scale * number + tilt for number in matrix])
        (found,) = read_frames(path)
        np.testing.assert_array_equal(found, expected)
        assert found.flags.c_contiguous


@pytest.mark.parametrize("kind", ["AVIF", "JPEG2000", "PPM", "ICO", "TGA"])
def test_images_that_are_not_supported_are_not_damaged(kind, tmp_path):
    path = tmp_path / "x.jpg"
    Image.new("RGB", (16, 16)).save(path, kind)
    name = kind.replace("G2000", "G ?2000")
    with pytest.raises(MediaError, match=f"is {name}, .*not supp") as caught:
        read_image(path)
    assert "damaged" not in caught.value.reason


HEIC = bytes(3) + b"\x18ftypheic" + bytes(12)
KINDS = {"HEIC": HEIC, "HTML": b"<!DOCTYPE html><html>", "PDF": b"%PDF-1.7 "}
KINDS |= {"JPEG XL": b"\xff\x0a" + bytes(99), "SVG": b"<svg xmlns=''></svg>"}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_that_are_not_supported_are_not_damaged(kind, tmp_path):
    path = tmp_path / "x.wav"
    path.write_bytes(KINDS[kind])
    readers = [read_image, lambda x: read_audio(x, RATE)]
    for read in readers if kind == "HEIC" else [*readers, read_frames]:
        if read is read_frames:
            path = path.rename(tmp_path / "x.mp4")
        with pytest.raises(MediaError, match=f"is {kind}, which is not supp"):
            read(path)


def test_codings_that_are_not_supported_are_not_damaged(tmp_path):
    path = tmp_path / "x.wav"
    soundfile.write(path, tone(440, 0.1)[0], RATE)
    content = bytearray(path.read_bytes())
    content[20:22] = b"\x00\x20"
    path.write_bytes(content)
    with pytest.raises(MediaError, match="WAV of the coding 0x2000, which is"):
        read_audio(path, RATE)
    write_video(tmp_path / "x.mp4", [RED] * 10, tone(440, 1.0))
    (tmp_path / "x.mp4").rename(tmp_path / "x.mp3")
    with pytest.raises(MediaError, match="is MP4, .* or name it as what it"):
        read_audio(tmp_path / "x.mp3", RATE)
    path = (tmp_path / "x.mp3").rename(tmp_path / "y.mp4")
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))
    with pytest.raises(MediaError, match="video of a coding that is not supp"):
        read_frames(path)


def test_frames_of_several_sizes(tmp_path):
    parts = []
    for number, size in enumerate(((48, 64), (32, 48))):
        path = tmp_path / f"{number}.ts"
        frame = np.full((*size, 3), 100, "uint8")
        write_video(path, [frame] * 20, video_codec="mpeg2video")
        parts.append(path.read_bytes())
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(parts))
    with pytest.raises(MediaError, match="frames of several sizes"):
        read_frames(path, per_second=10)


def write_png(path, width, height):
    """A header that claims a size, and next to no pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for kind, data in (
        (b"IHDR", header),
        (b"IDAT", zlib.compress(bytes(100))),
        (b"IEND", b""),
    ):
        content += struct.pack(">I", len(data)) + kind + data
        content += struct.pack(">I", zlib.crc32(kind + data))
    path.write_bytes(content)


def test_images_that_claim_to_be_huge(tmp_path):
    write_png(tmp_path / "x.png", 9000, 9000)
    with pytest.raises(MediaError, match="claims pictures of 9000 x 9000"):
        read_image(tmp_path / "x.png")
    write_png(tmp_path / "x.png", 60000, 60000)
    with pytest.raises(MediaError, match="is damaged"):
        read_image(tmp_path / "x.png")


def test_grey_images_of_16_bits(tmp_path):
    grey = np.arange(0, 65536, 1024, "uint16").reshape(8, 8)
    Image.fromarray(grey).save(tmp_path / "x.png")
    image = read_image(tmp_path / "x.png")
    np.testing.assert_array_equal(image[..., 1], grey // 256)


def test_parts_begin_at_0_or_later(tmp_path):
    with pytest.raises(ValueError, match="Received: start=-1.0"):
        read_audio(tmp_path / "x.wav", RATE, start=-1.0)
    with pytest.raises(ValueError, match="Received: start=-1.0"):
        read_frames(tmp_path / "x.mp4", start=-1.0)
