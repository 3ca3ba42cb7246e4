"""Files that are written whole or not at all, and stay so."""

import contextlib
import errno
import os
import pathlib
import tempfile
import uuid
from collections.abc import Iterator

_PIECE = 1 << 20  # Bytes that are written at a time.


def write_atomically(
    path: str | os.PathLike[str],
    content: str | bytes | memoryview,
    keep_name: bool = True,
) -> None:
    """Write a file that is either the old one or the whole new one.

    That holds for a kill, a full disk and a power cut.

    Args:
        path: Where the file goes; its folder is made.
        content: String, written as UTF-8, or bytes.
        keep_name: Whether a power cut after the return leaves the new file
            in any case. Defaults to `True`; for what can be computed again,
            `False` waits for the disk once and not three times.

    Raises:
        OSError: If the file cannot be written. What was there stays.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    if isinstance(content, str):
        content = content.encode("utf-8")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(content)
            if keep_name:
                move_durably(temporary, path)
            else:
                _sync_file(temporary)
                os.replace(temporary, path)
        finally:
            # Where nothing could be written, there is nothing to remove.
            with contextlib.suppress(OSError):
                temporary.unlink()


def move_durably(
    source: str | os.PathLike[str], path: str | os.PathLike[str]
) -> None:
    """Give a finished file its name, so that a power cut cannot empty it.

    Args:
        source: Path of the file, on the same disk.
        path: Path that it takes, from another file if there is one.
    """
    sync(source)
    os.replace(source, path)
    _sync_folder(pathlib.Path(path).parent)


def sync(path: str | os.PathLike[str]) -> None:
    """Wait until a file and its name are on the disk."""
    _sync_file(path)
    _sync_folder(pathlib.Path(path).parent)


def _sync_file(path: str | os.PathLike[str]) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _sync_folder(folder: str | os.PathLike[str]) -> None:
    if os.name == "nt":  # Windows cannot, and keeps names by itself.
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_writable(folder: str | os.PathLike[str]) -> None:
    """Raise now the error that writing into a folder would meet later.

    Args:
        folder: Path of the folder; it need not exist and is not made.

    Raises:
        OSError: If it cannot be made, or no file can be written there.
    """
    nearest = pathlib.Path(folder).absolute()
    while not os.path.lexists(nearest):
        nearest = nearest.parent
    with disk_errors(folder):
        reserve(nearest, 1)


def reserve(folder: str | os.PathLike[str], size: int) -> None:
    """Raise at once the error that a file of this size would meet.

    For writers that do not survive a full disk: HDF5 ends the process.

    Args:
        folder: Path of the folder.
        size: Integer, bytes.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            for start in range(0, size, _PIECE):
                file.write(bytes(min(_PIECE, size - start)))


@contextlib.contextmanager
def disk_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Add to an error of the disk which file it concerns, and what to do.

    Args:
        path: Path of what is written.

    Raises:
        OSError: Of the same kind, for that within.
    """
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        raise OSError(
            error.errno or errno.EIO,
            "Files need a folder that can be written to, with space left. "
            f"Received: {path}, which cannot be written ({reason}). What was "
            "written before is whole. Free space or name another folder; "
            "recipes that are called again go on",
        ) from error
