"""The proxy head: a second classifier, which distils to the other modality."""

from typing import Any

import keras
from keras import ops

from keras_c2kd.layers.batch_normalization import BatchNormalization
from keras_c2kd.ops import as_map
from keras_c2kd.ops import global_average_pool
from keras_c2kd.typing import Config
from keras_c2kd.typing import Shape
from keras_c2kd.typing import Tensor
from keras_c2kd.utils.argument_checks import check_num_classes


@keras.saving.register_keras_serializable("keras_c2kd")
class ProxyHead(keras.layers.Layer):
    """Feature map to logits: pool, 1x1 convolution, BN, activation, dense.

    `g = Dense(activation(BN(Conv1x1(GAP(features)))))`. After global average
    pooling the map is 1x1, where a 1x1 convolution is a dense layer without
    bias. Kernel: He-normal, fan-out; classifier: Keras' default (Glorot
    uniform, bias 0). For dense prediction (`size=`) nothing is pooled: every
    position of the map gets logits, which are resized bilinearly.

    Args:
        num_classes: Integer, at least 2.
        size: Two integers, height and width of dense logits, or `None`
            (default): one vector of logits a sample.
        negative_slope: Float. `0.1` (default) is the LeakyReLU of the
            authors' code for AVE and CREMA-D; `0.0` the ReLU of the paper.
        epsilon: Float, of the batch normalisation. Defaults to `1e-5`.
        momentum: Float, of the moving statistics. Defaults to `0.9`.
        **kwargs: As for every Keras layer.

    Raises:
        ValueError: If the features are not `(batch, channels)`,
            `(batch, time, channels)`, `(batch, height, width, channels)` or
            `(batch, frames, height, width, channels)`, or if the number of
            channels is not known.

    Call arguments:
        features: Float tensor of rank 2 to 5, channels last. All axes between
            the first and the last are averaged, without what is masked.
        mask: Boolean `(batch, time)` of features `(batch, time, channels)`,
            False at padding. By default Keras' mask of the features, if any.
        training: Boolean, for the batch normalisation.

    Returns:
        Logits of shape `(batch, num_classes)`, or `(batch, *size,
        num_classes)`, in the compute dtype.

    Example:
    >>> head = ProxyHead(num_classes=5)
    >>> tuple(head(ops.ones((2, 4, 4, 8))).shape)
    (2, 5)

    Reference: Huo et al., CVPR 2024, Eq. 5. The paper says Conv-BN-ReLU on
    the backbone's output; the authors' code taps the third of four stages.
    For segmentation (section 4.2) there is neither a definition of the
    proxies nor code: 1x1 convolutions without pooling are our reading.
    Batch normalisation over a batch of one has nothing to normalise by: it
    is finite but carries no signal.
    """

    def __init__(
        self,
        num_classes: int,
        size: tuple[int, int] | None = None,
        negative_slope: float = 0.1,
        epsilon: float = 1e-5,
        momentum: float = 0.9,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        check_num_classes(num_classes)
        self.num_classes = num_classes
        self.size = None if size is None else tuple(size)
        self.negative_slope = negative_slope
        self.epsilon = epsilon
        self.momentum = momentum

    def build(self, features_shape: Shape) -> None:
        """Create the weights for features of the given shape."""
        rank, channels = len(features_shape), features_shape[-1]
        if not 2 <= rank <= 5 or channels is None:
            raise ValueError(
                "A proxy head reads a feature vector (batch, channels) or a "
                "channels-last map with 1 to 3 axes between batch and "
                "channels, and needs a known number of channels. Received: "
                f"features of shape {tuple(features_shape)}. Tap another "
                "layer with `student_features=` / `teacher_features=`."
            )
        self.adaptation = keras.layers.Dense(
            channels,
            use_bias=False,
            kernel_initializer=keras.initializers.VarianceScaling(
                scale=2.0, mode="fan_out", distribution="untruncated_normal"
            ),
            dtype=self.dtype_policy,
            name="adaptation",
        )
        self.normalization = BatchNormalization(
            epsilon=self.epsilon,
            momentum=self.momentum,
            dtype=self.dtype_policy,
            name="normalization",
        )
        self.classifier = keras.layers.Dense(
            self.num_classes, dtype=self.dtype_policy, name="classifier"
        )
        shape: Shape = (None, channels)
        if self.size is not None:
            shape = (None, None, None, channels)
        for layer in (self.adaptation, self.normalization, self.classifier):
            layer.build(shape)
        self.built = True

    def call(
        self,
        features: Tensor,
        training: bool = False,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Return the proxy's logits."""
        if self.size is None:
            features = global_average_pool(features, mask)
        else:
            features = as_map(features)
        features = self.adaptation(features)
        features = self.normalization(features, training=training)
        features = ops.leaky_relu(features, self.negative_slope)
        logits = self.classifier(features)
        if self.size is None:
            return logits
        return ops.image.resize(
            logits, self.size, "bilinear", data_format="channels_last"
        )

    def compute_mask(self, features: Tensor, mask: Any = None) -> None:
        """Return None: the logits have no padding."""

    def compute_output_shape(self, features_shape: Shape) -> Shape:
        """Return `(batch, num_classes)` or `(batch, *size, num_classes)`."""
        return (features_shape[0], *(self.size or ()), self.num_classes)

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "size": self.size,
            "negative_slope": self.negative_slope,
            "epsilon": self.epsilon,
            "momentum": self.momentum,
        }
