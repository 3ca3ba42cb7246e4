"""What a data set of one's own can do that has a size and batches alone."""

import numpy as np
import pytest

from keras_c2kd.data import EpochDataset
from keras_c2kd.data import PairedArrays
from keras_c2kd.data import PairedSplits
from keras_c2kd.data.epoch_dataset import is_labeled

pytestmark = pytest.mark.backend_free

LABELS = np.array([0, -1, 1, -1, 0, -1, 1, -1, -1, -1])


class Readings(EpochDataset):
    """Ten readings of two sensors, noisy in training."""

    size = 10

    def batch(self, indices):
        noise = [
            0.0 if random is None else random.random()
            for random in (self.random_of(i) for i in indices)
        ]
        inputs = {"wrist": np.asarray(indices) * 10.0, "noise": np.array(noise)}
        return inputs, LABELS[indices]


class OtherReadings(Readings):
    """The last reading of the camera differs."""

    def batch(self, indices):
        inputs, labels = super().batch(indices)
        inputs["wrist"][np.asarray(indices) == 9] += 1
        return inputs, labels


def wrists(data):
    return [data[i][0]["wrist"].tolist() for i in range(len(data))]


def all_of(data):
    """Every value of an epoch, in its order."""
    return [
        np.concatenate([np.ravel(x) for x in (*inputs.values(), labels)])
        for inputs, labels in (data[i] for i in range(len(data)))
    ]


def test_labels_are_read_by_batches():
    data = Readings(batch_size=3, training=True)
    np.testing.assert_array_equal(data.labels, LABELS)
    data.labels = LABELS + 5
    np.testing.assert_array_equal(data.labels, LABELS + 5)


def test_the_fingerprint_is_that_of_what_evaluation_sees():
    prints = {
        Readings(batch_size=4).fingerprint(),
        Readings(batch_size=3, training=True, seed=2).fingerprint(),
    }
    assert len(prints) == 1
    assert OtherReadings().fingerprint() not in prints
    assert Readings().select(["wrist"]).fingerprint() not in prints


def test_modalities_are_selected():
    data = Readings(batch_size=4, training=True)
    chosen = data.select(["wrist"], second_view="noise")
    for _ in range(2):
        inputs, labels = chosen[1]
        assert list(inputs) == ["wrist", "noise_second_view"]
        whole, same_labels = data[1]
        np.testing.assert_array_equal(
            inputs["noise_second_view"], whole["noise"]
        )
        np.testing.assert_array_equal(inputs["wrist"], whole["wrist"])
        np.testing.assert_array_equal(labels, same_labels)
        data.on_epoch_end()
        chosen.on_epoch_end()
    data.epoch = 0
    again, _ = chosen[1]
    data.epoch = chosen.epoch
    np.testing.assert_array_equal(
        again["noise_second_view"], data[1][0]["noise"]
    )
    assert not chosen.evaluation()[0][0]["noise_second_view"].any()
    assert list(chosen.select(["wrist"]).batch([3])[0]) == ["wrist"]
    np.testing.assert_array_equal(chosen.labels, LABELS)
    assert list(data.batch([0])[0]) == ["wrist", "noise"]


@pytest.mark.parametrize(
    "data", [Readings(), PairedArrays({"wrist": LABELS}, LABELS)]
)
def test_unknown_modalities(data):
    with pytest.raises(ValueError, match=r"modalities are \[.*'wrist'\].*ion"):
        data.select(["wrist", "vision"])
    with pytest.raises(ValueError, match=r"Received: \['vision'\]"):
        data.select(["wrist"], second_view="vision")


@pytest.mark.parametrize("is_selected", [False, True])
def test_the_labelled_samples_alone(is_selected):
    data = Readings(batch_size=3)
    if is_selected:
        data = data.select(["wrist"])
    labeled = data.labeled()
    assert wrists(labeled) == [[0.0, 20.0, 40.0], [60.0]]
    assert wrists(labeled.select(["wrist"])) == wrists(labeled)
    (few,) = wrists(labeled.evaluation(largest=3))
    assert len(few) == 3 and {*few} < {0.0, 20.0, 40.0, 60.0}
    assert len(data) == 4 and labeled.size == 10
    data.labels = np.where(np.isin(np.arange(10), [0, 1, 3, 5]), 0, -1)
    (few,) = wrists(data.labeled().evaluation(largest=3))
    assert len(few) == 3 and {*few} < {0.0, 10.0, 30.0, 50.0}


def test_as_many_updates_on_the_labelled_samples():
    data = Readings(batch_size=3, training=True, seed=5).labeled(steps=4)
    assert len(data) == 4
    epochs = []
    for _ in range(2):
        epochs += wrists(data)
        data.on_epoch_end()
    assert all(len(batch) == 3 for batch in epochs)
    # 24 rows: six passes over the four samples, that of the second epoch too.
    rows = np.reshape(np.concatenate(epochs), (6, 4))
    for number, row in enumerate(rows):
        assert sorted(row) == [0, 20, 40, 60]
        order = np.random.default_rng([5, number]).permutation([0, 2, 4, 6])
        np.testing.assert_array_equal(row, order * 10)


def test_each_pass_draws_anew():
    data = Readings(batch_size=8, training=True).labeled(steps=1)
    inputs, labels = data[0]
    assert len(set(inputs["noise"])) == 8
    # What is drawn is that of the plain data set in the epoch of the pass.
    plain = Readings(batch_size=10, training=True).labeled()
    plain.epoch = 1
    np.testing.assert_array_equal(inputs["noise"][4:], plain[0][0]["noise"])
    np.testing.assert_array_equal(labels[4:], plain[0][1])


def test_more_samples_than_steps():
    data = Readings(batch_size=3, training=True).labeled(steps=1)
    first = wrists(data)
    data.on_epoch_end()
    assert len({*first[0], *wrists(data)[0]}) == 4


def test_threads_and_processes_see_the_same_labelled_batches():
    plain = Readings(batch_size=5, training=True).labeled(steps=6)
    ahead = Readings(batch_size=5, training=True, workers=3).labeled(steps=6)
    for _ in range(2):
        for a, b in zip(all_of(plain), all_of(ahead), strict=True):
            np.testing.assert_array_equal(a, b)
        shares = [plain.share(1, process, 2)[0]["noise"] for process in (0, 1)]
        np.testing.assert_array_equal(
            np.concatenate(shares), plain[1][0]["noise"]
        )
        plain.on_epoch_end()
        ahead.on_epoch_end()


def test_labelled_evaluation_is_one_pass():
    data = Readings(batch_size=3, training=True).labeled(steps=9)
    assert wrists(data.evaluation()) == [[0.0, 20.0, 40.0], [60.0]]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([0, -1, 2], [True, False, True]),
        ([[0], [-1]], [True, False]),
        ([[-1, -1], [-1, 3]], [False, True]),
        ([[[-1, -1]], [[0, -1]]], [False, True]),
        ([[0.0, 0.0], [0.0, 1.0]], [False, True]),
        ([[0, 0], [-1, -1]], [True, False]),
    ],
)
def test_which_samples_have_a_label(labels, expected):
    assert is_labeled(np.asarray(labels)).tolist() == expected


def test_another_number_for_no_label():
    assert is_labeled(np.array([0, 255, -1]), 255).tolist() == [1, 0, 1]


def test_labels_that_cannot_be_used():
    data = Readings()
    data.labels = np.full(10, -1)
    with pytest.raises(ValueError, match="none of 10.*unlabeled_class=-1"):
        data.labeled()
    with pytest.raises(ValueError, match="steps=0"):
        Readings().labeled(steps=0)


def test_splits_of_any_data_sets():
    splits = PairedSplits(Readings(training=True), Readings(), OtherReadings())
    splits.prepare(verbose=0)
    prints = splits.provenance.pop("fingerprint")
    assert splits.provenance == {
        "data_set": "own data",
        "split": "as given",
        "pairing": "natural",
        "classes": ["0", "1"],
        "sizes": {"train": 10, "validation": 10, "test": 10},
        "labeled": 4,
        "unlabeled_class": -1,
        "missing": [],
        "unreadable": [],
        "excluded": [],
    }
    other = PairedSplits(Readings(), Readings(), Readings())
    other.prepare(verbose=0)
    assert len(prints) == 16 and prints != other.provenance["fingerprint"]


def test_provenance_that_is_given_stays():
    labels = np.eye(3)[[0, 1]]
    data = PairedArrays({"wrist": labels}, labels)
    given = {"pairing": "by class", "excluded": [{"name": "x"}], "note": 1}
    found = PairedSplits(data, data, data, given).provenance
    assert found["classes"] == ["0", "1", "2"]
    assert (found["labeled"], found["unlabeled_class"]) == (2, None)
    assert {name: found[name] for name in given} == given
    assert "classes" not in given
    with pytest.raises(ValueError, match="'natural', 'by class'.*'random'"):
        PairedSplits(data, data, data, {"pairing": "random"})
