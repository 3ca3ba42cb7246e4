"""Private parts of Keras stand in one file, each with what tells if it goes."""

import ast
import functools
import importlib
import inspect
import pathlib
import pkgutil
import re

import keras
import pytest

import keras_c2kd
from keras_c2kd.backend import keras_internals

pytestmark = pytest.mark.backend_free

PACKAGE = pathlib.Path(keras_c2kd.__file__).parent
ALLOWED = pathlib.Path(keras_internals.__file__)
FILES = sorted(
    path for path in PACKAGE.rglob("*.py") if not path.samefile(ALLOWED)
)


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def attributes(tree):
    """The names of private attributes, methods and their strings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            yield node.attr, node.value
        elif isinstance(node, ast.FunctionDef) and is_private(node.name):
            yield node.name, None


@functools.cache
def private_of(kind):
    """What a class of Keras keeps private, in itself and in its instances."""
    found = re.findall(r"(?:self\.|def )(_[a-z]\w*)", inspect.getsource(kind))
    return {name for name in found if is_private(name)}


def test_nothing_is_imported_from_inside_of_keras():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            modules = []
            if isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            elif isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.Attribute):
                modules = [ast.unparse(node)]
            for module in modules:
                assert not re.match(r"keras(_hub)?\.src\b", module), path


def test_no_private_attribute_of_what_keras_made():
    """`layer._layers`, `getattr(loss, "_fn_kwargs")`, `model._flatten()`."""
    kinds = [keras.Model, keras.Sequential, keras.Layer, keras.KerasTensor]
    kinds += [keras.Variable, keras.losses.Loss, keras.metrics.Metric]
    kinds += [keras.optimizers.Optimizer, keras.callbacks.Callback]
    kinds += [keras.layers.BatchNormalization, keras.utils.PyDataset]
    kinds += [keras.random.SeedGenerator, keras.losses.MeanSquaredError]
    kinds += [keras.metrics.MeanMetricWrapper]
    names = {"_keras_history", "_keras_mask", "_distributed_dataset"}
    names.add("_use_cached_eval_dataset")
    for kind in kinds:
        for base in kind.__mro__:
            if base.__module__.startswith("keras."):
                names |= private_of(base)
    assert {"_layers", "_inbound_nodes", "_fn_kwargs", "_value"} <= names
    for path in FILES:
        tree = ast.parse(path.read_text())
        for name, owner in attributes(tree):
            # What a class calls its own is for the next test.
            own = owner is None or ast.unparse(owner) in ("self", "cls")
            own = own or ast.unparse(owner).startswith("super(")
            assert own or name not in names, (path, name)
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert node.value not in names, (path, node.value)


def classes():
    """All classes of the package that derive from one of Keras."""
    # Those that need packages which may not be there derive from none.
    skipped = ("tensorflow", "torch", "jax", "tensorflow_io")
    for module in pkgutil.walk_packages(
        keras_c2kd.__path__, f"{keras_c2kd.__name__}."
    ):
        if module.name.split(".")[-1].startswith(skipped):
            continue
        found = vars(importlib.import_module(module.name)).values()
        for kind in found:
            if inspect.isclass(kind) and kind.__module__ == module.name:
                if any(b.__module__.startswith("keras.") for b in kind.__mro__):
                    yield kind


def test_no_class_overrides_or_reads_what_its_base_in_keras_keeps_private():
    kinds = [k for k in classes() if k.__module__ != keras_internals.__name__]
    assert len(kinds) > 50 and keras_c2kd.CrossModalDistiller in kinds
    for kind in kinds:
        names = set()
        for base in kind.__mro__:
            if base.__module__.startswith("keras."):
                names |= private_of(base)
        tree = ast.parse(inspect.cleandoc("\n" + inspect.getsource(kind)))
        for name, owner in attributes(tree):
            if owner is None or ast.unparse(owner) in ("self", "super()"):
                assert name not in names, (kind, name)


def test_each_part_names_the_test_that_tells_if_it_goes():
    text = ALLOWED.read_text()
    named = re.findall(r"tests/[\w/]+(?:\.py)?", text)
    assert len(named) > 20
    for name in named:
        assert (PACKAGE.parent / name).exists(), name
    parts = ast.parse(text).body
    for part in parts:
        if not isinstance(part, ast.FunctionDef | ast.ClassDef):
            continue
        body = ast.unparse(part)
        if part.name == "check_version":
            continue
        assert "Public:" in body or "Public, " in body, part.name
        assert "Test:" in body, part.name
