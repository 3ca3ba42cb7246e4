"""The recipes of natural pairs and few labels."""

import pytest

from keras_c2kd.comparison import run_recipe
from tests.data.utd_mhad_files import write_utd_mhad
from tests.recipes.loading import load_recipe

pytestmark = [pytest.mark.slow, pytest.mark.one_backend]
METHODS = ["alone", "self_training", "kd", "c2kd_fixed"]


def test_digit_views(tmp_path):
    recipe = load_recipe("digit_views").RECIPE
    words = ["--smoke", "--methods", "kd,c2kd_fixed", "--folder", str(tmp_path)]
    result = run_recipe(recipe, "", words)
    for student, teacher in (("fourier", "pixels"), ("pixels", "fourier")):
        rows = [row for row in result.rows if row.student == student]
        assert [row.method for row in rows] == METHODS
        # Equal numbers of updates, whatever has a label.
        assert len({row.updates for row in rows}) == 1
        taught_by = [row.teacher for row in rows]
        assert taught_by == [None, student, teacher, teacher]
    assert (tmp_path / "table.png").exists()


def test_all_labels_need_no_self_training(tmp_path):
    recipe = load_recipe("digit_views").RECIPE
    words = ["--smoke", "--methods", "kd", "--student", "fourier"]
    words += ["--all-labels", "--folder", str(tmp_path)]
    result = run_recipe(recipe, "", words)
    assert [row.method for row in result.rows] == ["alone", "kd"]


def test_utd_mhad(tmp_path):
    data = tmp_path / "data"
    write_utd_mhad(data)
    recipe = load_recipe("utd_mhad").RECIPE
    words = ["--smoke", "--methods", "kd,c2kd_fixed", "--student", "inertial"]
    words += ["--data", str(data), "--cache", str(tmp_path / "cache")]
    words += ["--max-missing-fraction", "1", "--folder", str(tmp_path / "out")]
    result = run_recipe(recipe, "", words)
    assert [row.method for row in result.rows] == METHODS
    assert "pairs natural, split: by subject" in str(result)
