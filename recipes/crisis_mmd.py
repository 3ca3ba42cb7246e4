"""CrisisMMD: tweets and their photographs (Tables 3, 5 and 6 of the paper).

Reproduces: the CrisisMMD columns of Huo et al., CVPR 2024: BERT-base for the
text and MobileNetV2 for the photograph, in both directions, eight humanitarian
categories; other networks with `--student-network` and `--teacher-network`.

Command, from the root of the repository, with any KERAS_BACKEND:

    pip install -c constraints.txt -e ".[torch,hub,data,compare]"
    KERAS_BACKEND=torch python recipes/crisis_mmd.py --data CrisisMMD_v2.0 \
        --prepare
    KERAS_BACKEND=torch python recipes/crisis_mmd.py --data CrisisMMD_v2.0 \
        --student image --methods kd,c2kd

Data, as they are distributed: `data_image/...` and one of the two folders of
splits, unpacked beside it. `--annotations agreed` (the default, 6126 / 998 /
955 pairs) or `all` (13,608 / 2237 / 2237): the paper does not say which.

Weights: BERT-base starts from KerasHub's preset `bert_base_en_uncased`, which
is downloaded; `--text-weights` takes the folder of another preset, or `random`
(then with words of the training tweets as the vocabulary). MobileNetV2 starts
from random weights unless `--mobilenet-weights imagenet` is given. The paper
does not say what it starts from; its text figures are far above those of random
weights.

Methods that read feature maps (FitNet, ReviewKD, SHAKE) take the vectors of
the tokens, padding included, as a map of width 1. The paper prints no number of
the first two here, and does not say what its SHAKE reads of a text.

Cost: about 1 GB in `--cache`. A run is 100 epochs of 96 steps of 64; three
seeds, two networks that train alone and each method in each direction. The
state of an interrupted run of BERT-base takes about 1 GB.

Settings: those of the paper's section 4.1, in `PaperTraining` and below.
`--smoke` is a trial of a minute, with a small network of random weights.
"""

import dataclasses

from keras_c2kd.comparison import PaperTraining
from keras_c2kd.comparison import Recipe
from keras_c2kd.comparison import image_networks
from keras_c2kd.comparison import run_recipe
from keras_c2kd.comparison import setting
from keras_c2kd.comparison import text_networks
from keras_c2kd.data import ImageReader
from keras_c2kd.data import clean_tweet
from keras_c2kd.data import load_crisis_mmd
from keras_c2kd.models import BertTokens
from keras_c2kd.models import word_vocabulary


@dataclasses.dataclass(frozen=True)
class Settings(PaperTraining):
    """Besides the training: which labels, and what the networks see."""

    annotations: str = setting(
        "agreed",
        "the split where both annotations agree, or all pairs",
        ("agreed", "all"),
    )
    label: str = setting(
        "label", "column of the labels", ("label", "label_text", "label_image")
    )
    tokens: int = setting(
        40, "tokens of a text; longer ones are cut, shorter ones padded"
    )
    image_size: int = setting(
        224, "height and width of a photograph, in pixels"
    )
    text_weights: str = setting(
        "bert_base_en_uncased",
        "BERT's and its tokens': random, or a preset or folder of KerasHub",
    )
    resnet_weights: str = setting(
        "random", "ResNet's: random, or a preset or folder of KerasHub"
    )
    mobilenet_weights: str = setting(
        "random", "MobileNetV2's: random, imagenet, or a file"
    )


def load(settings, seed, data, cache):
    """Index the data set with the readers of the settings."""

    def index(tokens):
        return load_crisis_mmd(
            data,
            tokens,
            annotations=settings.annotations,
            label=settings.label,
            cache=cache,
            image=ImageReader(
                size=settings.image_size, mean=MEAN, standard_deviation=MEAN
            ),
            batch_size=settings.batch_size,
            seed=seed,
        )

    if settings.text_weights != "random":
        source = {"weights": settings.text_weights}
    else:
        samples = index(tokens=None).train.samples
        texts = [clean_tweet(sample.sources["text"]) for sample in samples]
        source = {"vocabulary": word_vocabulary(texts)}
    return index(BertTokens(**source, sequence_length=settings.tokens))


# Pixels of -1 to 1, as ImageNet's weights of MobileNetV2 want them; others get
# their own range from the networks.
MEAN = (0.5, 0.5, 0.5)

RECIPE = Recipe(
    name="crisis_mmd",
    settings=Settings(),
    load=load,
    networks={
        "image": {
            name: image_networks((MEAN, MEAN))[name]
            for name in ("mobilenet_v2", "resnet18", "resnet50", "small")
        },
        "text": text_networks(),
    },
    data_folder="data_image and crisismmd_datasplit_agreed_label (or _all)",
    smoke={
        "epochs": 12,
        "batch_size": 8,
        "learning_rate": 0.02,
        "warmup_epochs": 3,
        "tokens": 12,
        "image_size": 32,
        "text_weights": "random",
    },
    smoke_networks={"image": "small", "text": "small"},
)


if __name__ == "__main__":
    run_recipe(RECIPE, __doc__)
