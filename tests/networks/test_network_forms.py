"""What bad input gets, whatever kind of `keras.Model` the networks are."""

import keras
import numpy as np
import pytest

from keras_c2kd import CrossModalDistiller
from keras_c2kd import KnowledgeDistillation
from keras_c2kd import Supervised
from tests.distiller.test_cross_modal_distiller import PairedDataset
from tests.distiller.test_cross_modal_distiller import as_data_loader
from tests.distiller.test_cross_modal_distiller import as_generator
from tests.distiller.test_cross_modal_distiller import as_tf_dataset
from tests.helpers.toys import AUDIO
from tests.helpers.toys import VISUAL
from tests.helpers.toys import Subclassed
from tests.helpers.toys import assert_same_weights
from tests.helpers.toys import in_form
from tests.helpers.toys import numpy_weights
from tests.helpers.toys import toy_data
from tests.helpers.toys import toy_distiller
from tests.helpers.toys import toy_network

# The last one has built itself and keeps no shape: only data tell.
KINDS = ("functional", "sequential", "subclassed", "self_built")


def pair(kind, student_end=(), classes=4, method=KnowledgeDistillation, **more):
    """A distiller of two networks of a kind."""
    student = toy_network(VISUAL, classes, seed=2)
    if student_end:
        student = keras.Sequential([student, *student_end])
        student.build((None, 8, 8, 3))
        student = keras.Model(student.inputs, student.outputs[0])
    return toy_distiller(
        method(),
        student=in_form(student, kind),
        teacher=in_form(toy_network(AUDIO, seed=1), kind),
        **more,
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_data_that_break_a_rule(kind):
    inputs, labels = toy_data(8)
    distiller = pair(kind)
    before = numpy_weights(distiller)

    def changed(key, value):
        array = inputs[key].copy()
        array[3, 0, 0, 0] = value
        return {**inputs, key: array}

    nothing = {key: value[:0] for key, value in inputs.items()}
    shorter = {**inputs, AUDIO: inputs[AUDIO][:6]}
    wrong = np.where(np.arange(8) == 5, 4, labels)
    for message, x, y in (
        ("lacks the modality .'audio'", {VISUAL: inputs[VISUAL]}, labels),
        ("from 0 to 3.*4 at sample 5", inputs, wrong),
        ("from 0 to 3.*-1 at sample 5", inputs, np.where(wrong == 4, -1, 0)),
        ("one-hot", inputs, np.eye(4)[labels]),
        ("one a sample", inputs, np.stack([labels, labels], -1)),
        ("7 labels for 8 samples", inputs, labels[:7]),
        ("finite.*'audio' of sample 3", changed(AUDIO, np.nan), labels),
        ("finite.*'visual' of sample 3", changed(VISUAL, np.inf), labels),
        ("empty", nothing, labels[:0]),
        ("same number of samples", shorter, labels),
    ):
        with pytest.raises(ValueError, match=message):
            distiller.fit(x, y, verbose=0)
    for source in (PairedDataset, as_generator, as_tf_dataset, as_data_loader):
        for call in (distiller.fit, distiller.evaluate):
            with pytest.raises(Exception, match="from 0 to 3.*4 at sample 5"):
                call(source(inputs, wrong, 8), verbose=0)
    assert_same_weights(numpy_weights(distiller), before)
    with pytest.raises(ValueError, match="for each of the 4 classes"):
        distiller.fit(inputs, labels, class_weight=np.ones(3), verbose=0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_networks_that_break_a_rule(kind):
    inputs, labels = toy_data(8)

    def trained(**more):
        distiller = pair(kind, **more)
        before = numpy_weights(distiller)
        try:
            distiller.fit(inputs, labels, verbose=0)
        finally:
            assert_same_weights(numpy_weights(distiller), before)

    softmax = [keras.layers.Softmax()]
    of_probabilities = keras.losses.SparseCategoricalCrossentropy()
    with pytest.raises(ValueError, match="equally many classes.*5.*4"):
        trained(classes=5)
    with pytest.raises(ValueError, match="equally many classes.*5.*4"):
        trained(classes=5, check_data=False)
    if kind != "self_built":
        with pytest.raises(ValueError, match="needs logits.*softmax"):
            trained(student_end=softmax)
        with pytest.raises(ValueError, match="from_logits=True.*softmax"):
            trained(student_end=softmax, method=Supervised)
        with pytest.raises(ValueError, match="from_logits=False.*logits"):
            trained(method=Supervised, compile={"loss": of_probabilities})
    network = in_form(toy_network(VISUAL), kind)
    with pytest.raises(ValueError, match="two models.*same object"):
        toy_distiller(KnowledgeDistillation(), student=network, teacher=network)
    frozen = in_form(toy_network(VISUAL), kind)
    frozen.trainable = False
    with pytest.raises(ValueError, match="student has no trainable"):
        toy_distiller(Supervised(), student=frozen)


def test_a_subclassed_network_of_several_outputs():
    class Several(Subclassed):
        def call(self, inputs, training=False):
            return {"logits": super().call(inputs, training=training)}

    inputs, labels = toy_data(8)
    for self_built in (False, True):
        network = Several(toy_network(VISUAL).layers[1:], self_built)
        network(inputs[VISUAL])
        for check_data in (True, False):
            with pytest.raises(
                ValueError, match="one output.*logits alone from its `call`"
            ):
                toy_distiller(
                    Supervised(), student=network, check_data=check_data
                ).fit(inputs[VISUAL], labels, verbose=0)


def test_a_subclassed_network_trains_on_sizes_it_was_not_built_with():
    layers = keras.layers
    network = Subclassed([layers.Conv2D(3, 1)])
    network(np.zeros((2, 4, 4, 2), "float32"))
    distiller = CrossModalDistiller(
        student=network, student_modality="x", method=Supervised()
    )
    distiller.compile(
        "sgd",
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    images = np.random.default_rng(0).normal(size=(4, 6, 5, 2))
    labels = np.zeros((4, 6, 5), "int32")
    distiller.fit({"x": images}, labels, verbose=0)
    for call in (distiller.train_on_batch, distiller.test_on_batch):
        with pytest.raises(ValueError, match="size of the logits, .6, 5."):
            call({"x": images}, labels[:, :3])
        with pytest.raises(ValueError, match="from 0 to 2.*3 at sample 0"):
            call({"x": images}, labels + 3)
