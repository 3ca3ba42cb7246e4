"""Networks for the usual kinds of data, by name."""

from collections.abc import Callable
from typing import Any
from typing import Literal

import keras

from keras_c2kd import models

RANDOM = "random"

Build = Callable[[Any, int, Any], keras.Model]


def image_networks(pixels: Any = None) -> dict[str, Build]:
    """Return builders of networks for images, frames and spectrograms.

    Args:
        pixels: Mean and deviation, three floats each, by which the reader
            normalises pixels of 0 to 1; None (default) for spectrograms and
            depth. Networks with weights that others have trained then have a
            first layer from these to what the weights want.

    Returns:
        Dict from the name to a function `(input_shape, num_classes,
        settings)`, for `Recipe.networks`. The settings have `resnet_weights`
        and `mobilenet_weights`: `"random"`, or what the networks take as
        `weights`.
    """
    return {
        "resnet18": _with_weights(models.ResNet18, "resnet_weights", pixels),
        "resnet50": _with_weights(models.ResNet50, "resnet_weights", pixels),
        "mobilenet_v2": _with_weights(
            models.MobileNetV2, "mobilenet_weights", pixels
        ),
        "small": lambda shape, classes, settings: models.SmallConvNet(
            shape, classes
        ),
    }


def text_networks() -> dict[str, Build]:
    """Return builders of networks for the tokens of texts.

    Returns:
        Dict as `image_networks` returns it. The settings have
        `text_weights`. The networks read texts of as many tokens as the data
        have, no other length: methods need to know the size of their maps.
    """
    return {
        "bert_base": lambda shape, classes, settings: models.BertBase(
            classes,
            _weights(settings.text_weights),
            sequence_length=_number_of_tokens(shape),
        ),
        "small": lambda shape, classes, settings: models.SmallTextNet(
            classes, sequence_length=_number_of_tokens(shape)
        ),
    }


def _number_of_tokens(input_shape: Any) -> int:
    (length,) = input_shape["token_ids"]
    return length


def segmentation_networks(pixels: Any = None) -> dict[str, Build]:
    """Return builders of networks with a class a pixel.

    Args:
        pixels: As for `image_networks`.

    Returns:
        Dict as `image_networks` returns it. The settings have
        `resnet_weights` and `mobilenet_weights`, of the backbones, and
        `output_stride`.
    """
    return {
        "resnet18": _segmenter("resnet18", "resnet_weights", pixels),
        "mobilenet_v2": _segmenter("mobilenet_v2", "mobilenet_weights", pixels),
        "small": lambda shape, classes, settings: models.SmallSegmenter(
            shape, classes
        ),
    }


def _segmenter(
    backbone: Literal["resnet18", "mobilenet_v2"], setting: str, pixels: Any
) -> Build:
    return lambda shape, classes, settings: models.DeepLabV3Plus(
        backbone,
        shape,
        classes,
        weights=_weights(getattr(settings, setting)),
        output_stride=settings.output_stride,
        pixels=pixels,
    )


def _with_weights(
    network: Callable[..., keras.Model], setting: str, pixels: Any
) -> Build:
    return lambda shape, classes, settings: network(
        shape, classes, _weights(getattr(settings, setting)), pixels
    )


def _weights(given: str) -> str | None:
    return None if given == RANDOM else given
