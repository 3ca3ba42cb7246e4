"""A network for recordings of sensors over time."""

from collections.abc import Sequence

import keras

from keras_c2kd.typing import Network
from keras_c2kd.utils.argument_checks import check_integer
from keras_c2kd.utils.argument_checks import check_num_classes


def TimeSeriesNetwork(
    input_shape: Sequence[int | None],
    num_classes: int,
    widths: Sequence[int] = (64, 96, 128, 128),
    kernel_size: int = 5,
    dropout: float = 0.3,
    name: str = "time_series_network",
) -> Network:
    """Convolutions over time, each with stride 2, and their average.

    Layers to tap: `stage_1` to `stage_4` (as many as there are `widths`), the
    maps `(batch, steps, width)` at 1/2 to 1/16 of the recording's length;
    `pool`, the vector that the classifier reads, and `logits`.

    Args:
        input_shape: `(steps, channels)`; the number of steps may be None.
        num_classes: Integer, at least 2.
        widths: Channels of each stage. Defaults to `(64, 96, 128, 128)`.
        kernel_size: Integer, steps that a convolution reads. Defaults to `5`.
        dropout: Float, fraction of the vector that is left out in training.
            Defaults to `0.3`.
        name: Name of the model.

    Returns:
        `keras.Model` to logits `(batch, num_classes)`.

    Raises:
        ValueError: If the shape is another, or a number is too small.

    Example:
    >>> network = TimeSeriesNetwork((128, 6), num_classes=27)
    >>> network.output_shape
    (None, 27)
    >>> network.get_layer("stage_3").output.shape
    (None, 16, 128)
    """
    shape = tuple(input_shape)
    if len(shape) != 2 or shape[-1] is None:
        raise ValueError(
            "The network reads recordings (steps, channels). Received: "
            f"input_shape={shape}"
        )
    check_num_classes(num_classes)
    check_integer(1, kernel_size=kernel_size, number_of_widths=len(widths))
    layers = keras.layers
    inputs = maps = keras.Input(shape)
    for number, width in enumerate(widths, start=1):
        maps = layers.Conv1D(
            width, kernel_size, strides=2, padding="same", use_bias=False
        )(maps)
        # A few persons' recordings are few steps: 0.99 would lag behind.
        maps = layers.BatchNormalization(momentum=0.9)(maps)
        maps = layers.ReLU(name=f"stage_{number}")(maps)
    vector = layers.GlobalAveragePooling1D(name="pool")(maps)
    kept = layers.Dropout(dropout)(vector)
    logits = layers.Dense(num_classes, name="logits")(kept)
    return keras.Model(inputs, logits, name=name)
