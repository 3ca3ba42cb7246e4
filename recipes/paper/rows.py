"""The rows of the paper's tables: methods and their variants, by name.

Besides the methods of `keras_c2kd.comparison`, and but for KD, all have the
package's default weights.
"""

import dataclasses
import math

import keras

from keras_c2kd import losses
from keras_c2kd import methods
from keras_c2kd import selection
from keras_c2kd.comparison import METHODS
from keras_c2kd.comparison import Candidate
from keras_c2kd.comparison.candidates import BASELINE
from keras_c2kd.comparison.candidates import BOTH
from keras_c2kd.comparison.candidates import OTHER
from keras_c2kd.comparison.candidates import OWN

__all__ = ["BASELINE", "ROWS", "SELECTIONS", "cell_of", "row"]


def _kd(choice=None):
    """Return Eq. 1 with `lambda` = 1, as the paper leaves it open."""
    return methods.KnowledgeDistillation(4.0, 1.0, 1.0, selection=choice)


def _nckd(choice=None):
    return methods.DKD(0.0, 1.0, selection=choice)


def _random(run):
    return selection.RandomSelection(seed=run.seed)


def _c2kd(divergence=None, **switches):
    """Return the row of C2KD with some of its modules switched off."""
    return Candidate(
        lambda run: methods.C2KD(
            divergence=divergence and divergence(),
            **{
                name: value() if isinstance(value, type) else value
                for name, value in switches.items()
            },
        )
    )


# Bidirectional distillation alone, Table 5 (b).
_BIDIRECTIONAL = {
    "proxies": False,
    "selection": selection.SelectAll,
    "non_target": False,
}

ROWS = {
    **METHODS,
    "kd": Candidate(lambda run: _kd()),
    # Table 3: of the teacher, its top alone learns.
    "c2kd-top": _c2kd(teacher_update="top"),
    # Table 2.
    "kd+krc": Candidate(lambda run: _kd(selection.KendallSelection())),
    "kd+random": Candidate(lambda run: _kd(_random(run))),
    "tckd": Candidate(lambda run: methods.DKD(non_target_weight=0.0)),
    "nckd": Candidate(lambda run: _nckd()),
    "nckd+krc": Candidate(lambda run: _nckd(selection.KendallSelection())),
    "nckd+random": Candidate(lambda run: _nckd(_random(run))),
    # Table 4 and Fig. 5, between DIST or NKD itself and C2KD with its loss.
    "c2kd-b+dist": _c2kd(losses.DISTLoss, **_BIDIRECTIONAL),
    "c2kd-c+dist": _c2kd(losses.DISTLoss, proxies=False),
    "c2kd+dist": _c2kd(losses.DISTLoss),
    "c2kd-b+nkd": _c2kd(losses.NKDLoss, **_BIDIRECTIONAL),
    "c2kd-c+nkd": _c2kd(losses.NKDLoss, proxies=False),
    "c2kd+nkd": _c2kd(losses.NKDLoss),
    # Table 5: (a), (b), non-target classes alone, selection alone, (c).
    "c2kd-a": _c2kd(**_BIDIRECTIONAL, bidirectional=False),
    "c2kd-b": _c2kd(**_BIDIRECTIONAL),
    "c2kd-nt": _c2kd(proxies=False, selection=selection.SelectAll),
    "c2kd-ofs": _c2kd(proxies=False, non_target=False),
    "c2kd-c": _c2kd(proxies=False),
}

# Fig. 4: what a row's selection can be replaced by, `<row>@<name>=<threshold>`.
SELECTIONS = {
    "kendall": selection.KendallSelection,
    "cosine": selection.CosineSelection,
    "pearson": selection.PearsonSelection,
    "gradcos": selection.GradientCosineSelection,
}


def row(name):
    """Return a row by its name, or a row with another selection.

    `c2kd@cosine=0.2` is the row `c2kd` with `CosineSelection(threshold=0.2)`,
    and `c2kd@all` the same with `SelectAll()`, for every row whose method has
    a selection. A threshold has its shortest form: each run has one name.
    """
    base, at, choice = name.partition("@")
    if base not in ROWS:
        raise ValueError(f"The rows are {tuple(ROWS)}. Received: {name!r}")
    found = ROWS[base]
    if not at:
        return found
    new_selection = _selection(name, choice)

    def build(run):
        method = found.build(run)
        if not hasattr(method, "selection"):
            raise ValueError(
                f"{name!r} replaces the selection of a method, and "
                f"{type(method).__name__} has none."
            )
        chosen = new_selection(on=method.selection.on)
        chosen = keras.saving.serialize_keras_object(chosen)
        config = {**method.get_config(), "selection": chosen}
        return type(method).from_config(config)

    return dataclasses.replace(found, method=build)


def _selection(name, choice):
    """Return a function from `on` to the selection that a name asks for."""
    if choice == "all":
        return selection.SelectAll
    kind, _, text = choice.partition("=")
    try:
        threshold = float(text)
    except ValueError:
        threshold = math.nan
    # Adding 0 makes minus 0 plain 0.
    is_shortest = math.isfinite(threshold) and text == f"{threshold + 0.0:g}"
    if kind not in SELECTIONS or not is_shortest:
        raise ValueError(
            f"A selection is `all` or <name>=<threshold>, one of "
            f"{tuple(SELECTIONS)} and a number in its shortest form, such as "
            f"c2kd@cosine=0.2. Received: {name!r}"
        )
    return lambda on: SELECTIONS[kind](threshold=threshold, on=on)


def cell_of(method, student, own, teacher, taught_by):
    """Return what a record says of its cell of a table (`CELL`)."""
    taught = {
        None: (None, None),
        OWN: (student, own),
        OTHER: (teacher, taught_by),
        BOTH: (BOTH, taught_by),
    }[row(method).teacher]
    return student, own, *taught, method
