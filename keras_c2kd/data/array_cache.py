"""Prepared arrays on disk, safe to interrupt and to share."""

import hashlib
import io
import json
import pathlib

import numpy as np

from keras_c2kd.atomic_files import write_atomically


class ArrayCache:
    """Keeps what was computed from a file under certain settings.

    An array is found again as long as the file has the same name, size and
    time of change, wherever the data set lies, and the settings are equal. It
    appears under its name only when it is complete, so that a process may be
    killed at any time and two may fill one cache. The source files are only
    read.

    Args:
        folder: Path of the cache; created if it does not exist.
    """

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)

    def get(self, source, settings, compute):
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
        write_atomically(path, file.getbuffer())
        return array

    def has(self, source, settings):
        """Return whether the array is there and whole, without reading it."""
        return self._read(self.path_of(source, settings)) is not None

    def _read(self, path):
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            whole = array.offset + array.nbytes == path.stat().st_size
        except PermissionError:
            raise
        # Not there, or damaged: what numpy says then depends on the damage.
        except Exception:
            return None
        return array if whole else None

    def path_of(self, source, settings):
        """Return where the array is, or would be."""
        source = pathlib.Path(source)
        status = source.stat()
        text = json.dumps(
            [source.name, status.st_size, status.st_mtime_ns, settings],
            sort_keys=True,
        )
        key = hashlib.sha256(text.encode()).hexdigest()
        return self.folder / key[:2] / f"{key[2:]}.npy"
