"""CREMA-D: six emotions, spoken and seen (Table 3 of the paper).

Reproduces: the CREMA-D columns of Huo et al., CVPR 2024: ResNet-18 for one
frame and ResNet-18 for a log-spectrogram, both from random weights, in both
directions; other networks with `--student-network` and `--teacher-network`.

Command, from the root of the repository, with any KERAS_BACKEND:

    pip install -c constraints.txt -e ".[torch,hub,data,compare]"
    KERAS_BACKEND=torch python recipes/crema_d.py --data CREMA-D --prepare
    KERAS_BACKEND=torch python recipes/crema_d.py --data CREMA-D \
        --student visual --methods kd,c2kd

Data: the data set's repository with its media (`git lfs pull`),
`AudioWAV/<id>.wav` and `VideoFlash/<id>.flv`, 7442 clips. There is no official
split: `--split random` (the default, a tenth each to choose and to report;
every actor is in all parts), `--split actors` (the harder question), or
`--split lists --lists FOLDER` with a `train.csv` and a `test.csv`, such as
those of OGM-GE, from which the paper's figures come.

Cost: decoding once, about 8 GB in `--cache`; see docs/speed.md for clips a
second. A run is 100 epochs of 93 steps of 64; three seeds, two networks that
train alone and each method in each direction.

Settings: those of the paper's section 4.1, in `PaperTraining` and below; what
it does not say is marked. `--as-published --protocol best_validation` does what
the authors' code does: the first frame of every clip, damaged clips kept, and
the epoch chosen on the test clips, so that what is reported was chosen on what
it is reported on. `--smoke` is a trial of a minute.
"""

import dataclasses
import pathlib

from keras_c2kd.comparison import PaperTraining
from keras_c2kd.comparison import Recipe
from keras_c2kd.comparison import image_networks
from keras_c2kd.comparison import run_recipe
from keras_c2kd.comparison import setting
from keras_c2kd.data import AudioReader
from keras_c2kd.data import FrameReader
from keras_c2kd.data import LogSpectrogram
from keras_c2kd.data import load_crema_d
from keras_c2kd.data.modality_readers import IMAGENET_PIXELS


@dataclasses.dataclass(frozen=True)
class Settings(PaperTraining):
    """Besides the training: the split, and what the networks see."""

    split: str = setting(
        "random",
        "which samples are for training, choosing and reporting",
        ("random", "actors", "lists"),
    )
    lists: str = setting(
        "", "folder with the train.csv and test.csv of `--split lists`"
    )
    image_size: int = setting(224, "height and width of a frame, in pixels")
    audio_rate: int = setting(22050, "samples of sound a second")
    audio_window: int = setting(512, "samples of a window of the spectrogram")
    audio_hop: int = setting(353, "samples from a window to the next")
    as_published: bool = setting(
        False, "handle the clips as the authors' code does"
    )
    resnet_weights: str = setting(
        "random", "ResNet's: random, or a preset or folder of KerasHub"
    )
    mobilenet_weights: str = setting(
        "random", "MobileNetV2's: random, imagenet, or a file"
    )


def load(settings, seed, data, cache):
    """Index the data set with the readers of the settings."""
    lists = None
    if settings.lists:
        folder = pathlib.Path(settings.lists)
        lists = (folder / "train.csv", folder / "test.csv")
    return load_crema_d(
        data,
        split=settings.split,
        lists=lists,
        cache=cache,
        validate_on="test" if settings.as_published else "validation",
        drop_known_damage=not settings.as_published,
        audio=AudioReader(
            LogSpectrogram(
                settings.audio_rate,
                seconds=3,
                window=settings.audio_window,
                hop=settings.audio_hop,
            )
        ),
        visual=FrameReader(
            size=settings.image_size, first_frames=settings.as_published
        ),
        batch_size=settings.batch_size,
        seed=seed,
    )


RECIPE = Recipe(
    name="crema_d",
    settings=Settings(),
    load=load,
    networks={
        "visual": image_networks(IMAGENET_PIXELS),
        "audio": image_networks(),
    },
    data_folder="AudioWAV/<id>.wav and VideoFlash/<id>.flv",
    smoke={
        "epochs": 12,
        "batch_size": 8,
        "learning_rate": 0.02,
        "warmup_epochs": 3,
        "image_size": 32,
        "audio_rate": 4000,
        "audio_window": 64,
        "audio_hop": 64,
    },
    smoke_networks={"visual": "small", "audio": "small"},
)


if __name__ == "__main__":
    run_recipe(RECIPE, __doc__)
