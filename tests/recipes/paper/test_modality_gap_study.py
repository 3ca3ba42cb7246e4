"""The study under two dials is run, on a small map."""

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

from keras_c2kd.comparison.records import load_records
from keras_c2kd.comparison.runner import Runner
from tests.recipes.loading import ROOT
from tests.recipes.paper.loading import PAPER
from tests.recipes.paper.loading import load

# In one process: what they look at is run once.
pytestmark = [
    pytest.mark.one_backend,
    pytest.mark.xdist_group("modality_gap_study"),
]
# One row of the map, at two misalignments.
WORDS = ["--smoke", "--imbalance", "0.5", "--methods", "kd,c2kd"]
WORDS += ["--epochs", "1", "--test-pairs", "120"]
METHODS = [("alone", "a"), ("alone", "b"), ("c2kd", "a"), ("kd", "a")]


@pytest.fixture(scope="module")
def study():
    return load("modality_gap_study")


def start(*words):
    return subprocess.Popen(
        [sys.executable, str(PAPER / "modality_gap_study.py"), *words],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "KERAS_BACKEND": keras.backend.backend(),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a study that two processes ran, and what was printed."""
    folder = tmp_path_factory.mktemp("modality_gap_study")
    process = start(*WORDS, "--processes", "2", "--folder", str(folder))
    printed, errors = process.communicate()
    assert process.returncode == 0, errors
    return folder, printed


def records(folder):
    cells = sorted((folder / "cells").iterdir())
    return [record for cell in cells for record in load_records(cell)]


def lines_of(folder):
    with open(folder / "runs.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_every_cell_was_run(finished):
    folder, printed = finished
    settings = [record["settings"] for record in records(folder)]
    found = [(s["misalignment"], s["method"], s["student"]) for s in settings]
    assert sorted(found) == [(x, *m) for x in (0.0, 1.0) for m in METHODS]
    assert {s["imbalance"] for s in settings} == {0.5}
    assert f"2 cells of 1 seeds on {keras.backend.backend()}" in printed
    assert "[ 2/2] elapsed" in printed


def test_the_student_alone_is_the_same_in_all_cells(finished):
    alone = [
        record["history"]
        for record in records(finished[0])
        if record["settings"]["method"] == "alone"
        and record["settings"]["student"] == "a"
    ]
    assert len(alone) == 2 and alone[0] == alone[1]


def test_the_lines_are_those_of_the_records(finished):
    folder, _ = finished
    scores = {
        (s["method"], s["student"], s["misalignment"]): record["scores"]
        for record in records(folder)
        for s in [record["settings"]]
    }
    lines = lines_of(folder)
    assert len(lines) == len(scores) == 8
    for line in lines:
        expected = scores[
            line["method"], line["student"], float(line["misalignment"])
        ]
        assert float(line["score"]) == pytest.approx(expected["student"], 1e-5)
        has_teacher = "teacher_before" in expected
        assert bool(line["teacher_before"]) == has_teacher
        assert bool(line["rank_distorted_share"]) == has_teacher
    told = json.loads((folder / "settings.json").read_text())
    assert told["levels"] == {"imbalance": [0.5], "misalignment": [0.0, 1.0]}
    assert told["methods"] == ["alone", "kd", "c2kd"]
    assert told["settings"]["pairs"] == 120
    assert not {"imbalance", "misalignment"} & set(told["settings"])


def test_the_page_has_maps_tables_and_pictures(finished):
    folder, printed = finished
    text = (folder / "table.md").read_text()
    assert text.strip() in printed
    for title in ("kd minus alone", "c2kd minus alone", "c2kd minus kd"):
        assert f"- {title}: above 0 in 0 (0) of 2 cells" in text
    assert "paired over 1 seeds" in text
    assert "Bayes accuracy, teacher's modality" in text
    image = pytest.importorskip("PIL.Image")
    for name in ("maps.png", "dials.png"):
        with image.open(folder / name) as picture:
            assert picture.format == "PNG"
            assert np.asarray(picture).std() > 5


def test_another_process_trains_nothing_again(finished, study, monkeypatch):
    def fail(*arguments):
        raise AssertionError(f"trained again: {arguments}")

    folder, _ = finished
    monkeypatch.setattr(Runner, "train", fail)
    before = {path: path.read_bytes() for path in folder.glob("*.*")}
    assert len(before) == 5
    study.main([*WORDS, "--processes", "1", "--folder", str(folder)])
    assert {path: path.read_bytes() for path in folder.glob("*.*")} == before
    # From the two files that are committed alone.
    for name in ("table.md", "maps.png", "dials.png"):
        (folder / name).unlink()
    study.main(["--report", "--folder", str(folder)])
    assert {path: path.read_bytes() for path in folder.glob("*.*")} == before


def test_what_is_missing_is_run_again_and_comes_out_equal(
    finished, study, monkeypatch
):
    folder, _ = finished
    cell = folder / "cells" / "imbalance0.5_misalignment1" / "runs"
    (gone,) = cell.glob("kd-a-mlp-mlp-seed0-*.json")
    before = json.loads(gone.read_text())
    gone.unlink()
    trained, train = [], Runner.train

    def note(runner, run):
        trained.append(run.name)
        return train(runner, run)

    monkeypatch.setattr(Runner, "train", note)
    study.main([*WORDS, "--processes", "1", "--folder", str(folder)])
    assert trained == ["kd-a-mlp-mlp-seed0"]
    after = json.loads(gone.read_text())
    assert after["scores"] == before["scores"]
    assert after["history"] == before["history"]


def test_a_killed_study_leaves_no_process_behind(tmp_path):
    psutil = pytest.importorskip("psutil")
    words = ["--processes", "2", "--folder", str(tmp_path), "--seeds", "8"]
    process = start(*WORDS, *words)
    parent, children = psutil.Process(process.pid), []
    deadline = time.monotonic() + 240
    while len(children) < 2:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.2)
        children = [
            child
            for child in parent.children(recursive=True)
            if "spawn_main" in " ".join(child.cmdline())
        ]
    while not list(tmp_path.glob("cells/*/runs/*.json")):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(children, timeout=20)
    for child in alive:
        child.kill()
    assert not alive


def test_the_dials_measure_what_they_are_named_after(study):
    settings = dataclasses.replace(study.RECIPE.settings, test_pairs=1200)
    aligned, twisted, weaker = (
        study.measure(
            dataclasses.replace(settings, imbalance=one, misalignment=other), 0
        )
        for one, other in ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0))
    )
    ranks = "Kendall of the posteriors"
    accuracy = "Bayes accuracy, teacher's modality"
    assert twisted[ranks] < 0.5 < aligned[ranks]
    assert twisted[accuracy] == pytest.approx(aligned[accuracy], abs=0.05)
    assert weaker[accuracy] < aligned[accuracy] - 0.2
    assert weaker[ranks] > 0.5
    student = "Bayes accuracy, student's modality"
    assert len({x[student] for x in (aligned, twisted, weaker)}) == 1


def test_networks_are_small_and_have_their_stages(study):
    network = study.network((32,), 12, study.RECIPE.settings)
    # 32 * 32 + 32, twice, and 32 * 12 + 12.
    assert network.count_params() == 2508
    names = [layer.name for layer in network.layers]
    assert names[1:] == ["stage_1", "stage_2", "logits"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--student", "b"], "the student is 'a'.*--student b"),
        (["--processes", "0"], "At least one process.*--processes 0"),
        (["--profile", "x"], "hundreds of small runs.*--profile x"),
        (["--devices", "2"], "hundreds of small runs.*--devices 2"),
    ],
)
def test_bad_words_are_refused(study, words, message):
    with pytest.raises(ValueError, match=message):
        study.main(words)


def test_the_help_names_the_dials(study, capsys):
    with pytest.raises(SystemExit):
        study.main(["--help"])
    printed = capsys.readouterr().out
    assert "--misalignment" in printed and "--report" in printed
