"""Compares every method on several devices with one device; prints a table.

python -m tests.backend.distribution.compare torch
python -m tests.backend.distribution.compare tensorflow c2kd dlb
"""

import sys

from tests.backend.distribution.test_several_devices import DEVICES
from tests.backend.distribution.test_several_devices import OWN_STATISTICS
from tests.backend.distribution.test_several_devices import largest_difference
from tests.backend.distribution.test_several_devices import printed
from tests.backend.distribution.test_several_devices import start
from tests.backend.distribution.train import CASES
from tests.backend.distribution.train import unlabelled_cases


def main(backend, names):
    """Print the largest difference of each case."""
    # That devices differ in this one is asked for.
    every = [*CASES, *unlabelled_cases()]
    names = names or [name for name in every if name != OWN_STATISTICS]
    number = DEVICES[backend]
    one, several = (
        printed(start(backend, count, "train", *names)) for count in (1, number)
    )
    print(f"{backend}, {number} devices against 1, two epochs")
    for name in names:
        difference = largest_difference(one[name], several[name])
        print(f"{name:24s} {difference:.1e}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
