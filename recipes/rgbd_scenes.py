"""Generated rooms in colour and depth: where is each modality blind?

Shows: the methods of the paper's Table 4 on pictures that are GENERATED, to
teach and to test with: posters that only colour can tell from the wall, things
that only depth can tell from what is behind them, and others that both can.
It reproduces no table of the paper, and no claim about real data rests on it.

Command, from the root of the repository, with any KERAS_BACKEND:

    pip install -c constraints.txt -e ".[jax,compare]"
    KERAS_BACKEND=jax python recipes/rgbd_scenes.py

Cost: see docs/paper.md; `--methods kd,c2kd` takes a third of it. Called
again, it goes on where it was stopped.

Data: `keras_c2kd.data.load_rgbd_scenes`, drawn anew for each seed, the test
rooms the same for all seeds. Nothing is downloaded.

Protocol: each network first trains alone; a copy of it is the teacher of the
other direction. The last epoch counts; none is selected. The networks are small
ones (`--student-network resnet18` and `mobilenet_v2` take DeepLabV3+ as in the
paper), and the methods have the package's default weights. CIRKD reads the maps
at 1/8, and SHAKE those at 1/2, 1/4 and 1/8.

How the setting was chosen: on the networks that train *alone*, on the
validation rooms of two seeds, so that a run takes seconds: with 15 epochs and a
learning rate of 0.1, colour and depth reached about 66% and 49%; with 30, 70%
and 56% (seed 0; 68% and 52% with 0.05, 70% and 57% with 0.2). C2KD was looked
at once, with 15 epochs; no other method was.
"""

import dataclasses

from keras_c2kd.comparison import DenseTraining
from keras_c2kd.comparison import Recipe
from keras_c2kd.comparison import run_recipe
from keras_c2kd.comparison import segmentation_networks
from keras_c2kd.comparison import setting
from keras_c2kd.comparison.segmentation import illustrate_segmentation
from keras_c2kd.data import load_rgbd_scenes
from keras_c2kd.data.modality_readers import IMAGENET_PIXELS
from keras_c2kd.losses import DISTLoss
from keras_c2kd.methods import C2KD


@dataclasses.dataclass(frozen=True)
class Settings(DenseTraining):
    """The settings of this recipe; the paper has none for these data."""

    epochs: int = 30
    batch_size: int = 16
    optimizer: str = "sgd"
    learning_rate: float = 0.1
    schedule: str = "polynomial"
    end_learning_rate: float = 1e-3
    rooms: int = setting(200, "training rooms")
    validation_rooms: int = setting(50, "rooms to choose with")
    test_rooms: int = setting(100, "rooms to report")
    size: int = setting(64, "height and width of a picture, in pixels")
    output_stride: int = setting(
        16, "greatest stride of the DeepLab backbones: 16 or 8"
    )
    resnet_weights: str = setting(
        "random", "ResNet's: random, or a preset or folder of KerasHub"
    )
    mobilenet_weights: str = setting(
        "random", "MobileNetV2's: random, imagenet, or a file"
    )


def load(settings, seed, data=None, cache=None):
    """Generate the rooms of a seed."""
    return load_rgbd_scenes(
        train=settings.rooms,
        validation=settings.validation_rooms,
        test=settings.test_rooms,
        size=(settings.size, settings.size),
        seed=seed,
        batch_size=settings.batch_size,
    )


def small_first(pixels=None):
    """Return the builders of networks, the small one as the default."""
    networks = segmentation_networks(pixels)
    return {"small": networks.pop("small"), **networks}


RECIPE = Recipe(
    name="rgbd_scenes",
    settings=Settings(),
    load=load,
    networks={"rgb": small_first(IMAGENET_PIXELS), "depth": small_first()},
    methods=(
        *("alone", "kd", "shake", "dist", "nkd", "cirkd", "c2kd"),
        {"c2kd+dist": C2KD(DISTLoss())},
    ),
    default_methods=(
        *("kd", "shake", "dist", "nkd", "cirkd", "c2kd", "c2kd+dist"),
    ),
    data_depend_on_seed=True,
    taps={
        "cirkd": {"student_features": "stage_3", "teacher_features": "stage_3"},
        "shake": {"teacher_features": ["stage_1", "stage_2", "stage_3"]},
    },
    illustrate=illustrate_segmentation,
    smoke={"epochs": 2, "rooms": 32, "validation_rooms": 8, "test_rooms": 8},
)


if __name__ == "__main__":
    run_recipe(RECIPE, __doc__)
