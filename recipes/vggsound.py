"""VGGSound: 50 sounds and their videos (Tables 1, 2, 3, 5, 6 and 7).

Reproduces: the VGGSound columns of Huo et al., CVPR 2024: ResNet-18 for three
frames and ResNet-18 for a log-spectrogram, both from random weights, in both
directions; other networks with `--student-network` and `--teacher-network`.

Command, from the root of the repository, with any KERAS_BACKEND:

    pip install -c constraints.txt -e ".[torch,hub,data,compare]"
    KERAS_BACKEND=torch python recipes/vggsound.py --data VGGSound --prepare
    KERAS_BACKEND=torch python recipes/vggsound.py --data VGGSound \
        --student visual --methods kd,c2kd

Data: the official `vggsound.csv`, and below the same folder the clips that you
have, `<youtube_id>_<start>.mp4`. Of the 50 classes of the paper the list has
25,835 training and 2500 test clips; many are gone from YouTube. What is
missing is counted in every result, and up to 40 % may be.

Cost: decoding once, about 90 GB in `--cache`; see docs/speed.md for clips
a second. A run is 100 epochs of 364 steps of 64; three seeds, two networks that
train alone and each method in each direction.

Settings: those of the paper's section 4.1, in `PaperTraining` and below; what
it does not say is marked. The frames run through the same layers and are
averaged at the end; the authors' code convolves over them. `--as-published
--protocol best_validation` takes the first three frames of every clip and
chooses the epoch on the training clips, as the authors' code does. `--smoke` is
a trial of a minute.
"""

import dataclasses

from keras_c2kd.comparison import PaperTraining
from keras_c2kd.comparison import Recipe
from keras_c2kd.comparison import image_networks
from keras_c2kd.comparison import run_recipe
from keras_c2kd.comparison import setting
from keras_c2kd.data import AudioReader
from keras_c2kd.data import FrameReader
from keras_c2kd.data import LogSpectrogram
from keras_c2kd.data import load_vggsound
from keras_c2kd.data.modality_readers import IMAGENET_PIXELS


@dataclasses.dataclass(frozen=True)
class Settings(PaperTraining):
    """Besides the training: what the networks see."""

    frames: int = setting(3, "frames of a clip that the network sees")
    image_size: int = setting(224, "height and width of a frame, in pixels")
    audio_rate: int = setting(16000, "samples of sound a second")
    audio_window: int = setting(256, "samples of a window of the spectrogram")
    audio_hop: int = setting(128, "samples from a window to the next")
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
    return load_vggsound(
        data,
        cache=cache,
        validate_on="train" if settings.as_published else "validation",
        audio=AudioReader(
            LogSpectrogram(
                settings.audio_rate,
                seconds=5,
                window=settings.audio_window,
                hop=settings.audio_hop,
            ),
            random_window=True,
            at_least=10.0,
        ),
        visual=FrameReader(
            size=settings.image_size,
            frames=settings.frames,
            first_frames=settings.as_published,
        ),
        batch_size=settings.batch_size,
        seed=seed,
    )


RECIPE = Recipe(
    name="vggsound",
    settings=Settings(),
    load=load,
    networks={
        "visual": image_networks(IMAGENET_PIXELS),
        "audio": image_networks(),
    },
    data_folder="vggsound.csv and <youtube_id>_<start>.mp4 anywhere below",
    max_missing_fraction=0.4,
    smoke={
        "epochs": 12,
        "batch_size": 8,
        "learning_rate": 0.02,
        "warmup_epochs": 3,
        "image_size": 32,
        "audio_rate": 2000,
        "audio_window": 64,
        "audio_hop": 64,
    },
    smoke_networks={"visual": "small", "audio": "small"},
)


if __name__ == "__main__":
    run_recipe(RECIPE, __doc__)
