"""All runs of a plan: in this process, in several, on several machines.

Whoever trains a run holds its lock, and finished runs are kept, so that any
number of processes can share one result folder. A process that dies loses its
locks, and another one goes on with its run from the last state.
"""

import os
import subprocess
import sys
import time

import keras

from keras_c2kd.backend import distribution
from keras_c2kd.utils.optional_imports import import_optional

# How often a process that died is started again.
RETRIES = 3


def train_all(runner, plan):
    """Train the runs of a plan that are not finished; return all records.

    Runs that another process is training are waited for.

    Args:
        runner: `Runner`.
        plan: List of `Run`, as `plan_runs` gives it.

    Returns:
        List of records, in the order of the plan.

    Raises:
        ValueError: If another process trains the same runs and the runner
            does not resume, so that both would overwrite each other.
    """
    progress = Progress(runner, len(plan))
    records = {}
    while len(records) < len(plan):
        before = len(records)
        for run in plan:
            if run in records:
                continue
            record = runner.record(run) if runner.resume else None
            if record is not None:
                runner.files.tidy(*runner.identify(run))
                progress.show(run, record, is_kept=True)
            else:
                record = _train_if_free(runner, run, progress)
            if record is not None:
                records[run] = record
        if len(records) == before:
            # All that is left is being trained elsewhere, or waits for it.
            time.sleep(1.0)
    return [records[run] for run in plan]


def _train_if_free(runner, run, progress):
    """Train a run unless another process does, or it cannot begin yet."""
    with runner.files.claim(*runner.identify(run)) as is_mine:
        if not is_mine:
            if runner.resume and distribution.processes()[1] == 1:
                return None
            raise ValueError(
                "Another process is training in this folder. Received: "
                f"{run.name} in {runner.files.directory}. Use --resume to "
                "share the work, or another --out."
            )
        # It may have been finished since it was looked for.
        record = runner.record(run) if runner.resume else None
        if record is None:
            if not runner.can_begin(run):
                return None
            progress.begin(run)
            record = runner.train(run)
        progress.show(run, record)
        return record


class Progress:
    """Prints a line for each run that begins and that is done.

    Args:
        runner: `Runner`.
        total: Integer, number of runs.
    """

    def __init__(self, runner, total):
        self.metric = runner.recipe.metric
        self.total = total
        self.done = 0
        self.seconds = []
        self.start = time.monotonic()
        if distribution.is_first_process():
            print(
                f"{total} runs of {runner.settings.epochs} epochs on "
                f"{keras.backend.backend()}, results in "
                f"{runner.files.directory}",
                flush=True,
            )

    def begin(self, run):
        """Say that a run begins."""
        self._print(self.done + 1, run.name)

    def show(self, run, record, is_kept=False):
        """Say what a run reached, and how long the others will take."""
        self.done += 1
        if not is_kept:
            self.seconds.append(record["seconds"])
        elapsed = time.monotonic() - self.start
        left = (self.total - self.done) * sum(self.seconds)
        left /= max(1, len(self.seconds))
        score = 100 * record["history"][f"val_{self.metric}"][-1]
        taken = "kept" if is_kept else f"{record['seconds']:.1f} s"
        self._print(
            self.done,
            f"{run.name}: validation {score:.1f}% in the last epoch, {taken} "
            f"(elapsed {elapsed:.0f} s, left about {left:.0f} s)",
        )

    def _print(self, number, text):
        if not distribution.is_first_process():
            return
        print(f"[{number:3d}/{self.total}] {text}", flush=True)


def train_in_processes(script, arguments, processes):
    """Let several processes train the runs of a recipe, sharing its folder.

    Each is the recipe itself, with `--resume` and `--worker`. One that dies
    is reported and started again, up to three times. If
    `CUDA_VISIBLE_DEVICES` lists several devices, the processes get one each,
    in turns.

    Args:
        script: Path of the recipe.
        arguments: List of the recipe's command-line words.
        processes: Integer.

    Raises:
        RuntimeError: If a process died once more.
    """
    command = [sys.executable, script, *arguments]
    # The last word counts where an option is given twice.
    command += ["--processes", "1", "--resume", "--worker"]
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")

    def start(number):
        environment = dict(os.environ)
        if len(gpus) > 1:
            gpu = gpus[number % len(gpus)]
            environment["CUDA_VISIBLE_DEVICES"] = gpu
        return subprocess.Popen(command, env=environment)

    workers = {number: start(number) for number in range(processes)}
    deaths = dict.fromkeys(workers, 0)
    try:
        while workers:
            time.sleep(0.2)
            for number, worker in list(workers.items()):
                status = worker.poll()
                if status is None:
                    continue
                del workers[number]
                if status == 0:
                    continue
                deaths[number] += 1
                what = f"Process {number} ended with status {status}"
                if deaths[number] > RETRIES:
                    raise RuntimeError(
                        f"{what}, {deaths[number]} times now. What it printed "
                        "says why; finished runs are kept."
                    )
                print(
                    f"{what} and is started again ({deaths[number]} of "
                    f"{RETRIES}).",
                    flush=True,
                )
                workers[number] = start(number)
    finally:
        for worker in workers.values():
            worker.terminate()
            worker.wait()


def train_under_torchrun(script, arguments, number):
    """Let so many processes train each run of a recipe together.

    `torchrun` starts them on this machine, and all of them anew, up to three
    times, if one dies.

    Args:
        script: Path of the recipe.
        arguments: List of the recipe's command-line words.
        number: Integer, processes, a device each.

    Raises:
        RuntimeError: If they failed once more.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(number)]
    command += ["--max-restarts", str(RETRIES)]
    command += [script, *arguments, "--resume", "--worker"]
    status = subprocess.call(command)
    if status:
        raise RuntimeError(
            f"torchrun ended with status {status}. What it printed says why; "
            "finished runs are kept."
        )


def train_on_ray(script, arguments, runner, plan, gpus_per_run=0.0):
    """Let a Ray cluster train the runs of a recipe.

    Ray because it hands out whole GPUs or shares of them, starts a task whose
    worker died again, and lets tasks wait for others, the teachers here.
    Every machine needs the package, the recipe, the data and the result
    folder under the same paths. `RAY_ADDRESS` names the cluster; without it,
    Ray starts on this machine.

    Args:
        script: Path of the recipe.
        arguments: List of the recipe's command-line words.
        runner: `Runner` of the same recipe, to tell what depends on what.
        plan: List of `Run`.
        gpus_per_run: Float, GPUs that a run takes. Defaults to `0.0`.

    Raises:
        ImportError: If Ray is not installed (extra `ray`).
        RuntimeError: If a run failed, with what it raised.
    """
    ray = import_optional("ray", "ray", "--engine ray")
    backend = keras.backend.backend()
    ray.init(
        ignore_reinit_error=True,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"KERAS_BACKEND": backend}},
    )
    task = ray.remote(
        max_retries=RETRIES, num_cpus=1, num_gpus=gpus_per_run, max_calls=1
    )(_train_one)
    progress = Progress(runner, len(plan))
    tasks = {}
    for run in plan:
        needed = [tasks[other] for other in runner.starts_from(run)]
        tasks[run] = task.remote(script, arguments, run.name, *needed)
    runs = {future: run for run, future in tasks.items()}
    waiting = list(runs)
    try:
        while waiting:
            (future,), waiting = ray.wait(waiting, num_returns=1)
            ray.get(future)
            progress.show(runs[future], runner.record(runs[future]))
    except ray.exceptions.RayError as error:
        raise RuntimeError(
            f"{runs[future].name} failed on the cluster: {error}. Finished "
            "runs are kept; --resume goes on."
        ) from error
    finally:
        ray.shutdown()


def _train_one(script, arguments, name, *needed):
    """Train one run of a recipe, in a process of the cluster."""
    command = [sys.executable, script, *arguments]
    command += ["--processes", "1", "--engine", "local", "--resume"]
    command += ["--worker", "--only-run", name]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return name
