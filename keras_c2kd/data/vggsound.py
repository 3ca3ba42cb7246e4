"""VGGSound, the 50 classes of the paper."""

import os
import pathlib
from collections.abc import Sequence
from typing import Any

from keras_c2kd.data.data_files import data_files
from keras_c2kd.data.modality_readers import AudioReader
from keras_c2kd.data.modality_readers import FrameReader
from keras_c2kd.data.paired_dataset import Sample
from keras_c2kd.data.paired_dataset import Source
from keras_c2kd.data.paired_splits import PairedSplits
from keras_c2kd.data.paired_splits import check_validate_on
from keras_c2kd.data.paired_splits import described_split
from keras_c2kd.data.paired_splits import paired_splits
from keras_c2kd.data.paired_splits import split_off
from keras_c2kd.data.spectrogram import LogSpectrogram
from keras_c2kd.data.text_lists import ListedBefore
from keras_c2kd.data.text_lists import read_rows

# A random 5 of at least 10 seconds at 16,000 Hz: (129, 626, 1).
AUDIO = AudioReader(
    LogSpectrogram(16000, 5, window=256, hop=128),
    random_window=True,
    at_least=10.0,
)
# Three frames of those at whole seconds.
VISUAL = FrameReader(size=224, frames=3, per_second=1.0)
VIDEOS = (".mp4", ".mkv", ".webm")

# The authors' subset and its order. There the numbers depend on which files
# exist; here they do not.
CLASSES = (
    "waterfall burbling",
    "playing tennis",
    "alarm clock ringing",
    "wind noise",
    "playing bongo",
    "playing congas",
    "subway, metro, underground",
    "playing acoustic guitar",
    "dog growling",
    "horse neighing",
    "pigeon, dove cooing",
    "playing trumpet",
    "footsteps on snow",
    "playing accordion",
    "turkey gobbling",
    "playing clarinet",
    "dog whimpering",
    "car engine idling",
    "people farting",
    "people marching",
    "helicopter",
    "cell phone buzzing",
    "cat meowing",
    "playing double bass",
    "people hiccup",
    "playing snare drum",
    "baby laughter",
    "people coughing",
    "plastic bottle crushing",
    "goose honking",
    "dog barking",
    "smoke detector beeping",
    "people sniggering",
    "people eating crisps",
    "thunder",
    "ferret dooking",
    "firing muskets",
    "cow lowing",
    "eating with cutlery",
    "playing timbales",
    "people slapping",
    "pumping water",
    "playing tuning fork",
    "tornado roaring",
    "dog howling",
    "strike lighter",
    "blowtorch igniting",
    "sea lion barking",
    "cutting hair with electric trimmers",
    "otter growling",
)


def load_vggsound(
    root: str | os.PathLike[str],
    classes: Sequence[str] = CLASSES,
    cache: str | os.PathLike[str] | None = None,
    validation_fraction: float = 0.1,
    validate_on: str = "validation",
    audio: AudioReader = AUDIO,
    visual: FrameReader = VISUAL,
    **kwargs: Any,
) -> PairedSplits:
    """Index VGGSound: the official list, and the clips that you have.

    `<root>/vggsound.csv`: rows `youtube_id,start_seconds,label,split`, no
    header. The clips are videos anywhere below `<root>`, named
    `<youtube_id>_<start>.mp4` (or `.mkv`, `.webm`) with the start as it is or
    padded to six digits. If their sound lies anywhere below `<root>` under
    the same name as `.wav`, it is read from there. Videos of YouTube
    disappear, so clips may be missing. A clip that is listed twice counts
    where it is listed first. The official split has no validation part: it is
    drawn from the training clips, and the test clips choose nothing.

    Args:
        root: Folder of the data set. It is only read.
        classes: Sequence of labels. Defaults to the paper's 50.
        cache: Folder of prepared arrays, or None.
        validation_fraction: Float, fraction of the training clips to choose
            with. Defaults to `0.1`.
        validate_on: `"validation"` (default), or `"train"`: no clips are
            taken from training, and the training clips choose, as in the
            authors' code.
        audio: `AudioReader`. Defaults to the authors' settings.
        visual: `FrameReader`. Defaults to the authors' settings.
        **kwargs: As for `PairedDataset`, such as `batch_size`, `workers` and
            `seed`, that of the training batches.

    Returns:
        `PairedSplits`; batches have the modalities `audio` and `visual`.

    Raises:
        ValueError: If the list is missing, a row has another form, no clip
            of a part is there, or `validate_on` is another.

    Example:
    ```python
    clips = load_vggsound("/path/to/VGGSound", cache="/path/to/cache")
    clips.prepare()
    inputs, labels = clips.train[0]
    ```

    Reference: Chen et al., ICASSP 2020; the list is CC BY 4.0.
    """
    check_validate_on(validate_on, ("validation", "train"))
    root = pathlib.Path(root)
    listed = _read_list(root / "vggsound.csv")
    clips, sounds = _clips(root, VIDEOS), _clips(root, (".wav",))
    found: dict[str, list[Sample]] = {"train": [], "test": []}
    missing: list[dict[str, str]] = []
    excluded: list[dict[str, str]] = []
    is_listed_before = ListedBefore(excluded)
    labels = {name: label for label, name in enumerate(classes)}
    for video, start, name, split in listed:
        if name not in labels:
            continue
        path = clips.get((video, start))
        clip = f"{video}_{start:06d}"
        if is_listed_before(clip, name):
            continue
        if path is None:
            missing.append({"name": clip, "reason": "has no video file"})
            continue
        sound = sounds.get((video, start), path)
        sources = {"audio": Source(sound), "visual": Source(path)}
        found[split].append(Sample(clip, labels[name], sources))
    validation = train = found["train"]
    if validate_on == "validation":
        names = [sample.name for sample in train]
        of_class = [sample.label for sample in train]
        taken = set(split_off(names, validation_fraction, labels=of_class)[0])
        validation = [s for s in train if s.name in taken]
        train = [s for s in train if s.name not in taken]
    return paired_splits(
        "VGGSound",
        classes,
        {"train": train, "validation": validation, "test": found["test"]},
        {"audio": audio, "visual": visual},
        described_split("official", validate_on),
        missing,
        excluded,
        cache=cache,
        root=root,
        **kwargs,
    )


def _clips(
    root: pathlib.Path, suffixes: Sequence[str]
) -> dict[tuple[str, int | None], pathlib.Path]:
    """Return the paths of media files by (youtube id, start)."""
    return {_clip_of(path): path for path in data_files(root, suffixes)}


def _clip_of(path: pathlib.Path) -> tuple[str, int | None]:
    """Return (youtube id, start) of a file's name; ids may have any `_`."""
    video, _, start = path.stem.rpartition("_")
    return (video, int(start)) if _is_second(start) else (path.stem, None)


def _is_second(text: str) -> bool:
    return text.isdecimal() and len(text) <= 6


def _read_list(path: pathlib.Path) -> list[tuple[str, int, str, str]]:
    """Return the rows as (youtube id, start, label, split)."""
    if not path.is_file():
        raise ValueError(
            "VGGSound has its list vggsound.csv in the folder. Received: "
            f"{path.parent} without it"
        )
    rows = []
    for number, row in read_rows(path):
        if (
            len(row) != 4
            or not _is_second(row[1])
            or row[3] not in ("train", "test")
        ):
            raise ValueError(
                "A row has youtube_id,start_seconds,label,split with the "
                f"split train or test. Received: {','.join(row)!r} in row "
                f"{number} of {path}"
            )
        rows.append((row[0], int(row[1]), row[2], row[3]))
    return rows
