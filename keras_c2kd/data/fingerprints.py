"""By what data are known again: hashes of arrays, files and readers."""

import dataclasses
import functools
import hashlib
import json
import os
import types
from collections.abc import Mapping
from typing import Any
from typing import Protocol

import keras
import numpy as np
from numpy.typing import NDArray

# Bytes of a file's beginning and end.
_SAMPLED = 1 << 12
# Rows of an array on disk that are read at a time.
_ROWS_AT_ONCE = 1 << 10


class Digest(Protocol):
    """What `hashlib` makes."""

    def update(self, data: Any, /) -> None:
        """Add some bytes."""


def hash_arrays(
    digest: Digest, arrays: Any, rows: NDArray[Any] | None = None
) -> None:
    """Add names, data types, shapes and values of arrays to a digest.

    Args:
        digest: What `hashlib.sha256()` returns.
        arrays: Nested dicts and tuples of arrays `(rows, ...)`. Memory maps
            are read part by part.
        rows: Integer array of the rows that count; None (default) for all.
    """
    for path, array in keras.tree.flatten_with_path(arrays):
        array = np.atleast_1d(np.asanyarray(array))
        chosen = np.arange(len(array)) if rows is None else rows
        shape = (len(chosen), *array.shape[1:])
        digest.update(f"{path} {array.dtype} {shape} ".encode())
        for start in range(0, len(chosen), _ROWS_AT_ONCE):
            part = array[chosen[start : start + _ROWS_AT_ONCE]]
            digest.update(_bytes_of(part))


def _bytes_of(array: NDArray[Any]) -> Any:
    if array.dtype.hasobject:
        return repr(array.tolist()).encode(errors="surrogatepass")
    return np.ascontiguousarray(array).tobytes()


def hash_file(path: str | os.PathLike[str]) -> str:
    """Return a hash of a file's size and of its first and last 4096 bytes.

    Neither its name nor its times count. What cannot be opened has one hash.

    Args:
        path: Path of the file.
    """
    digest = hashlib.sha256()
    try:
        size = os.stat(path).st_size
        with open(path, "rb") as file:
            digest.update(f"{size} ".encode())
            digest.update(file.read(_SAMPLED))
            file.seek(max(size - _SAMPLED, 0))
            digest.update(file.read(_SAMPLED))
    except OSError:
        digest.update(b"cannot be opened")
    return digest.hexdigest()[:16]


def hash_of(value: Any) -> str:
    """Return a hash of what something is, the same in every process.

    Plain values, arrays and dataclasses count by their values, functions by
    their code and what they enclose, other objects by their class, its
    `__call__` and their public attributes. Neither memory addresses nor names
    of modules count, nor fields of a dataclass that do not compare.

    Args:
        value: Anything.
    """
    text = json.dumps(_described(value, ()), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _described(value: Any, above: tuple[int, ...]) -> Any:
    """Return plain values; `above` are the objects that this one lies in."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if id(value) in above:
        return "itself"
    above = (*above, id(value))

    def inner(part: Any) -> Any:
        return _described(part, above)

    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    if isinstance(value, np.ndarray | np.generic):
        digest = hashlib.sha256()
        hash_arrays(digest, np.asarray(value))
        return digest.hexdigest()
    if isinstance(value, os.PathLike):
        return hash_file(value)
    if isinstance(value, Mapping):
        return [[str(key), inner(part)] for key, part in value.items()]
    if isinstance(value, list | tuple):
        return [inner(part) for part in value]
    if isinstance(value, set | frozenset):
        return sorted(json.dumps(inner(part)) for part in value)
    if isinstance(value, types.CodeType):
        constants = [inner(part) for part in value.co_consts]
        return [value.co_code.hex(), constants, list(value.co_names)]
    if isinstance(value, types.FunctionType):
        enclosed = [cell.cell_contents for cell in value.__closure__ or ()]
        defaults = [value.__defaults__, value.__kwdefaults__]
        return [inner(value.__code__), inner(defaults), inner(enclosed)]
    if isinstance(value, types.MethodType):
        return [inner(value.__func__), inner(value.__self__)]
    if isinstance(value, functools.partial):
        return [inner(value.func), inner(value.args), inner(value.keywords)]
    if isinstance(value, type | types.BuiltinFunctionType | np.ufunc):
        return value.__name__
    described: list[Any] = [type(value).__qualname__]
    if dataclasses.is_dataclass(value):
        described += [
            [field.name, inner(getattr(value, field.name))]
            for field in dataclasses.fields(value)
            if field.compare
        ]
    elif hasattr(value, "get_config"):
        described.append(inner(value.get_config()))
    else:
        described += [
            [name, inner(part)]
            for name, part in sorted(getattr(value, "__dict__", {}).items())
            if not name.startswith("_")
        ]
    call = getattr(type(value), "__call__", None)
    if isinstance(call, types.FunctionType):
        described.append(inner(call))
    return described
