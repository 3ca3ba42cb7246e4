"""Dense logits: pixels are rows, ignored pixels are absent."""

import functools

import keras
import numpy as np
import pytest

from keras_c2kd import losses
from keras_c2kd.analysis import MeanIoU
from keras_c2kd.methods import C2KD
from keras_c2kd.methods import CIRKD
from keras_c2kd.methods import DIST
from keras_c2kd.methods import DKD
from keras_c2kd.methods import DLB
from keras_c2kd.methods import DML
from keras_c2kd.methods import NKD
from keras_c2kd.methods import RKD
from keras_c2kd.methods import SHAKE
from keras_c2kd.methods import USKD
from keras_c2kd.methods import FitNet
from keras_c2kd.methods import KnowledgeDistillation
from keras_c2kd.methods import ReviewKD
from keras_c2kd.methods import Supervised
from keras_c2kd.methods import ZipfKD
from keras_c2kd.selection import KendallSelection
from tests.helpers.method_contract import once_a_form
from tests.helpers.references import random_labels
from tests.helpers.toys import AUDIO as DEPTH
from tests.helpers.toys import VISUAL as COLOUR
from tests.helpers.toys import numpy_weights
from tests.helpers.toys import toy_distiller
from tests.methods.by_hand import random_heads
from tests.methods.by_hand import terms_of

IGNORED = 255
SIZE = (8, 12)
CLASSES = 3

on_logits = {
    "supervised": Supervised,
    "kd": KnowledgeDistillation,
    "kd_selected": lambda: KnowledgeDistillation(selection=KendallSelection()),
    "dkd": DKD,
    "dist": DIST,
    "nkd": NKD,
    "dml": DML,
    "c2kd": C2KD,
    "c2kd_no_proxies": lambda: C2KD(proxies=False),
    "c2kd_selected": lambda: C2KD(
        selection=KendallSelection(mean_over="selected", variant="b")
    ),
    "c2kd_dist": lambda: C2KD(divergence=losses.DISTLoss()),
    "c2kd_nkd": lambda: C2KD(divergence=losses.NKDLoss()),
}
with_taps = {
    "fitnet": FitNet,
    "fitnet_pointwise": lambda: FitNet(1.0, regressor="pointwise"),
    "review_kd": lambda: ReviewKD(levels=2),
    "rkd": RKD,
    "cirkd": lambda: CIRKD(pixel_memory=20, region_memory=5),
    "shake": lambda: SHAKE(own_classifier=True),
    "shake_c2kd": lambda: SHAKE(
        own_classifier=True, pointwise_negative_slope=0.1, shadow_channels=5
    ),
    "shake_classifier": SHAKE,
    "zipf_kd": lambda: ZipfKD(
        rank_by="logits",
        only_correct=True,
        mean_over="selected",
        unbiased_bounds=(0.001, 1.0),
    ),
}
cases = {**on_logits, **with_taps}


def scenes(samples=16, seed=0):
    """Colour images and depth maps of one class a half, some unlabelled."""
    random = np.random.default_rng(seed)
    halves = random.integers(0, CLASSES, (samples, 2)).astype("int32")
    labels = np.repeat(halves, SIZE[1] // 2, axis=1)[:, None]
    labels = np.repeat(labels, SIZE[0], axis=1)
    colour = np.eye(3)[labels] + random.normal(0, 0.3, (samples, *SIZE, 3))
    depth = labels[..., None] + random.normal(0, 0.3, (samples, *SIZE, 1))
    labels[random.random(labels.shape) < 0.2] = IGNORED
    inputs = {COLOUR: colour.astype("float32"), DEPTH: depth.astype("float32")}
    return inputs, labels


def network(modality, channels, seed):
    """Half the size, a classifier of places, and resized logits."""
    layers = keras.layers
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((*SIZE, channels))
    x = inputs
    for index, strides in enumerate((1, 2, 1)):
        x = layers.Conv2D(
            8, 3, strides=strides, padding="same", name=f"conv_{index}"
        )(x)
        x = layers.BatchNormalization(momentum=0.8)(x)
        x = layers.ReLU(name=f"relu_{index}")(x)
    x = layers.Conv2D(CLASSES, 1, name="logits")(x)
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    return keras.Model(inputs, x, name=modality)


def dense_distiller(method, teacher=None, **kwargs):
    taps = {
        "level_1": "relu_1",
        "level_2": "relu_2",
        "stage_1": "relu_0",
        "stage_2": "relu_1",
        "stage_3": "relu_2",
        "features": "relu_2",
    }
    for role, names in (
        ("student", method.student_features),
        ("teacher", method.teacher_features),
    ):
        kwargs[f"{role}_features"] = {name: taps[name] for name in names}
    if teacher is None:
        teacher = network(DEPTH, 1, seed=1)
    if not method.needs_teacher:
        teacher = None
    return toy_distiller(
        method,
        student=network(COLOUR, 3, seed=2),
        teacher=teacher,
        compile={
            "loss": keras.losses.SparseCategoricalCrossentropy(
                from_logits=True, ignore_class=IGNORED
            ),
            "metrics": [
                MeanIoU(CLASSES, ignore_class=IGNORED, sparse_y_pred=False)
            ],
        },
        **kwargs,
    )


@functools.cache
def _weights_of_a_trained_teacher():
    inputs, labels = scenes(32, seed=1)
    distiller = toy_distiller(
        Supervised(),
        student=network(DEPTH, 1, seed=1),
        student_modality=DEPTH,
        compile={
            "loss": keras.losses.SparseCategoricalCrossentropy(
                from_logits=True, ignore_class=IGNORED
            ),
            "metrics": [],
        },
    )
    distiller.fit(inputs, labels, batch_size=8, epochs=10, verbose=0)
    return distiller.student.get_weights()


def trained_teacher():
    """A teacher that knows its own modality, as the protocol wants it."""
    teacher = network(DEPTH, 1, seed=1)
    teacher.set_weights(_weights_of_a_trained_teacher())
    return teacher


@pytest.mark.slow
@once_a_form(cases)
def test_every_method_that_the_table_calls_dense(create):
    inputs, labels = scenes()
    distiller = dense_distiller(create(), trained_teacher())
    weights = np.linspace(0.5, 1.5, len(labels)).astype("float32")
    history = distiller.fit(
        inputs,
        labels,
        sample_weight=weights,
        batch_size=8,
        epochs=12,
        verbose=0,
    ).history
    assert all(np.isfinite(values).all() for values in history.values())
    supervised = history["student_supervised"]
    assert supervised[-1] < 0.8 * supervised[0]
    logits = distiller.predict({COLOUR: inputs[COLOUR]}, verbose=0)
    assert logits.shape == (16, *SIZE, CLASSES)


@pytest.mark.slow
@pytest.mark.parametrize("create", cases.values(), ids=cases)
def test_nothing_is_learned_where_nothing_is_labelled(create):
    """The supervised term is 0; all else is finite and moves nothing odd."""
    inputs, labels = scenes(4)
    distiller = dense_distiller(create())
    nothing = np.full_like(labels, IGNORED)
    logs = distiller.train_on_batch(inputs, nothing, return_dict=True)
    terms = [float(logs[name]) for name in distiller.method.loss_names]
    assert np.isfinite(terms).all()
    assert float(logs["student_supervised"]) == 0.0
    if create in on_logits.values():
        assert terms == [0.0] * len(terms)
    for weight in numpy_weights(distiller):
        assert np.isfinite(weight).all()


@pytest.mark.parametrize("create", on_logits.values(), ids=on_logits)
def test_pixels_are_rows(create):
    """An image equals the list of its labelled pixels."""
    shape = (3, 4, 5)
    heads = random_heads(*shape, CLASSES)
    labels = random_labels(*shape, num_classes=CLASSES)
    valid = np.random.default_rng(0).random(shape) > 0.3
    weights = np.asarray([0.5, 1.0, 2.0], "float32")[:, None, None]
    weights = np.broadcast_to(weights, shape).astype("float32")
    # What the distiller makes of weights and ignored labels.
    rows = weights * (valid / valid.mean()).astype("float32")
    method = create()
    dense, diagnostics = terms_of(method, heads, labels, rows, valid)
    listed, expected = terms_of(
        method,
        {name: logits[valid] for name, logits in heads.items()},
        labels[valid],
        weights[valid],
    )
    for name in method.loss_names:
        if name.endswith("supervised"):
            continue  # Keras' own loss.
        np.testing.assert_allclose(
            dense[name], listed[name], rtol=1e-4, err_msg=name
        )
    for name, value in expected.items():
        np.testing.assert_allclose(diagnostics[name], value, rtol=1e-4)


@pytest.mark.parametrize(
    ("create", "message"),
    [
        (lambda: DLB(8), "DLB is defined for one label a sample"),
        (USKD, "USKD is defined for one label a sample"),
        (ZipfKD, 'ZipfKD.rank_by="logits"'),
    ],
)
def test_methods_for_one_label_a_sample_refuse_images(create, message):
    with pytest.raises(ValueError, match=message):
        dense_distiller(create())


def test_logits_of_unlike_size_are_refused():
    whole = network(DEPTH, 1, seed=1)
    small = keras.Model(whole.input, whole.get_layer("logits").output)
    pooled = keras.layers.GlobalAveragePooling2D()(whole.output)
    for teacher in (small, keras.Model(whole.input, pooled)):
        with pytest.raises(ValueError, match=r"same pixels.*\(8, 12\)"):
            dense_distiller(KnowledgeDistillation(), teacher)


def test_labels_of_another_size_than_the_logits_are_refused():
    distiller = dense_distiller(KnowledgeDistillation())
    inputs, labels = scenes(4)
    for wrong in (labels[:, ::2, ::2], labels[:, :, :-1]):
        with pytest.raises(ValueError, match=r"size of the logits, \(8, 12\)"):
            distiller.fit(inputs, wrong, verbose=0)


def test_proxies_give_logits_of_the_networks_size():
    distiller = dense_distiller(C2KD())
    inputs, _ = scenes(2)
    heads = distiller.compute_outputs(inputs)["heads"]
    for name in ("student_proxy", "teacher_proxy"):
        assert tuple(heads[name].shape) == (2, *SIZE, CLASSES)
