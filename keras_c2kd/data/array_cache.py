"""Prepared arrays on disk, safe to interrupt and to share."""

import contextlib
import hashlib
import io
import json
import os
import pathlib
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_c2kd.utils.atomic_files import write_atomically

# Bytes of a file's beginning, middle and end.
_SAMPLED = 1 << 12


class ArrayCache:
    """Keeps what was computed from a file under certain settings.

    An array is found again as long as the file has the same path below the
    data set's folder, size and time of change, and the settings are equal:
    that folder may be moved, or its archive unpacked elsewhere. Some of the
    file's bytes count too, as two data sets may share a cache. The array
    appears under its name only when it is complete, so that a process may be
    killed at any time and two may fill one cache. The source files are only
    read.

    Args:
        folder: Path of the cache; created if it does not exist.
        root: Path of the data set's folder. Defaults to `None`: files are
            told apart by their whole paths.

    Example:
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> source = folder / "numbers.txt"
    >>> size = source.write_text("1 2 3")
    >>> cache = ArrayCache(folder / "cache", root=folder)
    >>> cache.get(source, {"version": 1}, lambda: np.loadtxt(source))
    array([1., 2., 3.])
    >>> cache.has(source, {"version": 1}), cache.has(source, {"version": 2})
    (True, False)
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        root: str | os.PathLike[str] | None = None,
    ) -> None:
        self.folder = pathlib.Path(folder)
        self.root = None if root is None else os.path.abspath(root)

    def get(
        self,
        source: str | os.PathLike[str],
        settings: Mapping[str, Any],
        compute: Callable[[], NDArray[Any]],
    ) -> NDArray[Any]:
        """Return the array, computed now if it is not there.

        Args:
            source: Path of the file that the array is computed from.
            settings: Dict of plain values that change the result.
            compute: Function without arguments that returns the array.

        Returns:
            Numpy array; of one that is there, only what is used is read.

        Raises:
            OSError: If the source is missing, or the array cannot be written.
                Errors of `compute` are passed on and nothing is kept.
        """
        path = self.path_of(source, settings)
        found = self._read(path)
        if found is not None:
            return found
        array = np.asarray(compute())
        file = io.BytesIO()
        np.save(file, array, allow_pickle=False)
        write_atomically(path, file.getbuffer(), keep_name=False)
        return array

    def has(
        self, source: str | os.PathLike[str], settings: Mapping[str, Any]
    ) -> bool:
        """Return whether the array is there and whole, without reading it."""
        return self._read(self.path_of(source, settings)) is not None

    def _read(self, path: pathlib.Path) -> NDArray[Any] | None:
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            whole = array.offset + array.nbytes == path.stat().st_size
        except PermissionError:
            raise
        # Not there, or damaged: what numpy says then depends on the damage.
        except Exception:
            return None
        return array if whole else None

    def path_of(
        self, source: str | os.PathLike[str], settings: Mapping[str, Any]
    ) -> pathlib.Path:
        """Return where the array is, or would be."""
        status = os.stat(source)
        size, changed = status.st_size, status.st_mtime_ns
        text = json.dumps(
            [self._name_of(source), size, changed, settings], sort_keys=True
        )
        digest = hashlib.sha256(text.encode())
        # What cannot be read is not in the cache, and its reader says why.
        with contextlib.suppress(OSError), open(source, "rb") as file:
            for position in (0, size // 2, max(size - _SAMPLED, 0)):
                file.seek(position)
                digest.update(file.read(_SAMPLED))
        key = digest.hexdigest()
        return self.folder / key[:2] / f"{key[2:]}.npy"

    def _name_of(self, source: str | os.PathLike[str]) -> str:
        """Return a name that no other file of the data set has."""
        path = os.path.abspath(source)
        if self.root is not None:
            # There is no way to another drive.
            with contextlib.suppress(ValueError):
                path = os.path.relpath(path, self.root)
        return pathlib.PurePath(path).as_posix()
