import keras
import numpy as np
import pytest

from keras_c2kd.analysis import MeanIoU

CLASSES = 4


def by_hand(labels, predicted, ignored=None, weights=None):
    """Mean over the classes that occur, from sets of pixels."""
    labels, predicted = labels.ravel(), predicted.ravel()
    weights = np.ones(labels.size) if weights is None else weights.ravel()
    counted = (labels >= 0) & (labels < CLASSES)
    if ignored is not None:
        counted &= labels != ignored
    found = []
    for number in range(CLASSES):
        truth = counted & (labels == number)
        guess = counted & (predicted == number)
        union = weights[truth | guess].sum()
        if union > 0:
            found.append(weights[truth & guess].sum() / union)
    return np.mean(found)


def maps(seed, highest=CLASSES, size=(2, 9, 7)):
    random = np.random.default_rng(seed)
    return random.integers(0, highest, size).astype("int32")


@pytest.mark.parametrize("ignored", [-1, 255, 0, None])
def test_equals_numpy_and_keras(ignored):
    labels, logits = maps(0), np.random.default_rng(1).normal(size=(2, 9, 7, 4))
    if ignored is not None:
        labels[0, :4] = ignored
    ours, theirs = (
        kind(num_classes=CLASSES, ignore_class=ignored, sparse_y_pred=False)
        for kind in (MeanIoU, keras.metrics.MeanIoU)
    )
    for metric in (ours, theirs):
        metric.update_state(labels[:1], logits[:1])
        metric.update_state(labels[1:], logits[1:])
    expected = by_hand(labels, logits.argmax(axis=-1), ignored)
    assert float(ours.result()) == pytest.approx(expected, abs=1e-6)
    assert float(theirs.result()) == pytest.approx(expected, abs=1e-6)


def test_a_class_that_occurs_nowhere_does_not_count():
    metric = MeanIoU(num_classes=CLASSES)
    # 0: 2 of 3 pixels; 1: 1 of 2; 2 and 3 do not occur.
    metric.update_state([[0, 0, 1, 0]], [[0, 0, 1, 1]])
    assert float(metric.result()) == pytest.approx((2 / 3 + 1 / 2) / 2)
    metric.reset_state()
    metric.update_state([[2]], [[3]])
    assert float(metric.result()) == 0.0


def test_ignored_everywhere_is_zero_and_no_error():
    metric = MeanIoU(num_classes=CLASSES, ignore_class=-1)
    metric.update_state(np.full((1, 3, 3), -1), maps(0, size=(1, 3, 3)))
    assert float(metric.result()) == 0.0


def test_weights_and_labels_with_a_last_axis():
    labels, predicted = maps(0), maps(1)
    weights = np.random.default_rng(2).random(labels.shape).astype("float32")
    # Keras counts in integers, unless it is told otherwise.
    metric = MeanIoU(num_classes=CLASSES, dtype="float32")
    metric.update_state(labels[..., None], predicted, weights)
    expected = by_hand(labels, predicted, weights=weights)
    assert float(metric.result()) == pytest.approx(expected, abs=1e-6)


def test_is_restored_from_its_config():
    metric = MeanIoU(num_classes=3, ignore_class=255, name="mean_iou")
    config = keras.saving.serialize_keras_object(metric)
    copy = keras.saving.deserialize_keras_object(config)
    assert isinstance(copy, MeanIoU) and copy.ignore_class == 255
