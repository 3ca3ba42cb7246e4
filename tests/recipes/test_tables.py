"""The paper's tables, from training to files, on little data."""

import csv
import json
import shutil

import keras
import pytest

from keras_c2kd.experiments import Runner
from keras_c2kd.experiments.paper import TABLES
from keras_c2kd.experiments.paper_tables import for_other_data
from keras_c2kd.experiments.reproduction import Reproduction
from tests.experiments.made_records import made_record
from tests.experiments.made_records import save_records
from tests.experiments.made_records import spread_scores
from tests.recipes.loading import ROOT
from tests.recipes.loading import load_recipe
from tests.recipes.official_layouts import WRITERS
from tests.recipes.trial_tables import check_tables

pytestmark = pytest.mark.one_backend

SMALL = ["epochs=1", "pairs=20", "validation-pairs=20", "test-pairs=20"]
SMALL += ["batch_size=10"]


def settings_words(settings):
    return [word for pair in settings for word in ("--set", pair)]


def tables(*words):
    """Run the script; return the filled tables by number."""
    found = load_recipe("tables").main(list(words))
    return {filled.table.number: filled for filled in found}


def measured(filled):
    """The methods that have a number in all columns."""
    return [
        row.method
        for row, cells in zip(filled.table.rows, filled.cells)
        if all(cell.measured for cell in cells)
    ]


def digits_words(results, *more):
    return [
        *("--substitute", "av_digits", "--results", str(results)),
        *settings_words(SMALL),
        *more,
    ]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """One seed and one epoch of some methods on AV-digits."""
    results = tmp_path_factory.mktemp("digits")
    words = digits_words(results, "--run", "--seeds", "1")
    return results, tables("--table", "all", "--only", "kd,c2kd", *words)


@pytest.fixture
def results(digits, tmp_path):
    """A copy of the folder that a test may spoil."""
    shutil.copytree(digits[0], tmp_path / "results")
    return tmp_path / "results"


@pytest.mark.xdist_group("tables")
def test_the_chain_on_digits(digits):
    results, filled = digits
    # Table 4 is of segmentation.
    assert list(filled) == [1, 2, 3, 5, 6, 7]
    assert measured(filled[1]) == ["kd", "c2kd"]
    assert measured(filled[5]) == ["c2kd"]
    for number, table in filled.items():
        assert not table.is_comparable
        names = {f"table_{number}.{x}" for x in ("txt", "md", "tex", "csv")}
        assert names <= {path.name for path in (results / "tables").iterdir()}
    with open(results / "tables" / "table_7.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    # The row that it is compared with was run too, and a teacher is there.
    assert {row["method"] for row in rows} == {"c2kd"}
    assert {row["quantity"] for row in rows} == {"score", "teacher"}
    assert all(row["measured_seeds"] == "1" for row in rows)
    scores = [row for row in rows if row["quantity"] == "score"]
    assert {row["reference"] for row in scores} == {"nkd"}
    for row in scores:
        (path,) = (results / "av_digits").glob(f"c2kd-{row['student']}-*.json")
        record = json.loads(path.read_text())
        assert float(row["measured"]) == record["scores"]["student"]
        assert 0 < record["test"]["target_probability"] < 1
    text = (results / "tables" / "table_1.txt").read_text()
    assert f"backend {keras.backend.backend()}, seeds 0." in text
    assert "1 seed." in text and "epochs=1 (20)" in text


def fail(*arguments):
    raise AssertionError(f"trained: {arguments}")


@pytest.mark.xdist_group("tables")
def test_a_second_time_nothing_is_trained(results, digits, monkeypatch):
    monkeypatch.setattr(Runner, "train", fail)
    words = digits_words(results, "--run", "--seeds", "1")
    again = tables("--table", "all", "--only", "kd,c2kd", *words)
    assert again == digits[1]


@pytest.mark.xdist_group("tables")
def test_what_was_interrupted_goes_on_with_what_is_missing(
    results, digits, monkeypatch
):
    trained, train = [], Runner.train

    def note(runner, run):
        trained.append(run.name)
        return train(runner, run)

    monkeypatch.setattr(Runner, "train", note)
    for path in (results / "av_digits").glob("kd-image-*.json"):
        path.unlink()
    words = digits_words(results, "--run", "--seeds", "1")
    again = tables("--table", "all", "--only", "kd,c2kd", *words)
    assert trained == ["kd-image-cnn-cnn-seed0"]
    assert again[1] == digits[1][1]


@pytest.mark.xdist_group("tables")
def test_records_are_read_and_the_rest_is_missing(results, digits, monkeypatch):
    monkeypatch.setattr(Runner, "train", fail)
    filled = tables("--table", "1", *digits_words(results))[1]
    assert measured(filled) == ["without-kd", "kd", "nkd", "c2kd"]
    text = (results / "tables" / "table_1.txt").read_text()
    assert text.count("missing") > 10
    assert "missing: there is no finished run." in text


@pytest.fixture
def made(tmp_path):
    """Three seeds of all methods on AVE, as the paper trained them."""
    recipe = load_recipe("ave").RECIPE
    save_records(tmp_path / "ave", spread_scores(recipe))
    return tmp_path, recipe


def test_the_paper_s_numbers_stand_beside_ours(made):
    results, _ = made
    filled = tables("--table", "all", "--results", str(results))
    assert list(filled) == list(TABLES)
    kd = {r.method: c for r, c in filled[3].column(2)}["kd"]
    assert kd.printed.value == pytest.approx(0.323)
    assert kd.measured.count == 3
    assert {c.measured for _, c in filled[3].column(0)} == {None}
    assert {c.measured for _, c in filled[4].column(0)} == {None}
    text = (results / "tables" / "table_3.tex").read_text()
    assert r"32.3 $\pm$ 0.35" in text and "Other settings" not in text
    filled = tables(
        "--table", "3", "--results", str(results), "--only", "ave,kd"
    )[3]
    assert len(filled.table.columns) == 2 and len(filled.cells) == 1


def test_unlike_settings_are_refused_or_chosen(made):
    results, recipe = made
    words = ["--table", "1", "--results", str(results)]
    words += ["--only", "ave"]
    short = [
        made_record(recipe, method, "visual", seed, 0.9, epochs=7)
        for method in ("without-kd", "kd")
        for seed in range(2)
    ]
    save_records(results / "ave", short)
    with pytest.raises(ValueError, match="the same settings") as error:
        tables(*words)
    assert "epochs=7: 4 runs" in str(error.value)
    assert "--set <name>=<value>" in str(error.value)
    filled = tables(*words, "--set", "epochs=7")[1]
    assert measured(filled) == []
    kd = dict((r.method, c) for r, c in filled.column(0))["kd"]
    assert kd.measured.mean == 0.9
    text = (results / "tables" / "table_1.txt").read_text()
    assert "epochs=7 (100)" in text
    assert len(measured(tables(*words, "--set", "epochs=100")[1])) == 9


def test_what_is_not_in_the_table_may_have_any_settings(made):
    results, recipe = made
    other = made_record(recipe, "dlb", "visual", 0, 0.9, epochs=7)
    save_records(results / "ave", [other])
    words = ["--results", str(results), "--only", "ave"]
    assert len(measured(tables("--table", "1", *words)[1])) == 9
    with pytest.raises(ValueError, match="epochs=7: 1 run"):
        tables("--table", "6", *words)


def test_backends_and_seeds_can_be_chosen(made):
    results, recipe = made
    words = ["--table", "1", "--results", str(results), "--only", "ave,kd"]
    other = made_record(recipe, "kd", "visual", 0, 0.1, backend="torch")
    save_records(results / "ave", [other])
    with pytest.raises(ValueError, match="backend=torch: 1 run"):
        tables(*words)
    filled = tables(*words, "--backend", "torch")[1]
    assert filled.cells[0][0].measured.mean == 0.1
    filled = tables(*words, "--backend", "jax", "--seeds", "2")[1]
    assert filled.cells[0][0].measured.count == 2


@pytest.mark.parametrize("name", ["tables", "figures"])
def test_help_says_where_the_committed_records_are(name, capsys):
    script = load_recipe(name)
    with pytest.raises(SystemExit):
        script.main(["--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert " ".join(script.__doc__.split()) in told
    assert "--results recipes/results prints" in told
    assert "default: None" not in told


@pytest.mark.parametrize("run", [True, False])
def test_nothing_is_trained_where_the_paper_has_no_number(run, monkeypatch):
    script, plans = load_recipe("tables"), {}
    reproduction = Reproduction(ROOT / "recipes", "results", run=run)
    monkeypatch.setattr(reproduction, "records", plans.__setitem__)
    script.collect(reproduction, [TABLES[3]], None)
    methods = {
        name: {cell.method for cell in plan} for name, plan in plans.items()
    }
    unprinted = {"fitnet", "review-kd"}
    assert unprinted <= methods["ave"]
    assert methods["ave"] - methods["crisis_mmd"] == (
        unprinted if run else set()
    )
    # Other data have no printed numbers: everything is trained.
    table = for_other_data(TABLES[3], [reproduction.recipe("crisis_mmd")])
    script.collect(reproduction, [table], None)
    assert unprinted <= {cell.method for cell in plans["crisis_mmd"]}


def test_nothing_is_trained_without_data(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Runner, "train", fail)
    words = ["--results", str(tmp_path), "--run", "--only", "ave,kd"]
    filled = tables("--table", "1", *words)[1]
    assert measured(filled) == []
    assert "no --data ave=FOLDER" in capsys.readouterr().out


def test_records_of_an_older_version_are_counted(made, capsys):
    results, recipe = made
    older = made_record(recipe, "kd", "visual", 0, 0.5)
    del older["settings"]["student_network"]
    save_records(results / "ave", [older])
    tables("--table", "1", "--results", str(results), "--only", "ave")
    assert "1 records of an older version" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--table", "8"], "invalid choice"),
        ([], "--table"),
        (["--table", "1", "--only", "c2dk"], "--only takes the data sets"),
        (["--table", "1", "--only", "crema_d"], "['ave', 'vggsound']"),
        (["--table", "1", "--only", "text"], "['visual', 'audio']"),
        (["--table", "1", "--set", "epoch=3"], "Received: ['epoch']"),
        (["--table", "1", "--set", "epochs"], "NAME=VALUE"),
        (["--table", "1", "--substitute", "digits"], "there is no digits.py"),
        (["--table", "4", "--substitute", "av_digits"], "Nothing is left"),
        (["--table", "1", "--data", "avi=folder"], "there is no avi.py"),
    ],
)
def test_bad_words_are_refused(tmp_path, capsys, words, message):
    with pytest.raises(SystemExit):
        tables("--results", str(tmp_path), *words)
    assert message in capsys.readouterr().err


def test_a_setting_of_another_type_is_refused(tmp_path):
    words = ["--table", "1", "--results", str(tmp_path)]
    for pair in ("epochs=few", "as_published=yes"):
        with pytest.raises(ValueError, match=f"--set {pair.split('=')[0]}"):
            tables(*words, "--set", pair)


@pytest.mark.xdist_group("table_crisis_mmd")
def test_the_chain_on_media_files(tmp_path):
    """One epoch of a trial in one direction, and all tables from it."""
    WRITERS["crisis_mmd"](tmp_path / "data")
    one_epoch = ["--set", "epochs=1"]
    filled = tables(
        *("--table", "3", "--only", "crisis_mmd,text,c2kd", "--run", "--smoke"),
        *("--results", str(tmp_path / "results"), *one_epoch),
        *("--data", f"crisis_mmd={tmp_path / 'data'}"),
        *("--cache", str(tmp_path / "cache"), "--max-missing-fraction", "0.2"),
    )[3]
    ((cell,),) = filled.cells
    assert cell.measured.count == cell.difference.count == 1
    out = tmp_path / "results" / "crisis_mmd"
    folder = tmp_path / "all"
    check_tables("crisis_mmd", out, folder, "text", "c2kd", *one_epoch)
