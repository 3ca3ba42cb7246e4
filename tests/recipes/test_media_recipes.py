"""The recipes of the paper's data sets, run on small written data sets.

The data sets are generated in the official layouts, with their traps.
"""

import hashlib
import json

import keras
import keras_hub
import pytest

from keras_c2kd.comparison import run_recipe
from tests.recipes.loading import load_recipe
from tests.recipes.official_layouts import WRITERS

NAMES = tuple(WRITERS)
every_recipe = pytest.mark.parametrize("name", NAMES)


def first_modality(name):
    return load_recipe(name).RECIPE.modalities[0]


def words(name, data, folder, *more):
    """A trial with C2KD; a tenth of the small data sets is damaged."""
    return [
        *("--data", str(data)),
        *("--cache", str(folder / "cache")),
        *("--folder", str(folder / "out")),
        *("--student", first_modality(name)),
        *("--methods", "c2kd"),
        *("--max-missing-fraction", "0.2"),
        *("--verbose", "0"),
        "--smoke",
        *more,
    ]


def records(folder):
    found = [
        json.loads(path.read_text())
        for path in sorted((folder / "out" / "runs").glob("*.json"))
    ]
    return {record["name"]: record for record in found}


def figures(folder):
    return {
        name: (record["scores"], record["history"])
        for name, record in records(folder).items()
    }


def digests(folder):
    return {
        path: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat())
        for path in sorted(folder.rglob("*.*"))
        if path.is_file()
    }


@pytest.fixture(
    scope="module",
    # All tests of one data set in one process: its trial is run once.
    # Of frames and sound, one data set's is run on every backend.
    params=[
        pytest.param(
            name,
            marks=[
                pytest.mark.xdist_group(name),
                *[pytest.mark.one_backend] * (name in ("ave", "vggsound")),
            ],
        )
        for name in NAMES
    ],
)
def trial(request, tmp_path_factory):
    """A data set, what is damaged in it, and a finished trial."""
    name = request.param
    folder = tmp_path_factory.mktemp(name)
    damaged = WRITERS[name](folder / "data")
    before = digests(folder / "data")
    recipe = load_recipe(name).RECIPE
    result = run_recipe(recipe, "", words(name, folder / "data", folder))
    return name, folder, damaged, before, result.rows


def test_the_student_learns(trial):
    name, folder, _, _, rows = trial
    student = first_modality(name)
    learned = {(row.student, row.method): row.score.mean for row in rows}
    # Chance is a fourth at most.
    assert learned[student, "c2kd"] > 0.6
    assert learned[student, "alone"] > 0.6
    assert len(learned) == 2
    for picture in ("table.png", "curves.png"):
        assert (folder / "out" / picture).stat().st_size > 10_000


def test_what_is_left_out_is_in_the_results(trial):
    _, folder, damaged, _, _ = trial
    for record in records(folder).values():
        data = record["data"]
        found = {entry["name"]: entry["reason"] for entry in data["unreadable"]}
        assert set(found) == set(damaged)
        for sample, reason in damaged.items():
            assert reason in found[sample]
        assert min(data["sizes"].values()) > 0
        assert record["settings"]["data"] == data["fingerprint"]


def test_the_data_are_only_read(trial):
    _, folder, _, before, _ = trial
    assert digests(folder / "data") == before


@pytest.mark.one_backend
def test_the_same_seed_gives_the_same_result(trial):
    """The student is trained again, from the cache and the same teacher."""
    name, folder, _, _, _ = trial
    before = figures(folder)
    (path,) = (folder / "out" / "runs").glob("c2kd-*.json")
    path.unlink()
    arguments = words(name, folder / "data", folder)
    run_recipe(load_recipe(name).RECIPE, "", arguments)
    assert figures(folder) == before


def test_too_much_damage_is_an_error(trial, tmp_path):
    name, folder, _, _, _ = trial
    arguments = words(
        name, folder / "data", folder, "--max-missing-fraction", "0"
    )
    with pytest.raises(ValueError, match="At most 0.0% of the samples may be"):
        run_recipe(load_recipe(name).RECIPE, "", arguments)


@pytest.mark.one_backend
def test_a_preset_is_the_text_network(tmp_path):
    """BERT from a folder, as a download would be, through the recipe."""
    data = tmp_path / "CrisisMMD_v2.0"
    WRITERS["crisis_mmd"](data)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "bridge"]
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=len(vocabulary),
        num_layers=4,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=16,
        max_sequence_length=12,
    )
    preset = str(tmp_path / "preset")
    backbone.save_to_preset(preset)
    tokenizer = keras_hub.models.BertTokenizer(vocabulary, lowercase=True)
    tokenizer.save_to_preset(preset)
    more = ("--text-weights", preset, "--teacher-network", "bert_base")
    arguments = words("crisis_mmd", data, tmp_path, *more, "--epochs", "1")
    result = run_recipe(load_recipe("crisis_mmd").RECIPE, "", arguments)
    assert {row.teacher_network for row in result.rows} == {None, "bert_base"}
    (path,) = (tmp_path / "out" / "runs").glob("alone-text-bert_base-*.keras")
    network = keras.saving.load_model(path)
    assert network.get_layer("pool").output.shape == (None, 8)


@pytest.mark.one_backend
def test_a_network_of_the_paper_reads_what_the_readers_give(tmp_path):
    """One epoch, beside the small network of the other modality."""
    data = tmp_path / "VGGSound"
    WRITERS["vggsound"](data, copies=(3, 1))
    more = ("--student-network", "mobilenet_v2", "--epochs", "1")
    arguments = words("vggsound", data, tmp_path, *more)
    arguments[arguments.index("c2kd")] = "alone"
    result = run_recipe(load_recipe("vggsound").RECIPE, "", arguments)
    assert {r["settings"]["student_network"] for r in result.records} == {
        *("mobilenet_v2", "small")
    }


@pytest.mark.backend_free
@every_recipe
def test_prepare_fills_the_cache_and_trains_nothing(name, tmp_path, capsys):
    damaged = WRITERS[name](tmp_path / "data")
    arguments = words(name, tmp_path / "data", tmp_path, "--prepare")
    recipe = load_recipe(name).RECIPE
    assert run_recipe(recipe, "", arguments) is None
    told = capsys.readouterr().out
    for sample, reason in damaged.items():
        assert f"{sample}: " in told and reason in told
    assert list((tmp_path / "cache").rglob("*.npy"))
    assert not (tmp_path / "out").exists()
