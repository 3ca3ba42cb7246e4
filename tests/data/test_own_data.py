"""Splits of one's own data: arrays, tables of files, PyTorch, tf.data."""

import functools
import json

import numpy as np
import pytest

from keras_c2kd import data as room
from keras_c2kd.data import NumpyReader
from keras_c2kd.data import PairedSplits
from keras_c2kd.data import TextReader
from keras_c2kd.data.paired_splits import PARTS
from tests.helpers.docstrings import run_example

pytestmark = pytest.mark.backend_free

# Row n of the wrist is n, of the camera -n.
ROWS = np.arange(40)
INPUTS = {"wrist": ROWS[:, None] * 1.0, "camera": {"depth": -ROWS[:, None]}}
LABELS = ROWS % 2
PERSONS = ROWS // 4
split = functools.partial(PairedSplits.from_arrays, INPUTS)


def rows_of(splits, part, modality="wrist"):
    dataset = getattr(splits, part).evaluation()
    batches = [dataset[i][0][modality] for i in range(len(dataset))]
    return np.concatenate(batches)[:, 0].astype(int).tolist()


def all_rows(splits):
    return [rows_of(splits, part) for part in PARTS]


@pytest.mark.parametrize(
    "name", ["from_arrays", "from_csv", "from_torch", "from_tf_data"]
)
def test_examples(name):
    import pathlib
    import tempfile

    constructor = getattr(PairedSplits, name)
    if name == "from_tf_data":
        assert "Example:\n        ```python" in constructor.__doc__
        return
    names = {key: getattr(room, key) for key in room.__all__}
    run_example(constructor, pathlib=pathlib, tempfile=tempfile, **names)


def test_fractions_are_taken_of_each_class():
    splits = split((ROWS < 10) * 1, batch_size=7, seed=3)
    train, validation, test = all_rows(splits)
    assert sorted(train + validation + test) == ROWS.tolist()
    # A fifth of 10 and 30, and of the 8 and 24 that are left.
    assert [sum(row < 10 for row in x) for x in (train, validation, test)] == [
        6,
        2,
        2,
    ]
    assert (len(train), len(validation), len(test)) == (25, 7, 8)
    assert all_rows(split((ROWS < 10) * 1, seed=3)) == all_rows(splits)
    assert all_rows(split((ROWS < 10) * 1, seed=4)) != all_rows(splits)
    assert splits.train.training and not splits.validation.training
    assert splits.train.batch_size == splits.test.batch_size == 7
    assert splits.provenance["split"] == (
        "by class: test 0.2, validation 0.2, seed 3"
    )


def test_batches_are_pairs():
    splits = split(LABELS)
    inputs, labels = splits.train[0]
    np.testing.assert_array_equal(inputs["wrist"], -inputs["camera"]["depth"])
    np.testing.assert_array_equal(labels, inputs["wrist"][:, 0] % 2)
    assert inputs["wrist"].dtype == "float64"


def test_rows_that_are_named():
    splits = split(LABELS, test=[0, 1, 5], validation=ROWS >= 36)
    assert all_rows(splits) == [
        sorted({*range(36)} - {0, 1, 5}),
        [36, 37, 38, 39],
        [0, 1, 5],
    ]
    # A fraction of what is left.
    splits = split(LABELS, test=0.5, validation=range(20))
    assert rows_of(splits, "validation") == list(range(20))
    assert len(rows_of(splits, "test")) == 10


def test_groups_that_are_named():
    splits = split(LABELS, groups=PERSONS, test=[9, 0], validation=(3,))
    assert rows_of(splits, "test") == [0, 1, 2, 3, 36, 37, 38, 39]
    assert rows_of(splits, "validation") == [12, 13, 14, 15]
    names = np.array([f"person {n}" for n in PERSONS])
    splits = split(LABELS, groups=names, test=["person 2"])
    assert rows_of(splits, "test") == [8, 9, 10, 11]


def test_no_group_is_in_two_parts():
    splits = split(LABELS, groups=PERSONS, test=0.3, validation=0.25)
    persons = [{row // 4 for row in part} for part in all_rows(splits)]
    assert set().union(*persons) == {*range(10)}
    # Three of ten, and of the seven that are left two, the nearest to 1.75.
    assert [len(several) for several in persons] == [5, 2, 3]


def test_groups_are_taken_by_size_and_class():
    # Persons 4 and 5 alone have class 1; one of them is tested on.
    groups = np.repeat(np.arange(6), [10, 10, 10, 10, 20, 20])
    labels = (groups >= 4) * 1
    splits = PairedSplits.from_arrays(
        {"wrist": groups[:, None]},
        labels,
        groups=groups,
        test=0.5,
        validation=[0],
    )
    test = rows_of(splits, "test")
    # Half of the 70 rows that are left would be 35.
    assert len(test) in (30, 40)
    assert len({4, 5} & {*test}) == 1


def test_a_class_of_one_group_is_trained_on():
    labels = (PERSONS == 7) * 1
    for seed in range(5):
        splits = split(labels, groups=PERSONS, seed=seed)
        assert {28, 29, 30, 31} <= set(rows_of(splits, "train"))


def test_rows_without_labels_are_trained_on():
    labels = np.where(ROWS < 20, LABELS, -1)
    splits = split(labels)
    train, validation, test = all_rows(splits)
    assert set(train) >= {*range(20, 40)}
    assert len(validation) == 4 and len(test) == 4
    assert splits.train.labels.tolist() == [labels[row] for row in train]
    assert splits.provenance["labeled"] == 12
    assert splits.provenance["unlabeled_class"] == -1
    assert splits.provenance["excluded"] == []
    # The same by naming them; the caller's labels stay as they are.
    kept = LABELS.copy()
    for named in (ROWS >= 20, range(20, 40)):
        assert all_rows(split(kept, unlabeled=named)) == all_rows(splits)
    np.testing.assert_array_equal(kept, LABELS)


def test_unlabelled_rows_measure_nothing():
    splits = split(
        LABELS, groups=PERSONS, test=[0, 1], validation=[2], unlabeled=[1, 5]
    )
    assert rows_of(splits, "test") == [0, 1, 2, 3]
    assert splits.provenance["sizes"] == {
        "train": 28,
        "validation": 4,
        "test": 4,
    }
    (entry,) = splits.provenance["excluded"]
    assert entry["name"] == "4 rows of test" and "no label" in entry["reason"]
    assert splits.provenance["labeled"] == 24
    assert len(splits.train.labeled().evaluation()[0][1]) == 24
    json.dumps(splits.provenance)


def test_a_label_a_pixel():
    labels = np.stack([LABELS, -LABELS], axis=-1)
    splits = split(labels, test=0.25)
    assert len(rows_of(splits, "test")) == 10
    assert splits.provenance["labeled"] == 24


def test_memory_maps_stay_on_disk(tmp_path, monkeypatch):
    np.save(tmp_path / "wrist.npy", INPUTS["wrist"])
    wrist = np.load(tmp_path / "wrist.npy", mmap_mode="r")
    read = []
    monkeypatch.setattr(
        np.memmap,
        "__getitem__",
        lambda self, rows: read.append(len(rows)) or np.asarray(self)[rows],
    )
    splits = PairedSplits.from_arrays({"wrist": wrist}, LABELS, batch_size=4)
    assert not read
    assert splits.train.inputs["wrist"] is wrist
    inputs, labels = splits.train[2]
    assert read == [4] and type(inputs["wrist"]) is np.ndarray
    np.testing.assert_array_equal(inputs["wrist"][:, 0] % 2, labels)


def test_the_fingerprint_is_that_of_the_parts_own_rows():
    one, same = split(LABELS), split(LABELS)
    assert one.train.fingerprint() == same.train.fingerprint()
    assert one.train.fingerprint() != one.test.fingerprint()
    row = rows_of(one, "test")[0]
    changed = {**INPUTS, "wrist": INPUTS["wrist"].copy()}
    changed["wrist"][row] += 1e-9
    other = PairedSplits.from_arrays(changed, LABELS)
    assert other.train.fingerprint() == one.train.fingerprint()
    assert other.test.fingerprint() != one.test.fingerprint()
    single = {**INPUTS, "wrist": INPUTS["wrist"].astype("float32")}
    other = PairedSplits.from_arrays(single, LABELS)
    assert other.test.fingerprint() != one.test.fingerprint()


def noisy(array, rng):
    array += rng.random()
    return array


def test_training_is_augmented_by_seed_epoch_and_sample():
    before = INPUTS["wrist"].copy()
    splits = split(LABELS, augment={"wrist": noisy}, batch_size=5)
    inputs, _ = splits.train[1]
    noise = inputs["wrist"][:, 0] % 1
    assert len(set(noise)) == 5
    np.testing.assert_array_equal(splits.train[1][0]["wrist"], inputs["wrist"])
    assert rows_of(splits, "validation") == rows_of(split(LABELS), "validation")
    np.testing.assert_array_equal(INPUTS["wrist"], before)
    # The same sample in another batch, and whatever else is read.
    data = splits.train
    where = np.flatnonzero(splits.train._drawn(1)[1] == 3)
    alone = data.select(["wrist"]).batch([3])[0]["wrist"]
    expected = np.random.default_rng([0, 0, 3, 0]).random()
    assert alone[0, 0] == before[rows_of(splits, "train")[3]] + expected
    for position in where:
        assert inputs["wrist"][position] == alone[0]
    data.on_epoch_end()
    assert data.batch([3])[0]["wrist"][0, 0] != alone[0, 0]


def test_the_second_view_is_drawn_independently():
    data = split(LABELS, augment={"wrist": noisy}).train
    inputs, _ = data.select(["camera"], second_view="wrist").batch([3])
    assert list(inputs) == ["camera", "wrist_second_view"]
    row = data.evaluation().batch([3])[0]["wrist"][0, 0]
    # Number 0 of two modalities, in their second view.
    expected = row + np.random.default_rng([0, 0, 3, 2]).random()
    assert inputs["wrist_second_view"][0, 0] == expected
    both, _ = data.select(["wrist"], second_view="wrist").batch([3])
    # The first view, which changes its argument, leaves the second alone.
    assert both["wrist_second_view"][0, 0] == expected
    first = row + np.random.default_rng([0, 0, 3, 0]).random()
    assert both["wrist"][0, 0] == first


def test_a_dict_of_arrays_is_augmented_as_one_sample():
    def flip(sample, rng):
        return {"depth": -sample["depth"]}

    data = split(LABELS, augment={"camera": flip}).train
    inputs, _ = data[0]
    np.testing.assert_array_equal(inputs["wrist"], inputs["camera"]["depth"])


@pytest.mark.parametrize(
    ("labels", "given", "message"),
    [
        (LABELS[:39], {}, r"equally many rows.*wrist 40, .*labels 39"),
        (LABELS, {"groups": PERSONS[1:]}, "groups 39.*Pair them"),
        (np.where(ROWS, LABELS, np.nan), {}, "1 labels that are NaN.*nan=-1"),
        (LABELS * 1.0, {}, "integers.*float64"),
        (LABELS.astype(str), {}, "return_inverse"),
        (LABELS - 2, {}, "Received: -2"),
        (LABELS + 1, {}, r"none of 0 \(0\).*without gaps"),
        (LABELS, {"class_names": ["a"]}, "1 classes.*the label 1"),
        (np.where(ROWS < 2, 1, 0), {}, "2 rows of the class 1 for 3 parts"),
        (LABELS, {"test": 1}, r"test=1.*test=\[1\]"),
        (LABELS, {"validation": 0.0}, "validation=0.0"),
        (LABELS, {"test": 1.0}, "below 1"),
        (LABELS, {"test": [40]}, r"0 to 39.*give `groups`"),
        (LABELS, {"test": []}, "at least one row"),
        (LABELS, {"test": np.ones(3, bool)}, r"each of the 40 rows.*\(3,\)"),
        (
            LABELS,
            {"test": [3], "validation": [2, 3]},
            r"No row is in two parts.*\[3\]",
        ),
        (
            LABELS,
            {"groups": PERSONS, "test": [3, 4], "validation": [4]},
            r"No group is in two parts.*groups \[4\]",
        ),
        (
            LABELS,
            {"groups": PERSONS, "test": ROWS < 6},
            r"No group may be in two parts.*\[1\]",
        ),
        (LABELS, {"groups": PERSONS, "test": [10]}, r"\[10\], which have no"),
        (LABELS, {"groups": ROWS // 20}, "Received: 2 groups"),
        (LABELS, {"groups": np.where(ROWS, 1, np.nan)}, "1 rows whose group"),
        (LABELS, {"unlabeled": ROWS >= 0}, "rows with a label.*none for"),
        (LABELS, {"test": ROWS % 2 == 1}, r"none of 1 \(1\)"),
        (LABELS, {"pairing": "random"}, "pairing='random'"),
        (LABELS, {"augment": {"sound": noisy}}, r"Received: \['sound'\]"),
    ],
)
def test_arguments_without_meaning(labels, given, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        split(labels, **given)


def write_table(folder, rows, header="wrist,label,person,part"):
    for number in range(len(rows)):
        np.save(folder / f"{number}.npy", np.full((2, 3), number))
    path = folder / "pairs.csv"
    text = "\n".join([header, *rows])
    path.write_text(text, encoding="utf-8-sig")
    return path


def labels_in(dataset):
    return dataset.labels.tolist()


def test_a_table_with_a_column_of_parts(tmp_path):
    parts = ["train"] * 4 + ["validation"] * 2 + ["test"] * 2
    labels = ["run", "walk", "", "walk", "run", "", "walk", "run"]
    rows = [
        f"{n}.npy,{x},0{n},{p}" for n, (x, p) in enumerate(zip(labels, parts))
    ]
    splits = PairedSplits.from_csv(
        write_table(tmp_path, rows),
        modalities={
            "motion": ("wrist", NumpyReader(shape=(2, 3))),
            "mean": ("wrist", lambda path: np.load(path).mean(keepdims=True)),
        },
        split="part",
        group="person",
    )
    splits.prepare(verbose=0)
    assert splits.provenance["classes"] == ["run", "walk"]
    assert splits.provenance["data_set"] == "pairs"
    assert splits.provenance["split"] == "by the column 'part'"
    inputs, labels = splits.train.evaluation()[0]
    assert labels.tolist() == [0, 1, -1, 1] and labels.dtype == "int32"
    assert inputs["motion"].shape == (4, 2, 3)
    assert inputs["mean"].tolist() == [[[n]] for n in range(4)]
    assert labels_in(splits.validation) == [0]
    assert splits.provenance["labeled"] == 3
    assert splits.provenance["excluded"][0]["name"] == "1 rows of validation"


def test_a_table_whose_parts_are_drawn(tmp_path):
    rows = [f"{n}.npy,{n % 2},{n // 4},x" for n in range(40)]
    path = write_table(tmp_path, rows)
    make = functools.partial(
        PairedSplits.from_csv, path, modalities={"wrist": NumpyReader()}
    )
    splits = make(group="person", test=[3, 7], validation=0.25)
    assert [x.name for x in splits.test.samples] == [
        f"row {n + 2}" for n in (*range(12, 16), *range(28, 32))
    ]
    assert splits.provenance["sizes"] == {
        "train": 24,
        "validation": 8,
        "test": 8,
    }
    # The same rows as by arrays.
    drawn = split(LABELS, seed=6)
    splits = make(seed=6)
    for part in PARTS:
        found = getattr(splits, part).evaluation()[0][0]["wrist"][:, 0, 0]
        assert found.tolist() == rows_of(drawn, part)


def test_texts_and_augmented_readers(tmp_path):
    rows = [f'{n}.npy,{n % 2},"words, {n}",x' for n in range(20)]

    def tokens(texts):
        return {"length": np.array([[len(text)] for text in texts])}

    splits = PairedSplits.from_csv(
        write_table(tmp_path, rows, "wrist,label,text,part"),
        modalities={"text": TextReader(tokens), "wrist": NumpyReader()},
        augment={"wrist": lambda array, rng: array + rng.random()},
    )
    inputs, _ = splits.train[0]
    assert set(inputs["text"]["length"][:, 0]) == {8, 9}
    noise = inputs["wrist"][:, 0, 0] % 1
    assert noise.all() and len(set(noise)) == len(noise)
    assert not (splits.test[0][0]["wrist"] % 1).any()


def test_files_that_are_not_there_are_all_named(tmp_path):
    rows = [f"{n}.npy,{n % 2},{n}.npy,x" for n in range(40)]
    rows[3], rows[5] = "a.npy,1,5.npy,x", ",1,b.npy,x"
    splits = PairedSplits.from_csv(
        write_table(tmp_path, rows, "wrist,label,camera,part"),
        modalities={"wrist": NumpyReader(), "camera": NumpyReader()},
    )
    missing = splits.provenance["missing"]
    assert [(x["name"], x["file"], x["reason"]) for x in missing] == [
        ("row 5", "a.npy", "is not there"),
        ("row 7", "row 7", "names no file for 'wrist'"),
        ("row 7", "b.npy", "is not there"),
    ]
    assert sum(splits.provenance["sizes"].values()) == 38
    with pytest.raises(
        ValueError, match="(?s)2 of 40.*there .2.: a.npy.*b.npy"
    ):
        splits.prepare(verbose=0)
    splits.prepare(0.1, verbose=0)


def test_files_that_cannot_be_read_are_all_named_once(tmp_path):
    rows = [f"{n}.npy,{n % 2},{n}.npy,x" for n in range(60)]
    path = write_table(tmp_path, rows, "wrist,label,camera,part")
    for number in range(25):
        (tmp_path / f"{number}.npy").write_bytes(b"nothing")
    np.save(tmp_path / "30.npy", np.zeros(4))
    splits = PairedSplits.from_csv(
        path,
        modalities={
            "wrist": NumpyReader(shape=(2, 3)),
            "camera": NumpyReader(),
        },
    )
    with pytest.raises(ValueError, match="26 of 60") as caught:
        splits.prepare(verbose=0)
    _, first, second, fix = str(caught.value).split("\n")
    if "shape" in first:
        first, second = second, first
    assert first.startswith("  is no whole .npy file of numbers (25): ")
    assert first.count(".npy (") == 20 and first.endswith(" and 5 more")
    assert second == "  has the shape (4,), not (2, 3) (1): 30.npy ('row 32')"
    assert "max_missing_fraction" in fix
    # Asked again, with more that may be left out.
    splits.prepare(0.5, verbose=0)
    assert sum(splits.provenance["sizes"].values()) == 34
    assert splits.provenance["labeled"] == splits.train.size
    # Every file for both modalities, but for the one of another shape.
    assert len(splits.provenance["unreadable"]) == 51


def test_what_a_function_raises_is_a_reason(tmp_path):
    rows = [f"{n}.npy,{n % 2},{n},x" for n in range(20)]

    def read(path):
        if path.name == "4.npy":
            raise KeyError("accelerometer")
        return np.load(path)

    splits = PairedSplits.from_csv(
        write_table(tmp_path, rows), modalities={"wrist": read}
    )
    with pytest.raises(ValueError, match="KeyError: 'accel.*4.npy .'row 6'"):
        splits.prepare(verbose=0)


ONE = {"wrist": NumpyReader()}


@pytest.mark.parametrize(
    ("rows", "given", "message"),
    [
        (["0.npy,0,0,x"], {"label": "class"}, r"\['class'\] are asked for"),
        (["0.npy,0,0,x"], {"split": "part"}, "'x' in row 2"),
        (["0.npy,0,0"], {}, "as many cells as the first one, 4.*row 2"),
        (["0.npy,1.5,0,x"], {}, "'1.5' in row 2.*no label"),
        (["0.npy,0,0,x", "1.npy,walk,0,x"], {}, "'0' in row 2"),
        (["0.npy,run,0,x"], {"class_names": ["walk"]}, "'run' in row 2"),
        (["0.npy,0,0,x"], {"modalities": {"wrist": NumpyReader}}, "instance"),
        (["0.npy,0,0,x"], {"modalities": {"wrist": "x"}}, "'x'"),
        (["0.npy,0,0,x"], {"modalities": {"sound": NumpyReader()}}, "'sound'"),
        ([], {}, "and 0 rows"),
        (
            ["0.npy,0,,x"],
            {"group": "person"},
            "row 2 without one in .*'person'",
        ),
        (["0.npy,0,0,x"], {"augment": {"sound": abs}}, r"\['sound'\]"),
        (
            [f"{n}.npy,0,0,x" for n in range(20)],
            {"root": "elsewhere"},
            "row 2 is not there: '0.npy'. Name their folder",
        ),
        (
            ["0.npy,0,0,train", "1.npy,0,0,validation", "2.npy,0,1,test"],
            {"split": "part", "group": "person"},
            r"No group may be in two parts.*\['0'\]",
        ),
    ],
)
def test_tables_without_meaning(tmp_path, rows, given, message):
    path = write_table(tmp_path, rows)
    with pytest.raises(ValueError, match=f"(?s){message}"):
        PairedSplits.from_csv(path, **{"modalities": ONE, **given})


@pytest.mark.parametrize("shape", [(2, 4), (3, 2), (2, 3, 1)])
def test_arrays_of_one_batch_have_one_shape(tmp_path, shape):
    rows = [f"{n}.npy,{n % 2},{n},x" for n in range(10)]
    path = write_table(tmp_path, rows)
    np.save(tmp_path / "4.npy", np.zeros(shape))
    splits = PairedSplits.from_csv(path, modalities=ONE)
    with pytest.raises(ValueError, match="'wrist' need one shape.*fixed size"):
        for part in PARTS:
            getattr(splits, part)[0]


class Items:
    """What PyTorch calls a map-style Dataset."""

    def __init__(self, rows, form):
        self.rows, self.form = rows, form

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        row = self.rows[index]
        inputs = {"wrist": np.full(3, row), "camera": [row, -row]}
        label = None if row == 5 else row % 2
        if self.form == "dict":
            return {**inputs, "class": label}
        if self.form == "pair":
            return inputs, label
        return (*inputs.values(), label)


@pytest.mark.parametrize("form", ["dict", "pair", "tuple"])
def test_items_by_index(form):
    parts = [Items(rows, form) for rows in ([1, 2, 5, 8], [3, 4, 5], [6, 7])]
    splits = PairedSplits.from_torch(
        *parts,
        modalities=("wrist", "camera"),
        label="class",
        augment={"camera": lambda array, rng: array + rng.random()},
    )
    assert all_rows(splits) == [[1, 2, 5, 8], [3, 4], [6, 7]]
    assert labels_in(splits.train) == [1, 0, -1, 0]
    assert labels_in(splits.validation) == [1, 0]
    assert splits.provenance["labeled"] == 3
    assert splits.provenance["excluded"][0]["name"] == "1 rows of validation"
    inputs, labels = splits.validation[0]
    assert inputs["camera"].tolist() == [[3, -3], [4, -4]]
    inputs, labels = splits.train[0]
    noise = inputs["camera"].sum(axis=1) / 2
    assert noise.all() and len(set(noise)) == 4
    np.testing.assert_array_equal(
        splits.train[0][0]["camera"], inputs["camera"]
    )


def test_items_of_pytorch():
    torch = pytest.importorskip("torch")
    wrist = torch.arange(12.0)[:, None].requires_grad_()
    dataset = list(zip(wrist, torch.arange(12) % 3))
    few = dataset[3:6]
    splits = PairedSplits.from_torch(dataset, few, few, modalities=["wrist"])
    inputs, labels = splits.test[0]
    assert type(inputs["wrist"]) is np.ndarray
    assert inputs["wrist"].tolist() == [[3], [4], [5]]
    assert labels.tolist() == [0, 1, 2]
    assert splits.train.fingerprint() != splits.test.fingerprint()


def test_items_without_meaning():
    make = functools.partial(PairedSplits.from_torch, modalities=["wrist"])
    good = [(np.zeros(3), n % 2) for n in range(4)]
    with pytest.raises(ValueError, match="a tuple of 2.*Received: .*tuple.* 3"):
        make([(0, 1, 2)] * 4, good, good)
    with pytest.raises(ValueError, match=r"Received: \['image', 'label'\]"):
        make(good, [{"image": 0, "label": 1}], good)
    with pytest.raises(ValueError, match="none for test"):
        make(good, good, [])

    class Random(Items):
        def __getitem__(self, index):
            return np.random.random(3), index % 2

    with pytest.raises(ValueError, match="item 0 of train.*into `augment`"):
        make(Random([1, 2, 3], "tuple"), good, good)


class Elements:
    """What tf.data calls a Dataset, as far as it is used."""

    def __init__(self, elements, cardinality=None):
        self.elements = elements
        self.count = len(elements) if cardinality is None else cardinality
        self.reads = 0

    def cardinality(self):
        return np.int64(self.count)

    def as_numpy_iterator(self):
        self.reads += 1
        return iter(self.elements)


def elements_of(rows, **kwargs):
    return Elements(
        [({"wrist": np.full(3, row)}, np.int64(row % 2)) for row in rows],
        **kwargs,
    )


def test_elements_are_read_once():
    parts = [elements_of(x, cardinality=-2) for x in ([1, 2, 4], [3, 6], [7])]
    splits = PairedSplits.from_tf_data(*parts, modalities=["wrist"])
    assert all_rows(splits) == [[1, 2, 4], [3, 6], [7]]
    assert labels_in(splits.train) == [1, 0, 0]
    splits.prepare(verbose=0)
    assert [part.reads for part in parts] == [1, 1, 1]


def test_elements_of_tensorflow():
    tf = pytest.importorskip("tensorflow")
    arrays = np.arange(8.0)[:, None], -np.arange(8.0)[:, None], np.arange(8) % 2
    whole = tf.data.Dataset.from_tensor_slices(arrays)
    names = {"modalities": ("wrist", "camera")}
    splits = PairedSplits.from_tf_data(whole, whole.take(2), whole, **names)
    assert rows_of(splits, "validation", "camera") == [0, -1]
    with pytest.raises(ValueError, match="train without one.*repeat"):
        PairedSplits.from_tf_data(whole.repeat(), whole, whole, **names)
    with pytest.raises(ValueError, match="unbatch"):
        PairedSplits.from_tf_data(whole.batch(3), whole, whole, **names)


def test_elements_that_are_none():
    good = elements_of([1, 2])
    with pytest.raises(ValueError, match="none for validation"):
        PairedSplits.from_tf_data(
            good, elements_of([]), good, modalities=["wrist"]
        )
