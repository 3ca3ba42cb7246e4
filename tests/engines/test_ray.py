"""The grid on a Ray cluster of this machine."""

import dataclasses
import json
import sys

import pytest

from keras_c2kd.experiments import run_recipe
from tests.recipes.loading import load_recipe

WORDS = ["--student", "image", "--seeds", "1", "--epochs", "1"]
WORDS += ["--pairs", "20", "--validation-pairs", "20", "--test-pairs", "20"]
WORDS += ["--batch-size", "10"]


def figures(folder):
    records = [json.loads(p.read_text()) for p in folder.glob("*.json")]
    return {r["name"]: (r["scores"], r["history"]) for r in records}


def test_a_cluster_makes_the_same_table(tmp_path):
    recipe = load_recipe("av_digits").RECIPE
    here, there = tmp_path / "here", tmp_path / "there"
    rows = run_recipe(recipe, "", [*WORDS, "--out", str(here)])
    words = [*WORDS, "--out", str(there), "--engine", "ray"]
    assert run_recipe(recipe, "", words) == rows
    assert figures(there) == figures(here)


def test_what_fails_on_the_cluster_is_told(tmp_path):
    """As on a machine of the cluster that lacks the recipe."""
    recipe = load_recipe("av_digits").RECIPE
    recipe = dataclasses.replace(recipe, script=str(tmp_path / "absent.py"))
    words = [*WORDS, "--out", str(tmp_path), "--engine", "ray"]
    with pytest.raises(RuntimeError, match="(?s)-seed0 failed on.*absent.py"):
        run_recipe(recipe, "", words)


def test_without_ray_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    words = [*WORDS, "--out", str(tmp_path), "--engine", "ray"]
    with pytest.raises(ImportError, match=r"the extra .ray."):
        run_recipe(load_recipe("av_digits").RECIPE, "", words)
