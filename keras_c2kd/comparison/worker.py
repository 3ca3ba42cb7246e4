"""A process of a comparison: `python -m keras_c2kd.comparison.worker PLAN`."""

import sys

from keras_c2kd.backend import distribution
from keras_c2kd.comparison.processes import end_with_parent
from keras_c2kd.comparison.processes import load_job
from keras_c2kd.comparison.processes import train_all


def main() -> None:
    """Train the runs of the plan in a file."""
    end_with_parent()
    runner = load_job(sys.argv[1])
    if distribution.is_requested():
        with distribution.distribute():
            train_all(runner)
    else:
        train_all(runner)


if __name__ == "__main__":
    main()
