"""The recipes as modules; they are no package."""

import importlib.util
import pathlib
import sys

ROOT = pathlib.Path(__file__).parents[2]


def load_recipe(name):
    path = ROOT / "recipes" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"recipe_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    # Where dataclasses look for the module of their class.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
