"""Small media files with real codecs: the class is a tone and a colour."""

from fractions import Fraction

import av
import numpy as np

RATE = 44100


def tone(frequency, seconds, rate=RATE, channels=1):
    times = np.arange(round(seconds * rate)) / rate
    wave = 0.5 * np.sin(2 * np.pi * frequency * times)
    return np.tile(wave[None], (channels, 1)).astype("float32")


def colour_frame(colour, size=(48, 64)):
    """One colour; the left third is dark, so that a mirrored read shows."""
    frame = np.empty((*size, 3), "uint8")
    frame[:] = colour
    frame[:, : size[1] // 3] //= 4
    return frame


def write_video(
    path,
    colours,
    wave=None,
    video_codec="libx264",
    audio_codec="aac",
    frame_rate=10,
    rate=RATE,
):
    """Write frames and perhaps a wave `(1, samples)` or `(2, samples)`.

    Frames are arrays, or colours, which `colour_frame` makes one of.
    """
    frames = [
        c if isinstance(c, np.ndarray) else colour_frame(c) for c in colours
    ]
    with av.open(str(path), "w") as container:
        video = container.add_stream(video_codec, rate=frame_rate)
        video.height, video.width = frames[0].shape[:2]
        video.pix_fmt = "yuv420p"
        audio = None
        if wave is not None:
            layout = {1: "mono", 2: "stereo"}[len(wave)]
            audio = container.add_stream(audio_codec, rate=rate, layout=layout)
        for array in frames:
            frame = av.VideoFrame.from_ndarray(array, "rgb24")
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None:
            frame = av.AudioFrame.from_ndarray(wave, "fltp", layout=layout)
            frame.sample_rate = rate
            frame.pts = 0
            fifo = av.AudioFifo()
            fifo.write(frame)
            size = audio.codec_context.frame_size or 1152
            while part := fifo.read(size, partial=True):
                container.mux(audio.encode(part))
            container.mux(audio.encode(None))


def write_timed(
    path,
    pictures=None,
    sounds=(),
    audio_codec="aac",
    frame_rate=10,
    rate=16000,
    size=1024,
):
    """Write pictures and sound that have time stamps of their own.

    Pictures are a dict from seconds to colours, sounds pairs of seconds and a
    wave `(1, samples)`, which is written in frames of some size.
    """
    with av.open(str(path), "w") as container:
        packets = []
        if pictures is not None:
            video = container.add_stream("mpeg4", rate=frame_rate)
            video.height, video.width = 48, 64
            video.pix_fmt = "yuv420p"
            video.codec_context.time_base = Fraction(1, 1000)
        if sounds:
            audio = container.add_stream(audio_codec, rate=rate, layout="mono")
        for second, colour in (pictures or {}).items():
            frame = av.VideoFrame.from_ndarray(colour_frame(colour), "rgb24")
            frame.pts = round(second * 1000)
            frame.time_base = Fraction(1, 1000)
            packets += video.encode(frame)
        if pictures is not None:
            packets += video.encode(None)
        for second, wave in sounds:
            for place in range(0, wave.shape[1], size):
                part = wave[:, place : place + size].copy()
                # In planes or not: there is one channel.
                kind = "fltp" if audio_codec == "aac" else "flt"
                frame = av.AudioFrame.from_ndarray(part, kind, layout="mono")
                frame.sample_rate = rate
                frame.pts = round(second * rate) + place
                frame.time_base = Fraction(1, rate)
                packets += audio.encode(frame)
        if sounds:
            packets += audio.encode(None)
        packets.sort(key=lambda packet: packet.dts * packet.time_base)
        for packet in packets:
            container.mux(packet)
