"""The lists of the data sets, damaged as spreadsheets and editors do it."""

import functools
import pathlib
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_c2kd.data import load_ave
from keras_c2kd.data import load_crema_d
from keras_c2kd.data import load_crisis_mmd
from keras_c2kd.data import load_vggsound
from keras_c2kd.data.crema_d import EMOTIONS
from keras_c2kd.data.crisis_mmd import CATEGORIES

# Nothing is decoded when a data set is indexed: the files may be empty.
TWEETS = "crisismmd_datasplit_agreed_label/"
TWEETS += "task_humanitarian_text_img_agreed_lab_{}.tsv"
HEADER = "tweet_id\timage_id\ttweet_text\timage\tlabel"


def ave(root):
    rows = [f"Bell, big&v-{i}&good&{i}&{i + 2}" for i in range(4)]
    files = [f"AVE/v-{i}.mp4" for i in range(4)]
    lists = {"trainSet.txt": rows[:2], "valSet.txt": rows[2:3]}
    return (
        {**lists, "testSet.txt": rows[3:]},
        files,
        functools.partial(load_ave, root),
    )


def crema_d(root):
    ids = [f"{1001 + i}_DFA_{EMOTIONS[i % 6]}_XX" for i in range(12)]
    rows = [f"{name},{name.split('_')[2]}" for name in ids]
    files = [f"AudioWAV/{name}.wav" for name in ids]
    files += [f"VideoFlash/{name}.flv" for name in ids]
    lists = root / "train.csv", root / "test.csv"
    return (
        {"train.csv": rows[:10], "test.csv": rows[10:]},
        files,
        functools.partial(load_crema_d, root, "lists", lists),
    )


def vggsound(root):
    rows = [f'v_{i},{i},"wind noise",train' for i in range(10)]
    rows.append("v_10,10,wind noise,test")
    files = [f"clips/v_{i}_{i:06d}.mp4" for i in range(11)]
    return {"vggsound.csv": rows}, files, functools.partial(load_vggsound, root)


def crisis_mmd(root):
    files = [f"data_image/{i}.jpg" for i in range(4)]
    rows = [
        f'{i}\t{i}_0\t"a text\tdata_image/{i}.jpg\t{CATEGORIES[i]}'
        for i in range(4)
    ]
    lists = {
        TWEETS.format("train"): [HEADER, *rows[:2]],
        TWEETS.format("dev"): [HEADER, rows[2]],
        TWEETS.format("test"): [HEADER, rows[3]],
    }
    return lists, files, functools.partial(load_crisis_mmd, root, tokens=None)


SETS = [ave, crema_d, vggsound, crisis_mmd]
HARMLESS = {
    "as it is": lambda text: text.encode(),
    "byte order mark": lambda text: text.encode("utf-8-sig"),
    "DOS": lambda text: text.replace("\n", "\r\n").encode(),
    "old Mac": lambda text: text.replace("\n", "\r").encode(),
    "empty lines": lambda text: text.replace("\n", "\n\n  \n").encode(),
    "no last line end": lambda text: text.rstrip("\n").encode(),
    "every row twice": lambda text: twice(text).encode(),
    "blank rows in front": lambda text: ("\n \n\n" + text).encode(),
    "trailing spaces": lambda text: text.replace("\n", " \t \n").encode(),
    "trailing spaces of fields": lambda text: spaced(text).encode(),
}
FIELDS = [
    "",
    " ",
    "-1",
    "1e3",
    "²",
    "9" * 30,
    "9" * 5000,
    "nan",
    "x" * 300,
    "../../x",
    "\0",
    '"',
    "a\tb&c,d",
    "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
    "x" * 200_000,
]


def twice(text):
    """All rows but those of a header."""
    lines = text.splitlines(keepends=True)
    rows = [line for line in lines if line.strip() != HEADER]
    return text + "".join(rows)


def spaced(text):
    """All fields with spaces around them."""
    for separator in "&,\t":
        if separator in text.splitlines()[-1].replace("Bell, big", ""):
            return text.replace(separator, f" {separator} ")
    raise ValueError(text)


def write(root, lists, files):
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for name, rows in lists.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(rows) + "\n", encoding="utf-8")


def names(data):
    parts = (data.train, data.validation, data.test)
    return [sample.name for part in parts for sample in part.samples]


@pytest.mark.slow
@pytest.mark.parametrize("form", HARMLESS)
@pytest.mark.parametrize("data_set", SETS)
def test_forms_of_text_files(data_set, form, tmp_path):
    lists, files, load = data_set(tmp_path)
    write(tmp_path, lists, files)
    expected = names(load())
    for name in lists:
        text = (tmp_path / name).read_text(encoding="utf-8")
        (tmp_path / name).write_bytes(HARMLESS[form](text))
    assert names(load()) == expected


@pytest.mark.parametrize("data_set", SETS)
def test_a_doubled_row_is_told_alike(data_set, tmp_path):
    lists, files, load = data_set(tmp_path)
    write(tmp_path, lists, files)
    assert load().provenance["excluded"] == []
    path = tmp_path / list(lists)[0]
    text = path.read_text(encoding="utf-8")
    path.write_text(text + text.splitlines()[-1] + " \n", encoding="utf-8")
    (entry,) = load().provenance["excluded"]
    assert entry["reason"] == "is listed before" and entry["name"]


def test_a_header_of_ave_may_come_later(tmp_path):
    lists, files, load = ave(tmp_path)
    write(tmp_path, lists, files)
    expected = names(load())
    header = "\n \nCategory & VideoID&Quality&StartTime&EndTime \n"
    for name in lists:
        path = tmp_path / name
        path.write_text(header + path.read_text())
    assert names(load()) == expected


@st.composite
def damages(draw):
    """A function from a text, `(text, separator)`, to damaged bytes."""
    kind = draw(st.sampled_from(["field", "bytes", "cut", "column", "code"]))
    place = draw(st.floats(0, 1, exclude_max=True))
    field = draw(st.sampled_from(FIELDS))
    code = draw(st.sampled_from(["utf-16", "utf-32", "cp500"]))
    inserted = draw(st.binary(min_size=1, max_size=4))

    def damage(text, separator):
        content = text.encode()
        at = int(place * len(content))
        if kind == "cut":
            return content[:at]
        if kind == "bytes":
            return content[:at] + inserted + content[at + len(inserted) :]
        if kind == "code":
            return text.encode(code)
        lines = [line.split(separator) for line in text.splitlines()]
        row = lines[int(place * len(lines))]
        column = int(place * 997) % len(row)
        if kind == "field":
            row[column] = field
        else:
            del row[column]
        return "\n".join(map(separator.join, lines)).encode()

    return damage


@pytest.mark.slow
@pytest.mark.parametrize("data_set", SETS)
@given(damage=damages(), number=st.integers(0, 2))
def test_damaged_lists_are_read_or_refused(data_set, damage, number):
    """Whatever is read has a file, a class, and a time that can be."""
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        lists, files, load = data_set(root)
        write(root, lists, files)
        separators = {ave: "&", crisis_mmd: "\t"}
        path = root / list(lists)[number % len(lists)]
        text = path.read_text(encoding="utf-8")
        path.write_bytes(damage(text, separators.get(data_set, ",")))
        try:
            data = load()
        except ValueError as error:
            assert "Received: " in str(error)
            return
        for part in (data.train, data.validation, data.test):
            for sample in part.samples:
                check_sample(sample, data.provenance["classes"])
        assert len(set(names(data))) == len(names(data))


def check_sample(sample, classes):
    assert 0 <= sample.label < len(classes)
    for source in sample.sources.values():
        if not isinstance(source, str):
            assert source.path.is_file()
            assert source.start >= 0
            assert source.end is None or source.end > source.start
