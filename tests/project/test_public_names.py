import inspect
import pathlib
import re

import pytest

import keras_c2kd

pytestmark = pytest.mark.backend_free

# Their names stay.
STABLE = [
    keras_c2kd,
    keras_c2kd.layers,
    keras_c2kd.losses,
    keras_c2kd.methods,
    keras_c2kd.models,
    keras_c2kd.ops,
    keras_c2kd.selection,
]
MODULES = [
    *STABLE,
    keras_c2kd.analysis,
    keras_c2kd.comparison,
    keras_c2kd.data,
]
API = pathlib.Path(__file__).parents[2] / "docs" / "api"


def test_the_manual_lists_the_public_names():
    text = (API / "index.md").read_text()
    section = text.split("## Names that stay")[1].split("\n## ")[0]
    first_columns = re.findall(r"^\| (`.+?) \|", section, re.MULTILINE)
    documented = set(re.findall(r"`([\w.]+)`", " ".join(first_columns)))
    prefix = "keras_c2kd."
    public = {
        f"{module.__name__}.{name}".removeprefix(prefix)
        for module in STABLE
        for name in module.__all__
        if not name.startswith("__")
        and not inspect.ismodule(getattr(module, name))
    }
    # A class that is exported at the top is documented there.
    top = set(keras_c2kd.__all__)
    public = {n for n in public if "." not in n or n.split(".")[1] not in top}
    assert documented == public


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)
def test_every_public_name_is_on_its_page(module):
    page = module.__name__.rpartition("keras_c2kd.")[2]
    if module is keras_c2kd:  # The others are on the pages of their rooms.
        names = {"CrossModalDistiller", "ProfileSteps", "distribute"}
        page = "root"
    else:
        names = set(module.__all__)
    text = (API / f"{page}.md").read_text()
    shown = re.findall(r"^::: (\S+)$", text, re.MULTILINE)
    assert sorted(shown) == sorted(f"{module.__name__}.{n}" for n in names)


@pytest.mark.parametrize("module", STABLE, ids=lambda m: m.__name__)
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
