"""A recipe over two settings, the dials: where does which method help?"""

import argparse
import concurrent.futures
import csv
import dataclasses
import gc
import io
import json
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import threading
import time
from collections.abc import Callable

import keras

from keras_c2kd.backend import enable_compilation_cache
from keras_c2kd.experiments.command_line import parse
from keras_c2kd.experiments.command_line import show_data
from keras_c2kd.experiments.dial_report import report_study
from keras_c2kd.experiments.method_rows import BASELINE
from keras_c2kd.experiments.recipe import Recipe
from keras_c2kd.experiments.recipe import Training
from keras_c2kd.experiments.recipe import plan_runs
from keras_c2kd.experiments.results import RunFiles
from keras_c2kd.experiments.results import environment
from keras_c2kd.experiments.results import write_atomically
from keras_c2kd.experiments.runner import Runner
from keras_c2kd.experiments.settings import recorded

# Networks this small gain nothing from more threads than processes.
_ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
}


@dataclasses.dataclass(frozen=True)
class Dial:
    """A setting that a study varies.

    Attributes:
        setting: Name of the field in the recipe's settings.
        label: What the axis of a figure says.
        levels: Its values, in the order of the map.
        trial_levels: Those of a trial.
    """

    setting: str
    label: str
    levels: tuple
    trial_levels: tuple


@dataclasses.dataclass(frozen=True)
class DialStudy:
    """A recipe that is run for every pair of levels of two settings.

    The student's own data must not depend on the dials: its run without a
    teacher is then one run for the whole map, and it is checked that it was.

    Attributes:
        recipe: `Recipe`, whose settings have the dials as fields.
        rows: `Dial` of the rows of the map.
        columns: `Dial` of its columns.
        student: Modality of the deployed network.
        measure: Function `(settings, seed)` to a dict from names to floats:
            what the dials do to the data, without any network.
    """

    recipe: Recipe
    rows: Dial
    columns: Dial
    student: str
    measure: Callable

    @property
    def dials(self):
        """Both dials, that of the rows first."""
        return self.rows, self.columns

    def at(self, settings, levels):
        """Return the settings of one cell of the map."""
        names = [dial.setting for dial in self.dials]
        return dataclasses.replace(settings, **dict(zip(names, levels)))


@dataclasses.dataclass(frozen=True)
class CellRuns:
    """What one process does at a time: one cell of the map, one seed.

    Attributes:
        recipe: `Recipe`.
        settings: Its settings in this cell.
        plan: Tuple of `Run`, the teacher first.
        student: Modality of the deployed network.
        out: Folder of the results.
        resume: Whether finished runs are kept.
        state_seconds: As for `Runner`.
    """

    recipe: Recipe
    settings: Training
    plan: tuple
    student: str
    out: str
    resume: bool
    state_seconds: float


def run_study(study, description, arguments=None):
    """Run a study from the command line.

    The options are those of every recipe, and `--processes`. A dial that is
    given as an option stays at that one level.

    Args:
        study: `DialStudy`.
        description: String, its first line is the help text's.
        arguments: List of words; None (default) takes the real ones.

    Returns:
        Dict from the title of each map to its `DialMap`.

    Raises:
        ValueError: If another student is asked for.
    """
    processes, options = _parse(study, description, arguments)
    RunFiles(options.out).check_writable()
    levels = [_levels(dial, options) for dial in study.dials]
    cells = plan_cells(study, options, levels)
    rows = _train(cells, processes)
    rows.sort(key=lambda row: (row["seed"], *_place(study, row)))
    directory = pathlib.Path(options.out)
    write_atomically(directory / "runs.csv", _as_csv(study, rows))
    varied = [dial.setting for dial in study.dials]
    settings = {
        "settings": {
            name: value
            for name, value in recorded(options.settings).items()
            if name not in varied
        },
        "levels": dict(zip(varied, levels)),
        "methods": options.methods,
        "seeds": options.seeds,
        "environment": environment(),
    }
    text = json.dumps(settings, indent=1)
    write_atomically(directory / "settings.json", text + "\n")
    return report_study(study, options, levels, rows, directory)


def plan_cells(study, options, levels):
    """List what is to be done: for each seed, all cells of the map.

    Args:
        study: `DialStudy`.
        options: Namespace of `command_line.parse`.
        levels: The levels of the rows, and those of the columns.

    Returns:
        List of `CellRuns`. The student's run without a teacher is in the
        first cell of its seed.
    """
    cells = []
    for seed in range(options.seeds):
        plan = plan_runs(
            options.recipe,
            options.methods,
            [study.student],
            [seed],
            options.student_network,
            options.teacher_network,
        )
        for row in levels[0]:
            for column in levels[1]:
                cells.append(
                    CellRuns(
                        options.recipe,
                        study.at(options.settings, (row, column)),
                        tuple(plan),
                        study.student,
                        options.out,
                        options.resume,
                        options.state_seconds,
                    )
                )
                plan = [run for run in plan if not _is_alone(run, study)]
    return cells


def train_cell(cell):
    """Train the runs of a cell that are not finished.

    Args:
        cell: `CellRuns`.

    Returns:
        List of dicts, one a run: the settings and scores, `student_data`, by
        which equal data of the student are known, and whether it was `kept`.
    """
    runner = Runner(
        cell.recipe,
        cell.settings,
        RunFiles(cell.out),
        resume=cell.resume,
        least_seconds=cell.state_seconds,
    )
    rows = []
    for run in cell.plan:
        splits = runner.splits(run.seed)
        prints = [
            part.select((cell.student,)).fingerprint()[:4]
            for part in (splits.train, splits.validation, splits.test)
        ]
        kept = runner.record(run) if cell.resume else None
        if kept is not None:
            runner.files.tidy(*runner.identify(run))
        record = runner.train(run) if kept is None else kept
        scores, history = record["scores"], record["history"]
        rows.append(
            {
                **record["settings"],
                "score": scores["student"],
                "teacher_before": scores.get("teacher_before"),
                "teacher_after": scores.get("teacher_after"),
                "rank_distorted_share": history.get(
                    "rank_distorted_share", [None]
                )[-1],
                "seconds": record["seconds"],
                "student_data": "".join(prints),
                "provenance": record["data"],
                "kept": kept is not None,
            }
        )
    return rows


def _is_alone(run, study):
    return run.method == BASELINE and run.student == study.student


def _parse(study, description, arguments):
    """Return the number of processes, and the options of every recipe."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    cores = os.cpu_count() or 1
    parser.add_argument("--processes", type=int, default=cores)
    parser.add_argument("--devices")
    own, others = parser.parse_known_args(arguments)
    if own.devices is not None:
        raise ValueError(
            "The networks of a study are small: processes share its runs. "
            f"Received: --devices {own.devices}. Use --processes."
        )
    help_text = (
        f"{description}\n--processes NUMBER, unlike below: so many train at a "
        f"time, each with one thread\n(default: {cores})."
    )
    options = parse(study.recipe, help_text, others)
    if own.processes < 1:
        raise ValueError(
            "At least one process trains. Received: "
            f"--processes {own.processes}"
        )
    if options.profile is not None:
        raise ValueError(
            "A study has hundreds of runs, of the same names in each cell. "
            f"Received: --profile {options.profile}. Trace a run of a recipe."
        )
    if options.student not in ("both", study.student):
        raise ValueError(
            f"The student of this study is {study.student!r}: the dials "
            "change the data of the other modality. Received: "
            f"--student {options.student}"
        )
    return own.processes, options


def _levels(dial, options):
    given = getattr(options, dial.setting)
    if given is not None:
        return (given,)
    return dial.trial_levels if options.smoke else dial.levels


def _place(study, row):
    return tuple(row[dial.setting] for dial in study.dials)


def _train(cells, processes):
    """Train all cells, in this process or in others; return all rows."""
    number = sum(len(cell.plan) for cell in cells)
    print(
        f"{number} runs of {cells[0].settings.epochs} epochs on "
        f"{keras.backend.backend()} by {processes} processes, results in "
        f"{cells[0].out}",
        flush=True,
    )
    rows, start = [], time.monotonic()
    for finished in _finished(cells, processes):
        if not rows:
            show_data(finished[0]["provenance"])
        rows += finished
        elapsed = time.monotonic() - start
        left = elapsed * (number / len(rows) - 1)
        print(
            f"[{len(rows):4d}/{number}] seed {finished[0]['seed']} "
            f"(elapsed {elapsed:.0f} s, left about {left:.0f} s)",
            flush=True,
        )
    return rows


def _finished(cells, processes):
    """Yield the rows of each cell as soon as it is done."""
    if processes == 1:
        enable_compilation_cache()
        yield from map(train_cell, cells)
        return
    # Read when the libraries are imported: by the new processes, not here.
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(_ONE_THREAD)
    pool = concurrent.futures.ProcessPoolExecutor(
        processes,
        multiprocessing.get_context("spawn"),
        initializer=_begin_process,
    )
    try:
        futures = [pool.submit(_train_in_process, cell) for cell in cells]
        for future in concurrent.futures.as_completed(futures):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _begin_process():
    enable_compilation_cache()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
    """End this process when the one that started it has ended.

    Of a study that was killed, nothing may go on training.
    """
    parent = multiprocessing.parent_process()
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def _train_in_process(cell):
    """Train a cell in a process of its own, where nothing else is kept."""
    rows = train_cell(cell)
    # A run clears Keras' session three times, and garbage is collected each
    # time. To look through all that imports and compiled programs hold is 40%
    # of a short run: from here on, they are known to be no garbage.
    gc.collect()
    gc.freeze()
    return rows


def _as_csv(study, rows):
    """Format what differs between runs, one line a run."""
    names = [
        *(dial.setting for dial in study.dials),
        *("seed", "student", "method", "score", "teacher_before"),
        *("teacher_after", "rank_distorted_share", "seconds", "student_data"),
    ]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        values = (row[name] for name in names)
        writer.writerow(
            f"{value:.6g}" if isinstance(value, float) else value
            for value in values
        )
    return file.getvalue()
