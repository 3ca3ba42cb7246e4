"""How many samples the two networks rank differently, epoch by epoch."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_c2kd.networks.modalities import modality_input
from keras_c2kd.networks.modalities import predict_on_batch
from keras_c2kd.ops import kendall_rank_correlation


class RankDistortion(keras.callbacks.Callback):
    """Log the fraction of samples with a Kendall correlation below a threshold.

    `rank_distorted_share = mean(kendall(f_T, f_S) < threshold)` over all
    given pairs at the end of each epoch, of the two networks' own logits in
    inference mode. Times the batch size it is the dotted line of the paper's
    Fig. 3. Because it looks at the networks and not at the method, the figure
    means the same for every method that has a teacher.

    Args:
        dataset: Batches to look at, which must not change from epoch to
            epoch: anything with a length and an index that gives
            `(inputs, ...)`, such as `dataset.evaluation(512)` of an
            `EpochDataset`.
        threshold: Float, the paper's omega. Defaults to 0.

    Example:
    >>> inputs = {"audio": np.eye(4, 6), "visual": np.eye(4, 5)}
    >>> pairs = keras_c2kd.data.PairedArrays(inputs, np.arange(4) % 3)
    >>> teacher, student = (
    ...     keras.Sequential([keras.Input((size,)), keras.layers.Dense(3)])
    ...     for size in (6, 5)
    ... )
    >>> distiller = keras_c2kd.CrossModalDistiller(
    ...     student=student,
    ...     teacher=teacher,
    ...     student_modality="visual",
    ...     teacher_modality="audio",
    ...     method=keras_c2kd.methods.KnowledgeDistillation(),
    ... )
    >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    >>> distiller.compile(optimizer="sgd", loss=loss)
    >>> history = distiller.fit(
    ...     pairs, verbose=0, callbacks=[RankDistortion(pairs)]
    ... )
    >>> 0 <= history.history["rank_distorted_share"][0] <= 1
    True

    Reference: Huo et al., CVPR 2024, Fig. 3, with the correlation of Eq. 3
    and the logits of Eq. 4. The authors' code correlates the proxies' logits
    when it selects; methods without proxies have none.
    """

    def __init__(self, dataset: Any, threshold: float = 0.0) -> None:
        super().__init__()
        self.dataset = dataset
        self.threshold = threshold
        self._correlate: dict[tuple[int, ...], keras.Model] = {}

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Add `rank_distorted_share` to the epoch's logs."""
        distorted = []
        prepare = self.model.preparation("evaluate")
        for index in range(len(self.dataset)):
            inputs = self.dataset[index][0]
            if prepare is not None:
                inputs, _, _ = prepare(inputs, None, None)
            teacher, student = (
                predict_on_batch(
                    network,
                    modality_input(inputs, modality, network),
                    prepared=True,
                )
                for network, modality in (
                    (self.model.teacher, self.model.teacher_modality),
                    (self.model.student, self.model.student_modality),
                )
            )
            shape = tuple(teacher.shape)
            if shape not in self._correlate:
                self._correlate[shape] = _compiled_correlation(shape)
            correlation = predict_on_batch(
                self._correlate[shape], [teacher, student]
            )
            distorted.append(np.asarray(correlation) < self.threshold)
        if logs is not None:
            fraction = np.concatenate([x.ravel() for x in distorted]).mean()
            logs["rank_distorted_share"] = float(fraction)


def _compiled_correlation(shape: tuple[int, ...]) -> keras.Model:
    """Return a model from two sets of logits to their correlation.

    Keras compiles models where the backend can; operation by operation,
    dense logits would take seconds.
    """
    inputs = [keras.Input(batch_shape=shape) for _ in range(2)]
    return keras.Model(inputs, _Correlation()(inputs))


class _Correlation(keras.layers.Layer):
    def call(self, logits: Sequence[Any]) -> Any:
        return kendall_rank_correlation(*logits)

    def compute_output_shape(
        self, input_shape: Sequence[Any]
    ) -> tuple[Any, ...]:
        return tuple(input_shape[0])[:-1]
