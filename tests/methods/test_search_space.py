"""What each method declares of its arguments for a tuning."""

import math

import pytest

from keras_c2kd.methods import C2KD
from keras_c2kd.methods import DistillationMethod
from keras_c2kd.methods import SearchChoice
from keras_c2kd.methods import SearchRange
from keras_c2kd.utils.final_arguments import argument_names
from tests.methods.test_arguments import METHODS
from tests.methods.test_arguments import create

pytestmark = pytest.mark.backend_free

# All the others are tuned by the learning rate and by what is listed there.
WITHOUT = {"Supervised"}
STEPS = 200


def middle(domain):
    if isinstance(domain, SearchChoice):
        return domain.options[len(domain.options) // 2]
    if domain.log:
        return math.sqrt(domain.low * domain.high)
    value = (domain.low + domain.high) / 2
    return round(value * STEPS) if domain.of_training else value


@pytest.mark.parametrize("name", METHODS)
def test_a_space_is_of_the_arguments_and_around_their_defaults(name):
    method = create(name)
    assert bool(method.search_space) == (name not in WITHOUT)
    assert set(method.search_space) <= argument_names(type(method))
    config = {"warmup_steps": 0, **method.get_config()}
    for argument, domain in method.search_space.items():
        assert domain.contains(config[argument]), argument
        if argument == "warmup_steps":
            assert domain.of_training


@pytest.mark.parametrize("name", METHODS)
def test_a_method_takes_the_middle_of_its_space(name):
    space = create(name).search_space
    values = {argument: middle(domain) for argument, domain in space.items()}
    config = create(name, **values).get_config()
    assert {argument: config[argument] for argument in values} == values


def test_what_was_chosen_of_c2kd():
    assert C2KD().search_space == {
        "cross_modal_weight": SearchRange(0.1, 10.0, log=True),
        "proxy_weights": SearchChoice(
            ((0.1, 0.1), (0.3, 0.3), (1.0, 1.0), (3.0, 3.0))
        ),
    }
    # Without proxies their weights do nothing.
    assert set(C2KD(proxies=False).search_space) == {"cross_modal_weight"}


def test_nothing_is_searched_of_a_method_that_declares_nothing():
    assert DistillationMethod().search_space == {}


@pytest.mark.parametrize(
    ("domain", "inside", "outside"),
    [
        (SearchRange(0.5, 2.0), [0.5, 1, 2.0], [0.4, 2.1, None, True, "1"]),
        (SearchRange(1, 4, integer=True), [1, 4], [0, 5, 2.0, 2.5]),
        (SearchChoice((None, (1, 2), "a")), [None, (1, 2), [1, 2], "a"], ["b"]),
    ],
)
def test_what_lies_in_a_space(domain, inside, outside):
    assert all(domain.contains(value) for value in inside)
    assert not any(domain.contains(value) for value in outside)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"low": 2.0, "high": 1.0}, "`low` must be less than `high`.*low=2.0"),
        ({"low": 1.0, "high": 1.0}, "must be less.*high=1.0"),
        ({"low": 0.0, "high": 1.0, "log": True}, "`low` must be a positive"),
        ({"low": 0.5, "high": 2, "integer": True}, "integers.*low=0.5"),
        ({"low": math.nan, "high": 1.0}, "`low` must be a finite number"),
        ({"low": 0.0, "high": math.inf}, "`high` must be a finite number"),
    ],
)
def test_impossible_ranges_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SearchRange(**arguments)


@pytest.mark.parametrize("options", [(), (1,), (1, 2, 1)])
def test_impossible_choices_are_refused(options):
    with pytest.raises(ValueError, match="at least two options, all diff"):
        SearchChoice(options)
