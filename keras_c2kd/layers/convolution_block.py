"""Convolution, batch normalisation, activation: the unit of all adaptors."""

from typing import Any

import keras

from keras_c2kd.layers.batch_normalization import BatchNormalization
from keras_c2kd.typing import Config
from keras_c2kd.typing import Shape
from keras_c2kd.typing import Tensor


@keras.saving.register_keras_serializable("keras_c2kd")
class ConvolutionBlock(keras.layers.Layer):
    """`activation(BN(Conv(maps)))` with PyTorch's alignment of the padding.

    Padding is symmetric: a 3x3 kernel pads one position at each end, whatever
    the stride. Keras' `padding="same"` pads the end alone with a stride of 2.

    Args:
        filters: Integer, number of output channels.
        kernel_size: Integer or pair of integers. Defaults to `1`.
        strides: Integer. Defaults to `1`.
        padding: Integer, positions that are padded at each end. Defaults to
            half the kernel, which keeps the size with a stride of 1.
        use_bias: Whether the convolution has a bias. Defaults to `False`.
        normalize: Whether there is batch normalisation. Defaults to `True`.
        negative_slope: Float, slope of the activation below 0 (0.0 is ReLU),
            or None (default) for no activation.
        transposed: Whether to double the size with a transposed convolution,
            kernel 4 and stride 2, instead. Defaults to `False`.
        kernel_initializer: As in Keras. Defaults to He-normal, fan-out.
        **kwargs: As for every Keras layer.

    Call arguments:
        maps: Float tensor `(batch, height, width, channels)`.
        training: Boolean, for the batch normalisation.

    Example:
    >>> block = ConvolutionBlock(8, kernel_size=3, strides=2)
    >>> tuple(block(ops.ones((2, 8, 8, 3))).shape)
    (2, 4, 4, 8)
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int] = 1,
        strides: int = 1,
        padding: int | None = None,
        use_bias: bool = False,
        normalize: bool = True,
        negative_slope: float | None = None,
        transposed: bool = False,
        kernel_initializer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(kernel_size, int):
            kernel_size = (kernel_size, kernel_size)
        self.filters = filters
        self.kernel_size = (4, 4) if transposed else tuple(kernel_size)
        self.strides = strides
        self.padding = padding
        self.use_bias = use_bias
        self.normalize = normalize
        self.negative_slope = negative_slope
        self.transposed = transposed
        if kernel_initializer is None:
            kernel_initializer = keras.initializers.VarianceScaling(
                scale=2.0, mode="fan_out", distribution="untruncated_normal"
            )
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, maps_shape: Shape) -> None:
        """Create the weights for maps of the given shape."""
        common = {
            "use_bias": self.use_bias,
            "kernel_initializer": self.kernel_initializer,
            "data_format": "channels_last",
            "dtype": self.dtype_policy,
            "name": "convolution",
        }
        if self.transposed:
            self.pad = None
            self.convolution = keras.layers.Conv2DTranspose(
                self.filters, 4, strides=2, padding="same", **common
            )
        else:
            self.pad = keras.layers.ZeroPadding2D(
                self._pad_sizes(),
                data_format="channels_last",
                dtype=self.dtype_policy,
            )
            maps_shape = self.pad.compute_output_shape(maps_shape)
            self.convolution = keras.layers.Conv2D(
                self.filters, self.kernel_size, strides=self.strides, **common
            )
        self.convolution.build(maps_shape)
        self.normalization = None
        if self.normalize:
            self.normalization = BatchNormalization(
                dtype=self.dtype_policy, name="normalization"
            )
            self.normalization.build((None, None, None, self.filters))
        self.built = True

    def call(self, maps: Tensor, training: bool = False) -> Tensor:
        """Return maps with `filters` channels."""
        if self.pad is not None:
            maps = self.pad(maps)
        maps = self.convolution(maps)
        if self.normalization is not None:
            maps = self.normalization(maps, training=training)
        if self.negative_slope is not None:
            maps = keras.ops.leaky_relu(maps, self.negative_slope)
        return maps

    def compute_output_shape(self, maps_shape: Shape) -> Shape:
        """Return the shape of the output, as the convolution gives it."""
        if self.transposed:
            grown = [size and 2 * size for size in maps_shape[1:3]]
            return (maps_shape[0], *grown, self.filters)
        shrunk = [
            size and (size + 2 * pad - kernel) // self.strides + 1
            for size, pad, kernel in zip(
                maps_shape[1:3], self._pad_sizes(), self.kernel_size
            )
        ]
        return (maps_shape[0], *shrunk, self.filters)

    def _pad_sizes(self) -> tuple[int, int]:
        """Return how many positions are padded at each end, by direction."""
        if self.padding is not None:
            return (self.padding, self.padding)
        height, width = self.kernel_size
        return (height // 2, width // 2)

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "use_bias": self.use_bias,
            "normalize": self.normalize,
            "negative_slope": self.negative_slope,
            "transposed": self.transposed,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
        }
