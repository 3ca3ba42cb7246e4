"""AVE: 28 audio-visual events."""

import csv
import os
import pathlib
from typing import Any

from keras_c2kd.data.data_files import files_by_name
from keras_c2kd.data.data_files import name_in_list
from keras_c2kd.data.modality_readers import AudioReader
from keras_c2kd.data.modality_readers import FrameReader
from keras_c2kd.data.paired_dataset import Sample
from keras_c2kd.data.paired_dataset import Source
from keras_c2kd.data.paired_splits import PairedSplits
from keras_c2kd.data.paired_splits import paired_splits
from keras_c2kd.data.paired_splits import path_in
from keras_c2kd.data.spectrogram import LogSpectrogram
from keras_c2kd.data.text_lists import ListedBefore
from keras_c2kd.data.text_lists import read_rows

# 10 seconds at 16,000 Hz, power density, standardised: (257, 1004, 1).
AUDIO = AudioReader(
    LogSpectrogram(
        16000, 10, window=512, hop=159, kind="density", standardize=True
    )
)
# One frame of those at whole seconds within the event.
VISUAL = FrameReader(size=224, frames=1, per_second=1.0)

_LISTS = {
    "train": "trainSet.txt",
    "validation": "valSet.txt",
    "test": "testSet.txt",
}


def load_ave(
    root: str | os.PathLike[str],
    cache: str | os.PathLike[str] | None = None,
    drop_shared: bool = False,
    audio: AudioReader = AUDIO,
    visual: FrameReader = VISUAL,
    **kwargs: Any,
) -> PairedSplits:
    """Index the AVE data set as it is distributed.

    `<root>/AVE/<id>.mp4` and `trainSet.txt`, `valSet.txt`, `testSet.txt` in
    `<root>`, the official split: rows `Category&VideoID&Quality&Start&End`
    with or without a header. Sound and frames are those between start and end
    (seconds), the event. Labels follow the first appearance in the training
    list.

    27 training videos are listed under two classes: the first row counts.
    One event has no length and is left out. 18 videos are in the training
    list and in another one, which is a leak of the official split.

    Args:
        root: Folder of the data set. It is only read.
        cache: Folder of prepared arrays, or None.
        drop_shared: Whether videos that are in the validation or test list
            are left out of training. Defaults to `False`, the official split.
        audio: `AudioReader`. Defaults to the authors' settings.
        visual: `FrameReader`. Defaults to the authors' settings.
        **kwargs: As for `PairedDataset`, such as `batch_size`, `workers` and
            `seed`, that of the training batches.

    Returns:
        `PairedSplits`; batches have the modalities `audio` and `visual`. The
        `provenance` counts the shared videos (`shared_with_train`).

    Raises:
        ValueError: If a list or all videos are missing, or a row is not one
            of the form above, names an unknown class or leads out of the
            folder.

    Example:
    ```python
    ave = load_ave("/path/to/AVE_Dataset", cache="/path/to/cache")
    print(ave.provenance["sizes"])
    ave.prepare()
    ```

    Reference: Tian et al., ECCV 2018; no licence is stated.
    """
    root = pathlib.Path(root)
    rows = {part: _read_list(root / name) for part, name in _LISTS.items()}
    classes = list(dict.fromkeys(row[0] for row in rows["train"]))
    elsewhere = {
        row[1] for part in ("validation", "test") for row in rows[part]
    }
    shared = {row[1] for row in rows["train"]} & elsewhere
    files = files_by_name(root / "AVE", (".mp4",))
    parts: dict[str, list[Sample]] = {}
    missing: list[dict[str, str]] = []
    excluded: list[dict[str, str]] = []
    for part, listed in rows.items():
        parts[part], is_listed_before = [], ListedBefore(excluded)
        for category, video, start, end in listed:
            listed_path = path_in(root / "AVE", f"{video}.mp4")
            path = files.get(
                name_in_list(listed_path.relative_to(root / "AVE"))
            )
            reason = None
            if category not in classes:
                raise ValueError(
                    f"Every class of {_LISTS[part]} must be in "
                    f"{_LISTS['train']}. Received: {category!r}"
                )
            if is_listed_before(video, category):
                continue
            if end <= start:
                reason = f"has an event from {start} to {end} seconds"
            elif drop_shared and part == "train" and video in elsewhere:
                reason = "is in the validation or test list too"
            if reason:
                excluded.append({"name": video, "reason": reason})
                continue
            if path is None:
                missing.append({"name": video, "reason": "has no MP4 file"})
                continue
            source = Source(path, float(start), float(end))
            sources = {"audio": source, "visual": source}
            label = classes.index(category)
            parts[part].append(Sample(video, label, sources))
    data = paired_splits(
        "AVE",
        classes,
        parts,
        {"audio": audio, "visual": visual},
        "official, shared videos dropped" if drop_shared else "official",
        missing,
        excluded,
        cache=cache,
        root=root,
        **kwargs,
    )
    data.provenance["shared_with_train"] = len(shared)
    return data


def _read_list(path: pathlib.Path) -> list[tuple[str, str, int, int]]:
    """Return the rows as (category, video, start, end)."""
    if not path.is_file():
        raise ValueError(
            "AVE has trainSet.txt, valSet.txt and testSet.txt beside the "
            f"folder AVE of videos. Received: {path.parent} without "
            f"{path.name}"
        )
    # Names have commas, ids hyphens; the fields are told by "&".
    listed = read_rows(path, delimiter="&", quoting=csv.QUOTE_NONE)
    if listed and listed[0][1][0] == "Category":
        del listed[0]
    rows = []
    for number, row in listed:
        try:
            category, video, _, *times = row
            start, end = map(_seconds, times)
        except ValueError:
            raise ValueError(
                "A row has Category&VideoID&Quality&StartTime&EndTime, with "
                f"times in whole seconds. Received: {'&'.join(row)!r} in row "
                f"{number} of {path}"
            ) from None
        rows.append((category, video, start, end))
    return rows


def _seconds(text: str) -> int:
    """Return a time of at most six digits, without a sign."""
    if not text.isdecimal() or len(text) > 6:
        raise ValueError
    return int(text)
