"""Files from others: none runs code, and none leads out of its folder."""

import ast
import io
import json
import os
import pathlib
import shutil
import zipfile
from unittest import mock

import av
import h5py
import keras
import numpy as np
import pytest
import scipy.io
from PIL import Image

import keras_c2kd
from keras_c2kd.backend import enable_compilation_cache
from keras_c2kd.comparison.command_line import _show_data
from keras_c2kd.comparison.records import RunFiles
from keras_c2kd.comparison.result import ComparisonResult
from keras_c2kd.comparison.resumable import ResumableTraining
from keras_c2kd.comparison.segmentation import class_table
from keras_c2kd.data import ArrayCache
from keras_c2kd.data.ave import load_ave
from keras_c2kd.data.crisis_mmd import load_crisis_mmd
from keras_c2kd.data.media import MediaError
from keras_c2kd.data.media import read_audio
from keras_c2kd.data.media import read_frames
from keras_c2kd.data.media import read_image
from keras_c2kd.data.nyu_depth_v2 import load_nyu_depth_v2
from keras_c2kd.methods import Supervised
from tests.data.media_files import tone
from tests.data.media_files import write_video
from tests.data.nyu_file import write_nyu_depth_v2
from tests.helpers.toys import VISUAL
from tests.helpers.toys import assert_same_weights
from tests.helpers.toys import numpy_weights
from tests.helpers.toys import toy_distiller
from tests.helpers.toys import toy_network

SETTINGS = {"seed": 0}
MARKUP = "<script>alert(1)</script>|a\x1b[2J"


@pytest.fixture
def mark(tmp_path):
    """A file that is there if hostile code has run."""
    path = tmp_path / "mark"
    yield path
    assert not path.exists()


class Bomb:
    """Writes the mark when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return pathlib.Path.touch, (self.path,)


def test_the_package_has_nothing_that_unpickles_or_evaluates():
    forbidden = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal"}
    forbidden |= {"eval", "exec", "yaml", "enable_unsafe_deserialization"}
    for path in pathlib.Path(keras_c2kd.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = set()
            if isinstance(node, ast.Import):
                names = {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names = {node.module}
            elif isinstance(node, ast.Call):
                names = {getattr(node.func, "id", None)}
                names |= {getattr(node.func, "attr", None)}
            elif isinstance(node, ast.keyword):
                is_true = getattr(node.value, "value", None) is True
                assert not (node.arg == "allow_pickle" and is_true), path
                assert node.arg != "safe_mode" or is_true, path
            assert not names & forbidden, path


def test_a_pickle_in_the_cache_is_computed_again(tmp_path, mark):
    source = tmp_path / "clip"
    source.write_bytes(b"sound")
    cache = ArrayCache(tmp_path / "cache")
    path = cache.path_of(source, {})
    path.parent.mkdir(parents=True)
    np.save(path, np.array([Bomb(mark)], object), allow_pickle=True)
    found = cache.get(source, {}, lambda: np.ones(3))
    np.testing.assert_array_equal(found, np.ones(3))


# Networks.


def changed(path, **members):
    """Write a network's file with other members."""
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    for name, content in members.items():
        contents[name.replace("__", ".")] = content
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)


@pytest.fixture
def stored(tmp_path):
    """A finished run, and the path of its network."""
    files = RunFiles(tmp_path / "results")
    files.save("run", SETTINGS, {}, network=toy_network(VISUAL))
    return files, files.path("run", SETTINGS, ".keras")


def test_a_lambda_is_not_run(stored, mark):
    files, path = stored
    name = str(mark)
    layer = keras.layers.Lambda(lambda x: open(name, "w") and x)
    inputs = keras.Input((2,))
    keras.Model(inputs, layer(inputs)).save(path)
    mark.unlink()  # Building the network wrote it.
    with pytest.raises(ValueError, match="[Ll]ambda"):
        files.load_network("run", SETTINGS)


@pytest.mark.parametrize("module", ["os", "posix", "builtins", None])
@pytest.mark.parametrize("kind", ["function", "system"])
def test_a_config_names_no_function_of_other_modules(
    stored, mark, module, kind
):
    files, path = stored
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    hostile = {
        "module": module,
        "class_name": kind,
        "config": "system" if kind == "function" else {"command": str(mark)},
        "registered_name": "system",
    }
    config["config"]["layers"][-1]["config"]["activation"] = hostile
    changed(path, config__json=json.dumps(config))
    with pytest.raises((TypeError, ValueError)):
        files.load_network("run", SETTINGS)


def external_link(file, key, content, secret):
    file[key] = h5py.ExternalLink(str(secret), "secret")


def soft_link(file, key, content, secret):
    file["elsewhere"] = content
    file[key] = h5py.SoftLink("/elsewhere")


def external_storage(file, key, content, secret):
    raw = secret.with_suffix(".raw")
    raw.write_bytes(content.tobytes())
    place = [(str(raw), 0, content.nbytes)]
    file.create_dataset(key, content.shape, content.dtype, external=place)


def virtual(file, key, content, secret):
    layout = h5py.VirtualLayout(content.shape, content.dtype)
    layout[...] = h5py.VirtualSource(str(secret), "secret", content.shape)
    file.create_virtual_dataset(key, layout)


def huge(file, key, content, secret):
    shape = (1 << 40, *content.shape[1:])
    chunks = (1, *content.shape[1:])
    file.create_dataset(key, shape, content.dtype, chunks=chunks)


# What is told of each.
REASONS = {
    external_link: "is a link",
    soft_link: "is a link",
    external_storage: "is read from other files",
    virtual: "is read from other files",
    huge: "says that it has",
}
every_trick = pytest.mark.parametrize("trick", list(REASONS))


def spoil(path_or_file, key, trick, folder):
    """Have an array of an HDF5 file come from elsewhere, unchanged."""
    secret = folder / "secret.h5"
    with h5py.File(path_or_file, "r+") as file:
        content = file[key][()]
        with h5py.File(secret, "w") as other:
            other["secret"] = content
        del file[key]
        trick(file, key, content, secret)


def a_kernel(path_or_file):
    """Return the key of some four-dimensional array."""
    keys = []

    def note(name, item):
        if isinstance(item, h5py.Dataset) and item.ndim == 4:
            keys.append(name)

    with h5py.File(path_or_file, "r") as file:
        file.visititems(note)
    return keys[0]


@pytest.mark.slow
@every_trick
def test_weights_are_those_of_the_network_file(stored, tmp_path, trick):
    files, path = stored
    with zipfile.ZipFile(path) as archive:
        weights = io.BytesIO(archive.read("model.weights.h5"))
    spoil(weights, a_kernel(weights), trick, tmp_path)
    changed(path, model__weights__h5=weights.getvalue())
    with pytest.raises(ValueError, match="could not be loaded"):
        files.load_network("run", SETTINGS)


@pytest.mark.slow
@every_trick
def test_weights_are_those_of_the_state(tmp_path, trick):
    distiller = toy_distiller(Supervised())
    distiller.optimizer.build(distiller.trainable_variables)
    state = ResumableTraining(distiller, tmp_path / "state", least_seconds=0.0)
    state.set_params({"epochs": 2})
    state.on_epoch_end(0, {"loss": 1.0})
    path = tmp_path / "state" / "last_1.weights.h5"
    spoil(path, a_kernel(path), trick, tmp_path)
    before = numpy_weights(distiller)
    with pytest.raises(ValueError, match="Delete the folder"):
        state.restore()
    assert_same_weights(before, numpy_weights(distiller))


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {"files": {"last": "../last_1.weights.h5"}},
        {"files": {"last": "/etc/passwd"}},
        {"files": {"last": 3}},
        {"files": ["last_1.weights.h5"]},
        {"files": {}},
        {"epoch": "1"},
        {"history": {"loss": [1.0, 2.0]}},
        {"history": None},
        {"best": "high", "files": {"last": "last_1.weights.h5", "best": "x"}},
    ],
)
def test_a_state_names_its_own_files(tmp_path, change):
    """And says nothing that `fit` would stumble over later."""
    # Whatever is asked for is loaded.
    distiller = mock.MagicMock()
    state = ResumableTraining(distiller, tmp_path)
    good = {
        "epoch": 1,
        "history": {"loss": [1.0]},
        "best": None,
        "files": {"last": "last_1.weights.h5"},
    }
    (tmp_path / "state.json").write_text(json.dumps({**good, **change}))
    with pytest.raises(ValueError, match="Delete the folder"):
        state.restore()


# Records.


@pytest.mark.parametrize(
    "change",
    [
        {"network": "../other.keras"},
        {"network": "/elsewhere/other.keras"},
        {"network": ".."},
        {"network": 3},
        {"network": "other.h5"},
        {"name": ["run"]},
        {"settings": "none"},
        {"settings": {"seed": 1}},
    ],
)
def test_a_record_names_no_file_but_its_network(tmp_path, change):
    files = RunFiles(tmp_path)
    record = files.save("run", SETTINGS, {})
    path = files.path("run", SETTINGS)
    path.write_text(json.dumps({**record, **change}))
    with pytest.warns(UserWarning, match="cannot be read"):
        assert files.load("run", SETTINGS) is None


def test_deep_nesting_spoils_no_other_record(tmp_path):
    files = RunFiles(tmp_path)
    record = files.save("run", SETTINGS, {})
    deep = tmp_path / "deep-0123abcd.json"
    deep.write_text("[" * 10**5 + "]" * 10**5)
    with pytest.warns(UserWarning, match=deep.name):
        assert files.load_all() == [record]


@pytest.mark.parametrize("name", ["../run", "/run", "a/b"])
def test_a_run_has_its_files_in_the_folder(tmp_path, name):
    with pytest.raises(ValueError, match="The name of a run"):
        RunFiles(tmp_path).path(name, SETTINGS)


# Text.


def test_names_are_text_in_markdown_and_in_the_terminal(capsys):
    data = {
        "data_set": MARKUP,
        "split": MARKUP,
        "sizes": {"train": 1, "validation": 1, "test": 1},
        "missing": [{"name": MARKUP, "reason": "is not there"}],
        "unreadable": [],
        "excluded": [],
    }
    settings = {
        "epochs": 1,
        "protocol": "last",
        "seed": 0,
        "backend": "jax",
        "student": "rgb",
        "student_network": "small",
        "teacher": "depth",
        "teacher_network": "small",
        "method": MARKUP,
    }
    record = {
        "settings": settings,
        "data": data,
        "test": {f"iou_{MARKUP}": 1},
        "scores": {"student": 0.5, "validation": 0.5},
        "seconds": 1.0,
        "updates": 1,
        "history": {},
    }
    result = ComparisonResult([record], ("rgb",))
    for text in (result.to_markdown(), class_table([record], [MARKUP])):
        assert "<script>" not in text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;\\|a" in text
    assert "<script>" not in result._repr_html_()
    print(result)
    _show_data(data)
    assert "\x1b" not in capsys.readouterr().out


# Data sets.


@pytest.mark.parametrize("name", ["../../secret", "/secret", "a/../../b"])
def test_a_list_names_files_in_its_folder(tmp_path, name):
    for part in ("train", "val", "test"):
        text = f"Bark&{name}&good&0&1\n"
        (tmp_path / f"{part}Set.txt").write_text(text)
    with pytest.raises(ValueError, match="Nothing is read from there"):
        load_ave(tmp_path)
    folder = tmp_path / "crisismmd_datasplit_agreed_label"
    folder.mkdir()
    for part in ("train", "dev", "test"):
        (
            folder / f"task_humanitarian_text_img_agreed_lab_{part}.tsv"
        ).write_text(
            "tweet_id\timage_id\ttweet_text\timage\tlabel\n"
            f"1\t1_0\tnews\t{name}\tvehicle_damage\n"
        )
    with pytest.raises(ValueError, match="Nothing is read from there"):
        load_crisis_mmd(tmp_path, tokens=None)


@pytest.fixture(scope="module")
def nyu(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nyu") / "small"
    write_nyu_depth_v2(folder, size=(8, 8), small_files="7.3")
    return folder


def check_refused(nyu, tmp_path, name, key, trick, reason):
    root = shutil.copytree(nyu, tmp_path / "data")
    load_nyu_depth_v2(root, crop=(8, 8), validation_fraction=0.3)
    spoil(root / name, key, trick, tmp_path)
    with pytest.raises(ValueError, match=f"Received: .*data.*{reason}"):
        load_nyu_depth_v2(root, crop=(8, 8), validation_fraction=0.3)


@every_trick
def test_frames_are_those_of_the_file(nyu, tmp_path, trick):
    name, reason = "nyu_depth_v2_labeled.mat", REASONS[trick]
    check_refused(nyu, tmp_path, name, "images", trick, reason)


@every_trick
def test_the_split_is_that_of_the_file(nyu, tmp_path, trick):
    reason = REASONS[trick]
    check_refused(nyu, tmp_path, "splits.mat", "trainNdxs", trick, reason)


def test_a_scene_is_named_in_the_file(nyu, tmp_path):
    """Cells are references, whose arrays might be elsewhere."""

    def in_a_cell(file, key, content, secret):
        external_storage(file, key, content, secret)
        cells = file["scenes"][()]
        cells[0, 0] = file[key].ref
        file["scenes"][...] = cells

    name, reason = "nyu_depth_v2_labeled.mat", "is read from other files"
    check_refused(nyu, tmp_path, name, "#refs#/scenes0", in_a_cell, reason)


def test_objects_of_matlab_are_no_numbers(nyu, tmp_path):
    root = shutil.copytree(nyu, tmp_path / "data")
    cells = np.empty(2, object)
    cells[:] = ["system", "touch"]
    scipy.io.savemat(
        root / "splits.mat", {"trainNdxs": cells, "testNdxs": cells}
    )
    with pytest.raises(ValueError, match="numbers of the kind 14"):
        load_nyu_depth_v2(root, crop=(8, 8))


def test_a_playlist_opens_no_other_file(tmp_path):
    """FFmpeg knows it by its content."""
    write_video(tmp_path / "secret.mp4", [(255, 0, 0)] * 10, tone(300, 1.0))
    playlist = tmp_path / "clip.mp4"
    playlist.write_text("ffconcat version 1.0\nfile secret.mp4\n")
    with av.open(str(playlist)) as container:
        assert container.format.name == "concat"
    for read in (read_frames, lambda path: read_audio(path, 8000)):
        with pytest.raises(MediaError, match="is damaged"):
            read(playlist)


def test_an_image_is_no_program(tmp_path, mark, monkeypatch):
    """Pillow has Ghostscript run what is an EPS file by its content."""
    ghostscript = tmp_path / "gs"
    ghostscript.write_text(f"#!/bin/sh\necho > {mark}\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)
    path = tmp_path / "photograph.jpg"
    Image.new("RGB", (8, 8)).save(path, "EPS")
    with pytest.raises(MediaError, match="is PostScript, which is not supp"):
        read_image(path)


@pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="only JAX keeps programs"
)
def test_compiled_programs_are_kept_where_only_their_owner_writes(
    tmp_path, monkeypatch
):
    import jax

    folder = tmp_path / ".cache" / "keras_c2kd" / "compiled"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    monkeypatch.setattr(pathlib.Path, "home", lambda: tmp_path)
    before = jax.config.jax_compilation_cache_dir
    try:
        jax.config.update("jax_compilation_cache_dir", None)
        enable_compilation_cache()
        assert jax.config.jax_compilation_cache_dir == str(folder)
        assert folder.stat().st_mode & 0o777 == 0o700
        # Where none can be made, training goes on without.
        jax.config.update("jax_compilation_cache_dir", None)
        monkeypatch.setattr(pathlib.Path, "home", lambda: tmp_path / "file")
        (tmp_path / "file").write_text("")
        with pytest.warns(UserWarning, match="nothing is kept"):
            enable_compilation_cache()
        assert jax.config.jax_compilation_cache_dir is None
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
