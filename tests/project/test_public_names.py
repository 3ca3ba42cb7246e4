import inspect
import pathlib
import re

import pytest

import keras_c2kd

pytestmark = pytest.mark.backend_free

MODULES = [
    keras_c2kd,
    keras_c2kd.layers,
    keras_c2kd.losses,
    keras_c2kd.methods,
    keras_c2kd.models,
    keras_c2kd.ops,
    keras_c2kd.selection,
]
README = pathlib.Path(__file__).parents[2] / "README.md"


def test_the_readme_lists_the_public_names():
    section = README.read_text().split("## Public names")[1].split("\n## ")[0]
    first_columns = re.findall(r"^\| (`.+?) \|", section, re.MULTILINE)
    documented = set(re.findall(r"`([\w.]+)`", " ".join(first_columns)))
    prefix = "keras_c2kd."
    public = {
        f"{module.__name__}.{name}".removeprefix(prefix)
        for module in MODULES
        for name in module.__all__
        if not name.startswith("__")
        and not inspect.ismodule(getattr(module, name))
    }
    # A class that is exported at the top is documented there.
    top = set(keras_c2kd.__all__)
    public = {n for n in public if "." not in n or n.split(".")[1] not in top}
    assert documented == public


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)
def test_every_public_object_has_a_docstring(module):
    for name in module.__all__:
        thing = getattr(module, name)
        if not inspect.isclass(thing) and not inspect.isfunction(thing):
            continue
        text = inspect.getdoc(thing)
        assert text and len(text) > 80, name
        if inspect.isfunction(thing) and inspect.signature(thing).parameters:
            assert "Args:" in text and "Returns:" in text, name


def test_every_loss_method_and_selection_names_its_source():
    for module in (
        keras_c2kd.losses,
        keras_c2kd.selection,
        keras_c2kd.methods,
    ):
        for name in set(module.__all__) - {
            "DistillationMethod",
            "RelationalLoss",
            "SampleSelection",
            "SearchChoice",
            "SearchRange",
            "Targets",
        }:
            assert "Reference:" in inspect.getdoc(getattr(module, name)), name
