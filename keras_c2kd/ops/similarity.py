"""Similarities of vectors, safe at zero vectors."""

from keras import ops

from keras_c2kd.ops.numerics import check_same_shape
from keras_c2kd.ops.numerics import full_precision
from keras_c2kd.ops.numerics import safe_divide
from keras_c2kd.typing import Tensor

_EPSILON = 1e-8
_SMALLEST_NORM = 1e-12


def safe_norm(
    vectors: Tensor, axis: int = -1, keepdims: bool = False
) -> Tensor:
    """Euclidean norm whose gradient at the zero vector is 0, not NaN.

    Args:
        vectors: Float tensor.
        axis: Axis of the norm. Defaults to the last.
        keepdims: Whether the reduced axis stays with size 1.

    Returns:
        Float tensor, `vectors` reduced over `axis`.

    Example:
    >>> vectors = ops.convert_to_tensor([[3.0, 4.0], [0.0, 0.0]])
    >>> print(ops.convert_to_numpy(safe_norm(vectors)))
    [5. 0.]
    """
    squares = ops.sum(ops.square(vectors), axis=axis, keepdims=keepdims)
    positive = squares > 0
    # The inner `where` keeps the square root away from 0, where its slope
    # is infinite; the outer one puts the value 0 back.
    root = ops.sqrt(ops.where(positive, squares, ops.ones_like(squares)))
    return ops.where(positive, root, ops.zeros_like(root))


def unit_vectors(vectors: Tensor, axis: int = -1) -> Tensor:
    """Divide vectors by their Euclidean norm; the zero vector stays 0.

    `v / max(|v|, 1e-12)`, with gradient 0 at the zero vector.

    Args:
        vectors: Float tensor.
        axis: Axis of the vectors. Defaults to the last.

    Returns:
        Float tensor of the same shape.

    Example:
    >>> vectors = ops.convert_to_tensor([[3.0, 4.0], [0.0, 0.0]])
    >>> print(ops.convert_to_numpy(unit_vectors(vectors)).round(3))
    [[0.6 0.8]
     [0.  0. ]]
    """
    norms = safe_norm(vectors, axis=axis, keepdims=True)
    # Divided by the smallest norm, a zero vector would have a huge slope.
    is_zero = ops.equal(norms, 0)
    norms = ops.where(is_zero, ops.ones_like(norms), norms)
    units = vectors / ops.maximum(norms, _SMALLEST_NORM)
    return ops.where(is_zero, ops.zeros_like(units), units)


def cosine_similarity(first: Tensor, second: Tensor, axis: int = -1) -> Tensor:
    """Cosine of the angle between two vectors.

    `<a, b> / (|a| |b| + 1e-8)`; 0 if either vector is 0.

    Args:
        first: Float tensor, for example `(..., num_classes)`.
        second: Float tensor of the same shape.
        axis: Axis of the vectors. Defaults to the last.

    Returns:
        Float tensor with `axis` removed, values in `[-1, 1]`.

    Example:
    >>> first, second = np.array([[1.0, 0.0]]), np.array([[1.0, 1.0]])
    >>> cosine = cosine_similarity(first, second)
    >>> print(ops.convert_to_numpy(cosine).round(3))
    [0.707]

    Reference: Huo et al., CVPR 2024, Fig. 4; the epsilon is that of DIST
    (Huang et al., NeurIPS 2022).
    """
    first, second = full_precision(first), full_precision(second)
    check_same_shape(
        first.shape,
        second.shape,
        "A correlation compares vectors of one shape.",
    )
    product = ops.sum(first * second, axis=axis)
    norms = safe_norm(first, axis) * safe_norm(second, axis)
    return product / (norms + _EPSILON)


def pearson_correlation(
    first: Tensor, second: Tensor, axis: int = -1, weights: Tensor | None = None
) -> Tensor:
    """Pearson's linear correlation: the cosine of centred vectors.

    Args:
        first: Float tensor, for example `(..., num_classes)`.
        second: Float tensor of the same shape.
        axis: Axis of the vectors. Defaults to the last.
        weights: Optional non-negative float tensor, broadcastable to
            `first`: how much each component counts in means and products. A
            component of weight 0 is as if it were not there; a common factor
            of all weights changes nothing but how much the epsilon weighs.

    Returns:
        Float tensor with `axis` removed, values in `[-1, 1]`; 0 if either
        vector is constant (where it counts).

    Example:
    >>> first = np.array([[1.0, 2.0, 3.0]])
    >>> second = np.array([[1.0, 3.0, 2.0]])
    >>> correlation = pearson_correlation(first, second)
    >>> print(ops.convert_to_numpy(correlation).round(3))
    [0.5]

    Reference: Huo et al., CVPR 2024, Fig. 4; Huang et al., NeurIPS 2022.
    """
    first, second = full_precision(first), full_precision(second)
    if weights is not None:
        weights = ops.broadcast_to(full_precision(weights), ops.shape(first))
    first = centred(first, axis, weights)
    second = centred(second, axis, weights)
    if weights is not None:
        root = ops.sqrt(weights)
        first, second = first * root, second * root
    return cosine_similarity(first, second, axis=axis)


def centred(
    vectors: Tensor, axis: int = -1, weights: Tensor | None = None
) -> Tensor:
    """Subtract the mean; a constant vector becomes exactly 0.

    The mean of a large constant is rounded, and what is left of the vector
    would be correlated as if it were a signal.

    Args:
        vectors: Float tensor.
        axis: Axis of the vectors. Defaults to the last.
        weights: Optional non-negative weights of the shape of `vectors`.

    Returns:
        Float tensor of the same shape.

    Example:
    >>> vectors = ops.convert_to_tensor([[1.0, 2.0, 6.0]])
    >>> print(ops.convert_to_numpy(centred(vectors)))
    [[-2. -1.  3.]]
    """
    highest = lowest = vectors
    if weights is None:
        mean = ops.mean(vectors, axis=axis, keepdims=True)
    else:
        total = ops.sum(weights, axis=axis, keepdims=True)
        mean = safe_divide(
            ops.sum(weights * vectors, axis=axis, keepdims=True), total
        )
        counts = weights > 0
        infinity = ops.full_like(vectors, float("inf"))
        highest = ops.where(counts, vectors, -infinity)
        lowest = ops.where(counts, vectors, infinity)
    highest = ops.max(highest, axis=axis, keepdims=True)
    lowest = ops.min(lowest, axis=axis, keepdims=True)
    difference = vectors - mean
    return ops.where(highest <= lowest, ops.zeros_like(difference), difference)


def gradient_cosine(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor
) -> Tensor:
    """Cosine between the gradients of distillation and of the task.

    With `L_task = cross-entropy(student, label)` and
    `L_kd = KL(teacher || student)` at temperature 1, the gradients with
    respect to the student's logits are `p_S - onehot(label)` and
    `p_S - p_T`. Their cosine equals, sample by sample, the cosine of the
    gradients with respect to the weights and bias of the student's last
    linear layer, since both are outer products with the same feature vector:
    no differentiation is needed.

    Args:
        student_logits: Float tensor of shape `(..., num_classes)`.
        teacher_logits: Float tensor of the same shape.
        labels: Integer tensor of shape `(...)`.

    Returns:
        Float tensor of shape `(...)` with values in `[-1, 1]`.

    Example:
    >>> student, teacher = np.array([[0.0, 0.0]]), np.array([[1.0, 0.0]])
    >>> for label in (0, 1):
    ...     cosine = gradient_cosine(student, teacher, np.array([label]))
    ...     print(ops.convert_to_numpy(cosine).round(3))
    [1.]
    [-1.]

    Reference: Huo et al., CVPR 2024, section 3.2 ("Comparisons with other
    distance metrics"). The paper writes the gradients with respect to all
    parameters, which is one number a batch and cannot select samples; the
    per-sample form on the last layer is our choice, as no code exists.
    """
    student = ops.softmax(full_precision(student_logits), axis=-1)
    teacher = ops.softmax(full_precision(teacher_logits), axis=-1)
    labels = ops.cast(labels, "int32")
    check_same_shape(
        student.shape[:-1],
        labels.shape,
        "Each sample or pixel has logits and one label.",
    )
    target = ops.one_hot(labels, student.shape[-1], dtype=student.dtype)
    return cosine_similarity(student - target, student - teacher)
