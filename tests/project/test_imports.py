"""Imports point one way, and few files know a framework."""

import ast
import pathlib

import pytest

import keras_c2kd

pytestmark = pytest.mark.backend_free

PACKAGE = pathlib.Path(keras_c2kd.__file__).parent
INTERNALS = "backend.keras_internals"
# Which rooms a room may import. `INTERNALS` names what is private in Keras and
# imports nothing of the package: it stands at the bottom, beside `utils`.
MAY_IMPORT = {
    "utils": set(),
    "typing": set(),
    INTERNALS: set(),
    "ops": {"utils"},
    "losses": {"ops", "utils"},
    "layers": {INTERNALS, "ops", "utils"},
    "selection": {"ops", "utils"},
    "networks": {INTERNALS, "utils"},
    "methods": {"layers", "losses", "networks", "ops", "selection", "utils"},
    "models": {"layers", "ops", "utils"},
    "data": {"utils"},
    "backend": {INTERNALS, "layers", "ops", "utils"},
    "distiller": {
        *(INTERNALS, "backend", "losses", "methods", "networks", "ops"),
        "utils",
    },
    "export": {"networks", "utils"},
    "analysis": {"distiller", "losses", "networks", "ops", "utils"},
}
for room in MAY_IMPORT:
    MAY_IMPORT[room] |= {"typing"} - {room}
# They use everything below, and nothing below uses them.
ABOVE = ("comparison", "__init__")
FRAMEWORKS = {"jax", "tensorflow", "torch", "flax", "ai_edge_litert"}
# Readers and exporters that import one when they are called.
LAZY = {
    "data/tensorflow_io.py",
    "distiller/batch_sources.py",
    "export.py",
}


def module_name(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__") or "__init__"


MODULES = {module_name(path): path for path in PACKAGE.rglob("*.py")}


def room_of(module):
    if module == INTERNALS:
        return INTERNALS
    return module.partition(".")[0]


def imports_of(path):
    """Yield names of imported modules, and whether that is at the top."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        is_at_top = node in tree.body
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, is_at_top
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                is_module = name.removeprefix("keras_c2kd.") in MODULES
                yield (name if is_module else node.module), is_at_top


def own_imports(module):
    """The modules of the package that one of them imports."""
    for name, _ in imports_of(MODULES[module]):
        if name.partition(".")[0] == "keras_c2kd":
            yield name.removeprefix("keras_c2kd").lstrip(".") or "__init__"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_point_one_way(module):
    room = room_of(module)
    if room in (*ABOVE, "version"):
        return
    allowed = MAY_IMPORT[room] | {room, "version"}
    for other in own_imports(module):
        assert room_of(other) in allowed, f"{module} imports {other}"


def test_no_circles():
    done, open_ones = set(), []

    def visit(module):
        if module in open_ones:
            circle = [*open_ones[open_ones.index(module) :], module]
            pytest.fail(f"a circle of imports: {' -> '.join(circle)}")
        if module in done:
            return
        open_ones.append(module)
        for other in sorted(set(own_imports(module)) - {module}):
            visit(other)
        done.add(open_ones.pop())

    for module in sorted(MODULES):
        visit(module)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_few_files_know_a_framework(module):
    path = MODULES[module]
    if room_of(module) == "backend":
        return
    for name, is_at_top in imports_of(path):
        if name.partition(".")[0] in FRAMEWORKS:
            where = path.relative_to(PACKAGE).as_posix()
            assert where in LAZY and not is_at_top, f"{where} imports {name}"
