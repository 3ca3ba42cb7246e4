"""A table of files compared from the command line."""

import numpy as np
import pytest
import soundfile
from PIL import Image

from keras_c2kd.comparison import command_line
from keras_c2kd.comparison import file_table
from keras_c2kd.comparison.file_table import recipe_of_table
from tests.data.media_files import tone
from tests.data.media_files import write_video

CLASSES = ("run", "walk")


def write_arrays(folder, rows=24, header=("wrist", "camera", "label"), **more):
    """A table of recordings (steps, channels) and vectors in a folder."""
    random = np.random.default_rng(0)
    (folder / "files").mkdir()
    lines = [",".join((*header, *more))]
    for row in range(rows):
        label = row % 2
        wrist = random.normal(label, 0.5, (16, 3)).astype("float32")
        camera = random.normal(2 * label, 0.5, 5).astype("float32")
        for name, array in (("wrist", wrist), ("camera", camera)):
            np.save(folder / "files" / f"{name}{row}.npy", array)
        cells = [f"wrist{row}.npy", f"camera{row}.npy", CLASSES[label]]
        cells += [column[row] for column in more.values()]
        lines.append(",".join(cells))
    (folder / "pairs.csv").write_text("\n".join(lines))
    return [
        *("--table", str(folder / "pairs.csv"), "--root"),
        *(str(folder / "files"), "--modalities", "wrist,camera"),
    ]


def splits_of(words):
    recipe, _, left = recipe_of_table(words)
    options = command_line.parse(recipe, "", left)
    return recipe.load(options.settings, 0, options.data, None)


@pytest.mark.one_backend
def test_methods_are_compared_on_a_table(tmp_path, monkeypatch, capsys):
    """The whole command."""
    monkeypatch.chdir(tmp_path)
    words = write_arrays(tmp_path, group=[str(n // 4) for n in range(24)])
    file_table.main(
        [
            *(*words, "--group", "group", "--student", "wrist", "--seeds", "1"),
            *("--methods", "supervised,kd,c2kd", "--epochs", "2"),
            *("--set", "c2kd.cross_modal_weight=2", "--folder", "x"),
        ]
    )
    told = capsys.readouterr().out
    assert "3 runs" not in told and "4 runs of 2 epochs" in told
    table = (tmp_path / "x" / "table.md").read_text()
    for name in ("alone", "kd", "c2kd"):
        assert f"| wrist     | {name} " in table
    assert "by groups" in table
    runs = sorted(x.name for x in (tmp_path / "x" / "runs").glob("*.json"))
    assert [name.rpartition("-")[0] for name in runs] == [
        "alone-camera-dense-seed0",
        "alone-wrist-time_series-seed0",
        "c2kd-wrist-time_series-dense-seed0",
        "kd-wrist-time_series-dense-seed0",
    ]


@pytest.mark.backend_free
def test_the_words_that_are_left_are_those_of_every_recipe(tmp_path):
    words = write_arrays(tmp_path)
    recipe, told, left = recipe_of_table([*words, "--seeds", "5", "--smoke"])
    data = str(tmp_path / "files")
    assert left == ["--data", data, "--seeds", "5", "--smoke"]
    assert recipe.name == "pairs"
    assert recipe.modalities == ("wrist", "camera")
    for option in ("--table", "--group", "--audio-rate", "--image-size"):
        assert option in told


@pytest.mark.backend_free
def test_help_shows_both_groups_of_options(capsys):
    with pytest.raises(SystemExit) as ended:
        file_table.main(["--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    for option in ("--table", "--modalities", "--root", "--seconds", "--set"):
        assert f"\n  {option} " in told
    # A command that can be copied.
    assert "--table pairs.csv \\\n" in told


@pytest.mark.backend_free
def test_a_column_of_parts_is_used_if_it_is_there(tmp_path):
    parts = ["train"] * 12 + ["validation"] * 4 + ["test"] * 8
    words = write_arrays(tmp_path, split=parts)
    sizes = splits_of(words).provenance["sizes"]
    assert sizes == {"train": 12, "validation": 4, "test": 8}
    other = write_arrays_again(tmp_path, "split", "part")
    assert splits_of(words).provenance["sizes"] != sizes
    assert splits_of([*other, "--split", "part"]).provenance["sizes"] == sizes


def write_arrays_again(folder, old, new):
    path = folder / "pairs.csv"
    path.write_text(path.read_text().replace(old, new, 1))
    return [
        *("--table", str(path), "--root", str(folder / "files")),
        *("--modalities", "wrist,camera"),
    ]


@pytest.mark.backend_free
def test_readers_and_networks_follow_from_the_files(tmp_path):
    lines = ["sound,photo,clip,label"]
    for row in range(12):
        label = row % 2
        colour = (255 * label, 0, 0)
        wave = tone(300.0 + 300 * label, 1.0, 8000)[0]
        soundfile.write(tmp_path / f"{row}.wav", wave, 8000)
        Image.new("RGB", (20, 16), colour).save(tmp_path / f"{row}.JPG")
        write_video(tmp_path / f"{row}.mp4", [colour] * 10)
        lines.append(f"{row}.wav,{row}.JPG,{row}.mp4,{label}")
    (tmp_path / "media.csv").write_text("\n".join(lines))
    words = ["--table", str(tmp_path / "media.csv"), "--image-size", "16"]
    words += ["--audio-rate", "4000", "--seconds", "0.5", "--frames", "2"]
    first = splits_of([*words, "--modalities", "sound,photo"])
    inputs, labels = first.test.batch([0, 1])
    # Windows of 128 samples, 32 milliseconds, half of it a step.
    assert inputs["sound"].shape == (2, 65, 32, 1)
    assert inputs["photo"].shape == (2, 16, 16, 3)
    assert labels.dtype.kind == "i"
    second = splits_of([*words, "--modalities", "sound,clip"])
    assert second.test.batch([0])[0]["clip"].shape == (1, 2, 16, 16, 3)
    # The sound of a video, where it is asked for.
    recipe, _, _ = recipe_of_table([*words, "--modalities", "clip=sound,photo"])
    assert set(recipe.networks["clip"]) == {"small", "resnet18"}


@pytest.mark.parametrize(
    ("shape", "name"),
    [((7,), "dense"), ((12, 3), "time_series"), ((16, 16, 2), "small")],
)
def test_arrays_have_a_network_for_their_axes(tmp_path, shape, name):
    np.save(tmp_path / "a.npy", np.zeros(shape))
    (tmp_path / "t.csv").write_text("a,b,label\na.npy,a.npy,0\na.npy,a.npy,1")
    words = ["--table", str(tmp_path / "t.csv"), "--modalities", "a,b"]
    recipe, _, _ = recipe_of_table(words)
    network = next(iter(recipe.networks["a"].values()))(shape, 3, None)
    assert name in recipe.networks["a"]
    assert network.input_shape == (None, *shape)
    assert network.output_shape == (None, 3)
    assert {"stage_1", "stage_2", "pool", "logits"} <= {
        layer.name for layer in network.layers
    }


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--modalities", "wrist"], "two modalities. Received: ['wrist']"),
        (["--modalities", "wrist,nose"], "of which ['nose'] are asked for"),
        (["--modalities", "wrist,label"], "TextReader(...)}) and keras_c2kd."),
        (["--modalities", "wrist=smell,camera"], "The kinds of files are"),
        (["--root", "nowhere"], "Name their folder: --root"),
        (["--table", "nowhere.csv"], "nowhere.csv"),
        (["--label", "class"], "of which ['class'] are asked for"),
    ],
)
def test_errors_in_words(tmp_path, capsys, words, message):
    given = write_arrays(tmp_path)
    with pytest.raises(SystemExit) as ended:
        file_table.main([*given, *words])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.backend_free
def test_shapes_without_a_network_are_compared_in_python(tmp_path, capsys):
    np.save(tmp_path / "a.npy", np.zeros((2, 3, 4, 5)))
    (tmp_path / "t.csv").write_text("a,b,label\na.npy,a.npy,0")
    words = ["--table", str(tmp_path / "t.csv"), "--modalities", "a,b"]
    with pytest.raises(SystemExit):
        file_table.main(words)
    told = capsys.readouterr().err
    assert "'a' of shape (2, 3, 4, 5)" in told and "keras_c2kd.compare" in told
