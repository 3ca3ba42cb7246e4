"""Relations between samples: distances and angles (RKD)."""

import keras
from keras import ops

from keras_c2kd.losses.relational_loss import RelationalLoss
from keras_c2kd.losses.relational_loss import weighted_mean
from keras_c2kd.ops import safe_divide
from keras_c2kd.ops import unit_vectors
from keras_c2kd.typing import DType
from keras_c2kd.typing import Tensor

_LEAST_SQUARE = 1e-12


@keras.saving.register_keras_serializable("keras_c2kd.losses")
class RelationalDistance(RelationalLoss):
    """Distances between the samples of a batch, relative to their mean.

    `loss = mean_ij huber(d^S_ij / mu_S - d^T_ij / mu_T)` over all pairs, with
    `d` the Euclidean distances, `mu` the mean of those above 0, and Huber's
    delta 1. Gradient flows through the learner's mean too. Neither the width
    nor the scale of the embeddings matters. A batch of one gives 0.

    Args:
        reduction: `"sum_over_batch_size"` or `"mean"`.
        name: Name of the loss.
        dtype: As for every Keras loss.

    Call arguments:
        y_true: Target embeddings, shape `(batch, width)`.
        y_pred: Learner embeddings, shape `(batch, other width)`.
        sample_weight: Optional, shape `(batch,)`; a pair counts with the
            product of its weights.

    Example:
    >>> teacher = np.array([[1.0, 2.0, 3.0], [3.0, 1.0, 2.0]])
    >>> student = np.array([[0.0, 2.0, 1.0], [1.0, 0.0, 0.0]])
    >>> teacher = np.concatenate([teacher, [[0.0, 0.0, 1.0]]])
    >>> student = np.concatenate([student, [[2.0, 2.0, 0.0]]])
    >>> loss = RelationalDistance()
    >>> round(float(loss(teacher, student)), 3)
    0.009

    Reference: Park et al., CVPR 2019, Eq. 4 to 6. The paper takes the mean
    over distinct pairs, the authors' code over all, as here.
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "relational_distance",
        dtype: DType | None = None,
    ) -> None:
        super().__init__(reduction, name, dtype)

    def relate(
        self, target: Tensor, learner: Tensor, weights: Tensor
    ) -> Tensor:
        """Return the mean over pairs."""
        pairs = weights[:, None] * weights[None]
        return weighted_mean(
            _huber(
                _relative_distances(learner, pairs)
                - _relative_distances(target, pairs)
            ),
            pairs,
        )


@keras.saving.register_keras_serializable("keras_c2kd.losses")
class RelationalAngle(RelationalLoss):
    """Angles of the triangles that any three samples of a batch form.

    `loss = mean_ijk huber(cos^S_ijk - cos^T_ijk)` with `cos_ijk` the cosine
    of the angle at sample `i` between `j` and `k`, 0 where two of them
    coincide. Memory grows with `batch ** 3`. Fewer than three samples form no
    angle: the loss is 0.

    Args:
        reduction: `"sum_over_batch_size"` or `"mean"`.
        name: Name of the loss.
        dtype: As for every Keras loss.

    Call arguments:
        y_true: Target embeddings, shape `(batch, width)`.
        y_pred: Learner embeddings, shape `(batch, other width)`.
        sample_weight: Optional, shape `(batch,)`; a triple counts with the
            product of its weights.

    Example:
    >>> teacher = np.array([[1.0, 2.0, 3.0], [3.0, 1.0, 2.0]])
    >>> student = np.array([[0.0, 2.0, 1.0], [1.0, 0.0, 0.0]])
    >>> teacher = np.concatenate([teacher, [[0.0, 0.0, 1.0]]])
    >>> student = np.concatenate([student, [[2.0, 2.0, 0.0]]])
    >>> loss = RelationalAngle()
    >>> round(float(loss(teacher, student)), 3)
    0.006

    Reference: Park et al., CVPR 2019, Eq. 7 to 9. The mean is over all
    triples, degenerate ones included, as in the authors' code.
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "relational_angle",
        dtype: DType | None = None,
    ) -> None:
        super().__init__(reduction, name, dtype)

    def relate(
        self, target: Tensor, learner: Tensor, weights: Tensor
    ) -> Tensor:
        """Return the mean over triples."""
        pairs = weights[:, None] * weights[None]
        triples = weights[:, None, None] * pairs[None]
        return weighted_mean(
            _huber(_cosines(learner) - _cosines(target)), triples
        )


def _relative_distances(embeddings: Tensor, pairs: Tensor) -> Tensor:
    """Distances divided by the mean of those above 0."""
    squares = ops.sum(ops.square(embeddings), axis=1)
    products = ops.matmul(embeddings, ops.transpose(embeddings))
    distances = squares[:, None] + squares[None] - 2.0 * products
    distances = ops.sqrt(ops.maximum(distances, _LEAST_SQUARE))
    distances = distances * _off_diagonal(embeddings)
    counted = pairs * ops.cast(distances > 0, distances.dtype)
    mean = weighted_mean(distances, counted)
    return safe_divide(distances, mean)


def _cosines(embeddings: Tensor) -> Tensor:
    """Cosine at `i` between `j` and `k`, shape `(batch, batch, batch)`."""
    # An edge from a sample to itself is 0 by definition, not by subtraction:
    # a compiler may fuse the latter with what came before, and what rounding
    # leaves would become a unit vector.
    edges = embeddings[None] - embeddings[:, None]
    edges = unit_vectors(edges * _off_diagonal(embeddings)[:, :, None])
    return ops.einsum("ijd,ikd->ijk", edges, edges)


def _off_diagonal(embeddings: Tensor) -> Tensor:
    """1 for two different samples and 0 for a sample with itself."""
    return 1.0 - ops.eye(ops.shape(embeddings)[0], dtype=embeddings.dtype)


def _huber(differences: Tensor) -> Tensor:
    """Huber's loss with delta 1."""
    sizes = ops.abs(differences)
    return ops.where(sizes < 1.0, 0.5 * ops.square(sizes), sizes - 0.5)
