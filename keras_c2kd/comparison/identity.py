"""What decides the outcome of a run, as plain values and short digests.

Where something stands does not count: no path of a module or a file is part
of an identity, so that code can be moved and folders can be renamed.
"""

import ast
import dataclasses
import hashlib
import inspect
import json
import textwrap
import types
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_c2kd.networks.graph import layers_within

# Raised by us when the same settings give other numbers than before.
RESULTS_VERSION = 2

_OWN_PACKAGES = ("keras_c2kd", "keras", "keras_hub", "builtins")
_PLACES = ("module", "registered_name", "build_config", "name")


def digest_of(*values: Any) -> str:
    """Return 16 hexadecimal digits that other values would not have."""
    text = json.dumps(values, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def plain(value: Any) -> Any:
    """Return settings as plain values that JSON can hold.

    Functions and classes of the user's become digests of their code; names
    that Keras numbers, and places in modules, are left out.
    """
    if isinstance(value, Mapping):
        return {
            str(key): plain(part)
            for key, part in value.items()
            if key not in _PLACES
        }
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return _digest_of_array(value)
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            field.name: plain(getattr(value, field.name))
            for field in dataclasses.fields(value)
        }
        return {**fields, **_code(type(value))}
    if isinstance(value, type) or callable(value):
        return code_digest(value)
    return repr(value)


def _code(kind: type) -> dict[str, str]:
    found = code_digest(kind)
    return {"code": found} if found else {}


def method_identity(method: keras.Layer) -> dict[str, Any]:
    """Return what a method is: its class, its arguments, its code.

    The code counts for classes that are not the package's own.
    """
    return {
        "class": type(method).__name__,
        **plain(method.get_config()),
        **_code(type(method)),
    }


def network_digest(network: keras.Model, other: keras.Model) -> str:
    """Return the digest of a network's architecture.

    Args:
        network: `keras.Model` that a builder returned.
        other: Another one that it returned, under another seed. Weights that
            are equal in both do not come from the seed: those of a preset, or
            constants, count by their values.
    """
    layers = [network, *layers_within(network)]
    code = sorted({c for layer in layers for c in _code(type(layer)).values()})
    weights = [
        [list(one.shape), str(one.dtype), _given_values(one, two)]
        for one, two in zip(network.weights, other.weights)
    ]
    return digest_of(_architecture(network), weights, code)


def _architecture(network: keras.Model) -> Any:
    try:
        return plain(network.get_config())
    except NotImplementedError:  # A model of one's own, known by its code.
        return type(network).__name__


def _given_values(one: Any, two: Any) -> str | None:
    values = keras.ops.convert_to_numpy(one)
    if not np.array_equal(values, keras.ops.convert_to_numpy(two)):
        return None
    return _digest_of_array(values)


def _digest_of_array(array: np.ndarray[Any, Any]) -> str:
    content = np.ascontiguousarray(array)
    digest = hashlib.sha256(f"{content.dtype}{content.shape}".encode())
    digest.update(content.tobytes())
    return digest.hexdigest()[:16]


def code_digest(value: Any) -> str:
    """Return a digest of the code of a user's class or function.

    Comments, blank lines and docstrings do not count. The package's own code,
    Keras' and KerasHub's gives `""`: `RESULTS_VERSION` and the versions of
    packages stand for it.

    Args:
        value: A class, with those that it derives from; a function, with what
            it closes over; or another callable, by its class.
    """
    if isinstance(value, type):
        own = [
            kind
            for kind in value.__mro__
            if (kind.__module__ or "").partition(".")[0] not in _OWN_PACKAGES
            and kind is not object
        ]
        return digest_of([_source(kind) for kind in own]) if own else ""
    if isinstance(value, types.FunctionType):
        if value.__module__.partition(".")[0] in _OWN_PACKAGES:
            return value.__qualname__
        return digest_of(_bytecode(value.__code__), _closure(value))
    if hasattr(value, "func") and hasattr(value, "args"):  # functools.partial
        return digest_of(
            plain(value.func), plain(value.args), plain(value.keywords)
        )
    return digest_of(
        type(value).__name__, code_digest(type(value)), repr_of(value)
    )


def repr_of(value: Any) -> Any:
    """Return the plain attributes of an object."""
    return plain(vars(value)) if hasattr(value, "__dict__") else ""


def _source(kind: type) -> str:
    """Return a class's code without what does not run."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    except (OSError, TypeError, SyntaxError):  # Typed into a shell.
        functions = {
            name: _bytecode(part.__code__)
            for name, part in sorted(vars(kind).items())
            if isinstance(part, types.FunctionType)
        }
        return json.dumps([kind.__name__, functions], default=repr)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            if isinstance(body[0].value, ast.Constant):
                body[0].value = ast.Constant("")
    return ast.dump(tree)


def _bytecode(code: types.CodeType) -> list[Any]:
    """Return what a function does: not where it stands."""
    constants = [
        _bytecode(part) if isinstance(part, types.CodeType) else repr(part)
        for part in code.co_consts
        if not isinstance(part, str) or part != code.co_consts[0]
    ]
    return [code.co_code.hex(), constants, list(code.co_names)]


def _closure(function: types.FunctionType) -> Any:
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    plain_cells = [
        cell
        for cell in cells
        if isinstance(cell, str | int | float | bool | tuple | list | dict)
    ]
    return [plain(plain_cells), plain(function.__defaults__)]


def differences(
    old: Mapping[str, Any], new: Mapping[str, Any], path: str = ""
) -> dict[str, tuple[Any, Any]]:
    """Return where two identities differ: from the path to both values.

    Example:
    >>> differences({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3}})
    {'b.c': (2, 3)}
    """
    found: dict[str, tuple[Any, Any]] = {}
    for key in dict.fromkeys([*old, *new]):
        where = f"{path}.{key}" if path else key
        one, two = old.get(key), new.get(key)
        if isinstance(one, Mapping) and isinstance(two, Mapping):
            found |= differences(one, two, where)
        elif one != two:
            found[where] = (one, two)
    return found
