"""Convolutional networks without a classifier, and others' weights in them."""

from collections.abc import Sequence
from typing import TypeAlias

import keras
import numpy as np

from keras_c2kd.models.named_stages import keras_hub
from keras_c2kd.typing import Network
from keras_c2kd.typing import Shape

Pixels: TypeAlias = tuple[Sequence[float], Sequence[float]]
"""Mean and standard deviation of each channel of normalised pixels."""

# Of pixels of 0 to 1 that ImageNet's weights want.
RESNET_PIXELS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
MOBILENET_PIXELS = ((0.5,) * 3, (0.5,) * 3)


def pixel_range(
    pixels: Pixels | None,
    wanted: Pixels,
    weights: str | None,
    image_shape: Shape,
) -> keras.layers.Layer | None:
    """Return the layer from normalised pixels to what weights want.

    With pixels `x = (p - mean) / std` it gives
    `(p - wanted mean) / wanted std`.

    Args:
        pixels: Mean and standard deviation, three floats each, or None.
        wanted: The same, of the weights.
        weights: The weights, or None.
        image_shape: `(height, width, channels)`.

    Returns:
        Keras layer; None if there is nothing to change: without weights,
        without `pixels`, or if they are as wanted.

    Raises:
        ValueError: If the images have other than three channels.
    """
    if pixels is None:
        return None
    (mean, std), (wanted_mean, wanted_std) = np.array(
        [pixels, wanted], "float64"
    )
    if image_shape[-1] != 3:
        raise ValueError(
            "`pixels` are mean and standard deviation of images in colour. "
            "Received: "
            f"pixels={pixels} for images of the shape {tuple(image_shape)}"
        )
    if weights is None or np.array_equal(pixels, wanted):
        return None
    # Keras' own layer: a saved student loads without this package.
    return keras.layers.Normalization(
        axis=-1,
        mean=((wanted_mean - mean) / std).tolist(),
        variance=((wanted_std / std) ** 2).tolist(),
        name="pixel_range",
    )


def resnet_backbone(
    image_shape: Shape,
    blocks: list[int],
    block_type: str,
    weights: str | None = None,
) -> tuple[Network, dict[str, str]]:
    """KerasHub's ResNet of four stages.

    Args:
        image_shape: `(height, width, channels)`.
        blocks: List of four integers, blocks a stage.
        block_type: `"basic_block"` or `"bottleneck_block"`.
        weights: `None`, or what KerasHub's `from_preset` takes.

    Returns:
        Functional `keras.Model`, and a dict from `stage_1` to `stage_4` to
        the names of its layers.

    Raises:
        ValueError: If the weights are those of another network.
        ImportError: If KerasHub is not installed (extra `hub`).

    Reference: He et al., CVPR 2016.
    """
    backbone = keras_hub().models.ResNetBackbone
    network = backbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 128, 256, 512],
        stackwise_num_blocks=blocks,
        stackwise_num_strides=[1, 2, 2, 2],
        block_type=block_type,
        image_shape=image_shape,
        data_format="channels_last",
    )
    if weights is not None:
        _copy_weights(backbone.from_preset(weights), network)
    stages = {
        f"stage_{number + 1}": f"stack{number}_block{count - 1}_out"
        for number, count in enumerate(blocks)
    }
    return network, stages


def mobilenet_v2_backbone(
    image_shape: Shape, weights: str | None = None
) -> tuple[Network, dict[str, str]]:
    """MobileNetV2 of width 1, of `keras.applications`.

    Args:
        image_shape: `(height, width, channels)`; sizes of at least 32.
        weights: `None`, `"imagenet"`, or the path of a file of the weights
            without the top.

    Returns:
        As `resnet_backbone`.

    Raises:
        ValueError: If the weights are those of another network.

    Reference: Sandler et al., CVPR 2018.
    """

    def build(shape: Shape, weights: str | None = None) -> Network:
        return keras.applications.MobileNetV2(
            input_shape=shape, include_top=False, weights=weights
        )

    network = build(image_shape)
    if weights is not None:
        _copy_weights(build((224, 224, 3), weights), network)
    stages = {
        "stage_1": "block_2_add",
        "stage_2": "block_5_add",
        "stage_3": "block_12_add",
        "stage_4": "out_relu",
    }
    return network, stages


def _copy_weights(source: Network, target: Network) -> None:
    """Copy all weights of a network to one of other inputs, layer by layer."""
    pairs = list(zip(source.weights, target.weights))
    fits = len(source.weights) == len(target.weights) and all(
        given.shape[:2] == own.shape[:2] and given.shape[3:] == own.shape[3:]
        for given, own in pairs
    )
    if not fits:
        raise ValueError(
            "The weights must be those of the same network. Received: "
            f"{source.name!r} with {len(source.weights)} weights and "
            f"{source.count_params():,} parameters, for {target.name!r} with "
            f"{len(target.weights)} and {target.count_params():,}."
        )
    for given, own in pairs:
        value = keras.ops.convert_to_numpy(given)
        if given.shape != own.shape:
            # Only the first kernel knows the number of channels.
            channels = own.shape[2]
            value = value.mean(axis=2, keepdims=True) * value.shape[2]
            value = np.repeat(value / channels, channels, axis=2)
        own.assign(value)
