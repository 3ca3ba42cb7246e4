"""The files of a data folder, as they are found on real disks."""

import os
import pathlib
from collections.abc import Sequence


def data_files(
    folder: str | os.PathLike[str], suffixes: Sequence[str], deep: bool = True
) -> list[pathlib.Path]:
    """Return the files of a folder that have one of some suffixes.

    Folders are none, whatever they are called, and so is what begins with a
    dot: macOS keeps a `._x.wav` beside `x.wav` on disks of other systems.
    Links are followed.

    Args:
        folder: Path of the folder; one that does not exist has no files.
        suffixes: Sequence of strings such as `".wav"`, in lower case. The
            files' own may be in upper case.
        deep: Whether those of the folders below are looked for too. Defaults
            to `True`.

    Returns:
        Sorted list of `pathlib.Path`.
    """
    found, seen = [], set()
    for position, folders, names in os.walk(folder, followlinks=True):
        # A link may lead back to where it is.
        is_new = os.path.realpath(position) not in seen
        seen.add(os.path.realpath(position))
        folders[:] = [
            name
            for name in folders
            if deep and is_new and not name.startswith(".")
        ]
        found += [
            pathlib.Path(position, name)
            for name in names
            if is_new
            and not name.startswith(".")
            and name.lower().endswith(tuple(suffixes))
            and os.path.isfile(os.path.join(position, name))
        ]
    return sorted(found)


def files_by_name(
    folder: str | os.PathLike[str], suffixes: Sequence[str]
) -> dict[str, pathlib.Path]:
    """Return the files below a folder by what a list calls them.

    Args:
        folder: As for `data_files`.
        suffixes: As for `data_files`.

    Returns:
        Dict from the paths below the folder, as `name_in_list` gives them, to
        `pathlib.Path`.
    """
    return {
        name_in_list(path.relative_to(folder)): path
        for path in data_files(folder, suffixes)
    }


def name_in_list(path: str | os.PathLike[str]) -> str:
    """Return a path with `/` between its parts and its suffix in lower case.

    Args:
        path: String or `pathlib.Path`.
    """
    path = pathlib.PurePath(path)
    return path.as_posix().removesuffix(path.suffix) + path.suffix.lower()
