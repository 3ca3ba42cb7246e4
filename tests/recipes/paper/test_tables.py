"""The paper's tables, from training to files, on little data."""

import csv
import json
import shutil

import keras
import pytest

from keras_c2kd.comparison.records import read_runs
from keras_c2kd.comparison.runner import Runner
from tests.recipes.official_layouts import WRITERS
from tests.recipes.paper.loading import RESULTS
from tests.recipes.paper.loading import load
from tests.recipes.paper.loading import recipe_of
from tests.recipes.paper.made_records import made_record
from tests.recipes.paper.made_records import save_records
from tests.recipes.paper.made_records import spread_scores
from tests.recipes.trial_tables import check_tables

TABLES = load("printed").TABLES

pytestmark = pytest.mark.one_backend

SMALL = ["epochs=1", "pairs=20", "validation-pairs=20", "test-pairs=20"]
SMALL += ["batch_size=10"]


def settings_words(settings):
    return [word for pair in settings for word in ("--set", pair)]


def tables(*words):
    """Run the script; return the filled cells by the number of the table."""
    return load("tables").main(list(words))


def measured(filled):
    """The methods that have a number in all columns."""
    found = filled["measured_mean"].notna().groupby(filled["row"]).all()
    methods = filled.drop_duplicates("row").set_index("row")["method"]
    return list(methods[found])


def cell(filled, method, column=0):
    """One cell as a dict."""
    is_it = (filled["method"] == method) & (filled["column"] == column)
    (found,) = filled[is_it].to_dict("records")
    return found


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
        assert table["paper"].isna().all()
        names = {f"table_{number}.{x}" for x in ("txt", "md", "tex", "csv")}
        assert names <= {path.name for path in (results / "tables").iterdir()}
    with open(results / "tables" / "table_7.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    # The row that it is compared with was run too, and a teacher is there.
    assert {row["method"] for row in rows} == {"c2kd"}
    assert {row["quantity"] for row in rows} == {"score", "teacher"}
    assert all(row["measured_count"] == "1" for row in rows)
    scores = [row for row in rows if row["quantity"] == "score"]
    assert {row["reference"] for row in scores} == {"nkd"}
    for row in scores:
        runs = results / "av_digits" / "runs"
        (path,) = runs.glob(f"c2kd-{row['student']}-*.json")
        record = json.loads(path.read_text())
        assert float(row["measured_mean"]) == record["scores"]["student"]
        assert 0 < record["test"]["target_probability"] < 1
    text = (results / "tables" / "table_1.txt").read_text()
    assert f"Backend: {keras.backend.backend()}." in " ".join(text.split())
    # All runs as one table, with the curves that figures need.
    found = read_runs(results / "av_digits" / "runs.csv")
    assert len(found) == len(
        list((results / "av_digits" / "runs").glob("*.json"))
    )
    histories = {r["settings"]["method"]: set(r["history"]) for r in found}
    assert histories["c2kd"] == {
        *("accuracy", "loss", "val_accuracy", "rank_distorted_share")
    }
    assert "1 seed." in text and "epochs=1 (20)" in text


def fail(*arguments):
    raise AssertionError(f"trained: {arguments}")


@pytest.mark.xdist_group("tables")
def test_a_second_time_nothing_is_trained(results, digits, monkeypatch):
    monkeypatch.setattr(Runner, "train", fail)
    words = digits_words(results, "--run", "--seeds", "1")
    again = tables("--table", "all", "--only", "kd,c2kd", *words)
    for number, filled in digits[1].items():
        assert again[number].equals(filled)


@pytest.mark.xdist_group("tables")
def test_what_was_interrupted_goes_on_with_what_is_missing(
    results, digits, monkeypatch
):
    trained, train = [], Runner.train

    def note(runner, run):
        trained.append(run.name)
        return train(runner, run)

    monkeypatch.setattr(Runner, "train", note)
    for path in (results / "av_digits" / "runs").glob("kd-image-*.json"):
        path.unlink()
    words = digits_words(results, "--run", "--seeds", "1")
    again = tables("--table", "all", "--only", "kd,c2kd", *words)
    assert trained == ["kd-image-cnn-cnn-seed0"]
    assert again[1].equals(digits[1][1])


@pytest.mark.xdist_group("tables")
def test_records_are_read_and_the_rest_is_missing(results, digits, monkeypatch):
    monkeypatch.setattr(Runner, "train", fail)
    filled = tables("--table", "1", *digits_words(results))[1]
    assert measured(filled) == ["alone", "kd", "nkd", "c2kd"]
    text = (results / "tables" / "table_1.txt").read_text()
    assert text.count("missing") > 10
    assert "missing: there is no finished run." in text


@pytest.fixture
def made(tmp_path):
    """Three seeds of all methods on AVE, as the paper trained them."""
    recipe = recipe_of("ave")
    save_records(tmp_path / "ave", spread_scores(recipe))
    return tmp_path, recipe


def test_the_paper_s_numbers_stand_beside_ours(made):
    results, _ = made
    filled = tables("--table", "all", "--results", str(results))
    assert list(filled) == list(TABLES)
    kd = cell(filled[3], "kd", 2)
    assert kd["paper"] == pytest.approx(0.323)
    assert kd["measured_count"] == 3
    for number in (3, 4):
        first = filled[number][filled[number]["column"] == 0]
        assert first["measured_mean"].isna().all()
    text = (results / "tables" / "table_3.tex").read_text()
    assert r"32.3 $\pm$ 0.35" in text and "Unlike the recipe" not in text
    filled = tables(
        "--table", "3", "--results", str(results), "--only", "ave,kd"
    )[3]
    assert list(filled["column"]) == [2, 3]


def test_unlike_settings_are_refused_or_chosen(made):
    results, recipe = made
    words = ["--table", "1", "--results", str(results)]
    words += ["--only", "ave"]
    short = [
        made_record(recipe, method, "visual", seed, 0.9, epochs=7)
        for method in ("alone", "kd")
        for seed in range(2)
    ]
    save_records(results / "ave", short)
    with pytest.raises(ValueError, match="the same settings") as error:
        tables(*words)
    assert "epochs=7: 4 runs" in str(error.value)
    assert "--set <name>=<value>" in str(error.value)
    filled = tables(*words, "--set", "epochs=7")[1]
    assert measured(filled) == []
    assert cell(filled, "kd")["measured_mean"] == pytest.approx(0.9)
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
    assert cell(filled, "kd")["measured_mean"] == 0.1
    filled = tables(*words, "--backend", "jax", "--seeds", "2")[1]
    assert cell(filled, "kd")["measured_count"] == 2


@pytest.mark.parametrize("name", ["tables", "figures"])
def test_help_says_where_the_committed_records_are(name, capsys):
    script = load(name)
    with pytest.raises(SystemExit):
        script.main(["--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert " ".join(script.__doc__.split()) in told
    assert "--results recipes/results prints" in told
    assert "default: None" not in told


@pytest.mark.parametrize("run", [True, False])
def test_nothing_is_trained_where_the_paper_has_no_number(run, monkeypatch):
    script, reproduction = load("tables"), load("reproduction")
    options = reproduction.parser("").parse_args(["--run"] if run else [])
    found = reproduction.Reproduction(options)
    monkeypatch.setattr(found, "records", lambda wanted: wanted)

    def methods(cells, name):
        wanted = script.collect(found, [cells], None)[name]
        return {method for one in wanted for method in one.methods}

    cells, unprinted = TABLES[3].cells(), {"fitnet", "review_kd"}
    everywhere = methods(cells, "ave")
    assert unprinted <= everywhere
    left_out = everywhere - methods(cells, "crisis_mmd")
    assert left_out == (unprinted if run else set())
    # Other data have no printed numbers: everything is trained.
    cells = TABLES[3].for_other_data([recipe_of("crisis_mmd")])
    assert unprinted <= methods(cells, "crisis_mmd")


def test_nothing_is_trained_without_data(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Runner, "train", fail)
    words = ["--results", str(tmp_path), "--run", "--only", "ave,kd"]
    filled = tables("--table", "1", *words)[1]
    assert measured(filled) == []
    assert "no --data ave=FOLDER" in capsys.readouterr().out


def test_committed_records_are_not_trained_over(tmp_path):
    """Their networks are not there, and two states of the code would mix."""
    shutil.copytree(
        RESULTS / "av_digits",
        tmp_path / "av_digits",
        ignore=shutil.ignore_patterns("*.png", "*.json", "*.md"),
    )
    words = ["--table", "1", "--results", str(tmp_path)]
    words += ["--substitute", "av_digits"]
    assert len(measured(tables(*words)[1])) == 9
    with pytest.raises(ValueError, match="trained elsewhere"):
        tables(*words, "--run")


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
    (found,) = filled.to_dict("records")
    assert found["measured_count"] == found["difference_count"] == 1
    out = tmp_path / "results" / "crisis_mmd"
    folder = tmp_path / "all"
    check_tables("crisis_mmd", out, folder, "text", "c2kd", *one_epoch)
