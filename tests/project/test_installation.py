"""What a stranger installs: pins, source distribution, import, versions."""

import pathlib
import re
import subprocess
import sys
import tarfile
import tomllib

import keras
import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import keras_c2kd
from keras_c2kd.backend import keras_internals

pytestmark = [pytest.mark.backend_free, pytest.mark.slow]

ROOT = pathlib.Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONSTRAINTS = sorted(ROOT.glob("constraints*.txt"))


def pins(path):
    """The requirements of a file of constraints."""
    lines = path.read_text().splitlines()
    return [Requirement(line) for line in lines if not line.startswith("#")]


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("path", CONSTRAINTS, ids=lambda path: path.stem)
def test_constraints_are_versions_that_an_index_can_serve(path):
    for pin in pins(path):
        (one,) = pin.specifier
        assert one.operator == "==" and pin.url is None, pin
        # An index does not take uploads of a local version, `2.13.0+cpu`.
        assert Version(one.version).local is None, pin


def test_what_the_tests_need_is_pinned_as_the_project_allows():
    versions = {
        canonical(pin.name): next(iter(pin.specifier)).version
        for pin in pins(ROOT / "constraints.txt")
    }
    extras = PROJECT["optional-dependencies"]
    needed = [Requirement(word) for word in PROJECT["dependencies"]]
    wanted = ["dev"]
    while wanted:
        for word in extras[wanted.pop()]:
            requirement = Requirement(word)
            if requirement.name == PROJECT["name"]:
                wanted += requirement.extras
            else:
                needed.append(requirement)
    assert len(needed) > 20
    for requirement in needed:
        if requirement.marker is None or requirement.marker.evaluate(
            {"sys_platform": "linux"}
        ):
            version = versions[canonical(requirement.name)]
            assert requirement.specifier.contains(version), requirement


def test_the_source_distribution_has_what_its_tests_read(tmp_path):
    build = "import sys; from setuptools import build_meta as build; "
    build += "build.build_sdist(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (path,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(path) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    folders = ("docs", "keras_c2kd", "recipes", "tests")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    files += [*CONSTRAINTS, *ROOT.glob("*.md"), ROOT / "CITATION.cff"]
    files.append(ROOT / "mkdocs.yml")
    here = {
        path.relative_to(ROOT).as_posix()
        for path in files
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert len(here) > 300
    assert here <= names
    assert not [name for name in names if name.endswith(".pyc")]


def test_the_import_reads_no_module_of_data_sets():
    code = "import sys, keras_c2kd; print(*sys.modules); "
    code += "print(keras_c2kd.data.AudioReader.__name__)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    *_, modules, reader = done.stdout.splitlines()
    ours = {name.split(".")[1] for name in modules.split() if is_ours(name)}
    assert {"methods", "models", "ops"} <= ours
    assert not ours & {"analysis", "comparison", "data"}
    # It is imported when somebody asks for it.
    assert reader == "AudioReader"


def is_ours(name):
    return name.startswith("keras_c2kd.")


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="keras_c2kd.*'dta'"):
        keras_c2kd.dta


@pytest.mark.parametrize("version", ["3.15.0", "3.15.1", "3.16.0"])
def test_tested_versions_of_keras(monkeypatch, version, recwarn):
    monkeypatch.setattr(keras, "__version__", version)
    keras_internals.check_version()
    assert not recwarn


@pytest.mark.parametrize("version", ["3.14.2", "3.17.0rc1", "4.0.0"])
def test_other_versions_of_keras_are_named(monkeypatch, version):
    monkeypatch.setattr(keras, "__version__", version)
    told = rf"Keras 3\.15 and 3\.16\..*Received: Keras {re.escape(version)}"
    with pytest.warns(UserWarning, match=told):
        keras_internals.check_version()


def test_the_project_allows_the_tested_versions_of_keras():
    (keras_range,) = [
        requirement.specifier
        for requirement in map(Requirement, PROJECT["dependencies"])
        if requirement.name == "keras"
    ]
    minors = [f"3.{minor}" for minor in range(10, 30)] + ["4.0"]
    allowed = [minor for minor in minors if keras_range.contains(f"{minor}.1")]
    assert allowed == [*keras_internals.TESTED_KERAS]
