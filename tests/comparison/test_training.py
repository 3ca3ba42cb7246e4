"""Optimizers, learning rates and what a setting may be."""

import keras
import numpy as np
import pytest

from keras_c2kd.comparison import PaperTraining
from keras_c2kd.comparison import Training


def by_the_authors(epoch, epochs):
    """The rate of an epoch, as `adjust_lr` of C2KD's code computes it."""
    return 1e-4 + (1e-2 - 1e-4) * (1 - epoch / epochs) ** 0.9


def test_the_learning_rate_of_an_epoch():
    """Once an epoch, as in the authors' code, or after every step."""
    settings = PaperTraining(epochs=4, learning_rate_per="epoch")
    schedule = settings.learning_rate_schedule(steps=3)
    copy = keras.optimizers.schedules.deserialize(
        keras.optimizers.schedules.serialize(schedule)
    )
    for step in range(12):
        expected = by_the_authors(step // 3, 4)
        for one in (schedule, copy):
            assert float(one(step)) == pytest.approx(expected, rel=1e-5)
    every_step = PaperTraining(epochs=4).learning_rate_schedule(steps=3)
    for step in range(13):
        expected = by_the_authors(step, 12)
        assert float(every_step(step)) == pytest.approx(expected, rel=1e-5)


def test_steps_have_the_rate_of_their_epoch():
    """The weights that one network ends with, in two epochs of two steps."""
    settings = PaperTraining(
        epochs=2, momentum=0.0, learning_rate_per="epoch", learning_rate=0.5
    )
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    network.set_weights([np.zeros((1, 1)), np.zeros(1)])
    network.compile(settings.new_optimizer(2), Slope())
    network.fit(np.ones((4, 1)), np.ones(4), 2, 2, verbose=0)
    rates = [0.5, 0.5, *[1e-4 + (0.5 - 1e-4) * 0.5**0.9] * 2]
    bias = network.get_weights()[1][0]
    assert bias == pytest.approx(-sum(rates), rel=1e-5)


class Slope(keras.losses.Loss):
    """A loss with gradient 1."""

    def call(self, y_true, y_pred):
        return y_pred[:, 0]


def test_a_cosine_ends_at_its_last_rate():
    settings = Training(epochs=2, learning_rate=0.4, end_learning_rate=0.1)
    schedule = settings.learning_rate_schedule(steps=4)
    for step, expected in ((0, 0.4), (4, 0.25), (8, 0.1)):
        assert float(schedule(step)) == pytest.approx(expected, rel=1e-5)


def test_optimizers():
    constant = {"schedule": "constant", "learning_rate": 0.5}
    found = Training(**constant).new_optimizer(3)
    assert isinstance(found, keras.optimizers.Adam)
    assert float(found.learning_rate) == 0.5
    sgd = Training(optimizer="sgd", momentum=0.8, **constant).new_optimizer(3)
    assert isinstance(sgd, keras.optimizers.SGD) and sgd.momentum == 0.8
    decayed = Training(optimizer="adamw", weight_decay=0.1, **constant)
    assert decayed.new_optimizer(3).weight_decay == 0.1
    own = Training(optimizer=keras.optimizers.RMSprop, **constant)
    assert isinstance(own.new_optimizer(3), keras.optimizers.RMSprop)


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"learning_rate_per": "batch"}, "'step', 'epoch'.*'batch'"),
        ({"optimizer": "lion"}, "'adamw'.*or a function.*'lion'"),
        ({"schedule": "step"}, "'cosine'.*'step'"),
        ({"protocol": "best_test"}, "'best_validation'.*'best_test'"),
        ({"epochs": 0}, "epochs=0"),
        ({"learning_rate": 0.0}, "learning_rate=0"),
        ({"patience": -1}, "patience=-1"),
    ],
)
def test_settings_without_meaning_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        Training(**setting)
