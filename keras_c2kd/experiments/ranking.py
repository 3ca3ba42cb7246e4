"""Who is best, where the seeds can tell."""

import dataclasses

from keras_c2kd.experiments.tables import summarize

# Two seeds can have the same difference by chance: test scores are shares of
# a few hundred samples. The interval then has no width, and means nothing.
LEAST_SEEDS = 3


@dataclasses.dataclass(frozen=True)
class Place:
    """The place of a method among others.

    Attributes:
        number: 1 or 2.
        is_shared: Whether others have the same place.
    """

    number: int
    is_shared: bool

    def __str__(self):
        return f"{self.number}=" if self.is_shared else str(self.number)


def paired_difference(one, other, confidence=0.95):
    """Summarize the differences of the seeds that both have.

    Args:
        one: Dict from the seed to a score.
        other: The same of what is subtracted.
        confidence: Float in (0, 1), level of the interval.

    Returns:
        `Summary` of `one - other`, or None if they share no seed.
    """
    seeds = sorted(set(one) & set(other))
    if not seeds:
        return None
    return summarize([one[seed] - other[seed] for seed in seeds], confidence)


def rank_methods(scores, confidence=0.95):
    """Give the first two places, as far as paired differences tell.

    The method with the highest mean has the first place, together with all
    those whose paired difference to it has an interval that includes 0. The
    best of the others has the second place, in the same way. Methods with less
    than three common seeds are not told apart.

    The intervals are not corrected for the number of comparisons.

    Args:
        scores: Dict from the method to a dict from the seed to its score.
        confidence: Float in (0, 1), level of the intervals.

    Returns:
        Dict from the method to its `Place`. Empty if all share the first one:
        nothing is told apart.
    """
    left = {method: runs for method, runs in scores.items() if runs}
    places = {}
    for number in (1, 2):
        if not left:
            break
        best = max(
            left, key=lambda method: summarize(left[method].values()).mean
        )
        alike = [
            method
            for method in left
            if not _is_better(left[best], left[method], confidence)
        ]
        if number == 1 and len(alike) == len(left):
            return {}
        for method in alike:
            places[method] = Place(number, is_shared=len(alike) > 1)
            del left[method]
    return places


def _is_better(one, other, confidence):
    """Whether the interval of the paired difference is above 0."""
    difference = paired_difference(one, other, confidence)
    if difference is None or difference.count < LEAST_SEEDS:
        return False
    return difference.low > 0
