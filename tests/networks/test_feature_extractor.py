import keras
import numpy as np
import pytest

from keras_c2kd.networks.feature_extractor import FeatureExtractor
from tests.helpers.docstrings import run_example
from tests.helpers.toys import VISUAL
from tests.helpers.toys import toy_data
from tests.helpers.toys import toy_network


@pytest.fixture(scope="module")
def task():
    """A KerasHub classifier: a backbone nested in a functional model."""
    hub = pytest.importorskip("keras_hub", reason="needs the extra `hub`")
    backbone = hub.models.ResNetBackbone(
        [64],
        [3],
        [64, 72],
        [1, 1],
        [1, 2],
        "basic_block",
        image_shape=(16, 16, 3),
    )
    return hub.models.ResNetImageClassifier(backbone, num_classes=5)


def test_example():
    run_example(FeatureExtractor, FeatureExtractor=FeatureExtractor)


def statistics_move(network, layer):
    """How far one pass moves the moving mean, from 0."""
    layer.moving_mean.assign(np.zeros(layer.moving_mean.shape))
    inputs = np.random.default_rng(0).normal(size=(4, 16, 16, 3))
    outputs = network(inputs.astype("float32"), training=True)
    return keras.ops.convert_to_numpy(layer.moving_mean).copy(), outputs


@pytest.mark.slow
@pytest.mark.parametrize("name", ["default", "P2", "layer", "path", "callable"])
def test_a_nested_backbone_runs_once(task, name):
    backbone = task.backbone
    tap, shape = {
        "default": (None, (None, 2, 2, 72)),
        "P2": (backbone.pyramid_outputs["P2"], (None, 4, 4, 64)),
        "layer": ("stack0_block0_add", (None, 4, 4, 64)),
        "path": (f"{backbone.name}/stack0_block0_add", (None, 4, 4, 64)),
        "callable": (lambda model: backbone.output, (None, 2, 2, 72)),
    }[name]
    taps = FeatureExtractor(task, {"features": tap})
    assert taps.shapes == {"logits": (None, 5), "features": shape}
    layer = backbone.get_layer("conv1_bn")
    plain, logits = statistics_move(task, layer)
    tapped, outputs = statistics_move(taps, layer)
    np.testing.assert_array_equal(tapped, plain)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(outputs["logits"]),
        keras.ops.convert_to_numpy(logits),
        atol=1e-6,
    )
    # The path finds the same tensor again.
    again = FeatureExtractor(task, taps.paths)
    assert again.shapes == taps.shapes


def test_the_default_is_the_map_before_pooling():
    network = toy_network(VISUAL)
    taps = FeatureExtractor(network, {"features": None})
    assert taps.paths == {"features": "relu_1"}
    inputs, _ = toy_data(2)
    expected = keras.Model(network.input, network.get_layer("relu_1").output)
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(taps(inputs[VISUAL])["features"]),
        keras.ops.convert_to_numpy(expected(inputs[VISUAL])),
    )


def test_sequential_and_nested_sequential_models():
    layers = keras.layers
    inner = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3, name="conv"),
            layers.Flatten(),
            layers.Dropout(0.1),
            layers.Dense(3),
        ]
    )
    outer = keras.Sequential([inner])
    outer.build((None, 8, 8, 1))
    for model in (inner, outer):
        taps = FeatureExtractor(model, {"default": None, "named": "conv"})
        assert taps.shapes["default"] == taps.shapes["named"] == (None, 6, 6, 4)


def test_a_sequential_model_of_a_dict_has_logits_but_no_taps():
    """Keras runs it layer by layer, without a graph."""
    inputs = {name: keras.Input((3,), name=name) for name in ("one", "other")}
    total = keras.layers.Add()(list(inputs.values()))
    inner = keras.Model(inputs, keras.layers.Dense(4)(total))
    model = keras.Sequential([inner, keras.layers.Dense(4)])
    batch = {name: np.ones((2, 3), "float32") for name in inputs}
    model(batch)
    taps = FeatureExtractor(model, {})
    assert taps.shapes == {"logits": (None, 4)}
    assert tuple(taps(batch)["logits"].shape) == (2, 4)
    with pytest.raises(ValueError, match="only functional and sequential"):
        FeatureExtractor(model, {"default": None})


def test_dict_inputs_and_masks_pass_through():
    hub = pytest.importorskip("keras_hub", reason="needs the extra `hub`")
    backbone = hub.models.BertBackbone(
        vocabulary_size=20,
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=8,
        max_sequence_length=6,
    )
    task = hub.models.BertTextClassifier(backbone, num_classes=3)
    taps = FeatureExtractor(
        task, {"pooled": None, "tokens": "transformer_layer_0"}
    )
    inputs = {
        "token_ids": np.ones((2, 6), "int32"),
        "segment_ids": np.zeros((2, 6), "int32"),
        "padding_mask": np.array([[1] * 6, [1] * 3 + [0] * 3], "int32"),
    }
    outputs = taps(inputs)
    assert tuple(outputs["pooled"].shape) == (2, 8)
    assert tuple(outputs["tokens"].shape) == (2, 6, 8)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(outputs["logits"]),
        keras.ops.convert_to_numpy(task(inputs)),
        atol=1e-6,
    )


def test_a_shared_layer_cannot_be_tapped():
    inputs = keras.Input((4,))
    shared = keras.layers.Dense(4, name="shared")
    outputs = keras.layers.Dense(2, name="logits")(shared(shared(inputs)))
    model = keras.Model(inputs, outputs)
    with pytest.raises(ValueError, match="exactly once.*runs 2 times"):
        FeatureExtractor(model, {"features": "shared"})


def test_subclassed_models_have_logits_but_no_taps():
    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(3)

        def call(self, inputs):
            return self.dense(inputs)

    model = Subclassed()
    with pytest.raises(ValueError, match="must be built"):
        FeatureExtractor(model, {})
    model(np.zeros((1, 2), "float32"))
    taps = FeatureExtractor(model, {})
    assert taps.shapes == {"logits": (None, 3)}
    assert tuple(taps(np.zeros((1, 2), "float32"))["logits"].shape) == (1, 3)
    with pytest.raises(ValueError, match="only functional and sequential"):
        FeatureExtractor(model, {"features": "dense"})


def test_several_outputs_and_what_is_no_model():
    inputs = keras.Input((4,))
    two = [keras.layers.Dense(2)(inputs), keras.layers.Dense(2)(inputs)]
    with pytest.raises(ValueError, match="one output, the logits"):
        FeatureExtractor(keras.Model(inputs, two), {}, "student")
    with pytest.raises(ValueError, match="`teacher` must be a keras.Model"):
        FeatureExtractor(lambda x: x, {}, "teacher")


def test_a_functional_model_with_a_call_of_its_own_has_no_taps():
    class Scaled(keras.Model):
        def call(self, inputs, training=False):
            return super().call(inputs * 100.0, training=training)

    inputs = keras.Input((6,))
    hidden = keras.layers.Dense(5, name="hidden")(inputs)
    model = Scaled(inputs, keras.layers.Dense(4)(hidden))
    assert FeatureExtractor(model, {}).shapes == {"logits": (None, 4)}
    with pytest.raises(ValueError, match="`call` of its own"):
        FeatureExtractor(model, {"features": "hidden"})
    outer = keras.Input((6,))
    around = keras.Model(outer, model(outer))
    with pytest.raises(ValueError, match="not a layer of"):
        FeatureExtractor(around, {"features": "hidden"})
