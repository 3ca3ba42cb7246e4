"""Refuse numbers that have no meaning where they were given."""

import math
import numbers
from typing import Any
from typing import NoReturn


def check_number(
    minimum: float | None = None,
    maximum: float | None = None,
    **given: Any,
) -> None:
    """Refuse values that are no finite numbers within limits.

    Args:
        minimum: The least value, or None.
        maximum: The greatest value, or None.
        **given: The values by the names of their arguments.

    Raises:
        ValueError: If a value is no real number, NaN, infinite or outside.
    """
    limits = ""
    if minimum is not None:
        limits += f" of at least {minimum}"
    if maximum is not None:
        limits += f" and at most {maximum}"
    for name, value in given.items():
        if (
            not _is_finite(value)
            or (minimum is not None and value < minimum)
            or (maximum is not None and value > maximum)
        ):
            _refuse(name, value, f"a finite number{limits}")


def check_positive(**given: Any) -> None:
    """Refuse values that are no finite numbers above 0, as temperatures are.

    Args:
        **given: The values by the names of their arguments.

    Raises:
        ValueError: If a value is not above 0 or not finite.
    """
    for name, value in given.items():
        if not _is_finite(value) or value <= 0:
            _refuse(name, value, "a positive, finite number")


def check_weights(**given: Any) -> None:
    """Refuse weights of loss terms that are negative, NaN or infinite.

    Args:
        **given: The weights by the names of their arguments.

    Raises:
        ValueError: If a weight is no finite number of at least 0.
    """
    check_number(minimum=0, **given)


def check_integer(minimum: int = 0, why: str = "", **given: Any) -> None:
    """Refuse values that are no integers of at least the minimum.

    Args:
        minimum: The least value.
        why: A sentence for the error, on why it must be so.
        **given: The values by the names of their arguments.

    Raises:
        ValueError: If a value is no integer or too small.
    """
    for name, value in given.items():
        if not _is_integer(value) or value < minimum:
            rule = f"an integer of at least {minimum}"
            _refuse(name, value, f"{rule}. {why}" if why else rule)


def check_num_classes(num_classes: int) -> None:
    """Refuse a classifier of fewer than two classes.

    Args:
        num_classes: Number of classes.

    Raises:
        ValueError: If it is less than 2.
    """
    if num_classes < 2:
        raise ValueError(
            "A classifier needs at least 2 classes. "
            f"Received: num_classes={num_classes}"
        )


def _is_finite(value: Any) -> bool:
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return is_number and math.isfinite(value)


def _is_integer(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _refuse(name: str, value: object, rule: str) -> NoReturn:
    rule = rule.rstrip(".")
    raise ValueError(f"`{name}` must be {rule}. Received: {name}={value!r}")


def check_instance(
    value: object, base: type, argument: str, example: str
) -> None:
    """Refuse a value that is no instance of a class.

    Args:
        value: What was given.
        base: The class.
        argument: Name of the argument.
        example: What could be given instead, in code. A subclass of `base`
            that was given is its own example.

    Raises:
        ValueError: If `value` is no instance of `base`.
    """
    if isinstance(value, base):
        return
    if isinstance(value, type) and issubclass(value, base):
        example = f"{value.__name__}()"
    raise ValueError(
        f"`{argument}` is a {base.__name__}. Received: {argument}={value!r} "
        f"of type {type(value).__name__}. Pass an instance: "
        f"{argument}={example}"
    )


def check_counts(**counts: Any) -> None:
    """Raise a ValueError if a number of samples or steps is not positive.

    None means Keras' default, for which Keras also takes a zero.
    """
    for name, count in counts.items():
        if count is not None and not (_is_integer(count) and count > 0):
            raise ValueError(
                f"`{name}` must be a positive integer. Received: "
                f"{name}={count!r}. Leave it out for Keras' default."
            )
