"""Configurations of C2KD and what they mean, for the tests of its losses."""

import dataclasses
from collections.abc import Callable

import numpy as np

from keras_c2kd import C2KD
from keras_c2kd.selection import CosineSelection
from keras_c2kd.selection import KendallSelection
from keras_c2kd.selection import SelectAll
from tests.helpers import references


@dataclasses.dataclass(frozen=True)
class Case:
    """One configuration and its reference.

    Attributes:
        create: Returns the method.
        options: Keyword arguments of `references.c2kd_terms`.
        score: Reference of the score of (teacher, student) logits.
        on: `"proxy"` or `"main"`, which logits are scored.
    """

    create: Callable
    options: dict = dataclasses.field(default_factory=dict)
    score: Callable = references.kendall
    on: str = "proxy"

    def scored(self, heads):
        """The teacher's and the student's logits that are scored."""
        suffix = "_proxy" if self.on == "proxy" else ""
        return heads[f"teacher{suffix}"], heads[f"student{suffix}"]

    def selected(self, heads):
        """Who is selected, as booleans."""
        return self.score(*self.scored(heads)) > 0.0

    def terms(
        self, learning, labels, teaching=None, selected=None, weights=1.0
    ):
        """The reference of the terms; see `references.c2kd_terms`."""
        teaching = learning if teaching is None else teaching
        if selected is None:
            selected = self.selected(teaching)
        return references.c2kd_terms(
            learning, teaching, labels, selected, weights, **self.options
        )


def everyone(teacher, student):
    """A score above 0 for every row."""
    return np.ones(teacher.shape[:-1])


def all_classes(logits, labels):
    """Leaves the target in."""
    return logits


FIXED = {"teacher_trains": False}
ONE_WAY = {"teacher_trains": False, "bidirectional": False}
BARE = {"proxies": False}
ALL = {"rest": all_classes}

CASES = {
    "default": Case(C2KD),
    "top": Case(lambda: C2KD(teacher_update="top")),
    "main": Case(
        lambda: C2KD(selection=KendallSelection(on="main")), on="main"
    ),
    "tau_b": Case(
        lambda: C2KD(selection=KendallSelection(variant="b")),
        score=references.kendall_b,
    ),
    "selected": Case(
        lambda: C2KD(selection=KendallSelection(mean_over="selected")),
        {"over_selected": True},
    ),
    "everyone": Case(lambda: C2KD(selection=SelectAll()), score=everyone),
    "cosine": Case(
        lambda: C2KD(selection=CosineSelection()), score=references.cosine
    ),
    "zeroed": Case(
        lambda: C2KD(zero_target_logit=True),
        {"rest": references.with_zeroed_target},
    ),
    "all_classes": Case(lambda: C2KD(non_target=False), ALL),
    "fixed_teacher": Case(lambda: C2KD(teacher_update="none"), FIXED),
    "one_way": Case(lambda: C2KD(bidirectional=False), ONE_WAY),
    "no_proxies": Case(lambda: C2KD(proxies=False), BARE, on="main"),
    "no_proxies_fixed_teacher": Case(
        lambda: C2KD(proxies=False, teacher_update="none"),
        BARE | FIXED,
        on="main",
    ),
    "plain": Case(
        lambda: C2KD(
            proxies=False,
            selection=SelectAll(),
            non_target=False,
            bidirectional=False,
        ),
        BARE | ONE_WAY | ALL,
        score=everyone,
        on="main",
    ),
}
