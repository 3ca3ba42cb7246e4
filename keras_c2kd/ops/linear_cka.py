"""Linear centred kernel alignment of two representations."""

from keras import ops

from keras_c2kd.ops.numerics import full_precision
from keras_c2kd.ops.similarity import centred
from keras_c2kd.typing import Tensor


def linear_cka(first: Tensor, second: Tensor, debiased: bool = False) -> Tensor:
    """How alike two networks represent the same samples.

    `CKA = HSIC(X, Y) / sqrt(HSIC(X, X) HSIC(Y, Y))` with linear kernels. With
    the biased estimator this is `|Y'X|^2 / (|X'X| |Y'Y|)` of the centred
    features. It does not change under rotations, shifts and isotropic scaling
    of either representation, and the two may have unequal widths.

    The biased estimator tends to 1 where there are fewer samples than
    features, whatever the networks are; the debiased one stays around 0 for
    unrelated features and can be negative.

    Args:
        first: Float tensor `(samples, ...)`; what follows the first axis is
            flattened.
        second: Float tensor with the same number of samples.
        debiased: Whether to use the unbiased estimator of HSIC, which needs
            at least 4 samples. Defaults to `False`.

    Returns:
        Scalar tensor; 0 if either representation is constant.

    Raises:
        ValueError: If the numbers of samples differ or are too small.

    Example:
    >>> features = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> round(float(linear_cka(features, 2.0 * features[:, ::-1])), 3)
    1.0

    Reference: Kornblith et al., ICML 2019, section 3; the debiased estimator
    of Song et al., JMLR 2012, as in Nguyen et al., ICLR 2021, Eq. 3. Huo et
    al., CVPR 2024, Fig. 6 names neither the kernel nor the estimator.
    """
    first, second = full_precision(first), full_precision(second)
    both, own, other = hsic_terms(first, second, debiased)
    return cka_ratio(both, own, other)


def hsic_terms(
    first: Tensor, second: Tensor, debiased: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Estimate the Hilbert-Schmidt independence criterion, linear kernels.

    Args:
        first: Float tensor `(samples, ...)`.
        second: Float tensor with the same number of samples.
        debiased: As in `linear_cka`.

    Returns:
        Three scalar tensors: `HSIC(X, Y)`, `HSIC(X, X)`, `HSIC(Y, Y)`. Sums
        of them over mini-batches give mini-batch CKA.

    Raises:
        ValueError: As `linear_cka`.

    Example:
    >>> features = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> terms = hsic_terms(features, features[:, :1])
    >>> [round(float(term), 3) for term in terms]
    [0.139, 0.278, 0.111]
    """
    first, second = full_precision(first), full_precision(second)
    samples, others = first.shape[0], second.shape[0]
    least = 4 if debiased else 2
    if samples != others or (samples is not None and samples < least):
        kind = "debiased" if debiased else "biased"
        raise ValueError(
            "CKA compares two representations of the same samples, at least "
            f"{least} for the {kind} estimator. Received: {samples} and "
            f"{others} samples."
        )
    grams = [_centred_gram(features, debiased) for features in (first, second)]
    count = ops.cast(ops.shape(first)[0], grams[0].dtype)
    product = _unbiased_product if debiased else _biased_product
    return (
        product(grams[0], grams[1], count),
        product(grams[0], grams[0], count),
        product(grams[1], grams[1], count),
    )


def _centred_gram(features: Tensor, debiased: bool) -> Tensor:
    """Return the Gram matrix of centred features, `(samples, samples)`.

    Centring the features first changes neither estimator and keeps large
    means from swamping what is left.
    """
    features = ops.reshape(features, (ops.shape(features)[0], -1))
    features = centred(features, axis=0)
    gram = ops.matmul(features, ops.transpose(features))
    if debiased:
        eye = ops.eye(ops.shape(gram)[0], dtype=gram.dtype)
        gram = gram * (1.0 - eye)
    return gram


def _biased_product(first: Tensor, second: Tensor, count: Tensor) -> Tensor:
    return ops.sum(first * second) / ops.square(count - 1.0)


def _unbiased_product(first: Tensor, second: Tensor, count: Tensor) -> Tensor:
    sums = ops.sum(first, axis=0), ops.sum(second, axis=0)
    trace = ops.sum(first * second)
    whole = ops.sum(sums[0]) * ops.sum(sums[1])
    whole = whole / ((count - 1.0) * (count - 2.0))
    crossed = 2.0 * ops.sum(sums[0] * sums[1]) / (count - 2.0)
    return (trace + whole - crossed) / (count * (count - 3.0))


def cka_ratio(both: Tensor, own: Tensor, other: Tensor) -> Tensor:
    """Turn the terms of `hsic_terms`, or sums of them, into CKA.

    Args:
        both: Scalar tensor, `HSIC(X, Y)`.
        own: Scalar tensor, `HSIC(X, X)`.
        other: Scalar tensor, `HSIC(Y, Y)`.

    Returns:
        Scalar tensor, `both / sqrt(own * other)`; 0 if one of the latter two
        is not positive.

    Example:
    >>> both, own, other = ops.convert_to_tensor([3.0, 4.0, 9.0])
    >>> round(float(cka_ratio(both, own, other)), 3)
    0.5
    """
    positive = ops.logical_and(own > 0, other > 0)
    one = ops.ones_like(own)
    scale = ops.sqrt(ops.where(positive, own, one)) * ops.sqrt(
        ops.where(positive, other, one)
    )
    return ops.where(positive, both / scale, ops.zeros_like(both))
