import errno
import multiprocessing
import os
import shutil
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


def test_a_file_is_known_by_its_path_below_the_root(tmp_path, source):
    """The folder as a whole may be moved; equal names are no equal files."""
    root = tmp_path / "data"
    for folder in ("dog", "cat"):
        path = root / folder / "0.wav"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"some sound")
        os.utime(path, (1e9, 1e9))
    cache = ArrayCache(tmp_path / "cache", root)
    for number, folder in enumerate(("dog", "cat")):
        array = np.full(3, number)
        cache.get(root / folder / "0.wav", {}, lambda array=array: array)
    moved = tmp_path / "elsewhere" / "unpacked"
    shutil.copytree(root, moved)
    for number, folder in enumerate(("dog", "cat")):
        for whole in (root, moved):
            cache = ArrayCache(tmp_path / "cache", whole)
            found = cache.get(whole / folder / "0.wav", {}, refuse)
            np.testing.assert_array_equal(found, np.full(3, number))
    # Without a root, and anywhere but below it, a file is its whole path.
    plain = ArrayCache(tmp_path / "cache")
    for other, path in ((plain, moved / "cat" / "0.wav"), (cache, source)):
        with pytest.raises(RuntimeError, match="computed again"):
            other.get(path, {}, refuse)


def test_a_file_that_changed_is_read_again(tmp_path, source):
    cache = ArrayCache(tmp_path / "cache")
    cache.get(source, {}, lambda: np.zeros(3))
    changed = source.stat().st_mtime_ns
    for content in (b"another sound, and longer", b"some SOUND"):
        source.write_bytes(content)
        # The same time: a disk that keeps whole seconds.
        os.utime(source, ns=(changed, changed))
        with pytest.raises(RuntimeError, match="computed again"):
            cache.get(source, {}, refuse)
    source.write_bytes(b"some sound")
    os.utime(source, ns=(changed + 1, changed + 1))
    with pytest.raises(RuntimeError, match="computed again"):
        cache.get(source, {}, refuse)
    source.unlink()
    with pytest.raises(FileNotFoundError):
        cache.get(source, {}, refuse)


def test_an_array_waits_for_the_disk_once(tmp_path, source, monkeypatch):
    waits, sync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda *x: waits.append(x) or sync(*x))
    ArrayCache(tmp_path / "cache").get(source, {}, lambda: np.zeros(9))
    assert len(waits) == 1


def test_a_full_disk_leaves_nothing(tmp_path, source, monkeypatch):
    cache = ArrayCache(tmp_path / "cache")

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="with space left"):
        cache.get(source, {}, lambda: np.zeros(9))
    assert not [x for x in (tmp_path / "cache").rglob("*") if x.is_file()]
    monkeypatch.undo()
    cache.get(source, {}, lambda: np.zeros(9))
    cache.get(source, {}, refuse)


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


@pytest.mark.slow
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
