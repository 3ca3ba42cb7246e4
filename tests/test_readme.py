import pathlib
import re

import keras

from tests.toys import toy_data
from tests.toys import toy_distiller

README = pathlib.Path(__file__).parent.parent / "README.md"


def run_code(heading, names=None):
    """Run the first Python block below a heading; return its names."""
    section = README.read_text().split(f"\n{heading}\n")[1]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL).group(1)
    names = {"__name__": "readme"} if names is None else names
    exec(compile(code, "README.md", "exec"), names)
    return names


def test_the_quickstart_runs_as_printed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run_code("## Quickstart")
    assert names["logits"].shape == (64, 4)
    student = keras.models.load_model(tmp_path / "visual.keras")
    assert student.output_shape == (None, 4)


def test_pairs_without_labels(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run_code("## Quickstart")
    names = run_code("## Pairs without labels", names)
    distiller, train = names["distiller"], names["train"]
    distiller.compile("adam", names["loss"], metrics=["accuracy"])
    history = distiller.fit(
        {"audio": names["sound"][train], "visual": names["image"][train]},
        names["labels"][train],
        epochs=2,
        verbose=0,
    ).history
    assert history["distillation"][1] < history["distillation"][0]


def test_methods_selections_and_losses_of_ones_own(tmp_path):
    names = run_code("### One of your own")
    inputs, labels = toy_data(32)
    for name in ("method", "variant"):
        distiller = toy_distiller(names[name])
        logs = distiller.train_on_batch(inputs, labels, return_dict=True)
        assert set(distiller.loss_term_names) <= set(logs)
        distiller.save(tmp_path / f"{name}.keras")
        copy = keras.models.load_model(tmp_path / f"{name}.keras")
        assert copy.method.get_config() == distiller.method.get_config()
