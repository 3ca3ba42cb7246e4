"""The pages of the manual as tests read and run them."""

import dataclasses
import pathlib
import re

import keras_c2kd

ROOT = pathlib.Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def blocks(page):
    """Return the Python blocks of a page."""
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)


def run_blocks(page, names=None, replaced=()):
    """Run all Python blocks of a page one after the other; return the names.

    Args:
        page: Path of the page.
        names: Dict of the names that are there before.
        replaced: Pairs of texts, such as a path of the user's and one of ours.
    """
    names = {"__name__": page.stem} if names is None else names
    for code in blocks(page):
        for old, new in replaced:
            code = code.replace(old, str(new))
        exec(compile(code, name_of(page), "exec"), names)
    return names


def shorten_comparisons(monkeypatch):
    """Let `keras_c2kd.compare` train one epoch of one seed."""
    compare = keras_c2kd.compare

    def short(*args, **kwargs):
        training = kwargs.pop("training", None) or keras_c2kd.Training()
        training = dataclasses.replace(training, epochs=1, steps=0)
        return compare(*args, **{**kwargs, "seeds": 1, "training": training})

    monkeypatch.setattr(keras_c2kd, "compare", short, raising=False)
