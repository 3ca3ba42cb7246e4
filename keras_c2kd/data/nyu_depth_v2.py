"""NYU-Depth V2: indoor scenes in colour and depth, 40 classes a pixel."""

import dataclasses
import math
import os
import pathlib
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_c2kd.data.matlab_files import read_matlab_array
from keras_c2kd.data.media import MediaError
from keras_c2kd.data.media import reader_module
from keras_c2kd.data.paired_dataset import Sample
from keras_c2kd.data.paired_dataset import Source
from keras_c2kd.data.paired_splits import PairedSplits
from keras_c2kd.data.paired_splits import check_validate_on
from keras_c2kd.data.paired_splits import described_split
from keras_c2kd.data.paired_splits import paired_splits
from keras_c2kd.data.paired_splits import split_off
from keras_c2kd.data.scene_dataset import IGNORED
from keras_c2kd.data.scene_dataset import LABELS
from keras_c2kd.data.scene_dataset import ColourReader
from keras_c2kd.data.scene_dataset import DepthReader
from keras_c2kd.data.scene_dataset import LabelReader
from keras_c2kd.data.scene_dataset import SceneDataset
from keras_c2kd.data.scene_dataset import ScenePlacement

# In the order and the spelling of the mapping.
CLASSES = (
    "wall",
    "floor",
    "cabinet",
    "bed",
    "chair",
    "sofa",
    "table",
    "door",
    "window",
    "bookshelf",
    "picture",
    "counter",
    "blinds",
    "desk",
    "shelves",
    "curtain",
    "dresser",
    "pillow",
    "mirror",
    "floor mat",
    "clothes",
    "ceiling",
    "books",
    "refridgerator",
    "television",
    "paper",
    "towel",
    "shower curtain",
    "box",
    "whiteboard",
    "person",
    "night stand",
    "toilet",
    "sink",
    "lamp",
    "bathtub",
    "bag",
    "otherstructure",
    "otherfurniture",
    "otherprop",
)

# 0.5, 0.6, ... 2.0, as in CIRKD's recipe.
SCALES = tuple(tenth / 10 for tenth in range(5, 21))

_FRAMES = "nyu_depth_v2_labeled.mat"
_SPLITS = "splits.mat"
_MAPPING = "classMapping40.mat"
# Each file, and where it comes from.
_FILES = {
    _FRAMES: "the labelled part (2.8 GB) from the data set's site, "
    "cs.nyu.edu/~silberman/datasets/nyu_depth_v2.html",
    _SPLITS: "the official split, indoor_seg_sup/splits.mat of the data set's "
    "authors, horatio.cs.nyu.edu/mit/silberman",
    _MAPPING: "894 labels to 40 classes (Gupta et al., CVPR 2013), for "
    "example from github.com/ankurhanda/nyuv2-meta-data",
}
_DEPTHS = ("depths", "rawDepths")
# Of a frame, before the file is taken for damaged.
_MOST_PIXELS = 2**26
# Of images, depth and labels: whole numbers and floats, as numpy calls them.
_KINDS = ["u", "f", "u"]


def load_nyu_depth_v2(
    root: str | os.PathLike[str],
    cache: str | os.PathLike[str] | None = None,
    crop: tuple[int, int] | None = None,
    evaluation_size: tuple[int, int] | None = None,
    scales: Sequence[float] = SCALES,
    mirror: bool = True,
    scale_depth: bool = True,
    depth_source: str = "depths",
    depth_encoding: str = "metres",
    depth_channels: int = 1,
    validation_fraction: float = 0.1,
    validate_on: str = "validation",
    batch_size: int = 16,
    **kwargs: Any,
) -> PairedSplits:
    """Index the labelled part of NYU-Depth V2, as it is distributed.

    `<root>/nyu_depth_v2_labeled.mat`, which is read a frame at a time, and
    beside it `splits.mat` and `classMapping40.mat`. The split is the official
    one, 795 frames to train on and 654 to report. The frames to choose with
    are taken from those of training, whole scenes at a time, so that none is
    in both.

    The paper states neither the crop nor the encoding of depth; those here
    are a choice. Scales, padding, crop and mirror are CIRKD's.

    Evaluation sees whole frames at full resolution: none is cut or resized,
    and where `evaluation_size` pads them the padding is `IGNORED`. Networks
    of a fixed size, which heads such as C2KD's proxies need, must find
    training alike, so the crop is by default as large as the frames in
    evaluation, 480 x 640. Smaller crops, such as `(480, 480)`, are for
    methods without heads and networks for `(None, None, channels)`; or give
    the trained weights to the same network built for the size of evaluation.

    Args:
        root: Folder of the three files. It is only read.
        cache: Folder of frames as arrays, 4 GB for all, or None to take them
            from the compressed file each time.
        crop: Height and width of training's crops. Defaults to None, those
            of evaluation.
        evaluation_size: Height and width that whole frames are padded to,
            for networks that need multiples of some number. Defaults to
            None, their own.
        scales: Floats, one of which resizes a frame of training. Defaults to
            `SCALES`, 0.5 to 2.0.
        mirror: Whether training mirrors. Defaults to `True`.
        scale_depth: Whether depth is divided by the scale, as if the camera
            had come nearer. Defaults to `True`.
        depth_source: `"depths"` (default), whose holes are filled, or
            `"rawDepths"`, as measured.
        depth_encoding: `"metres"` (default), `"log"` or `"disparity"`, see
            `DepthReader`.
        depth_channels: Integer, copies of the encoded depth; 3 for networks
            that were trained on colour. Defaults to `1`.
        validation_fraction: Float, fraction of the training scenes to choose
            with. Defaults to `0.1`.
        validate_on: `"validation"` (default), or `"test"`: no frames are
            taken from training, and the test frames choose. What is then
            reported was chosen on what it is reported on.
        batch_size: Integer. Defaults to `16`, as in the paper.
        **kwargs: As for `SceneDataset`, such as `workers` and `seed`, that of
            the training batches: the splits do not depend on it.

    Returns:
        `PairedSplits`; batches have the modalities `rgb`,
        `(height, width, 3)`, and `depth`, `(height, width, depth_channels)`,
        and labels in the order of `CLASSES`, int32 `(height, width)`, with
        `IGNORED` where there is none.

    Raises:
        ValueError: If a file or a part of it is missing, they do not fit one
            another, or an argument is not one of those named.
        ImportError: If h5py is not installed (extra `data`).

    Example:
    ```python
    scenes = load_nyu_depth_v2("/path/to/NYU", crop=(480, 480))
    scenes.prepare()
    inputs, labels = scenes.train[0]
    ```

    Reference: Silberman et al., ECCV 2012; no licence is stated. Huo et al.,
    CVPR 2024, section 4.2.
    """
    check_validate_on(validate_on, ("validation", "test"))
    if depth_source not in _DEPTHS:
        raise ValueError(
            f"`depth_source` is one of {_DEPTHS}. Received: "
            f"depth_source={depth_source!r}"
        )
    root = pathlib.Path(root)
    _check_files(root)
    scenes, num_labels = _read_index(root / _FRAMES, depth_source)
    classes = _read_mapping(root / _MAPPING, num_labels)
    train, test = _read_split(root / _SPLITS, len(scenes))
    validation = test
    if validate_on == "validation":
        validation, train = _split_scenes(train, scenes, validation_fraction)
    placement = ScenePlacement(crop, evaluation_size, scales, mirror)
    checksum = zlib.crc32(classes.tobytes()) >> 1
    return paired_splits(
        "NYU-Depth V2",
        CLASSES,
        {
            part: [_sample(root / _FRAMES, n, checksum) for n in numbers]
            for part, numbers in (
                ("train", train),
                ("validation", validation),
                ("test", test),
            )
        },
        {
            "rgb": ColourReader(placement, *_reading("images")),
            "depth": DepthReader(
                placement,
                *_reading(depth_source),
                depth_encoding,
                depth_channels,
                scale_depth,
            ),
            LABELS: LabelReader(placement, *_reading("labels"), classes),
        },
        described_split(f"official, {depth_source}", validate_on),
        kind=SceneDataset,
        cache=cache,
        root=root,
        batch_size=batch_size,
        **kwargs,
    )


def _split_scenes(
    numbers: list[int], scenes: list[str], fraction: float
) -> tuple[list[int], list[int]]:
    """Divide frames, whole scenes at a time: a fraction, and the rest."""
    if not 0 < fraction < 1:
        raise ValueError(
            "Scenes must be left to train on and to choose with: "
            "`validation_fraction` is between 0 and 1. Received: "
            f"validation_fraction={fraction}"
        )
    names = sorted({scenes[number - 1] for number in numbers})
    chosen = set(split_off(names, fraction)[0])
    return (
        [number for number in numbers if scenes[number - 1] in chosen],
        [number for number in numbers if scenes[number - 1] not in chosen],
    )


def _sample(path: pathlib.Path, number: int, checksum: int) -> Sample:
    """Return the sample of a frame, whose number counts from 1."""
    # The part of the file from one frame to the next.
    source = Source(path, number - 1, number)
    sources = dict.fromkeys(("rgb", "depth", LABELS), source)
    return Sample(f"{number:04d}", checksum, sources)


@dataclasses.dataclass(frozen=True)
class _Frames:
    """Reads single frames of an array of the MATLAB file.

    The file is opened for each frame, which costs little beside reading it:
    nothing is left open that threads, forked processes or a pickle could
    carry along.
    """

    key: str

    def __call__(self, source: Source) -> NDArray[Any]:
        number = int(source.start)
        try:
            with reader_module("h5py").File(source.path, "r") as file:
                frame = _array(file, self.key)[number]
        except ImportError:
            raise
        # Readers answer broken bytes with any exception.
        except Exception as error:
            raise MediaError(
                source.path,
                f"has no frame {number + 1} of {self.key!r} ({error})",
            ) from error
        # MATLAB's axes come in reverse: columns before rows.
        return np.ascontiguousarray(frame.T)


def _reading(key: str) -> tuple[_Frames, dict[str, Any]]:
    """Return how an array is read, and what its frames in a cache are of."""
    return _Frames(key), {"nyu_depth_v2": 1, "array": key}


def _check_files(root: pathlib.Path) -> None:
    missing = [name for name in _FILES if not (root / name).is_file()]
    if missing:
        raise ValueError(
            "NYU-Depth V2 has three files in one folder. Received: "
            f"{root} without "
            + "; ".join(f"{name} ({_FILES[name]})" for name in missing)
        )


def _read_index(path: pathlib.Path, depth_source: str) -> tuple[list[str], int]:
    """Return the scene of each frame, and the number of labels."""
    h5py = reader_module("h5py")
    needed = ("images", depth_source, "labels", "scenes", "names")
    shapes, kinds, scenes, sizes = [], [], [], {}
    try:
        with h5py.File(path, "r") as file:
            absent = [key for key in needed if key not in file]
            if not absent:
                arrays = {key: _array(file, key) for key in needed}
                shapes = [arrays[key].shape for key in needed[:3]]
                kinds = [arrays[key].dtype.kind for key in needed[:3]]
                sizes = {key: arrays[key].size for key in needed[3:]}
            # A damaged file may claim any number of scenes.
            if shapes and sizes["scenes"] == shapes[0][0]:
                # Cells are references to arrays of characters.
                scenes = [
                    "".join(map(chr, _own(file[cell])[()].ravel()))
                    for cell in arrays["scenes"][()].ravel()
                ]
    # Readers answer broken bytes with any exception.
    except Exception as error:
        raise ValueError(
            f"{_FRAMES} must be a whole MATLAB 7.3 file. Received: {path}, "
            f"which cannot be read ({error!r}). Download it again."
        ) from error
    if absent:
        raise ValueError(
            f"{_FRAMES} needs {needed}. Received: {path} without {absent}. "
            "Download it again."
        )
    frames, *others = shapes
    expected = (frames[0], *frames[2:])
    if len(frames) != 4 or frames[1] != 3 or others != [expected] * 2:
        raise ValueError(
            "Read from Python, `images` is (frames, 3, width, height) and "
            "depth and labels are (frames, width, height). Received: "
            f"{dict(zip(needed, shapes))} in {path}"
        )
    if not 0 < math.prod(frames[2:]) <= _MOST_PIXELS or kinds != _KINDS:
        raise ValueError(
            f"A frame has up to {_MOST_PIXELS:,} pixels, and images, depth "
            f"and labels are numbers of the kinds {_KINDS}. Received: "
            f"{frames[2:]} pixels of {kinds} in {path}. Download it again."
        )
    if sizes["scenes"] != frames[0]:
        raise ValueError(
            "Every frame has a scene. Received: "
            f"{sizes['scenes']} scenes for {frames[0]} frames in {path}"
        )
    return scenes, sizes["names"]


def _array(file: Any, key: str) -> Any:
    """Return an array of an HDF5 file; a link leads to another file."""
    link = file.get(key, getlink=True)
    if not isinstance(link, reader_module("h5py").HardLink):
        raise OSError(f"{key!r} is a link, not an array of the file")
    return _own(file[key])


def _own(array: Any) -> Any:
    """Return an array of an HDF5 file if the file itself holds its values."""
    if not isinstance(array, reader_module("h5py").Dataset):
        raise OSError(f"{array.name!r} is no array")
    if array.external or array.is_virtual:
        raise OSError(f"{array.name!r} is read from other files")
    stored = array.id.get_storage_size()
    if array.nbytes > max(_SMALL, _MOST_COMPRESSED * stored):
        raise OSError(
            f"{array.name!r} says that it has {array.nbytes:,} bytes and has "
            f"{stored:,}, compressed"
        )
    return array


# Bytes that are read whatever a file has of them, and what gzip makes of one.
_SMALL, _MOST_COMPRESSED = 1 << 28, 1032


def _read_mapping(path: pathlib.Path, num_labels: int) -> NDArray[np.int32]:
    """Return the class of each label, `IGNORED` of label 0."""
    mapped = _read_numbers(path, "mapClass")
    is_known = set(mapped) <= set(range(1, len(CLASSES) + 1))
    if not mapped or len(mapped) != num_labels or not is_known:
        raise ValueError(
            f"`mapClass` has a class from 1 to {len(CLASSES)} for each of the "
            f"{num_labels} labels of {_FRAMES}. Received: {len(mapped)} "
            f"numbers from {min(mapped, default=None)} to "
            f"{max(mapped, default=None)} in {path}"
        )
    return np.asarray([IGNORED, *(number - 1 for number in mapped)], "int32")


def _read_split(
    path: pathlib.Path, num_frames: int
) -> tuple[list[int], list[int]]:
    """Return the numbers of the frames of two parts, counted from 1."""
    train, test = (
        _read_numbers(path, key) for key in ("trainNdxs", "testNdxs")
    )
    listed = [*train, *test]
    if len(set(listed)) != len(listed) or not (
        listed and 1 <= min(listed) and max(listed) <= num_frames
    ):
        raise ValueError(
            "`trainNdxs` and `testNdxs` name frames from 1 to "
            f"{num_frames}, each once. Received: {len(train)} and {len(test)} "
            f"numbers, {len(set(listed))} different ones from "
            f"{min(listed, default=None)} to {max(listed, default=None)}, in "
            f"{path}"
        )
    return train, test


def _read_numbers(path: pathlib.Path, key: str) -> list[int]:
    """Return an array of a small MATLAB file as a list of integers."""
    numbers = np.ravel(_read_mat(path, key))
    is_number = numbers.dtype.kind in "iuf"
    if not is_number or (numbers != np.floor(numbers)).any():
        raise ValueError(
            f"`{key}` holds whole numbers. Received: {numbers} in {path}"
        )
    return numbers.astype("int64").tolist()


def _read_mat(path: pathlib.Path, key: str) -> NDArray[Any]:
    """Return an array of a small MATLAB file of any version."""
    try:
        if reader_module("h5py").is_hdf5(path):
            with reader_module("h5py").File(path, "r") as file:
                array = _array(file, key)[()].T
        else:
            array = read_matlab_array(path, key)
        if array.dtype.kind not in "iuf":
            raise ValueError(f"{key!r} has no numbers")
        return array
    except ImportError:
        raise
    # Readers answer broken bytes with any exception.
    except Exception as error:
        raise ValueError(
            f"{path.name} is a MATLAB file with {key!r}: {_FILES[path.name]}. "
            f"Received: {path}, from which it cannot be read ({error!r})"
        ) from error
