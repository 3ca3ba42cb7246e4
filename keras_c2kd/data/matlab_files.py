"""Arrays of numbers from MATLAB's files of version 5.

SciPy reads these files with compiled code that trusts every size in them: a
damaged file can end the process. What is here checks them, and reads arrays of
numbers alone.
"""

import os
import struct
import zlib
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Numbers of the format: how the numbers of an element are stored.
_STORED = {
    1: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    5: "i4",
    6: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
}
_MATRIX, _COMPRESSED = 14, 15
_MOST_BYTES = 2**26


def read_matlab_array(path: str | os.PathLike[str], key: str) -> NDArray[Any]:
    """Return an array of numbers.

    Args:
        path: Path of a MATLAB file of version 5, as `save` writes by default.
        key: String, the array's name.

    Returns:
        Numpy array of the shape and the numbers that MATLAB shows.

    Raises:
        KeyError: If there is no such array.
        ValueError: If it is no such file, or damaged.

    Reference: MAT-File Format, The MathWorks, "Level 5 MAT-File Format".
    """
    with open(path, "rb") as file:
        content = file.read(_MOST_BYTES)
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    if order is None:
        raise ValueError("no MATLAB file of version 5")
    try:
        for kind, data in _elements(content[128:], order):
            if kind == _COMPRESSED:
                data = zlib.decompressobj().decompress(data, _MOST_BYTES)
                ((kind, data),) = _elements(data, order)
            if kind == _MATRIX:
                name, array = _matrix(data, order)
                if name == key:
                    return array()
    except (struct.error, zlib.error, IndexError) as error:
        raise ValueError(f"a damaged MATLAB file ({error})") from error
    raise KeyError(key)


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Yield the elements of some bytes: their kinds and their own bytes."""
    position = 0
    while position < len(data):
        (kind,) = struct.unpack_from(order + "I", data, position)
        is_small = kind >> 16
        if is_small:
            # Its size, its kind and its bytes are in eight.
            kind, size, start, end = kind & 65535, kind >> 16, 4, 8
        else:
            (size,) = struct.unpack_from(order + "I", data, position + 4)
            start = 8
            # All but what is compressed fill up eight bytes.
            end = 8 + (size if kind == _COMPRESSED else -(-size // 8) * 8)
        first = position + start
        if first + size > min(len(data), position + end):
            raise ValueError(f"an element of {size} bytes, which are not there")
        yield kind, data[first : first + size]
        position += end


def _matrix(data: bytes, order: str) -> tuple[str, Callable[[], NDArray[Any]]]:
    """Return a matrix's name, and a function that reads its numbers."""
    parts = list(_elements(data, order))
    shape = _numbers(*parts[1], order)

    def array() -> NDArray[Any]:
        numbers = _numbers(*parts[3], order)
        return numbers.reshape([int(size) for size in shape], order="F")

    return bytes(parts[2][1]).decode(), array


def _numbers(kind: int, data: bytes, order: str) -> NDArray[Any]:
    if kind not in _STORED:
        raise ValueError(f"numbers of the kind {kind}")
    return np.frombuffer(data, order + _STORED[kind])
