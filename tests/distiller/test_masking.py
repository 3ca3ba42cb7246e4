"""Padding that a layer has masked changes no term of the loss."""

import keras
import numpy as np
import pytest

from keras_c2kd import CrossModalDistiller
from keras_c2kd.layers import ProxyHead
from keras_c2kd.methods import C2KD
from keras_c2kd.methods import DKD
from keras_c2kd.methods import DML
from keras_c2kd.methods import KnowledgeDistillation
from keras_c2kd.ops import global_average_pool

CLASSES = 4
LENGTH = 3


def text_network(pooled, seed):
    """Token numbers to logits of the text or of each token, 0 is padding."""
    layers = keras.layers
    keras.utils.set_random_seed(seed)
    tokens = keras.Input((None,), dtype="int32")
    x = layers.Embedding(10, 6, mask_zero=True, name="tokens")(tokens)
    x = layers.Dense(6, activation="relu", name="hidden")(x)
    if pooled:
        x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(tokens, layers.Dense(CLASSES)(x))


def logs_of_one_step(method, pooled, padding):
    """What one step logs for texts with so much padding behind them."""
    random = np.random.default_rng(0)
    shape = (8, LENGTH)
    inputs = {
        name: np.pad(random.integers(1, 10, shape), ((0, 0), (0, padding)))
        for name in ("one", "other")
    }
    labels = random.integers(0, CLASSES, shape)
    labels = labels[:, 0] if pooled else np.pad(labels, ((0, 0), (0, padding)))
    distiller = CrossModalDistiller(
        student=text_network(pooled, seed=1),
        teacher=text_network(pooled, seed=2),
        student_modality="one",
        teacher_modality="other",
        method=method(),
    )
    distiller.compile(
        optimizer=keras.optimizers.SGD(0.0),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    return distiller.train_on_batch(inputs, labels, return_dict=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "pooled"),
    [
        (C2KD, True),
        (lambda: C2KD(proxies=False), False),
        (KnowledgeDistillation, False),
        (DKD, False),
        (DML, False),
    ],
    ids=["c2kd_pooled", "c2kd", "kd", "dkd", "dml"],
)
def test_padding_changes_nothing(method, pooled):
    without = logs_of_one_step(method, pooled, padding=0)
    padded = logs_of_one_step(method, pooled, padding=9)
    assert padded.keys() == without.keys()
    for name, value in without.items():
        assert padded[name] == pytest.approx(value, rel=1e-5, abs=1e-6), name


def test_masked_pooling_by_hand():
    features = np.arange(12.0, dtype="float32").reshape(2, 3, 2)
    mask = np.array([[True, True, False], [False, False, False]])
    pooled = keras.ops.convert_to_numpy(global_average_pool(features, mask))
    np.testing.assert_allclose(pooled, [[1.0, 2.0], [0.0, 0.0]])


def test_a_proxy_head_takes_a_mask():
    features = np.random.default_rng(0).normal(size=(4, 5, 3)).astype("float32")
    head = ProxyHead(CLASSES)
    short = head(features[:, :2])
    mask = np.array([[True, True, False, False, False]] * 4)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(head(features, mask=mask)),
        keras.ops.convert_to_numpy(short),
        rtol=1e-5,
        atol=1e-6,
    )
