"""Records with unlike settings never stand in one table."""

import pytest

from keras_c2kd.comparison import PaperTraining
from keras_c2kd.comparison import Recipe
from tests.recipes.paper.loading import load
from tests.recipes.paper.made_records import made_record

pytestmark = pytest.mark.backend_free

reproduction = load("reproduction")
RECIPE = Recipe(
    name="toy",
    settings=PaperTraining(epochs=9),
    load=None,
    networks={"visual": {"small": None}, "audio": {"small": None}},
)
CELLS = set(
    reproduction.Wanted(
        *("toy", "visual", "small", "audio", "small"), ("alone", "kd", "dkd")
    ).cells()
)


def record(method="kd", seed=0, **changes):
    return made_record(RECIPE, method, "visual", seed, 0.5, **changes)


def choose(records, wanted=None, **kwargs):
    return reproduction.choose_records(
        records, CELLS, wanted or {}, where="toys", **kwargs
    )


def test_all_seeds_of_the_wanted_cells():
    records = [record(seed=seed) for seed in range(3)]
    records += [record("alone", 4), record("c2kd")]
    other = made_record(RECIPE, "kd", "audio", 0, 0.5)
    assert choose([*records, other]) == records[:4]
    assert choose(records, seeds=2) == records[:2]
    assert choose([]) == []


@pytest.mark.parametrize(
    ("change", "listed"),
    [
        ({"epochs": 3}, ["epochs=3: 1 run", "epochs=9: 2 runs"]),
        ({"backend": "torch"}, ["backend=jax: 2 runs", "backend=torch: 1 run"]),
        ({"batch_size": 8, "protocol": "best_validation"}, [
            "batch_size=64, protocol=last: 2 runs",
            "batch_size=8, protocol=best_validation: 1 run",
        ]),
        ({"data": "fewer clips"}, ["data=data: 2 runs"]),
        # A setting that only some have.
        ({"new": 1}, ["new=1.0: 1 run", "new=None: 2 runs"]),
    ],
)  # fmt: skip
def test_unlike_settings_are_listed_and_can_be_chosen(change, listed):
    records = [record(), record(seed=1), record(seed=2, **change)]
    message = "toys of one table have the same settings"
    with pytest.raises(ValueError, match=message) as error:
        choose(records)
    for line in listed:
        assert f"\n  {line}" in str(error.value)
    assert "--set <name>=<value>" in str(error.value)
    assert choose(records, change) == records[2:]


def test_a_setting_that_no_record_has_leaves_none():
    assert choose([record()], {"epochs": 4}) == []


def test_what_is_not_wanted_may_differ():
    records = [record(), record("c2kd", epochs=1)]
    assert choose(records) == records[:1]


def test_settings_of_the_method_but_for_the_seed_are_alike():
    config = {"class": "kd", "temperature": 2.0, "selection": {"seed": 1}}
    records = [record(), record("dkd"), record(seed=1, method_config=config)]
    with pytest.raises(ValueError, match=r"kd \(visual student\)") as error:
        choose(records)
    assert "method_config.temperature=2.0: 1 run" in str(error.value)
    assert "seed" not in str(error.value).split("Received")[1]
    with pytest.raises(ValueError, match="student_features=stage_1"):
        choose([record(), record(seed=1, student_features="stage_1")])


def test_data_may_depend_on_the_seed_and_on_nothing_else():
    records = [record(data="a"), record(seed=1, data="b")]
    assert choose(records, data_depend_on_seed=True) == records
    with pytest.raises(ValueError, match="data=a: 1 run"):
        choose(records)
    records.append(record("dkd", seed=1, data="c"))
    with pytest.raises(ValueError, match="seed 1 are of the same") as error:
        choose(records, data_depend_on_seed=True)
    assert "\n  data=b: 1 run\n  data=c: 1 run" in str(error.value)


def test_one_record_a_cell_and_seed():
    with pytest.raises(ValueError, match="two of kd .*seed 0"):
        choose([record(), record()])


def test_records_that_do_not_tell_their_cell_are_left_out():
    older = record()
    del older["settings"]["student_network"]
    assert choose([older]) == []


def test_a_record_keeps_the_curves_that_figures_use():
    made = record()
    made["history"] |= {"cross_modal": [1.0], "loss": [1.23456789, None]}
    assert reproduction.compact(made)["history"] == {
        "val_accuracy": [0.25, 0.5],
        "rank_distorted_share": [0.5, 0.25],
        "loss": [1.2346, None],
    }
