"""Kills, several processes, a cluster: the records are the same."""

import gc
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import psutil
import pytest

from keras_c2kd.comparison import processes
from keras_c2kd.comparison.processes import say
from keras_c2kd.comparison.records import load_records

pytestmark = pytest.mark.one_backend

ROOT = pathlib.Path(__file__).parents[2]
SCRIPT = ROOT / "tests/comparison/toy_script.py"


def start(folder, processes=1, *words, **variables):
    folder.mkdir(parents=True, exist_ok=True)
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(folder), str(processes), *words],
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process):
    text, _ = process.communicate(timeout=600)
    assert process.returncode == 0, text
    return text


def numbers(folder):
    """What a run found, without when and where."""
    return {
        record["name"]: (record["scores"], record["history"], record["test"])
        for record in load_records(folder)
    }


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    finish(start(folder))
    found = numbers(folder)
    assert len(found) == 8
    return found


def test_killed_at_ten_moments_and_resumed(uninterrupted, tmp_path):
    random_moments = random.Random(0)
    folder = tmp_path / "killed"
    kills = 0
    for _ in range(10):
        process = start(folder)
        # Most of it is the import of the libraries.
        for line in process.stdout:
            if "runs of" in line:
                break
        time.sleep(random_moments.uniform(0.0, 2.0))
        if process.poll() is None:
            process.kill()
            kills += 1
        process.communicate()
    assert kills >= 2
    finish(start(folder))
    assert numbers(folder) == uninterrupted
    assert not list(folder.glob("runs/*.partial"))


def test_two_processes_share_the_runs(uninterrupted, tmp_path):
    folder = tmp_path / "two"
    finish(start(folder, 2))
    assert numbers(folder) == uninterrupted


def test_ray_shares_the_runs(uninterrupted, tmp_path):
    folder = tmp_path / "ray"
    finish(start(folder, 1, "ray"))
    assert numbers(folder) == uninterrupted


def test_a_killed_child_is_started_again(uninterrupted, tmp_path):
    folder = tmp_path / "child"
    text = finish(start(folder, 2, KILL_ME="1"))
    assert "was killed by signal 9 and is started again (1 of 3)" in text
    assert numbers(folder) == uninterrupted


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_children_end_with_their_parent(how, tmp_path):
    process = start(tmp_path / "parent", 2)
    parent = psutil.Process(process.pid)
    deadline = time.time() + 300
    while len(children := parent.children()) < 2:
        assert time.time() < deadline
        time.sleep(0.1)
    os.kill(process.pid, how)
    process.communicate(timeout=60)
    _, alive = psutil.wait_procs(children, timeout=120)
    assert not alive


def test_a_limited_stdout_gets_what_it_can_show(tmp_path):
    code = (
        "from keras_c2kd.comparison.processes import say; say('Größe \u2212')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "Gr??e ?"
    say("fine")


def test_objects_from_before_are_left_alone_and_given_back():
    before = gc.get_freeze_count()
    try:
        gc.unfreeze()
        with processes._older_objects_left_alone():
            assert gc.get_freeze_count() > 1000
            # Frozen by somebody else: so it stays.
            with processes._older_objects_left_alone():
                pass
            assert gc.get_freeze_count() > 1000
        assert gc.get_freeze_count() == 0
    finally:
        if before:
            gc.freeze()
