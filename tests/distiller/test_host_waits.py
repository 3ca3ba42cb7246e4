"""The host does not wait for the device, nor reads what Keras would not."""

import os
import subprocess
import sys
import threading

import keras
import numpy as np
import pytest

from keras_c2kd import C2KD
from keras_c2kd import CrossModalDistiller
from keras_c2kd import Supervised
from keras_c2kd.methods import OGM
from keras_c2kd.methods import MultimodalTeacher
from tests.helpers.toys import assert_same_weights
from tests.helpers.toys import numpy_weights
from tests.helpers.toys import toy_data
from tests.helpers.toys import toy_distiller

BACKEND = keras.backend.backend()
SAMPLES, BATCH = 16, 4


def tiny_data():
    random = np.random.default_rng(0)
    return random.normal(size=(SAMPLES, 4)).astype("float32"), (
        np.arange(SAMPLES) % 3
    )


def compiled(model, **arguments):
    model.compile(
        **{
            "optimizer": "sgd",
            "loss": keras.losses.SparseCategoricalCrossentropy(
                from_logits=True
            ),
            "metrics": ["accuracy"],
            # XLA takes longer to compile on TensorFlow than these steps take.
            "jit_compile": False if BACKEND == "tensorflow" else "auto",
            **arguments,
        }
    )
    return model


def tiny_network():
    inputs = keras.Input((4,))
    return keras.Model(inputs, keras.layers.Dense(3)(inputs))


def tiny_distiller(compile=None, **arguments):
    return compiled(
        CrossModalDistiller(
            tiny_network(),
            student_modality="a",
            method=Supervised(),
            **arguments,
        ),
        **(compile or {}),
    )


class Batches(keras.utils.PyDataset):
    """Batches that are noted when they are read."""

    def __init__(self, read):
        super().__init__()
        self.read = read

    def __len__(self):
        return SAMPLES // BATCH

    def __getitem__(self, index):
        x, y = tiny_data()
        rows = slice(index * BATCH, (index + 1) * BATCH)
        self.read.append(index)
        return x[rows], y[rows]


def endless_generator(read):
    batches = Batches(read)

    def generate():
        while True:
            for index in range(len(batches)):
                yield batches[index]

    return generate()


def tf_dataset(read):
    tf = pytest.importorskip("tensorflow", reason="tf.data is TensorFlow's")

    def note(index):
        read.append(int(index))
        return index

    x, y = (tf.constant(array) for array in tiny_data())
    indices = tf.data.Dataset.range(SAMPLES).map(
        lambda i: tf.ensure_shape(tf.numpy_function(note, [i], tf.int64), ())
    )
    rows = indices.map(lambda i: (tf.gather(x, i), tf.gather(y, i)))
    return rows.shuffle(SAMPLES).batch(BATCH)


def data_loader(read):
    data = pytest.importorskip(
        "torch.utils.data", reason="DataLoader is PyTorch's"
    )

    class Samples(data.Dataset):
        def __len__(self):
            return SAMPLES

        def __getitem__(self, index):
            read.append(index)
            x, y = tiny_data()
            return x[index], y[index]

    return data.DataLoader(Samples(), batch_size=BATCH)


# TensorFlow reads the others ahead, as far as a thread of it comes.
SOURCES = [tf_dataset, data_loader]
if BACKEND != "tensorflow":
    SOURCES += [Batches, endless_generator]


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES)
def test_nothing_is_read_that_keras_would_not_read(source):
    steps = SAMPLES // BATCH if source is endless_generator else None

    def numbers_read(model):
        train, validation, later, predicted = [], [], [], []
        model.fit(
            source(train),
            epochs=2,
            steps_per_epoch=steps,
            validation_data=source(validation),
            validation_steps=steps,
            verbose=0,
        )
        model.evaluate(source(later), steps=steps, verbose=0)
        model.predict(source(predicted), steps=steps, verbose=0)
        return [len(read) for read in (train, validation, later, predicted)]

    expected = numbers_read(compiled(tiny_network()))
    assert numbers_read(tiny_distiller()) == expected


def test_a_fit_dispatches_as_asynchronously_as_keras_does(monkeypatch):
    threads, waits = set(), []

    class Logged(keras.callbacks.Callback):
        async_safe = True

        def on_train_batch_end(self, batch, logs=None):
            threads.add(threading.current_thread() is threading.main_thread())

    begin = keras.callbacks.CallbackList.on_train_begin

    def noted(self, logs=None):
        waits.append(self._async_train)
        begin(self, logs)

    monkeypatch.setattr(keras.callbacks.CallbackList, "on_train_begin", noted)
    for model in (compiled(tiny_network()), tiny_distiller()):
        x, y = tiny_data()
        model.fit(x, y, batch_size=BATCH, callbacks=[Logged()], verbose=0)
    # Keras does not on TensorFlow.
    assert waits == [BACKEND != "tensorflow"] * 2
    assert threads == {BACKEND == "tensorflow"}


@pytest.mark.skipif(BACKEND != "torch", reason="the others compile the step")
@pytest.mark.parametrize("create", [Supervised, C2KD])
def test_a_step_fetches_no_value_that_keras_would_not(create):
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    class Fetches(TorchDispatchMode):
        number = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            name = function.name()
            self.number += "_local_scalar_dense" in name or "nonzero" in name
            return function(*args, **(kwargs or {}))

    inputs, labels = toy_data(8)
    inputs, labels = keras.tree.map_structure(torch.tensor, (inputs, labels))
    ours = toy_distiller(create())
    plain = compiled(keras.models.clone_model(ours.student))
    numbers = []
    for model, x in ((plain, inputs["visual"]), (ours, inputs)):
        model.train_on_batch(x, labels)
        with Fetches() as fetches:
            model.train_step((x, labels))
        numbers.append(fetches.number)
    assert numbers[1] <= numbers[0]


class NoRate(keras.callbacks.LearningRateScheduler):
    """Breaks the weights in the first update, after its finite loss."""

    def __init__(self):
        super().__init__(lambda epoch: float("nan"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("save_freq", "when"), [("epoch", "epoch 1"), (1, "training batch 0")]
)
def test_weights_of_the_last_update_are_checked(save_freq, when, tmp_path):
    x, y = tiny_data()
    path = tmp_path / "broken.weights.h5"
    checkpoint = keras.callbacks.ModelCheckpoint(
        path, save_weights_only=True, save_freq=save_freq
    )
    callbacks = [NoRate(), checkpoint]
    with pytest.raises(
        FloatingPointError,
        match=rf"after {when}, with learning_rate=\[nan\]: .*student dense.*k",
    ):
        tiny_distiller().fit(
            x, y, batch_size=SAMPLES, callbacks=callbacks, verbose=0
        )
    assert not path.exists()


def test_the_check_can_be_turned_off():
    x, y = tiny_data()
    distiller = tiny_distiller(stop_on_non_finite=False)
    distiller.fit(x, y, batch_size=4, callbacks=[NoRate()], verbose=0)
    assert not np.isfinite(numpy_weights(distiller)[0]).any()
    again = CrossModalDistiller.from_config(distiller.get_config())
    assert again.stop_on_non_finite is False
    distiller.stop_on_non_finite = True
    distiller.optimizer.learning_rate = 0.1
    with pytest.raises(FloatingPointError, match="student_supervised=nan"):
        distiller.fit(x, y, verbose=0)


class Masked(keras.layers.Dense):
    def build(self, input_shape):
        self.mask = self.add_weight(
            shape=(2,),
            trainable=False,
            initializer=keras.initializers.Constant(-np.inf),
        )
        super().build(input_shape)


def test_a_constant_that_is_infinite_stops_nothing():
    inputs = keras.Input((4,))
    network = keras.Model(inputs, Masked(3)(inputs))
    distiller = compiled(
        CrossModalDistiller(network, student_modality="a", method=Supervised())
    )
    distiller.fit(*tiny_data(), verbose=0)
    mask = network.layers[-1].mask
    assert np.isinf(keras.ops.convert_to_numpy(mask)).all()


@pytest.mark.slow
@pytest.mark.parametrize("rate", [np.nan, np.inf, -0.1])
def test_learning_rates_that_cannot_train(rate):
    rate = float(rate)
    for optimizer in (
        {"optimizer": keras.optimizers.SGD(rate)},
        {"teacher_optimizer": keras.optimizers.SGD(rate)},
    ):
        with pytest.raises(ValueError, match=f"finite.*learning_rate={rate}"):
            toy_distiller(C2KD(), compile=optimizer)
    distiller = tiny_distiller({"optimizer": keras.optimizers.SGD(0.1)})
    distiller.optimizer.learning_rate = rate
    with pytest.raises(ValueError, match=f"finite.*learning_rate={rate}"):
        distiller.fit(*tiny_data(), verbose=0)


@pytest.mark.slow
@pytest.mark.parametrize("count", [0, -1, 2.5, True])
def test_numbers_of_samples_and_steps_that_are_none(count):
    x, y = tiny_data()
    distiller = tiny_distiller()
    for name in ("batch_size", "steps_per_epoch", "validation_steps"):
        with pytest.raises(ValueError, match=f"positive.*{name}={count}"):
            distiller.fit(x, y, verbose=0, **{name: count})
    for name in ("batch_size", "steps"):
        with pytest.raises(ValueError, match=f"positive.*{name}={count}"):
            distiller.evaluate(x, y, verbose=0, **{name: count})


@pytest.mark.slow
@pytest.mark.parametrize("fitted", [False, True])
def test_a_pass_over_nothing_raises_and_breaks_nothing(fitted):
    tf = pytest.importorskip("tensorflow", reason="tf.data is TensorFlow's")
    x, y = tiny_data()
    rows = tf.data.Dataset.from_tensor_slices((x, y))
    empty = rows.filter(lambda x, y: y > 9).batch(BATCH)
    distiller = tiny_distiller()
    if fitted:
        distiller.fit(x, y, verbose=0)
    before = numpy_weights(distiller)
    for call in (distiller.fit, distiller.evaluate):
        with pytest.raises(ValueError, match="an empty data set"):
            call(empty, verbose=0)
        assert_same_weights(numpy_weights(distiller), before)
    with pytest.raises(ValueError, match="an empty data set"):
        distiller.fit(x, y, validation_data=empty, verbose=0)
    assert np.isfinite(distiller.evaluate(x, y, verbose=0)).all()


def test_an_epoch_that_trains_nothing_is_no_epoch():
    batches = Batches([])
    twice = (batches[index] for index in (0, 1))
    with pytest.raises(ValueError, match="an empty data set"):
        tiny_distiller().fit(twice, steps_per_epoch=2, epochs=2, verbose=0)


def test_an_evaluation_that_fails_leaves_the_weights():
    x, y = tiny_data()
    distiller = tiny_distiller()
    distiller.fit(x, y, verbose=0)
    before = numpy_weights(distiller)
    for bad in ((0,), (0, 1)):

        def batches():
            for index in range(3):
                yield x[:4] * (np.nan if index == len(bad) else 1.0), y[:4]

        with pytest.raises(Exception, match="NaN or infinity"):
            distiller.evaluate(batches(), verbose=0)
        assert_same_weights(numpy_weights(distiller), before)


def test_a_list_of_callbacks_is_used_and_stays_as_it_is():
    x, y = tiny_data()
    distiller, began = tiny_distiller(), []
    mine = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda *_: began.append(1)
    )
    callbacks = keras.callbacks.CallbackList(
        [mine], add_history=True, model=distiller, epochs=1, steps=1
    )
    given = list(callbacks.callbacks)
    distiller.fit(x, y, callbacks=callbacks, verbose=0)
    assert began and callbacks.callbacks == given


@pytest.mark.backend_free
def test_methods_that_modify_gradients_say_so():
    assert not Supervised().modifies_gradients
    assert Supervised(modulation=OGM()).modifies_gradients
    assert not MultimodalTeacher().modifies_gradients
    assert MultimodalTeacher(modulation=OGM()).modifies_gradients
    assert not C2KD().modifies_gradients


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_callbacks_set_the_rates_of_both_optimizers(policy):
    keras.config.set_dtype_policy(policy)
    distiller = toy_distiller(
        C2KD(),
        compile={
            "optimizer": keras.optimizers.SGD(0.5, name="of_student"),
            "teacher_optimizer": keras.optimizers.SGD(0.25, name="of_teacher"),
        },
    )
    inputs, labels = toy_data(8)
    callbacks = [
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.1),
        keras.callbacks.ReduceLROnPlateau("loss", 0.5, 0, min_delta=1e9),
    ]
    history = distiller.fit(
        inputs, labels, epochs=2, callbacks=callbacks, verbose=0
    ).history
    # The plateau begins with the second epoch, and halves after it.
    names = ("learning_rate_of_student", "learning_rate_of_teacher")
    for name, rate in zip(names, (0.5, 0.25)):
        np.testing.assert_allclose(
            history[name], [rate * 0.1, rate * 0.01], rtol=1e-6
        )
    rates = {one.name: one for one in distiller.optimizer.optimizers}
    for name, rate in (("of_student", 0.5), ("of_teacher", 0.25)):
        assert float(rates[name].learning_rate) == pytest.approx(rate * 0.005)


_OUT_OF_SCOPE = """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, two)
from tests.distiller.test_host_waits import *
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    distiller = tiny_distiller()
x, y = tiny_data()
train, validation = [], []
history = distiller.fit(
    tf_dataset(train), validation_data=tf_dataset(validation), verbose=0
).history
assert len(train) == len(validation) == SAMPLES, (train, validation)
assert np.isfinite(history["val_loss"]).all()
distiller.fit(x, y, batch_size=8, verbose=0)
distiller.train_on_batch(x, y)
assert np.isfinite(distiller.evaluate(x, y, verbose=0)).all()
"""


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="it has strategies")
def test_a_distiller_of_a_strategy_is_trained_outside_of_its_scope():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run(
        [sys.executable, "-c", _OUT_OF_SCOPE], check=True, env=environment
    )
