"""The study of what can be told beforehand."""

import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest

from keras_c2kd.analysis import expected_gain
from tests.recipes.paper.loading import RESULTS
from tests.recipes.paper.loading import load
from tests.recipes.paper.loading import recipe_of

pytestmark = pytest.mark.backend_free

STORED = RESULTS / "rule"


@pytest.fixture(scope="module")
def study():
    return load("rule_study")


@pytest.fixture(scope="module")
def frame():
    return pd.read_csv(STORED / "settings.csv")


def test_there_are_enough_settings_of_enough_data_sets(frame):
    assert len(frame) >= 40
    assert frame["data_set"].nunique() >= 4
    assert (frame["seeds"] >= 3).all()
    assert not frame.duplicated(["data_set", "setting", "student"]).any()


def test_the_package_forecasts_by_what_the_study_found(study, frame):
    slope, unlabeled, labeled = study.constants(frame)
    for fraction, (low, high) in ((0.5, unlabeled), (0.0, labeled)):
        found = expected_gain(0.8, 0.6, fraction)
        assert found.gain == pytest.approx(slope * fraction * 0.2, abs=1e-3)
        assert found.low == pytest.approx(found.gain + low, abs=1e-3)
        assert found.high == pytest.approx(found.gain + high, abs=1e-3)


def test_a_data_set_is_predicted_without_its_own_gains(study, frame):
    rule = study.CHOSEN
    before = study.predict_left_out(frame, rule)
    own = frame["data_set"] == "digit views"
    changed = frame.assign(gain=np.where(own, -frame["gain"], frame["gain"]))
    after = study.predict_left_out(changed, rule)
    np.testing.assert_allclose(after[own], before[own])
    assert not np.allclose(after[~own], before[~own])


def test_factors_are_least_squares(study):
    x, gain = np.array([0.0, 1.0, 2.0]), np.array([1.0, 2.0, 6.0])
    # Through the origin: (1 * 2 + 2 * 6) / (1 + 4).
    assert study.fit([x], gain) == pytest.approx([2.8])
    line = np.polyfit(x, gain, 1)
    assert study.fit([x, np.ones(3)], gain) == pytest.approx(line)


def test_the_page_is_that_of_the_stored_settings(
    study, tmp_path, monkeypatch, capsys
):
    shutil.copy(STORED / "settings.csv", tmp_path)
    study.main(["--report", "--folder", str(tmp_path)])
    text = (tmp_path / "table.md").read_text()
    assert text == (STORED / "table.md").read_text()
    assert text.startswith(capsys.readouterr().out.strip())
    assert (tmp_path / "predicted.png").stat().st_size > 20_000


@pytest.mark.slow
def test_a_setting_is_trained_and_measured(study, tmp_path, monkeypatch):
    small = dataclasses.replace(
        recipe_of("digit_views"),
        settings=dataclasses.replace(
            recipe_of("digit_views").settings, steps=4, units=4
        ),
    )
    one = study.Study("digits", "small", small, {"labeled": 3})
    monkeypatch.setattr(study, "studies", lambda utd: [one])
    monkeypatch.setattr(study, "SEEDS", 1)
    study.main(["--folder", str(tmp_path), "--processes", "1"])
    found = pd.read_csv(tmp_path / "settings.csv")
    assert list(found["student"]) == ["fourier", "pixels"]
    assert (found["labeled"] == 30).all() and (found["unlabeled"] == 1170).all()
    first, second = found.to_dict("records")
    assert first["student_accuracy"] == second["teacher_accuracy"]
    assert first["agreement"] == second["agreement"]
    difference = first["student_accuracy"] - second["student_accuracy"]
    assert difference == pytest.approx(
        first["only_student_right"] - first["only_teacher_right"], abs=1e-4
    )
