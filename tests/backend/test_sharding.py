import keras
import numpy as np
import pytest

from keras_c2kd.backend import distribution
from keras_c2kd.backend.distribution.sharding import shard
from keras_c2kd.data import PairedArrays
from tests.helpers.toys import toy_data


@pytest.fixture
def as_process(monkeypatch):
    """Makes this process one of several."""

    def become(index, count, digests=None):
        monkeypatch.setattr(distribution, "processes", lambda: (index, count))
        monkeypatch.setattr(
            distribution,
            "check_equal",
            lambda value, rule: (
                devices_differ(rule) if digests not in (None, value) else None
            ),
        )

    return become


def devices_differ(rule):
    raise ValueError(rule)


class Batches(keras.utils.PyDataset):
    """Numbered samples, of which the last batch is smaller."""

    def __init__(self, samples, batch_size):
        super().__init__()
        self.samples, self.batch_size = samples, batch_size
        self.epochs = 0

    def __len__(self):
        return -(-self.samples // self.batch_size)

    def __getitem__(self, index):
        rows = np.arange(self.samples)[index * self.batch_size :]
        rows = rows[: self.batch_size]
        return {"audio": rows, "visual": -rows}, rows

    def on_epoch_end(self):
        self.epochs += 1


def labels_of(shares):
    return [[share[i][1] for share in shares] for i in range(len(shares[0]))]


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3])
def test_each_sample_of_a_batch_goes_to_one_process(as_process, count):
    whole = Batches(20, batch_size=8)
    shares = []
    for index in range(count):
        as_process(index, count)
        shares.append(shard(whole))
    for number, parts in enumerate(labels_of(shares)):
        np.testing.assert_array_equal(np.concatenate(parts), whole[number][1])
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
    inputs, labels = shares[0][0]
    np.testing.assert_array_equal(inputs["visual"], -labels)
    shares[0].on_epoch_end()
    assert whole.epochs == 1


def test_arrays_are_shuffled_alike_and_anew(as_process):
    inputs, _ = toy_data(20)
    epochs = []
    shares = []
    for index in range(2):
        as_process(index, 2)
        keras.utils.set_random_seed(3)
        shares.append(
            shard(inputs, np.arange(20), np.arange(20) + 1.0, batch_size=8)
        )
    for _ in range(2):
        epochs.append(np.concatenate(sum(labels_of(shares), [])))
        for share in shares:
            share.on_epoch_end()
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch), np.arange(20))
    assert (epochs[0] != epochs[1]).any()
    assert (epochs[0] != np.arange(20)).any()
    (batch, labels, weights), row = shares[1][0], shares[1][0][1][0]
    np.testing.assert_array_equal(weights, labels + 1.0)
    np.testing.assert_array_equal(batch["audio"][0], inputs["audio"][row])


def test_a_data_set_reads_its_own_rows_alone(as_process):
    inputs, _ = toy_data(20)
    data = PairedArrays(
        inputs, np.arange(20), batch_size=8, training=True, seed=1
    )
    read = []
    original = data.batch
    data.batch = lambda indices: read.append(len(indices)) or original(indices)
    whole = [data[i][1] for i in range(3)]
    as_process(1, 2)
    share = shard(data)
    del read[:]
    for number, labels in enumerate(whole):
        half = len(labels) // 2
        np.testing.assert_array_equal(share[number][1], labels[half:])
    assert read == [4, 4, 2]
    data.epoch = 1
    assert (share[0][1] != whole[0][4:]).any()


def test_one_process_has_all(as_process):
    data = Batches(4, 2)
    as_process(0, 1)
    assert shard(data) is data


def test_fewer_samples_than_processes_are_refused(as_process):
    as_process(0, 3)
    share = shard(Batches(10, 8))
    with pytest.raises(ValueError, match="batch 1 of 2 samples for 3"):
        share[1]


def test_unequal_batches_are_refused(as_process):
    as_process(0, 2, digests="another")
    with pytest.raises(ValueError, match="same seed in every process"):
        shard(Batches(10, 8))


def test_texts_are_compared_as_such(as_process):
    seen = []
    texts = ["red " * 9, "green " * 9]
    for copied in (texts, ["".join(list(text)) for text in texts]):
        as_process(0, 2)
        distribution.check_equal = lambda value, rule: seen.append(value)
        share = shard({"text": copied}, np.arange(2), shuffle=False)
        assert share[0][0]["text"].tolist() == texts[:1]
    assert seen[0] == seen[1]


def test_what_cannot_be_divided_is_refused(as_process):
    as_process(0, 2)
    with pytest.raises(ValueError, match="DistributedSampler.*generator"):
        shard(batch for batch in [])


def test_a_loader_with_a_distributed_sampler_is_divided_already(as_process):
    data = pytest.importorskip("torch.utils.data")
    as_process(0, 2)
    sampler = data.DistributedSampler(range(8), num_replicas=2, rank=0)
    loader = data.DataLoader(range(8), sampler=sampler)
    assert shard(loader) is loader
