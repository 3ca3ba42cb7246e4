"""Full disks and folders that cannot be written to: one error, no loss.

A limit of the size of files stands for the end of a disk: it holds for every
user, and what is written beyond it fails as on a full disk. A file where a
folder should be stands for a folder that cannot be written to, since nothing
can be forbidden to root.
"""

import contextlib
import errno
import resource

import numpy as np
import pytest

from keras_c2kd.comparison import run_recipe
from keras_c2kd.comparison.records import RunFiles
from keras_c2kd.comparison.resumable import ResumableTraining
from keras_c2kd.data import ArrayCache
from keras_c2kd.methods import C2KD
from keras_c2kd.utils.atomic_files import write_atomically
from tests.helpers.toys import VISUAL
from tests.helpers.toys import assert_same_weights
from tests.helpers.toys import toy_data
from tests.helpers.toys import toy_distiller
from tests.helpers.toys import toy_network
from tests.recipes.loading import load_recipe
from tests.soaks.killed_training import words

SETTINGS = {"seed": 0}
ADVICE = "Free space or name another folder"


@contextlib.contextmanager
def full_disk(largest=4096):
    """Let no file of this process grow beyond some bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def told(path):
    """Expect the error of a full disk, which names a file."""
    with full_disk(), pytest.raises(OSError, match=ADVICE) as caught:
        yield
    assert caught.value.errno == errno.EFBIG
    assert str(path) in str(caught.value)


def files_of(folder):
    return {
        path: path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_a_file_is_the_old_one_if_the_new_one_does_not_fit(tmp_path):
    path = tmp_path / "table.md"
    write_atomically(path, "old")
    with told(path):
        write_atomically(path, bytes(10000))
    assert files_of(tmp_path) == {path: b"old"}


def test_an_array_that_does_not_fit_is_not_in_the_cache(tmp_path):
    source = tmp_path / "clip"
    source.write_bytes(b"sound")
    cache = ArrayCache(tmp_path / "cache")
    with told(cache.path_of(source, {})):
        cache.get(source, {}, lambda: np.ones(1000))
    assert files_of(tmp_path) == {source: b"sound"}
    np.testing.assert_array_equal(
        cache.get(source, {}, lambda: np.ones(1000)), np.ones(1000)
    )


def test_a_network_that_does_not_fit_leaves_the_run_as_it_was(tmp_path):
    files = RunFiles(tmp_path)
    first = files.save("run", SETTINGS, {"seconds": 1.0}, toy_network(VISUAL))
    before = files_of(tmp_path)
    with told(files.path("run", SETTINGS, ".keras")):
        files.save("run", SETTINGS, {"seconds": 2.0}, toy_network(VISUAL))
    after = files_of(tmp_path)
    assert {path: after[path] for path in before} == before
    assert files.load("run", SETTINGS) == first
    files.load_network("run", SETTINGS)
    second = files.save("run", SETTINGS, {"seconds": 2.0}, toy_network(VISUAL))
    assert files.load("run", SETTINGS) == second
    assert set(files_of(tmp_path)) == set(before)


def train(folder, epochs, is_full_after=None):
    """Go on with a training of four epochs; it may meet a full disk."""
    distiller = toy_distiller(C2KD())
    state = ResumableTraining(distiller, folder, least_seconds=0.0)
    state.restore()
    for epoch in range(state.epoch, epochs):
        is_full = epoch == is_full_after
        with told(folder) if is_full else contextlib.nullcontext():
            distiller.fit(
                *toy_data(16),
                epochs=epoch + 1,
                initial_epoch=epoch,
                validation_data=toy_data(8, seed=1),
                batch_size=8,
                shuffle=False,
                callbacks=[state],
                verbose=0,
            )
        if is_full:
            return None
    return distiller


def test_a_state_that_does_not_fit_leaves_the_last_one(tmp_path):
    whole = train(tmp_path / "whole", 3)
    assert train(tmp_path / "full", 3, is_full_after=1) is None
    # HDF5 never began: at a full disk it takes the process down in the end.
    names = sorted(path.name for path in (tmp_path / "full").iterdir())
    assert names == ["last_1.weights.h5", "state.json"]
    assert_same_weights(whole, train(tmp_path / "full", 3))


def test_a_folder_is_looked_at_before_anything_is_trained(tmp_path):
    """Neither read nor made: the data would have to be loaded first."""
    (tmp_path / "file").write_text("mine")
    recipe = load_recipe("av_digits").RECIPE
    folder = tmp_path / "file" / "results"
    object.__setattr__(recipe, "load", pytest.fail)
    with pytest.raises(NotADirectoryError, match=ADVICE) as caught:
        run_recipe(recipe, "", words(folder, 1))
    assert str(folder) in str(caught.value)
    assert files_of(tmp_path) == {tmp_path / "file": b"mine"}
    RunFiles(tmp_path / "new" / "results").check_writable()
    assert not (tmp_path / "new").exists()
