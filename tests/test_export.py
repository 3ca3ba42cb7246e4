import keras
import numpy as np
import pytest

from keras_c2kd import C2KD
from keras_c2kd.export import export_network
from keras_c2kd.export import load_exported
from keras_c2kd.export import random_inputs
from keras_c2kd.export import relative_difference
from tests.helpers.toys import FORMS
from tests.helpers.toys import VISUAL
from tests.helpers.toys import in_form
from tests.helpers.toys import toy_data
from tests.helpers.toys import toy_distiller
from tests.helpers.toys import toy_network
from tests.recipes.loading import load_recipe

pytestmark = pytest.mark.slow

BACKEND = keras.backend.backend()
ENDINGS = {
    "tensorflow": (".onnx", ".xml", ".tflite", ""),
    "torch": (".onnx", ".xml", ".pt2"),
    "jax": ("",),
}[BACKEND]
TOLERANCE = 1e-5


def trained_student(tmp_path):
    """A student after a step with its teacher, as a file loads it."""
    inputs, labels = toy_data(16)
    distiller = toy_distiller(C2KD())
    distiller.train_on_batch(inputs, labels)
    distiller.student.save(tmp_path / "student.keras")
    return keras.models.load_model(tmp_path / "student.keras")


def two_inputs():
    """Two inputs that must not be mistaken for one another, of free length."""
    inputs = {
        name: keras.Input((None,), dtype="int32", name=name)
        for name in ("tokens", "mask")
    }
    vectors = keras.layers.Embedding(9, 4)(inputs["tokens"])
    mask = keras.ops.cast(inputs["mask"], "float32")
    total = keras.ops.sum(vectors * keras.ops.expand_dims(mask, -1), axis=1)
    return keras.Model(inputs, keras.layers.Dense(3)(total))


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_student_answers_the_same_in_the_runtime(tmp_path, ending):
    student = trained_student(tmp_path)
    export_network(student, tmp_path / f"student{ending}")
    run = load_exported(tmp_path / f"student{ending}")
    for batch_size in (1, 3, 8):
        inputs = random_inputs(student, batch_size, seed=batch_size)
        assert relative_difference(student, run, inputs) < TOLERANCE


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("ending", ENDINGS)
def test_sequential_models_and_those_of_a_list_take_an_array(
    tmp_path, ending, form
):
    network = in_form(toy_network(VISUAL), form)
    network.save(tmp_path / "network.keras")
    network = keras.models.load_model(tmp_path / "network.keras")
    export_network(network, tmp_path / f"network{ending}")
    run = load_exported(tmp_path / f"network{ending}")
    for batch_size in (1, 5):
        inputs = random_inputs(network, batch_size)
        assert inputs.shape == (batch_size, 8, 8, 3)
        assert relative_difference(network, run, inputs) < TOLERANCE


@pytest.mark.parametrize("ending", ENDINGS)
def test_named_inputs_of_free_length(tmp_path, ending):
    network = two_inputs()
    export_network(network, tmp_path / f"network{ending}")
    run = load_exported(tmp_path / f"network{ending}")
    for batch_size, length in ((1, 7), (3, 5), (5, 1)):
        random = np.random.default_rng(0)
        shape = (batch_size, length)
        inputs = {
            "tokens": random.integers(0, 9, shape).astype("int32"),
            "mask": random.integers(1, 4, shape).astype("int32"),
        }
        assert relative_difference(network, run, inputs) < TOLERANCE


def test_what_a_backend_cannot_write_has_a_way_round(tmp_path):
    student = toy_distiller(C2KD()).student
    for ending in {".onnx", ".xml", ".tflite", ".pt2", ""} - set(ENDINGS):
        with pytest.raises(ValueError, match=f"BACKEND={BACKEND}.*load it"):
            export_network(student, tmp_path / f"student{ending}")
    with pytest.raises(ValueError, match=r"\.onnx, .*student\.h5"):
        export_network(student, tmp_path / "student.h5")
    with pytest.raises(ValueError, match=r"\.onnx, .*student\.h5"):
        load_exported(tmp_path / "student.h5")


def test_what_has_no_graph_is_refused(tmp_path):
    class Subclassed(keras.Model):
        def call(self, inputs):
            return inputs

    unbuilt = keras.Sequential([keras.layers.Dense(4)])
    for network in (Subclassed(), unbuilt):
        with pytest.raises(ValueError, match="functional and sequential"):
            export_network(network, tmp_path / f"network{ENDINGS[0]}")
        with pytest.raises(ValueError, match="functional and sequential"):
            random_inputs(network, 2)


def test_differences_are_shares_of_the_largest_logit():
    network = two_inputs()
    inputs = random_inputs(network, 4, free_size=6)
    assert inputs["tokens"].shape == (4, 6)
    logits = network.predict(inputs, verbose=0)
    off = logits.copy()
    off[1, 2] += 0.25 * np.abs(logits).max()
    found = relative_difference(network, lambda _: off, inputs)
    assert found == pytest.approx(0.25, rel=1e-5)
    found = relative_difference(network, lambda _: logits[:1], inputs)
    assert found == float("inf")


@pytest.mark.parametrize("form", ["functional", "sequential"])
def test_the_command_takes_the_student_of_a_distiller(tmp_path, capsys, form):
    student = toy_network(VISUAL)
    if form != "functional":
        student = in_form(student, form)
    distiller = toy_distiller(C2KD(), student=student)
    distiller.save(tmp_path / "best.keras")
    file = tmp_path / f"student{ENDINGS[-1]}"
    words = [str(tmp_path / "best.keras"), str(file), "--batch-sizes", "3"]
    assert load_recipe("export_student").main(words)
    printed = capsys.readouterr().out
    assert "is a CrossModalDistiller: taking its student 'visual'" in printed
    inputs = random_inputs(student, 2)
    run = load_exported(file)
    assert relative_difference(student, run, inputs) < TOLERANCE


def test_the_command_compares(tmp_path, capsys):
    recipe = load_recipe("export_student")
    trained_student(tmp_path)
    inputs, _ = toy_data(2)
    np.save(tmp_path / "inputs.npy", inputs["visual"])
    file = tmp_path / f"student{ENDINGS[-1]}"
    words = [str(tmp_path / "student.keras"), str(file)]
    assert recipe.main([*words, "--batch-sizes", "1", "4"])
    printed = capsys.readouterr().out
    assert "| (1, 4) |" in printed and "| (4, 4) |" in printed
    assert printed.count("equal |") == 2
    words += ["--inputs", str(tmp_path / "inputs.npy"), "--tolerance", "-1"]
    assert not recipe.main(words)
    assert "| (2, 4) |" in (printed := capsys.readouterr().out)
    assert "DIFFERENT |" in printed


def test_a_distiller_exports_its_student(tmp_path):
    """Also one that was never called, which Keras refuses."""
    ending = ENDINGS[-1]
    formats = {".pt2": "torch", "": "tf_saved_model"}
    student = toy_network(VISUAL, seed=2)
    distiller = toy_distiller(C2KD(), student=student)
    path = tmp_path / f"student{ending}"
    distiller.export(str(path), format=formats[ending], verbose=False)
    run = load_exported(path)
    inputs = toy_data(1)[0][VISUAL]
    assert relative_difference(student, run, inputs) < TOLERANCE
