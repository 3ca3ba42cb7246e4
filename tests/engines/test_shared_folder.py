"""Runs that several processes share, that die and that are started again."""

import dataclasses
import json
import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

from keras_c2kd.experiments import RunFiles
from keras_c2kd.experiments import Runner
from keras_c2kd.experiments import plan_runs
from keras_c2kd.experiments import run_recipe
from keras_c2kd.experiments import train_all
from keras_c2kd.experiments.grid import train_in_processes
from tests.recipes.loading import ROOT
from tests.recipes.loading import load_recipe

WORDS = ["--student", "image", "--seeds", "1", "--epochs", "2"]
WORDS += ["--pairs", "20", "--validation-pairs", "20", "--test-pairs", "20"]
WORDS += ["--batch-size", "10", "--state-seconds", "0"]
SCRIPT = str(ROOT / "recipes" / "av_digits.py")


def figures(folder):
    records = [json.loads(p.read_text()) for p in folder.glob("*.json")]
    return {r["name"]: (r["scores"], r["history"]) for r in records}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The table's folder as one process leaves it."""
    folder = tmp_path_factory.mktemp("whole")
    run_recipe(load_recipe("av_digits").RECIPE, "", words(folder))
    return folder


def words(folder, *more):
    return [*WORDS, "--out", str(folder), *more]


def runner_of(folder, **kwargs):
    recipe = load_recipe("av_digits").RECIPE
    settings = dataclasses.replace(
        recipe.settings,
        epochs=2,
        pairs=20,
        validation_pairs=20,
        test_pairs=20,
        batch_size=10,
    )
    runner = Runner(recipe, settings, RunFiles(folder), **kwargs)
    return runner, plan_runs(recipe, ["kd", "c2kd"], ["image"], [0])


def hold(folder, name, settings, held, free):
    """Another process that holds the lock of a run."""
    with RunFiles(folder).claim(name, settings) as is_mine:
        held.put(is_mine)
        free.get()


def test_a_run_that_another_process_trains_is_left_to_it(whole, tmp_path):
    runner, plan = runner_of(tmp_path)
    identity = runner.identify(plan[0])
    context = multiprocessing.get_context("spawn")
    held, free = context.Queue(), context.Queue()
    other = context.Process(target=hold, args=(tmp_path, *identity, held, free))
    other.start()
    assert held.get(timeout=120)
    with runner.files.claim(*identity) as is_mine:
        assert not is_mine
    with runner.files.claim(*runner.identify(plan[1])) as is_mine:
        assert is_mine
    fresh, _ = runner_of(tmp_path, resume=False)
    with pytest.raises(ValueError, match="Another process is training"):
        train_all(fresh, plan)
    # The lock goes with its process, however that ends.
    os.kill(other.pid, signal.SIGKILL)
    other.join()
    with runner.files.claim(*identity) as is_mine:
        assert is_mine


def test_what_is_trained_elsewhere_is_waited_for(whole, tmp_path):
    """The result appears while this process has nothing else to do."""
    runner, plan = runner_of(tmp_path)
    identity = runner.identify(plan[0])
    path = runner.files.path(*identity)
    source = next(whole.glob(f"{plan[0].name}-*.json"))

    def finish_it():
        time.sleep(2.0)
        for suffix in (".keras", ".json"):
            content = source.with_suffix(suffix).read_bytes()
            path.with_suffix(suffix).write_bytes(content)

    taken = []
    train = runner.train
    runner.train = lambda run: taken.append(run.name) or train(run)
    claim = runner.files.claim

    def claimed(name, settings):
        """The first run's lock is another's, until its result is there."""
        if name == plan[0].name and not path.exists():
            return _Refused()
        return claim(name, settings)

    runner.files.claim = claimed
    thread = threading.Thread(target=finish_it)
    thread.start()
    records = train_all(runner, plan[:2])
    thread.join()
    assert taken == [plan[1].name]
    assert [record["name"] for record in records] == [
        run.name for run in plan[:2]
    ]


class _Refused:
    def __enter__(self):
        return False

    def __exit__(self, *arguments):
        return None


def test_two_processes_make_the_same_table(whole, tmp_path, capfd):
    recipe = load_recipe("av_digits").RECIPE
    run_recipe(recipe, "", words(tmp_path, "--processes", "2"))
    assert figures(tmp_path) == figures(whole)
    trained = [
        line
        for line in capfd.readouterr().out.splitlines()
        if ": validation" in line and "kept" not in line
    ]
    # Each run was trained once, whoever it was.
    assert len(trained) == len(figures(whole))


def test_a_process_that_dies_is_started_again(tmp_path, capfd):
    """It leaves a mark at its first start and kills itself."""
    script = tmp_path / "recipe.py"
    script.write_text(
        "import os, pathlib, signal, sys\n"
        f"mark = pathlib.Path({str(tmp_path)!r}) / 'mark'\n"
        "assert sys.argv[-2:] == ['--resume', '--worker']\n"
        "if not mark.exists():\n"
        "    mark.touch()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    train_in_processes(str(script), ["--out", "x"], 1)
    told = capfd.readouterr().out
    assert "ended with status -9 and is started again (1 of 3)" in told
    script.write_text("raise SystemExit(5)\n")
    with pytest.raises(RuntimeError, match="status 5, 4 times now"):
        train_in_processes(str(script), [], 1)


def test_each_process_gets_one_of_several_devices(tmp_path, monkeypatch):
    script = tmp_path / "recipe.py"
    script.write_text(
        "import os, pathlib\n"
        "device = os.environ['CUDA_VISIBLE_DEVICES']\n"
        f"(pathlib.Path({str(tmp_path)!r}) / device).touch()\n"
    )
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,7")
    train_in_processes(str(script), [], 3)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "3", "7", "recipe.py",
    ]  # fmt: skip


def test_a_grid_that_is_killed_and_started_again_ends_the_same(whole, tmp_path):
    """Killed with all its processes, twice, at no chosen moment."""
    command = [sys.executable, SCRIPT, *words(tmp_path)]
    command += ["--processes", "2", "--resume"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def start():
        return subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    for something in ("*.partial/state.json", "*.json"):
        grid = start()
        while not list(tmp_path.glob(something)):
            assert grid.poll() is None, grid.stderr.read().decode()[-2000:]
            time.sleep(0.01)
        os.killpg(grid.pid, signal.SIGKILL)
        grid.wait()
    grid = start()
    assert grid.wait(600) == 0, grid.stderr.read().decode()[-2000:]
    assert figures(tmp_path) == figures(whole)
    assert (tmp_path / "table.md").read_text() == (
        whole / "table.md"
    ).read_text()


def test_results_name_the_commit(whole):
    record = json.loads(next(whole.glob("*.json")).read_text())
    commit = record["environment"]["git_commit"]
    is_checkout = (pathlib.Path(ROOT) / ".git").exists()
    assert (commit is not None) == is_checkout
    if is_checkout:
        assert len(commit.removesuffix("+changes")) == 40
