"""Training that is killed again and again ends as if nothing had happened.

    KERAS_BACKEND=jax PYTHONPATH=. python tests/soaks/killed_training.py

A recipe (`recipes/av_digits.py` on little data, best epoch kept) is trained
once without interruption. Then it is trained in another folder and killed by
SIGKILL: at chosen moments of each kind, where it kills itself, and at random
times from outside. It is started again until it is killed anew, and so on.
Whenever it reaches its end, everything in the folder must be
equal to what the uninterrupted run left: the networks bitwise, scores,
histories, table and figures; then it begins anew in the next folder.

What is being written when the process dies is cut at a random place.

Cost: about 10 minutes on 2 cores with 28 kills; `--fork` (PyTorch only) takes
processes from one that has imported everything and computed nothing.
"""

import argparse
import collections
import csv
import gc
import hashlib
import importlib
import io
import itertools
import json
import multiprocessing
import os
import pathlib
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import zipfile

import h5py
import keras

from keras_c2kd.comparison import run_recipe
from keras_c2kd.data import EpochDataset
from keras_c2kd.data import load_av_digits
from keras_c2kd.methods import Supervised
from keras_c2kd.utils.atomic_files import write_atomically
from tests.benchmarks.measure import describe_machine
from tests.recipes.loading import load_recipe

# What dies, and how many of these moments a run may let pass before.
MOMENTS = {
    "while a batch is read": 12,
    "while the weights of a state are written": 3,
    "before a state is named": 3,
    "after a state is named": 3,
    "before an old state is removed": 2,
    "while a network is written": 2,
    "before a network is named": 2,
    "after a network is named": 2,
    "before a result is named": 2,
    "after a result is named": 2,
    "while the state of a finished run is removed": 2,
    "before a table is named": 1,
    "before a figure is named": 1,
}
ANY_TIME = "at a random time"
TIMES = ("seconds", "finished")


def words(folder, epochs):
    """The command line: both modalities alone, C2KD of the image."""
    return [
        *("--student", "image", "--methods", "c2kd", "--seeds", "1"),
        *("--epochs", str(epochs), "--protocol", "best_validation"),
        *("--pairs", "20", "--validation-pairs", "20", "--test-pairs", "20"),
        *("--batch-size", "10", "--state-seconds", "0", "--all-labels"),
        *("--folder", str(folder)),
    ]


def train(folder, epochs, moment=None, number=0):
    """Train in this process, which dies at the nth moment of a kind."""
    sys.stdout = open(os.devnull, "w")
    if moment is not None:
        _die_at(moment, number)
    run_recipe(load_recipe("av_digits").RECIPE, "", words(folder, epochs))


def _import_everything():
    """Do once what every forked process would do, but for all computing."""
    load_av_digits(pairs=20)
    importlib.import_module("matplotlib.backends.backend_agg")
    importlib.import_module("scipy.stats")
    # Keras imports TensorFlow to write any configuration, if it is there.
    Supervised().get_config()
    # No garbage, however often a process collects it.
    gc.freeze()


def _die_at(moment, number):
    """Lay traps at all moments; the one that is meant kills the process."""
    left = itertools.count(number - 1, -1)

    def strike(name, unfinished=None):
        if name != moment or next(left) > 0:
            return
        if unfinished is not None:
            size = os.path.getsize(unfinished)
            os.truncate(unfinished, random.randrange(size))
        os.kill(os.getpid(), signal.SIGKILL)

    _before(
        EpochDataset,
        "__getitem__",
        lambda *_: strike("while a batch is read"),
    )
    _after(
        keras.Model,
        "save_weights",
        lambda _, path, **kwargs: strike(
            "while the weights of a state are written", path
        ),
    )
    _after(
        keras.Model,
        "save",
        lambda _, path: strike("while a network is written", path),
    )
    _before(
        os,
        "replace",
        lambda source, path: strike(f"before a {_kind(path)} is named", source),
    )
    _after(
        os,
        "replace",
        lambda source, path: strike(f"after a {_kind(path)} is named"),
    )
    _before(
        pathlib.Path,
        "unlink",
        lambda path, **kwargs: (
            path.name.endswith(".weights.h5")
            and strike("before an old state is removed")
        ),
    )

    def half_removed(folder, **kwargs):
        folder = pathlib.Path(folder)
        if folder.suffix == ".partial" and folder.exists():
            min(folder.iterdir()).unlink()
            strike("while the state of a finished run is removed")

    _before(shutil, "rmtree", half_removed)


def _kind(path):
    path = pathlib.Path(path)
    kinds = {".keras": "network", ".png": "figure"}
    kinds |= dict.fromkeys((".md", ".csv"), "table")
    kind = kinds.get(path.suffix, "result")
    return "state" if path.name == "state.json" else kind


def _before(owner, name, act):
    function = getattr(owner, name)

    def both(*args, **kwargs):
        act(*args, **kwargs)
        return function(*args, **kwargs)

    setattr(owner, name, both)


def _after(owner, name, act):
    function = getattr(owner, name)

    def both(*args, **kwargs):
        result = function(*args, **kwargs)
        act(*args, **kwargs)
        return result

    setattr(owner, name, both)


def contents(folder):
    """Return all that a folder holds, but for times and hidden files."""
    found = {}
    for path in sorted(folder.rglob("[!.]*")):
        if path.parent.name.startswith("."):
            continue  # The locks.
        name = str(path.relative_to(folder))
        if path.is_dir():
            found[name] = "folder"
        elif path.suffix == ".json":
            record = json.loads(path.read_text())
            found[name] = {k: v for k, v in record.items() if k not in TIMES}
        elif path.suffix == ".csv":
            with open(path, newline="") as file:
                for number, row in enumerate(csv.DictReader(file)):
                    row = {k: v for k, v in row.items() if k not in TIMES}
                    found[f"{name}, row {number}"] = row
        elif path.suffix == ".md":
            # Without the last column, the seconds.
            text = re.sub(r"\|[^|]*\|$", "|", path.read_text(), flags=re.M)
            found[name] = text
        elif path.suffix == ".keras":
            found |= {f"{name} {k}": v for k, v in _network(path).items()}
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _network(path):
    """Return the architecture and each array of a network's file."""
    found = {}
    with zipfile.ZipFile(path) as archive:
        config = archive.read("config.json").decode()
        weights = io.BytesIO(archive.read("model.weights.h5"))

    # Keras writes addresses in memory; only which are the same counts.
    addresses = re.findall(r'"shared_object_id": (\d+)', config)
    for number, address in enumerate(dict.fromkeys(addresses)):
        config = config.replace(address, f"object {number}")
    found["config"] = config

    def note(name, item):
        if isinstance(item, h5py.Dataset):
            found[name] = (str(item.dtype), item.shape, item[()].tobytes())

    with h5py.File(weights) as file:
        file.visititems(note)
    return found


class Soak:
    """Trains, kills, compares.

    Args:
        root: Path of an empty folder.
        epochs: Integer, of each run.
        forked: Whether processes are forked, rather than begun anew.
    """

    def __init__(self, root, epochs, forked=False):
        self.root = pathlib.Path(root)
        self.epochs = epochs
        self.context = multiprocessing.get_context(
            "fork" if forked else "spawn"
        )
        if forked:
            _import_everything()
        start = time.monotonic()
        self._run(self.root / "whole")
        self.seconds = time.monotonic() - start
        self.whole = contents(self.root / "whole")
        self.kills = []
        self.folders = 0
        self.left_over = 0

    def _run(self, folder, moment=None, number=0):
        """Start the recipe; return whether it was killed."""
        if moment == ANY_TIME:
            process = self._start(folder)
            process.join(number)
            process.kill()
        else:
            process = self._start(folder, moment, number)
        process.join()
        if process.exitcode not in (0, -signal.SIGKILL):
            raise RuntimeError(
                f"{folder} ended with {process.exitcode} after {self.kills}"
            )
        return process.exitcode != 0

    def _start(self, folder, *moment):
        arguments = (folder, self.epochs, *moment)
        process = self.context.Process(target=train, args=arguments)
        process.start()
        return process

    def kill_at(self, moments):
        """Kill at each of some moments, in folders that are all finished.

        Args:
            moments: List of `(name, number)`.
        """
        moments = collections.deque(moments)
        while moments:
            folder = self.root / f"killed_{self.folders}"
            before = len(self.kills)
            while moments and self._run(folder, *moments[0]):
                self.kills.append(moments.popleft())
                print(f"{len(self.kills)}: {self.kills[-1]}", flush=True)
            if moments and len(self.kills) == before:
                raise RuntimeError(f"{moments[0]} never comes")
            if not moments:
                while self._run(folder):
                    pass
            self.compare(folder)
            self.folders += 1

    def compare(self, folder):
        """Raise if a finished folder differs from the uninterrupted one's."""
        found = contents(folder)
        unlike = sorted(
            name
            for name in found.keys() | self.whole.keys()
            if found.get(name) != self.whole.get(name)
        )
        if unlike:
            raise RuntimeError(
                f"{folder} differs in {unlike} after {self.kills}"
            )
        self.left_over += len(list(folder.glob(".*.tmp")))


def draw_moments(kills, seed, seconds):
    """Draw where to kill: each kind in turn, and at random times."""
    draws = random.Random(seed)
    kinds = [*MOMENTS, ANY_TIME]
    moments = []
    while len(moments) < kills:
        draws.shuffle(kinds)
        for kind in kinds:
            number = (
                draws.uniform(0, seconds)
                if kind == ANY_TIME
                else draws.randint(1, MOMENTS[kind])
            )
            moments.append((kind, number))
    return moments[:kills]


def main(arguments=None):
    """Run the soak; print and write what was killed where."""
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--kills", type=int, default=28)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fork", action="store_true")
    parser.add_argument("--out", type=pathlib.Path, help="JSON file")
    options = parser.parse_args(arguments)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as root:
        soak = Soak(root, options.epochs, options.fork)
        soak.kill_at(draw_moments(options.kills, options.seed, soak.seconds))
        files = sum(path.is_file() for path in (soak.root / "whole").rglob("*"))
    counts = collections.Counter(name for name, _ in soak.kills)
    print("\n| killed | times |\n|---|---:|")
    for name in (*MOMENTS, ANY_TIME):
        print(f"| {name} | {counts[name]} |")
    print(
        f"\n{len(soak.kills)} kills on {keras.backend.backend()}; "
        f"{soak.folders} folders, each of {files} files, ended equal to the "
        f"uninterrupted one; {soak.left_over} hidden files left over."
    )
    if options.out is not None:
        content = {
            "soak": "killed_training",
            "machine": describe_machine(),
            "settings": {
                "kills": options.kills,
                "epochs": options.epochs,
                "seed": options.seed,
                "fork": options.fork,
                "words": words("<folder>", options.epochs),
            },
            "kills": soak.kills,
            "counts": counts,
            "folders": soak.folders,
            "left_over": soak.left_over,
            "seconds": time.monotonic() - start,
        }
        write_atomically(options.out, json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
