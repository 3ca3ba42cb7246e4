"""The recipes themselves are run, on little data."""

import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[1]


def load_recipe(name):
    path = ROOT / "recipes" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"recipe_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def recipe():
    return load_recipe("av_digits")


@pytest.fixture(scope="module")
def tiny(recipe):
    return recipe.Settings(
        pairs=20, validation_pairs=20, test_pairs=20, epochs=2, batch_size=10
    )


@pytest.fixture(scope="module")
def finished(recipe, tiny, tmp_path_factory):
    """One seed, one direction, all methods; and the rows of the table."""
    out = tmp_path_factory.mktemp("av_digits")
    rows = recipe.main(
        [
            "--student",
            "image",
            "--seeds",
            "1",
            "--epochs",
            "1",
            "--out",
            str(out),
        ],
        tiny,
    )
    return out, rows


@pytest.fixture
def results(finished, tmp_path):
    """A copy of the finished folder that a test may spoil."""
    shutil.copytree(finished[0], tmp_path / "results")
    return tmp_path / "results"


def resume(recipe, tiny, out, *arguments):
    return recipe.main(
        [
            "--student",
            "image",
            "--seeds",
            "1",
            "--epochs",
            "1",
            "--out",
            str(out),
        ]
        + ["--resume", *arguments],
        tiny,
    )


def records(out):
    return [json.loads(path.read_text()) for path in sorted(out.glob("*.json"))]


def test_there_is_one_record_a_run(finished):
    runs = {
        (run["settings"]["student"], run["settings"]["method"]): run
        for run in records(finished[0])
    }
    assert set(runs) == {
        ("image", "without-kd"),
        ("audio", "without-kd"),
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
        has_teacher = method != "without-kd"
        assert ("rank_distorted_share" in run["history"]) == has_teacher
        assert ("teacher_after" in run["scores"]) == has_teacher


def test_teachers_are_the_networks_that_trained_alone(finished):
    runs = {run["name"]: run["scores"] for run in records(finished[0])}
    alone = runs["without-kd-audio-seed0"]["student"]
    assert runs["kd-image-seed0"]["teacher_before"] == alone
    assert runs["c2kd-image-seed0"]["teacher_before"] == alone
    # KD's teacher is fixed.
    assert runs["kd-image-seed0"]["teacher_after"] == pytest.approx(alone)


def test_the_deployable_network_is_kept(finished, recipe, tiny):
    run = next(
        run for run in records(finished[0]) if run["name"] == "c2kd-image-seed0"
    )
    network = keras.saving.load_model(finished[0] / run["network"])
    settings = recipe.dataclasses.replace(tiny, epochs=1)
    inputs, labels = recipe.load_digits(settings, 0).test
    logits = network.predict(inputs["image"], verbose=0)
    accuracy = np.mean(np.argmax(logits, axis=-1) == labels)
    assert accuracy == pytest.approx(run["scores"]["student"])


def test_the_table_has_every_cell(finished):
    out, rows = finished
    assert [(row.student, row.method) for row in rows] == [
        ("image", "without-kd"),
        ("image", "kd"),
        ("image", "c2kd"),
        ("audio", "without-kd"),
    ]
    text = (out / "table.md").read_text()
    assert "Modality gap" in text
    assert text.count("\n| ") == 5


@pytest.mark.parametrize("name", ["table.png", "dynamics.png"])
def test_figures_are_pictures_with_something_on_them(finished, name):
    image = pytest.importorskip("PIL.Image")
    with image.open(finished[0] / name) as picture:
        assert picture.format == "PNG"
        pixels = np.asarray(picture.convert("RGB"))
    assert min(pixels.shape[:2]) > 300
    # Colours of the second and third method.
    for colour in ((0xD5, 0x5E, 0x00), (0x56, 0xB4, 0xE9)):
        assert (pixels == colour).all(axis=-1).sum() > 20


def test_resume_trains_nothing_again(recipe, tiny, results, monkeypatch):
    def fail(*arguments):
        raise AssertionError(f"trained again: {arguments}")

    monkeypatch.setattr(recipe, "run", fail)
    before = records(results)
    (results / "table.md").unlink()
    resume(recipe, tiny, results)
    assert records(results) == before
    assert (results / "table.md").exists()


def test_resume_runs_what_has_other_settings(
    recipe, tiny, results, monkeypatch
):
    trained = []

    def note(files, settings, method, student, seed):
        trained.append((method, student, seed))
        raise KeyboardInterrupt

    monkeypatch.setattr(recipe, "run", note)
    for arguments in (["--epochs", "2"], ["--seeds", "2"]):
        with pytest.raises(KeyboardInterrupt):
            resume(recipe, tiny, results, *arguments)
    assert trained == [("without-kd", "image", 0), ("without-kd", "image", 1)]


def test_a_corrupt_record_is_set_aside_and_run_again(
    recipe, tiny, results, monkeypatch
):
    path = next(results.glob("kd-image-seed0-*.json"))
    path.write_text('{"name": "kd-im')
    trained, run = [], recipe.run

    def note(files, settings, method, student, seed):
        trained.append((method, student, seed))
        return run(files, settings, method, student, seed)

    monkeypatch.setattr(recipe, "run", note)
    with pytest.warns(UserWarning, match="cannot be read"):
        resume(recipe, tiny, results)
    assert trained == [("kd", "image", 0)]
    assert path.with_name(path.name + ".corrupt").read_text() == (
        '{"name": "kd-im'
    )
    assert json.loads(path.read_text())["name"] == "kd-image-seed0"


def test_methods_and_directions_can_be_chosen(recipe):
    options = recipe.parse(["--method", "c2kd", "--student", "audio"])
    assert recipe.plan_runs(options)[:3] == [
        ("without-kd", "image", 0),
        ("without-kd", "audio", 0),
        ("c2kd", "audio", 0),
    ]
    both = recipe.parse(["--method", "kd,c2kd"])
    repeated = recipe.parse(["--method", "kd", "--method", "c2kd"])
    everything = recipe.parse([])
    assert both.methods == repeated.methods == ["kd", "c2kd"]
    plans = [recipe.plan_runs(options) for options in (both, everything)]
    assert plans[0] == plans[1]
    assert len(plans[0]) == 6 * everything.seeds
    assert everything.seeds >= 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "c2dk"], "--method must name some of"),
        (["--seeds", "0"], "--seeds must be at least 1. Received: 0"),
        (["--epochs", "-1"], "--epochs must be at least 1. Received: -1"),
        (["--student", "video"], "invalid choice"),
    ],
)
def test_bad_arguments_are_refused(recipe, capsys, arguments, message):
    with pytest.raises(SystemExit):
        recipe.parse(arguments)
    assert message in capsys.readouterr().err


def test_the_recipe_is_a_script(tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "recipes" / "av_digits.py"), "--help"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--resume" in done.stdout
