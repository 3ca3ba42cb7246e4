"""Result files: whole, found again, never lost."""

import json
import os

import keras
import numpy as np
import pytest

from keras_c2kd.comparison.records import RunFiles
from keras_c2kd.comparison.records import environment
from keras_c2kd.utils.atomic_files import write_atomically

SETTINGS = {"method": "kd", "student": "image", "seed": 0, "epochs": 2}


@pytest.fixture
def files(tmp_path):
    return RunFiles(tmp_path / "results")


def toy_network():
    inputs = keras.Input((3,))
    return keras.Model(inputs, keras.layers.Dense(2)(inputs))


def test_a_saved_run_is_loaded_equal(files):
    saved = files.save("run", SETTINGS, {"scores": {"student": 0.5}})
    assert files.load("run", SETTINGS) == saved
    assert saved["name"] == "run"
    assert saved["settings"] == SETTINGS
    assert saved["scores"] == {"student": 0.5}
    assert saved["network"] is None
    assert saved["environment"]["backend"] == keras.backend.backend()
    assert saved["finished"].endswith("+00:00")


def test_nothing_is_left_but_the_record(files):
    files.save("run", SETTINGS, {})
    assert os.listdir(files.directory) == [files.path("run", SETTINGS).name]


def test_other_settings_are_another_run(files):
    first = files.save("run", SETTINGS, {"scores": {"student": 0.5}})
    others = {**SETTINGS, "epochs": 3}
    assert files.load("run", others) is None
    files.save("run", others, {"scores": {"student": 0.9}})
    assert files.load("run", SETTINGS) == first
    assert len(files.load_all()) == 2


def test_the_order_of_the_settings_does_not_matter(files):
    files.save("run", SETTINGS, {})
    assert files.load("run", dict(reversed(SETTINGS.items()))) is not None


def test_the_network_is_kept_and_copied(files):
    network = toy_network()
    record = files.save("run", SETTINGS, {}, network=network)
    assert record["network"] == files.path("run", SETTINGS, ".keras").name
    copies = [files.load_network("run", SETTINGS) for _ in range(2)]
    inputs = np.ones((1, 3), "float32")
    for copy in copies:
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(copy(inputs)),
            keras.ops.convert_to_numpy(network(inputs)),
            rtol=1e-6,
        )
    kernel = copies[0].layers[-1].kernel
    kernel.assign(np.zeros(kernel.shape))
    assert np.any(keras.ops.convert_to_numpy(copies[1].layers[-1].kernel))


def test_a_run_whose_network_is_gone_is_not_finished(files):
    files.save("run", SETTINGS, {}, network=toy_network())
    files.path("run", SETTINGS, ".keras").unlink()
    assert files.load("run", SETTINGS) is None


@pytest.mark.parametrize(
    "content", [b'{"name": "run", "sett', b"", b"[1, 2]", b"{}", b"\xff\xfe"]
)
def test_a_corrupt_file_is_reported_and_set_aside(files, content):
    files.save("run", SETTINGS, {})
    path = files.path("run", SETTINGS)
    for ending in (".corrupt", ".corrupt2"):
        path.write_bytes(content)
        with pytest.warns(UserWarning, match=f"{path.name}.*cannot be read"):
            assert files.load("run", SETTINGS) is None
        assert not path.exists()
        assert path.with_name(path.name + ending).read_bytes() == content
    # Nothing is in the way of the run that replaces it.
    files.save("run", SETTINGS, {})
    assert files.load("run", SETTINGS) is not None


def test_load_all_skips_what_it_sets_aside(files):
    record = files.save("run", SETTINGS, {})
    (files.directory / "broken-0123abcd.json").write_text("{")
    with pytest.warns(UserWarning, match="broken-0123abcd.json"):
        assert files.load_all() == [record]
    assert (files.directory / "broken-0123abcd.json.corrupt").exists()


@pytest.mark.parametrize("name", ["settings.json", "a-report.json"])
def test_load_all_leaves_the_files_of_others(files, recwarn, name):
    record = files.save("run", SETTINGS, {})
    path = files.directory / name
    path.write_text('{"settings": {}}')
    assert files.load_all() == [record]
    assert path.read_text() == '{"settings": {}}'
    assert not recwarn.list


def test_an_empty_folder_has_no_runs(files):
    assert files.load("run", SETTINGS) is None
    assert files.load_all() == []


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "table.md"
    write_atomically(path, "old")

    def fail(descriptor):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["table.md"]


def test_results_that_are_no_plain_values_are_refused_before_writing(files):
    with pytest.raises(TypeError):
        files.save("run", SETTINGS, {"scores": object()})
    assert not files.directory.exists()


def test_the_environment_names_versions():
    values = environment()
    assert values["keras"] == keras.__version__
    assert json.loads(json.dumps(values)) == values
    assert {"keras_c2kd", "numpy", "python", "platform"} <= set(values)
    assert values[keras.backend.backend()][0].isdigit()
