"""How each network of a comparison is trained and scored."""

import contextlib
import dataclasses
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_c2kd.analysis import MeanIoU
from keras_c2kd.analysis.target_probability import mean_target_probability
from keras_c2kd.comparison.per_epoch import PerEpoch
from keras_c2kd.data.epoch_dataset import EpochDataset
from keras_c2kd.data.scene_dataset import IGNORED
from keras_c2kd.distiller.cross_modal_distiller import CrossModalDistiller
from keras_c2kd.networks.modalities import predict_on_batch
from keras_c2kd.utils.argument_checks import check_integer
from keras_c2kd.utils.argument_checks import check_number
from keras_c2kd.utils.argument_checks import check_positive

OPTIMIZERS = ("sgd", "adam", "adamw")
SCHEDULES = ("polynomial", "cosine", "constant")
RATES_PER = ("step", "epoch")
PROTOCOLS = ("last", "best_validation")


def setting(
    default: Any, description: str, choices: Sequence[str] | None = None
) -> Any:
    """Return the field of a dataclass of settings, with its description.

    Args:
        default: Value, whose type is that of the setting.
        description: Short text, for `--help`.
        choices: Values to choose from, or None (default) for any.

    Returns:
        Field, as `dataclasses.field` makes it.
    """
    metadata: dict[str, Any] = {"help": description}
    if choices is not None:
        metadata["choices"] = tuple(choices)
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Training:
    """What decides the outcome of a run besides method, networks and seed.

    A subclass may add fields, and override `loss`, `metrics` and
    `test_scores`. All fields are stored with every result, and each is an
    option of the command line.

    Args:
        epochs: Integer, passes over the training samples. Defaults to `60`.
        steps: Integer, training steps in place of `epochs`: as many epochs as
            come closest. Defaults to `0`: `epochs` counts.
        batch_size: Integer, samples of a step; `0` (default) leaves the data
            theirs.
        optimizer: `"adam"` (default), `"adamw"`, `"sgd"`, or a function from
            the learning rate or its schedule to a Keras optimizer.
        learning_rate: Float, of the first step. Defaults to `1e-3`.
        schedule: `"cosine"` (default), `"polynomial"`, `"constant"`, or a
            function from the number of steps to a `LearningRateSchedule`.
        end_learning_rate: Float, of the last step. Defaults to `0.0`.
        power: Float, of the polynomial decay. Defaults to `0.9`.
        learning_rate_per: `"step"` (default) or `"epoch"`: how often the
            learning rate changes.
        momentum: Float, of SGD. Defaults to `0.9`.
        weight_decay: Float, decoupled. Defaults to `0.0`.
        warmup_epochs: Integer, epochs in which the weights of DKD and
            ReviewKD grow from 0. Defaults to `0`.
        precision: Keras' dtype policy of the networks. Defaults to
            `"float32"`.
        protocol: `"last"` (default): the network after the last epoch is
            tested; `"best_validation"`: the one of the epoch with the best
            validation score.
        patience: Integer, epochs without a better validation score after
            which training stops. Defaults to `0`: it never stops early.
        metric: Name of the metric that is compared; higher is better.
            Defaults to `"accuracy"`.

    Raises:
        ValueError: If a number has no meaning or a choice is unknown.

    Example:
    >>> training = Training(epochs=20, batch_size=32, optimizer="sgd")
    >>> training.num_epochs(10), Training(steps=100).num_epochs(12)
    (20, 8)
    """

    epochs: int = setting(60, "passes over the training samples")
    steps: int = setting(0, "training steps in place of epochs")
    batch_size: int = setting(0, "samples of a step; 0: as the data have it")
    optimizer: Any = setting("adam", "optimizer", OPTIMIZERS)
    learning_rate: float = setting(1e-3, "of the first step")
    schedule: Any = setting("cosine", "how the rate decays", SCHEDULES)
    end_learning_rate: float = setting(0.0, "of the last step")
    power: float = setting(0.9, "of the polynomial decay between the two")
    learning_rate_per: str = setting(
        "step", "after what the learning rate decays", RATES_PER
    )
    momentum: float = setting(0.9, "of SGD")
    weight_decay: float = setting(0.0, "decoupled weight decay")
    warmup_epochs: int = setting(
        0, "epochs in which the weights of DKD and ReviewKD grow from 0"
    )
    precision: str = setting("float32", "dtype policy of the networks")
    protocol: str = setting(
        "last", "which epoch's network is tested", PROTOCOLS
    )
    patience: int = setting(
        0, "epochs without a better validation score before it stops"
    )
    metric: str = setting("accuracy", "name of the metric that is compared")

    def __post_init__(self) -> None:
        """Check numbers and choices."""
        check_integer(minimum=1, epochs=self.epochs)
        check_integer(
            minimum=0,
            steps=self.steps,
            batch_size=self.batch_size,
            warmup_epochs=self.warmup_epochs,
            patience=self.patience,
        )
        check_positive(learning_rate=self.learning_rate)
        check_number(
            minimum=0,
            end_learning_rate=self.end_learning_rate,
            weight_decay=self.weight_decay,
            momentum=self.momentum,
        )
        for name, choices in (
            ("optimizer", OPTIMIZERS),
            ("schedule", SCHEDULES),
            ("learning_rate_per", RATES_PER),
            ("protocol", PROTOCOLS),
        ):
            value = getattr(self, name)
            may_be_own = name in ("optimizer", "schedule") and callable(value)
            if value not in choices and not may_be_own:
                raise ValueError(
                    f"`{name}` must be one of {choices}"
                    + (", or a function" if len(choices) == 3 else "")
                    + f". Received: {name}={value!r}"
                )

    def num_epochs(self, steps_of_an_epoch: int) -> int:
        """Return how many epochs a run has.

        Args:
            steps_of_an_epoch: Integer.
        """
        if not self.steps:
            return self.epochs
        return max(1, round(self.steps / steps_of_an_epoch))

    @contextlib.contextmanager
    def dtype_policy(self) -> Iterator[None]:
        """Build networks with the precision of this training, within."""
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(self.precision)
        try:
            yield
        finally:
            keras.config.set_dtype_policy(before)

    def compile(
        self,
        distiller: CrossModalDistiller,
        steps: int,
        classes: Sequence[str],
    ) -> None:
        """Compile for a run.

        Args:
            distiller: `CrossModalDistiller`.
            steps: Integer, training steps of an epoch.
            classes: Names of the classes.
        """
        distiller.compile(
            optimizer=self.new_optimizer(steps),
            loss=self.loss(),
            metrics=self.metrics(classes),
        )

    def new_optimizer(self, steps: int) -> keras.optimizers.Optimizer:
        """Return the optimizer of a run.

        Args:
            steps: Integer, training steps of an epoch.
        """
        rate = self.learning_rate_schedule(steps)
        if callable(self.optimizer):
            return self.optimizer(rate)
        kind = {
            "adam": keras.optimizers.Adam,
            "adamw": keras.optimizers.AdamW,
            "sgd": keras.optimizers.SGD,
        }[self.optimizer]
        options: dict[str, Any] = {}
        if self.optimizer == "sgd":
            options["momentum"] = self.momentum
        if self.weight_decay:
            options["weight_decay"] = self.weight_decay
        return kind(rate, **options)

    def learning_rate_schedule(self, steps: int) -> Any:
        """Return the learning rate, or its schedule over a run.

        Args:
            steps: Integer, training steps of an epoch.
        """
        epochs = self.num_epochs(steps)
        per_epoch = self.learning_rate_per == "epoch"
        length = epochs if per_epoch else epochs * steps
        schedules = keras.optimizers.schedules
        decay: Any
        if callable(self.schedule):
            decay = self.schedule(length)
        elif self.schedule == "constant":
            return self.learning_rate
        elif self.schedule == "cosine":
            alpha = self.end_learning_rate / self.learning_rate
            decay = schedules.CosineDecay(
                self.learning_rate, length, alpha=alpha
            )
        else:
            decay = schedules.PolynomialDecay(
                self.learning_rate,
                length,
                end_learning_rate=self.end_learning_rate,
                power=self.power,
            )
        return PerEpoch(decay, steps) if per_epoch else decay

    def loss(self) -> keras.losses.Loss:
        """Return the supervised loss."""
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def metrics(self, classes: Sequence[str]) -> list[Any]:
        """Return the metrics, one of them called `metric`."""
        return ["accuracy"]

    def test_scores(
        self,
        network: keras.Model,
        modality: str,
        dataset: EpochDataset,
        classes: Sequence[str],
    ) -> dict[str, Any]:
        """Return further scores of the tested student, to be stored.

        Args:
            network: The student.
            modality: Its modality.
            dataset: Test batches.
            classes: Names of the classes.

        Returns:
            Dict of plain values: here the mean probability of the label's
            class, `target_probability`.
        """
        probability = mean_target_probability(network, modality, dataset)
        return {"target_probability": probability}


@dataclasses.dataclass(frozen=True)
class PaperTraining(Training):
    """The training of the paper's section 4.1.

    SGD with momentum 0.9, batches of 64, 100 epochs, a rate of 0.01 that
    decays polynomially with power 0.9. The paper names no last rate: 1e-4 is
    the floor of the authors' code and Keras' default. DKD and ReviewKD warm
    up over 20 epochs, as in their authors' code.

    Example:
    >>> PaperTraining().optimizer
    'sgd'

    Reference: Huo et al., CVPR 2024, section 4.1.
    """

    epochs: int = 100
    batch_size: int = 64
    optimizer: Any = "sgd"
    learning_rate: float = 1e-2
    schedule: Any = "polynomial"
    end_learning_rate: float = 1e-4
    warmup_epochs: int = 20


@dataclasses.dataclass(frozen=True)
class DenseTraining(Training):
    """Training with a label a pixel, of which some are ignored.

    The metric is the mean intersection over union, `mean_iou`, of the classes
    that occur in labels or predictions. That of each class of the test
    samples, `iou_<class>`, is stored with the results. Ignored pixels count
    in none.

    Example:
    >>> DenseTraining(epochs=5).metric
    'mean_iou'
    """

    metric: str = "mean_iou"

    def loss(self) -> keras.losses.Loss:
        """Return the cross-entropy of the pixels that are not ignored."""
        return keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, ignore_class=IGNORED
        )

    def metrics(self, classes: Sequence[str]) -> list[Any]:
        """Return the mean intersection over union."""
        return [_mean_iou(len(classes))]

    def test_scores(
        self,
        network: keras.Model,
        modality: str,
        dataset: EpochDataset,
        classes: Sequence[str],
    ) -> dict[str, Any]:
        """Return the intersection over union of each class."""
        metric = _mean_iou(len(classes))
        for index in range(len(dataset)):
            inputs, labels = dataset[index]
            logits = predict_on_batch(network, inputs[modality])
            metric.update_state(labels, logits)
        counts = keras.ops.convert_to_numpy(metric.total_cm)
        hits = np.diag(counts)
        union = counts.sum(axis=0) + counts.sum(axis=1) - hits
        # NaN cannot be written as JSON: a class that does not occur is None.
        return {
            f"iou_{name.replace(' ', '_')}": float(hit / total)
            if total
            else None
            for name, hit, total in zip(classes, hits, union)
        }


def _mean_iou(num_classes: int) -> MeanIoU:
    return MeanIoU(
        num_classes=num_classes,
        ignore_class=IGNORED,
        sparse_y_pred=False,
        name="mean_iou",
    )
