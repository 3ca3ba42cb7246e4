"""Records with unlike settings never stand in one table."""

import pytest

from keras_c2kd.experiments import Recipe
from keras_c2kd.experiments import Training
from keras_c2kd.experiments import plan_runs
from keras_c2kd.experiments.record_choice import choose_records
from keras_c2kd.experiments.record_choice import is_complete
from tests.experiments.made_records import made_record

pytestmark = pytest.mark.backend_free

RECIPE = Recipe(
    name="toy",
    settings=Training(epochs=9),
    load=None,
    networks={"visual": {"small": None}, "audio": {"small": None}},
)
PLAN = plan_runs(RECIPE, ["kd", "dkd"], ["visual"], [0])


def record(method="kd", seed=0, **changes):
    return made_record(RECIPE, method, "visual", seed, 0.5, **changes)


def choose(records, wanted=None, **kwargs):
    return choose_records(records, PLAN, wanted or {}, where="toys", **kwargs)


def test_all_seeds_of_the_wanted_cells():
    records = [record(seed=seed) for seed in range(3)]
    records += [record("without-kd", 4), record("c2kd")]
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
        # Records of earlier versions do not tell that it was each step.
        ({"learning_rate_per": "epoch"}, [
            "learning_rate_per=epoch: 1 run", "learning_rate_per=step: 2 runs",
        ]),
        ({"data": "fewer clips"}, ["data=data: 2 runs"]),
        # A setting that only some have.
        ({"new": 1}, ["new=1: 1 run", "new=None: 2 runs"]),
    ],
)  # fmt: skip
def test_unlike_settings_are_listed_and_can_be_chosen(change, listed):
    records = [record(), record(seed=1), record(seed=2, **change)]
    with pytest.raises(ValueError, match="toys.*the same settings") as error:
        choose(records)
    for line in listed:
        assert f"\n  {line}" in str(error.value)
    assert "epochs=9" in str(error.value) or "epochs" not in change
    assert choose(records, change) == records[2:]


def test_what_records_leave_out_can_be_chosen():
    records = [record(), record(seed=1, learning_rate_per="epoch")]
    assert choose(records, {"learning_rate_per": "step"}) == records[:1]


def test_a_setting_that_no_record_has_leaves_none():
    assert choose([record()], {"epochs": 4}) == []


def test_what_is_not_wanted_may_differ():
    records = [record(), record("c2kd", epochs=1)]
    assert choose(records) == records[:1]


def test_settings_of_the_method_but_for_the_seed_are_alike():
    config = {"name": "kd", "temperature": 2.0, "selection": {"seed": 1}}
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
    with pytest.raises(ValueError, match="seed 1 with the data 'b' and 'c'"):
        choose(records, data_depend_on_seed=True)


def test_one_record_a_cell_and_seed():
    with pytest.raises(ValueError, match="two of kd .*seed 0"):
        choose([record(), record()])


def test_records_of_an_older_version_are_left_out():
    older = record()
    del older["settings"]["student_network"]
    assert not is_complete(older)
    assert choose([older]) == []
