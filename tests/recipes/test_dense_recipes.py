"""The recipes of scenes in colour and depth, as trials."""

import json

import numpy as np
import pytest
from PIL import Image

from keras_c2kd.comparison import run_recipe
from tests.data.nyu_file import write_nyu_depth_v2
from tests.recipes.loading import load_recipe


def records(folder):
    found = [
        json.loads(path.read_text())
        for path in (folder / "runs").glob("*.json")
    ]
    return {record["settings"]["method"]: record for record in found}


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    """NYU-Depth V2's files, written small, and a finished trial."""
    folder = tmp_path_factory.mktemp("nyu")
    write_nyu_depth_v2(folder / "data", num_train=20, size=(32, 40))
    words = ["--data", str(folder / "data"), "--cache", str(folder / "cache")]
    words += ["--folder", str(folder / "out"), "--smoke", "--verbose", "0"]
    words += ["--student", "depth", "--methods", "c2kd"]
    recipe = load_recipe("nyu_depth_v2").RECIPE
    return folder, words, run_recipe(recipe, "", words)


@pytest.mark.xdist_group("nyu_depth_v2")
def test_the_student_learns_from_depth(trial):
    folder, _, result = trial
    learned = {(row.student, row.method): row.score.mean for row in result.rows}
    # All pixels one class: less than an eighth on four classes.
    assert learned["depth", "c2kd"] > 0.5
    assert learned["depth", "alone"] > 0.5
    found = records(folder / "out")["c2kd"]["test"]
    occur = {
        name: value
        for name, value in found.items()
        if name.startswith("iou_") and value is not None
    }
    assert set(occur) == {"iou_wall", "iou_floor", "iou_chair", "iou_otherprop"}
    assert np.mean(list(occur.values())) == pytest.approx(
        found["mean_iou"], abs=1e-6
    )


@pytest.mark.xdist_group("nyu_depth_v2")
def test_classes_and_pictures(trial):
    folder, _, _ = trial
    text = (folder / "out" / "classes.md").read_text()
    assert "| depth (small) | c2kd " in text and " otherprop |" in text
    with Image.open(folder / "out" / "predictions.png") as picture:
        assert min(picture.size) > 300
        colours = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    assert len(np.unique(colours, axis=0)) > 100


@pytest.mark.one_backend
@pytest.mark.xdist_group("nyu_depth_v2")
def test_the_same_seed_gives_the_same_result(trial):
    folder, words, _ = trial
    before = records(folder / "out")["c2kd"]
    (path,) = (folder / "out" / "runs").glob("c2kd-*.json")
    path.unlink()
    run_recipe(load_recipe("nyu_depth_v2").RECIPE, "", words)
    after = records(folder / "out")["c2kd"]
    assert after["test"] == before["test"]
    assert after["history"] == before["history"]


@pytest.mark.one_backend
def test_generated_rooms_with_methods_of_table_4(tmp_path, capsys):
    """One epoch: that everything fits together, and where the blind are."""
    recipe = load_recipe("rgbd_scenes").RECIPE
    assert set(recipe.default_methods) == {
        *("kd", "shake", "dist", "nkd", "cirkd", "c2kd", "c2kd+dist")
    }
    words = ["--smoke", "--epochs", "1", "--rooms", "16", "--batch-size", "8"]
    words += ["--student", "depth", "--folder", str(tmp_path)]
    chosen = "shake,cirkd,c2kd,c2kd+dist"
    result = run_recipe(recipe, "", [*words, "--methods", chosen])
    assert [row.method for row in result.rows] == ["alone", *chosen.split(",")]
    told = capsys.readouterr().out
    assert "- red poster: told by rgb\n" in told
    assert "- hidden box: told by depth\n" in told
    assert (tmp_path / "predictions.png").exists()
    seen = {m: r["settings"] for m, r in records(tmp_path).items()}
    assert seen["cirkd"]["student_features"] == "stage_3"
    divergence = seen["c2kd+dist"]["method_config"]["divergence"]
    assert divergence["class_name"] == "DISTLoss"
