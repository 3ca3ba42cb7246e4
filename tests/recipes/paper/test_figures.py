"""The paper's figures, from training to files, on little data."""

import csv

import keras
import numpy as np
import pytest

from keras_c2kd.comparison.runner import Runner
from keras_c2kd.ops import kendall_rank_correlation
from tests.recipes.paper.loading import load
from tests.recipes.paper.loading import recipe_of
from tests.recipes.paper.made_records import made_record
from tests.recipes.paper.made_records import save_records

pytestmark = pytest.mark.one_backend

image = pytest.importorskip("PIL.Image")

SMALL = ["epochs=1", "pairs=20", "validation-pairs=20", "test-pairs=20"]
SMALL += ["batch_size=10"]


def words(results, *more):
    small = [word for pair in SMALL for word in ("--set", pair)]
    folder = ["--results", str(results)]
    return ["--substitute", "av_digits", *folder, *small, *more]


def numbers(results, name):
    """The rows of a figure's CSV file."""
    with open(results / "figures" / f"{name}.csv", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def assert_is_picture(results, name):
    with image.open(results / "figures" / f"{name}.png") as picture:
        assert picture.format == "PNG" and min(picture.size) > 300
        pixels = np.asarray(picture.convert("L"))
    assert (pixels < 100).sum() > 1000
    page = (results / "figures" / f"{name}.md").read_text()
    assert page.startswith("![Figure") and f"({name}.png)" in page
    assert "Backend" in page and "seeds 0" in page


@pytest.fixture(scope="module")
def figures():
    return load("figures")


@pytest.fixture(scope="module")
def trained(figures, tmp_path_factory):
    """Two seeds of the networks that train alone, and Figs. 1 and 6."""
    results = tmp_path_factory.mktemp("figures")
    chosen = ["--figure", "1", "--figure", "6"]
    figures.main([*chosen, *words(results, "--run", "--seeds", "2")])
    return results


def fail(*arguments):
    raise AssertionError(f"trained: {arguments}")


@pytest.mark.xdist_group("figures")
def test_the_modality_gap_of_trained_networks(trained, figures):
    assert_is_picture(trained, "figure_1")
    rows = numbers(trained, "figure_1")
    kinds = [(row["series"], row["quantity"]) for row in rows]
    assert kinds == [
        ("image", "score"),
        ("image", "target_probability"),
        ("audio", "score"),
        ("audio", "target_probability"),
        ("between", "kendall"),
        ("within", "kendall"),
        ("within", "kendall"),
    ]
    assert [row["measured_count"] for row in rows] == [*"22222", "1", "1"]
    # Once more, without the analysis.
    reproduction = reproduction_of(trained)
    wanted = reproduction.wanted("av_digits", ["alone"])
    records = reproduction.records(wanted)
    taus = []
    for seed in (0, 1):
        pair = [r for r in records if r["settings"]["seed"] == seed]
        assert {r["settings"]["student"] for r in pair} == {"image", "audio"}
        data, _ = reproduction.test_data("av_digits", pair[0])
        inputs, _ = data.batch(np.arange(data.size))
        logits = [
            reproduction.network("av_digits", record).predict(
                inputs[record["settings"]["student"]], verbose=0
            )
            for record in pair
        ]
        taus.append(float(np.mean(kendall_of(*logits))))
    assert float(rows[4]["measured_mean"]) == pytest.approx(
        np.mean(taus), abs=1e-6
    )


def reproduction_of(results):
    """What a call that only reads makes of its options."""
    module = load("reproduction")
    options = module.parser("").parse_args(words(results))
    return module.Reproduction(options)


def kendall_of(one, other):
    return keras.ops.convert_to_numpy(kendall_rank_correlation(one, other))


@pytest.mark.xdist_group("figures")
def test_the_similarity_of_trained_networks(trained):
    assert_is_picture(trained, "figure_6")
    rows = numbers(trained, "figure_6")
    # Three kinds of pairs, three stages each.
    assert len(rows) == 27
    assert {row["series"] for row in rows} == {
        "image - audio, cnn",
        "image, cnn, two seeds",
        "audio, cnn, two seeds",
    }
    assert all(-1 <= float(row["measured_mean"]) <= 1 for row in rows)


@pytest.mark.xdist_group("figures")
def test_a_second_time_nothing_is_trained(trained, figures, monkeypatch):
    monkeypatch.setattr(Runner, "train", fail)
    before = numbers(trained, "figure_6")
    figures.main(["--figure", "6", *words(trained)])
    assert numbers(trained, "figure_6") == before


@pytest.mark.xdist_group("figures")
def test_sensitivity_is_trained_and_drawn(trained, figures, monkeypatch):
    """One metric and threshold, beside no selection."""
    monkeypatch.setattr(figures, "METRICS", {"Cos": "cosine"})
    chosen = ["--figure", "4", "--thresholds=-0.2", "--run", "--seeds", "1"]
    figures.main([*chosen, *words(trained)])
    assert_is_picture(trained, "figure_4")
    rows = numbers(trained, "figure_4")
    assert [(row["series"], row["at"]) for row in rows] == [
        ("w/o selection", "-"),
        ("Cos", "-0.2"),
    ] * 2
    assert [row["reference"] for row in rows] == ["", "w/o selection"] * 2
    names = {
        path.name for path in (trained / "av_digits" / "runs").glob("*.json")
    }
    for name in ("c2kd@cosine=-0.2-image-", "c2kd@all-audio-"):
        assert any(found.startswith(name) for found in names)


@pytest.fixture
def made(tmp_path):
    """Records of AVE and VGGSound, each method another score."""
    methods = ["alone", "shake", "dist", "nkd", "c2kd"]
    methods += [f"c2kd{row}+{loss}" for row in ("-b", "-c", "")
                for loss in ("dist", "nkd")]  # fmt: skip
    methods += ["c2kd@all", "c2kd@cosine=0", "c2kd@kendall=0.2"]
    for name in ("ave", "vggsound"):
        recipe = recipe_of(name)
        records = [
            made_record(
                recipe,
                method,
                student,
                seed,
                0.2 + 0.01 * number + 0.001 * seed,
            )
            for number, method in enumerate(methods)
            for student in recipe.modalities
            for seed in range(3)
        ]
        save_records(tmp_path / name, records)
    return tmp_path, methods


def test_figures_of_the_paper_s_data_sets(made, figures, capsys):
    """From records alone; no networks are there, and no data."""
    results, methods = made
    points = figures.main(["--figure", "all", "--results", str(results)])
    scores = {
        method: 0.2 + 0.01 * number + 0.001
        for number, method in enumerate(methods)
    }
    assert set(points[1]["panel"]) == {"ave", "vggsound"}
    told = capsys.readouterr().out
    assert "ave: no --data, so its networks are not compared." in told
    found = points[5].set_index(["panel", "series", "at"])
    assert len(found) == 16
    for step, row in (
        ("plain", "nkd"),
        ("+BD", "c2kd-b+nkd"),
        ("+OFSD", "c2kd-c+nkd"),
        ("+Proxy", "c2kd+nkd"),
    ):
        point = found.loc[("audio student", "NKD", step)]
        assert point["measured_mean"] == pytest.approx(scores[row])
        if step != "plain":
            difference = scores[row] - scores["nkd"]
            assert point["difference_mean"] == pytest.approx(difference)
            assert point["reference"] == "NKD, plain"
    found = points[4].set_index(["panel", "series", "at"]).loc["visual student"]
    assert len(found) == 1 + 4 * 6
    for place, row in (
        (("KRC", "0"), "c2kd"),
        (("KRC", "0.2"), "c2kd@kendall=0.2"),
        (("Cos", "0"), "c2kd@cosine=0"),
        (("w/o selection", "-"), "c2kd@all"),
    ):
        mean = found.loc[place, "measured_mean"]
        assert mean == pytest.approx(scores[row])
    assert np.isnan(found.loc[("GradCos", "0.4"), "measured_mean"])
    assert "missing" in (results / "figures" / "figure_4.md").read_text()
    assert set(points[3]["series"]) == {
        f"{method}, {key}"
        for method in ("shake", "nkd", "c2kd")
        for key in ("val_accuracy", "rank_distorted_share")
    }
    for name in ("figure_1", "figure_3", "figure_4", "figure_5"):
        assert_is_picture(results, name)
    # There is nothing to draw of it.
    assert not (results / "figures" / "figure_6.png").exists()
    assert "There is no finished run to draw" in told


def test_unlike_settings_are_refused(made, figures):
    results, _ = made
    recipe = recipe_of("vggsound")
    short = made_record(recipe, "dist", "audio", 0, 0.9, epochs=7)
    save_records(results / "vggsound", [short])
    chosen = ["--figure", "5", "--results", str(results)]
    with pytest.raises(ValueError, match="epochs=7: 1 run"):
        figures.main(chosen)
    (points,) = figures.main([*chosen, "--set", "epochs=7"]).values()
    assert points["measured_mean"].notna().sum() == 1


def test_another_data_set_of_the_paper_s(made, figures):
    results, _ = made
    chosen = ["--figure", "5", "--results", str(results), "--only", "ave"]
    figures.main(chosen)
    page = (results / "figures" / "figure_5.md").read_text()
    assert "Generalisability of the modules, ave" in page


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--figure", "2"], "invalid choice"),
        ([], "--figure"),
        (["--figure", "4", "--thresholds=a"], "numbers_of value: 'a'"),
        (["--figure", "4", "--substitute", "rgbd_scenes"], "classification"),
        (["--figure", "4", "--only", "digits"], "there is no digits.py"),
        (["--figure", "1", "--set", "epoch=1"], "Received: ['epoch']"),
    ],
)
def test_bad_words_are_refused(tmp_path, capsys, figures, more, message):
    with pytest.raises(SystemExit):
        figures.main(["--results", str(tmp_path), *more])
    assert message in capsys.readouterr().err


def test_networks_that_are_not_there(figures, made):
    """Records say that there is none; the error says how to get one."""
    results, _ = made
    reproduction = reproduction_of(results)
    recipe = recipe_of("ave")
    record = made_record(recipe, "kd", "visual", 0, 0.5)
    with pytest.raises(ValueError, match="Train it again, with --run"):
        reproduction.network("ave", record)
    with pytest.raises(ValueError, match="Pass --data ave=FOLDER"):
        reproduction.test_data("ave", record)


def test_networks_are_compared_on_the_samples_of_their_runs(figures, tmp_path):
    reproduction = reproduction_of(tmp_path)
    recipe = recipe_of("av_digits")
    record = made_record(recipe, "kd", "image", 0, 0.5, data="others")
    with pytest.raises(ValueError, match="the samples of their runs, others"):
        reproduction.test_data("av_digits", record)
