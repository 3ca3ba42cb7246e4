"""The optional reader where its packages are not; tests/tensorflow_io has the
tests for its own environment."""

import importlib
import pathlib
import re
import sys
import types

import pytest

import keras_c2kd

pytestmark = pytest.mark.backend_free

MODULE = "keras_c2kd.data.tensorflow_io"
ADVICE = r'an environment of its own.*pip install "keras_c2kd\[tensorflow-io\]"'


def test_the_error_names_the_extra(monkeypatch):
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    found = types.SimpleNamespace(__version__="2.17.1")
    monkeypatch.setitem(sys.modules, "tensorflow", found)
    monkeypatch.setitem(sys.modules, "tensorflow_io", None)
    with pytest.raises(ImportError, match=f"needs.*tensorflow-io.*{ADVICE}"):
        importlib.import_module(MODULE)


@pytest.mark.parametrize("version", ["2.15.1", "2.18.0", "2.21.0", "3.16.0"])
def test_the_error_names_the_versions(monkeypatch, version):
    """Other versions import, and fail when a file is read."""
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    found = types.SimpleNamespace(__version__=version)
    monkeypatch.setitem(sys.modules, "tensorflow", found)
    monkeypatch.setitem(sys.modules, "tensorflow_io", types.SimpleNamespace())
    message = f"2.16 and 2.17. Received: {version}.*{ADVICE}"
    with pytest.raises(ImportError, match=message):
        importlib.import_module(MODULE)


def test_nothing_else_imports_it():
    package = pathlib.Path(keras_c2kd.__file__).parent
    for path in package.rglob("*.py"):
        if path.name != "tensorflow_io.py":
            imports = re.findall(
                r"^(?:import|from) .*tensorflow_io.*$",
                path.read_text(),
                re.MULTILINE,
            )
            assert not imports, path
