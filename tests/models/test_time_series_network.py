import keras
import numpy as np
import pytest

from keras_c2kd import CrossModalDistiller
from keras_c2kd.methods import C2KD
from keras_c2kd.methods import FitNet
from keras_c2kd.models import TimeSeriesNetwork
from tests.helpers.references import random_logits


def test_named_maps():
    network = TimeSeriesNetwork((128, 6), 27)
    found = {
        name: network.get_layer(name).output.shape[1:]
        for name in ("stage_1", "stage_2", "stage_3", "stage_4", "pool")
    }
    assert found == {
        "stage_1": (64, 64),
        "stage_2": (32, 96),
        "stage_3": (16, 128),
        "stage_4": (8, 128),
        "pool": (128,),
    }
    assert network.get_layer("logits").output is network.output


def test_the_last_map_is_averaged_over_time():
    keras.utils.set_random_seed(0)
    network = TimeSeriesNetwork((None, 2), 3, widths=(4, 5))
    outputs = [network.get_layer(x).output for x in ("stage_2", "pool")]
    taps = keras.Model(network.input, [*outputs, network.output])
    for steps in (8, 20):
        x = random_logits(2, steps, 2).astype("float32")
        maps, vectors, logits = taps.predict(x, verbose=0)
        assert maps.shape == (2, steps // 4, 5)
        np.testing.assert_allclose(vectors, maps.mean(axis=1), rtol=1e-5)
        kernel, bias = network.get_layer("logits").get_weights()
        np.testing.assert_allclose(
            logits, vectors @ kernel + bias, rtol=1e-4, atol=1e-5
        )


@pytest.mark.one_backend
def test_stages_are_tapped_by_methods():
    keras.utils.set_random_seed(0)
    inputs = {
        "wrist": random_logits(4, 32, 6).astype("float32"),
        "camera": random_logits(4, 16, 9).astype("float32"),
    }
    for method, tap in ((C2KD(), "stage_4"), (FitNet(), "stage_2")):
        distiller = CrossModalDistiller(
            student=TimeSeriesNetwork((32, 6), 4, widths=(4, 5, 6, 7)),
            teacher=TimeSeriesNetwork((16, 9), 4, widths=(5, 6, 7, 8)),
            student_modality="wrist",
            teacher_modality="camera",
            method=method,
            student_features=tap,
            teacher_features="stage_1" if tap == "stage_2" else tap,
        )
        distiller.compile(
            optimizer=keras.optimizers.SGD(1e-3),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        logs = distiller.fit(inputs, np.arange(4), verbose=0).history
        assert all(np.isfinite(values).all() for values in logs.values())


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"\(steps, channels\).*\(8, 8, 3\)"):
        TimeSeriesNetwork((8, 8, 3), 4)
    with pytest.raises(ValueError, match=r"input_shape=\(8, None\)"):
        TimeSeriesNetwork((8, None), 4)
    with pytest.raises(ValueError, match="num_classes=1"):
        TimeSeriesNetwork((8, 3), 1)
    with pytest.raises(ValueError, match="kernel_size=0"):
        TimeSeriesNetwork((8, 3), 4, kernel_size=0)
    with pytest.raises(ValueError, match="number_of_widths=0"):
        TimeSeriesNetwork((8, 3), 4, widths=())
