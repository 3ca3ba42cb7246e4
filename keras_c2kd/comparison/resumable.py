"""A training that goes on after a kill as if nothing had happened."""

import json
import math
import pathlib
import re
import time
from typing import Any

import keras
import numpy as np

from keras_c2kd.backend import distribution
from keras_c2kd.distiller.cross_modal_distiller import CrossModalDistiller
from keras_c2kd.utils.atomic_files import disk_errors
from keras_c2kd.utils.atomic_files import reserve
from keras_c2kd.utils.atomic_files import sync
from keras_c2kd.utils.atomic_files import write_atomically


class ResumableTraining(keras.callbacks.Callback):
    """Keeps all that a run needs to go on, from time to time.

    That is: the weights, the optimizer's and all random state; the history of
    the epochs so far; and with `monitor` the weights of the best epoch. They
    belong to one point in time: `state.json`, which is replaced whole, names
    the files, and older ones are removed after. A kill at any moment, a power
    cut or a full disk leaves the last state or the new one. (Keras'
    `BackupAndRestore` keeps the weights, but neither history nor best epoch,
    and its two files can belong to different epochs.)

    Put it last among the callbacks, so that it sees what the others log. Of
    several processes that train together the first one writes, and all go on
    from what it wrote.

    Args:
        distiller: `CrossModalDistiller`, compiled.
        folder: Path of a folder of this run alone.
        monitor: Name of the logged value whose highest epoch counts, the
            first one of equals, such as `"val_accuracy"`; or None (default).
        keep_best: Whether the weights of that epoch are kept. Defaults to
            `False`.
        patience: Integer, epochs without a higher value after which training
            stops; 0 (default) for never.
        least_seconds: Float, pause between two states at least. Defaults to
            `60.0`.

    Attributes:
        epoch: Integer, number of epochs that are done.
        history: Dict from names to one value an epoch.
    """

    def __init__(
        self,
        distiller: CrossModalDistiller,
        folder: pathlib.Path,
        monitor: str | None = None,
        keep_best: bool = False,
        patience: int = 0,
        least_seconds: float = 60.0,
    ) -> None:
        super().__init__()
        # Keras' callbacks know the model as `model`, but only within `fit`.
        self.distiller = distiller
        self.folder = pathlib.Path(folder)
        self.monitor = monitor
        self.keep_best = keep_best
        self.patience = patience
        self.least_seconds = least_seconds
        self.epoch = 0
        self.history: dict[str, list[float]] = {}
        self._files: dict[str, str] = {}
        self._saved = time.monotonic()

    def restore(self) -> None:
        """Bring the distiller to where the run was, if it was anywhere.

        Raises:
            ValueError: If the state is damaged, which a kill cannot do, or
                that of other networks.
        """
        path = self.folder / "state.json"
        if not path.exists():
            return
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
            _check_state(state, self.keep_best)
            self._load(state["files"]["last"])
        # Readers answer a damaged file with any exception.
        except Exception as error:
            raise ValueError(
                "An interrupted run goes on from its state. Received: "
                f"{self.folder}, which cannot be read ({error!r}). Delete the "
                "folder to begin the run anew."
            ) from error
        self.epoch, self.history = state["epoch"], state["history"]
        self._files = state["files"]

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Note the epoch, and keep the state if it is time."""
        self.epoch = epoch + 1
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(float(value))
        if self.keep_best and self.best_epoch == self.epoch:
            self._files = {**self._files, "best": self._save("best")}
        if self.is_over:
            self.model.stop_training = True
        if time.monotonic() - self._saved >= self.least_seconds:
            self._keep()

    @property
    def best_epoch(self) -> int:
        """The epoch with the highest value, counted from 1."""
        return 1 + int(np.argmax(self.history[str(self.monitor)]))

    @property
    def is_over(self) -> bool:
        """Whether patience is at its end."""
        if not self.patience or self.epoch == 0:
            return False
        return self.epoch - self.best_epoch >= self.patience

    def finish(self) -> None:
        """Give the distiller the weights that count, after training."""
        distribution.barrier()
        if self.keep_best:
            self._load(self._files["best"])

    def _keep(self) -> None:
        """Write the state, and remove what it does not name."""
        if not distribution.is_first_process():
            return
        self._files = {**self._files, "last": self._save("last")}
        state = {
            "epoch": self.epoch,
            "history": self.history,
            "files": self._files,
        }
        write_atomically(self.folder / "state.json", json.dumps(state))
        for path in self.folder.glob("*.weights.h5"):
            if path.name not in self._files.values():
                path.unlink()
        self._saved = time.monotonic()

    def _save(self, what: str) -> str:
        """Write the weights of this epoch; return the file's name."""
        name = f"{what}_{self.epoch}.weights.h5"
        if not distribution.is_first_process():
            return name
        variables = [
            *self.distiller.variables,
            *self.distiller.optimizer.variables,
        ]
        with disk_errors(self.folder / name):
            self.folder.mkdir(parents=True, exist_ok=True)
            reserve(self.folder, sum(map(_size_of, variables)))
            self.distiller.save_weights(self.folder / name, overwrite=True)
            sync(self.folder / name)
        return name

    def _load(self, name: str) -> None:
        # The optimizer's state can only be put where it exists.
        self.distiller.optimizer.build(self.distiller.trainable_variables)
        self.distiller.load_weights(self.folder / name)


# Bytes at most that HDF5 adds to a variable for its name and its place.
_BESIDES = 8192
_FILE_NAME = re.compile(r"(best|last)_\d+\.weights\.h5")


def _size_of(variable: Any) -> int:
    """Return how many bytes a variable takes in a file, at most."""
    item = np.dtype(keras.backend.standardize_dtype(variable.dtype)).itemsize
    return math.prod(variable.shape) * item + _BESIDES


def _check_state(state: dict[str, Any], keep_best: bool) -> None:
    """Raise a ValueError for what `ResumableTraining` never writes."""
    epoch, history, files = state["epoch"], state["history"], state["files"]
    needed = {"last", "best"} if keep_best else {"last"}
    if not needed <= set(files):
        raise ValueError(f"it needs {sorted(needed)} and has {sorted(files)}")
    for name in files.values():
        # Those beside it; a path would lead elsewhere.
        if not _FILE_NAME.fullmatch(name):
            raise ValueError(f"it names {name!r}, which is no file of its own")
    for name, values in history.items():
        if len(values) != epoch:
            raise ValueError(
                f"it has {len(values)} of {epoch} values of {name}"
            )
