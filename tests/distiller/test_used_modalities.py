"""What of a batch is read, and in which order; weights of classes."""

import warnings

import keras
import numpy as np
import pytest

from keras_c2kd import CrossModalDistiller
from keras_c2kd import KnowledgeDistillation
from keras_c2kd import Supervised
from keras_c2kd.backend.distribution.sharding import shard
from keras_c2kd.methods import DLB
from tests.distiller.test_cross_modal_distiller import PairedDataset
from tests.distiller.test_cross_modal_distiller import as_data_loader
from tests.distiller.test_cross_modal_distiller import as_generator
from tests.distiller.test_cross_modal_distiller import as_tf_dataset
from tests.helpers.toys import AUDIO
from tests.helpers.toys import VISUAL
from tests.helpers.toys import numpy_weights
from tests.helpers.toys import toy_data
from tests.helpers.toys import toy_distiller
from tests.helpers.toys import toy_network


def as_arrays(inputs, labels, batch_size):
    return inputs, labels


SOURCES = (
    as_arrays,
    PairedDataset,
    as_tf_dataset,
    as_data_loader,
    as_generator,
)


def small_distiller(method=Supervised, **more):
    """A distiller of tiny linear networks that remembers what it was fed."""
    fed = []

    class Remembers(CrossModalDistiller):
        def call(self, inputs, training=False):
            fed.append(set(inputs))
            return super().call(inputs, training=training)

    def network():
        tensors = keras.Input((4,))
        return keras.Model(tensors, keras.layers.Dense(4)(tensors))

    method = method()
    if method.needs_teacher:
        more |= {"teacher": network(), "teacher_modality": "y"}
    distiller = Remembers(
        student=network(), student_modality="x", method=method, **more
    )
    distiller.compile(
        "sgd",
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    return distiller, fed


def batch_of_everything(samples=8):
    random = np.random.default_rng(0)
    inputs = {
        name: random.normal(size=(samples, 4)).astype("float32")
        for name in ("x", "y")
    }
    inputs["broken"] = inputs["y"] * np.nan
    inputs["caption"] = np.array(["a photo"] * samples)
    return inputs, np.arange(samples) % 4


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("check_data", [True, False])
def test_what_nothing_reads_stays_on_the_host(source, check_data):
    inputs, labels = batch_of_everything()
    distiller, fed = small_distiller(
        KnowledgeDistillation, check_data=check_data
    )

    def data():
        given = source(inputs, labels, 4)
        return given if isinstance(given, tuple) else (given,)

    validation = data() if source is as_arrays else data()[0]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        distiller.fit(*data(), validation_data=validation, verbose=0)
        distiller.evaluate(*data(), verbose=0)
        distiller.predict(data()[0], verbose=0)
        distiller.train_on_batch(inputs, labels)
        distiller.test_on_batch(inputs, labels)
    told = [str(w.message) for w in caught if "entries that" in str(w.message)]
    assert len(told) == 1 and "['broken', 'caption']" in told[0]
    assert all(keys == {"x", "y"} for keys in fed)
    # What is read is still checked, and what the student alone does not read
    # is left out too.
    if check_data:
        inputs["x"] = inputs["broken"]
        with pytest.raises(Exception, match="finite.*'x' of sample 0"):
            distiller.fit(*data(), verbose=0)


def test_what_a_process_takes_its_share_of(monkeypatch):
    inputs, labels = batch_of_everything()
    distiller, fed = small_distiller(KnowledgeDistillation)
    given = {}

    def share(x, *arguments):
        given.update(x=x)
        monkeypatch.undo()
        return shard(x, *arguments)

    monkeypatch.setattr("keras_c2kd.distiller.checked_model.shard", share)
    monkeypatch.setattr(
        "keras_c2kd.backend.distribution.processes", lambda: (0, 2)
    )
    with pytest.warns(UserWarning, match="'caption'"), pytest.raises(Exception):
        distiller.fit(inputs, labels, verbose=0)
    assert set(given["x"]) == {"x", "y"}


@pytest.mark.slow
def test_what_a_method_reads_is_kept():
    class Reads(Supervised):
        def run_student(self, network, student_input, inputs):
            return network(student_input + inputs["y"], training=True)

    inputs, labels = batch_of_everything()
    del inputs["broken"], inputs["caption"]
    for method, keys in (
        (Reads, {"x", "y"}),
        (lambda: DLB(8, second_view="y"), {"x", "y"}),
        (lambda: DLB(8), {"x"}),
        (Supervised, {"x"}),
    ):
        distiller, fed = small_distiller(method)
        distiller.train_on_batch(inputs, labels)
        assert fed[-1] == keys
        distiller.test_on_batch(inputs, labels)
        assert fed[-1] == keys


def test_a_method_receives_tensors():
    """Where the device is another one, arrays would be on the wrong one."""
    received = []

    class Reads(Supervised):
        def run_student(self, network, student_input, inputs):
            received.extend([student_input, *inputs.values()])
            return network(student_input, training=True)

    inputs, labels = batch_of_everything()
    del inputs["broken"], inputs["caption"]
    distiller, _ = small_distiller(Reads)
    distiller.train_on_batch(inputs, labels)
    assert len(received) >= 2
    assert all(map(keras.ops.is_tensor, received))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [list, tuple, np.asarray])
def test_class_weights_in_the_order_of_the_classes(kind):
    inputs, labels = batch_of_everything()
    inputs = {"x": inputs["x"]}
    weights = {0: 0.5, 1: 2.0, 2: 1.0, 3: 3.0}
    distiller, _ = small_distiller()
    start = numpy_weights(distiller)
    ends = []
    for given in (weights, kind(list(weights.values()))):
        distiller.set_weights(start)
        options = {"class_weight": given, "shuffle": False, "verbose": 0}
        distiller.fit(inputs, labels, **options)
        distiller.train_on_batch(inputs, labels, class_weight=given)
        ends.append(
            np.concatenate([w.ravel() for w in numpy_weights(distiller)])
        )
    np.testing.assert_array_equal(*ends)
    for wrong in ([1.0] * 3, np.ones((4, 1)), ["1"] * 4, 2.0):
        for call in (distiller.fit, distiller.train_on_batch):
            with pytest.raises(ValueError, match="for each of the 4 classes"):
                call(inputs, labels, class_weight=wrong)
    with pytest.raises(ValueError, match="classes, from 0 to 3"):
        distiller.fit(inputs, labels, class_weight=[1.0, -1.0, 1.0, 1.0])


@pytest.mark.slow
def test_a_network_of_two_modalities_reads_a_list_in_their_order():
    layers = keras.layers

    def difference(inputs):
        return layers.Dense(4, use_bias=False)(layers.Subtract()(inputs))

    class Listed(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(4, use_bias=False)

        def call(self, inputs):
            return self.dense(inputs[0] - inputs[1])

    inputs, labels = batch_of_everything()
    both = [inputs["x"], inputs["y"]]
    inputs = {"y": inputs["y"], "x": inputs["x"]}
    symbols = [keras.Input((4,)), keras.Input((4,))]
    listed = Listed()
    listed(both)
    keyed = {"x": symbols[0], "y": symbols[1]}
    for network in (
        keras.Model(symbols, difference(symbols)),
        keras.Model(keyed, difference(symbols)),
        listed,
    ):
        distiller, _ = small_distiller()
        distiller = CrossModalDistiller(
            student=distiller.student,
            teacher=network,
            student_modality="x",
            teacher_modality=("x", "y"),
            method=KnowledgeDistillation(),
        )
        distiller.compile(
            "sgd",
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            jit_compile=False,
        )
        distiller.fit(inputs, labels, verbose=0)
        logs = distiller.evaluate(inputs, labels, verbose=0, return_dict=True)
        kernel = numpy_weights(network)[0]
        guesses = ((both[0] - both[1]) @ kernel).argmax(-1)
        assert logs["teacher_accuracy"] == pytest.approx(
            (guesses == labels).mean()
        )


def test_an_optimizer_of_another_model():
    inputs, labels = batch_of_everything()
    optimizer = keras.optimizers.Adam()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    first, second = small_distiller()[0], small_distiller()[0]
    for _ in range(2):  # Again for the same model is fine.
        first.compile(optimizer, loss, jit_compile=False)
        first.fit({"x": inputs["x"]}, labels, verbose=0)
    with pytest.raises(ValueError, match=r"used before.*Adam.from_config\("):
        second.compile(optimizer, loss)
    pair = small_distiller(KnowledgeDistillation)[0]
    with pytest.raises(ValueError, match="used before"):
        pair.compile("sgd", loss, teacher_optimizer=optimizer)


def test_single_samples_must_be_batched():
    tf = pytest.importorskip("tensorflow", reason="tf.data is TensorFlow's")
    inputs, labels = toy_data(8)
    samples = tf.data.Dataset.from_tensor_slices((inputs, labels))
    distiller = toy_distiller(KnowledgeDistillation())
    with pytest.raises(ValueError, match=r"single sample.*batch\(32\)"):
        distiller.fit(samples, verbose=0)


def test_networks_that_share_variables_are_told_how_to_be_copied():
    network = toy_network(VISUAL)
    view = keras.Model(network.input, network.output)
    with pytest.raises(ValueError, match="share variables.*clone_model"):
        CrossModalDistiller(
            student=network,
            teacher=view,
            student_modality=VISUAL,
            teacher_modality=AUDIO,
            method=KnowledgeDistillation(),
        )
