"""The paper's scripts as modules; they are no package."""

import importlib
import sys

from tests.recipes.loading import ROOT

PAPER = ROOT / "recipes" / "paper"
RESULTS = ROOT / "recipes" / "results"


def load(name):
    """Import a module of `recipes/paper`, as its scripts do."""
    if str(PAPER) not in sys.path:
        sys.path.insert(0, str(PAPER))
    return importlib.import_module(name)


def recipe_of(name):
    """Return a recipe as the paper's scripts see it."""
    options = load("reproduction").parser("").parse_args([])
    return load("reproduction").Reproduction(options).recipe(name)
