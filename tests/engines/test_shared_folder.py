"""Processes that share a folder: locks, waiting, devices, deaths."""

import multiprocessing
import os
import signal
import sys
import threading
import time

import pytest

from keras_c2kd.comparison import Engine
from keras_c2kd.comparison import Training
from keras_c2kd.comparison import make_plan
from keras_c2kd.comparison import run_plan
from keras_c2kd.comparison.processes import _watch
from keras_c2kd.comparison.processes import files_of
from keras_c2kd.comparison.processes import train_all
from keras_c2kd.comparison.records import RunFiles
from keras_c2kd.comparison.records import load_records
from keras_c2kd.comparison.runner import Runner
from tests.comparison.toy_pairs import NETWORKS
from tests.comparison.toy_pairs import toy_pairs
from tests.recipes.loading import ROOT

pytestmark = pytest.mark.one_backend


def toy_plan():
    training = Training(epochs=2, learning_rate=0.05)
    return make_plan(
        toy_pairs(), NETWORKS, "wrist", ["kd"], seeds=1, training=training
    )


def runner_of(folder):
    return Runner(toy_plan(), files_of(folder))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder as one process leaves it."""
    folder = tmp_path_factory.mktemp("whole")
    run_plan(toy_plan(), folder)
    return folder


def hold(folder, name, settings, held, free):
    """Another process that holds the lock of a run."""
    with RunFiles(folder).claim(name, settings) as is_mine:
        held.put(is_mine)
        free.get()


def test_a_run_that_another_process_trains_is_left_to_it(tmp_path):
    files = RunFiles(tmp_path)
    one, two = ("one", {"seed": 0}), ("two", {"seed": 0})
    context = multiprocessing.get_context("spawn")
    held, free = context.Queue(), context.Queue()
    other = context.Process(target=hold, args=(tmp_path, *one, held, free))
    other.start()
    assert held.get(timeout=300)
    with files.claim(*one) as is_mine:
        assert not is_mine
    with files.claim(*two) as is_mine:
        assert is_mine
    # The lock goes with its process, however that ends.
    os.kill(other.pid, signal.SIGKILL)
    other.join()
    with files.claim(*one) as is_mine:
        assert is_mine


def test_what_is_trained_elsewhere_is_waited_for(whole, tmp_path):
    """The result appears while this process has nothing else to do."""
    runner = runner_of(tmp_path)
    first, *others = runner.plan.runs()
    path = runner.files.path(*runner.identify(first))
    source = whole / "runs" / path.name

    def finish_it():
        time.sleep(1.0)
        path.parent.mkdir(exist_ok=True)
        for suffix in (".keras", ".json"):
            content = source.with_suffix(suffix).read_bytes()
            path.with_suffix(suffix).write_bytes(content)

    taken = []
    train = runner.train
    runner.train = lambda run: taken.append(run) or train(run)
    claim = runner.files.claim

    def claimed(name, settings):
        """The first run's lock is another's, until its result is there."""
        if name == first.name and not path.exists():
            return _Refused()
        return claim(name, settings)

    runner.files.claim = claimed
    thread = threading.Thread(target=finish_it)
    thread.start()
    train_all(runner)
    thread.join()
    assert taken == others
    assert all(map(runner.record, runner.plan.runs()))


class _Refused:
    def __enter__(self):
        return False

    def __exit__(self, *arguments):
        return None


def test_a_process_that_fails_is_started_three_times(tmp_path, capfd):
    """One that kills itself at its first start is started once."""
    script = tmp_path / "worker.py"
    script.write_text(
        "import os, pathlib, signal\n"
        f"mark = pathlib.Path({str(tmp_path)!r}) / 'mark'\n"
        "if not mark.exists():\n"
        "    mark.touch()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    _watch([str(script)], 1)
    told = capfd.readouterr().out
    assert "was killed by signal 9 and is started again (1 of 3)" in told
    script.write_text("raise SystemExit(5)\n")
    with pytest.raises(RuntimeError, match="status 5, 4 times now"):
        _watch([str(script)], 1)


def test_each_process_gets_one_of_several_devices(tmp_path, monkeypatch):
    script = tmp_path / "worker.py"
    script.write_text(
        "import os, pathlib\n"
        "device = os.environ['CUDA_VISIBLE_DEVICES']\n"
        f"(pathlib.Path({str(tmp_path)!r}) / device).touch()\n"
    )
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,7")
    _watch([str(script)], 3)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "3", "7", "worker.py",
    ]  # fmt: skip


def test_results_name_the_commit(whole):
    record = load_records(whole)[0]
    commit = record["environment"]["git_commit"]
    is_checkout = (ROOT / ".git").exists()
    assert (commit is not None) == is_checkout
    if is_checkout:
        assert len(commit.removesuffix("+changes")) == 40


def test_without_ray_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"the extra .ray."):
        run_plan(toy_plan(), tmp_path, Engine(kind="ray"))
