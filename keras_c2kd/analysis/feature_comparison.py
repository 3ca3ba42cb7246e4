"""CKA between the tapped features of two networks, in any order of samples."""

import numpy as np

from keras_c2kd.analysis.labelled_rows import SIDES
from keras_c2kd.analysis.mini_batch_cka import MiniBatchCKA

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
        taps: Dict from the side to its `FeatureExtractor`.

    Attributes:
        stages: Dict from the side to the names of the compared features.
    """

    def __init__(self, taps):
        self.stages = {side: list(taps[side].paths) for side in SIDES}
        self._random = np.random.default_rng(0)
        self._held = []
        self._seen = 0
        self._most = 0

    @property
    def samples(self):
        """Integer, how many samples the result is from."""
        return len(self._held) if len(self._held) >= _FEWEST else 0

    def update(self, outputs, size):
        """Add the features of one batch.

        Args:
            outputs: Dict from the side to a dict from stages to arrays
                `(batch_size, ...)`.
            size: Integer, the batch size.
        """
        if not all(self.stages.values()):
            return
        for index in range(size):
            sample = {
                side: [outputs[side][stage][index] for stage in stages]
                for side, stages in self.stages.items()
            }
            if not self._most:
                self._most = max(MOST_BYTES // _bytes(sample), _FEWEST)
            self._hold(sample)

    def _hold(self, sample):
        """Hold a sample, perhaps in the place of another one, or not."""
        self._seen += 1
        if self._seen <= self._most:
            place = len(self._held)
            self._held.append(None)
        else:
            place = self._random.integers(self._seen)
        if place < self._most:
            # A copy: a view would keep the whole batch.
            self._held[place] = {
                side: [array.copy() for array in arrays]
                for side, arrays in sample.items()
            }

    def result(self):
        """Return CKA as an array `(teacher stages, student stages)`.

        Returns:
            Array, NaN with fewer than 4 samples.
        """
        shape = [len(self.stages[side]) for side in SIDES]
        if not self.samples:
            return np.full(shape, np.nan)
        metrics = [
            [MiniBatchCKA() for _ in range(shape[1])] for _ in range(shape[0])
        ]
        order = self._random.permutation(self.samples)
        for part in np.array_split(order, -(-self.samples // _BATCH)):
            features = {
                side: [
                    np.stack([self._held[i][side][stage] for i in part])
                    for stage in range(len(self.stages[side]))
                ]
                for side in SIDES
            }
            for one, row in zip(features["teacher"], metrics):
                for other, metric in zip(features["student"], row):
                    metric.update_state(one, other)
        return np.array(
            [[float(metric.result()) for metric in row] for row in metrics]
        )


def _bytes(sample):
    """Return how much memory the features of a sample take."""
    return max(1, sum(array.nbytes for side in SIDES for array in sample[side]))
