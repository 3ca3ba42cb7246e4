"""The recipe of digits is run, on little data."""

import dataclasses
import functools
import json
import os
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_c2kd.comparison import run_recipe
from keras_c2kd.comparison import runner
from keras_c2kd.comparison.runner import Runner
from tests.recipes.loading import ROOT
from tests.recipes.loading import load_recipe

# In one process: what they look at is run once.
pytestmark = pytest.mark.xdist_group("av_digits")
WORDS = ["--student", "image", "--seeds", "1", "--epochs", "1"]
WORDS += ["--pairs", "20", "--validation-pairs", "20", "--test-pairs", "20"]
WORDS += ["--batch-size", "10", "--all-labels", "--methods", "kd,c2kd"]


@pytest.fixture(scope="module")
def recipe():
    return load_recipe("av_digits").RECIPE


@pytest.fixture(scope="module")
def finished(recipe, tmp_path_factory):
    """One seed, one direction, default methods: the folder and the result."""
    out = tmp_path_factory.mktemp("av_digits")
    return out, run_recipe(recipe, "", [*WORDS, "--folder", str(out)])


@pytest.fixture
def results(finished, tmp_path):
    """A copy of the finished folder that a test may spoil."""
    shutil.copytree(finished[0], tmp_path / "results")
    return tmp_path / "results"


def again(recipe, out, *arguments):
    words = [*WORDS, *arguments, "--folder", str(out)]
    return run_recipe(recipe, "", words)


def records(out):
    paths = sorted((out / "runs").glob("*.json"))
    return [json.loads(path.read_text()) for path in paths]


def test_there_is_one_record_a_run(finished):
    runs = {
        (run["settings"]["student"], run["settings"]["method"]): run
        for run in records(finished[0])
    }
    assert set(runs) == {
        ("image", "alone"),
        ("audio", "alone"),
        ("image", "kd"),
        ("image", "c2kd"),
    }
    for (_, method), run in runs.items():
        assert run["settings"]["epochs"] == 1
        assert run["settings"]["seed"] == 0
        assert run["settings"]["backend"] == keras.backend.backend()
        assert run["data"]["pairs"] == {
            "train": 20, "validation": 20, "test": 20,
        }  # fmt: skip
        assert "CC BY-SA 4.0" in run["data"]["audio_source"]
        assert run["environment"]["keras"] == keras.__version__
        assert run["seconds"] > 0
        assert 0 <= run["scores"]["student"] <= 1
        assert all(len(values) == 1 for values in run["history"].values())
        has_teacher = method != "alone"
        assert ("teacher_after" in run["scores"]) == has_teacher


def test_teachers_are_the_networks_that_trained_alone(finished):
    runs = {run["name"]: run["scores"] for run in records(finished[0])}
    alone = runs["alone-audio-cnn-seed0"]["student"]
    kd, c2kd = (runs[f"{x}-image-cnn-cnn-seed0"] for x in ("kd", "c2kd"))
    assert kd["teacher_before"] == c2kd["teacher_before"] == alone
    # KD's teacher is fixed.
    assert kd["teacher_after"] == pytest.approx(alone)


def test_the_deployable_network_is_kept(finished, recipe):
    name = "c2kd-image-cnn-cnn-seed0"
    run = next(run for run in records(finished[0]) if run["name"] == name)
    network = keras.saving.load_model(finished[0] / "runs" / run["network"])
    settings = dataclasses.replace(
        recipe.settings,
        pairs=20,
        validation_pairs=20,
        test_pairs=20,
        all_labels=True,
    )
    inputs, labels = recipe.load(settings, 0).test[0]
    logits = network.predict(inputs["image"], verbose=0)
    accuracy = np.mean(np.argmax(logits, axis=-1) == labels)
    assert accuracy == pytest.approx(run["scores"]["student"])


def test_the_table_has_every_cell(finished):
    out, result = finished
    assert [(row.student, row.method) for row in result.rows] == [
        ("image", "alone"),
        ("image", "kd"),
        ("image", "c2kd"),
    ]
    text = (out / "table.md").read_text()
    assert text.count("\n| ") == 3
    assert (out / "table.csv").read_text().count("\n") == 4
    assert (out / "runs.csv").read_text().startswith("method,student,seed")


@pytest.mark.parametrize("name", ["table.png", "curves.png"])
def test_figures_are_pictures_with_something_on_them(finished, name):
    image = pytest.importorskip("PIL.Image")
    with image.open(finished[0] / name) as picture:
        assert picture.format == "PNG"
        pixels = np.asarray(picture.convert("RGB"))
    assert min(pixels.shape[:2]) > 300
    # Colours of the baseline and of C2KD, in this figure as in all.
    for colour in ((0x74, 0x74, 0x74), (0xD5, 0x5E, 0x00)):
        assert (pixels == colour).all(axis=-1).sum() > 20


def test_called_again_it_trains_nothing(recipe, results, monkeypatch):
    def fail(*arguments):
        raise AssertionError(f"trained again: {arguments}")

    monkeypatch.setattr(Runner, "train", fail)
    before = records(results)
    (results / "table.md").unlink()
    again(recipe, results)
    assert records(results) == before
    assert (results / "table.md").exists()


def test_other_settings_are_other_runs(recipe, results, monkeypatch):
    trained = []

    def note(runner, run):
        trained.append(run.name)
        raise KeyboardInterrupt

    monkeypatch.setattr(Runner, "train", note)
    for arguments in (["--epochs", "2"], ["--seeds", "2"]):
        with pytest.raises(KeyboardInterrupt):
            again(recipe, results, *arguments)
    assert trained == [
        "alone-image-cnn-seed0",
        "alone-image-cnn-seed1",
    ]


def test_a_corrupt_record_is_set_aside_and_run_again(
    recipe, results, monkeypatch
):
    path = next((results / "runs").glob("kd-image-cnn-cnn-seed0-*.json"))
    before = json.loads(path.read_text())
    path.write_text('{"name": "kd-im')
    trained, train = [], Runner.train

    def note(runner, run):
        trained.append(run.name)
        return train(runner, run)

    monkeypatch.setattr(Runner, "train", note)
    with pytest.warns(UserWarning, match="cannot be read"):
        again(recipe, results)
    assert trained == ["kd-image-cnn-cnn-seed0"]
    assert path.with_name(path.name + ".corrupt").read_text() == (
        '{"name": "kd-im'
    )
    # The same seed gives the same result, in another process too.
    after = json.loads(path.read_text())
    assert after["scores"] == before["scores"]
    assert after["history"] == before["history"]


@pytest.mark.backend_free
def test_profile_writes_a_trace_of_each_run(recipe, results, monkeypatch):
    """From the first of the two steps on; `ProfileSteps` has its own tests."""
    early = functools.partial(runner.ProfileSteps, first=1)
    monkeypatch.setattr(runner, "ProfileSteps", early)
    next((results / "runs").glob("kd-image-cnn-cnn-seed0-*.json")).unlink()
    traces = results / "traces"
    again(recipe, results, "--profile", str(traces))
    assert [path.name for path in traces.iterdir()] == [
        "kd-image-cnn-cnn-seed0"
    ]
    assert any(path.is_file() for path in traces.rglob("*"))


@pytest.mark.backend_free
def test_the_recipe_is_a_script(tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "recipes" / "av_digits.py"), "--help"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--overwrite" in done.stdout
