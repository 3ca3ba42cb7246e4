"""The examples run, and show what they promise."""

import runpy

import pytest

import keras_c2kd
from tests.recipes.loading import ROOT

EXAMPLES = ROOT / "recipes" / "examples"


def run(name, folder, monkeypatch):
    """Run a script as a user does, and return its result."""
    monkeypatch.chdir(folder)
    names = runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    return names["result"]


@pytest.mark.backend_free
def test_own_arrays_is_a_file_of_one_screen():
    text = (EXAMPLES / "own_arrays.py").read_text()
    assert text.count("\n") <= 40


@pytest.mark.one_backend
def test_own_arrays_in_one_epoch(tmp_path, monkeypatch, capsys):
    """That everything fits together."""
    compare, training = keras_c2kd.compare, keras_c2kd.Training(epochs=1)

    def short(*args, **kwargs):
        return compare(*args, **{**kwargs, "seeds": 1, "training": training})

    monkeypatch.setattr(keras_c2kd, "compare", short, raising=False)
    result = run("own_arrays", tmp_path, monkeypatch)
    assert [row.method for row in result.rows] == [
        *("alone", "self_training", "kd", "LogitMatching")
    ]
    told = capsys.readouterr().out
    assert "LogitMatching" in told and "without a label" in told
    assert (tmp_path / "own_arrays.png").stat().st_size > 10_000
    assert result.best().input_shape == (None, 24)


@pytest.mark.slow
@pytest.mark.one_backend
def test_own_arrays_shows_a_gain(tmp_path, monkeypatch):
    result = run("own_arrays", tmp_path, monkeypatch)
    rows = {row.method: row for row in result.rows}
    assert rows["kd"].difference.is_above_zero
    assert result.best_method() == "kd"
