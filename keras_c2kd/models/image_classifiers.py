"""ResNet and MobileNetV2 for images, frames and spectrograms."""

from collections.abc import Mapping
from collections.abc import Sequence

import keras

from keras_c2kd.models.image_backbones import MOBILENET_PIXELS
from keras_c2kd.models.image_backbones import RESNET_PIXELS
from keras_c2kd.models.image_backbones import Pixels
from keras_c2kd.models.image_backbones import mobilenet_v2_backbone
from keras_c2kd.models.image_backbones import pixel_range
from keras_c2kd.models.image_backbones import resnet_backbone
from keras_c2kd.models.named_stages import fold_frames
from keras_c2kd.models.named_stages import named_stages
from keras_c2kd.models.named_stages import unfold_frames
from keras_c2kd.typing import Network
from keras_c2kd.typing import Shape
from keras_c2kd.utils.argument_checks import check_num_classes


def SmallConvNet(
    input_shape: Sequence[int | None],
    num_classes: int,
    width: int = 16,
    name: str = "small_conv_net",
) -> Network:
    """Four convolutions, each with stride 2; for trials on a CPU.

    Layers to tap as of `ResNet18`: `stage_1` to `stage_4`, the maps at 1/2 to
    1/16 of the input's size, `pool` and `logits`.

    Args:
        input_shape: As for `ResNet18`.
        num_classes: Integer, at least 2.
        width: Integer, channels of the first two stages; the last two have
            twice as many. Defaults to `16`.
        name: Name of the model.

    Returns:
        `keras.Model` to logits `(batch, num_classes)`.

    Raises:
        ValueError: As `ResNet18`.

    Example:
    >>> network = SmallConvNet((32, 32, 3), num_classes=5, width=2)
    >>> network.output_shape
    (None, 5)
    >>> network.get_layer("stage_3").output.shape
    (None, 4, 4, 4)
    """
    inputs = maps = keras.Input(_image_shape(input_shape))
    for number, factor in enumerate((1, 1, 2, 2)):
        maps = keras.layers.Conv2D(
            factor * width, 3, strides=2, padding="same", use_bias=False
        )(maps)
        # A trial has few steps: the default 0.99 would lag behind.
        maps = keras.layers.BatchNormalization(momentum=0.9)(maps)
        maps = keras.layers.ReLU(name=f"activation_{number + 1}")(maps)
    network = keras.Model(inputs, maps)
    stages = {
        f"stage_{number}": f"activation_{number}" for number in (1, 2, 3, 4)
    }
    return _classifier(network, stages, input_shape, num_classes, name)


def ResNet18(
    input_shape: Sequence[int | None],
    num_classes: int,
    weights: str | None = None,
    pixels: Pixels | None = None,
    name: str = "resnet18",
) -> Network:
    """ResNet-18: four stages of two basic blocks; 64 to 512 channels.

    The network is KerasHub's, which has the parameters of torchvision's:
    11,689,512 with 1000 classes. Layers to tap: `stage_1` to `stage_4`, the
    maps at 1/4 to 1/32 of the input's size; `pool`, the vector that the
    classifier `logits` reads.

    Args:
        input_shape: `(height, width, channels)` of images or spectrograms, or
            `(frames, height, width, channels)`: each frame runs through the
            same layers, and the last maps are averaged over frames and
            positions. Sizes may be None if all that is asked of the network
            works without (most methods need them).
        num_classes: Integer, at least 2.
        weights: `None` (default) for random weights, as in the paper's
            audio-visual experiments; or what KerasHub's `from_preset` takes,
            such as `"resnet_18_imagenet"` (a download) or a folder. The
            classifier is new in any case. For other than 3 channels, the mean
            of the first kernel over its channels is repeated and scaled, so
            that a grey image gives what it gave in colour.
        pixels: Mean and standard deviation, three floats each, by which pixels
            of 0 to 1 were normalised, as `ImageReader` does it. With
            `weights`, a first layer then brings them to the range that these
            want. `None` (default) changes nothing.
        name: Name of the model.

    Returns:
        `keras.Model` from inputs as they are (without `pixels` nothing is
        rescaled; ImageNet's weights want `(x / 255 - mean) / std`) to logits
        `(batch, num_classes)`.

    Raises:
        ValueError: If the shape has neither 3 nor 4 axes, the weights are
            those of another network, or `pixels` are given for other than 3
            channels.
        ImportError: If KerasHub is not installed (extra `hub`).

    Example:
    >>> network = ResNet18((64, 64, 1), num_classes=5)
    >>> network.output_shape
    (None, 5)
    >>> network.get_layer("stage_3").output.shape
    (None, 4, 4, 256)

    Reference: He et al., CVPR 2016; Huo et al., CVPR 2024, section 4.1.
    """
    blocks = [2, 2, 2, 2]
    return _resnet(
        input_shape, num_classes, weights, pixels, name, blocks, "basic_block"
    )


def ResNet50(
    input_shape: Sequence[int | None],
    num_classes: int,
    weights: str | None = None,
    pixels: Pixels | None = None,
    name: str = "resnet50",
) -> Network:
    """ResNet-50: four stages of bottleneck blocks; 256 to 2048 channels.

    25,557,032 parameters with 1000 classes, as torchvision's (the stride is
    in the 3x3 convolution). All else as `ResNet18`; the authors' code calls a
    ResNet-34 by this name.

    Args:
        input_shape: As for `ResNet18`.
        num_classes: Integer, at least 2.
        weights: As for `ResNet18`, such as `"resnet_50_imagenet"`.
        pixels: As for `ResNet18`.
        name: Name of the model.

    Returns:
        `keras.Model` to logits `(batch, num_classes)`.

    Raises:
        ValueError: As `ResNet18`.
        ImportError: As `ResNet18`.

    Example:
    >>> network = ResNet50((64, 64, 3), num_classes=5)
    >>> network.get_layer("stage_4").output.shape
    (None, 2, 2, 2048)

    Reference: He et al., CVPR 2016.
    """
    blocks = [3, 4, 6, 3]
    return _resnet(
        input_shape,
        num_classes,
        weights,
        pixels,
        name,
        blocks,
        "bottleneck_block",
    )


def MobileNetV2(
    input_shape: Sequence[int | None],
    num_classes: int,
    weights: str | None = None,
    pixels: Pixels | None = None,
    name: str = "mobilenet_v2",
) -> Network:
    """MobileNetV2 of width 1: 3,504,872 trainable parameters with 1000 classes.

    The network is that of `keras.applications`; KerasHub's is another one in
    its last block. Layers to tap: `stage_1` to `stage_4`, the maps at 1/4 (24
    channels), 1/8 (32), 1/16 (96) and 1/32 (1280) of the input's size; `pool`
    and `logits`.

    Args:
        input_shape: As for `ResNet18`; sizes of at least 32.
        num_classes: Integer, at least 2.
        weights: `None` (default) for random weights, `"imagenet"` (a
            download), or the path of a file of the weights without the top.
            Other than 3 channels as for `ResNet18`.
        pixels: As for `ResNet18`.
        name: Name of the model.

    Returns:
        `keras.Model` from inputs as they are (without `pixels` nothing is
        rescaled; ImageNet's weights want `x / 127.5 - 1`) to logits
        `(batch, num_classes)`.

    Raises:
        ValueError: As `ResNet18`.

    Example:
    >>> network = MobileNetV2((64, 64, 3), num_classes=5)
    >>> network.get_layer("stage_2").output.shape
    (None, 8, 8, 32)

    Reference: Sandler et al., CVPR 2018; Huo et al., CVPR 2024, section 4.1.
    """
    shape = _image_shape(input_shape)
    network, stages = mobilenet_v2_backbone(shape, weights)
    first = pixel_range(pixels, MOBILENET_PIXELS, weights, shape)
    return _classifier(network, stages, input_shape, num_classes, name, first)


def _resnet(
    input_shape: Sequence[int | None],
    num_classes: int,
    weights: str | None,
    pixels: Pixels | None,
    name: str,
    blocks: list[int],
    block_type: str,
) -> Network:
    shape = _image_shape(input_shape)
    network, stages = resnet_backbone(shape, blocks, block_type, weights)
    first = pixel_range(pixels, RESNET_PIXELS, weights, shape)
    return _classifier(network, stages, input_shape, num_classes, name, first)


def _image_shape(input_shape: Sequence[int | None]) -> Shape:
    """Return the shape of one image."""
    shape = tuple(input_shape)
    if len(shape) not in (3, 4) or shape[-1] is None:
        raise ValueError(
            "The network reads images (height, width, channels) or frames "
            "(frames, height, width, channels), channels last. Received: "
            f"input_shape={shape}"
        )
    return shape[-3:]


def _classifier(
    network: Network,
    stages: Mapping[str, str],
    input_shape: Sequence[int | None],
    num_classes: int,
    name: str,
    first: keras.layers.Layer | None = None,
) -> Network:
    """Name the stages, and put pooling and a classifier behind."""
    check_num_classes(num_classes)
    layers = keras.layers
    if len(input_shape) == 3:
        network = named_stages(network, stages, first=first)
        inputs, maps = network.input, network.output
        vector = layers.GlobalAveragePooling2D(name="pool")(maps)
    else:
        frames = input_shape[0]
        network = named_stages(network, stages, frames, first=first)
        inputs = keras.Input(input_shape)
        maps = unfold_frames(network(fold_frames(inputs)), frames)
        vector = layers.GlobalAveragePooling3D(name="pool")(maps)
    logits = layers.Dense(num_classes, name="logits")(vector)
    return keras.Model(inputs, logits, name=name)
