"""Result files: one JSON a run, written whole, found again, never lost."""

import contextlib
import csv
import datetime
import hashlib
import importlib
import importlib.metadata
import io
import json
import math
import os
import pathlib
import platform
import re
import shutil
import subprocess
import warnings
from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any

import keras

from keras_c2kd.backend import distribution
from keras_c2kd.utils.atomic_files import check_writable
from keras_c2kd.utils.atomic_files import disk_errors
from keras_c2kd.utils.atomic_files import move_durably
from keras_c2kd.utils.atomic_files import write_atomically
from keras_c2kd.utils.optional_imports import import_optional
from keras_c2kd.version import __version__

Record = dict[str, Any]
"""What is stored of a finished run, plain values."""

# Endings: the folder with the state of an interrupted run; why a run failed.
PARTIAL = ".partial"
FAILED = ".failed"
Settings = dict[str, Any]
_DIGEST_LENGTH = 8
_RECORD_NAME = re.compile(rf".+-[0-9a-f]{{{_DIGEST_LENGTH}}}\.json", re.DOTALL)
_KEYS = {"name", "settings", "network", "environment", "finished"}


class RunFiles:
    """The runs of a comparison in one folder.

    A run is known by its name and its settings, its identity: a dict of plain
    values that decide the outcome. Runs with
    other settings have other file names, so that a short trial never
    overwrites a long experiment and `load` never returns a stale result.

    The files, `<name>-<digest of the settings>` with these endings:

    - `.json`: `name`, `settings`, what the caller stored, `network` (file
      name or None), `environment` and `finished` (UTC);
    - `.keras`: the trained network, if the caller kept it;
    - `.partial`: a folder with what is not finished, gone when it is.

    Files may come from others: a record names no file but its own network,
    and a network is loaded without running code that it brings.

    Args:
        directory: The folder; it is made when the first run is saved.

    Example:
    ```python
    files = RunFiles("results")
    record = files.load("kd-image-0", settings)
    if record is None:
        record = files.save("kd-image-0", settings, {"scores": train()})
    ```
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = pathlib.Path(directory)

    def check_writable(self) -> None:
        """Raise an OSError now if nothing can be saved; nothing is made."""
        check_writable(self.directory)

    def path(
        self, name: str, settings: Settings, suffix: str = ".json"
    ) -> pathlib.Path:
        """Return the path of one of the run's files.

        Raises:
            ValueError: If the name is a path.
        """
        if pathlib.PurePath(name).name != name:
            raise ValueError(
                "The name of a run begins the names of its files. Received: "
                f"name={name!r}, which is a path. Leave the folders out."
            )
        text = _as_text(settings)
        digest = hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]
        return self.directory / f"{name}-{digest}{suffix}"

    def load(self, name: str, settings: Settings) -> Record | None:
        """Return the record of a finished run, or None.

        A run whose network was kept and is gone counts as not finished. A file
        that cannot be read as a record of this run is kept under the ending
        `.corrupt`, with a warning that names it.
        """
        path = self.path(name, settings)
        record = self._read(path, settings) if path.exists() else None
        if record is None or record["network"] is None:
            return record
        network = self.directory / record["network"]
        return record if network.exists() else None

    def load_all(self) -> list[Record]:
        """Return the records of all runs in the folder, by file name.

        What cannot be read is set aside, as `load` does it. A file with no
        run's name, such as a study's `settings.json`, is somebody else's.
        """
        paths = sorted(
            path
            for path in self.directory.glob("*.json")
            if _RECORD_NAME.fullmatch(path.name)
        )
        records = [self._read(path) for path in paths]
        return [record for record in records if record is not None]

    def save(
        self,
        name: str,
        settings: Settings,
        result: Record,
        network: keras.Model | None = None,
    ) -> Record:
        """Store a finished run and return its record.

        Of several processes that train together the first one writes.

        Args:
            name: String, the readable part of the file name.
            settings: Dict of plain values.
            result: Dict of plain values: scores, history, wall time, data.
            network: `keras.Model` to keep beside the record, or None. It is
                written first: a record promises that its network is there.

        Returns:
            The record, as `load` returns it later.

        Raises:
            OSError: If the disk is full or cannot be written to. What was
                there stays, the state of the run too.
        """
        network_path = self.path(name, settings, ".keras")
        record = {
            "name": name,
            "settings": settings,
            **result,
            "network": None if network is None else network_path.name,
            "environment": environment(),
            "finished": datetime.datetime.now(datetime.UTC).isoformat(
                timespec="seconds"
            ),
        }
        text = json.dumps(_without_nan(record), indent=1, allow_nan=False)
        # Nobody reads the state any more.
        distribution.barrier()
        if distribution.is_first_process():
            self._write(name, settings, text, network)
        distribution.barrier()
        return json.loads(text)

    def _write(
        self,
        name: str,
        settings: Settings,
        text: str,
        network: keras.Model | None,
    ) -> None:
        """Write the network and the record, and remove the state."""
        partial = self.path(name, settings, PARTIAL)
        if network is not None:
            path = self.path(name, settings, ".keras")
            # Among what goes when the run is finished.
            unfinished = partial / "network.keras"
            with disk_errors(path):
                partial.mkdir(parents=True, exist_ok=True)
                network.save(unfinished)
                move_durably(unfinished, path)
        write_atomically(self.path(name, settings), text)
        shutil.rmtree(partial, ignore_errors=True)

    def tidy(self, name: str, settings: Settings) -> None:
        """Remove what a kill left of a finished run: its state."""
        partial = self.path(name, settings, PARTIAL)
        if partial.exists():
            with self.claim(name, settings) as is_mine:
                if is_mine:
                    shutil.rmtree(partial, ignore_errors=True)

    @contextlib.contextmanager
    def claim(self, name: str, settings: Settings) -> Iterator[bool]:
        """Hold the right to train a run, as long as the process lives.

        Args:
            name: As for `save`.
            settings: As for `save`.

        Yields:
            Whether no other process holds it.

        Raises:
            ImportError: If filelock is not installed (extra `compare`).
        """
        filelock = import_optional(
            "filelock", "compare", "Sharing a result folder"
        )
        if not distribution.is_first_process():
            yield True  # The first process holds it for all.
            return
        folder = self.directory / ".locks"
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(
            folder / self.path(name, settings, ".lock").name, timeout=0
        )
        try:
            lock.acquire()
        except filelock.Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def fail(self, name: str, settings: Settings, reason: str) -> None:
        """Note why a run failed, for the processes that share the folder."""
        write_atomically(self.path(name, settings, FAILED), reason)

    def failure(self, name: str, settings: Settings) -> str | None:
        """Return why a run failed, or None."""
        path = self.path(name, settings, FAILED)
        return path.read_text(encoding="utf-8") if path.exists() else None

    def remove(self, name: str, settings: Settings) -> None:
        """Remove what is there of a run: only where the user said so."""
        for suffix in (".json", ".keras", FAILED):
            self.path(name, settings, suffix).unlink(missing_ok=True)
        partial = self.path(name, settings, PARTIAL)
        shutil.rmtree(partial, ignore_errors=True)

    def load_network(self, name: str, settings: Settings) -> keras.Model:
        """Return a fresh copy of the network that `save` kept."""
        path = self.path(name, settings, ".keras")
        return keras.saving.load_model(path, compile=False)

    def _read(
        self, path: pathlib.Path, settings: Settings | None = None
    ) -> Record | None:
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            _check_record(record)
            if settings is not None and _as_text(settings) != _as_text(
                record["settings"]
            ):
                raise ValueError("its settings are those of another run")
            return record
        except (ValueError, RecursionError) as error:
            aside = _free_path(path.with_name(path.name + ".corrupt"))
            os.replace(path, aside)
            warnings.warn(
                f"The result file {path} cannot be read ({error}). It is now "
                f"{aside.name}, and the run counts as not done.",
                stacklevel=3,
            )
            return None


def _without_nan(value: Any) -> Any:
    """Return plain values with None for numbers that JSON cannot hold."""
    if isinstance(value, dict):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _as_text(settings: Settings) -> str:
    return json.dumps(settings, sort_keys=True)


def _check_record(record: Any) -> None:
    """Raise a ValueError for what `RunFiles` never writes."""
    if not isinstance(record, dict) or not _KEYS <= set(record):
        raise ValueError(f"a record has the keys {sorted(_KEYS)}")
    for key, kind in (("name", str), ("settings", dict)):
        if not isinstance(record[key], kind):
            raise ValueError(f"{key!r} is {record[key]!r}")
    network = record["network"]
    if network is None:
        return
    name = str(network)
    # A file beside the record; a path would lead elsewhere.
    if pathlib.PurePath(name).name != network or not name.endswith(".keras"):
        raise ValueError(f"its network is {network!r}, which is no file name")


def environment() -> dict[str, Any]:
    """Return what a number may depend on besides the settings.

    Returns:
        Dict: backend, versions of the packages, number of devices, Python,
        platform, and the commit of the checkout that the package runs from
        (None for an installed one).
    """
    backend = keras.backend.backend()
    versions = {"keras_c2kd": __version__, "keras": keras.__version__}
    for package in (backend, "numpy"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            # tensorflow-cpu and its kin carry another name than the module.
            versions[package] = str(
                getattr(importlib.import_module(package), "__version__", "?")
            )
    return {
        "backend": backend,
        **versions,
        "devices": distribution.num_devices(),
        "git_commit": _git_commit(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    }


def _git_commit() -> str | None:
    """Return the commit, with "+changes" if there are any; or None."""

    def git(*words: str) -> str | None:
        folder = pathlib.Path(__file__).parent
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True
        )
        return done.stdout.strip() if done.returncode == 0 else None

    try:
        # The package may be installed inside of somebody's repository.
        if git("ls-files", "--error-unmatch", __file__) is None:
            return None
        changes = "+changes" if git("status", "--porcelain", "-uno") else ""
        return f"{git('rev-parse', 'HEAD')}{changes}"
    except OSError:
        return None


def _free_path(path: pathlib.Path) -> pathlib.Path:
    free, number = path, 1
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}{number}")
    return free


# One table of runs: what the recipes' results are kept as.

_SEVERAL = ("settings", "scores", "test", "history", "data", "environment")


def write_runs(records: Iterable[Record], path: str | os.PathLike[str]) -> None:
    """Write records as one CSV, a line a run.

    Method, student, seed and scores are columns to read; the parts of a
    record that are dicts are JSON.

    Args:
        records: Records, as `RunFiles` returns them.
        path: Where the file goes.
    """
    file = io.StringIO()
    names = ["method", "student", "seed", "score", "name", *_SEVERAL]
    names += ["updates", "parameters", "seconds", "network", "finished"]
    writer = csv.DictWriter(file, names, lineterminator="\n")
    writer.writeheader()
    for record in records:
        settings = record["settings"]
        line = {
            "method": settings["method"],
            "student": settings["student"],
            "seed": settings["seed"],
            "score": record["scores"]["student"],
            **{name: record.get(name) for name in names[4:]},
        }
        for name in _SEVERAL:
            # Rounded scores would have a spread where equal ones have none.
            value = record[name]
            value = _short(value) if name == "history" else value
            line[name] = json.dumps(value, sort_keys=True)
        writer.writerow(line)
    write_atomically(path, file.getvalue())


def read_runs(path: str | os.PathLike[str]) -> list[Record]:
    """Return the records of a file that `write_runs` wrote."""
    csv.field_size_limit(1 << 30)
    with open(path, encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    records = []
    for line in lines:
        record: Record = {
            name: line[name] or None for name in ("name", "network", "finished")
        }
        record |= {name: json.loads(line[name]) for name in _SEVERAL}
        for name in ("updates", "parameters"):
            record[name] = int(line[name]) if line[name] else None
        record["seconds"] = float(line["seconds"])
        _check_record(record)
        records.append(record)
    return records


def load_records(folder: str | os.PathLike[str]) -> list[Record]:
    """Return all records below a result folder: of its runs, and of its CSV.

    Args:
        folder: That was given to `compare`.
    """
    folder = pathlib.Path(folder)
    found = RunFiles(folder / "runs").load_all()
    table = folder / "runs.csv"
    if not found and table.exists():
        found = read_runs(table)
    return found


def _short(value: Any) -> Any:
    """Return plain values with numbers of a history to six digits."""
    if isinstance(value, dict):
        return {key: _short(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_short(part) for part in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
