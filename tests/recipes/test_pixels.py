"""Weights that others have trained see the pixels that they want."""

import dataclasses

import keras
import numpy as np
import pytest

from keras_c2kd.data.modality_readers import IMAGENET_PIXELS
from keras_c2kd.models.image_backbones import RESNET_PIXELS
from tests.recipes.loading import load_recipe

pytestmark = pytest.mark.one_backend


@pytest.fixture(scope="module")
def mobile_weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("mobile") / "mobile.weights.h5"
    keras.applications.MobileNetV2(
        input_shape=(224, 224, 3), include_top=False, weights=None
    ).save_weights(path)
    return str(path)


def test_readers_give_the_pixels_that_resnets_weights_want():
    assert RESNET_PIXELS == IMAGENET_PIXELS


def range_layers(network):
    return [
        layer
        for layer in network._flatten_layers()
        if layer.name == "pixel_range"
    ]


@pytest.mark.parametrize(
    ("name", "modality", "shape", "other"),
    [
        ("crema_d", "visual", (32, 32, 3), "audio"),
        ("ave", "visual", (2, 32, 32, 3), "audio"),
        ("vggsound", "visual", (2, 32, 32, 3), "audio"),
        ("nyu_depth_v2", "rgb", (32, 32, 3), "depth"),
        ("rgbd_scenes", "rgb", (32, 32, 3), "depth"),
    ],
)
def test_a_white_pixel_of_a_recipe_is_1_for_mobilenet(
    mobile_weights, name, modality, shape, other
):
    recipe = load_recipe(name).RECIPE
    settings = dataclasses.replace(
        recipe.settings, mobilenet_weights=mobile_weights
    )
    network = recipe.networks[modality]["mobilenet_v2"](shape, 3, settings)
    (layer,) = range_layers(network)
    mean, deviation = np.array(IMAGENET_PIXELS)
    pixels = (np.array([[1.0] * 3, [0.0] * 3]) - mean) / deviation
    pixels = pixels.astype("float32").reshape((1, 1, 2, 3))
    seen = keras.ops.convert_to_numpy(layer(pixels))[0, 0]
    np.testing.assert_allclose(seen, [[1.0] * 3, [-1.0] * 3], atol=1e-5)
    # Sound and depth have no range of pixels.
    network = recipe.networks[other]["mobilenet_v2"]((32, 32, 1), 3, settings)
    assert not range_layers(network)


def test_crisis_mmd_has_the_pixels_of_mobilenet(mobile_weights):
    """They are of -1 to 1 already."""
    recipe = load_recipe("crisis_mmd").RECIPE
    settings = dataclasses.replace(
        recipe.settings, mobilenet_weights=mobile_weights
    )
    build = recipe.networks["image"]["mobilenet_v2"]
    assert not range_layers(build((32, 32, 3), 3, settings))
