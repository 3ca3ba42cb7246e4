import dataclasses

import pytest

from keras_c2kd.comparison import METHODS
from keras_c2kd.comparison import PaperTraining
from keras_c2kd.comparison import Recipe
from keras_c2kd.comparison import RunContext
from keras_c2kd.comparison.command_line import _metadata
from keras_c2kd.comparison.command_line import _show_data
from keras_c2kd.comparison.command_line import parse
from keras_c2kd.comparison.training import PROTOCOLS
from keras_c2kd.losses import DISTLoss
from keras_c2kd.methods import C2KD
from tests.recipes.loading import load_recipe

pytestmark = pytest.mark.backend_free


@dataclasses.dataclass(frozen=True)
class Settings(PaperTraining):
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


def parsed(*words, recipe=RECIPE):
    return parse(recipe, "A toy.", ["--data", "folder", *words])


def methods_of(*words, recipe=RECIPE):
    return list(parsed(*words, recipe=recipe).methods)


def test_every_setting_is_an_option():
    options = parsed()
    assert options.settings == Settings()
    assert (list(options.seeds), options.cache) == ([0, 1, 2], "cache/toy")
    options = parsed(
        *("--learning-rate", "0.5", "--epochs", "7", "--is-cropped"),
        *("--protocol", "best_validation", "--image-size", "64"),
        *("--optimizer", "adam"),
    )
    assert options.settings == Settings(
        epochs=7,
        learning_rate=0.5,
        optimizer="adam",
        protocol="best_validation",
        image_size=64,
        is_cropped=True,
    )


RECIPES = (
    *("av_digits", "ave", "crema_d", "crisis_mmd", "digit_views"),
    *("nyu_depth_v2", "rgbd_scenes", "vggsound"),
)


def help_of(recipe, description, capsys):
    with pytest.raises(SystemExit):
        parse(recipe, description, ["--help"])
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("name", RECIPES)
def test_help_describes_every_setting_with_its_default(name, capsys):
    script = load_recipe(name)
    recipe = script.RECIPE
    told = help_of(recipe, script.__doc__, capsys)
    for field in dataclasses.fields(recipe.settings):
        text = _metadata(recipe.settings, field.name)["help"]
        value = getattr(recipe.settings, field.name)
        assert f"{text} (default: {value if value != '' else ''}" in told
    assert "settings of this recipe, stored with every result:" in told
    assert "default: None" not in told
    # All of the docstring.
    assert " ".join(script.__doc__.split()) in told
    # Commands of a docstring are those of the parser.
    for gone in ("--method ", "--out ", "--resume"):
        assert gone not in told


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

    assert _metadata(Other(), "epochs") == _metadata(Settings(), "epochs")
    assert _metadata(Other(), "protocol")["choices"] == PROTOCOLS
    recipe = dataclasses.replace(RECIPE, settings=Other())
    with pytest.raises(SystemExit):
        parsed("--protocol", "best_test", recipe=recipe)


def test_what_is_given_stands_above_the_trial():
    options = parsed("--smoke", "--epochs", "5")
    assert options.settings == Settings(epochs=5, image_size=32)
    assert options.recipe.network("visual") == "small"
    assert list(options.seeds) == [0]
    assert len(parsed("--smoke", "--seeds", "2").seeds) == 2


def test_methods_and_directions_can_be_chosen():
    """What networks alone reach is always there, and comes first."""
    assert methods_of() == ["alone", "kd", "c2kd"]
    assert parsed().students == ["visual", "audio"]
    assert parsed("--student", "audio").students == ["audio"]
    chosen = ["alone", "c2kd", "dkd"]
    assert methods_of("--methods", "c2kd,dkd") == chosen
    assert methods_of("--methods", "c2kd", "--methods", "dkd") == chosen
    assert methods_of("--methods", "supervised,kd") == ["alone", "kd"]
    assert methods_of("--methods", "all") == list(METHODS)


def test_a_recipe_has_rows_of_its_own():
    rows = ("kd", {"c2kd+dist": C2KD(DISTLoss())})
    recipe = dataclasses.replace(
        RECIPE, methods=rows, default_methods=("c2kd+dist",)
    )
    assert methods_of(recipe=recipe) == ["alone", "c2kd+dist"]
    everything = parsed("--methods", "all", recipe=recipe).methods
    assert list(everything) == ["alone", "kd", "c2kd+dist"]
    context = RunContext("visual", 0, 8, 0, ())
    built = everything["c2kd+dist"].build(context)
    assert type(built.divergence) is DISTLoss


def test_arguments_of_methods_can_be_set():
    options = parsed(
        *("--set", "c2kd.cross_modal_weight=2", "--set", "kd.temperature=3.5"),
        *("--set", "c2kd.teacher_update=top", "--set", "kd.learning_rate=0.5"),
    )
    context = RunContext("visual", 0, 8, 0, ())
    c2kd, kd = (options.methods[x].build(context) for x in ("c2kd", "kd"))
    assert (c2kd.cross_modal_weight, c2kd.teacher_update) == (2, "top")
    assert kd.get_config()["temperature"] == 3.5
    assert options.methods["kd"].learning_rate == 0.5
    assert options.methods["c2kd"].learning_rate is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--methods", "c2dk"], "The methods are ('alone', "),
        (["--methods", "kd,kd"], "Received: two of 'kd'"),
        (["--set", "dkd.weight=1"], "of a method that is compared, one of"),
        (["--set", "kd.weight"], "--set takes METHOD.NAME=VALUE"),
        (["--seeds", "0"], "--seeds is at least 1. Received: 0"),
        (["--batch-size", "-1"], "`batch_size` must be an integer"),
        (["--student", "video"], "invalid choice"),
        (["--protocol", "best_test"], "invalid choice"),
        (["--processes", "0"], "`processes` must be at least 1"),
        (["--processes", "2", "--devices", "2"], "choose one of them"),
        (["--student-network", "small"], "Networks for audio are ('resnet18',"),
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
    _show_data(
        {
            "data_set": "Toys",
            "sizes": {"train": 3, "test": 2},
            "missing": [],
            "unreadable": [entry] * 22,
            "excluded": [{"name": "other", "reason": "is twice\x1b there"}],
        }
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Toys: 3 train, 2 test samples"
    assert lines[1] == "  unreadable: clip: audio is silent"
    # What steers a terminal is blank.
    assert lines[-2:] == [
        "  unreadable: 2 more",
        "  excluded: other: is twice  there",
    ]
    assert len(lines) == 23
