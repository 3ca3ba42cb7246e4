"""The benchmarks run and print every figure; their timings are not judged."""

import importlib.util
import json
import math
import os
import pathlib
import subprocess
import sys

import keras
import pytest

BENCHMARKS = pathlib.Path(__file__).parent


def run_smoke(name, tmp_path, *words):
    out = tmp_path / f"{name}.json"
    script = BENCHMARKS / f"{name}.py"
    finished = subprocess.run(
        [sys.executable, str(script), "--smoke", "--out", str(out), *words],
        env={**os.environ, "KERAS_BACKEND": keras.backend.backend()},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    return json.loads(out.read_text()), finished.stdout


def check_report(content, printed, with_floor):
    assert content["machine"]["backend"] == keras.backend.backend()
    assert content["machine"]["processor"]
    assert content["machine"]["cores"] >= 1
    for figure in content["figures"]:
        assert math.isfinite(figure["value"]), figure
        assert figure["value"] > 0, figure
        assert f"| {figure['name']} |" in printed
        assert bool(figure["floor"]) == (figure["verdict"] in ("pass", "fail"))
    judged = {f["name"] for f in content["figures"] if f["floor"]}
    assert with_floor <= judged


@pytest.mark.parametrize(
    "words",
    [[], pytest.param(["--dense"], marks=pytest.mark.one_backend)],
    ids=["", "dense"],
)
def test_joint_step_reports_every_figure(tmp_path, words):
    content, printed = run_smoke("joint_step", tmp_path, *words)
    names = [figure["name"] for figure in content["figures"]]
    for quantity in ("peak memory", "CPU time", "FLOPs"):
        for part in ("joint", "student", "teacher"):
            assert f"{quantity}, {part}" in names
    ratios = {
        f"{quantity}, joint / (student + teacher)"
        for quantity in ("peak memory", "CPU time", "FLOPs")
    }
    assert ratios <= set(names)
    assert "peak memory, joint / in turns" in names
    check_report(content, printed, with_floor=ratios)


@pytest.mark.one_backend
def test_kendall_reports_every_figure(tmp_path):
    content, printed = run_smoke("kendall_rank_correlation", tmp_path)
    names = [figure["name"] for figure in content["figures"]]
    others = ["SciPy"]
    if importlib.util.find_spec("torch"):
        others.append("torchmetrics")
        assert "(2, 4, 4, 5): torchmetrics" in names
    with_floor = {"(64, 6): this op, first call"}
    with_floor.add("(2, 64, 64, 8): memory added")
    assert "(2, 4, 4, 5): this op" in names
    assert "(2, 4, 4, 5): memory added" in names
    # SciPy gets a part of the rows, and the name says so.
    assert "(2, 4, 4, 5): SciPy, 16 of 32 rows, scaled" in names
    for other in others:
        with_floor.add(f"(2, 4, 4, 5): this op, faster than {other}")
    check_report(content, printed, with_floor)


@pytest.mark.one_backend
def test_plain_torch_reports_every_figure(tmp_path):
    # The benchmark itself raises if a term of the first loss differs.
    content, printed = run_smoke("plain_torch", tmp_path)
    names = [figure["name"] for figure in content["figures"]]
    on_torch = keras.backend.backend() == "torch"
    for part in ("ours", "plain"):
        assert (f"peak memory, {part}-bfloat16" in names) == on_torch
        for quantity in ("CPU time", "wall time", "samples"):
            assert f"5 classes, float32: {quantity}, {part}" in names
        for share in ("Kendall", "all losses"):
            assert f"5 classes, float32: share of {share}, {part}" in names
    ratio = "5 classes, float32: CPU time, ours / plain"
    assert ratio in names
    check_report(content, printed, with_floor={ratio} if on_torch else set())


@pytest.mark.backend_free
def test_readers_report_every_figure(tmp_path):
    content, printed = run_smoke("readers", tmp_path)
    names = [figure["name"] for figure in content["figures"]]
    with_floor = set()
    for data_set in ("CREMA-D", "AVE", "VGGSound", "CrisisMMD"):
        for what in ("from the media", "cached", "plain loop"):
            assert f"{data_set}, {what}" in names
        with_floor.add(f"{data_set}, cached / plain loop")
    assert "AVE, cached, evaluate, 2 threads" in names
    check_report(content, printed, with_floor)


@pytest.mark.skipif(
    keras.backend.backend() != "jax",
    reason="only JAX keeps programs without being asked in the environment",
)
def test_a_second_start_finds_the_programs_of_the_first(tmp_path):
    content, printed = run_smoke("warm_start", tmp_path)
    check_report(content, printed, with_floor=set())
    found = {figure["name"]: figure["value"] for figure in content["figures"]}
    after = "programs in the folder after the"
    assert found[f"{after} first start"] == found[f"{after} second start"]
    # Far apart: networks, however small, take seconds to compile.
    assert found["CPU time, second start / first start"] < 0.9


@pytest.mark.backend_free
@pytest.mark.parametrize(
    "name", ["joint_step", "kendall_rank_correlation", "readers"]
)
def test_help_names_the_floors(name):
    finished = subprocess.run(
        [sys.executable, str(BENCHMARKS / f"{name}.py"), "--help"],
        env={**os.environ, "KERAS_BACKEND": keras.backend.backend()},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Floors" in finished.stdout
