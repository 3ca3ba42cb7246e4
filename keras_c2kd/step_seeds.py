"""Seeds of what a training step draws from generators that nobody saves."""

import contextlib
import random

import keras
from keras.src.backend.common import global_state
from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR


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

    @contextlib.contextmanager
    def in_use(self):
        """Within this context, Keras takes seeds that nobody gives here."""
        others = global_state.get_global_attribute(GLOBAL_SEED_GENERATOR)
        global_state.set_global_attribute(GLOBAL_SEED_GENERATOR, self)
        try:
            yield
        finally:
            global_state.set_global_attribute(GLOBAL_SEED_GENERATOR, others)
