"""A recipe of media files that is killed, in preparation and in training.

That interrupted trainings end with the same weights is tested on each backend,
in one process, with `ResumableTraining`; here whole processes are killed.
"""

import json
import os
import signal
import subprocess
import sys
import time

from keras_c2kd.comparison import run_recipe
from tests.recipes.loading import ROOT
from tests.recipes.loading import load_recipe
from tests.recipes.official_layouts import WRITERS
from tests.recipes.test_media_recipes import figures
from tests.recipes.test_media_recipes import words


def start(name, data, folder, *more):
    """Start a recipe as a process of its own."""
    arguments = words(name, data, folder, "--state-seconds", "0", *more)
    return subprocess.Popen(
        [sys.executable, str(ROOT / "recipes" / f"{name}.py"), *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def kill_when(process, is_time, seconds=300):
    """Kill a process as soon as something is there, and not before."""
    end = time.monotonic() + seconds
    while not is_time():
        assert process.poll() is None, process.stderr.read().decode()[-2000:]
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()


def epochs_done(folder):
    """Epochs of the run of C2KD that is interrupted now."""
    for path in (folder / "out").glob("runs/c2kd-*.partial/state.json"):
        return json.loads(path.read_text())["epoch"]
    return 0


def test_killed_and_resumed_ends_with_the_same_figures(tmp_path):
    """In preparation, and in training; the best epoch is kept too."""
    data = tmp_path / "AVE_Dataset"
    WRITERS["ave"](data)
    more = ("--protocol", "best_validation", "--epochs", "6")
    whole = tmp_path / "whole"
    run_recipe(load_recipe("ave").RECIPE, "", words("ave", data, whole, *more))
    killed = tmp_path / "killed"
    process = start("ave", data, killed, *more)
    kill_when(process, lambda: len(list(killed.rglob("*.npy"))) >= 5)
    assert len(list(killed.rglob("*.npy"))) < 100
    assert not (killed / "out").exists()
    process = start("ave", data, killed, *more)
    kill_when(process, lambda: epochs_done(killed) >= 2)
    process = start("ave", data, killed, *more)
    assert process.wait(300) == 0, process.stderr.read().decode()[-2000:]
    assert figures(killed) == figures(whole)
    assert not list(killed.rglob("*.partial"))
