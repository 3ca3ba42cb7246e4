"""AVE: 28 events seen and heard (Tables 1, 2, 3, 5, 6 and 7 of the paper).

Reproduces: the AVE columns of Huo et al., CVPR 2024: ResNet-18 for one frame
and ResNet-18 for a log-spectrogram, both from random weights, in both
directions; other networks with `--student-network` and `--teacher-network`.

Command, from the root of the repository, with any KERAS_BACKEND:

    pip install -c constraints.txt -e ".[torch,hub,data,compare]"
    KERAS_BACKEND=torch python recipes/ave.py --data AVE_Dataset --prepare
    KERAS_BACKEND=torch python recipes/ave.py --data AVE_Dataset \
        --student visual --methods kd,c2kd

Data, as they are distributed: `AVE_Dataset/AVE/<id>.mp4` and the lists
`trainSet.txt`, `valSet.txt`, `testSet.txt` beside the folder; the official
split, 3339 / 402 / 402 rows. `keras_c2kd.data.load_ave` tells of doubled and
shared videos.

Cost: decoding once, about 13 GB in `--cache`; see docs/speed.md for clips
a second. A run is 100 epochs of 52 steps of 64; three seeds, two networks that
train alone and each method in each direction.

Settings: those of the paper's section 4.1, in `PaperTraining` and below; what
it does not say is marked. `--as-published` takes the first frame of every clip
and the sheared spectrograms of the authors' code. `--smoke` is a trial of a
minute that shows that everything works.
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
from keras_c2kd.data import load_ave
from keras_c2kd.data.modality_readers import IMAGENET_PIXELS


@dataclasses.dataclass(frozen=True)
class Settings(PaperTraining):
    """Besides the training: what the networks see."""

    image_size: int = setting(224, "height and width of a frame, in pixels")
    audio_rate: int = setting(16000, "samples of sound a second")
    audio_window: int = setting(512, "samples of a window of the spectrogram")
    audio_hop: int = setting(159, "samples from a window to the next")
    drop_shared: bool = setting(
        False, "leave out training clips whose video is in another part too"
    )
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
    return load_ave(
        data,
        cache=cache,
        drop_shared=settings.drop_shared,
        audio=AudioReader(
            LogSpectrogram(
                settings.audio_rate,
                seconds=10,
                window=settings.audio_window,
                hop=settings.audio_hop,
                kind="density",
                standardize=True,
                rewrapped_frames=1024 if settings.as_published else None,
            )
        ),
        visual=FrameReader(
            size=settings.image_size, first_frames=settings.as_published
        ),
        batch_size=settings.batch_size,
        seed=seed,
    )


RECIPE = Recipe(
    name="ave",
    settings=Settings(),
    load=load,
    networks={
        "visual": image_networks(IMAGENET_PIXELS),
        "audio": image_networks(),
    },
    data_folder="AVE/<id>.mp4, trainSet.txt, valSet.txt and testSet.txt",
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
