import keras
import numpy as np
import pytest

from keras_c2kd.layers import ConcatFusion
from keras_c2kd.layers import ConvolutionBlock
from keras_c2kd.layers import FiLMFusion
from tests.evaluate import evaluate
from tests.references import random_logits


def convolution(maps, kernel, bias, strides, padding):
    """Cross-correlation with zeros on both sides of each direction."""
    pads = [(0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0)]
    maps = np.pad(maps, pads)
    height, width = kernel.shape[:2]
    rows = (maps.shape[1] - height) // strides + 1
    columns = (maps.shape[2] - width) // strides + 1
    out = np.zeros((len(maps), rows, columns, kernel.shape[3]))
    for i, j in np.ndindex(rows, columns):
        patch = maps[
            :, i * strides :, j * strides :
        ][:, :height, :width]  # fmt: skip
        out[:, i, j] = np.einsum("bhwc,hwco->bo", patch, kernel)
    return out + bias


@pytest.mark.parametrize(
    ("size", "options", "padding"),
    [
        ((5, 4), {"kernel_size": 3}, (1, 1)),
        ((6, 5), {"kernel_size": 3, "strides": 2}, (1, 1)),
        ((5, 6), {"kernel_size": 1}, (0, 0)),
        ((5, 6), {"kernel_size": (2, 4), "padding": 0}, (0, 0)),
    ],
)
def test_equals_the_reference(size, options, padding):
    block = ConvolutionBlock(
        3, use_bias=True, normalize=False, negative_slope=0.1, **options
    )
    maps = random_logits(2, *size, 2)
    block.build(maps.shape)
    actual = evaluate(lambda maps: block(maps), maps)
    kernel, bias = (
        keras.ops.convert_to_numpy(w) for w in block.convolution.weights
    )
    strides = options.get("strides", 1)
    expected = convolution(maps, kernel, bias, strides, padding)
    expected = np.where(expected > 0, expected, 0.1 * expected)
    np.testing.assert_allclose(actual, expected, atol=1e-5)
    assert block.compute_output_shape(maps.shape) == actual.shape


def test_normalised_and_transposed():
    maps = random_logits(4, 3, 2, 2)
    block = ConvolutionBlock(5, transposed=True)
    block.build(maps.shape)
    actual = evaluate(lambda maps: block(maps, training=True), maps)
    assert block.compute_output_shape(maps.shape) == actual.shape
    assert actual.shape == (4, 6, 4, 5)
    np.testing.assert_allclose(actual.mean(axis=(0, 1, 2)), 0.0, atol=1e-5)
    np.testing.assert_allclose(actual.std(axis=(0, 1, 2)), 1.0, atol=1e-3)
    config = block.get_config()
    assert ConvolutionBlock.from_config(config).get_config() == config


def test_fusions_equal_their_formulas():
    x, y = random_logits(4, 3), random_logits(4, 5, seed=1)
    concat = ConcatFusion(2)
    concat.build([x.shape, y.shape])
    kernel, bias = (
        keras.ops.convert_to_numpy(w) for w in concat.classifier.weights
    )
    bias = bias + 1.0
    concat.classifier.bias.assign(bias)
    logits = evaluate(lambda x, y: concat([x, y]), x, y)
    both = np.concatenate([x, y], axis=1)
    np.testing.assert_allclose(logits, both @ kernel + bias, atol=1e-5)
    parts = evaluate(lambda x, y: concat.contributions([x, y]), x, y)
    np.testing.assert_allclose(parts[0], x @ kernel[:3] + bias / 2, atol=1e-5)
    np.testing.assert_allclose(sum(parts), logits, atol=1e-5)

    for condition_on in ("first", "second"):
        film = FiLMFusion(2, condition_on)
        film.build([x.shape, y.shape])
        logits = evaluate(lambda x, y, film=film: film([x, y]), x, y)
        given, scaled = (x, y) if condition_on == "first" else (y, x)
        weights = [keras.ops.convert_to_numpy(w) for w in film.weights]
        gamma, beta = np.split(given @ weights[0] + weights[1], 2, axis=1)
        expected = (gamma * scaled + beta) @ weights[2] + weights[3]
        np.testing.assert_allclose(logits, expected, atol=1e-5)
    with pytest.raises(ValueError, match="two feature vectors"):
        ConcatFusion(2).build([(None, 3), (None, 2, 2, 3)])
    with pytest.raises(ValueError, match="'third'"):
        FiLMFusion(2, "third")
