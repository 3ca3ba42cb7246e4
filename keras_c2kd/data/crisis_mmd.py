"""CrisisMMD: tweets and their photographs, by humanitarian category."""

import csv
import os
import pathlib
import re
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from keras_c2kd.data.data_files import files_by_name
from keras_c2kd.data.data_files import name_in_list
from keras_c2kd.data.modality_readers import ImageReader
from keras_c2kd.data.modality_readers import TextReader
from keras_c2kd.data.paired_dataset import Reader
from keras_c2kd.data.paired_dataset import Sample
from keras_c2kd.data.paired_dataset import Source
from keras_c2kd.data.paired_splits import PairedSplits
from keras_c2kd.data.paired_splits import paired_splits
from keras_c2kd.data.paired_splits import path_in
from keras_c2kd.data.text_lists import ListedBefore
from keras_c2kd.data.text_lists import read_rows

# In alphabetical order, as the data set's card has them.
CATEGORIES = (
    "affected_individuals",
    "infrastructure_and_utility_damage",
    "injured_or_dead_people",
    "missing_or_found_people",
    "not_humanitarian",
    "other_relevant_information",
    "rescue_volunteering_or_donation_effort",
    "vehicle_damage",
)

# Pixels of -1 to 1, as ImageNet's weights of MobileNetV2 want them.
IMAGE = ImageReader(
    size=224, mean=(0.5, 0.5, 0.5), standard_deviation=(0.5, 0.5, 0.5)
)

PHOTOGRAPHS = (
    ".jpg",
    ".jpeg",
    ".png",
    ".gif",
    ".webp",
    ".bmp",
    ".tif",
    ".tiff",
)

_ANNOTATIONS = {
    "agreed": (
        "crisismmd_datasplit_agreed_label",
        "task_humanitarian_text_img_agreed_lab_{}.tsv",
    ),
    "all": ("crisismmd_datasplit_all", "task_humanitarian_text_img_{}.tsv"),
}
_COLUMNS = ("tweet_id", "image_id", "tweet_text", "image")


def load_crisis_mmd(
    root: str | os.PathLike[str],
    tokens: Callable[[list[str]], Mapping[str, NDArray[Any]]],
    annotations: str = "agreed",
    label: str = "label",
    cache: str | os.PathLike[str] | None = None,
    image: ImageReader = IMAGE,
    clean: Callable[[str], str] | None = None,
    **kwargs: Any,
) -> PairedSplits:
    """Index CrisisMMD v2.0, the humanitarian task, as it is distributed.

    `<root>/data_image/...` and one of the two folders of splits,
    `crisismmd_datasplit_agreed_label` or `crisismmd_datasplit_all`, unpacked
    beside it. The split is the official one (`dev` is the validation part).
    Several images may share one tweet; an image that is listed twice counts
    where it is listed first. The paper does not say which annotations it
    used; see `annotations`.

    Args:
        root: Folder of the data set. It is only read.
        tokens: Function from a list of texts to a dict of arrays, such as
            `models.BertTokens("bert_base_en_uncased")`.
        annotations: `"agreed"` (default): tweets of which text and image were
            labelled alike, 6126 / 998 / 955; `"all"`: 13,608 / 2237 / 2237.
        label: Column of the label. Defaults to `"label"`, eight categories;
            `"label_text"` or `"label_image"` are those of one modality.
        cache: Folder of prepared images, or None.
        image: `ImageReader`. Defaults to 224 pixels of -1 to 1.
        clean: Function from a tweet to the text that is tokenised. Defaults
            to `clean_tweet`.
        **kwargs: As for `PairedDataset`, such as `batch_size`, `workers` and
            `seed`, that of the training batches.

    Returns:
        `PairedSplits`; batches have the modalities `text`, a dict of what
        `tokens` gives, and `image`; labels in the order of `CATEGORIES`. One
        category has no validation and no test sample among those agreed.

    Raises:
        ValueError: If `annotations` is another, a list is missing or lacks a
            column, or a row has an unknown category or an image outside of
            the folder.

    Example:
    ```python
    tokens = keras_c2kd.models.BertTokens("bert_base_en_uncased")
    tweets = load_crisis_mmd("/path/to/CrisisMMD_v2.0", tokens)
    tweets.prepare()
    inputs, labels = tweets.train[0]
    ```

    Reference: Alam et al., ICWSM 2018; CC BY-NC-SA 4.0.
    """
    if annotations not in _ANNOTATIONS:
        raise ValueError(
            f"`annotations` is one of {tuple(_ANNOTATIONS)}. Received: "
            f"annotations={annotations!r}"
        )
    root = pathlib.Path(root)
    folder, pattern = _ANNOTATIONS[annotations]
    files = files_by_name(root, PHOTOGRAPHS)
    parts: dict[str, list[Sample]] = {}
    missing: list[dict[str, str]] = []
    excluded: list[dict[str, str]] = []
    is_listed_before = ListedBefore(excluded)
    for part, name in (
        ("train", "train"),
        ("validation", "dev"),
        ("test",) * 2,
    ):
        parts[part] = []
        for row in _read_list(root / folder / pattern.format(name), label):
            listed_path = path_in(root, row["image"])
            path = files.get(name_in_list(listed_path.relative_to(root)))
            if is_listed_before(row["image_id"], row[label]):
                continue
            if path is None:
                entry = {"name": row["image_id"], "reason": "has no image file"}
                missing.append(entry)
                continue
            sources = {"text": row["tweet_text"], "image": Source(path)}
            number = CATEGORIES.index(row[label])
            parts[part].append(Sample(row["image_id"], number, sources))
    readers: dict[str, Reader] = {
        "text": TextReader(tokens, clean_tweet if clean is None else clean),
        "image": image,
    }
    return paired_splits(
        "CrisisMMD",
        CATEGORIES,
        parts,
        readers,
        f"official, {annotations}, {label}",
        missing,
        excluded,
        cache=cache,
        root=root,
        **kwargs,
    )


def clean_tweet(text: str) -> str:
    """Return a tweet without the mark of a retweet, links and hash signs.

    Args:
        text: String.

    Returns:
        String with single spaces.

    Example:
    >>> clean_tweet("RT @who: Water is rising https://t.co/x #flood")
    'Water is rising flood'
    """
    text = re.sub(r"^\s*RT\s+(@\w+:?)?", " ", text)
    text = re.sub(r"(https?://|www\.)\S+", " ", text)
    return " ".join(text.replace("#", " ").split())


def _read_list(path: pathlib.Path, label: str) -> list[dict[str, str]]:
    """Return the rows as dicts; quotes are text and ids stay text."""
    if not path.is_file():
        raise ValueError(
            "CrisisMMD's split must be unpacked beside data_image. Received: "
            f"no file {path}"
        )
    needed = {*_COLUMNS, label}
    lines = read_rows(path, delimiter="\t", quoting=csv.QUOTE_NONE)
    columns = lines[0][1] if lines else []
    if missing := needed - set(columns):
        raise ValueError(
            f"The list needs the columns {sorted(needed)}. Received: {path} "
            f"without {sorted(missing)}"
        )
    rows = []
    for number, fields in lines[1:]:
        row = dict(zip(columns, fields))
        if missing := needed - set(row):
            raise ValueError(
                f"Every row has the columns {sorted(needed)}. Received: row "
                f"{number} of {path} without {sorted(missing)}"
            )
        if row[label] not in CATEGORIES:
            raise ValueError(
                f"A category is one of {CATEGORIES}. Received: "
                f"{row[label]!r} in row {number} of {path}"
            )
        rows.append(row)
    return rows
