import json
import pathlib

import keras
import numpy as np
import pytest

from keras_c2kd import methods
from keras_c2kd.analysis import expected_gain
from keras_c2kd.comparison import Candidate
from keras_c2kd.comparison import Training
from keras_c2kd.comparison import compare
from keras_c2kd.comparison import compare as compare_function
from keras_c2kd.comparison.compare import make_plan
from keras_c2kd.comparison.records import read_runs
from keras_c2kd.comparison.records import write_runs
from keras_c2kd.data import EpochDataset
from keras_c2kd.data import PairedSplits
from tests.comparison.toy_pairs import NETWORKS
from tests.comparison.toy_pairs import SIZES
from tests.comparison.toy_pairs import Mine
from tests.comparison.toy_pairs import dense
from tests.comparison.toy_pairs import toy_pairs

# The recipes' tests train by the same runner on every backend.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.one_backend,
    # They share what one of them trains.
    pytest.mark.xdist_group("compare"),
]

SHORT = Training(epochs=2, learning_rate=0.05)


def run(folder, pairs=None, networks=None, student="wrist", **kwargs):
    kwargs = {"methods": ["kd"], "seeds": 1, "training": SHORT, **kwargs}
    return compare(
        pairs or toy_pairs(),
        networks or NETWORKS,
        student,
        folder=folder,
        **kwargs,
    )


def rows(result):
    return {(row.student, row.method): row for row in result.rows}


def records_of(folder):
    return sorted(pathlib.Path(folder, "runs").glob("*.json"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A comparison of both directions over three seeds, and its folder."""
    folder = tmp_path_factory.mktemp("finished")
    mine = Mine(distillation_weight=0.5)
    result = run(
        folder,
        student="both",
        methods=["supervised", "kd", methods.DML, {"mine": mine}],
        seeds=3,
        training=Training(epochs=12, learning_rate=0.05),
    )
    return result, folder


def test_one_row_a_method_and_direction(finished):
    result, _ = finished
    assert list(rows(result)) == [
        (student, method)
        for student in ("wrist", "camera")
        for method in ("alone", "kd", "dml", "mine")
    ]
    for row in result.rows:
        assert sorted(row.by_seed) == [0, 1, 2]
        # Four batches an epoch, whatever the method.
        assert row.updates == 48
        assert row.score.mean > 0.6
        assert (row.teacher is None) == (row.method == "alone")


def test_differences_are_to_the_same_seed_alone(finished):
    found = rows(finished[0])
    alone, kd = found["wrist", "alone"], found["wrist", "kd"]
    expected = np.mean([kd.by_seed[s] - alone.by_seed[s] for s in range(3)])
    np.testing.assert_allclose(kd.difference.mean, expected)
    assert alone.difference is None


def test_the_teacher_is_the_other_network_alone(finished):
    found = rows(finished[0])
    camera = found["camera", "alone"].score
    assert found["wrist", "kd"].teacher_before == camera
    # Only deep mutual learning trains its teacher.
    assert found["wrist", "kd"].teacher_after == camera
    assert found["wrist", "dml"].teacher_before == camera


def test_students_start_equal(tmp_path, monkeypatch):
    """Whatever the teacher and the method's heads."""
    seen = {}
    fit = keras.Model.fit

    def noted(model, *args, **kwargs):
        name = type(model.method).__name__
        seen.setdefault(name, model.student.get_weights())
        return fit(model, *args, **kwargs)

    monkeypatch.setattr("keras_c2kd.CrossModalDistiller.fit", noted)
    run(tmp_path, methods=["kd", "c2kd"])
    assert set(seen) == {"Supervised", "KnowledgeDistillation", "C2KD"}
    for one in ("KnowledgeDistillation", "C2KD"):
        for x, y in zip(seen["Supervised"], seen[one]):
            np.testing.assert_array_equal(x, y)


def test_texts(finished, tmp_path):
    result, _ = finished
    text = str(result)
    assert "wrist: alone" in text
    assert "To deploy, chosen on validation:" in text
    assert "48 training samples, 24 validation, 24 test" in text
    markdown = result.to_markdown()
    assert markdown.startswith("| student")
    assert "<table" in result._repr_html_()
    assert result.to_csv().count("\n") == 9
    table = result.to_pandas()
    assert list(table["method"]) == ["alone", "kd", "dml", "mine"] * 2
    result.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        *("table.md", "table.csv", "runs.csv", "table.png", "curves.png"),
    }


def test_the_network_to_deploy(finished, tmp_path):
    result, folder = finished
    method = result.best_method("wrist")
    network = result.best("wrist")
    network.save(tmp_path / "wrist.keras")
    runs = [
        r
        for r in result.records
        if r["settings"]["method"] == method
        and r["settings"]["student"] == "wrist"
    ]
    best = max(runs, key=lambda r: r["scores"]["validation"])
    inputs, labels = toy_pairs().test.batch(range(24))
    logits = network.predict(inputs["wrist"], verbose=0)
    accuracy = np.mean(np.argmax(logits, -1) == labels)
    np.testing.assert_allclose(accuracy, best["scores"]["student"], atol=1e-6)
    with pytest.raises(ValueError, match="must be one of"):
        result.best()


def test_called_again_everything_is_kept(finished, capsys):
    result, folder = finished
    before = {path: path.read_bytes() for path in records_of(folder)}
    mine = Mine(distillation_weight=0.5)
    again = run(
        folder,
        student="both",
        methods=["supervised", "kd", methods.DML, {"mine": mine}],
        seeds=3,
        training=Training(epochs=12, learning_rate=0.05),
    )
    assert "24 of 24 runs are finished and kept" in capsys.readouterr().out
    assert {p: p.read_bytes() for p in records_of(folder)} == before
    assert again.numbers().equals(result.numbers())


def test_the_table_is_of_all_records_of_the_folder(finished):
    """Not of the last selection."""
    result, folder = finished
    less = run(
        folder,
        methods=["kd"],
        seeds=3,
        training=Training(epochs=12, learning_rate=0.05),
    )
    assert [row.method for row in less.rows] == ["alone", "kd", "dml", "mine"]


def test_one_table_of_runs(finished, tmp_path):
    result, _ = finished
    write_runs(result.records, tmp_path / "runs.csv")
    found = read_runs(tmp_path / "runs.csv")
    assert [r["settings"] for r in found] == [
        json.loads(json.dumps(r["settings"])) for r in result.records
    ]
    for one, two in zip(found, result.records):
        for name, score in two["scores"].items():
            np.testing.assert_allclose(one["scores"][name], score, rtol=1e-5)
        assert one["history"].keys() == two["history"].keys()


# Identity: what is kept, what is not, and why.


@pytest.fixture
def kept(tmp_path):
    run(tmp_path)
    return tmp_path


def number_of(folder):
    return len(records_of(folder))


def test_other_settings_are_other_runs_in_words(kept, capsys):
    capsys.readouterr()
    result = run(kept, training=Training(epochs=3, learning_rate=0.05))
    assert "epochs was 2 and is 3" in capsys.readouterr().out
    assert number_of(kept) == 6  # Nothing is deleted.
    assert len(result.records) == 3
    assert any("epochs was 2 and is 3" in note for note in result.notes)


def test_other_values_of_the_data_are_other_runs(kept, capsys):
    pairs = toy_pairs()
    pairs.test.inputs["wrist"][3, 2] += 0.01
    run(kept, pairs=pairs)
    assert number_of(kept) == 6
    assert "data was" in capsys.readouterr().out


def test_another_architecture_is_another_run(kept, capsys):
    networks = {**NETWORKS, "wrist": lambda: dense(6, units=9)}
    networks["wrist"].__name__ = "wrist_network"
    run(kept, networks=networks)
    # The camera's run alone is kept.
    assert number_of(kept) == 5
    assert "networks.wrist was" in capsys.readouterr().out


def test_given_weights_count(kept):
    one = dense(SIZES["wrist"])
    networks = {**NETWORKS, "wrist": one}
    run(kept, networks=networks, keep_weights=True)
    assert number_of(kept) == 5
    run(kept, networks=networks, keep_weights=True)
    assert number_of(kept) == 5
    one.set_weights([w + 1 for w in one.get_weights()])
    run(kept, networks=networks, keep_weights=True)
    assert number_of(kept) == 7


def own_method(line):
    """A method of one's own, its code as a user has it in a file."""
    code = (
        "from keras_c2kd.methods import KnowledgeDistillation\n"
        "class Own(KnowledgeDistillation):\n"
        "    # A comment that says nothing.\n"
        "    def compute_losses(self, outputs, targets):\n"
        f"        {line}\n"
        "        return super().compute_losses(outputs, targets)\n"
    )
    return code


def load_own(path, line):
    import importlib.util
    import linecache

    path.write_text(own_method(line))
    linecache.clearcache()
    spec = importlib.util.spec_from_file_location("own_module", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    import sys

    sys.modules["own_module"] = module
    return module.Own


def test_changed_code_of_ones_own_method_refuses_its_records(tmp_path, capsys):
    folder, path = tmp_path / "results", tmp_path / "own_module.py"
    run(folder, methods=["kd", load_own(path, "factor = 1")])
    assert number_of(folder) == 4
    capsys.readouterr()
    run(folder, methods=["kd", load_own(path, "factor = 1  # a comment")])
    assert number_of(folder) == 4
    run(folder, methods=["kd", load_own(path, "factor = 2")])
    assert number_of(folder) == 5
    assert "method_config.code was" in capsys.readouterr().out


def test_overwrite_lists_what_goes_and_leaves_the_rest(kept, capsys):
    run(kept, methods=["dml"])
    before = {p.name: p.stat().st_mtime_ns for p in records_of(kept)}
    assert len(before) == 4
    capsys.readouterr()
    run(kept, overwrite=True)
    after = {p.name: p.stat().st_mtime_ns for p in records_of(kept)}
    same = {name for name in before if before[name] == after[name]}
    assert len(same) == 1 and next(iter(same)).startswith("dml")
    printed = capsys.readouterr().out
    for name in set(before) - same:
        assert f"overwrite: {name}" in printed


def test_a_folder_is_not_needed():
    result = run(None)
    assert len(result.rows) == 2
    assert result.best().name == "functional" or result.best()


class OwnData(EpochDataset):
    """What a user writes: only a size, and the samples of some indices."""

    def __init__(self, rows, **kwargs):
        super().__init__(**kwargs)
        self.rows = rows

    @property
    def size(self):
        return len(self.rows)

    def batch(self, indices):
        labels = self.rows[np.asarray(indices)] % 3
        hint = 2 * np.eye(3, dtype="float32")[labels]
        return {"wrist": np.tile(hint, 2), "camera": hint[:, [0, 1, 2, 0]]}, (
            labels
        )


def test_data_of_ones_own(tmp_path):
    pairs = PairedSplits(
        OwnData(np.arange(36), training=True, batch_size=12),
        OwnData(np.arange(36, 48)),
        OwnData(np.arange(48, 60)),
    )
    result = run(tmp_path, pairs, training=Training(epochs=20, steps=0))
    assert {row.method for row in result.rows} == {"alone", "kd"}
    assert {row.updates for row in result.rows} == {60}
    # What is in a row decides: others are other runs.
    pairs.train.rows = np.arange(1, 37)
    del pairs.provenance["fingerprint"]
    run(tmp_path, pairs, training=Training(epochs=20))
    assert number_of(tmp_path) == 6


# What must hold before anything trains.


def refuse(match, **kwargs):
    kwargs = {"methods": ["kd"], "seeds": 1, "training": SHORT, **kwargs}
    networks = kwargs.pop("networks", NETWORKS)
    with pytest.raises(ValueError, match=match):
        compare(
            kwargs.pop("pairs", toy_pairs()),
            networks,
            kwargs.pop("student", "wrist"),
            **kwargs,
        )


def test_bad_arguments_are_refused_in_words(tmp_path, monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("nothing may be trained")

    monkeypatch.setattr("keras_c2kd.CrossModalDistiller.fit", never)
    refuse("two modalities", networks={"wrist": NETWORKS["wrist"]})
    refuse("'both'. Received: student='nose'", student="nose")
    refuse("The methods are", methods=["k2d"])
    refuse("name of its own", methods=["kd", "kd"])
    refuse("a number of at least 1", seeds=0)
    refuse("different integers", seeds=[1, 1])
    refuse("function that builds", networks={**NETWORKS, "wrist": 3})
    refuse("must return a keras.Model", networks={**NETWORKS, "wrist": int})
    wrong = {**NETWORKS, "wrist": lambda: dense(7)}
    refuse(r"takes samples of \(6,\)", networks=wrong)
    few = {
        **NETWORKS,
        "wrist": lambda: keras.Sequential(
            [keras.Input((6,)), keras.layers.Dense(2)]
        ),
    }
    refuse("logits of 3 classes", networks=few)


def test_taps_are_checked_when_the_plan_is_made(tmp_path, monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("nothing may be trained")

    monkeypatch.setattr("keras_c2kd.CrossModalDistiller.fit", never)
    flat = {**NETWORKS, "wrist": lambda: dense(6, stages=0)}
    refuse("layers called stage_1", methods=["fitnet"], networks=flat)
    lost = Candidate(methods.FitNet(), student_features="conv9")
    refuse("conv9", methods=[{"lost": lost}])


def test_one_failing_run_does_not_lose_the_others(tmp_path, capsys):
    result = run(tmp_path, methods=["kd", Failing])
    assert {row.method for row in result.rows} == {"alone", "kd"}
    assert any("Failing" in n and "on purpose" in n for n in result.notes)
    assert "on purpose" in capsys.readouterr().out
    # Tried again, as it is no result.
    Failing.fails = False
    try:
        again = run(tmp_path, methods=["kd", Failing])
    finally:
        Failing.fails = True
    assert {row.method for row in again.rows} == {"alone", "kd", "Failing"}
    assert not again.notes


class Failing(methods.KnowledgeDistillation):
    fails = True

    def compute_losses(self, outputs, targets):
        if self.fails:
            raise RuntimeError("on purpose")
        return super().compute_losses(outputs, targets)


# Rows without labels.


def test_few_labels_equal_updates_and_self_training(tmp_path):
    result = run(tmp_path, pairs=toy_pairs(labeled=9), methods=["kd"])
    found = {row.method: row for row in result.rows}
    assert list(found) == ["alone", "self_training", "kd"]
    assert {row.updates for row in found.values()} == {8}
    assert found["self_training"].teacher == "wrist"
    assert found["kd"].teacher == "camera"
    assert "39 without a label" in str(result)
    # What could be expected, by both networks alone.
    alone = [
        np.mean(
            [
                record["scores"]["validation"]
                for record in result.records
                if record["settings"]["method"] == "alone"
                and record["settings"]["student"] == modality
            ]
        )
        for modality in ("camera", "wrist")
    ]
    expected = expected_gain(*alone, 39 / 48).describe("camera", "wrist")
    assert f"Forecast from both alone: {expected}" in result.describe("wrist")


def test_a_plan_can_be_sent_to_other_processes():
    import cloudpickle

    plan = make_plan(toy_pairs(), NETWORKS, "wrist", ["kd", Mine()], seeds=1)
    plan.identity(plan.runs()[0])
    other = cloudpickle.loads(cloudpickle.dumps(plan))
    assert [other.identity(r) for r in other.runs()] == [
        plan.identity(r) for r in plan.runs()
    ]


def test_the_public_name():
    import keras_c2kd

    assert keras_c2kd.compare is compare_function
