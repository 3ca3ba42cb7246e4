import subprocess
import sys
import threading
import time

import keras
import numpy as np
import pytest

from keras_c2kd import CrossModalDistiller
from keras_c2kd.data import FollowEpochs
from keras_c2kd.data import PairedArrays
from keras_c2kd.data.read_ahead import ReadAhead
from keras_c2kd.methods import KnowledgeDistillation

BATCHES = 5
NUMBERS = np.arange(8 * BATCHES)


class SlowArrays(PairedArrays):
    """Takes long enough for the other threads to be ahead or behind."""

    def batch(self, indices):
        time.sleep(0.001 * (indices[0] % 4))
        return super().batch(indices)


def numbered(**kwargs):
    inputs = {name: NUMBERS[:, None] / 40 for name in ("audio", "visual")}
    return SlowArrays(inputs, NUMBERS % 3, batch_size=8, seed=1, **kwargs)


class Recorder(CrossModalDistiller):
    """Writes down which samples are trained on."""

    def compute_loss(self, x=None, *args, training=True, **kwargs):
        if training:
            values = keras.ops.convert_to_numpy(x["visual"])
            self.seen.append(np.rint(values[:, 0] * 40).tolist())
        return super().compute_loss(x, *args, training=training, **kwargs)


def fitted(workers, **kwargs):
    """What was trained on, and all losses."""
    keras.utils.set_random_seed(0)
    networks = []
    for _ in range(2):
        inputs = keras.Input((1,))
        networks.append(keras.Model(inputs, keras.layers.Dense(3)(inputs)))
    model = Recorder(
        teacher=networks[0],
        student=networks[1],
        teacher_modality="audio",
        student_modality="visual",
        method=KnowledgeDistillation(),
    )
    model.seen = []
    model.compile(
        optimizer=keras.optimizers.SGD(0.1),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        run_eagerly=True,
    )
    train = numbered(training=True, workers=workers)
    history = model.fit(
        train,
        epochs=3,
        shuffle=False,
        verbose=0,
        callbacks=[FollowEpochs(train)],
        validation_data=numbered(workers=workers),
        **kwargs,
    )
    return model.seen, history.history


def expected(epochs):
    data, found = numbered(training=True), []
    for data.epoch in epochs:
        found += [data[i][0]["visual"][:, 0] * 40 for i in range(BATCHES)]
    return [np.rint(batch).tolist() for batch in found]


@pytest.mark.slow
@pytest.mark.parametrize("first", [0, 2])
def test_fit_trains_on_the_same_batches_with_any_number_of_threads(first):
    """Keras looks at batches before it trains: they must not come again."""
    seen, losses = fitted(workers=3, initial_epoch=first)
    assert seen == expected(range(first, 3))
    assert "val_loss" in losses
    assert fitted(workers=1, initial_epoch=first)[1] == losses


@pytest.mark.backend_free
def test_threads_read_at_the_same_time():
    together = threading.Barrier(3, timeout=20)
    ahead = ReadAhead(lambda i: together.wait() * 0 + i, 6, threads=3, most=4)
    assert [ahead.take(i) for i in range(6)] == list(range(6))


@pytest.mark.backend_free
def test_so_many_batches_are_read_ahead_and_no_more():
    begun = []
    ahead = ReadAhead(lambda i: begun.append(i) or i, 100, threads=2, most=4)
    for index in (0, 1, 2):
        assert ahead.take(index) == index
    time.sleep(0.2)
    assert sorted(begun) == list(range(7))
    # Out of order: this one alone.
    for index in (50, 30, 80):
        assert ahead.take(index) == index
    time.sleep(0.2)
    assert begun[7:] == [50, 30, 80]
    assert ahead.take(81) == 81
    assert [ahead.take(i) for i in (82, 83, 98, 99)] == [82, 83, 98, 99]


@pytest.mark.backend_free
def test_an_error_is_raised_by_its_own_batch():
    def read(index):
        if index == 2:
            raise ValueError("batch 2 is bad")
        return index

    ahead = ReadAhead(read, 5, threads=3, most=4)
    assert [ahead.take(0), ahead.take(1)] == [0, 1]
    with pytest.raises(ValueError, match="batch 2 is bad"):
        ahead.take(2)
    assert ahead.take(3) == 3


@pytest.mark.backend_free
def test_what_was_read_ahead_is_discarded_when_the_data_set_changes():
    data, plain = numbered(training=True, workers=3), numbered(training=True)

    def same(index):
        np.testing.assert_array_equal(data[index][1], plain[index][1])

    assert data.workers == 1 and data.threads == 3
    for index in (0, 1):
        same(index)
    data.epoch = plain.epoch = 1
    for index in (2, 3):
        same(index)
    data.seed = plain.seed = 7
    same(4)
    # Also by a thread that had begun in another epoch.
    data.epoch = plain.epoch = 0
    same(0)
    data.on_epoch_end()
    data.epoch = 0
    for index in range(BATCHES):
        same(index)
    copy = data.evaluation()
    np.testing.assert_array_equal(copy[1][1], NUMBERS[8:16] % 3)
    data.workers = 1
    assert data.threads == 1
    same(1)


@pytest.mark.backend_free
def test_shares_are_read_ahead():
    data, plain = numbered(workers=3), numbered()
    for process in (0, 1):
        for index in range(BATCHES):
            np.testing.assert_array_equal(
                data.share(index, process, 3)[1],
                plain.share(index, process, 3)[1],
            )


@pytest.mark.slow
@pytest.mark.backend_free
def test_a_program_ends_while_batches_are_read_ahead():
    program = (
        "import time\n"
        "from keras_c2kd.data.read_ahead import ReadAhead\n"
        "read = lambda i: time.sleep(0.3 * i)\n"
        "ReadAhead(read, 100, threads=2, most=90).take(0)\n"
        "raise SystemExit(7)\n"
    )
    start = time.monotonic()
    assert subprocess.call([sys.executable, "-c", program], timeout=60) == 7
    # All of them would take 20 minutes.
    assert time.monotonic() - start < 50


@pytest.mark.slow
@pytest.mark.backend_free
def test_a_thread_may_train_when_the_program_has_ended():
    program = (
        "import threading, time\n"
        "from keras_c2kd.data.read_ahead import ReadAhead\n"
        "def work():\n"
        "    time.sleep(0.3)\n"
        "    ahead = ReadAhead(lambda i: i, 9, threads=2, most=4)\n"
        "    print([ahead.take(i) for i in range(9)])\n"
        "threading.Thread(target=work).start()\n"
    )
    found = subprocess.check_output(
        [sys.executable, "-c", program], timeout=60, text=True
    )
    assert found.split("\n")[0] == str(list(range(9)))
