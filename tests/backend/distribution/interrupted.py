r"""Trains a toy pair on several devices with states; may die on the way.

    KERAS_BACKEND=jax \
        python -m tests.backend.distribution.interrupted 4 FOLDER die

With `die`, the last process kills itself with SIGKILL in the middle of the
third epoch, if it is the first to come there. Started anew, it goes on.
"""

import json
import os
import pathlib
import signal
import sys

import keras

import keras_c2kd
from keras_c2kd.backend import distribution
from keras_c2kd.comparison.resumable import ResumableTraining
from keras_c2kd.data import FollowEpochs
from keras_c2kd.data import PairedArrays
from keras_c2kd.methods import C2KD
from tests.helpers.toys import VISUAL
from tests.helpers.toys import toy_data
from tests.helpers.toys import toy_distiller
from tests.helpers.toys import toy_network


class DieOnce(keras.callbacks.Callback):
    """Kills the last process once, after a batch of an epoch."""

    def __init__(self, mark):
        super().__init__()
        self.mark = mark

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        index, count = distribution.processes()
        is_there = self.epoch == 2 and batch == 1 and index == count - 1
        if is_there and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def train(folder, dies):
    """Train four epochs from the last state; return history and weights."""
    keras.utils.set_random_seed(0)
    student = toy_network(VISUAL, seed=2)
    # Without a seed of its own.
    x = keras.layers.Dropout(0.3)(student.get_layer("pool").output)
    student = keras.Model(student.input, keras.layers.Dense(4)(x))
    distiller = toy_distiller(C2KD(), student=student)
    # The generators of no two processes are alike.
    keras.utils.set_random_seed(os.getpid())
    inputs, labels = toy_data(43)
    data = PairedArrays(inputs, labels, batch_size=16, training=True, seed=1)
    state = ResumableTraining(distiller, folder / "state", least_seconds=0.0)
    state.restore()
    began = state.epoch
    callbacks = [FollowEpochs(data), state]
    if dies:
        callbacks.insert(0, DieOnce(folder / "died"))
    distiller.fit(
        data,
        epochs=4,
        initial_epoch=state.epoch,
        callbacks=callbacks,
        shuffle=False,
        verbose=0,
    )
    state.finish()
    weights = [
        keras.ops.convert_to_numpy(w).ravel().tolist()
        for w in distiller.weights
    ]
    return {"began": began, "history": state.history, "weights": weights}


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[2])
    with keras_c2kd.distribute(int(sys.argv[1])):
        result = train(folder, "die" in sys.argv)
        if distribution.is_first_process():
            print(json.dumps(result), flush=True)
        distribution.barrier()
