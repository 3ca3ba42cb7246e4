"""A training that was interrupted ends as if nothing had happened.

Also if layers draw from generators that nobody saves: those of the process.
"""

import random
import shutil

import keras
import keras_hub
import numpy as np
import pytest

from keras_c2kd import CrossModalDistiller
from keras_c2kd.methods import Supervised
from keras_c2kd.models import DeepLabV3Plus
from tests.helpers.toys import assert_same_weights

BACKEND = keras.backend.backend()
on_torch = pytest.mark.skipif(BACKEND != "torch", reason="torch's generators")
SAMPLES, BATCH_SIZE, EPOCHS = 6, 2, 2
STEPS = SAMPLES // BATCH_SIZE


@keras.saving.register_keras_serializable("tests")
class NoiseOfKeras(keras.layers.Layer):
    """Noise with a seed of nobody's."""

    def call(self, inputs, training=False):
        if not training:
            return inputs
        return inputs + keras.random.normal(keras.ops.shape(inputs))


@keras.saving.register_keras_serializable("tests")
class NoiseOfTorch(keras.layers.Layer):
    """Noise and dropout by functions of PyTorch."""

    def call(self, inputs, training=False):
        if not training:
            return inputs
        import torch

        noisy = inputs + torch.randn_like(inputs) + torch.rand(1)
        return torch.nn.functional.dropout(noisy, 0.3)


def toy(*noise):
    inputs = keras.Input((5,))
    x = keras.layers.Dense(8, activation="relu")(inputs)
    for layer in noise:
        x = layer(x)
    return keras.Model(inputs, keras.layers.Dense(3)(x))


def gaussian_noise():
    return toy(
        keras.layers.GaussianNoise(0.5),
        keras.layers.Dropout(0.3),
        keras.layers.AlphaDropout(0.2),
    )


def noise_of_keras():
    return toy(NoiseOfKeras(), keras.layers.GaussianNoise(0.5), NoiseOfKeras())


def noise_of_torch():
    return toy(keras.layers.Dropout(0.3), NoiseOfTorch(), NoiseOfKeras())


def recurrent():
    """Which keeps its dropout for all times of a step."""
    inputs = keras.Input((4, 5))
    x = keras.layers.GRU(6, dropout=0.3, recurrent_dropout=0.3)(inputs)
    return keras.Model(inputs, keras.layers.Dense(3)(x))


def bert():
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=20,
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=16,
        max_sequence_length=6,
        dropout=0.2,
    )
    x = keras.layers.Dropout(0.2)(backbone.output["pooled_output"])
    return keras.Model(backbone.input, keras.layers.Dense(3)(x))


def deep_lab():
    return DeepLabV3Plus("mobilenet_v2", (32, 32, 1), 3)


def data_of(network):
    """Inputs and labels of a network's shapes."""
    generator = np.random.default_rng(0)

    def values(tensor):
        shape = (SAMPLES, *(size or 6 for size in tensor.shape[1:]))
        if "int" in tensor.dtype:
            # Also the mask: nobody is masked, and 1 is a word.
            return generator.integers(1, 2, shape).astype(tensor.dtype)
        return generator.normal(size=shape).astype("float32")

    inputs = keras.tree.map_structure(values, network.input)
    shape = (SAMPLES, *network.output.shape[1:-1])
    return {"own": inputs}, generator.integers(0, 3, shape)


def distiller_of(network, **kwargs):
    distiller = CrossModalDistiller(
        network, student_modality="own", method=Supervised()
    )
    if BACKEND == "tensorflow":
        kwargs.setdefault("jit_compile", False)
    distiller.compile(
        keras.optimizers.SGD(0.1, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        **kwargs,
    )
    return distiller


def another_process(create, **kwargs):
    """What is built in a process whose generators are somewhere else."""
    keras.utils.set_random_seed(7)
    keras.random.normal((3,))
    distiller = distiller_of(create(), **kwargs)
    keras.utils.set_random_seed(8)
    return distiller


def fit(distiller, *callbacks):
    inputs, labels = data_of(distiller.student)
    distiller.fit(
        inputs,
        labels,
        batch_size=BATCH_SIZE,
        epochs=EPOCHS,
        shuffle=False,
        verbose=0,
        callbacks=list(callbacks),
    )


class KeepTheDisk(keras.callbacks.Callback):
    """Keeps what a kill in the middle of the last epoch leaves on disk."""

    def __init__(self, folder, copy):
        super().__init__()
        self.folder, self.copy = folder, copy

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        is_there = self.epoch == EPOCHS - 1 and batch >= 1
        if is_there and not self.copy.exists():
            shutil.copytree(self.folder, self.copy)


NETWORKS = {
    "gaussian_noise": (gaussian_noise, {}),
    "recurrent": (recurrent, {}),
    "bert": (bert, {}),
    # TensorFlow takes longer to trace it than for the few steps.
    "deep_lab": (deep_lab, {"run_eagerly": BACKEND == "tensorflow"}),
    # A compiled step of JAX refuses it, as Keras says.
    "noise_of_keras": (noise_of_keras, {"run_eagerly": BACKEND == "jax"}),
    "several_steps": (gaussian_noise, {"steps_per_execution": 2}),
    "noise_of_torch": (noise_of_torch, {}),
}
if BACKEND == "torch":
    del NETWORKS["several_steps"]  # Keras refuses them there.
else:
    del NETWORKS["noise_of_torch"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("create", "compile_arguments"), NETWORKS.values(), ids=NETWORKS
)
def test_a_killed_run_ends_as_an_uninterrupted_one(
    tmp_path, create, compile_arguments
):
    keras.utils.set_random_seed(0)
    whole = distiller_of(create(), **compile_arguments)
    disk = tmp_path / "disk"
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    fit(whole, backup, KeepTheDisk(tmp_path / "backup", disk))
    resumed = another_process(create, **compile_arguments)
    fit(resumed, keras.callbacks.BackupAndRestore(disk))
    assert_same_weights(resumed, whole)
    assert resumed.optimizer.iterations == whole.optimizer.iterations


@pytest.mark.slow
@pytest.mark.parametrize(
    ("create", "compile_arguments"),
    [NETWORKS["gaussian_noise"], NETWORKS["noise_of_keras"]],
    ids=["gaussian_noise", "noise_of_keras"],
)
def test_a_loaded_file_goes_on_in_the_middle_of_an_epoch(
    tmp_path, create, compile_arguments
):
    """What was evaluated on the way changes nothing."""
    whole, saved = (distiller_of(create(), **compile_arguments) for _ in "12")
    saved.set_weights(whole.get_weights())
    saved.load_own_variables(_own_variables(whole))
    inputs, labels = data_of(whole.student)

    def train(distiller, steps):
        for step in steps:
            rows = slice(step * BATCH_SIZE, (step + 1) * BATCH_SIZE)
            distiller.train_on_batch({"own": inputs["own"][rows]}, labels[rows])

    train(whole, range(STEPS))
    train(saved, [0])
    state = _own_variables(saved)
    saved.evaluate(inputs, labels, verbose=0)
    saved.predict(inputs, verbose=0)
    for name, value in _own_variables(saved).items():
        np.testing.assert_array_equal(value, state[name])
    train(saved, [1])
    saved.save(tmp_path / "saved.keras")
    another_process(create)
    resumed = keras.models.load_model(tmp_path / "saved.keras")
    resumed.evaluate(inputs, labels, verbose=0)
    train(resumed, [2])
    assert_same_weights(resumed, whole)


def _own_variables(distiller):
    store = {}
    distiller.save_own_variables(store)
    return {
        k: np.array(keras.ops.convert_to_numpy(v)) for k, v in store.items()
    }


@pytest.mark.parametrize(
    "create",
    [noise_of_keras, *[noise_of_torch] * (BACKEND == "torch")],
)
def test_a_step_draws_something_new_and_by_the_seed(create):
    def losses(seed):
        keras.utils.set_random_seed(0)
        network = create()
        keras.utils.set_random_seed(seed)
        distiller = distiller_of(network, run_eagerly=BACKEND == "jax")
        distiller.optimizer.learning_rate = 0.0
        inputs, labels = data_of(network)
        found = []
        for _ in range(4):
            distiller.reset_metrics()
            logs = distiller.train_on_batch(inputs, labels, return_dict=True)
            found.append(float(logs["loss"]))
        return found

    first = losses(1)
    assert len(set(first)) == len(first)
    assert losses(1) == first
    assert not set(losses(2)) & set(first)


def _states():
    """The states of the user's generators."""
    found = [str(random.getstate()), str(np.random.get_state())]
    if BACKEND == "torch":
        import torch

        found.append(torch.get_rng_state().tolist())
    own = keras.random.uniform((4,), seed=None) if BACKEND != "jax" else 0.0
    return [*found, np.array(keras.ops.convert_to_numpy(own)).tolist()]


@pytest.mark.slow
def test_the_users_generators_stay_as_they_are():
    """As if the network had drawn nothing, failed steps included."""
    create = gaussian_noise if BACKEND == "jax" else noise_of_keras
    networks = [create(), toy()]
    found = []
    for network in networks:
        keras.utils.set_random_seed(3)
        distiller = distiller_of(network)
        inputs, labels = data_of(network)
        distiller.fit(inputs, labels, epochs=2, verbose=0)
        distiller.train_on_batch(inputs, labels)
        found.append(_states())
    keras.utils.set_random_seed(3)
    plain = toy()
    keras.utils.set_random_seed(3)
    plain.compile("sgd", keras.losses.SparseCategoricalCrossentropy(True))
    plain.fit(inputs["own"], labels, epochs=2, verbose=0)
    found.append(_states())
    assert found[0] == found[1] == found[2]


@on_torch
def test_a_step_that_fails_puts_the_generators_back():
    class Fails(keras.layers.Layer):
        def call(self, inputs, training=False):
            if training and inputs.device.type != "meta":
                raise ArithmeticError("on purpose")
            return inputs

    distiller = distiller_of(toy(keras.layers.Dropout(0.3), Fails()))
    inputs, labels = data_of(distiller.student)
    states = _states()
    keras.utils.set_random_seed(0)
    before = _states()
    keras.utils.set_random_seed(0)
    with pytest.raises(ArithmeticError):
        distiller.train_on_batch(inputs, labels)
    assert _states() == before != states


def test_files_from_before_step_seeds_are_read():
    """They hold the state of the layers' own generators, as it is now."""
    network = toy(keras.layers.Dropout(0.3), keras.layers.GaussianNoise(0.5))
    states = [layer.seed_generator.state for layer in network.layers[2:4]]
    old = _own_variables(distiller_of(network))
    del old["step_seeds"]
    assert list(old) == ["random_state_0", "random_state_1"]
    for value, state in zip(old.values(), states, strict=True):
        np.testing.assert_array_equal(value, keras.ops.convert_to_numpy(state))
    distiller = distiller_of(toy(*map(keras.layers.Dropout, (0.3, 0.3))))
    own = _own_variables(distiller)["step_seeds"]
    distiller.load_own_variables(old)
    found = _own_variables(distiller)
    np.testing.assert_array_equal(found.pop("step_seeds"), own)
    assert all((found[name] == old[name]).all() for name in old)
