import dataclasses

import pytest

from keras_c2kd import methods
from keras_c2kd.comparison import Training
from keras_c2kd.comparison import compare
from keras_c2kd.comparison.records import load_records
from keras_c2kd.comparison.tuning import searched_settings
from tests.comparison.toy_pairs import NETWORKS
from tests.comparison.toy_pairs import toy_pairs

pytestmark = [pytest.mark.slow, pytest.mark.one_backend]
TRIALS = 3
TOO_SMALL = Training(epochs=4, learning_rate=1e-4)


def tuned(folder):
    return compare(
        toy_pairs(),
        NETWORKS,
        "wrist",
        ["kd"],
        seeds=2,
        training=TOO_SMALL,
        folder=folder,
        tune=TRIALS,
    )


def test_equal_trials_on_validation_and_the_best_is_trained(tmp_path, capsys):
    result = tuned(tmp_path)
    trials = load_records(tmp_path / "tuning")
    count = {}
    for record in trials:
        settings = record["settings"]
        key = settings["method"], settings["student"]
        count.setdefault(key, []).append(record)
        # A trial never sees a test sample.
        assert record["test"] == {}
        assert "student" not in record["scores"]
        assert settings["seed"] == 0
    assert {key: len(runs) for key, runs in count.items()} == {
        ("alone", "wrist"): TRIALS,
        ("alone", "camera"): TRIALS,
        ("kd", "wrist"): TRIALS,
    }
    # The winner of the trials, from the same seed, is the run of the table.
    for (method, student), runs in count.items():
        if student != "wrist":
            continue
        best = max(r["scores"]["validation"] for r in runs)
        row = {r.method: r for r in result.rows}[method]
        assert row.validation[0] == best
        # The first trial has the setting that was given.
        assert "method_learning_rate" not in min(
            (r["settings"] for r in runs),
            key=lambda s: s.get("method_learning_rate", 0.0),
        )
    assert f"best of {TRIALS} trials" in capsys.readouterr().out


def test_called_again_no_trial_is_trained_again(tmp_path):
    first = tuned(tmp_path)
    files = sorted(tmp_path.rglob("*.json"))
    before = [path.stat().st_mtime_ns for path in files]
    again = tuned(tmp_path)
    assert sorted(tmp_path.rglob("*.json")) == files
    assert [path.stat().st_mtime_ns for path in files] == before
    assert first.numbers().equals(again.numbers())


def test_what_was_switched_off_is_not_searched():
    method = methods.DKD(non_target_weight=0.0, warmup_steps=10)
    space, setting = searched_settings(method, 100)
    assert "non_target_weight" not in space
    assert setting["warmup_steps"] == 0.1
    assert set(space) == set(setting)


def test_every_method_can_be_searched():
    for name in methods.__all__:
        kind = getattr(methods, name)
        if not isinstance(kind, type) or not issubclass(
            kind, methods.DistillationMethod
        ):
            continue
        for space in kind.search_space.values():
            assert dataclasses.is_dataclass(space)
