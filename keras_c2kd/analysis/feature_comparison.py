"""CKA between the tapped features of two networks, in any order of samples."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_c2kd.analysis.labelled_rows import ROLES
from keras_c2kd.analysis.mini_batch_cka import MiniBatchCKA
from keras_c2kd.networks.feature_extractor import FeatureExtractor

# Features of one sample by role, in the order of the stages.
Features = dict[str, list[NDArray[Any]]]

# The features of all samples may not fit into the memory: those of a stage of
# ResNet take a megabyte a sample.
MOST_BYTES = 2**30
_BATCH = 64
# The unbiased estimator of HSIC needs so many samples.
_FEWEST = 4


class FeatureComparison:
    """CKA of every tap of the teacher with every tap of the student.

    Mini-batches of neighbours would share their class wherever samples lie in
    the order of their classes. So the features are held, in the memory of the
    host, until the end, and the batches are drawn from all of them at random.
    Where they take more than `MOST_BYTES`, those of as many samples as fit
    are held, drawn evenly from all samples (reservoir sampling, Vitter 1985).
    Draws are the same every time.

    Args:
        taps: Dict from the role to its `FeatureExtractor`.

    Attributes:
        stages: Dict from the role to the names of the compared features.
    """

    def __init__(self, taps: Mapping[str, FeatureExtractor]) -> None:
        self.stages = {role: list(taps[role].paths) for role in ROLES}
        self._random = np.random.default_rng(0)
        self._held: list[Features] = []
        self._seen = 0
        self._most = 0

    @property
    def samples(self) -> int:
        """Integer, how many samples the result is from."""
        return len(self._held) if len(self._held) >= _FEWEST else 0

    def update(
        self, outputs: Mapping[str, Mapping[str, NDArray[Any]]], size: int
    ) -> None:
        """Add the features of one batch.

        Args:
            outputs: Dict from the role to a dict from stages to arrays
                `(batch_size, ...)`.
            size: Integer, the batch size.
        """
        if not all(self.stages.values()):
            return
        for index in range(size):
            sample = {
                role: [outputs[role][stage][index] for stage in stages]
                for role, stages in self.stages.items()
            }
            if not self._most:
                self._most = max(MOST_BYTES // _bytes(sample), _FEWEST)
            self._hold(sample)

    def _hold(self, sample: Features) -> None:
        """Hold a sample, perhaps instead of another one, or not."""
        self._seen += 1
        if self._seen <= self._most:
            position = len(self._held)
            self._held.append({})
        else:
            position = int(self._random.integers(self._seen))
        if position < self._most:
            # A copy: a view would keep the whole batch.
            self._held[position] = {
                role: [array.copy() for array in arrays]
                for role, arrays in sample.items()
            }

    def result(self) -> NDArray[Any]:
        """Return CKA as an array `(teacher stages, student stages)`.

        Returns:
            Array, NaN with fewer than 4 samples.
        """
        shape = [len(self.stages[role]) for role in ROLES]
        if not self.samples:
            return np.full(shape, np.nan)
        metrics = [
            [MiniBatchCKA() for _ in range(shape[1])] for _ in range(shape[0])
        ]
        order = self._random.permutation(self.samples)
        for part in np.array_split(order, -(-self.samples // _BATCH)):
            features = {
                role: [
                    np.stack([self._held[i][role][stage] for i in part])
                    for stage in range(len(self.stages[role]))
                ]
                for role in ROLES
            }
            for one, row in zip(features["teacher"], metrics):
                for other, metric in zip(features["student"], row):
                    metric.update_state(one, other)
        return np.array(
            [[float(metric.result()) for metric in row] for row in metrics]
        )


def _bytes(sample: Features) -> int:
    """Return how much memory the features of a sample take."""
    return max(1, sum(array.nbytes for role in ROLES for array in sample[role]))
