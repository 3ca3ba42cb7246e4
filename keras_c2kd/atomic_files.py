"""Files that are written whole or not at all."""

import os
import pathlib


def write_atomically(path, content):
    """Write a file that is either the old one or the whole new one.

    Args:
        path: Where the file goes; its folder is made.
        content: String, written as UTF-8, or bytes.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    if isinstance(content, str):
        content = content.encode("utf-8")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
