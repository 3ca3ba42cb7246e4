import multiprocessing
import os
import signal
import time

import numpy as np
import pytest

from keras_c2kd.data.array_cache import ArrayCache

pytestmark = pytest.mark.backend_free


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "clip.wav"
    path.write_bytes(b"some sound")
    return path


def refuse():
    raise RuntimeError("computed again")


def test_computes_once(tmp_path, source):
    cache = ArrayCache(tmp_path / "cache")
    array = np.arange(6, dtype="int16").reshape(2, 3)
    found = cache.get(source, {"rate": 8000}, lambda: array)
    np.testing.assert_array_equal(found, array)
    found = cache.get(source, {"rate": 8000}, refuse)
    np.testing.assert_array_equal(found, array)
    assert found.dtype == "int16"
    with pytest.raises(RuntimeError, match="computed again"):
        cache.get(source, {"rate": 16000}, refuse)


def test_follows_the_file_and_not_its_folder(tmp_path, source):
    cache = ArrayCache(tmp_path / "cache")
    cache.get(source, {}, lambda: np.zeros(3))
    moved = tmp_path / "elsewhere" / source.name
    moved.parent.mkdir()
    source.rename(moved)
    cache.get(moved, {}, refuse)
    moved.write_bytes(b"another sound, and longer")
    with pytest.raises(RuntimeError, match="computed again"):
        cache.get(moved, {}, refuse)
    moved.unlink()
    with pytest.raises(FileNotFoundError):
        cache.get(moved, {}, refuse)


def test_a_damaged_array_is_computed_again(tmp_path, source):
    cache = ArrayCache(tmp_path / "cache")
    cache.get(source, {}, lambda: np.ones(1000))
    path = cache.path_of(source, {})
    whole = path.read_bytes()
    shorter = whole.replace(b"(1000,), ", b"(100,),  ")
    wrong = whole.replace(b"'<f8'", b"'<f%'")
    for content in (b"", whole[:200], shorter, wrong):
        path.write_bytes(content)
        found = cache.get(source, {}, lambda: np.ones(1000))
        np.testing.assert_array_equal(found, np.ones(1000))
        cache.get(source, {}, refuse)


def test_a_failure_leaves_nothing(tmp_path, source):
    cache = ArrayCache(tmp_path / "cache")
    with pytest.raises(RuntimeError):
        cache.get(source, {}, refuse)
    assert not list(tmp_path.glob("cache/**/*.npy"))


def _fill(folder, source, number):
    cache = ArrayCache(folder)
    for key in range(100):
        array = np.full(20000, key)
        found = cache.get(source, {"key": key}, lambda array=array: array)
        assert (found == key).all(), number


def test_two_processes_and_one_that_is_killed(tmp_path, source):
    folder = tmp_path / "cache"
    context = multiprocessing.get_context("spawn")
    arguments = [(folder, source, number) for number in range(3)]
    *workers, victim = (
        context.Process(target=_fill, args=a) for a in arguments
    )
    victim.start()
    while not list(folder.glob("*/*.npy")):
        assert victim.is_alive()
        time.sleep(0.001)
    os.kill(victim.pid, signal.SIGKILL)
    for process in workers:
        process.start()
    for process in workers:
        process.join()
        assert process.exitcode == 0
    cache = ArrayCache(folder)
    for key in range(100):
        found = cache.get(source, {"key": key}, refuse)
        np.testing.assert_array_equal(found, np.full(20000, key))
