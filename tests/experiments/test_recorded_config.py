"""Records that are in the repository are found by the code of today."""

import json
import pathlib

import keras
import pytest

from keras_c2kd.experiments.method_rows import RunContext
from keras_c2kd.experiments.method_rows import method_row
from keras_c2kd.experiments.recorded_config import recorded_config
from keras_c2kd.experiments.settings import recorded
from tests.recipes.loading import load_recipe

pytestmark = pytest.mark.backend_free

RESULTS = pathlib.Path(__file__).parents[2] / "recipes" / "results"


@pytest.mark.parametrize("recipe", ["av_digits", "rgbd_scenes"])
def test_settings_are_recorded_as_ever(recipe):
    path = next((RESULTS / recipe).glob("c2kd-*-seed0-*.json"))
    stored = json.loads(path.read_text())["settings"]
    settings = recorded(load_recipe(recipe).RECIPE.settings)
    assert settings == {name: stored.get(name) for name in settings}


@pytest.mark.parametrize("recipe", ["av_digits", "rgbd_scenes"])
def test_a_method_is_recorded_as_ever(recipe):
    """One stored record of each method, its configuration to the letter."""
    stored = {}
    for path in sorted((RESULTS / recipe).glob("*-seed*.json")):
        settings = json.loads(path.read_text())["settings"]
        stored[settings["method"]] = settings
    assert len(stored) > 5
    for name, settings in stored.items():
        config = settings["method_config"]
        context = RunContext(
            student=settings["student"],
            seed=settings["seed"],
            batch_size=settings["batch_size"],
            warmup_steps=config.get("warmup_steps", 0),
            stages=("stage",) * (config.get("levels", 5) - 1),
        )
        keras.utils.clear_session(free_memory=False)
        method = method_row(name).build(context)
        recorded = json.loads(json.dumps(recorded_config(method)))
        assert recorded == config, name
