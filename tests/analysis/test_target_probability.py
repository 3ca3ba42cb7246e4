import keras
import numpy as np
import pytest

from keras_c2kd.analysis.target_probability import mean_target_probability
from keras_c2kd.data import PairedArrays


def identity():
    inputs = keras.Input((3,))
    return keras.Model(inputs, keras.layers.Identity()(inputs))


def dataset(logits, labels, batch_size=2):
    inputs = {"audio": np.asarray(logits, "float32")}
    return PairedArrays(inputs, np.asarray(labels), batch_size=batch_size)


def test_against_values_computed_by_hand():
    """Softmax of the logarithms of shares are the shares; unequal batches."""
    shares = [[0.5, 0.25, 0.25], [0.1, 0.2, 0.7], [0.6, 0.3, 0.1]]
    data = dataset(np.log(shares), [0, 2, 1])
    found = mean_target_probability(identity(), "audio", data)
    assert found == pytest.approx((0.5 + 0.7 + 0.3) / 3, abs=1e-6)


def test_large_logits():
    data = dataset([[1e4, 0.0, -1e4], [0.0, 1e4, 0.0]], [0, 0])
    found = mean_target_probability(identity(), "audio", data)
    assert found == pytest.approx(0.5)
