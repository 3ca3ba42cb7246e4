"""Rows with a selection of their own."""

import pytest

from keras_c2kd.experiments import METHOD_ROWS
from keras_c2kd.experiments import RunContext
from keras_c2kd.experiments.method_rows import method_row
from keras_c2kd.selection import CosineSelection
from keras_c2kd.selection import GradientCosineSelection
from keras_c2kd.selection import KendallSelection
from keras_c2kd.selection import PearsonSelection
from keras_c2kd.selection import SelectAll

CONTEXT = RunContext("visual", 3, 8, 20, ("stage_1", "stage_2"))


def built(name):
    return method_row(name).build(CONTEXT)


def settings(method):
    """The configuration without the selection and the name."""
    config = method.get_config()
    return {k: v for k, v in config.items() if k not in ("selection", "name")}


def test_a_plain_name_is_the_row_itself():
    for name, row in METHOD_ROWS.items():
        assert method_row(name) is row


@pytest.mark.parametrize(
    ("name", "kind", "threshold"),
    [
        ("c2kd@kendall=-0.4", KendallSelection, -0.4),
        ("c2kd@cosine=0.2", CosineSelection, 0.2),
        ("c2kd@pearson=0", PearsonSelection, 0.0),
        ("c2kd@gradcos=0.6", GradientCosineSelection, 0.6),
        ("c2kd@all", SelectAll, 0.0),
        ("kd@cosine=0.2", CosineSelection, 0.2),
        ("c2kd-c+dist@pearson=0.1", PearsonSelection, 0.1),
    ],
)
def test_another_selection_and_nothing_else(name, kind, threshold):
    method, base = built(name), built(name.partition("@")[0])
    assert type(method) is type(base)
    assert type(method.selection) is kind
    assert method.selection.threshold == threshold
    assert method.selection.on == base.selection.on
    assert settings(method) == settings(base)
    assert built(name).selection is not method.selection


@pytest.mark.parametrize(
    "name",
    [
        "c2kd@", "c2kd@cosine", "c2kd@cosine=", "c2kd@cosine=x",
        "c2kd@cosine=nan", "c2kd@cosine=inf", "c2kd@kendal=0.1",
        # Each run has one name.
        "c2kd@cosine=0.20", "c2kd@cosine=-0", "c2kd@cosine=0.0",
        "c2kd@cosine= 0.2", "c2kd@all=0", "c2kd@all@all",
    ],
)  # fmt: skip
def test_bad_selections_are_refused(name):
    with pytest.raises(ValueError, match="in its shortest form"):
        method_row(name)


@pytest.mark.parametrize("name", ["c2dk", "c2dk@all", ""])
def test_unknown_rows_are_refused(name):
    with pytest.raises(ValueError, match=f"Received: {name!r}"):
        method_row(name)


def test_a_method_without_a_selection_is_refused():
    with pytest.raises(ValueError, match="'dlb@all'.*DLB has none"):
        built("dlb@all")


def test_the_steps_of_figure_5():
    for loss in ("DIST", "NKD"):
        kinds = [built(f"{row}+{loss.lower()}") for row in
                 ("c2kd-b", "c2kd-c", "c2kd")]  # fmt: skip
        for method in kinds:
            assert type(method.divergence).__name__ == f"{loss}Loss"
            assert method.bidirectional
        assert [method.proxies for method in kinds] == [False, False, True]
        assert [method.non_target for method in kinds] == [False, True, True]
        assert [type(method.selection) for method in kinds] == [
            SelectAll, KendallSelection, KendallSelection,
        ]  # fmt: skip
