import dataclasses

import numpy as np
import pytest

from keras_c2kd.comparison import PaperTraining
from keras_c2kd.comparison import Recipe
from keras_c2kd.comparison import Training
from keras_c2kd.methods import FitNet
from tests.comparison.toy_pairs import dense
from tests.comparison.toy_pairs import toy_pairs


def small(shape, classes, settings):
    return dense(*shape, units=4)


def large(shape, classes, settings):
    return dense(*shape, units=8)


NETWORKS = {
    "wrist": {"large": large, "small": small},
    "camera": {"large": large, "larger": large, "small": small},
}


def load(settings, seed, data, cache):
    return toy_pairs(seed)


def recipe(**kwargs):
    arguments = {
        "name": "toy",
        "settings": Training(),
        "load": load,
        "networks": NETWORKS,
        **kwargs,
    }
    return Recipe(**arguments)


def names(plan, seed=0):
    return [run.name for run in plan.runs() if run.seed == seed]


def test_networks_that_others_start_from_come_first():
    plan = recipe().plan(["kd", "dlb"], ["wrist"], [0, 1])
    assert names(plan) == [
        "alone-wrist-large-seed0",
        "alone-camera-large-seed0",
        "kd-wrist-large-large-seed0",
        "dlb-wrist-large-seed0",
    ]
    runs = plan.runs()
    assert [run.seed for run in runs] == [0] * 4 + [1] * 4
    assert [run.teacher for run in runs[:4]] == [None, None, "camera", None]


def test_a_pair_of_unequal_networks_has_its_own_baselines():
    plan = recipe().plan(
        ["concat"],
        ["wrist", "camera"],
        [0],
        student_network="small",
        teacher_network="large",
    )
    assert names(plan) == [
        "alone-wrist-small-seed0",
        "alone-camera-large-seed0",
        "alone-camera-small-seed0",
        "alone-wrist-large-seed0",
        "concat-wrist-small-large-seed0",
        "concat-camera-small-large-seed0",
    ]
    assert {run.teacher for run in plan.runs()[4:]} == {"both"}
    # Equal networks: each baseline once.
    assert len(recipe().plan(["kd"], None, [0]).runs()) == 4
    with pytest.raises(ValueError, match="for wrist are .*'larger'"):
        recipe().plan(["kd"], ["camera"], [0], teacher_network="larger")


def test_networks_are_built_for_the_data():
    plan = recipe().plan(["kd"], ["wrist"], [0])
    network = plan.build_network("wrist", "small", 0)
    assert network.input_shape == (None, 6)
    assert plan.build_network("camera", "large", 0).input_shape == (None, 4)
    assert network.output_shape == (None, 3)


def test_data_may_depend_on_the_seed():
    def first_row(plan, seed):
        return plan.splits(seed).train.inputs["wrist"][0]

    same = recipe().plan(["kd"])
    np.testing.assert_array_equal(first_row(same, 0), first_row(same, 1))
    other = recipe(data_depend_on_seed=True).plan(["kd"])
    assert (first_row(other, 0) != first_row(other, 1)).all()


def test_the_default_methods_and_seeds_of_a_recipe():
    plan = recipe(seeds=2, default_methods=("dml",)).plan()
    assert list(plan.candidates) == ["alone", "dml"]
    assert tuple(plan.seeds) == (0, 1)
    assert recipe().plan(["kd"], seeds=[7]).seeds == (7,)


def test_own_rows_and_their_taps():
    own = recipe(
        methods=("kd", {"hints": FitNet(hint_weight=2.0)}),
        default_methods=("hints",),
        taps={"hints": {"student_features": "stage_1"}},
    )
    plan = own.plan(students=["wrist"], seeds=[0])
    run = plan.runs()[-1]
    assert plan.method(run).get_config()["hint_weight"] == 2.0
    assert plan.taps_of(run) == {
        "student_features": "stage_1",
        "teacher_features": "stage_2",
    }


def test_a_trial_is_small_and_short():
    trial = recipe(
        smoke={"epochs": 2}, smoke_networks={"wrist": "small"}
    ).trial()
    assert trial.settings == dataclasses.replace(Training(), epochs=2)
    assert (trial.network("wrist"), trial.network("camera")) == (
        "small",
        "large",
    )
    assert trial.network("wrist", "large") == "large"
    assert trial.seeds == 1


def test_recipes_that_cannot_be():
    with pytest.raises(ValueError, match="c2dk"):
        recipe(methods=("kd", "c2dk"))
    with pytest.raises(ValueError, match="dkd"):
        recipe(methods=("kd",), default_methods=("dkd",))
    with pytest.raises(ValueError, match="two modalities"):
        recipe(networks={"wrist": {}})


@pytest.mark.backend_free
def test_the_settings_are_those_of_the_paper():
    settings = PaperTraining()
    assert (settings.epochs, settings.batch_size) == (100, 64)
    assert (settings.learning_rate, settings.momentum) == (1e-2, 0.9)
    assert (settings.optimizer, settings.schedule) == ("sgd", "polynomial")
    assert settings.power == 0.9 and settings.protocol == "last"
    assert recipe().seeds == 3
