import numpy as np
import pytest

from keras_c2kd.data import FollowEpochs
from keras_c2kd.data import PairedArrays

pytestmark = pytest.mark.backend_free

LABELS = np.arange(10)
INPUTS = {
    "audio": LABELS * 10.0,
    "text": {"ids": LABELS[:, None] * 100, "mask": np.ones((10, 2))},
}


def dataset(**kwargs):
    return PairedArrays(INPUTS, LABELS, **{"batch_size": 4, **kwargs})


def labels_of(data):
    return np.concatenate([data[i][1] for i in range(len(data))])


def test_evaluation_is_in_order():
    data = dataset()
    assert len(data) == 3
    inputs, labels = data[2]
    np.testing.assert_array_equal(labels, [8, 9])
    np.testing.assert_array_equal(inputs["audio"], [80.0, 90.0])
    np.testing.assert_array_equal(inputs["text"]["ids"], [[800], [900]])


def test_training_is_shuffled_by_seed_and_epoch():
    data = dataset(training=True)
    first = labels_of(data)
    assert sorted(first) == list(range(10))
    assert first.tolist() != list(range(10))
    np.testing.assert_array_equal(labels_of(data), first)
    inputs, labels = data[1]
    np.testing.assert_array_equal(inputs["audio"], labels * 10.0)
    data.on_epoch_end()
    assert labels_of(data).tolist() != first.tolist()
    FollowEpochs(data).on_epoch_begin(0)
    np.testing.assert_array_equal(labels_of(data), first)
    assert labels_of(dataset(training=True, seed=1)).tolist() != first.tolist()


def test_some_samples_for_evaluation():
    data = dataset(training=True)
    np.testing.assert_array_equal(labels_of(data.evaluation()), LABELS)
    few = data.evaluation(largest=5)
    assert len(few) == 2
    found = labels_of(few).tolist()
    assert len(set(found)) == 5 and found == sorted(found)
    data.on_epoch_end()
    assert labels_of(data.evaluation(5)).tolist() == found
    assert data.training and len(data) == 3


def test_modalities_can_be_selected():
    data = dataset().select(["audio"], second_view="audio")
    assert set(data[0][0]) == {"audio", "audio_second_view"}
    assert set(dataset().select(["text"])[0][0]) == {"text"}
    assert set(dataset()[0][0]) == {"audio", "text"}


def test_training_is_augmented():
    """By seed, epoch, sample and modality; evaluation is not."""

    def add(row, random):
        return row + random.uniform(1, 2)

    def noise(data):
        inputs, labels = data[0]
        return dict(zip(labels.tolist(), inputs["audio"] - 10.0 * labels))

    data = dataset(training=True, batch_size=10, augment={"audio": add})
    found = noise(data)
    assert len(set(found.values())) == 10
    assert 1 <= min(found.values()) and max(found.values()) < 2
    assert noise(data) == found == noise(data.select(["audio"]))
    expected = data.random_of(3, 0).uniform(1, 2)
    assert found[3] == pytest.approx(expected)
    views = data.select(["text"], second_view="audio")[0][0]
    assert set(views) == {"text", "audio_second_view"}
    labels = data[0][1]
    other = dict(zip(labels, views["audio_second_view"] - 10.0 * labels))
    assert all(1 <= other[n] < 2 and other[n] != found[n] for n in range(10))
    data.on_epoch_end()
    assert noise(data)[3] != found[3]
    assert set(noise(data.evaluation()).values()) == {0.0}
    with pytest.raises(ValueError, match=r"Received: \['smell'\]"):
        dataset(augment={"smell": add})


def test_the_fingerprint_tells_values_apart():
    other = {**INPUTS, "audio": INPUTS["audio"] + 1}
    prints = {
        dataset().fingerprint(),
        PairedArrays(other, LABELS).fingerprint(),
        PairedArrays(INPUTS, LABELS[::-1]).fingerprint(),
    }
    assert len(prints) == 3
    assert dataset(training=True, seed=7).fingerprint() in prints
    assert dataset().prepare() == []


def test_worker_processes_are_refused():
    with pytest.raises(ValueError, match="JAX they hang.*Use threads"):
        dataset(workers=2, use_multiprocessing=True)


def test_bad_arrays():
    with pytest.raises(ValueError, match=r"Received: \[9, 10\] samples"):
        PairedArrays(INPUTS, LABELS[:9])
    with pytest.raises(ValueError, match=r"\[0\] samples"):
        PairedArrays({}, LABELS[:0])
    with pytest.raises(ValueError, match="batch_size=0"):
        dataset(batch_size=0)
