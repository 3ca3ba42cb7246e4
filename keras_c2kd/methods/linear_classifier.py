"""A network's own classifier, applied to other features."""

from keras import ops

from keras_c2kd.networks.graph import classifier_of
from keras_c2kd.ops import full_precision
from keras_c2kd.typing import Network
from keras_c2kd.typing import Tensor


class LinearClassifier:
    """The last layer of a network as a function with constant weights.

    It is a plain object, so that the layer's variables are not listed twice.

    Args:
        model: The network.
        owner: What to call it in errors.

    Attributes:
        width: Integer, number of features that the classifier reads.

    Raises:
        ValueError: As `keras_c2kd.networks.graph.classifier_of`.
    """

    def __init__(self, model: Network, owner: str) -> None:
        self._layer = classifier_of(model, owner)
        self.width: int = self._layer.kernel.shape[-2]

    def __call__(self, features: Tensor) -> Tensor:
        """Return the logits of features `(..., width)`.

        No gradient reaches the classifier; the features get theirs.
        """
        kernel = full_precision(ops.stop_gradient(self._layer.kernel))
        kernel = ops.reshape(kernel, kernel.shape[-2:])
        logits = ops.matmul(full_precision(features), kernel)
        if self._layer.bias is not None:
            bias = ops.stop_gradient(self._layer.bias)
            logits = logits + full_precision(bias)
        return logits
