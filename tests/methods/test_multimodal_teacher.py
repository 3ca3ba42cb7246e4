"""Fused teachers and the modulation of their gradients."""

import keras
import numpy as np
import pytest

from keras_c2kd.layers import FiLMFusion
from keras_c2kd.methods import OGM
from keras_c2kd.methods import MultimodalTeacher
from keras_c2kd.methods import Supervised
from keras_c2kd.methods import fuse
from tests.helpers import references
from tests.helpers.references import random_labels
from tests.helpers.references import random_logits
from tests.helpers.toys import AUDIO
from tests.helpers.toys import VISUAL
from tests.helpers.toys import assert_same_weights
from tests.helpers.toys import toy_data
from tests.helpers.toys import toy_distiller
from tests.helpers.toys import toy_network


def networks(num_classes=4):
    return toy_network(AUDIO, num_classes, seed=1), toy_network(
        VISUAL, num_classes, seed=3
    )


def attached(model, **kwargs):
    modulation = OGM(**kwargs)
    modulation.attach(model)
    return modulation


def test_a_fused_network_joins_the_pooled_vectors(tmp_path):
    first, second = networks()
    for fusion in (None, FiLMFusion(4)):
        model = fuse(first, second, fusion)
        inputs, _ = toy_data(6)
        vectors = [
            keras.Model(net.input, net.get_layer("pool").output)(x)
            for net, x in ((first, inputs[AUDIO]), (second, inputs[VISUAL]))
        ]
        expected = model.get_layer("fusion")(vectors)
        actual = model(inputs)
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(actual),
            keras.ops.convert_to_numpy(expected),
            atol=1e-6,
        )
        model.save(tmp_path / "fused.keras")
        copy = keras.models.load_model(tmp_path / "fused.keras")
        assert_same_weights(copy, model)


def test_sequential_networks_are_fused():
    first = networks()[0]
    second = keras.Sequential(
        [keras.Input((5,)), keras.layers.Dense(3), keras.layers.Dense(4)],
        name="second",
    )
    model = fuse(first, second, second_modality="text")
    assert {name: x.shape[1:] for name, x in model.input.items()} == {
        AUDIO: (12, 10, 1),
        "text": (5,),
    }
    assert model.output.shape == (None, 4)
    listed = keras.Model(first.inputs, first.output, name=AUDIO)
    again = fuse(listed, second, second_modality="text")
    assert again.input[AUDIO].shape == model.input[AUDIO].shape


def test_what_cannot_be_fused():
    first, second = networks()
    with pytest.raises(ValueError, match="different keys"):
        fuse(first, second, first_modality="x", second_modality="x")
    with pytest.raises(ValueError, match="4 and 3"):
        fuse(first, toy_network(VISUAL, 3))
    dense = keras.Input((8, 8, 3))
    dense = keras.Model(dense, keras.layers.Conv2D(4, 1)(dense))
    with pytest.raises(ValueError, match="Pool before"):
        fuse(first, dense)
    wrapped = keras.Sequential([keras.Input((8, 8, 3)), second])
    with pytest.raises(ValueError, match="nested model 'visual'"):
        fuse(first, wrapped)


def factors(first, second, labels, alpha):
    """The definition, with the `if` of the authors' code."""
    sums = [
        references.softmax(out)[np.arange(len(labels)), labels].sum()
        for out in (first, second)
    ]
    ratio = sums[1] / sums[0]
    if ratio > 1:
        return 1.0, 1 - np.tanh(alpha * ratio)
    return 1 - np.tanh(alpha / ratio), 1.0


@pytest.mark.slow
@pytest.mark.parametrize("favoured", [0, 1, None])
@pytest.mark.parametrize("form", ["integers", "column", "one-hot"])
def test_factors(favoured, form):
    model = fuse(*networks())
    modulation = attached(model, alpha=0.3)
    x, y = random_logits(5, 12), random_logits(5, 12, seed=1)
    labels = random_labels(5, num_classes=4)
    fusion = model.get_layer("fusion")
    kernel, bias = (
        keras.ops.convert_to_numpy(w).copy() for w in fusion.weights
    )
    bias = bias + np.arange(4)
    if favoured is None:
        y, kernel[12:] = x, kernel[:12]
    fusion.set_weights([kernel, bias])
    contributions = [
        x @ kernel[:12] + bias / 2,
        y @ kernel[12:] + bias / 2,
    ]
    if favoured == 0:
        x, y = y, x
        contributions = [
            x @ kernel[:12] + bias / 2,
            y @ kernel[12:] + bias / 2,
        ]
    given = {
        "integers": labels,
        "column": labels[:, None],
        "one-hot": references.one_hot(labels, 4).astype("float32"),
    }[form]
    outputs = {
        name: keras.ops.convert_to_tensor(v, dtype="float32")
        for name, v in (("first_vector", x), ("second_vector", y))
    }
    actual = modulation.factors(outputs, keras.ops.convert_to_tensor(given))
    expected = factors(*contributions, labels, 0.3)
    np.testing.assert_allclose([float(k) for k in actual], expected, rtol=1e-5)
    if favoured is None:
        np.testing.assert_allclose(expected, (1 - np.tanh(0.3), 1.0))


def test_kernels_of_both_encoders_and_the_window_of_steps():
    model = fuse(*networks())
    modulation = attached(model, alpha=0.3, steps=2)
    outputs = {
        "first_vector": keras.ops.convert_to_tensor(
            random_logits(5, 12).astype("float32")
        ),
        "second_vector": keras.ops.convert_to_tensor(
            random_logits(5, 12, seed=1).astype("float32")
        ),
    }
    labels = keras.ops.convert_to_tensor(random_labels(5, num_classes=4))
    variables = model.trainable_variables
    raw = [keras.ops.ones(v.shape) for v in variables]
    raw[-1] = None
    first, second = (float(k) for k in modulation.factors(outputs, labels))
    assert min(first, second) < 1 == max(first, second)
    for step in range(4):
        found = modulation.modulate(raw, variables, outputs, labels)
        assert found[-1] is None
        for variable, gradient in zip(variables[:-1], found):
            expected = 1.0
            for role, factor in (("first", first), ("second", second)):
                encoder = model.get_layer(f"{role}_encoder")
                own = {id(v) for v in encoder.variables}
                is_kernel = len(variable.shape) == 4
                if id(variable) in own and is_kernel and step < 2:
                    expected = factor
            np.testing.assert_allclose(
                keras.ops.convert_to_numpy(gradient), expected, rtol=1e-6
            )
    assert int(modulation.step) == 4


def test_the_noise_of_ogm_ge():
    model = fuse(*networks())
    labels = keras.ops.convert_to_tensor(random_labels(5, num_classes=4))
    outputs = {
        name: keras.ops.convert_to_tensor(
            random_logits(5, 12).astype("float32")
        )
        for name in ("first_vector", "second_vector")
    }
    kernel = model.get_layer("first_encoder").get_layer("conv_1").kernel
    raw = random_logits(*kernel.shape, scale=3.0).astype("float32")
    given = [keras.ops.convert_to_tensor(raw)]

    def modulate(modulation):
        found = modulation.modulate(given, [kernel], outputs, labels)
        return keras.ops.convert_to_numpy(found[0])

    calm = modulate(attached(model, alpha=0.3))
    one, other, third = (
        attached(model, alpha=0.3, noise=True, seed=seed) for seed in (5, 5, 6)
    )
    noise = modulate(one) - calm
    # 864 draws: three standard errors of mean and deviation.
    deviation = raw.std(ddof=1)
    assert abs(noise.mean()) < 3 * deviation / np.sqrt(noise.size)
    assert abs(noise.std() / deviation - 1) < 3 / np.sqrt(2 * noise.size)
    np.testing.assert_array_equal(modulate(other) - calm, noise)
    assert np.abs(modulate(one) - calm - noise).max() > 0.1
    assert np.abs(modulate(third) - calm - noise).max() > 0.1


@pytest.mark.slow
def test_one_step_with_modulation_scales_the_update():
    inputs, labels = toy_data(16)

    def updates(modulation):
        teacher = fuse(*networks())
        distiller = toy_distiller(
            MultimodalTeacher(modulation=modulation),
            teacher=teacher,
            compile={"optimizer": keras.optimizers.SGD(0.1)},
        )
        before = [w.copy() for w in teacher.get_weights()]
        distiller.train_on_batch(inputs, labels)
        after = teacher.get_weights()
        trained = {id(v) for v in teacher.trainable_variables}
        return [
            (variable, new - old)
            for variable, old, new in zip(teacher.weights, before, after)
            if id(variable) in trained
        ]

    plain, modulated = updates(None), updates(OGM(0.3))
    ratios = set()
    for (variable, one), (_, two) in zip(plain, modulated):
        if len(variable.shape) == 4:
            ratio = float((two * one).sum() / (one * one).sum())
            ratios.add(round(ratio, 3))
            np.testing.assert_allclose(two, ratio * one, atol=1e-5)
        else:
            np.testing.assert_allclose(two, one, atol=1e-6)
    assert len(ratios) == 2 and 1.0 in ratios and min(ratios) < 0.9


@pytest.mark.slow
def test_a_fused_network_is_pre_trained_and_read_by_its_modalities():
    inputs, labels = toy_data(32)
    distiller = toy_distiller(
        Supervised(modulation=OGM()),
        student=fuse(*networks()),
        student_modality=(AUDIO, VISUAL),
    )
    history = distiller.fit(inputs, labels, epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert distiller.predict(inputs, verbose=0).shape == (32, 4)
    assert distiller.get_config()["student_modality"] == (AUDIO, VISUAL)
    with pytest.raises(ValueError, match="lacks the modality \\['audio'\\]"):
        distiller.fit({VISUAL: inputs[VISUAL]}, labels, verbose=0)


@pytest.mark.slow
def test_the_student_is_evaluated_alone():
    inputs, labels = toy_data(32)
    distiller = toy_distiller(MultimodalTeacher())
    distiller.fit(inputs, labels, verbose=0)
    alone = distiller.evaluate(
        {VISUAL: inputs[VISUAL]}, labels, verbose=0, return_dict=True
    )
    both = distiller.evaluate(inputs, labels, verbose=0, return_dict=True)
    assert "teacher_accuracy" not in alone
    assert 0 <= both.pop("teacher_accuracy") <= 1
    assert alone == pytest.approx(both)
    lines = []
    distiller.summary(print_fn=lines.append)
    assert f"{AUDIO}+{VISUAL}" in lines[-1]


def test_modulation_needs_its_own_kind_of_network():
    first, second = networks()
    for student in (first, fuse(first, second, FiLMFusion(4))):
        with pytest.raises(ValueError, match="`fuse` built with a Concat"):
            attached(student)
    with pytest.raises(ValueError, match="a fixed teacher has none"):
        MultimodalTeacher(modulation=OGM(), teacher_update="none")
    with pytest.raises(ValueError, match="alpha=-1"):
        OGM(-1)
