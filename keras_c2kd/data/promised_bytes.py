"""How many bytes a media file's own headers promise, and how many are there.

Decoders read what is left of a file that was cut off, mostly without a word.
The sizes that stand in a file are exact where its durations are not.
"""

import contextlib
import io
import mmap
import os
import struct
import typing
from collections.abc import Callable
from collections.abc import Container
from collections.abc import Iterator

# A file's bytes, read or as `mapped` gives them.
Content = bytes | mmap.mmap
# From a file's bytes and a position to the bytes and samples of the frame that
# begins there, None if there is none.
FrameAt = Callable[[Content, int], tuple[int, int] | None]

# A size that a writer to a pipe cannot know is 0 or near one of these: all
# bits, or the largest signed number, perhaps in whole blocks.
_UNKNOWN = (2**31, 2**32, 2**63, 2**64)
_NEAR = 2**16
_WAVES = (b"RIFF", b"RIFX", b"RF64", b"BW64", b"riff")
_MP4_BOXES = (
    b"ftyp moov mdat moof mfra free skip wide pnot udta uuid meta styp sidx"
).split()
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_LARGEST_OGG_PAGE = 27 + 255 + 255 * 255
_LAST_OF_STREAM = 4
# Kilobits a second of MPEG layer III, of version 1, and of 2 and 2.5.
_MP3_BITS = (
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
)
_MP3_RATES = (44100, 48000, 32000)


@contextlib.contextmanager
def mapped(path: str | os.PathLike[str]) -> Iterator[mmap.mmap]:
    """Give the bytes of a file that is not empty, read as they are used.

    Args:
        path: Path of the file.
    """
    with (
        open(path, "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        yield content


def missing_bytes(content: Content) -> tuple[int, int | None] | None:
    """Return how many bytes there are and should be, if there are too few.

    Known are WAV, AVI, RF64, W64, AIFF, CAF and AU; MP4 and QuickTime,
    Matroska and WebM, FLV, ASF (WMV), Ogg and MPEG transport streams; AAC in
    ADTS frames and MP3. Others, such as MPEG program streams and AC-3,
    promise nothing; nor does a size that was unknown when it was written, as
    to a pipe.

    Args:
        content: The file's bytes, as `mapped` gives them.

    Returns:
        Two integers, the second `None` where only the mark of the end is
        missing; or `None` if all that is promised is there.
    """
    try:
        there, promised = len(content), _promised(content)
    except (IndexError, struct.error):
        # A header that is cut off: the decoder will not read it.
        return None
    if promised is None:
        return there, None
    if content[:4] == b"RIFF":
        # RIFF counts what is behind its size.
        there, promised = there - 8, promised - 8
    return (there, promised) if promised > there else None


def with_known_sizes(content: Content) -> io.BytesIO | None:
    """Return a WAV file with its sizes, if they were unknown.

    Args:
        content: The file's bytes.

    Returns:
        `io.BytesIO`; or `None` if the file is another, or knows its sizes.
    """
    if content[:4] not in _WAVES:
        return None
    whole, sound = _wave_sizes(content)
    if sound is None or sound.end(content):
        return None
    patched = bytearray(content)
    for size in (whole, sound):
        most = 2 ** (8 * struct.calcsize(size.form)) - 1
        number = min(len(content) - size.start, most)
        struct.pack_into(size.form, patched, size.position, number)
    return io.BytesIO(patched)


def wave_coding(content: Content) -> int | None:
    """Return the number of a WAV file's coding, `None` if there is none."""
    if content[:4] in _WAVES and content[:4] != b"riff":
        for name, start, _ in _chunks(content, 12, 4, _order(content) + "I"):
            if name == b"fmt " and start + 2 <= len(content):
                return struct.unpack_from(
                    _order(content) + "H", content, start
                )[0]
    return None


def mp3_samples(content: Content) -> int | None:
    """Return how many samples an MP3 file has at least, by its frames.

    Args:
        content: The file's bytes.

    Returns:
        Integer; `None` if the file says it itself as exactly as LAME, or is
        no MP3 file.
    """
    start = _behind_tags(content)
    first = _mp3_frame(content, start)
    if first is None:
        return None
    head = content[start : start + first[0]]
    count = _mp3_count(head)
    if count is not None and (b"LAME" in head or b"Lav" in head):
        return None
    frames = list(_frames(content, start, _mp3_frame))
    # One only counts, and decoders leave out their own delay, about another.
    frames = frames if count is None else frames[2:]
    return sum(number for end, number in frames if end <= len(content))


class _Size(typing.NamedTuple):
    """A size in a header.

    Args:
        position: Integer, where it stands.
        form: String, how it is stored.
        start: Integer, where what it counts begins.
    """

    position: int
    form: str
    start: int

    def end(self, content: Content) -> int:
        """Return where that ends in the file, 0 if it was unknown."""
        (size,) = struct.unpack_from(self.form, content, self.position)
        end = self.start
        if size == 0:
            # Empty, if there is nothing behind it but other chunks.
            for _, start, length in _chunks(
                content, end, 4, self.form[0] + "I"
            ):
                end = start + length
            return self.start if end == len(content) else 0
        return 0 if _is_unknown(size) else end + size


def _is_unknown(size: int) -> bool:
    return any(abs(size - number) <= _NEAR for number in _UNKNOWN)


def _order(content: Content) -> str:
    return ">" if content[:4] == b"RIFX" else "<"


def _chunks(
    content: Content,
    position: int,
    name: int,
    form: str,
    inclusive: int = 0,
    align: int = 2,
) -> Iterator[tuple[bytes, int, int]]:
    """Yield names, first bytes and sizes of chunks, one behind the other.

    Args:
        content: The file's bytes.
        position: Integer, where the first one begins.
        name: Integer, bytes of the name; then comes the size.
        form: String, how the size is stored.
        inclusive: Integer, bytes of name and size if the size counts them.
        align: Integer, bytes that chunks are filled up to.
    """
    while position + name + struct.calcsize(form) <= len(content):
        (size,) = struct.unpack_from(form, content, position + name)
        size -= inclusive
        start = position + name + struct.calcsize(form)
        if size < 0:
            return
        yield content[position : position + name], start, size
        position = start + size + -size % align


def _end_of_chunks(
    chunks: Iterator[tuple[bytes, int, int]],
    names: Container[bytes] | None = None,
) -> int:
    """Return the end of the last chunk whose name and size are known."""
    end = 0
    for name, start, size in chunks:
        if _is_unknown(size) or (names is not None and name not in names):
            break
        end = start + size
    return end


def _promised(content: Content) -> int | None:
    """Return how long the file should be; None if its end is not marked."""
    head = content[:4]
    if head in _WAVES and content[8:12] != b"AVI ":
        return _end_of_wave(content)
    if head == b"RIFF":
        # A long AVI file is several of them.
        return _end_of_chunks(_chunks(content, 0, 4, "<I"), (head,))
    if head == b"FORM":
        return _end_of_chunks(_chunks(content, 0, 4, ">I"), (head,))
    if head == b"caff":
        return _end_of_chunks(_chunks(content, 8, 4, ">Q", align=1))
    if content[:16] == _ASF:
        chunks = _chunks(content, 0, 16, "<Q", inclusive=24, align=1)
        return _end_of_chunks(chunks)
    if head == b".snd":
        start, size = struct.unpack_from(">II", content, 4)
        return 0 if _is_unknown(size) else start + size
    if head == b"\x1aE\xdf\xa3":
        return _end_of_matroska(content)
    if head == b"OggS":
        return _end_of_ogg(content)
    if head[:3] == b"FLV":
        return _end_of_flv(content)
    if content[4:8] in _MP4_BOXES:
        return _end_of_mp4(content)
    if head[:1] == content[188:189] == content[376:377] == b"G":
        return -(-len(content) // 188) * 188
    start = _behind_tags(content)
    for frame in (_mp3_frame, _adts_frame):
        ends = [end for end, _ in _frames(content, start, frame)]
        if ends and frame is _mp3_frame:
            count = _mp3_count(content[start : ends[0]])
            # Some count the one that counts too.
            if (count or 0) > len(ends):
                return None
        if ends:
            return ends[-1]
    return 0


def _wave_sizes(content: Content) -> tuple[_Size, _Size | None]:
    """Return the `_Size` of a WAV file, and that of its sound or None."""
    if content[:4] == b"riff":
        whole = _Size(16, "<Q", 0)
        for name, start, _ in _chunks(content, 40, 16, "<Q", 24, 8):
            if name[:4] == b"data":
                return whole, _Size(start - 8, "<Q", start - 24)
        return whole, None
    form = _order(content) + "I"
    whole, long = _Size(4, form, 8), None
    for name, start, size in _chunks(content, 12, 4, form):
        if name == b"ds64" and size >= 16:
            whole, long = _Size(start, "<Q", 8), start + 8
        if name == b"data" and long is not None:
            return whole, _Size(long, "<Q", start)
        if name == b"data":
            return whole, _Size(start - 4, form, start)
    return whole, None


def _end_of_wave(content: Content) -> int:
    whole, sound = _wave_sizes(content)
    end = whole.end(content)
    if sound is None:
        return end
    # Some writers count the eight bytes in front, or fill up to no pair.
    return max(sound.end(content), end - 8)


def _end_of_mp4(content: Content) -> int:
    position = 0
    while content[position + 4 : position + 8] in _MP4_BOXES:
        (size,) = struct.unpack_from(">I", content, position)
        if size == 1:
            (size,) = struct.unpack_from(">Q", content, position + 8)
        # 0: to the end of the file. Less than 8: no box.
        if size < 8:
            break
        position += size
    return position


def _end_of_matroska(content: Content) -> int:
    position = 0
    while position + 12 <= len(content):
        name = content[position : position + 4]
        length = 9 - content[position + 4].bit_length()
        if length > 8:
            return 0
        digits = content[position + 4 : position + 4 + length]
        size = int.from_bytes(digits, "big") - (1 << (7 * length))
        position += 4 + length
        # All bits: unknown.
        if size == (1 << (7 * length)) - 1:
            return 0
        position += size
        if name == b"\x18S\x80g":
            return position
    return 0


def _end_of_ogg(content: Content) -> int | None:
    first = max(len(content) - _LARGEST_OGG_PAGE, 0)
    position = content.rfind(b"OggS", first)
    table = position + 27
    if position < 0 or table > len(content):
        return None
    end = table + content[table - 1]
    if end > len(content):
        return end
    end += sum(content[table:end])
    is_last = content[position + 5] & _LAST_OF_STREAM
    return end if is_last or end > len(content) else None


def _end_of_flv(content: Content) -> int:
    position = struct.unpack_from(">I", content, 5)[0] + 4
    while position < len(content) and content[position] & 31 in (8, 9, 18):
        # A tag's head of 11 bytes, what it has, and its size again.
        size = int.from_bytes(content[position + 1 : position + 4], "big")
        position += 11 + size + 4
    # Whoever cuts off the last size cuts off no picture.
    return position - 4


def _behind_tags(content: Content) -> int:
    """Return where a stream begins behind tags of the kind ID3."""
    position = 0
    while content[position : position + 3] == b"ID3" and position + 10 <= len(
        content
    ):
        # Seven bits a byte.
        size = 0
        for byte in content[position + 6 : position + 10]:
            size = size << 7 | byte & 127
        position += 10 + size
    return position


def _frames(
    content: Content, position: int, frame: FrameAt
) -> Iterator[tuple[int, int]]:
    """Yield ends and numbers of samples of frames, one behind the other."""
    while (found := frame(content, position)) is not None:
        position += found[0]
        yield position, found[1]


def _mp3_frame(content: Content, position: int) -> tuple[int, int] | None:
    """Return the bytes and samples of an MP3 frame, None if there is none."""
    head = content[position : position + 4]
    if len(head) < 4 or head[0] != 255 or head[1] & 0xE6 != 0xE2:
        return None
    # 3: MPEG 1, 2: MPEG 2, 0: MPEG 2.5.
    version, bits, rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or bits in (0, 15) or rate == 3:
        return None
    is_first = version == 3
    rate = _MP3_RATES[rate] // {3: 1, 2: 2, 0: 4}[version]
    samples = 1152 if is_first else 576
    bits = 1000 * _MP3_BITS[not is_first][bits]
    return samples // 8 * bits // rate + (head[2] >> 1 & 1), samples


def _mp3_count(head: bytes) -> int | None:
    """Return how many frames the first frame says there are, or None."""
    for name, position in ((b"Xing", 8), (b"Info", 8), (b"VBRI", 14)):
        position += head.find(name)
        if name in head and position + 4 <= len(head):
            return int(struct.unpack_from(">I", head, position)[0])
    return None


def _adts_frame(content: Content, position: int) -> tuple[int, int] | None:
    """Return the bytes and samples of an AAC frame, None if there is none."""
    head = content[position : position + 7]
    if len(head) < 7 or head[0] != 255 or head[1] & 0xF6 != 0xF0:
        return None
    size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return (size, 1024) if size > 7 else None
