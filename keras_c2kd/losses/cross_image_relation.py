"""Relations between the pixels of all images of a batch (CIRKD)."""

from typing import Any

import keras
from keras import ops

from keras_c2kd.losses.relational_loss import RelationalLoss
from keras_c2kd.losses.relational_loss import weighted_mean
from keras_c2kd.ops import kl_divergence
from keras_c2kd.ops import unit_vectors
from keras_c2kd.typing import Config
from keras_c2kd.typing import DType
from keras_c2kd.typing import Tensor
from keras_c2kd.utils.argument_checks import check_positive


@keras.saving.register_keras_serializable("keras_c2kd.losses")
class CrossImageRelation(RelationalLoss):
    """Similarities of each pixel to the pixels of every image in the batch.

    With unit vectors `a` at the pixels of the maps, for each ordered pair of
    images `(i, j)`, `i = j` included, and each pixel `m` of `i`:
    `KL(softmax_n(<a^T_im, a^T_jn> / tau) || softmax_n(<a^S_im, a^S_jn> /
    tau))`. The loss is the mean over pixels and pairs. Widths may differ,
    sizes may not. Memory grows with the square of the number of all pixels.

    Args:
        temperature: Positive float, `tau`. Defaults to `0.1`.
        reduction: `"sum_over_batch_size"` or `"mean"`.
        name: Name of the loss.
        dtype: As for every Keras loss.

    Raises:
        ValueError: If `temperature` is not positive.

    Call arguments:
        y_true: Target maps, shape `(batch, height, width, channels)`.
        y_pred: Learner maps, shape `(batch, height, width, other channels)`.
        sample_weight: Optional, shape `(batch,)`; a pair counts with the
            product of its weights.

    Example:
    >>> target = np.array([[[[1.0, 0.0], [0.0, 1.0]]]])  # one image, two pixels
    >>> learner = np.ones((1, 1, 2, 2))
    >>> loss = CrossImageRelation(temperature=1.0)
    >>> round(float(loss(target, learner)), 3)
    0.111

    Reference: Yang et al., CVPR 2022, Eq. 5 to 7 (mini-batch-based
    pixel-to-pixel distillation). No factor of the temperature squared, as in
    the authors' code.
    """

    def __init__(
        self,
        temperature: float = 0.1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "cross_image_relation",
        dtype: DType | None = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        check_positive(temperature=temperature)
        self.temperature = temperature

    def weights_shape(self, y_pred: Tensor) -> Any:
        """Return the shape of the weights: one number an image."""
        return ops.shape(y_pred)[:1]

    def relate(
        self, target: Tensor, learner: Tensor, weights: Tensor
    ) -> Tensor:
        """Return the mean over pairs of images."""
        divergence = kl_divergence(
            self._similarities(target), self._similarities(learner)
        )
        pairs = weights[:, None] * weights[None]
        return weighted_mean(ops.mean(divergence, axis=1), pairs)

    def _similarities(self, maps: Tensor) -> Tensor:
        """Return `(image, pixel, other image, its pixel)`."""
        pixels = maps.shape[1] * maps.shape[2]
        vectors = ops.reshape(maps, (-1, pixels, maps.shape[3]))
        vectors = unit_vectors(vectors)
        products = ops.einsum("imd,jnd->imjn", vectors, vectors)
        return products / self.temperature

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {**super().get_config(), "temperature": self.temperature}
