"""DeepLabV3+ for semantic segmentation of images and depth maps."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Literal

import keras

from keras_c2kd.models.image_backbones import MOBILENET_PIXELS
from keras_c2kd.models.image_backbones import RESNET_PIXELS
from keras_c2kd.models.image_backbones import Pixels
from keras_c2kd.models.image_backbones import mobilenet_v2_backbone
from keras_c2kd.models.image_backbones import pixel_range
from keras_c2kd.models.image_backbones import resnet_backbone
from keras_c2kd.models.named_stages import named_stages
from keras_c2kd.typing import Network
from keras_c2kd.typing import Shape
from keras_c2kd.utils.argument_checks import check_num_classes

# Dilation rates of the pyramid at output stride 16.
_RATES = (6, 12, 18)


def DeepLabV3Plus(
    backbone: Literal["resnet18", "mobilenet_v2"],
    input_shape: Sequence[int],
    num_classes: int,
    weights: str | None = None,
    output_stride: Literal[8, 16] = 16,
    logits_stride: Literal[1, 4] = 1,
    dropout: float = 0.1,
    pixels: Pixels | None = None,
    name: str = "deeplab_v3_plus",
) -> Network:
    """DeepLabV3+: a dilated backbone, a pyramid of rates, a decoder.

    The last map of the backbone, at 1/16 of the images' size, goes through a
    1x1 convolution, three 3x3 convolutions with dilation rates 6, 12 and 18
    and a mean over the image; the five are joined by a 1x1 convolution. The
    result is resized to the low-level map at 1/4 (projected to 48 channels);
    two 3x3 convolutions refine both together, and a 1x1 convolution gives the
    logits. All are of 256 channels, with batch normalisation and ReLU.
    Parameters with 40 classes: 16,613,064 (ResNet-18) and 5,820,936
    (MobileNetV2), moving statistics aside.

    Layers to tap: `stage_1` to `stage_4`, the backbone's maps at 1/4, 1/8,
    1/16 and again 1/16; `aspp`, the pyramid's map at 1/16, for methods that
    compare each position with every other; `low_level`, the projected map at
    1/4; `pre_classifier`, the refined map at 1/4, which the classifier
    `logits` reads. A map at stride s has `ceil(size / s)` positions, for
    odd sizes too.

    Args:
        backbone: `"resnet18"` or `"mobilenet_v2"`.
        input_shape: `(height, width, channels)`, of known sizes of at least
            32; 3 channels of a colour image, 1 of a depth map, or others.
        num_classes: Integer, at least 2.
        weights: Of the backbone: `None` (default) for random weights, or what
            `models.ResNet18` and `models.MobileNetV2` take, such as
            `"resnet_18_imagenet"` and `"imagenet"`. For other than 3 channels,
            the mean of the first kernel over its channels is repeated and
            scaled, as there.
        output_stride: `16` (default), or `8`: a backbone whose last two maps
            are at 1/8, and doubled rates; 2.1 times the multiplications
            (MobileNetV2: 1.5).
        logits_stride: `1` (default): the logits are resized to the images'
            size, and labels are taken as they are. `4`: the logits are left
            at 1/4, for labels `labels[:, ::4, ::4]`; what a loss keeps of
            them takes 1/16 of the memory (a C2KD step of two ResNet-18, 4
            images of 480x480 and 40 classes: 5 to 6 GiB instead of 7 to 9).
            The weights fit a network of stride 1.
        dropout: Float, fraction of the pyramid's map that is dropped in
            training. Defaults to `0.1`, as in the authors' code.
        pixels: Mean and standard deviation by which colour images were
            normalised, as for `models.ResNet18`: with `weights`, a first layer
            brings them to the range that these want. `None` (default) changes
            nothing.
        name: Name of the model.

    Returns:
        `keras.Model` from images as they are (without `pixels` nothing is
        rescaled; see `models.ResNet18` and `models.MobileNetV2`) to logits
        `(batch, height, width, num_classes)`, or
        `(batch, ceil(height / 4), ceil(width / 4), num_classes)`.

    Raises:
        ValueError: If an argument is none of the above, or the weights are
            those of another network.
        ImportError: If KerasHub is not installed (extra `hub`), for the
            ResNet.

    Example:
    >>> network = DeepLabV3Plus("mobilenet_v2", (32, 32, 1), num_classes=5)
    >>> network.output_shape
    (None, 32, 32, 5)

    Reference: Chen et al., ECCV 2018, section 3.1 and Fig. 2; Huo et al.,
    CVPR 2024, section 4.2. Convolutions are plain ones, not separable, as in
    the paper's ResNet models. Of MobileNetV2 the 320 channels before its last
    1x1 convolution are read (Sandler et al., CVPR 2018, section 6.3). Resizing
    is bilinear with half-pixel centres, as in the other dense heads here; the
    authors' code aligns the corners. The ResNet is KerasHub's; its DeepLabV3
    is another network: one 1x1 convolution instead of the two 3x3, a backbone
    that is not dilated, and enlargement by whole factors, which odd sizes do
    not fit.
    """
    _check(backbone, input_shape, num_classes, output_stride, logits_stride)
    network = _BACKBONES[backbone](
        tuple(input_shape), weights, output_stride, pixels
    )
    maps = _pyramid(network.output, 16 // output_stride, dropout)
    maps = _decoder(network.get_layer("stage_1").output, maps)
    logits = keras.layers.Conv2D(
        num_classes, 1, data_format="channels_last", name="logits"
    )(maps)
    if logits_stride == 1:
        logits = _resized(logits, input_shape[:2], "full_size_logits")
    return keras.Model(network.input, logits, name=name)


def SmallSegmenter(
    input_shape: Sequence[int],
    num_classes: int,
    width: int = 16,
    name: str = "small_segmenter",
) -> Network:
    """Four convolutions down and three up, joined; for trials on a CPU.

    Layers to tap: `stage_1` to `stage_4`, the maps at 1/2 to 1/16 of the
    images' size on the way down; `aspp`, a 1x1 convolution on the last, in
    the place of the pyramid of `DeepLabV3Plus`; `pre_classifier`, the map at
    1/2 that the classifier `logits` reads. The logits are resized to the
    images' size.

    Args:
        input_shape: As for `DeepLabV3Plus`.
        num_classes: Integer, at least 2.
        width: Integer, channels of the first stage; the others have twice as
            many. Defaults to `16`.
        name: Name of the model.

    Returns:
        `keras.Model` to logits `(batch, height, width, num_classes)`.

    Raises:
        ValueError: As `DeepLabV3Plus`.

    Example:
    >>> network = SmallSegmenter((32, 48, 3), num_classes=5, width=2)
    >>> network.output_shape
    (None, 32, 48, 5)

    Reference: Ronneberger et al., MICCAI 2015, for the form.
    """
    _check_sizes(input_shape, num_classes)
    inputs = maps = keras.Input(input_shape)
    stages = []
    for number in (1, 2, 3, 4):
        filters = width if number == 1 else 2 * width
        stages.append(_block(maps, filters, 3, f"stage_{number}", strides=2))
        maps = stages[-1]
    maps = _block(maps, 2 * width, 1, "aspp")
    for number, skipped in zip((3, 2, 1), stages[-2::-1]):
        resized = _resized(maps, skipped.shape[1:3], f"resized_{number}")
        maps = keras.layers.Concatenate()([resized, skipped])
        name_of_map = f"joined_{number}" if number > 1 else "pre_classifier"
        maps = _block(maps, 2 * width, 3, name_of_map)
    logits = keras.layers.Conv2D(num_classes, 1, name="logits")(maps)
    logits = _resized(logits, input_shape[:2], "full_size_logits")
    return keras.Model(inputs, logits, name=name)


def _check(
    backbone: str,
    input_shape: Sequence[int],
    num_classes: int,
    output_stride: int,
    logits_stride: int,
) -> None:
    """Refuse arguments that no network can be built from."""
    for argument, value, choices in (
        ("backbone", backbone, tuple(_BACKBONES)),
        ("output_stride", output_stride, (8, 16)),
        ("logits_stride", logits_stride, (1, 4)),
    ):
        if value not in choices:
            raise ValueError(
                f"`{argument}` must be one of {choices}. "
                f"Received: {argument}={value!r}"
            )
    _check_sizes(input_shape, num_classes)


def _check_sizes(input_shape: Sequence[int], num_classes: int) -> None:
    shape = tuple(input_shape)
    if len(shape) != 3 or None in shape or min(shape[:2]) < 32:
        raise ValueError(
            "The network reads images (height, width, channels) of a known "
            "size, at least 32 by 32, channels last. Received: "
            f"input_shape={shape}. Crop, pad or resize the images to one size."
        )
    check_num_classes(num_classes)


def _resnet18(
    image_shape: Shape,
    weights: str | None,
    output_stride: int,
    pixels: Pixels | None,
) -> Network:
    network, stages = resnet_backbone(
        image_shape, [2, 2, 2, 2], "basic_block", weights
    )
    layers = {16: ("stack2_",), 32: ("stack3_",)}
    network = _dilated(network, layers, output_stride)
    first = pixel_range(pixels, RESNET_PIXELS, weights, image_shape)
    return named_stages(network, stages, first=first)


def _mobilenet_v2(
    image_shape: Shape,
    weights: str | None,
    output_stride: int,
    pixels: Pixels | None,
) -> Network:
    network, stages = mobilenet_v2_backbone(image_shape, weights)
    stages["stage_4"] = "block_16_project_BN"
    last_map = network.get_layer(stages["stage_4"]).output
    network = keras.Model(network.input, last_map)
    layers = {
        16: tuple(f"block_{number}_" for number in range(6, 13)),
        32: tuple(f"block_{number}_" for number in range(13, 17)),
    }
    network = _dilated(network, layers, output_stride)
    first = pixel_range(pixels, MOBILENET_PIXELS, weights, image_shape)
    return named_stages(network, stages, first=first)


_BACKBONES = {"resnet18": _resnet18, "mobilenet_v2": _mobilenet_v2}


def _dilated(
    network: Network, layers: Mapping[int, tuple[str, ...]], output_stride: int
) -> Network:
    """Return the network with dilation in place of its last strides.

    Where a stage would go beyond the output stride, what strides keeps the
    dilation of the stage before, and all behind it has twice that. Of the
    larger map, the positions that the strides would have kept hold the same
    values as before, at the borders too; the weights stay the same.

    Args:
        network: Functional `keras.Model` of 3x3 kernels, in the stages named.
        layers: Dict from a stage's stride to the prefixes of its layers.
        output_stride: Integer, the greatest stride that is left.

    Returns:
        Functional `keras.Model`; layers that do not change are shared.
    """

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        stride = next(
            (s for s, names in layers.items() if layer.name.startswith(names)),
            1,
        )
        if stride <= output_stride:
            return layer
        before = max(stride // 2 // output_stride, 1)
        config = layer.get_config()
        if isinstance(layer, keras.layers.ZeroPadding2D):
            # It pads a convolution with stride: now enough to keep the size.
            config["padding"] = before
        elif max(getattr(layer, "strides", (1,))) > 1:
            config.update(strides=1, dilation_rate=before)
        elif max(getattr(layer, "kernel_size", (1,))) > 1:
            config["dilation_rate"] = stride // output_stride
        else:
            return layer
        copy = type(layer).from_config(config)
        copy.build((None, None, None, layer.input.shape[-1]))
        copy.set_weights(layer.get_weights())
        return copy

    return keras.models.clone_model(network, clone_function=clone)


def _pyramid(
    maps: keras.KerasTensor, multiple: int, dropout: float
) -> keras.KerasTensor:
    """Atrous spatial pyramid pooling, rates times a multiple."""
    layers = keras.layers
    mean = layers.GlobalAveragePooling2D(
        data_format="channels_last", keepdims=True, name="aspp_mean"
    )(maps)
    # The image's mean is the same everywhere: nothing to interpolate.
    everywhere = layers.UpSampling2D(
        maps.shape[1:3], data_format="channels_last", name="aspp_everywhere"
    )
    rates = [multiple * rate for rate in _RATES]
    branches = [
        _block(maps, 256, 1, "aspp_point"),
        *(_block(maps, 256, 3, f"aspp_rate_{rate}", rate) for rate in rates),
        everywhere(_block(mean, 256, 1, "aspp_image")),
    ]
    maps = layers.Concatenate(name="aspp_branches")(branches)
    maps = _block(maps, 256, 1, "aspp")
    return layers.Dropout(dropout, name="aspp_dropout")(maps)


def _decoder(
    low_level: keras.KerasTensor, maps: keras.KerasTensor
) -> keras.KerasTensor:
    """Fuse the low-level map with the pyramid's, and refine both together."""
    low_level = _block(low_level, 48, 1, "low_level")
    maps = _resized(maps, low_level.shape[1:3], "aspp_resized")
    maps = keras.layers.Concatenate(name="fused")([maps, low_level])
    maps = _block(maps, 256, 3, "refined")
    return _block(maps, 256, 3, "pre_classifier")


def _block(
    maps: keras.KerasTensor,
    filters: int,
    kernel_size: int,
    name: str,
    rate: int = 1,
    strides: int = 1,
) -> keras.KerasTensor:
    """Convolution, batch normalisation and the ReLU that has the name."""
    maps = keras.layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding="same",
        dilation_rate=rate,
        use_bias=False,
        kernel_initializer="he_normal",
        data_format="channels_last",
        name=f"{name}_conv",
    )(maps)
    # Keras' own layer: a saved student loads without this package.
    maps = keras.layers.BatchNormalization(
        epsilon=1e-5, momentum=0.9, name=f"{name}_bn"
    )(maps)
    return keras.layers.ReLU(name=name)(maps)


def _resized(
    maps: keras.KerasTensor, size: Sequence[int], name: str
) -> keras.KerasTensor:
    # Keras' Resizing layer, where `training` is not given, puts all layers
    # behind it into training mode: a plain `student(images)` would be wrong.
    maps = keras.ops.image.resize(
        maps, size, interpolation="bilinear", data_format="channels_last"
    )
    return keras.layers.Identity(name=name)(maps)
