"""Tuning: equal trials, shared by processes, gone on with after a kill."""

import json
import math
import multiprocessing
import os
import pathlib
import signal
import tempfile
import threading
import time

import pytest

from keras_c2kd.comparison import method_settings
from keras_c2kd.comparison import tuning
from keras_c2kd.comparison.method_settings import method_with
from keras_c2kd.comparison.method_settings import searched_settings
from keras_c2kd.comparison.tuning import tune_method
from keras_c2kd.methods import C2KD
from keras_c2kd.methods import DKD
from keras_c2kd.methods import DistillationMethod
from keras_c2kd.methods import SearchChoice
from keras_c2kd.methods import SearchRange
from keras_c2kd.selection import KendallSelection
from tests.helpers.docstrings import run_example

pytest.importorskip("optuna")
pytestmark = pytest.mark.backend_free

SPACE = {
    "weight": SearchRange(0.1, 10.0, log=True),
    "levels": SearchRange(1, 5, integer=True),
    "pair": SearchChoice(((1, 1), (2, 2), None)),
}
DEFAULT = {"weight": 1.0, "levels": 2, "pair": (1, 1)}


def score(setting):
    """The best is weight 2, 3 levels, the second pair: 1."""
    return (
        (setting["pair"] == [2, 2])
        - (setting["weight"] - 2) ** 2
        - (setting["levels"] - 3) ** 2
    )


def tune(folder, evaluate=score, **kwargs):
    return tune_method(
        kwargs.pop("space", SPACE),
        kwargs.pop("default", DEFAULT),
        evaluate,
        **{
            "trials": 8,
            "storage": pathlib.Path(folder) / "tuning" / "trials.log",
            "study_name": "c2kd, weight 2",
            **kwargs,
        },
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a tuning finds that nothing interrupts."""
    return tune(tmp_path_factory.mktemp("whole"))


def test_the_default_comes_first_and_the_best_is_returned(whole):
    trials = whole["trials"]
    assert [trial["number"] for trial in trials] == list(range(8))
    assert trials[0] == {
        "number": 0,
        "params": {"weight": 1.0, "levels": 2, "pair": [1, 1]},
        "value": -2.0,
        "failure": None,
    }
    for trial in trials:
        assert trial["value"] == score(trial["params"])
        for name, domain in SPACE.items():
            assert domain.contains(trial["params"][name])
    best = max(trials, key=lambda trial: trial["value"])
    assert whole["params"] == best["params"]
    assert whole["value"] == best["value"] > -2.0
    assert len({trial["params"]["weight"] for trial in trials}) == 8
    # Plain data.
    assert json.loads(json.dumps(whole, allow_nan=False)) == whole


def test_proposals_follow_the_scores(tmp_path):
    """The second half, proposed by what is known, is the better one."""
    space = {"weight": SPACE["weight"]}
    found = tune(
        tmp_path,
        lambda setting: -abs(math.log(setting["weight"] / 5)),
        space=space,
        default={"weight": 1.0},
        trials=24,
    )
    values = [trial["value"] for trial in found["trials"]]
    assert sum(values[12:]) > sum(values[:12])
    assert found["params"]["weight"] == pytest.approx(5, rel=0.3)


def test_seeds_decide_what_is_tried(tmp_path, whole):
    assert tune(tmp_path / "same") == whole
    other = tune(tmp_path / "other", seed=1)
    assert other["trials"][0] == whole["trials"][0]
    assert other["trials"][1]["params"] != whole["trials"][1]["params"]


def test_of_equal_trials_the_default_wins(tmp_path):
    assert tune(tmp_path, lambda _: 0.5)["params"]["levels"] == 2


def test_an_error_ends_it_and_the_next_call_goes_on(tmp_path, whole):
    calls = []

    def fragile(setting):
        calls.append(setting)
        if len(calls) == 4:
            raise MemoryError
        return score(setting)

    with pytest.raises(MemoryError):
        tune(tmp_path, fragile)
    assert tune(tmp_path, fragile) == whole
    # The fourth is done again, none of the others is.
    assert len(calls) == 9 and calls[3] == calls[4]
    assert tune(tmp_path, fragile) == whole
    assert len(calls) == 9


def test_more_trials_are_added_and_fewer_are_the_first_ones(tmp_path, whole):
    first = tune(tmp_path, trials=3)
    assert first["trials"] == whole["trials"][:3]
    assert tune(tmp_path) == whole
    assert tune(tmp_path, trials=3) == first


@pytest.mark.parametrize("bad", [math.nan, math.inf, FloatingPointError])
def test_failed_trials_count_as_the_worst_and_are_named(tmp_path, bad):
    def fragile(setting):
        if setting["levels"] != 2:
            return score(setting)
        if bad is FloatingPointError:
            raise FloatingPointError("`distillation` is NaN in epoch 3.")
        return bad

    found = tune(tmp_path, fragile)
    assert len(found["trials"]) == 8
    failed = [trial for trial in found["trials"] if trial["failure"]]
    assert failed[0]["number"] == 0
    assert {trial["params"]["levels"] for trial in failed} == {2}
    assert {trial["value"] for trial in failed} == {None}
    told = failed[0]["failure"]
    assert ("`distillation` is NaN" in told) or (f"score is {bad}" in told)
    assert found["params"]["levels"] != 2 and found["value"] > -100
    json.dumps(found, allow_nan=False)


def test_if_all_fail_the_default_stays(tmp_path):
    found = tune(tmp_path, lambda _: math.nan, trials=2)
    assert found["params"] == {"weight": 1.0, "levels": 2, "pair": [1, 1]}
    assert found["value"] is None


def test_two_at_a_time_share_the_trials(tmp_path):
    calls, found = [], []

    def evaluate(setting):
        calls.append(threading.get_ident())
        time.sleep(0.03)
        return score(setting)

    threads = [
        threading.Thread(target=lambda: found.append(tune(tmp_path, evaluate)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 8 and len(set(calls)) == 2
    assert found[0] == found[1]
    assert [trial["number"] for trial in found[0]["trials"]] == list(range(8))
    # Claims of trials that ended are gone.
    left = {path.name for path in (tmp_path / "tuning").iterdir()}
    assert left == {"trials.log", "trials.log.lock"}


def test_studies_of_one_file_are_apart(tmp_path, whole):
    assert tune(tmp_path, lambda _: 1.0, study_name="kd")["value"] == 1.0
    assert tune(tmp_path) == whole


def be_killed(folder):
    count = iter(range(8))

    def evaluate(setting):
        if next(count) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return score(setting)

    tune(folder, evaluate)


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(),
    reason="a process that starts anew imports Keras for seconds",
)
def test_killed_and_resumed_is_as_if_nothing_had_been(tmp_path, whole):
    context = multiprocessing.get_context("fork")
    process = context.Process(target=be_killed, args=(tmp_path,))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    # It was killed in the middle of a write, too.
    with open(tmp_path / "tuning" / "trials.log", "ab") as file:
        file.write(b'{"op_code":4,"worker_id":"')
    assert tune(tmp_path) == whole
    assert tune(tmp_path) == whole


def test_another_space_default_or_seed_needs_another_study(tmp_path):
    tune(tmp_path, trials=1)
    tune(tmp_path, trials=1, default={**DEFAULT, "pair": [1, 1]})
    narrow = {**SPACE, "weight": SearchRange(0.5, 2.0)}
    for change in (
        {"space": narrow},
        {"default": {**DEFAULT, "levels": 3}},
        {"seed": 1},
    ):
        with pytest.raises(ValueError, match="Received for 'c2kd, weight 2'"):
            tune(tmp_path, trials=1, **change)


@pytest.mark.parametrize(
    "default",
    [
        {**DEFAULT, "weight": 20.0},
        {"weight": 1.0, "levels": 2},
        {**DEFAULT, "other": 1},
    ],
)
def test_a_default_outside_of_the_space_is_refused(tmp_path, default):
    with pytest.raises(ValueError, match=r"a value of each range.*Received"):
        tune(tmp_path, default=default)


def test_no_trials_are_refused(tmp_path):
    with pytest.raises(ValueError, match="`trials` must be an integer of at"):
        tune(tmp_path, trials=0)


def test_what_was_switched_off_stays_off():
    space, setting = searched_settings(DKD(target_weight=2.0), 100)
    assert set(space) == set(setting) == set(DKD.search_space)
    space, setting = searched_settings(
        DKD(non_target_weight=0.0, warmup_steps=25, temperature=20.0), 100
    )
    assert setting == {"distillation_weight": 1.0, "warmup_steps": 0.25}
    assert set(space) == set(setting)


def test_a_method_with_a_setting_keeps_its_other_arguments():
    method = C2KD(
        selection=KendallSelection(threshold=0.2), teacher_update="top"
    )
    copy = method_with(
        method, {"cross_modal_weight": 3.0, "proxy_weights": [0.3, 0.3]}, 100
    )
    expected = method.get_config()
    expected |= {"cross_modal_weight": 3.0, "proxy_weights": (0.3, 0.3)}
    found = copy.get_config()
    assert tuple(found.pop("proxy_weights")) == expected.pop("proxy_weights")
    assert found == expected
    assert method.cross_modal_weight == 1.0


def test_a_space_of_what_is_no_argument_is_refused():
    class Mistaken(DistillationMethod):
        search_space = {"wieght": SearchRange(0.1, 10.0)}

    with pytest.raises(ValueError, match="'wieght' of Mistaken"):
        searched_settings(Mistaken(), 100)


def test_examples():
    names = {"DKD": DKD, "SearchRange": SearchRange, "os": os}
    run_example(
        tuning.tune_method, **names, tempfile=tempfile, tune_method=tune_method
    )
    for name in ("searched_settings", "method_with"):
        thing = getattr(method_settings, name)
        run_example(thing, **names, **{name: thing})
