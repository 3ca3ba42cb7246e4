"""Every method takes a step with what the recipes' networks give."""

import dataclasses
import functools

import keras
import keras_hub
import numpy as np
import pytest

from keras_c2kd import CrossModalDistiller
from keras_c2kd.comparison import RunContext
from keras_c2kd.comparison.candidates import BOTH
from keras_c2kd.comparison.candidates import OWN
from keras_c2kd.comparison.candidates import candidates_of
from keras_c2kd.data.paired_dataset import SECOND_VIEW
from keras_c2kd.methods import fuse
from tests.recipes.loading import load_recipe

# Which layer has which size is the same with every backend, and this one
# compiles nothing.
pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="run once, with PyTorch"
)

CLASSES, SAMPLES, TOKENS = 3, 4, 6
STAGES = ("stage_1", "stage_2", "stage_3", "stage_4")
# Some methods need to know the size of a map, or of an input.
OF_KNOWN_SIZES = ("fitnet", "review_kd", "shake", "cirkd", "dlb", "uskd")


def texts():
    random = np.random.default_rng(0)
    mask = np.arange(TOKENS) < np.array([[TOKENS], [4], [3], [2]])
    return {
        "token_ids": random.integers(0, 9, (SAMPLES, TOKENS)).astype("int32"),
        "segment_ids": np.zeros((SAMPLES, TOKENS), "int32"),
        "padding_mask": mask.astype("int32"),
    }


def pictures(*shape):
    random = np.random.default_rng(0)
    return random.normal(size=(SAMPLES, *shape)).astype("float32")


def inputs_of(recipe):
    if "text" in recipe.modalities:
        return {"image": pictures(32, 32, 3), "text": texts()}
    # Odd sizes, as spectrograms have.
    return {"visual": pictures(2, 32, 32, 3), "audio": pictures(65, 47, 1)}


def step(recipe, settings, networks, method, student):
    """Take one step of training, and return its losses."""
    inputs, teacher = inputs_of(recipe), recipe.other(student)
    built = {
        modality: recipe.networks[modality][name](
            keras.tree.map_structure(lambda x: x.shape[1:], inputs[modality]),
            CLASSES,
            settings,
        )
        for modality, name in networks.items()
    }
    row = candidates_of(recipe.methods)[method]
    sides = {"teacher": built[teacher], "teacher_modality": teacher}
    if row.teacher == BOTH:
        fusion = None if row.fusion is None else row.fusion(CLASSES)
        sides["teacher_modality"] = (student, teacher)
        sides["teacher"] = fuse(
            keras.models.clone_model(built[student]),
            built[teacher],
            fusion=fusion,
            first_modality=student,
            second_modality=teacher,
        )
    elif row.teacher == OWN:
        copy = keras.models.clone_model(built[student])
        sides = {"teacher": copy, "teacher_modality": student}
    elif row.teacher is None:
        sides = {}
    taps = {**row.taps(STAGES), **recipe.taps.get(method, {})}
    if not sides:
        taps.pop("teacher_features", None)
    distiller = CrossModalDistiller(
        student=built[student],
        student_modality=student,
        method=row.build(
            RunContext(student, 0, SAMPLES, warmup_steps=1, stages=STAGES)
        ),
        **sides,
        **taps,
    )
    distiller.compile(
        keras.optimizers.SGD(0.01),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    inputs[student + SECOND_VIEW] = inputs[student]
    labels = np.arange(SAMPLES) % CLASSES
    return distiller.train_on_batch(inputs, labels, return_dict=True)


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    """A small BERT."""
    folder = tmp_path_factory.mktemp("preset")
    keras_hub.models.BertBackbone(
        vocabulary_size=9,
        num_layers=4,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=16,
        max_sequence_length=12,
    ).save_to_preset(folder)
    return str(folder)


@pytest.mark.parametrize("student", ["image", "text"])
def test_crisis_mmd_has_no_method_that_cannot_run(student):
    recipe = load_recipe("crisis_mmd").RECIPE
    take = functools.partial(
        step, recipe, recipe.settings, {"image": "small", "text": "small"}
    )
    for method in recipe.methods:
        losses = take(method, student)
        assert np.isfinite(losses["loss"]), method


@pytest.mark.parametrize("method", OF_KNOWN_SIZES)
@pytest.mark.parametrize("student", ["image", "text"])
def test_methods_of_known_sizes_run_with_bert(preset, method, student):
    recipe = load_recipe("crisis_mmd").RECIPE
    settings = dataclasses.replace(recipe.settings, text_weights=preset)
    networks = {"image": "mobilenet_v2", "text": "bert_base"}
    losses = step(recipe, settings, networks, method, student)
    assert np.isfinite(losses["loss"])


@pytest.mark.parametrize("method", OF_KNOWN_SIZES)
@pytest.mark.parametrize("student", ["visual", "audio"])
def test_methods_of_known_sizes_run_with_resnet(method, student):
    recipe = load_recipe("ave").RECIPE
    networks = {"visual": "resnet18", "audio": "resnet18"}
    losses = step(recipe, recipe.settings, networks, method, student)
    assert np.isfinite(losses["loss"])
