import json
from unittest import mock

import keras
import numpy as np
import pytest

from keras_c2kd.comparison.resumable import ResumableTraining
from keras_c2kd.data import EpochDataset
from keras_c2kd.data import FollowEpochs
from keras_c2kd.data import PairedArrays
from keras_c2kd.methods import C2KD
from tests.helpers.toys import AUDIO
from tests.helpers.toys import VISUAL
from tests.helpers.toys import assert_same_weights
from tests.helpers.toys import toy_data
from tests.helpers.toys import toy_distiller
from tests.helpers.toys import toy_network

pytestmark = pytest.mark.slow

EPOCHS = 4


class Killed(Exception):
    pass


class KillAfter(keras.callbacks.Callback):
    """Raise when so many epochs are done and noted."""

    def __init__(self, epochs):
        super().__init__()
        self.epochs = epochs

    def on_epoch_end(self, epoch, logs=None):
        if epoch + 1 == self.epochs:
            raise Killed


def with_dropout(modality):
    """Random states must be resumed too."""
    network = toy_network(modality)
    x = keras.layers.Dropout(0.5, seed=4)(network.get_layer("pool").output)
    return keras.Model(network.input, keras.layers.Dense(4, name="out")(x))


def new_distiller():
    keras.utils.set_random_seed(0)
    return toy_distiller(
        C2KD(),
        student=with_dropout(VISUAL),
        teacher=with_dropout(AUDIO),
        compile={"optimizer": keras.optimizers.SGD(0.02, momentum=0.9)},
    )


def train(folder, kill_after=None, monitor=None, least_seconds=0.0):
    """Train as a new process would, from the state that is there."""
    distiller = new_distiller()
    dataset = PairedArrays(*toy_data(32), batch_size=8, training=True)
    state = ResumableTraining(
        distiller,
        folder,
        monitor,
        keep_best=monitor is not None,
        least_seconds=least_seconds,
    )
    state.restore()
    callbacks = [FollowEpochs(dataset), state]
    if kill_after:
        callbacks.append(KillAfter(kill_after))
    try:
        distiller.fit(
            dataset,
            epochs=EPOCHS,
            initial_epoch=state.epoch,
            validation_data=toy_data(16, seed=1),
            callbacks=callbacks,
            shuffle=False,
            verbose=0,
        )
    except Killed:
        return None
    return distiller, state


@pytest.mark.parametrize(
    "monitor",
    [None, pytest.param("val_accuracy", marks=pytest.mark.one_backend)],
)
def test_an_interrupted_training_ends_the_same(tmp_path, monitor):
    whole, state = train(tmp_path / "whole", monitor=monitor)
    assert train(tmp_path / "killed", kill_after=1, monitor=monitor) is None
    assert train(tmp_path / "killed", kill_after=3, monitor=monitor) is None
    resumed, after = train(tmp_path / "killed", monitor=monitor)
    assert after.epoch == EPOCHS
    assert after.history == state.history
    assert {len(values) for values in after.history.values()} == {EPOCHS}
    assert_same_weights(whole, resumed)
    variables = zip(whole.optimizer.variables, resumed.optimizer.variables)
    for left, right in variables:
        np.testing.assert_array_equal(
            *(keras.ops.convert_to_numpy(x) for x in (left, right))
        )
    state.finish()
    after.finish()
    assert_same_weights(whole, resumed)


def test_the_first_of_the_best_epochs_counts(tmp_path):
    distiller = new_distiller()
    state = ResumableTraining(
        distiller, tmp_path, "score", keep_best=True, least_seconds=0.0
    )
    state.set_params({"epochs": 4})
    distiller.optimizer.build(distiller.trainable_variables)
    bias = distiller.student.get_layer("out").bias
    for epoch, score in enumerate((0.5, 0.9, 0.9, 0.1)):
        bias.assign(keras.ops.full((4,), float(epoch)))
        state.on_epoch_end(epoch, {"score": score})
    state.finish()
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(bias), 1.0)
    assert state.history == {"score": [0.5, 0.9, 0.9, 0.1]}
    # One state, and no file that it does not name.
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["best_2.weights.h5", "last_4.weights.h5", "state.json"]


@pytest.mark.one_backend
def test_a_state_is_kept_from_time_to_time(tmp_path):
    assert train(tmp_path, kill_after=2, least_seconds=1000.0) is None
    assert not (tmp_path / "state.json").exists()
    assert train(tmp_path, kill_after=2) is None
    assert json.loads((tmp_path / "state.json").read_text())["epoch"] == 2


@pytest.mark.one_backend
def test_patience_ends_at_the_same_epoch_after_a_kill(tmp_path):
    def states(scores, state):
        state.restore()
        for epoch, score in enumerate(scores, state.epoch):
            state.set_model(mock.Mock(stop_training=False))
            state.on_epoch_end(epoch, {"score": score})
            yield state.is_over, state.model.stop_training

    def new_state():
        distiller = new_distiller()
        distiller.optimizer.build(distiller.trainable_variables)
        return ResumableTraining(
            distiller, tmp_path, "score", patience=2, least_seconds=0.0
        )

    assert not any(map(any, states((0.5, 0.9, 0.4), new_state())))
    state = new_state()
    assert list(states((0.9,), state)) == [(True, True)]
    assert (state.epoch, state.best_epoch) == (4, 2)


@pytest.mark.one_backend
@pytest.mark.parametrize(
    "moment",
    [
        "keras_c2kd.comparison.resumable.write_atomically",
        "pathlib.Path.unlink",
    ],
)
def test_a_kill_while_a_state_is_written_leaves_a_whole_one(
    tmp_path, monkeypatch, moment
):
    """Before the new state is named, and before the old one is removed."""

    def die(*arguments, **kwargs):
        raise Killed

    whole, _ = train(tmp_path / "whole")
    assert train(tmp_path / "killed", kill_after=1) is None
    with monkeypatch.context() as patch:
        patch.setattr(moment, die)
        assert train(tmp_path / "killed") is None
    resumed, _ = train(tmp_path / "killed")
    assert_same_weights(whole, resumed)


@pytest.mark.one_backend
def test_a_damaged_state_is_an_error(tmp_path):
    assert train(tmp_path, kill_after=2) is None
    state = tmp_path / "state.json"
    text = state.read_text()
    for content in ("{", json.dumps({"epoch": 2}), text.replace("last_2", "x")):
        state.write_text(content)
        with pytest.raises(ValueError, match="Delete the folder"):
            train(tmp_path)
    state.write_text(text)
    weights = tmp_path / "last_2.weights.h5"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ValueError, match="Delete the folder"):
        train(tmp_path)


def test_a_dataset_must_say_what_it_holds():
    with pytest.raises(NotImplementedError):
        len(EpochDataset())
