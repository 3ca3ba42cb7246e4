"""NYU-Depth V2: indoor scenes in colour and depth (Table 4 of the paper).

Reproduces: Table 4 of Huo et al., CVPR 2024: DeepLabV3+ on ResNet-18 and
MobileNetV2, colour against depth, in both directions; mean IoU of 40 classes.
The three pairs of the table:

    (no option)                       ResNet-18 both
    --student-network resnet18 --teacher-network mobilenet_v2
    --student-network mobilenet_v2 --teacher-network resnet18

Command, from the root of the repository, with any KERAS_BACKEND:

    pip install -c constraints.txt -e ".[torch,hub,data,compare]"
    KERAS_BACKEND=torch python recipes/nyu_depth_v2.py --data NYU --prepare
    KERAS_BACKEND=torch python recipes/nyu_depth_v2.py --data NYU \
        --student rgb --methods kd,c2kd

Data: one folder with `nyu_depth_v2_labeled.mat` (2.8 GB), `splits.mat` and
`classMapping40.mat`; `keras_c2kd.data.load_nyu_depth_v2` says where each comes
from. The official split, 795 and 654 frames; a tenth of the training scenes is
kept to choose with.

Weights: the backbones start from ImageNet's, as in the paper: KerasHub's preset
`resnet_18_imagenet` and the weights of `keras.applications`, both downloads;
`--resnet-weights` and `--mobilenet-weights` take folders and files too, and
`random`. One depth channel reads the mean of the first kernel over its colours.

Cost: frames as arrays in `--cache`, 4 GB. A run is about 40,000 steps of 16
frames of 480 x 640, for each network some 145 billion multiplications a frame,
forwards and backwards, and a C2KD step holds about 2 GB a frame: for GPUs of at
least 40 GB.

Settings: those of the paper's section 4.2: SGD with momentum 0.9, batches of
16, a rate of 0.02 that decays polynomially with power 0.9 over 40,000 steps,
which are 888 epochs of 45 steps. The paper states neither crop nor depth
encoding: here crops of the frames' own size at scales of 0.5 to 2, mirrored in
half of the cases, and depth in metres. CIRKD reads the pyramid's map at 1/16,
and SHAKE the maps at 1/8, 1/16 and the pyramid's. `--smoke` is a trial of a
minute, with small networks of random weights.
"""

import dataclasses

from keras_c2kd.comparison import DenseTraining
from keras_c2kd.comparison import Recipe
from keras_c2kd.comparison import run_recipe
from keras_c2kd.comparison import segmentation_networks
from keras_c2kd.comparison import setting
from keras_c2kd.comparison.segmentation import illustrate_segmentation
from keras_c2kd.data import load_nyu_depth_v2
from keras_c2kd.data.modality_readers import IMAGENET_PIXELS
from keras_c2kd.losses import DISTLoss
from keras_c2kd.methods import C2KD


@dataclasses.dataclass(frozen=True)
class Settings(DenseTraining):
    """The paper's, and what the networks see."""

    epochs: int = 888
    batch_size: int = 16
    optimizer: str = "sgd"
    learning_rate: float = 0.02
    # The recipe of CIRKD, which the paper follows, decays to 0.
    schedule: str = "polynomial"
    end_learning_rate: float = 0.0
    warmup_epochs: int = 20
    smallest_scale: float = setting(
        0.5, "least enlargement of a training frame"
    )
    largest_scale: float = setting(
        2.0, "greatest enlargement of a training frame"
    )
    depth_encoding: str = setting(
        "metres",
        "what of the depth the network sees",
        ("metres", "log", "disparity"),
    )
    depth_source: str = setting(
        "depths",
        "depth with its holes filled in, or as measured",
        ("depths", "rawDepths"),
    )
    output_stride: int = setting(
        16, "greatest stride of the DeepLab backbones: 16 or 8"
    )
    resnet_weights: str = setting(
        "resnet_18_imagenet",
        "ResNet's: random, or a preset or folder of KerasHub",
    )
    mobilenet_weights: str = setting(
        "imagenet", "MobileNetV2's: random, imagenet, or a file"
    )


def load(settings, seed, data, cache):
    """Index the data set with the readers of the settings."""
    tenths = range(
        round(10 * settings.smallest_scale),
        round(10 * settings.largest_scale) + 1,
    )
    return load_nyu_depth_v2(
        data,
        cache=cache,
        scales=tuple(tenth / 10 for tenth in tenths),
        depth_encoding=settings.depth_encoding,
        depth_source=settings.depth_source,
        batch_size=settings.batch_size,
        seed=seed,
    )


RECIPE = Recipe(
    name="nyu_depth_v2",
    settings=Settings(),
    load=load,
    networks={
        "rgb": segmentation_networks(IMAGENET_PIXELS),
        "depth": segmentation_networks(),
    },
    methods=(
        *("alone", "kd", "shake", "dist", "nkd", "cirkd", "c2kd"),
        {"c2kd+dist": C2KD(DISTLoss())},
    ),
    data_folder="nyu_depth_v2_labeled.mat, splits.mat and classMapping40.mat",
    taps={
        "cirkd": {"student_features": "aspp", "teacher_features": "aspp"},
        "shake": {"teacher_features": ["stage_2", "stage_3", "aspp"]},
    },
    illustrate=illustrate_segmentation,
    smoke={
        "epochs": 12,
        "batch_size": 4,
        "learning_rate": 0.05,
        "smallest_scale": 1.0,
        "largest_scale": 1.2,
    },
    smoke_networks={"rgb": "small", "depth": "small"},
)


if __name__ == "__main__":
    run_recipe(RECIPE, __doc__)
