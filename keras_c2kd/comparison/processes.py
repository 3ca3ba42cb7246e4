"""All runs of a plan: in this process, in several, on several machines.

Whoever trains a run holds its lock, and finished runs are kept, so that any
number of processes can share one folder. A process that dies loses its locks,
and another one goes on with its run from the last state. Processes that were
started here end when the one that started them does, however it ends.
"""

import contextlib
import dataclasses
import gc
import io
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_c2kd.backend import distribution
from keras_c2kd.backend import enable_compilation_cache
from keras_c2kd.comparison.plan import Run
from keras_c2kd.comparison.records import FAILED
from keras_c2kd.comparison.records import Record
from keras_c2kd.comparison.records import RunFiles
from keras_c2kd.comparison.runner import Runner
from keras_c2kd.utils.optional_imports import import_optional
from keras_c2kd.utils.plain_text import printable

# How often a process that died is started again.
RETRIES = 3


@dataclasses.dataclass(frozen=True)
class Engine:
    """Where the runs of a plan are trained.

    Args:
        processes: Integer, processes of this machine that share the runs.
            Defaults to `1`: this one.
        devices: Integer, devices of this machine that train each run
            together; None (default) for one, or all under `torchrun`.
        kind: `"local"` (default), or `"ray"` for the cluster of
            `RAY_ADDRESS`.
        gpus_per_run: Float, GPUs that Ray gives to a run. Defaults to `0.0`.

    Raises:
        ValueError: If a number or `kind` has no meaning, or devices and
            processes are both asked for.
    """

    processes: int = 1
    devices: int | None = None
    kind: str = "local"
    gpus_per_run: float = 0.0

    def __post_init__(self) -> None:
        """Check what was given."""
        for name in ("processes", "devices"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise ValueError(
                    f"`{name}` must be at least 1. Received: {name}={number}"
                )
        if self.kind not in ("local", "ray"):
            raise ValueError(
                "The engines are 'local' and 'ray'. Received: "
                f"engine={self.kind!r}"
            )
        shares = self.kind == "ray" or self.processes > 1
        if shares and self.trains_together:
            raise ValueError(
                "`devices` train each run together, `processes` and Ray share "
                "the runs: choose one of them."
            )

    @property
    def trains_together(self) -> bool:
        """Whether several devices train each run."""
        return distribution.is_requested() or (self.devices or 1) > 1

    @property
    def starts_torchrun(self) -> bool:
        """Whether PyTorch's processes are still to be started."""
        is_torch = keras.backend.backend() == "torch"
        is_started = distribution.is_requested()
        return is_torch and self.trains_together and not is_started


def train_plan(runner: Runner, engine: Engine) -> dict[Run, str]:
    """Train the runs that are not finished; return why some failed.

    Args:
        runner: `Runner`.
        engine: `Engine`.

    Returns:
        Dict from the runs that failed to the reason.
    """
    if engine.kind == "ray":
        _train_on_ray(runner, engine)
    elif engine.processes > 1:
        _train_in_processes(runner, engine.processes)
    elif engine.starts_torchrun:
        _train_under_torchrun(runner, int(engine.devices or 1))
    elif engine.trains_together:
        with distribution.distribute(engine.devices):
            train_all(runner)
    else:
        train_all(runner)
    found = {run: _failure(runner, run) for run in runner.plan.runs()}
    return {run: reason for run, reason in found.items() if reason}


def say(text: str) -> None:
    """Print what the stream can show; others of several processes do not."""
    if not distribution.is_first_process():
        return
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    shown = printable(text).encode(encoding, errors="replace").decode(encoding)
    print(shown, flush=True)


def train_all(runner: Runner) -> None:
    """Train in this process what is not finished and nobody else trains."""
    enable_compilation_cache()
    plan = runner.plan.runs()
    progress = _Progress(runner, plan)
    left = list(plan)
    with _older_objects_left_alone():
        while left:
            before = len(left)
            for run in list(left):
                if _is_done(runner, run, progress):
                    left.remove(run)
            if len(left) == before:
                # All that is left is being trained elsewhere, or waits for it.
                time.sleep(0.5)


@contextlib.contextmanager
def _older_objects_left_alone() -> Iterator[None]:
    """Keep the garbage collector from the objects that are there already.

    After each run its graphs are collected; to look through the objects of all
    libraries too takes a third of a second a run.
    """
    if gc.get_freeze_count():  # Somebody else's decision.
        yield
        return
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _failure(runner: Runner, run: Run) -> str | None:
    return runner.files.failure(*runner.identify(run))


def _is_done(runner: Runner, run: Run, progress: "_Progress") -> bool:
    """Train a run if it is free and can begin; return whether it is done."""
    record = runner.record(run)
    if record is not None:
        runner.files.tidy(*runner.identify(run))
        progress.show(run, record, is_kept=True)
        return True
    if _failure(runner, run):
        return True
    failed = [o for o in runner.plan.starts_from(run) if _failure(runner, o)]
    if failed:
        reason = f"it starts from {failed[0].name}, which failed"
        runner.files.fail(*runner.identify(run), reason)
        return True
    with runner.files.claim(*runner.identify(run)) as is_mine:
        if not is_mine or not runner.can_begin(run):
            return False
        # It may have been finished since it was looked for.
        if runner.record(run) is None:
            progress.begin(run)
            try:
                progress.show(run, runner.train(run))
            except Exception as error:
                if distribution.processes()[1] > 1:
                    raise  # The others wait for this one.
                reason = f"{type(error).__name__}: {error}"
                runner.files.fail(*runner.identify(run), reason)
                say(f"{run.name} failed.\n{traceback.format_exc()}")
        return True


class _Progress:
    """Says which run begins, what it reached, and when all is done."""

    def __init__(self, runner: Runner, plan: list[Run]) -> None:
        self.metric = runner.plan.training.metric
        self.total = len(plan)
        self.finished = set(filter(runner.record, plan))
        self.seconds: list[float] = []
        self.start = time.monotonic()
        self.kept = len(self.finished)
        if self.kept:
            say(f"{self.kept} of {self.total} runs are finished and kept.")

    def begin(self, run: Run) -> None:
        """Say that a run begins."""
        say(f"[{len(self.finished) + 1:3d}/{self.total}] {run.name}")

    def show(self, run: Run, record: Record, is_kept: bool = False) -> None:
        """Say what a run reached, and how long the others will take."""
        if run in self.finished:
            return
        self.finished.add(run)
        if not is_kept:
            self.seconds.append(record["seconds"])
        elapsed = time.monotonic() - self.start
        left = (self.total - len(self.finished)) * sum(self.seconds)
        left /= max(1, len(self.seconds))
        score = 100 * record["scores"]["validation"]
        say(
            f"[{len(self.finished):3d}/{self.total}] {run.name}: validation "
            f"{score:.1f}%, {record['seconds']:.1f} s (elapsed "
            f"{elapsed:.0f} s, left about {left:.0f} s)"
        )


# Other processes get the plan as a file, made by cloudpickle: what the user's
# script or notebook defines goes with it.


def save_job(path: pathlib.Path, runner: Runner) -> None:
    """Write what another process needs to train the runs of a plan.

    Raises:
        ImportError: If cloudpickle is not installed (extra `compare`).
    """
    path.write_bytes(_job(runner))


def _job(runner: Runner) -> bytes:
    cloudpickle = import_optional(
        "cloudpickle", "compare", "Training in several processes"
    )

    class Pickler(cloudpickle.Pickler):  # type: ignore[name-defined]
        """Sends the place of a memory map, not what it holds."""

        def reducer_override(self, value: Any) -> Any:
            if isinstance(value, np.memmap) and _is_whole(value):
                place = (str(value.filename), value.dtype.str, "r")
                return np.memmap, (*place, value.offset, value.shape)
            return super().reducer_override(value)

    file = io.BytesIO()
    Pickler(file).dump(runner)
    return file.getvalue()


def _is_whole(array: np.memmap[Any, Any]) -> bool:
    """Whether an array is a file as it was mapped, not a part of it."""
    is_part = isinstance(array.base, np.ndarray)
    return array.filename is not None and not is_part


def load_job(path: str | pathlib.Path) -> Runner:
    """Return what `save_job` wrote."""
    cloudpickle = import_optional(
        "cloudpickle", "compare", "Training in several processes"
    )
    return cloudpickle.loads(pathlib.Path(path).read_bytes())


def end_with_parent() -> None:
    """End this process when the one that started it has ended.

    That one holds the other end of the standard input, which the system
    closes however it ends.
    """

    def watch() -> None:
        # Not by `sys.stdin`, whose lock a thread must not hold at the end.
        os.read(sys.stdin.fileno(), 1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _with_job(runner: Runner, use: Callable[[list[str]], None]) -> None:
    """Call a function with the words that start a process for a plan."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "plan"
        save_job(path, runner)
        use(["-m", "keras_c2kd.comparison.worker", str(path)])


def _environment(**changes: str) -> dict[str, str]:
    # Where the user's modules are found here, they are found there.
    return {
        **os.environ,
        "KERAS_BACKEND": keras.backend.backend(),
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
        **changes,
    }


def _train_in_processes(runner: Runner, processes: int) -> None:
    """Let several processes train the runs of a plan, sharing its folder.

    One that dies is started again, up to three times. If
    `CUDA_VISIBLE_DEVICES` lists several devices, the processes get one each,
    in turns.
    """
    _with_job(runner, lambda words: _watch(words, processes))


def _watch(words: list[str], processes: int) -> None:
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")

    def start(number: int) -> subprocess.Popen[bytes]:
        changes = {}
        if len(gpus) > 1:
            changes["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
        return subprocess.Popen(
            [sys.executable, *words],
            env=_environment(**changes),
            stdin=subprocess.PIPE,
        )

    workers = {number: start(number) for number in range(processes)}
    deaths = dict.fromkeys(workers, 0)
    try:
        while workers:
            time.sleep(0.1)
            for number, worker in list(workers.items()):
                status = worker.poll()
                if status is None:
                    continue
                del workers[number]
                if status == 0:
                    continue
                deaths[number] += 1
                how = (
                    f"was killed by signal {-status}"
                    if status < 0
                    else f"failed with status {status}"
                )
                if deaths[number] > RETRIES:
                    raise RuntimeError(
                        f"Process {number} {how}, {deaths[number]} times now. "
                        "What it printed says why; finished runs are kept."
                    )
                say(
                    f"Process {number} {how} and is started again "
                    f"({deaths[number]} of {RETRIES})."
                )
                workers[number] = start(number)
    finally:
        for worker in workers.values():
            worker.terminate()
            worker.wait()


def _train_under_torchrun(runner: Runner, number: int) -> None:
    """Let so many processes train each run of a plan together.

    `torchrun` starts them on this machine, and all of them anew, up to three
    times, if one dies.
    """

    def start(words: list[str]) -> None:
        command = [sys.executable, "-m", "torch.distributed.run"]
        command += ["--standalone", "--nproc-per-node", str(number)]
        command += ["--max-restarts", str(RETRIES), *words]
        process = subprocess.Popen(
            command, env=_environment(), stdin=subprocess.PIPE
        )
        try:
            status = process.wait()
        finally:
            process.terminate()
            process.wait()
        if status:
            raise RuntimeError(
                f"torchrun ended with status {status}. What it printed says "
                "why; finished runs are kept."
            )

    _with_job(runner, start)


def _train_on_ray(runner: Runner, engine: Engine) -> None:
    """Let a Ray cluster train the runs of a plan.

    Ray because it hands out whole GPUs or shares of them, starts a task whose
    worker died again, and lets tasks wait for others, the teachers here.
    Every machine needs the package, the data and the folder under the same
    paths. `RAY_ADDRESS` names the cluster; without it, Ray starts on this
    machine.
    """
    ray = import_optional("ray", "ray", "The engine 'ray'")
    variables = {"KERAS_BACKEND": keras.backend.backend()}
    ray.init(
        ignore_reinit_error=True,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": variables},
    )
    try:
        job = ray.put(_job(runner))
        task = ray.remote(
            max_retries=RETRIES,
            num_cpus=1,
            num_gpus=engine.gpus_per_run,
            max_calls=1,
        )(_train_one)
        tasks: dict[Run, Any] = {}
        plan = runner.plan.runs()
        progress = _Progress(runner, plan)
        for number, run in enumerate(plan):
            needed = [tasks[one] for one in runner.plan.starts_from(run)]
            tasks[run] = task.remote(job, number, *needed)
        runs = {future: run for run, future in tasks.items()}
        waiting = list(runs)
        while waiting:
            (future,), waiting = ray.wait(waiting, num_returns=1)
            run = runs[future]
            try:
                ray.get(future)
            except ray.exceptions.RayError as error:
                runner.files.fail(*runner.identify(run), str(error))
            record = runner.record(run)
            if record is not None:
                progress.show(run, record)
            else:
                say(f"{run.name} failed: {_failure(runner, run)}")
    finally:
        ray.shutdown()


def _train_one(job: bytes, number: int, *needed: Any) -> None:
    """Train one run of a plan, in a process of the cluster."""
    cloudpickle = import_optional(
        "cloudpickle", "compare", "Training on a cluster"
    )
    runner = cloudpickle.loads(job)
    run = runner.plan.runs()[number]
    progress = _Progress(runner, [])
    while not _is_done(runner, run, progress):
        time.sleep(0.5)


def forget_failures(runner: Runner) -> None:
    """Let runs that failed be tried again: a failure is no result."""
    for run in runner.plan.runs():
        path = runner.files.path(*runner.identify(run), FAILED)
        path.unlink(missing_ok=True)


def overwrite(runner: Runner) -> None:
    """Remove the records of the plan's runs, and list what goes."""
    for run in runner.plan.runs():
        if runner.record(run) is not None:
            say(f"overwrite: {runner.files.path(*runner.identify(run)).name}")
        runner.files.remove(*runner.identify(run))


def files_of(folder: str | os.PathLike[str]) -> RunFiles:
    """Return the runs of a folder."""
    return RunFiles(pathlib.Path(folder) / "runs")
