import pathlib
import re

import keras
import numpy as np
import pytest

from tests.helpers.toys import toy_data
from tests.helpers.toys import toy_distiller

README = pathlib.Path(__file__).parents[2] / "README.md"


def run_code(heading, names=None):
    """Run the first Python block below a heading; return its names."""
    section = README.read_text().split(f"\n{heading}\n")[1]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL).group(1)
    names = {"__name__": "readme"} if names is None else names
    exec(compile(code, "README.md", "exec"), names)
    return names


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
    """What the quickstart leaves: its names and its folder."""
    folder = tmp_path_factory.mktemp("quickstart")
    keras.utils.set_random_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return run_code("## Quickstart"), folder


def test_the_quickstart_learns_as_printed(quickstart):
    names, folder = quickstart
    labels = names["labels"][names["test"]]
    student = keras.models.load_model(folder / "visual.keras")
    images, sounds = (names[key][names["test"]] for key in ("image", "sound"))
    for logits in (
        names["logits"],
        student.predict(images, verbose=0),
        names["teacher"].predict(sounds, verbose=0),
    ):
        # One of four classes: 0.25 by chance.
        assert np.mean(logits.argmax(-1) == labels) > 0.9


def test_pairs_without_labels(quickstart):
    names = {**quickstart[0], "labels": quickstart[0]["labels"].copy()}
    # Networks as at the beginning, but for the teacher.
    names["student"] = names["classifier"]((16, 16, 3))
    names = run_code("## Pairs without labels", names)
    distiller, train = names["distiller"], names["train"]
    distiller.compile(
        keras.optimizers.Adam(1e-2), names["loss"], metrics=["accuracy"]
    )
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
