"""What a few seeds can tell: means, intervals, paired differences."""

import dataclasses
import math
from collections.abc import Iterable
from collections.abc import Mapping

import numpy as np

from keras_c2kd.utils.optional_imports import import_optional

# Below, an interval says nothing: two seeds can be equally far from a third
# by chance, as test scores are counts of a few hundred samples.
LEAST_SEEDS = 3


@dataclasses.dataclass(frozen=True)
class Summary:
    """Mean of a few values, their spread, and an interval for the mean.

    Attributes:
        mean: Their mean.
        std: Their sample standard deviation (n - 1), NaN for one value.
        low: Lower end of the confidence interval of the mean; NaN for fewer
            than three values, and for values without any spread.
        high: Its upper end.
        count: How many values there are.
    """

    mean: float
    std: float
    low: float
    high: float
    count: int

    @property
    def is_above_zero(self) -> bool:
        """Whether the interval is there and lies above 0."""
        return self.low > 0

    @property
    def is_below_zero(self) -> bool:
        """Whether the interval is there and lies below 0."""
        return self.high < 0


def summarize(values: Iterable[float], confidence: float = 0.95) -> Summary:
    """Summarize the values of several seeds.

    The interval is Student's, `mean +- t * std / sqrt(n)` with the quantile
    `t` of `n - 1` degrees of freedom. It speaks about other seeds of the same
    experiment, not about other data sets.

    Args:
        values: Floats, one a seed.
        confidence: Float in (0, 1), the level of the interval.

    Returns:
        A `Summary`.

    Raises:
        ValueError: If there is no value.

    Example:
    >>> found = summarize([0.01, 0.02, 0.03])
    >>> f"{found.mean:.3f} [{found.low:.3f}, {found.high:.3f}]"
    '0.020 [-0.005, 0.045]'
    """
    numbers = np.asarray(list(values), float)
    count = len(numbers)
    if not count:
        raise ValueError(
            "At least one value is needed for a mean. Received none: did the "
            "runs of this row finish?"
        )
    mean = float(numbers.mean())
    std = float(numbers.std(ddof=1)) if count > 1 else math.nan
    # Metrics are float32 numbers: equal scores differ by their rounding.
    if count < LEAST_SEEDS or not std > 1e-6:
        return Summary(mean, std, math.nan, math.nan, count)
    stats = import_optional("scipy.stats", "compare", "An interval")
    half = float(stats.t.ppf(0.5 + confidence / 2, count - 1))
    half *= std / math.sqrt(count)
    return Summary(mean, std, mean - half, mean + half, count)


def paired_difference(
    one: Mapping[int, float],
    other: Mapping[int, float],
    confidence: float = 0.95,
) -> Summary | None:
    """Summarize the differences of the seeds that both have.

    Args:
        one: Dict from the seed to a score.
        other: The same of what is subtracted.
        confidence: Float in (0, 1), level of the interval.

    Returns:
        `Summary` of `one - other`, or None if they share no seed.

    Example:
    >>> paired_difference({0: 0.75, 1: 0.5}, {0: 0.5, 1: 0.5}).mean
    0.125
    """
    seeds = sorted(set(one) & set(other))
    if not seeds:
        return None
    return summarize([one[seed] - other[seed] for seed in seeds], confidence)


def choose_best(
    scores: Mapping[str, Mapping[int, float]],
    baseline: str,
    confidence: float = 0.95,
) -> str:
    """Return the method with the best scores, if it can be told apart.

    Of the methods whose paired difference to the baseline has an interval
    above 0, the one with the highest mean; the baseline if there is none. The
    intervals are Bonferroni's: one-sided errors of all methods together are
    at most half of `1 - confidence`, however many methods are compared.

    Args:
        scores: Dict from the method to a dict from the seed to its score.
        baseline: The method to beat, one of them.
        confidence: Float in (0, 1), level of all intervals together.

    Returns:
        Name of a method.

    Example:
    >>> alone = {0: 0.50, 1: 0.52, 2: 0.51}
    >>> kd = {0: 0.60, 1: 0.63, 2: 0.61}
    >>> choose_best({"alone": alone, "kd": kd}, "alone")
    'kd'
    """
    others = [method for method in scores if method != baseline]
    level = 1 - (1 - confidence) / max(1, len(others))
    better = {baseline: -math.inf}
    for method in others:
        difference = paired_difference(scores[method], scores[baseline], level)
        if difference is not None and difference.is_above_zero:
            better[method] = difference.mean
    return max(better, key=better.__getitem__)
