"""Losses that compare numbers, one output, several classes a sample."""

import keras
import numpy as np
import pytest

from keras_c2kd import C2KD
from keras_c2kd import CrossModalDistiller
from keras_c2kd import KnowledgeDistillation
from keras_c2kd import Supervised
from keras_c2kd.methods import DML
from keras_c2kd.methods import OGM
from keras_c2kd.methods import RKD
from keras_c2kd.methods import FitNet
from keras_c2kd.methods import MultimodalTeacher
from keras_c2kd.methods import ReviewKD
from tests.helpers.toys import AUDIO
from tests.helpers.toys import VISUAL
from tests.helpers.toys import toy_data
from tests.helpers.toys import toy_distiller
from tests.helpers.toys import toy_network
from tests.helpers.toys import toy_teacher

NAMES = "FitNet, RKD, ReviewKD, Supervised"
BINARY = keras.losses.BinaryCrossentropy(from_logits=True)


def distiller_of(method, outputs, loss, **compile_arguments):
    """A toy distiller of networks with so many outputs."""
    return toy_distiller(
        method,
        student=toy_network(VISUAL, outputs, seed=2),
        teacher=toy_teacher(method, outputs)[0],
        compile={"loss": loss, "metrics": ["mse"], **compile_arguments},
    )


@pytest.mark.slow
@pytest.mark.parametrize("dense", [False, True])
def test_one_number_a_sample_or_pixel(dense):
    """Labels with and without the last axis give the mean by hand."""
    layers = keras.layers
    tensors = keras.Input((4, 4, 2))
    outputs = layers.Dense(1)(tensors if dense else layers.Flatten()(tensors))
    network = keras.Model(tensors, outputs)
    random = np.random.default_rng(0)
    inputs = {"x": random.normal(size=(6, 4, 4, 2)).astype("float32")}
    labels = random.normal(size=(6, 4, 4) if dense else 6).astype("float32")
    weights = np.linspace(0.5, 2.0, 6).astype("float32")
    distiller = CrossModalDistiller(
        student=network, student_modality="x", method=Supervised()
    )
    distiller.compile("sgd", "mse", metrics=["mae"], jit_compile=False)
    found = network.predict(inputs["x"], verbose=0)[..., 0]
    shape = (6, *[1] * (labels.ndim - 1))
    expected = np.mean((found - labels) ** 2 * weights.reshape(shape))
    for y in (labels, labels[..., None]):
        logs = distiller.test_on_batch(inputs, y, weights, return_dict=True)
        assert float(logs["loss"]) == pytest.approx(expected, rel=1e-5)
        error = np.abs(found - labels).mean()
        assert float(logs["mae"]) == pytest.approx(error, rel=1e-5)
    for y in (labels, labels[..., None]):
        before = [keras.ops.convert_to_numpy(w) for w in network.weights]
        logs = distiller.train_on_batch(
            inputs, y, sample_weight=weights, return_dict=True
        )
        assert float(logs["loss"]) == pytest.approx(expected, rel=1e-5)
        network.set_weights(before)
        distiller.reset_metrics()
    with pytest.raises(ValueError, match="a label for each output, 1 a"):
        distiller.train_on_batch(inputs, np.stack([labels] * 2, -1))
    with pytest.raises(ValueError, match="finite.*labels of sample 0"):
        distiller.train_on_batch(inputs, labels * np.nan)
    with pytest.raises(ValueError, match="class_weight"):
        distiller.train_on_batch(inputs, labels, class_weight={0: 1.0})


@pytest.mark.slow
@pytest.mark.parametrize(
    "create, outputs, loss",
    [
        (lambda: FitNet(hint_weight=0.1), 1, "mse"),
        (RKD, 3, "log_cosh"),
        (lambda: ReviewKD(levels=1), 1, keras.losses.Huber()),
        (
            lambda: MultimodalTeacher(divergence=keras.losses.Huber()),
            1,
            keras.losses.MeanAbsoluteError(),
        ),
    ],
)
def test_methods_that_predict_numbers(create, outputs, loss):
    inputs, labels = toy_data(32)
    numbers = np.stack([labels + 1.0] * outputs, -1).astype("float32")
    distiller = distiller_of(create(), outputs, loss)
    history = distiller.fit(
        inputs,
        numbers[:, 0] if outputs == 1 else numbers,
        batch_size=16,
        epochs=3,
        validation_data=(inputs, numbers),
        verbose=0,
    ).history
    assert np.isfinite(history["val_loss"]).all()
    assert history["student_supervised"][-1] < history["student_supervised"][0]
    assert {"mse", "teacher_mse"} <= set(history)


@pytest.mark.slow
@pytest.mark.parametrize(
    "loss", ["mse", keras.losses.Huber(), keras.losses.cosine_similarity]
)
@pytest.mark.parametrize(
    "create",
    [
        KnowledgeDistillation,
        C2KD,
        DML,
        MultimodalTeacher,
        lambda: Supervised(modulation=OGM()),
    ],
)
def test_methods_that_compare_classes_refuse_losses_of_numbers(create, loss):
    method = create()
    student = toy_network(VISUAL)
    modality = VISUAL
    if isinstance(method, Supervised):
        student = toy_teacher(MultimodalTeacher())[0]
        modality = (AUDIO, VISUAL)
    distiller = toy_distiller(
        method, student=student, student_modality=modality, compiled=False
    )
    name = type(method).__name__
    with pytest.raises(ValueError, match=f"{name} compares logits.*{NAMES}"):
        distiller.compile("sgd", loss)


def test_one_output_is_no_class():
    with pytest.raises(ValueError, match=f"at least 2 classes.*{NAMES}"):
        distiller_of(KnowledgeDistillation(), 1, BINARY)
    sparse = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    with pytest.raises(ValueError, match="2 classes.*BinaryCrossentropy"):
        distiller_of(Supervised(), 1, sparse)


@pytest.mark.slow
@pytest.mark.parametrize("create", [Supervised, FitNet])
def test_one_logit_and_several_classes_a_sample(create):
    inputs, labels = toy_data(16)
    if create is Supervised:
        inputs = {VISUAL: inputs[VISUAL]}
    one, several = distiller_of(create(), 1, BINARY), None
    for binary in (labels % 2, labels[:, None] % 2):
        history = one.fit(
            inputs, binary, class_weight=[1.0, 3.0], verbose=0
        ).history
        assert np.isfinite(history["loss"]).all()
    several = distiller_of(create(), 4, BINARY)
    rows = np.eye(4)[labels] + np.eye(4)[(labels + 1) % 4]
    several.fit(inputs, rows, verbose=0)
    for distiller, wrong in ((one, labels), (several, 2 * rows)):
        with pytest.raises(ValueError, match="from 0 to 1.*at sample"):
            distiller.fit(inputs, wrong, verbose=0)
    with pytest.raises(ValueError, match="one class a sample"):
        several.fit(inputs, rows, class_weight=np.ones(4), verbose=0)
    kd = distiller_of(KnowledgeDistillation(), 4, BINARY)
    with pytest.raises(ValueError, match=f"several classes.*{NAMES}"):
        kd.fit(toy_data(16)[0], rows, verbose=0)
