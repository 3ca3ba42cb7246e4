import dataclasses

import pytest

from keras_c2kd.experiments import METHOD_ROWS
from keras_c2kd.experiments import Recipe
from keras_c2kd.experiments import Training
from keras_c2kd.experiments.command_line import parse
from keras_c2kd.experiments.command_line import show_data
from keras_c2kd.experiments.recipe import PROTOCOLS
from keras_c2kd.experiments.settings import metadata_of
from tests.recipes.loading import load_recipe

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


RECIPES = (
    *("av_digits", "ave", "crema_d", "crisis_mmd", "nyu_depth_v2"),
    *("rgbd_scenes", "vggsound", "modality_gap_study"),
)


def help_of(recipe, description, capsys):
    with pytest.raises(SystemExit):
        parse(recipe, description, ["--help"])
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("name", RECIPES)
def test_help_describes_every_setting_with_its_default(name, capsys):
    script = load_recipe(name)
    recipe = getattr(script, "RECIPE", None) or script.STUDY.recipe
    told = help_of(recipe, script.__doc__, capsys)
    for field in dataclasses.fields(recipe.settings):
        text = metadata_of(recipe.settings, field.name)["help"]
        value = getattr(recipe.settings, field.name)
        assert f"{text} (default: {value if value != '' else 'none'})" in told
    assert "settings of this recipe, stored with every result:" in told
    assert "default: None" not in told
    # All of the docstring.
    assert " ".join(script.__doc__.split()) in told


def test_the_export_says_what_its_files_are(capsys):
    with pytest.raises(SystemExit):
        load_recipe("export_student").arguments(["--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert (
        "files what to write: .onnx, .xml, .tflite, .pt2, or a folder" in told
    )


def test_help_keeps_the_lines_of_a_command(capsys):
    with pytest.raises(SystemExit):
        parse(RECIPE, "A toy.\n\n    command --one\n", ["--help"])
    assert "A toy.\n\n    command --one\n" in capsys.readouterr().out


def test_another_default_keeps_description_and_choices():
    @dataclasses.dataclass(frozen=True)
    class Other(Settings):
        epochs: int = 3
        protocol: str = "best_validation"

    assert metadata_of(Other(), "epochs") == metadata_of(Settings(), "epochs")
    assert metadata_of(Other(), "protocol")["choices"] == PROTOCOLS
    recipe = dataclasses.replace(RECIPE, settings=Other())
    with pytest.raises(SystemExit):
        parse(recipe, "", ["--data", "folder", "--protocol", "best_test"])


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
