import dataclasses

import pytest

from keras_c2kd.experiments import METHOD_ROWS
from keras_c2kd.experiments import Recipe
from keras_c2kd.experiments import Training
from keras_c2kd.experiments.command_line import parse
from keras_c2kd.experiments.command_line import show_data

pytestmark = pytest.mark.backend_free


@dataclasses.dataclass(frozen=True)
class Settings(Training):
    image_size: int = 224
    is_cropped: bool = False


RECIPE = Recipe(
    name="toy",
    settings=Settings(),
    load=None,
    networks={
        "visual": {"resnet18": None, "small": None},
        "audio": {"resnet18": None},
    },
    data_folder="clips",
    smoke={"epochs": 2, "image_size": 32},
    smoke_networks={"visual": "small"},
)


def parsed(*words):
    return parse(RECIPE, "A toy.", ["--data", "folder", *words])


def test_every_setting_is_an_option():
    options = parsed()
    assert options.settings == Settings()
    assert (options.seeds, options.cache) == (3, "cache/toy")
    options = parsed(
        *("--learning-rate", "0.5", "--epochs", "7", "--is-cropped"),
        *("--protocol", "best_validation", "--image-size", "64"),
    )
    assert options.settings == Settings(
        epochs=7,
        learning_rate=0.5,
        protocol="best_validation",
        image_size=64,
        is_cropped=True,
    )


def test_what_is_given_stands_above_the_trial():
    options = parsed("--smoke", "--epochs", "5")
    assert options.settings == Settings(epochs=5, image_size=32)
    assert options.recipe.network("visual") == "small"
    assert options.seeds == 1
    assert parsed("--smoke", "--seeds", "2").seeds == 2


def test_methods_and_directions_can_be_chosen():
    assert parsed().methods == ["kd", "c2kd"]
    assert parsed().students == ["visual", "audio"]
    assert parsed("--student", "audio").students == ["audio"]
    both = parsed("--method", "c2kd,dkd").methods
    assert both == parsed("--method", "dkd", "--method", "c2kd").methods
    assert both == ["dkd", "c2kd"]
    assert parsed("--method", "all").methods == list(METHOD_ROWS)
    others = parsed("--method", "c2kd@cosine=0.2,c2kd@all,kd").methods
    assert others == ["kd", "c2kd@cosine=0.2", "c2kd@all"]
    more = parsed("--method", "all,kd@cosine=0.2").methods
    assert set(more) == {*METHOD_ROWS, "kd@cosine=0.2"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--method", "c2dk"], "--method must name some of"),
        (["--method", "kd@cosin=0.2"], "--method: A selection is"),
        (["--seeds", "0"], "--seeds must be at least 1. Received: 0"),
        (["--batch-size", "-1"], "--batch-size must be at least 1"),
        (["--student", "video"], "invalid choice"),
        (["--protocol", "best_test"], "invalid choice"),
        (
            ["--student-network", "small"],
            "--student-network: Networks for audio are ('resnet18',)",
        ),
    ],
)
def test_bad_arguments_are_refused(capsys, words, message):
    with pytest.raises(SystemExit):
        parsed(*words)
    assert message in capsys.readouterr().err


def test_media_need_their_folder(capsys):
    with pytest.raises(SystemExit):
        parse(RECIPE, "A toy.", [])
    assert "--data" in capsys.readouterr().err
    embedded = dataclasses.replace(RECIPE, data_folder=None)
    assert parse(embedded, "A toy.", []).data is None


def test_what_is_left_out_is_shown(capsys):
    entry = {"name": "clip", "modality": "audio", "reason": "is silent"}
    show_data(
        {
            "data_set": "Toys",
            "sizes": {"train": 3, "test": 2},
            "missing": [],
            "unreadable": [entry] * 12,
            "excluded": [{"name": "other", "reason": "is twice there"}],
        }
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Toys: 3 train, 2 test samples"
    assert lines[1] == "  unreadable: clip: audio is silent"
    assert lines[-2:] == [
        "  unreadable: 2 more",
        "  excluded: other: is twice there",
    ]
    assert len(lines) == 13
