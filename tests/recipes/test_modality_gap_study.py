"""The study over two dials is run, on a small map."""

import csv
import dataclasses
import json
import os
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from keras_c2kd.experiments import Runner
from keras_c2kd.experiments.dial_study import run_study
from tests.recipes.loading import ROOT
from tests.recipes.loading import load_recipe

# In one process: what they look at is run once.
pytestmark = [
    pytest.mark.one_backend,
    pytest.mark.xdist_group("modality_gap_study"),
]
SCRIPT = str(ROOT / "recipes" / "modality_gap_study.py")
# One row of the map, at two misalignments.
WORDS = ["--smoke", "--imbalance", "0.5", "--method", "kd,c2kd"]
WORDS += ["--epochs", "1", "--test-pairs", "120"]
# The student alone once; the teacher and two methods in both cells.
RUNS = 1 + 2 * 3


@pytest.fixture(scope="module")
def study():
    return load_recipe("modality_gap_study").STUDY


def start(*words, **kwargs):
    return subprocess.Popen(
        [sys.executable, SCRIPT, *words],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "KERAS_BACKEND": keras.backend.backend(),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **kwargs,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a study that two processes ran, and what was printed."""
    out = tmp_path_factory.mktemp("modality_gap_study")
    process = start(*WORDS, "--processes", "2", "--out", str(out))
    printed, errors = process.communicate()
    assert process.returncode == 0, errors
    return out, printed


def records(out):
    paths = sorted(out.glob("*-seed*.json"))
    return [json.loads(path.read_text()) for path in paths]


def lines_of(out):
    with open(out / "runs.csv", newline="") as file:
        return list(csv.DictReader(file))


def again(study, out, *more):
    words = [*WORDS, *more, "--processes", "1", "--resume", "--out", str(out)]
    return run_study(study, "", words)


def test_every_cell_was_run_and_the_student_alone_once(finished):
    out, printed = finished
    found = sorted(
        (s["method"], s["student"], s["imbalance"], s["misalignment"])
        for s in (record["settings"] for record in records(out))
    )
    assert found == sorted(
        [("without-kd", "a", 0.5, 0.0)]
        + [
            (method, student, 0.5, misalignment)
            for misalignment in (0.0, 1.0)
            for method, student in (
                ("without-kd", "b"),
                ("kd", "a"),
                ("c2kd", "a"),
            )
        ]
    )
    assert f"{RUNS} runs of 1 epochs on {keras.backend.backend()}" in printed
    assert f"/{RUNS}] seed 0" in printed


def test_the_lines_are_those_of_the_records(finished):
    out, _ = finished
    lines = lines_of(out)
    assert len(lines) == RUNS
    scores = {
        (s["method"], s["student"], s["misalignment"]): record["scores"]
        for record in records(out)
        for s in [record["settings"]]
    }
    for line in lines:
        key = line["method"], line["student"], float(line["misalignment"])
        expected = scores[key]
        assert float(line["score"]) == pytest.approx(expected["student"], 1e-5)
        has_teacher = "teacher_before" in expected
        assert bool(line["teacher_before"]) == has_teacher
        assert bool(line["rank_distorted_share"]) == has_teacher
    assert len({x["student_data"] for x in lines if x["student"] == "a"}) == 1
    settings = json.loads((out / "settings.json").read_text())
    assert settings["levels"] == {
        "imbalance": [0.5],
        "misalignment": [0.0, 1.0],
    }
    assert settings["methods"] == ["kd", "c2kd"]
    assert settings["settings"]["pairs"] == 120
    assert not {"imbalance", "misalignment"} & set(settings["settings"])


def test_the_page_has_maps_tables_and_figures(finished):
    out, printed = finished
    text = (out / "table.md").read_text()
    assert text.strip() in printed
    titles = ("kd minus without-kd", "c2kd minus without-kd", "c2kd minus kd")
    for title in titles:
        assert f"- {title}: above 0 in 0 (0) of 2 cells" in text
    assert "paired over 1 seeds" in text
    assert "Bayes accuracy of b" in text and "teacher" in text
    image = pytest.importorskip("PIL.Image")
    for name in ("maps.png", "dials.png"):
        with image.open(out / name) as picture:
            assert picture.format == "PNG"
            assert np.asarray(picture).std() > 5


def test_another_process_resumes_without_training(finished, study, monkeypatch):
    def fail(*arguments):
        raise AssertionError(f"trained again: {arguments}")

    out, _ = finished
    monkeypatch.setattr(Runner, "train", fail)
    before = {path: path.read_bytes() for path in out.iterdir()}
    maps = again(study, out)
    assert {path: path.read_bytes() for path in out.iterdir()} == before
    cells = maps["c2kd minus kd"].cells
    assert list(cells) == [(0.5, 0.0), (0.5, 1.0)]
    score = {
        (line["method"], float(line["misalignment"])): float(line["score"])
        for line in lines_of(out)
        if line["student"] == "a"
    }
    for (_, misalignment), cell in cells.items():
        expected = score["c2kd", misalignment] - score["kd", misalignment]
        assert cell.difference.mean == pytest.approx(expected, abs=1e-5)


def test_what_is_missing_is_run_again_and_comes_out_equal(
    finished, study, monkeypatch
):
    out, _ = finished
    gone = next(out.glob("kd-a-mlp-mlp-seed0-*.json"))
    before = json.loads(gone.read_text())
    gone.unlink()
    trained, train = [], Runner.train

    def note(runner, run):
        trained.append(run.name)
        return train(runner, run)

    monkeypatch.setattr(Runner, "train", note)
    again(study, out)
    assert trained == ["kd-a-mlp-mlp-seed0"]
    after = json.loads(gone.read_text())
    assert after["scores"] == before["scores"]
    assert after["history"] == before["history"]


def test_a_killed_study_leaves_no_process_behind(tmp_path):
    psutil = pytest.importorskip("psutil")
    words = ["--processes", "2", "--out", str(tmp_path), "--seeds", "50"]
    process = start(*WORDS, *words)
    parent, children = psutil.Process(process.pid), []
    deadline = time.monotonic() + 120
    while len(children) < 2:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.2)
        children = [
            child
            for child in parent.children(recursive=True)
            if "spawn_main" in " ".join(child.cmdline())
        ]
    while not list(tmp_path.glob("*.json")):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(children, timeout=20)
    for child in alive:
        child.kill()
    assert not alive


def test_the_dials_measure_what_they_are_named_after(study):
    settings = dataclasses.replace(study.recipe.settings, test_pairs=1200)
    aligned, twisted, weaker = (
        study.measure(study.at(settings, levels), seed=0)
        for levels in ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0))
    )
    ranks = "Kendall of the posteriors"
    accuracy = "Bayes accuracy of b"
    assert twisted[ranks] < 0.5 < aligned[ranks]
    assert twisted[accuracy] == pytest.approx(aligned[accuracy], abs=0.05)
    assert weaker[accuracy] < aligned[accuracy] - 0.2
    assert weaker[ranks] > 0.5
    alone = {x["Bayes accuracy of a"] for x in (aligned, twisted, weaker)}
    assert len(alone) == 1


def test_networks_are_small_and_have_their_stages(study):
    network = study.recipe.networks["a"]["mlp"](
        (32,), 12, study.recipe.settings
    )
    # 32 * 32 + 32, twice, and 32 * 12 + 12.
    assert network.count_params() == 2508
    names = [layer.name for layer in network.layers]
    assert names[1:] == ["stage_1", "stage_2", "logits"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--student", "b"], "student of this study is 'a'.*--student b"),
        (["--processes", "0"], "At least one process.*--processes 0"),
        (["--profile", "x"], "hundreds of runs.*--profile x"),
        (["--devices", "2"], "networks of a study are small.*--devices 2"),
    ],
)
def test_bad_words_are_refused(study, words, message):
    with pytest.raises(ValueError, match=message):
        run_study(study, "", words)


def test_the_help_names_the_processes(study, capsys):
    with pytest.raises(SystemExit):
        run_study(study, "A study.", ["--help"])
    printed = capsys.readouterr().out
    assert "A study." in printed and "--processes NUMBER" in printed
    assert "--misalignment" in printed
