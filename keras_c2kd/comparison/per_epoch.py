"""A learning rate that changes once an epoch."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_c2kd")
class PerEpoch(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule of epochs, followed by steps.

    Every step of an epoch has the rate of its epoch, counted from 0. The code
    of C2KD sets it behind each step, so that the first step of an epoch still
    has the rate of the one before; that step alone differs.

    Args:
        schedule: `LearningRateSchedule` of the number of the epoch.
        steps: Integer, steps of an epoch.
    """

    def __init__(
        self,
        schedule: keras.optimizers.schedules.LearningRateSchedule,
        steps: int,
    ) -> None:
        super().__init__()
        self.schedule = schedule
        self.steps = steps

    def __call__(self, step: Any) -> Any:
        """Return the rate of a step."""
        return self.schedule(ops.floor_divide(step, self.steps))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        schedule = keras.saving.serialize_keras_object(self.schedule)
        return {"schedule": schedule, "steps": self.steps}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "PerEpoch":
        """Rebuild the schedule and the one that it follows."""
        schedule = keras.saving.deserialize_keras_object(config["schedule"])
        return cls(schedule, config["steps"])
