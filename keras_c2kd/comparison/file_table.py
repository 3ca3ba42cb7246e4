r"""Methods compared on a table of files, without a line of Python.

    python -m keras_c2kd.comparison --table pairs.csv \
        --modalities wrist,camera --student wrist --methods kd,c2kd \
        --set c2kd.cross_modal_weight=2 --seeds 5 --folder results/x

The table is a CSV file with a row a sample: a column of file names for each
modality, and one of labels (no text: no label). The reader and the network of
a modality follow from the endings of its files: sound becomes a spectrogram, a
video one or several frames, and `.npy` files are a vector, a recording (steps,
channels) or a picture (height, width, channels), all of one shape.
"""

import argparse
import dataclasses
import functools
import pathlib
import sys
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_c2kd import models
from keras_c2kd.comparison.command_line import HelpFormatter
from keras_c2kd.comparison.command_line import run_recipe
from keras_c2kd.comparison.recipe import BuildNetwork
from keras_c2kd.comparison.recipe import Recipe
from keras_c2kd.comparison.training import Training
from keras_c2kd.data.file_tables import read_table
from keras_c2kd.data.modality_readers import AudioReader
from keras_c2kd.data.modality_readers import FrameReader
from keras_c2kd.data.modality_readers import ImageReader
from keras_c2kd.data.modality_readers import NumpyReader
from keras_c2kd.data.paired_splits import PairedSplits
from keras_c2kd.data.spectrogram import LogSpectrogram

ENDINGS = {
    "sound": (".wav", ".flac", ".ogg", ".mp3", ".m4a", ".aac", ".opus"),
    "picture": (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"),
    "video": (".mp4", ".avi", ".mov", ".mkv", ".webm", ".flv", ".mpg"),
    "array": (".npy",),
}
BATCH_SIZE = 64


def main(words: Sequence[str] | None = None) -> None:
    """Compare methods on a table of files.

    Args:
        words: The words of the command line; None (default) for the real ones.
    """
    run_recipe(*recipe_of_table(sys.argv[1:] if words is None else words))


def recipe_of_table(words: Sequence[str]) -> tuple[Recipe, str, list[str]]:
    """Return the recipe of a table of files from a command line.

    Args:
        words: The words of the command line.

    Returns:
        The `Recipe`; the description for `--help`, with the options of the
        table; and the words that are left for `run_recipe`.
    """
    parser = _parser()
    description = f"{__doc__}\n{parser.format_help()}"
    if {"-h", "--help"} & set(words):
        names = {name: _vector_networks() for name in ("wrist", "camera")}
        load = functools.partial(_load, table=pathlib.Path(), readers={})
        recipe = Recipe("<name of the table>", Training(), load, names)
        return _with_folder(recipe), description, ["--help"]
    options, left = parser.parse_known_args(list(words))
    try:
        recipe = _recipe(options)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    # First: where it is given again, the last one counts.
    return recipe, description, ["--data", str(_root(options)), *left]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m keras_c2kd.comparison",
        usage=argparse.SUPPRESS,
        formatter_class=HelpFormatter,
        add_help=False,
        allow_abbrev=False,
    )
    group = parser.add_argument_group("the table")
    add = group.add_argument
    add("--table", required=True, help="CSV file, the first row has names")
    add(
        "--modalities",
        required=True,
        metavar="A,B",
        help="the two columns of file names; A=sound says what is read of "
        f"files: {', '.join(ENDINGS)}; their endings say it if not given",
    )
    add("--label", default="label", help="column of the labels")
    add(
        "--split",
        help="column of train, validation, test; 'split' if there is one, "
        "else a fifth is tested, a fifth of the rest validates",
    )
    add(
        "--group",
        help="column of what is never in two parts, such as the person",
    )
    add("--root", help="folder of the files; that of the table if not given")
    add("--image-size", type=int, default=64, help="pixels of height and width")
    add("--frames", type=int, default=1, help="frames that are seen of a video")
    add("--audio-rate", type=int, default=16000, help="samples a second")
    add("--seconds", type=float, default=3.0, help="of sound, cut or repeated")
    return parser


def _root(options: argparse.Namespace) -> pathlib.Path:
    """Return the folder of the files."""
    return pathlib.Path(options.root or pathlib.Path(options.table).parent)


def _with_folder(recipe: Recipe) -> Recipe:
    return dataclasses.replace(
        recipe, data_folder="the files of the table, as --root"
    )


def _recipe(options: argparse.Namespace) -> Recipe:
    """Return the recipe of a table that is looked into."""
    kinds = dict(
        part.partition("=")[::2] for part in options.modalities.split(",")
    )
    path = pathlib.Path(options.table)
    _, table = read_table(path, [*kinds, options.label])
    if options.split is None and "split" in table:
        options.split = "split"
    readers: dict[str, Any] = {}
    networks: dict[str, Mapping[str, BuildNetwork]] = {}
    for modality, kind in kinds.items():
        files = [cell for cell in table[modality] if cell]
        kind = kind or _kind_of(modality, files)
        readers[modality], networks[modality] = _reader_and_networks(
            modality, kind, files, options
        )
    load = functools.partial(
        _load,
        table=path,
        readers=readers,
        label=options.label,
        split=options.split,
        group=options.group,
    )
    recipe = Recipe(path.stem, Training(), load, networks, smoke={"epochs": 2})
    return _with_folder(recipe)


def _load(
    settings: Training,
    seed: int,
    data: Any,
    cache: str | None,
    table: pathlib.Path,
    readers: Mapping[str, Any],
    **columns: Any,
) -> PairedSplits:
    return PairedSplits.from_csv(
        table,
        modalities=readers,
        root=data,
        cache=cache,
        batch_size=settings.batch_size or BATCH_SIZE,
        seed=seed,
        **columns,
    )


def _kind_of(modality: str, files: Sequence[str]) -> str:
    """Return what the endings of a modality's files say that they are."""
    found: dict[str, str] = {}
    for name in files:
        ending = pathlib.PurePath(name).suffix.lower()
        kinds = [kind for kind in ENDINGS if ending in ENDINGS[kind]]
        found.setdefault(kinds[0] if kinds else "", name)
    if len(found) != 1 or "" in found:
        known = "; ".join(f"{k}: {', '.join(e)}" for k, e in ENDINGS.items())
        received = found.get("", ", ".join(found.values()))[:80]
        raise ValueError(
            "All files of a modality are of one kind, which their endings "
            f"say ({known}). Received: {modality!r} with {received!r}. Name "
            f"the kind, --modalities {modality}=sound; texts and others are "
            "compared in Python: PairedSplits.from_csv("
            f"{{{modality!r}: TextReader(...)}}) and keras_c2kd.compare(...)"
        )
    return next(iter(found))


def _reader_and_networks(
    modality: str,
    kind: str,
    files: Sequence[str],
    options: argparse.Namespace,
) -> tuple[Any, Mapping[str, BuildNetwork]]:
    """Return what reads a modality's files, and the networks for it."""
    if kind == "sound":
        # A power of two of about 32 milliseconds.
        window = 1 << round(np.log2(0.032 * options.audio_rate))
        spectrogram = LogSpectrogram(
            options.audio_rate,
            options.seconds,
            window,
            hop=window // 2,
            standardize=True,
        )
        return AudioReader(spectrogram), _picture_networks()
    if kind == "picture":
        return ImageReader(size=options.image_size), _picture_networks()
    if kind == "video":
        reader = FrameReader(size=options.image_size, frames=options.frames)
        return reader, _picture_networks()
    if kind == "array":
        shape = _shape_of(modality, files, _root(options))
        by_axes: dict[int, Callable[[], Mapping[str, BuildNetwork]]] = {
            1: _vector_networks,
            2: _recording_networks,
            3: _picture_networks,
        }
        if len(shape) not in by_axes:
            raise ValueError(
                "Arrays are vectors, recordings (steps, channels) or pictures "
                f"(height, width, channels). Received: {modality!r} of shape "
                f"{shape}. Build a network for it in Python: "
                "keras_c2kd.compare(...)"
            )
        return NumpyReader(shape), by_axes[len(shape)]()
    raise ValueError(
        f"The kinds of files are {', '.join(ENDINGS)}. Received: "
        f"--modalities {modality}={kind}"
    )


def _shape_of(
    modality: str, files: Sequence[str], root: pathlib.Path
) -> tuple[int, ...]:
    """Return the shape of the first array that can be read."""
    for name in files:
        try:
            return tuple(np.load(root / name, mmap_mode="r").shape)
        except (OSError, ValueError, EOFError):
            continue
    raise ValueError(
        f"The files of a table lie in {root}. Received: {modality!r} without "
        "one array that can be read. Name their folder: --root"
    )


def _picture_networks() -> dict[str, BuildNetwork]:
    return {
        "small": lambda shape, classes, _: models.SmallConvNet(shape, classes),
        "resnet18": lambda shape, classes, _: models.ResNet18(shape, classes),
    }


def _recording_networks() -> dict[str, BuildNetwork]:
    return {
        "time_series": lambda shape, classes, _: models.TimeSeriesNetwork(
            shape, classes
        )
    }


def _vector_networks() -> dict[str, BuildNetwork]:
    return {"dense": _dense_network}


def _dense_network(shape: Any, classes: int, settings: Any) -> keras.Model:
    """Return two dense layers and a classifier."""
    layers = keras.layers
    inputs = vector = keras.Input(shape)
    for number in (1, 2):
        vector = layers.Dense(128, use_bias=False)(vector)
        # Of any scale; a small table has few steps.
        vector = layers.BatchNormalization(momentum=0.9)(vector)
        vector = layers.ReLU(name=f"stage_{number}")(vector)
    kept = layers.Dropout(0.3, name="pool")(vector)
    return keras.Model(inputs, layers.Dense(classes, name="logits")(kept))
