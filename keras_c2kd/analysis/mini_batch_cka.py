"""Linear CKA of two networks over a data set, batch by batch."""

from typing import Any

import keras

from keras_c2kd.ops import cka_ratio
from keras_c2kd.ops import full_precision_dtype
from keras_c2kd.ops import hsic_terms


class MiniBatchCKA(keras.metrics.Metric):
    """Linear CKA from sums over mini-batches.

    `CKA = sum_b HSIC(X_b, Y_b) / sqrt(sum_b HSIC(X_b, X_b)
    sum_b HSIC(Y_b, Y_b))`: memory does not grow with the number of samples.
    With the unbiased estimator and batches that are drawn at random from all
    samples, the result does not depend on the batch size but for noise.
    Batches of neighbours do something else where the data lie in order:
    sorted by class, a batch has few classes, and what separates the others
    is not compared. Shuffle such data.

    Args:
        debiased: Whether to use the unbiased estimator of HSIC, which needs
            batches of at least 4. Defaults to `True`.
        name: Name of the metric.
        dtype: As for every Keras metric.

    Example:
    >>> random = np.random.default_rng(0)
    >>> cka = MiniBatchCKA()
    >>> for _ in range(3):
    ...     features = random.normal(size=(16, 8)).astype("float32")
    ...     cka.update_state(features, 2 * features)
    >>> round(float(cka.result()), 3)
    1.0

    Reference: Nguyen et al., ICLR 2021, Eq. 2; Kornblith et al., ICML 2019.
    Huo et al., CVPR 2024, Fig. 6 shows CKA without naming the estimator.
    """

    def __init__(
        self,
        debiased: bool = True,
        name: str = "mini_batch_cka",
        dtype: str | None = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype or full_precision_dtype())
        self.debiased = debiased
        self.sums = [
            self.add_variable(shape=(), initializer="zeros", name=name)
            for name in ("both", "own", "other")
        ]

    def update_state(
        self, first: Any, second: Any, sample_weight: Any = None
    ) -> None:
        """Add one batch.

        Args:
            first: Features `(batch, ...)` of one network.
            second: Features of the other network for the same samples.
            sample_weight: Not supported: HSIC has no weight a sample.

        Raises:
            ValueError: As `keras_c2kd.ops.linear_cka`, or if weights are
                given.
        """
        if sample_weight is not None:
            raise ValueError(
                "MiniBatchCKA has no weight a sample. Received: "
                "sample_weight. Leave out the samples that do not count."
            )
        for total, term in zip(
            self.sums, hsic_terms(first, second, self.debiased)
        ):
            total.assign_add(term)

    def result(self) -> Any:
        """Return the CKA of all batches so far."""
        return cka_ratio(*(keras.ops.convert_to_tensor(s) for s in self.sums))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "debiased": self.debiased}
