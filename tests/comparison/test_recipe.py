import dataclasses

import keras
import numpy as np
import pytest

from keras_c2kd.experiments import BASELINE
from keras_c2kd.experiments import METHOD_ROWS
from keras_c2kd.experiments import Recipe
from keras_c2kd.experiments import RunContext
from keras_c2kd.experiments import Training
from keras_c2kd.experiments import plan_runs
from keras_c2kd.experiments.settings import recorded
from keras_c2kd.experiments.settings import with_former

CONTEXT = RunContext(
    student="visual",
    seed=3,
    batch_size=8,
    warmup_steps=20,
    stages=("stage_1", "stage_2", "stage_3", "stage_4"),
)
NETWORKS = {
    "visual": {"resnet18": None, "small": None},
    "audio": {"resnet18": None, "resnet50": None, "small": None},
}


def recipe(**kwargs):
    arguments = {
        "name": "toy",
        "settings": Training(),
        "load": None,
        "networks": NETWORKS,
        **kwargs,
    }
    return Recipe(**arguments)


@pytest.mark.parametrize("name", METHOD_ROWS)
def test_a_row_says_what_its_method_needs(name):
    row = METHOD_ROWS[name]
    method = row.build(CONTEXT)
    assert method.needs_teacher == row.has_teacher
    assert row.build(CONTEXT) is not method
    taps = row.taps(CONTEXT.stages)
    for side in ("student", "teacher"):
        given = taps.get(f"{side}_features")
        needed = getattr(method, f"{side}_features")
        if given is None:
            # One name has the classifier's input as its default.
            assert len(needed) <= 1 or isinstance(needed, dict)
        else:
            given = given if isinstance(given, list) else [given]
            assert len(given) == len(needed)
            assert set(given) <= {*CONTEXT.stages, "pool"}


def test_rows_take_seed_batch_and_warm_up_from_the_run():
    def config(name):
        return METHOD_ROWS[name].build(CONTEXT).get_config()

    assert config("dlb")["batch_size"] == 8
    assert config("dlb")["second_view"] == "visual_second_view"
    assert config("dkd")["warmup_steps"] == 20
    assert config("review-kd")["warmup_steps"] == 20
    assert "warmup_steps" not in config("kd")
    assert config("kd+random")["selection"]["config"]["seed"] == 3
    assert config("c2kd-a")["bidirectional"] is False
    assert config("c2kd-top")["teacher_update"] == "top"


def test_the_settings_are_those_of_the_paper():
    settings = Training()
    assert (settings.epochs, settings.batch_size) == (100, 64)
    assert (settings.learning_rate, settings.momentum) == (1e-2, 0.9)
    assert settings.power == 0.9 and settings.protocol == "last"
    assert recipe().seeds == 3


def by_the_authors(epoch, epochs):
    """The rate of an epoch, as `adjust_lr` of C2KD's code computes it."""
    return 1e-4 + (1e-2 - 1e-4) * (1 - epoch / epochs) ** 0.9


def test_the_learning_rate_of_an_epoch():
    """Once an epoch, as in the authors' code, or after every step."""
    settings = Training(epochs=4, learning_rate_per="epoch")
    schedule = settings.schedule(steps=12)
    copy = keras.optimizers.schedules.deserialize(
        keras.optimizers.schedules.serialize(schedule)
    )
    for step in range(12):
        expected = by_the_authors(step // 3, 4)
        for one in (schedule, copy):
            assert float(one(step)) == pytest.approx(expected, rel=1e-5)
    every_step = Training(epochs=4).schedule(steps=12)
    for step in range(13):
        expected = by_the_authors(step, 12)
        assert float(every_step(step)) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match="'step', 'epoch'.*'batch'"):
        Training(learning_rate_per="batch").schedule(12)


def test_steps_have_the_rate_of_their_epoch():
    """The weights that one network ends with, in two epochs of two steps."""
    settings = Training(
        epochs=2, momentum=0.0, learning_rate_per="epoch", learning_rate=0.5
    )
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    network.set_weights([np.zeros((1, 1)), np.zeros(1)])
    network.compile(keras.optimizers.SGD(settings.schedule(4)), Slope())
    network.fit(np.ones((4, 1)), np.ones(4), 2, 2, verbose=0)
    rates = [0.5, 0.5, *[1e-4 + (0.5 - 1e-4) * 0.5**0.9] * 2]
    bias = network.get_weights()[1][0]
    assert bias == pytest.approx(-sum(rates), rel=1e-5)


class Slope(keras.losses.Loss):
    """A loss with gradient 1."""

    def call(self, y_true, y_pred):
        return y_pred[:, 0]


@pytest.mark.backend_free
def test_records_tell_the_rates_of_epochs_alone():
    """Those of earlier versions have no such setting, and are found."""
    former = recorded(Training())
    assert "learning_rate_per" not in former
    per_epoch = recorded(Training(learning_rate_per="epoch"))
    assert per_epoch == {**former, "learning_rate_per": "epoch"}
    assert Training(**with_former(former)) == Training()
    assert with_former(per_epoch) == per_epoch


def test_networks_that_others_start_from_come_first():
    plan = plan_runs(recipe(), ["kd", BASELINE, "dlb"], ["visual"], [0, 1])
    assert [run.name for run in plan if run.seed == 0] == [
        "without-kd-visual-resnet18-seed0",
        "without-kd-audio-resnet18-seed0",
        "kd-visual-resnet18-resnet18-seed0",
        "dlb-visual-resnet18-seed0",
    ]
    assert [run.seed for run in plan] == [0] * 4 + [1] * 4
    assert [run.teacher for run in plan[:4]] == [None, None, "audio", None]


def test_a_pair_of_unequal_networks_has_its_own_baselines():
    plan = plan_runs(
        recipe(), ["concat"], ["visual", "audio"], [0], "small", "resnet18"
    )
    assert [run.name for run in plan] == [
        "without-kd-visual-small-seed0",
        "without-kd-audio-resnet18-seed0",
        "without-kd-audio-small-seed0",
        "without-kd-visual-resnet18-seed0",
        "concat-visual-small-resnet18-seed0",
        "concat-audio-small-resnet18-seed0",
    ]
    assert {run.teacher for run in plan[4:]} == {"both"}
    # Equal networks: each baseline once.
    assert len(plan_runs(recipe(), ["kd"], ["visual", "audio"], [0])) == 4
    with pytest.raises(ValueError, match="for visual are .*'resnet50'"):
        plan_runs(recipe(), ["kd"], ["audio"], [0], None, "resnet50")


def test_a_trial_is_small_and_short():
    trial = recipe(
        smoke={"epochs": 2}, smoke_networks={"visual": "small"}
    ).trial()
    assert trial.settings == dataclasses.replace(Training(), epochs=2)
    assert (trial.network("visual"), trial.network("audio")) == (
        "small",
        "resnet18",
    )
    assert trial.network("visual", "resnet18") == "resnet18"
    assert trial.seeds == 1


def test_recipes_that_cannot_be():
    with pytest.raises(ValueError, match="c2dk"):
        recipe(methods=("kd", "c2dk"))
    with pytest.raises(ValueError, match="two modalities"):
        recipe(networks={"visual": {}})
