"""Generated scenes in colour and depth, with classes that one sensor misses.

These are GENERATED pictures, made to teach and to test: what a method reaches
on them says nothing about photographs.
"""

import dataclasses
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_c2kd.data.generated_rooms import draw_rooms
from keras_c2kd.data.generated_rooms import render_rooms
from keras_c2kd.data.paired_dataset import Sample
from keras_c2kd.data.paired_splits import PairedSplits
from keras_c2kd.data.paired_splits import paired_splits
from keras_c2kd.data.scene_dataset import LABELS
from keras_c2kd.data.scene_dataset import ColourReader
from keras_c2kd.data.scene_dataset import DepthReader
from keras_c2kd.data.scene_dataset import LabelReader
from keras_c2kd.data.scene_dataset import SceneDataset
from keras_c2kd.data.scene_dataset import ScenePlacement


@dataclasses.dataclass(frozen=True)
class SceneClass:
    """A class of the generated scenes.

    Args:
        name: String.
        told_by: Modalities of which each alone shows the class.
        description: String, what it looks like.
    """

    name: str
    told_by: tuple[str, ...]
    description: str


_BOTH = ("rgb", "depth")

# In the order of the labels.
CLASSES = (
    SceneClass("wall", _BOTH, "upright plane with pale stripes"),
    SceneClass("floor", _BOTH, "level plane with darker tiles"),
    SceneClass("red poster", ("rgb",), "flat on the wall"),
    SceneClass("blue poster", ("rgb",), "flat on the wall, as the red one"),
    SceneClass("hidden box", ("depth",), "box in the colours behind it"),
    SceneClass("hidden ball", ("depth",), "ball in the colours behind it"),
    SceneClass("green column", _BOTH, "tall, round, with rings"),
    SceneClass("yellow cone", _BOTH, "low, pointed, with rings"),
)

# The test scenes are drawn with this seed whatever the caller's seed is.
TEST_SEED = 2024

# About as many pixels are rendered at once: more do not fit into the caches.
_PIXELS_AT_ONCE = 1 << 16


def load_rgbd_scenes(
    train: int = 200,
    validation: int = 100,
    test: int = 200,
    size: tuple[int, int] = (64, 64),
    seed: int = 0,
    crop: tuple[int, int] | None = None,
    evaluation_size: tuple[int, int] | None = None,
    scales: Sequence[float] = (1.0,),
    mirror: bool = True,
    scale_depth: bool = True,
    depth_encoding: str = "metres",
    depth_channels: int = 1,
    **kwargs: Any,
) -> PairedSplits:
    """Generate rooms in colour and depth, with a class a pixel.

    GENERATED data, to teach and to test with: nothing is downloaded, and no
    claim about real data rests on them. A room is a wall, a floor, posters
    and things on the floor, seen by one camera in perspective and lit by one
    lamp; position, size, light and colours are drawn for each room, and both
    sensors have noise. `CLASSES` lists which modality shows which class:

    - by colour alone, the posters: they lie flat on the wall, so that the
      depth is the wall's, whatever hangs there;
    - by depth alone, the hidden things: they have the colour of what is
      behind them, pixel by pixel, and no shading, edge or shadow, so that
      the picture is that of the room without them;
    - by each of both, all others.

    Args:
        train: Integer, number of training rooms. More of them begin with the
            fewer.
        validation: Integer, rooms to choose with.
        test: Integer, rooms to report, the same ones for every seed.
        size: Height and width in pixels. Defaults to `(64, 64)`.
        seed: Integer, draws training and validation rooms, the order and the
            augmentation. Defaults to `0`.
        crop: As for `ScenePlacement`, like the next three. Defaults to None,
            the whole view.
        evaluation_size: Defaults to None, `size`.
        scales: Defaults to `(1.0,)`.
        mirror: Defaults to `True`.
        scale_depth: As for `DepthReader`, like the next two. Defaults to
            `True`.
        depth_encoding: Defaults to `"metres"`.
        depth_channels: Defaults to `1`.
        **kwargs: As for `SceneDataset`, such as `batch_size` and `workers`.

    Returns:
        `PairedSplits`, ready to use; batches have the modalities `rgb`,
        `(height, width, 3)`, and `depth`, `(height, width, depth_channels)`,
        and labels in the order of `CLASSES`, int32 `(height, width)`. Only
        padding is `IGNORED`. The `provenance` says that they are generated,
        and which modality shows which class (`told_by`).

    Raises:
        ValueError: If a number of rooms or the size is too small.

    Example:
    >>> rooms = load_rgbd_scenes(train=8, validation=4, test=4, batch_size=4)
    >>> inputs, labels = rooms.train[0]
    >>> inputs["rgb"].shape, inputs["depth"].shape, labels.shape
    ((4, 64, 64, 3), (4, 64, 64, 1), (4, 64, 64))
    """
    counts = {"train": train, "validation": validation, "test": test}
    if min(counts.values()) < 1 or min(size) < 8:
        raise ValueError(
            "There must be rooms in each part, of at least 8 x 8 pixels. "
            f"Received: {counts}, size={size}"
        )
    placement = ScenePlacement(crop, evaluation_size, scales, mirror)
    parts = {
        part: _samples(part, TEST_SEED if part == "test" else seed, n, size)
        for part, n in counts.items()
    }
    data = paired_splits(
        "RGB-depth scenes (generated)",
        [scene_class.name for scene_class in CLASSES],
        parts,
        {
            "rgb": ColourReader(placement),
            "depth": DepthReader(
                placement,
                encoding=depth_encoding,
                channels=depth_channels,
                scale_depth=scale_depth,
            ),
            LABELS: LabelReader(placement, classes=np.arange(len(CLASSES))),
        },
        "generated, the same test scenes for every seed",
        kind=SceneDataset,
        seed=seed,
        **kwargs,
    )
    data.provenance["told_by"] = {x.name: list(x.told_by) for x in CLASSES}
    data.prepare(verbose=0)
    return data


def _samples(
    part: str, seed: int, count: int, size: tuple[int, int]
) -> list[Sample]:
    """Generate the rooms of a part; checksums stand for their labels."""
    # Another stream for each part, so that no two share a room.
    stream = [seed, ("train", "validation", "test").index(part)]
    at_once = max(_PIXELS_AT_ONCE // (size[0] * size[1]), 1)
    samples = []
    for first in range(0, count, at_once):
        numbers = range(first, min(first + at_once, count))
        generators = [np.random.default_rng([*stream, n]) for n in numbers]
        arrays = render_rooms(draw_rooms(generators), size, generators)
        for number, *room in zip(numbers, *arrays):
            checksum = 0
            for array in room:
                checksum = zlib.crc32(array.tobytes(), checksum)
            sources = dict(zip(("rgb", "depth", LABELS), room))
            # A label is an int32.
            samples.append(Sample(f"{part} {number}", checksum >> 1, sources))
    return samples
