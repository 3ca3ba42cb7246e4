"""Rows with a selection of their own."""

import pytest

from keras_c2kd.comparison import METHODS
from keras_c2kd.comparison import RunContext
from keras_c2kd.comparison.identity import plain
from keras_c2kd.comparison.records import load_records
from keras_c2kd.selection import CosineSelection
from keras_c2kd.selection import GradientCosineSelection
from keras_c2kd.selection import KendallSelection
from keras_c2kd.selection import PearsonSelection
from keras_c2kd.selection import SelectAll
from tests.recipes.paper.loading import RESULTS
from tests.recipes.paper.loading import load

rows = load("rows")

CONTEXT = RunContext("visual", 3, 8, 20, ("stage_1", "stage_2"))


def built(name):
    return rows.row(name).build(CONTEXT)


def settings(method):
    """The configuration without the selection and the name."""
    config = method.get_config()
    return {k: v for k, v in config.items() if k not in ("selection", "name")}


def test_a_plain_name_is_the_row_itself():
    for name, row in rows.ROWS.items():
        assert rows.row(name) is row


def test_only_kd_differs_from_the_comparison_s():
    others = {name for name in METHODS if rows.ROWS[name] is not METHODS[name]}
    assert others == {"kd"}
    config = built("kd").get_config()
    assert config["temperature"] == 4.0
    assert config["supervised_weight"] == config["distillation_weight"] == 1.0


@pytest.mark.parametrize(
    ("method", "taught"),
    [
        ("alone", (None, None)),
        ("dlb", (None, None)),
        ("kd", ("audio", "other")),
        ("c2kd@cosine=0.2", ("audio", "other")),
        ("film", ("both", "other")),
        ("self_training", ("visual", "own")),
    ],
)
def test_cells_have_the_teacher_that_a_row_needs(method, taught):
    cell = rows.cell_of(method, "visual", "own", "audio", "other")
    assert cell == ("visual", "own", *taught, method)


# What arguments a method has beyond those of records of the first versions.
LATER = {"variant", "mean_over", "unbiased_bounds"}
LATER |= {"pointwise_negative_slope", "shadow_channels", "modulation"}


@pytest.mark.parametrize("recipe", ["av_digits", "rgbd_scenes"])
def test_a_row_is_what_the_committed_records_trained(recipe):
    stored = {}
    for record in load_records(RESULTS / recipe):
        stored[record["settings"]["method"]] = record["settings"]
    assert len(stored) > 5
    for name, settings in stored.items():
        config = settings["method_config"]
        context = RunContext(
            student=settings["student"],
            seed=settings["seed"],
            batch_size=settings["batch_size"],
            warmup_steps=config.get("warmup_steps", 0),
            stages=("stage",) * (config.get("levels", 5) - 1),
        )
        now = plain(rows.row(name).build(context).get_config())
        parts = ("selection", "divergence", "modulation")
        assert now.keys() - config.keys() <= {*LATER, "dtype"}, name
        for key in config.keys() & now.keys() - set(parts):
            assert now[key] == config[key], (name, key)
        for key in config.keys() & set(parts):
            one, other = now[key], config[key]
            if other is None:
                assert one is None
                continue
            assert one["class_name"].startswith(other["class_name"]), name
            for part in ("threshold", "on", "seed", "temperature"):
                if part in one["config"]:
                    assert one["config"][part] == other["config"][part], name


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
        rows.row(name)


@pytest.mark.parametrize("name", ["c2dk", "c2dk@all", ""])
def test_unknown_rows_are_refused(name):
    with pytest.raises(ValueError, match=f"Received: {name!r}"):
        rows.row(name)


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
