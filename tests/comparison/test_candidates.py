"""Rows by name, as instances and classes, with what each needs."""

import pytest

from keras_c2kd import losses
from keras_c2kd import methods
from keras_c2kd.comparison import METHODS
from keras_c2kd.comparison import Candidate
from keras_c2kd.comparison import RunContext
from keras_c2kd.comparison.candidates import candidates_of

CONTEXT = RunContext(
    student="visual",
    seed=3,
    batch_size=8,
    warmup_steps=20,
    stages=("stage_1", "stage_2", "stage_3", "stage_4"),
)


@pytest.mark.parametrize("name", METHODS)
def test_a_row_says_what_its_method_needs(name):
    row = METHODS[name]
    method = row.build(CONTEXT)
    assert method.needs_teacher == (row.teacher is not None)
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
        return METHODS[name].build(CONTEXT).get_config()

    assert config("dlb")["batch_size"] == 8
    assert config("dlb")["second_view"] == "visual_second_view"
    assert config("dkd")["warmup_steps"] == 20
    assert config("review_kd")["warmup_steps"] == 20
    assert "warmup_steps" not in config("kd")
    assert config("ogm_ge")["modulation"]["config"]["seed"] == 3


def test_instances_of_a_known_class_have_its_taps():
    rows = candidates_of(
        [
            "fitnet",
            methods.DML,
            methods.FitNet(hint_weight=3.0),
            {"mine": methods.C2KD(losses.DISTLoss())},
        ]
    )
    label = "FitNet(hint_weight=3.0)"
    assert list(rows) == ["alone", "fitnet", "dml", label, "mine"]
    assert rows[label].taps(CONTEXT.stages) == rows["fitnet"].taps(
        CONTEXT.stages
    )
    assert rows[label].build(CONTEXT).get_config()["hint_weight"] == 3.0
    assert type(rows["mine"].build(CONTEXT).divergence) is losses.DISTLoss


def test_other_arguments_change_a_copy():
    changed = METHODS["dkd"].with_config({"temperature": 2.0})
    assert changed.build(CONTEXT).get_config()["temperature"] == 2.0
    assert changed.build(CONTEXT).get_config()["warmup_steps"] == 20
    assert METHODS["dkd"].build(CONTEXT).get_config()["temperature"] == 4.0
    wrong = METHODS["kd"].with_config({"wieght": 2.0})
    with pytest.raises(ValueError, match="has the arguments.*wieght"):
        wrong.build(CONTEXT)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["c2dk"], "The methods are.*'c2dk'"),
        (["kd", "kd"], "two of 'kd'"),
        ([3], "a function that returns one. Received: 3"),
    ],
)
def test_what_is_no_method_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        candidates_of(given)


def test_a_teacher_is_one_of_four():
    with pytest.raises(ValueError, match="'other', 'own', 'both' or None"):
        Candidate(methods.DML, teacher="camera")
    with pytest.raises(ValueError, match="must be a keras_c2kd Dist"):
        Candidate(lambda run: "kd").build(CONTEXT)
