"""What a tuning searches of a method, and the method with what it found."""

from collections.abc import Mapping
from typing import Any
from typing import TypeVar

from keras_c2kd.methods import DistillationMethod
from keras_c2kd.methods.search_space import SearchRange
from keras_c2kd.methods.search_space import SearchSpace

Method = TypeVar("Method", bound=DistillationMethod)


def searched_settings(
    method: DistillationMethod, training_steps: int
) -> tuple[SearchSpace, dict[str, Any]]:
    """Return what is searched of a method, and the values that it has.

    An argument that was given a value outside of its range, such as a weight
    of 0 that switches a term off, is not searched: it stays as it was given.

    Args:
        method: `DistillationMethod`.
        training_steps: Integer, steps of a training.

    Returns:
        The method's `search_space` without these arguments, and a dict from
        its names to values, both as `tune_method` takes them.

    Raises:
        ValueError: If the space names what is no argument of the method.

    Example:
    >>> space, setting = searched_settings(DKD(non_target_weight=0.0), 100)
    >>> sorted(space) == sorted(setting)
    True
    >>> setting
    {'distillation_weight': 1.0, 'warmup_steps': 0.0, 'temperature': 4.0}
    """
    config = method.get_config()
    space: SearchSpace = {}
    setting: dict[str, Any] = {}
    for name, domain in method.search_space.items():
        # A warm-up of no steps stands in no configuration.
        value = config.get(name, getattr(method, name, method))
        if value is method:
            raise ValueError(
                "`search_space` must name arguments that `get_config` "
                f"returns. Received: {name!r} of {type(method).__name__}, "
                f"which returns {sorted(config)}."
            )
        if _is_of_training(domain):
            value = value / training_steps
        if domain.contains(value):
            space[name], setting[name] = domain, value
    return space, setting


def method_with(
    method: Method, setting: Mapping[str, Any], training_steps: int
) -> Method:
    """Return a new method of the same arguments but for those of a setting.

    Args:
        method: `DistillationMethod`; it stays as it is.
        setting: Dict from names of its `search_space` to values.
        training_steps: Integer, steps of a training, of which a range with
            `of_training` means a fraction.

    Example:
    >>> method = method_with(DKD(), {"warmup_steps": 0.25}, 100)
    >>> method.warmup_steps, method.distillation_weight
    (25, 1.0)
    """
    changed = {
        name: round(value * training_steps)
        if _is_of_training(method.search_space.get(name))
        else value
        for name, value in setting.items()
    }
    return type(method).from_config({**method.get_config(), **changed})


def _is_of_training(domain: object) -> bool:
    return isinstance(domain, SearchRange) and domain.of_training
