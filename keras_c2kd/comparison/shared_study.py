"""Trials of a tuning in a file that several processes share."""

import contextlib
import hashlib
import json
import math
import os
import pathlib
import zlib
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

from keras_c2kd.methods.search_space import SearchChoice
from keras_c2kd.methods.search_space import SearchRange
from keras_c2kd.methods.search_space import SearchSpace
from keras_c2kd.utils.optional_imports import import_optional


class SharedStudy:
    """A study of Optuna whose trials are written when they have ended.

    Optuna writes a trial when it begins, and one whose process dies stays
    "running" for ever. Here the file has ended trials only, each a line;
    who does a trial holds a lock, which the system takes from the dead.

    Args:
        space: Dict from names to a `SearchRange` or `SearchChoice` each.
        default: Dict from the same names to values, the first trial.
        path: Path of Optuna's journal.
        name: String, the name of the study.
        seed: Integer.

    Raises:
        ImportError: If Optuna or filelock is not installed.
        ValueError: If `default` lies outside of the space, or the study was
            begun with other arguments.
    """

    def __init__(
        self,
        space: SearchSpace,
        default: Mapping[str, Any],
        path: pathlib.Path,
        name: str,
        seed: int,
    ) -> None:
        self._optuna = import_optional("optuna", "tune", "Tuning")
        self._filelock = import_optional("filelock", "tune", "Tuning")
        for key in sorted(space.keys() | default.keys()):
            value = default.get(key, "nothing")
            if key not in space or not space[key].contains(value):
                raise ValueError(
                    "The default setting must have a value of each range. "
                    f"Received: {key}={value!r}, of {space.get(key)}. Widen "
                    "the range, or leave it out."
                )
        self._seed = seed
        self._default = dict(default)
        self._choices = {
            key for key in space if isinstance(space[key], SearchChoice)
        }
        self._distributions = {
            key: self._distribution(domain) for key, domain in space.items()
        }
        digest = hashlib.sha256(name.encode()).hexdigest()[:12]
        self._claims = f"{path}.{digest}"
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        # Optuna's own lock would outlive a process that is killed with it.
        self._lock = self._filelock.FileLock(f"{path}.lock")
        first = json.dumps(self._default, sort_keys=True)
        begun = f"{sorted(space.items())}, default {first}, seed {seed}"
        with self._held():
            self._study = self._create(
                study_name=name,
                storage=self._optuna.storages.JournalStorage(
                    self._optuna.storages.journal.JournalFileBackend(
                        str(path), self._lock
                    )
                ),
                load_if_exists=True,
            )
            before = self._study.user_attrs.get("begun_with")
            if before is None:
                self._study.set_user_attr("begun_with", begun)
        if before not in (None, begun):
            raise ValueError(
                "A study must go on with the space, default and seed that it "
                f"was begun with. Received for {name!r} in {path}: {begun}. "
                f"Begun with: {before}. Take another study_name."
            )

    def read(self) -> dict[int, dict[str, Any]]:
        """Return the trials that ended, by their number."""
        states = (self._optuna.trial.TrialState.COMPLETE,)
        with self._held():
            trials = self._study.get_trials(deepcopy=False, states=states)
        return {
            trial.user_attrs["number"]: {
                "number": trial.user_attrs["number"],
                "params": self._decoded(trial.params),
                "value": None if math.isinf(trial.value) else trial.value,
                "failure": trial.user_attrs["failure"],
            }
            for trial in trials
        }

    @contextlib.contextmanager
    def claimed(self, number: int) -> Iterator[bool]:
        """Hold a trial, unless another process does; return whether."""
        lock = self._filelock.FileLock(self._claim(number))
        try:
            lock.acquire(timeout=0)
        except self._filelock.Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def propose(
        self, number: int, done: Mapping[int, Mapping[str, Any]]
    ) -> dict[str, Any]:
        """Return the setting of a trial, given the trials that ended."""
        sampler = self._optuna.samplers.TPESampler(
            # Not the state of a generator, which a restart would lose.
            seed=zlib.crc32(f"{self._seed} {number}".encode())
        )
        study = self._create(sampler=sampler)
        study.add_trials(
            self._ended(done[other]["params"], done[other]["value"])
            for other in sorted(done)
        )
        if number == 0:
            study.enqueue_trial(self._encoded(self._default))
        return self._decoded(study.ask(self._distributions).params)

    def add(
        self,
        number: int,
        params: Mapping[str, Any],
        value: float | None,
        failure: str | None,
    ) -> None:
        """Write a trial that ended; `value` is None if it failed."""
        notes = {"number": number, "failure": failure}
        with self._held():
            self._study.add_trial(self._ended(params, value, notes))

    def drop_claims(self, trials: int) -> None:
        """Remove the locks of the first trials, which have ended."""
        for number in range(trials):
            with contextlib.suppress(OSError):
                os.unlink(self._claim(number))

    def _claim(self, number: int) -> str:
        return f"{self._claims}.{number}.lock"

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        """Hold the file, without the line that a killed writer cut off."""
        with self._lock:
            content = self._path.read_bytes() if self._path.exists() else b""
            if content and not content.endswith(b"\n"):
                os.truncate(self._path, content.rfind(b"\n") + 1)
            yield

    def _create(self, **arguments: Any) -> Any:
        """Create or load a study, of which Optuna would tell in a line."""
        logging = self._optuna.logging
        before = logging.get_verbosity()
        logging.set_verbosity(logging.WARNING)
        try:
            return self._optuna.create_study(direction="maximize", **arguments)
        finally:
            logging.set_verbosity(before)

    def _ended(
        self,
        params: Mapping[str, Any],
        value: float | None,
        notes: Mapping[str, Any] | None = None,
    ) -> Any:
        return self._optuna.trial.create_trial(
            params=self._encoded(params),
            distributions=self._distributions,
            value=-math.inf if value is None else value,
            user_attrs=notes,
        )

    def _distribution(self, domain: SearchRange | SearchChoice) -> Any:
        kinds = self._optuna.distributions
        if isinstance(domain, SearchChoice):
            # As texts: Optuna takes no tuples.
            texts = list(map(json.dumps, domain.options))
            return kinds.CategoricalDistribution(texts)
        kind, number = (
            (kinds.IntDistribution, int)
            if domain.integer
            else (kinds.FloatDistribution, float)
        )
        return kind(number(domain.low), number(domain.high), log=domain.log)

    def _encoded(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {
            key: json.dumps(value) if key in self._choices else value
            for key, value in params.items()
        }

    def _decoded(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {
            key: json.loads(value) if key in self._choices else value
            for key, value in params.items()
        }
