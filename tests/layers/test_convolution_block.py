import keras
import numpy as np
import pytest

from keras_c2kd.layers import ConcatFusion
from keras_c2kd.layers import ConvolutionBlock
from keras_c2kd.layers import FiLMFusion
from tests.helpers.evaluate import evaluate
from tests.helpers.references import random_logits


def convolution(maps, kernel, bias, strides, padding):
    """Cross-correlation with zeros on both roles of each direction."""
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


def transposed_convolution(maps, kernel, bias):
    """Kernel 4, stride 2: place `i` adds to `2 i - 1` up to `2 i + 2`."""
    count, rows, columns, _ = maps.shape
    out = np.zeros((count, 2 * rows + 2, 2 * columns + 2, kernel.shape[2]))
    for i, j in np.ndindex(rows, columns):
        for k, l in np.ndindex(4, 4):  # noqa: E741
            out[:, 2 * i + k, 2 * j + l] += maps[:, i, j] @ kernel[k, l].T
    return out[:, 1:-1, 1:-1] + bias


def moved_weights(layer, seed=0):
    """Give every trainable weight another value; the defaults hide errors."""
    random = np.random.default_rng(seed)
    for weight in layer.trainable_variables:
        noise = random.normal(0.0, 0.3, weight.shape)
        weight.assign(keras.ops.convert_to_numpy(weight) + noise)


def block_by_hand(block, maps):
    """A block in training mode, with the moments of the batch."""
    kernel, *bias = (
        keras.ops.convert_to_numpy(w).astype("float64")
        for w in block.convolution.weights
    )
    bias = bias[0] if bias else 0.0
    if block.transposed:
        maps = transposed_convolution(maps, kernel, bias)
    else:
        padding = block.padding
        padding = (
            tuple(size // 2 for size in kernel.shape[:2])
            if padding is None
            else (padding, padding)
        )
        maps = convolution(maps, kernel, bias, block.strides, padding)
    if block.normalize:
        gamma, beta = (
            keras.ops.convert_to_numpy(w).astype("float64")
            for w in (block.normalization.gamma, block.normalization.beta)
        )
        mean, variance = maps.mean((0, 1, 2)), maps.var((0, 1, 2))
        maps = gamma * (maps - mean) / np.sqrt(variance + 1e-5) + beta
    if block.negative_slope is not None:
        maps = np.where(maps > 0, maps, block.negative_slope * maps)
    return maps


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


@pytest.mark.parametrize(
    "options",
    [
        {"transposed": True, "use_bias": True},
        {"kernel_size": 3, "strides": 2, "negative_slope": 0.0},
        {"kernel_size": 1, "negative_slope": 0.1},
    ],
    ids=["transposed", "halved", "pointwise"],
)
def test_both_modes_equal_the_reference(options):
    block, maps = ConvolutionBlock(3, **options), random_logits(4, 5, 3, 2)
    block.build(maps.shape)
    moved_weights(block)
    expected = block_by_hand(block, maps)

    def training(maps):
        # The moving statistics are returned, for JAX cannot assign in here.
        with keras.StatelessScope() as scope:
            out = block(maps, training=True)
        moving = (
            block.normalization.moving_mean,
            block.normalization.moving_variance,
        )
        return out, *(scope.get_current_value(v) for v in moving)

    actual, mean, variance = evaluate(training, maps)
    np.testing.assert_allclose(actual, expected, atol=1e-4)
    assert block.compute_output_shape(maps.shape) == actual.shape

    # The statistics move by a tenth towards the batch's, biased variance.
    plain = ConvolutionBlock.from_config(
        {**block.get_config(), "normalize": False, "negative_slope": None}
    )
    plain.build(maps.shape)
    plain.convolution.set_weights(block.convolution.get_weights())
    before = block_by_hand(plain, maps)
    np.testing.assert_allclose(mean, 0.1 * before.mean((0, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(
        variance, 0.9 + 0.1 * before.var((0, 1, 2)), rtol=1e-4
    )
    # In inference mode, new statistics are 0 and 1.
    gamma, beta = block.normalization.get_weights()[:2]
    expected = gamma * before / np.sqrt(1.0 + 1e-5) + beta
    if block.negative_slope is not None:
        expected = np.maximum(expected, block.negative_slope * expected)
    actual = evaluate(lambda maps: block(maps, training=False), maps)
    np.testing.assert_allclose(actual, expected, atol=1e-4)


@pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="compares with PyTorch's own"
)
@pytest.mark.parametrize("transposed", [False, True])
def test_equals_pytorch(transposed):
    import torch

    maps = random_logits(2, 5, 7, 3).astype("float32")
    block = ConvolutionBlock(
        4,
        3,
        strides=1 if transposed else 2,
        use_bias=True,
        normalize=False,
        transposed=transposed,
    )
    block.build(maps.shape)
    moved_weights(block)
    kernel, bias = (
        torch.from_numpy(w) for w in block.convolution.get_weights()
    )
    function = torch.nn.functional.conv2d
    if transposed:
        function = torch.nn.functional.conv_transpose2d
    # PyTorch's kernels are (out, in, h, w), those of the transposed one
    # (in, out, h, w); Keras' are (h, w, in, out) and (h, w, out, in).
    expected = function(
        torch.from_numpy(maps).permute(0, 3, 1, 2),
        kernel.permute(3, 2, 0, 1),
        bias,
        stride=2,
        padding=1,
    ).permute(0, 2, 3, 1)
    actual = evaluate(lambda maps: block(maps), maps)
    np.testing.assert_allclose(actual, expected.numpy(), atol=1e-5)


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
