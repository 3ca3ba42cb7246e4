"""Seeds of what a training step draws from generators that nobody saves."""

import random

import keras

from keras_c2kd.train_steps.keras_internals import global_seeds


class StepSeeds(keras.random.SeedGenerator):
    """Stands in for Keras' global generator of seeds in a training step.

    A layer that draws without a seed takes one from the process: it would
    draw other numbers in a run that is resumed in another process. In a step
    it takes it from here. The state, a seed and how many seeds were taken, is
    part of the model and saved with it; the user's generators stay as they
    are.

    The first seed is the one that `keras.random.SeedGenerator` would draw
    next, so `keras.utils.set_random_seed` decides it.
    """

    def __init__(self):
        own = random.Random()
        own.setstate(random.getstate())
        super().__init__(seed=own.randrange(2**30), name="step_seeds")

    def next(self, ordered=True):
        """Return the next seed, one that has not been there.

        Args:
            ordered: As in Keras, whose global generator is not; unused.
        """
        return super().next()

    def in_use(self):
        """Return a context in which Keras takes seeds nobody gives here."""
        return global_seeds(self)
