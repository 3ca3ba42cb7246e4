"""The rules for batches against a second telling of them, row by row.

Thousands of batches cost little: they are checked on the host, before a
network sees them.
"""

import dataclasses

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from keras_c2kd.distiller.batch_spec import BatchSpec

CLASSES = 3
DTYPES = (
    "bool",
    "uint8",
    "int8",
    "int64",
    "uint64",
    "float16",
    ml_dtypes.bfloat16,
    "float32",
    "float64",
    "complex64",
    "str",
    "object",
)
NUMBERS = [0, 1, 2, 3, -1, 255, 0.5, 1e9, 1e300, np.nan, np.inf, 2**32 + 1]


@dataclasses.dataclass(frozen=True)
class Rules:
    dense: bool
    sparse: bool | None
    distributions: bool
    ignore_class: int | None

    def build(self):
        return BatchSpec(
            required=("audio", "visual"),
            num_classes=CLASSES,
            logits_rank=4 if self.dense else 2,
            logits_size=(2, None) if self.dense else (),
            sparse=self.sparse,
            distributions=self.distributions,
            ignore_class=self.ignore_class,
        )


rules = st.builds(
    Rules,
    dense=st.booleans(),
    sparse=st.sampled_from([True, False, None]),
    distributions=st.booleans(),
    ignore_class=st.sampled_from([None, 255, -1, 0]),
)


@st.composite
def arrays(draw, shapes, numbers=NUMBERS):
    """An array of a few numbers, most of them good, of any data type."""
    shape = draw(shapes)
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    values = np.full(shape, draw(st.sampled_from([0, 1])), "float64")
    if values.size and draw(st.booleans()):
        place = draw(st.integers(0, values.size - 1))
        values.flat[place] = draw(st.sampled_from(numbers))
    with np.errstate(all="ignore"):
        return values.astype(dtype)


def shapes_of(dense, rows):
    """Shapes for labels or weights: right ones, and others."""
    right = [(rows, 2, 4), (rows, 2, 4, 1)] if dense else [(rows,), (rows, 1)]
    one_hot = [(rows, 2, 4, CLASSES)] if dense else [(rows, CLASSES)]
    others = [(rows,), (rows, 1, 1), (rows, 2), (rows + 1,), (), (1, rows)]
    return st.sampled_from([*right * 2, *one_hot * 2, *others])


@st.composite
def batches(draw):
    rule = draw(rules)
    rows = draw(st.sampled_from([0, 1, 2, 5]))
    sizes = st.sampled_from([rows] * 8 + [rows + 1])
    inputs = {
        key: draw(arrays(st.tuples(sizes, st.just(2))))
        for key in draw(
            st.sampled_from([("audio", "visual")] * 6 + [("audio",), ()])
        )
    }
    if "visual" in inputs and draw(st.booleans()):
        leaf = draw(arrays(st.tuples(sizes)))
        inputs["visual"] = {"ids": inputs["visual"], "mask": leaf}
    labels = draw(arrays(shapes_of(rule.dense, rows)))
    if draw(st.booleans()):
        labels = good_labels(rule, rows, draw)
    weights = draw(
        st.none() | arrays(shapes_of(rule.dense, rows), [0, 0.5, -0.5, np.nan])
    )
    return rule, inputs, labels, weights


def good_labels(rule, rows, draw):
    shape = (rows, 2, 4) if rule.dense else (rows,)
    labels = np.arange(int(np.prod(shape))).reshape(shape) % CLASSES
    if rule.sparse is False or (rule.sparse is None and draw(st.booleans())):
        return np.eye(CLASSES)[labels].astype("float32")
    return labels


def is_allowed(rule, inputs, labels, weights):
    """Every rule told again, number by number."""
    leaves = []
    for key in ("audio", "visual"):
        if key not in inputs:
            return False
        value = inputs[key]
        leaves += value.values() if isinstance(value, dict) else [value]
    if any(leaf.dtype.kind == "c" for leaf in leaves):
        return False
    sizes = {len(leaf) for leaf in leaves}
    if len(sizes) > 1 or 0 in sizes:
        return False
    # What a network does with texts and objects is its own affair.
    numbers = [leaf for leaf in leaves if leaf.dtype.kind not in "OSU"]
    if not all(is_finite(x) for leaf in numbers for x in leaf.ravel().tolist()):
        return False
    (rows,) = sizes
    return labels_allowed(rule, labels, rows) and weights_allowed(
        rule, weights, labels, rows
    )


def is_finite(number):
    return not isinstance(number, float) or abs(number) < 3.5e38


def is_real(array):
    return not (
        array.dtype.kind in "cOSU" or array.ndim == 0 or len(array) == 0
    )


def labels_allowed(rule, labels, rows):
    if not is_real(labels) or len(labels) != rows:
        return False
    rank = 4 if rule.dense else 2
    size = labels.shape[1 : rank - 1]
    if rule.dense and size[:1] != (2,):
        return False
    if labels.ndim == rank and labels.shape[-1] == CLASSES:
        if rule.sparse:
            return False
        for row in labels.reshape(-1, CLASSES).tolist():
            if not all(is_finite(number) for number in row):
                return False
            good = min(row) >= 0 and abs(sum(row) - 1) < 0.01
            if rule.distributions and not good:
                return False
        return True
    is_column = labels.ndim == rank and labels.shape[-1] == 1
    if rule.sparse is False or not (labels.ndim == rank - 1 or is_column):
        return False
    allowed = {*range(CLASSES), rule.ignore_class}
    return all(number in allowed for number in labels.ravel().tolist())


def weights_allowed(rule, weights, labels, rows):
    if weights is None:
        return True
    if not is_real(weights) or len(weights) != rows:
        return False
    by_row = labels.shape[:3] if rule.dense else (rows,)
    ones = [(rows,), (rows, 1)]
    if rule.dense:
        ones += [(rows, 1, 1), (rows, 1, 1, 1)]
    if weights.shape not in (*ones, by_row, (*by_row, 1)):
        return False
    return all(
        is_finite(number) and number >= 0 for number in weights.ravel().tolist()
    )


@pytest.mark.slow
@settings(max_examples=10 * settings.default.max_examples)
@given(batch=batches())
def test_a_batch_is_checked_or_refused_with_a_reason(batch):
    rule, inputs, labels, weights = batch
    try:
        rule.build().check(inputs, labels, weights)
    except ValueError as error:
        assert "Received" in str(error)
        assert not is_allowed(*batch), error
    else:
        assert is_allowed(*batch)


@pytest.mark.slow
@given(
    dense=st.booleans(),
    weights=st.dictionaries(
        st.sampled_from([0, 1, 2, 3, -1, "a", 1.5, None]),
        st.sampled_from([0, 1.0, 0.5, -1.0, np.nan, np.inf]),
    ),
)
def test_weights_of_classes(dense, weights):
    allowed = not dense and all(
        key in (0, 1, 2) and 0 <= value < np.inf
        for key, value in weights.items()
    )
    rule = Rules(dense, True, False, None).build()
    try:
        rule.check_class_weight(weights)
    except ValueError as error:
        assert "Received" in str(error) and not allowed
    else:
        assert allowed
