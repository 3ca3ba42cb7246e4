"""UTD-MHAD: a wrist sensor and a camera's skeleton, recorded together.

Answers, on real sensors and natural pairs: several persons were recorded with
both sensors, the actions of ONE of them have labels. How good does the network
of one sensor become for persons it has never seen, alone, by its own
pseudo-labels, and with the other sensor's network as its teacher?

Command, from the root of the repository, with any KERAS_BACKEND:

    pip install -c constraints.txt -e ".[jax,compare,data]"
    KERAS_BACKEND=jax python recipes/utd_mhad.py --data UTD-MHAD
    KERAS_BACKEND=jax python recipes/utd_mhad.py --data UTD-MHAD \
        --labeled-subjects 1,3,5 --folder results/utd_mhad_all

Data: the folder with `Inertial/*.mat` and `Skeleton/*.mat` as distributed;
`keras_c2kd.data.load_utd_mhad` documents every step. 861 recordings of 27
actions by 8 persons. Subjects 1, 3 and 5 train, 7 is validated on, 2, 4, 6 and
8 are tested: no person is in two parts. Only `--labeled-subjects` have labels.

Protocol: each network first trains alone on the labelled recordings, for as
many updates as the others; a copy of it teaches. The last epoch counts and is
tested once. Networks and augmentation were chosen by the accuracy of networks
trained alone, on training persons that they had not seen.

Cost: about half a minute a run on 2 CPU cores, 45 runs.
"""

import dataclasses

from keras_c2kd.comparison import Recipe
from keras_c2kd.comparison import Training
from keras_c2kd.comparison import run_recipe
from keras_c2kd.comparison import setting
from keras_c2kd.data import load_utd_mhad
from keras_c2kd.models import TimeSeriesNetwork


@dataclasses.dataclass(frozen=True)
class Settings(Training):
    """The settings of this recipe."""

    steps: int = 1000
    # 12 batches of the 323 recordings of three persons, the last of 26.
    batch_size: int = 27
    learning_rate: float = 2e-3
    labeled_subjects: str = setting("1", "training persons with labels")
    validation_subjects: str = setting(
        "7", "training persons to choose with; empty: none, on those labelled"
    )
    skeleton_steps: int = setting(64, "frames of a skeleton")
    inertial_steps: int = setting(128, "samples of the wrist sensor")
    width: int = setting(64, "filters of the first stage")


def numbers(text):
    """Return the numbers of a comma-separated text."""
    return tuple(int(word) for word in text.split(",") if word)


def load(settings, seed, data, cache):
    """Read the recordings of all persons."""
    return load_utd_mhad(
        data,
        labeled_subjects=numbers(settings.labeled_subjects),
        validation_subjects=numbers(settings.validation_subjects),
        skeleton_steps=settings.skeleton_steps,
        inertial_steps=settings.inertial_steps,
        batch_size=settings.batch_size,
    )


def network(input_shape, num_classes, settings):
    """Build four convolutions over time and a classifier."""
    width = settings.width
    widths = (width, 3 * width // 2, 2 * width, 2 * width)
    return TimeSeriesNetwork(input_shape, num_classes, widths)


RECIPE = Recipe(
    name="utd_mhad",
    settings=Settings(),
    load=load,
    networks={"skeleton": {"cnn": network}, "inertial": {"cnn": network}},
    methods=(
        *("alone", "self_training", "pseudo_labels", "kd", "dkd", "dist"),
        *("dml", "c2kd", "c2kd_fixed"),
    ),
    default_methods=("pseudo_labels", "kd", "c2kd", "c2kd_fixed"),
    seeds=5,
    data_folder="Inertial/*.mat and Skeleton/*.mat",
    smoke={
        "steps": 24,
        "skeleton_steps": 16,
        "inertial_steps": 16,
        "width": 8,
    },
)


if __name__ == "__main__":
    run_recipe(RECIPE, __doc__)
