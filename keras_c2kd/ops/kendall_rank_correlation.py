"""Kendall's rank correlation of the logits of two networks."""

import math
from typing import Any
from typing import Literal

import keras
from keras import ops

from keras_c2kd.ops.numerics import full_precision
from keras_c2kd.typing import Tensor

# The pairwise comparisons are made for a block of classes and a chunk of
# samples at a time. At most 16 blocks are unrolled, which bounds the compile
# time; the comparisons of one block bound the memory. On a CPU, a compiled
# program runs fastest if they stay in the nearest cache (32 thousand numbers),
# eager operations, on PyTorch, if there are few of them (half a million
# numbers, and one block up to 64 classes). Other devices get 64 MiB at a time:
# they want few and large operations.
_MOST_BLOCKS = 16


_VARIANTS = ("a", "b")


def kendall_rank_correlation(
    first: Tensor, second: Tensor, variant: Literal["a", "b"] = "a"
) -> Tensor:
    """Kendall's rank correlation of two networks' logits, sample by sample.

    With `S(a, b) = sum_{i < j} sign(a_i - a_j) sign(b_i - b_j)` over the
    pairs of classes,

    - `tau_a = S(a, b) / (C (C - 1) / 2)`: a tie counts 0, so that constant
      logits have correlation 0 with everything;
    - `tau_b = S(a, b) / sqrt(S(a, a) S(b, b))`: divided by the pairs that are
      no tie in `a`, and in `b`. Constant logits have no other pairs, and
      their correlation is NaN, as in SciPy: above no threshold, so that a
      selection drops the sample whatever its threshold, as the authors' code.

    Without ties the two are equal. 1 means that both networks rank the
    classes alike, -1 that one ranks them in reverse. Only ranks matter: any
    strictly increasing function of the logits (a softmax, a temperature)
    leaves the result unchanged. Exact, and without gradient: it is constant
    almost everywhere.

    Time grows with `num_classes ** 2`; the memory added beyond the inputs is
    a small constant, for dense `(batch, height, width, num_classes)` logits
    too.

    Args:
        first: Float tensor of shape `(..., num_classes)`.
        second: Float tensor of the same shape.
        variant: `"a"` (default) or `"b"`.

    Returns:
        Float tensor of shape `(...)` with values in `[-1, 1]`; NaN for samples
        whose logits hold a NaN, and in tau-b for constant logits.

    Raises:
        ValueError: If the shapes differ, there are fewer than 2 classes, or
            `variant` is unknown.

    Example:
    >>> first = np.array([[1.0, 2.0, 3.0]])
    >>> second = np.array([[1.0, 3.0, 2.0]])
    >>> correlation = kendall_rank_correlation(first, second)
    >>> print(ops.convert_to_numpy(correlation).round(3))
    [0.333]

    Reference: Huo et al., CVPR 2024, Eq. 3, which is tau-a. The authors' code
    calls `scipy.stats.kendalltau`, which is tau-b.
    """
    check_variant(variant)
    first = ops.stop_gradient(full_precision(ops.convert_to_tensor(first)))
    second = ops.stop_gradient(full_precision(ops.convert_to_tensor(second)))
    if tuple(first.shape) != tuple(second.shape):
        raise ValueError(
            "kendall_rank_correlation compares logits of equal shape. "
            f"Received: first.shape={tuple(first.shape)}, "
            f"second.shape={tuple(second.shape)}"
        )
    num_classes = first.shape[-1]
    if num_classes < 2:
        raise ValueError(
            "Ranks need at least 2 classes on the last axis. "
            f"Received: shape={tuple(first.shape)}"
        )
    leading_shape = ops.shape(first)[:-1]
    samples = _sample_count(first)
    block, chunk = _sizes(first)
    first = ops.reshape(first, (-1, num_classes))
    second = ops.reshape(second, (-1, num_classes))
    if samples is None and len(leading_shape) == 1:
        # A batch of unknown size that is not dense fits in one chunk.
        correlation = _correlation(first, second, block, variant)
    elif samples is not None and samples <= chunk:
        correlation = _correlation(first, second, block, variant)
    else:
        correlation = _in_chunks(first, second, block, chunk, variant)
    # Not every backend has a NaN as the sign of NaN.
    undefined = ops.logical_or(
        ops.any(ops.isnan(first), axis=-1), ops.any(ops.isnan(second), axis=-1)
    )
    correlation = ops.where(undefined, float("nan"), correlation)
    return ops.reshape(correlation, leading_shape)


def check_variant(variant: str) -> None:
    """Refuse an unknown variant of Kendall's correlation.

    Args:
        variant: What was given.

    Raises:
        ValueError: If it is neither `"a"` nor `"b"`.
    """
    if variant not in _VARIANTS:
        raise ValueError(
            "`variant` of Kendall's correlation is one of "
            f"{_VARIANTS}. Received: variant={variant!r}"
        )


def _sizes(logits: Tensor) -> tuple[int, int]:
    """Return how many classes and how many samples are compared at a time."""
    num_classes = logits.shape[-1]
    if keras.backend.backend() == "torch":
        device = getattr(logits, "device", None)
        on_cpu = getattr(device, "type", "cpu") == "cpu"
        smallest, comparisons = 64 if num_classes <= 64 else 16, 2**19
    else:
        devices = keras.distribution.list_devices()
        on_cpu = all(name.lower().startswith("cpu") for name in devices)
        smallest, comparisons = 4, 2**15
    if not on_cpu:
        smallest, comparisons = 16, 2**24
    block = max(smallest, math.ceil(num_classes / _MOST_BLOCKS))
    block = min(block, num_classes)
    return block, max(1, comparisons // (block * num_classes))


def _sample_count(logits: Tensor) -> int | None:
    """Return the number of samples, or None where it is not known."""
    leading = tuple(logits.shape)[:-1]
    return None if None in leading else math.prod(leading)


def _correlation(
    first: Tensor, second: Tensor, block: int, variant: Literal["a", "b"]
) -> Tensor:
    """Correlation of `(samples, classes)`, a block of classes at a time."""
    first, second = ops.transpose(first), ops.transpose(second)
    num_classes = first.shape[0]
    concordance = _concordance(first, second, block)
    if variant == "a":
        return concordance / (num_classes * (num_classes - 1))
    first_pairs = _concordance(first, first, block)
    second_pairs = _concordance(second, second, block)
    # Of constant logits this is 0 / 0, which is NaN as wanted.
    ratio = ops.sqrt(first_pairs / second_pairs)
    return ops.clip(concordance / first_pairs * ratio, -1.0, 1.0)


def _concordance(first: Tensor, second: Tensor, block: int) -> Tensor:
    """Sum of the products of signs over all ordered pairs of classes."""
    num_classes = first.shape[0]
    concordance: Any = 0.0
    for start in range(0, num_classes, block):
        products = _signs(first, start, block) * _signs(second, start, block)
        if block == num_classes:
            concordance = ops.sum(products, axis=(0, 1))
            break
        products = ops.sum(products, axis=0)
        # Pairs inside the block appear in both orders, the others once.
        concordance += 2.0 * ops.sum(products, axis=0)
        concordance -= ops.sum(products[:block], axis=0)
    return concordance


def _signs(logits: Tensor, start: int, block: int) -> Tensor:
    """Signs of block-minus-rest, shape `(block, classes - start, samples)`."""
    return ops.sign(logits[start : start + block, None] - logits[None, start:])


def _in_chunks(
    first: Tensor,
    second: Tensor,
    block: int,
    chunk: int,
    variant: Literal["a", "b"],
) -> Tensor:
    """Apply `_correlation` to `chunk` samples at a time."""
    num_classes = first.shape[-1]
    samples = ops.shape(first)[0]
    if keras.backend.backend() == "torch":
        # Eager: results that are kept one by one between large temporaries
        # would break the heap into pieces, gigabytes for dense logits.
        correlations = ops.zeros((samples,), dtype=first.dtype)
        for start in range(0, samples, chunk):
            part = slice(start, start + chunk)
            correlations[part] = _correlation(
                first[part], second[part], block, variant
            )
        return correlations
    if first.shape[0] is None:
        # Of an unknown number of samples there may be less than one chunk.
        filler = ops.zeros((chunk, num_classes), dtype=first.dtype)
        first = ops.concatenate([first, filler], axis=0)
        second = ops.concatenate([second, filler], axis=0)
    num_chunks = (samples + chunk - 1) // chunk
    last_start = ops.shape(first)[0] - chunk

    def start_of(number: Tensor) -> Tensor:
        # The last chunk ends with the last sample and overlaps another.
        return ops.minimum(number * chunk, last_start)

    def correlation(number: Tensor) -> Tensor:
        start, shape = (start_of(number), 0), (chunk, num_classes)
        return _correlation(
            ops.slice(first, start, shape),
            ops.slice(second, start, shape),
            block,
            variant,
        )

    numbers = ops.arange(num_chunks, dtype="int32")
    correlations = ops.reshape(ops.map(correlation, numbers), (-1,))
    sample = ops.arange(samples, dtype="int32")
    number = sample // chunk
    return ops.take(
        correlations, number * chunk + sample - start_of(number), axis=0
    )
