"""Ranges of a method's arguments, in which a tuning searches."""

import dataclasses
import numbers
from typing import TypeAlias

from keras_c2kd.utils.argument_checks import check_number
from keras_c2kd.utils.argument_checks import check_positive


@dataclasses.dataclass(frozen=True)
class SearchRange:
    """The numbers from `low` to `high`, both included.

    Args:
        low: Float, the least value.
        high: Float, the greatest value.
        log: Whether equal *ratios* of values are equally likely, as suits
            weights of loss terms. Defaults to `False`.
        integer: Whether only integers are drawn. Defaults to `False`.
        of_training: Whether the numbers are fractions of all training steps,
            and the argument is the number of steps, as of a warm-up.
            Defaults to `False`.

    Raises:
        ValueError: If the range is empty or not finite, if `log=True` meets
            a `low` that is not positive, or if a bound of integers is
            none.

    Example:
    >>> weight = SearchRange(0.1, 10.0, log=True)
    >>> weight.contains(2), weight.contains(0.0)
    (True, False)
    """

    low: float
    high: float
    log: bool = False
    integer: bool = False
    of_training: bool = False

    def __post_init__(self) -> None:
        check_number(low=self.low, high=self.high)
        if self.low >= self.high:
            raise ValueError(
                "`low` must be less than `high`. Received: "
                f"low={self.low}, high={self.high}"
            )
        if self.log:
            check_positive(low=self.low)
        if self.integer and (self.low % 1 or self.high % 1):
            raise ValueError(
                "The bounds of a range of integers must be integers. "
                f"Received: low={self.low}, high={self.high}"
            )

    def contains(self, value: object) -> bool:
        """Return whether a value lies in the range."""
        kind = numbers.Integral if self.integer else numbers.Real
        if not isinstance(value, kind) or isinstance(value, bool):
            return False
        return self.low <= float(value) <= self.high


@dataclasses.dataclass(frozen=True)
class SearchChoice:
    """One of some options, which have no order.

    Args:
        options: Tuple of the values, at least two: None, booleans, numbers,
            strings, and tuples of them.

    Raises:
        ValueError: If there are fewer than two options, or equal ones.

    Example:
    >>> SearchChoice(("votes", "logits")).contains("votes")
    True
    """

    options: tuple[object, ...]

    def __post_init__(self) -> None:
        if len(set(map(repr, self.options))) < max(2, len(self.options)):
            raise ValueError(
                "A choice must have at least two options, all different. "
                f"Received: options={self.options!r}"
            )

    def contains(self, value: object) -> bool:
        """Return whether a value, or the tuple of a list, is an option."""
        return (tuple(value) if isinstance(value, list) else value) in (
            self.options
        )


# From the names of a method's arguments to where their values are searched.
SearchSpace: TypeAlias = dict[str, SearchRange | SearchChoice]

# What a practitioner searches around a loss term whose usual weight is 1.
WEIGHT = SearchRange(0.1, 10.0, log=True)
TEMPERATURE = SearchRange(1.0, 8.0, log=True)
WARM_UP = SearchRange(0.0, 0.5, of_training=True)
