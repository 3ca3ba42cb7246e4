"""README's code and that of the distiller's page learn what they promise."""

import keras
import numpy as np
import pytest

from tests.helpers.toys import toy_data
from tests.helpers.toys import toy_distiller
from tests.project.pages import DOCS
from tests.project.pages import ROOT
from tests.project.pages import blocks
from tests.project.pages import run_blocks
from tests.project.pages import shorten_comparisons

README = ROOT / "README.md"


def accuracy(network, inputs, labels):
    logits = network.predict(inputs, verbose=0)
    return np.mean(logits.argmax(-1) == labels)


def test_readme_learns(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shorten_comparisons(monkeypatch)
    keras.utils.set_random_seed(0)
    names = run_blocks(README)
    labels = names["labels"]
    # One of three classes: 0.33 by chance, 0.85 at best for the wrist.
    assert accuracy(names["teacher"], names["camera"], labels) > 0.95
    student = keras.models.load_model("wrist.keras")
    assert accuracy(student, names["wrist"], labels) > 0.75
    assert [row.method for row in names["result"].rows] == [
        *("alone", "self_training", "kd", "dml", "c2kd")
    ]
    assert "alone" in capsys.readouterr().out
    assert (tmp_path / "wrist.png").exists()
    assert keras.models.load_model("best.keras").input_shape == (None, 6)


def test_readme_is_short():
    text = README.read_text()
    assert text.count("\n") <= 150
    code, comparison = blocks(README)
    lines = code[code.index("teacher =") :].splitlines()
    assert len(lines) == 12
    code = [line for line in comparison.splitlines() if line]
    assert len(code) <= 10


def test_the_distiller_learns_as_printed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keras.utils.set_random_seed(0)
    names = run_blocks(DOCS / "distiller.md")
    labels = names["labels"][names["test"]]
    student = keras.models.load_model(tmp_path / "visual.keras")
    images, sounds = (names[key][names["test"]] for key in ("image", "sound"))
    # One of four classes: 0.25 by chance.
    assert np.mean(names["logits"].argmax(-1) == labels) > 0.9
    assert accuracy(student, images, labels) > 0.9
    assert accuracy(names["teacher"], sounds, labels) > 0.9


def test_pairs_without_labels():
    names = run_blocks(DOCS / "data" / "unlabelled.md")
    assert names["few"].provenance["labeled"] < 50
    distillation = names["history"]["distillation"]
    assert distillation[1] < distillation[0]
    labels = names["labels"][:64]
    assert accuracy(names["teacher"], names["camera"][:64], labels) > 0.9


def test_methods_selections_and_losses_of_ones_own(tmp_path):
    names = {"__name__": "own-method"}
    exec(blocks(DOCS / "own-method.md")[0], names)
    inputs, labels = toy_data(32)
    for name in ("method", "variant"):
        distiller = toy_distiller(names[name])
        logs = distiller.train_on_batch(inputs, labels, return_dict=True)
        assert set(distiller.loss_term_names) <= set(logs)
        distiller.save(tmp_path / f"{name}.keras")
        copy = keras.models.load_model(tmp_path / f"{name}.keras")
        assert copy.method.get_config() == distiller.method.get_config()


@pytest.mark.backend_free
def test_the_lines_that_decide_are_there_once():
    lines = README.read_text().splitlines()
    for end in ("python -m tests", "pytest tests/tensorflow_io"):
        found = [x for x in lines if x.startswith("$ ") and x.endswith(end)]
        assert len(found) == 1, end
