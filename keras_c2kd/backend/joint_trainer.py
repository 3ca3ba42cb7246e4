"""What the training steps of the three backends share."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from typing import TypeAlias

import keras

from keras_c2kd.backend.keras_internals import StepSeeds
from keras_c2kd.backend.keras_internals import TrainedModel
from keras_c2kd.typing import Tensor
from keras_c2kd.typing import Tensors

Logs: TypeAlias = dict[str, Tensor]
"""What a step logs, by name."""


TRAINING_BACKENDS = ("tensorflow", "torch", "jax")


def check_trains() -> None:
    """Raise a ValueError if this backend of Keras does not train."""
    backend = keras.backend.backend()
    if backend not in TRAINING_BACKENDS:
        raise ValueError(
            "Training needs the tensorflow, torch or jax backend. Received: "
            f"KERAS_BACKEND={backend}"
        )


class JointTrainer(TrainedModel):
    """Base of each backend's `Trainer`, itself a base of the distiller.

    Attributes:
        method: `DistillationMethod` of the distiller.
        step_seeds: Seeds of the layers that draw without one of their own.
        compute_outputs, modify_gradients, update_metrics: Methods of the
            distiller, which says more.
    """

    method: Any
    step_seeds: StepSeeds
    compute_outputs: Callable[..., Tensors]
    modify_gradients: Callable[..., list[Any]]
    update_metrics: Callable[..., Logs]

    @staticmethod
    def named_scope(name: str) -> AbstractContextManager[Any]:
        """Return a context that names what is computed in it in a trace."""
        return keras.name_scope(name)

    @property
    def num_replicas(self) -> int:
        """Number of devices that share the samples of a step."""
        return 1

    @property
    def shares_evaluation(self) -> bool:
        """Whether several devices share the samples of an evaluation too.

        TensorFlow's replicas do; on PyTorch each process has all of them.
        """
        return False

    def train_step(self, *arguments: Any) -> Any:
        """Refuse to train; each backend's `Trainer` has a step."""
        check_trains()
        raise NotImplementedError(
            f"{type(self).__name__} has no training step on this backend."
        )

    def evaluate_batch(self, data: Tensors) -> Logs:
        """Evaluate student and teacher on one batch; return the logs."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        outputs = self.compute_outputs(x, training=False)
        loss = self.compute_loss(x, y, outputs, sample_weight, training=False)
        return self.update_metrics(
            loss, y, outputs, sample_weight, training=False
        )

    def metrics_of_step(self, training: bool) -> Logs:
        """Return the metrics that a step logs, those of this process.

        Args:
            training: Whether it is a step of training.
        """
        return self.metrics_of_process()
