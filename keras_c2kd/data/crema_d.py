"""CREMA-D: six emotions, spoken and seen."""

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

# In the order of the authors' code.
EMOTIONS = ("NEU", "HAP", "SAD", "FEA", "DIS", "ANG")

# 3 seconds at 22,050 Hz, as the authors' code resamples the 16,000 Hz files.
AUDIO = AudioReader(LogSpectrogram(22050, 3, window=512, hop=353))
# One frame of those at whole seconds.
VISUAL = FrameReader(size=224, frames=1, per_second=1.0)

# What the data set's own issue list says of its files.
KNOWN_DAMAGE = {
    "1076_MTI_SAD_XX": "has silent audio and no face",
    "1076_MTI_NEU_XX": "has a video without sound",
    "1064_TIE_SAD_XX": "has a video of unknown length",
    "1064_IEO_DIS_MD": "has a video of a minute with several emotions",
}


def load_crema_d(
    root: str | os.PathLike[str],
    split: str = "random",
    lists: Sequence[str | os.PathLike[str]] | None = None,
    cache: str | os.PathLike[str] | None = None,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.1,
    validate_on: str = "validation",
    drop_known_damage: bool = True,
    audio: AudioReader = AUDIO,
    visual: FrameReader = VISUAL,
    **kwargs: Any,
) -> PairedSplits:
    """Index CREMA-D as its repository lays it out.

    `<root>/AudioWAV/<id>.wav` and `<root>/VideoFlash/<id>.flv`; the id's
    third field is the class. The media are in Git LFS: `git lfs pull`. There
    is no official split. Nothing is decoded here; `PairedDataset.prepare`
    does that and lists what cannot be read.

    Args:
        root: Folder of the data set. It is only read.
        split: `"random"` (default): of all clips of each class, as OGM-GE and
            C2KD have it (every actor is in all splits); `"actors"`: no actor
            is in two splits, the harder question; `"lists"`: from files.
        lists: For `split="lists"`, the paths of a training and a test list,
            such as OGM-GE's `train.csv` and `test.csv`: rows of id and class,
            no header; a clip that is listed twice counts once. The
            validation clips are taken from the training list.
        cache: Folder of prepared arrays, or None.
        validation_fraction: Float, fraction of the clips (or actors) to choose
            with. Defaults to `0.1`.
        test_fraction: The same to report; not with lists. Defaults to `0.1`.
        validate_on: `"validation"` (default), or `"test"`: no clips are taken
            from training, and the test clips choose, as in the authors' code.
            What is then reported was chosen on what it is reported on.
        drop_known_damage: Whether the clips of `KNOWN_DAMAGE` are left out.
            Defaults to `True`.
        audio: `AudioReader`. Defaults to the authors' settings.
        visual: `FrameReader`. Defaults to the authors' settings.
        **kwargs: As for `PairedDataset`, such as `batch_size`, `workers` and
            `seed`, that of the training batches: the splits do not depend
            on it.

    Returns:
        `PairedSplits`; batches have the modalities `audio` and `visual`, and
        labels in the order of `EMOTIONS`.

    Raises:
        ValueError: If the folder holds no clips, a list names an unknown
            class or a clip in both lists, or `split` or `validate_on` is
            another.

    Example:
    ```python
    crema_d = load_crema_d("/path/to/CREMA-D", cache="/path/to/cache")
    crema_d.prepare()
    inputs, labels = crema_d.train[0]
    ```

    Reference: Cao et al., IEEE Transactions on Affective Computing 2014;
    licence ODbL 1.0.
    """
    check_validate_on(validate_on, ("validation", "test"))
    if validate_on == "test":
        validation_fraction = 0.0
    clips, missing = _clips(pathlib.Path(root))
    excluded = [
        {"name": name, "reason": reason}
        for name, reason in KNOWN_DAMAGE.items()
        if drop_known_damage and name in clips
    ]
    for entry in excluded:
        del clips[entry["name"]]
    named = _split(
        clips, split, lists, validation_fraction, test_fraction, excluded
    )
    if validate_on == "test":
        named["validation"] = named["test"]
    listed = {name for ids in named.values() for name in ids}
    told = {entry["name"] for entry in (*missing, *excluded)}
    missing += [
        {"name": name, "reason": "is in a list but not on disk"}
        for name in sorted(listed - set(clips) - told)
    ]
    return paired_splits(
        "CREMA-D",
        EMOTIONS,
        {
            part: [clips[name] for name in ids if name in clips]
            for part, ids in named.items()
        },
        {"audio": audio, "visual": visual},
        described_split(split, validate_on),
        missing,
        excluded,
        cache=cache,
        root=root,
        **kwargs,
    )


def _clips(
    root: pathlib.Path,
) -> tuple[dict[str, Sample], list[dict[str, str]]]:
    """Return the samples by id, and the clips that lack a half."""
    audio, visual = (
        {path.stem: path for path in data_files(root / folder, suffix, False)}
        for folder, suffix in (
            ("AudioWAV", (".wav",)),
            ("VideoFlash", (".flv",)),
        )
    )
    if not audio or not visual:
        raise ValueError(
            "CREMA-D has AudioWAV/<id>.wav and VideoFlash/<id>.flv. Received: "
            f"{root} with {len(audio)} WAV and {len(visual)} FLV files there. "
            "Clone the data set's repository with Git LFS and name its folder."
        )
    clips, left_out = {}, []
    for name in sorted(audio | visual):
        fields = name.split("_")
        if len(fields) != 4 or fields[2] not in EMOTIONS:
            reason = "has no emotion in its name"
        elif name not in audio:
            reason = "has no WAV file"
        elif name not in visual:
            reason = "has no FLV file"
        else:
            sources = {
                "audio": Source(audio[name]),
                "visual": Source(visual[name]),
            }
            clips[name] = Sample(name, EMOTIONS.index(fields[2]), sources)
            continue
        left_out.append({"name": name, "reason": reason})
    return clips, left_out


def _split(
    clips: dict[str, Sample],
    split: str,
    lists: Sequence[str | os.PathLike[str]] | None,
    validation_fraction: float,
    test_fraction: float,
    excluded: list[dict[str, str]],
) -> dict[str, list[str]]:
    """Return the ids of the three parts; add doubled rows to `excluded`."""
    if split == "lists":
        if lists is None or len(lists) != 2:
            raise ValueError(
                'split="lists" needs the paths of a training and a test '
                f"list. Received: lists={lists}"
            )
        known, test = (_read_list(path, excluded) for path in lists)
        if both := sorted(set(known) & set(test)):
            raise ValueError(
                "No clip may be in both lists. Received: "
                f"{len(both)} that are, such as {both[0]!r}"
            )
        validation, train = split_off(
            known,
            validation_fraction,
            labels=[name.split("_")[2] for name in known],
        )
        return {"train": train, "validation": validation, "test": test}
    if split not in ("random", "actors"):
        raise ValueError(
            "`split` is 'random', 'actors' or 'lists'. Received: "
            f"split={split!r}"
        )
    if min(test_fraction, validation_fraction) < 0 or (
        test_fraction + validation_fraction >= 1
    ):
        raise ValueError(
            "Clips must be left to train on. Received: "
            f"validation_fraction={validation_fraction}, "
            f"test_fraction={test_fraction}"
        )
    units = {name: [name] for name in clips}
    classes = {name: clip.label for name, clip in clips.items()}
    if split == "actors":
        units = {}
        for name in clips:
            units.setdefault(name.split("_")[0], []).append(name)
        # Every actor speaks with all emotions.
        classes = dict.fromkeys(units)
    keys = sorted(units)
    test, rest = split_off(
        keys, test_fraction, labels=[classes[key] for key in keys]
    )
    validation, train = split_off(
        rest,
        validation_fraction * len(keys) / len(rest),
        labels=[classes[key] for key in rest],
    )
    parts = {"train": train, "validation": validation, "test": test}
    return {
        part: [name for key in chosen for name in units[key]]
        for part, chosen in parts.items()
    }


def _read_list(
    path: str | os.PathLike[str], excluded: list[dict[str, str]]
) -> list[str]:
    """Return the ids of a list, whose classes must be those of the ids."""
    ids, is_listed_before = [], ListedBefore(excluded)
    for number, row in read_rows(path):
        fields = row[0].split("_")
        if len(row) < 2 or len(fields) != 4 or fields[2] != row[1]:
            raise ValueError(
                "A list has rows of an id and the class that the id names, "
                f"such as 1001_DFA_ANG_XX,ANG. Received: {','.join(row)!r} in "
                f"row {number} of {path}"
            )
        if not is_listed_before(row[0], row[1]):
            ids.append(row[0])
    return ids
