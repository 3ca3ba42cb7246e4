"""On-the-fly gradient modulation of a fused network (OGM, OGM-GE)."""

import types
from typing import Any

import keras
from keras import ops

from keras_c2kd.layers import ConcatFusion
from keras_c2kd.methods.method_options import step_counter
from keras_c2kd.networks.graph import layers_within
from keras_c2kd.ops import full_precision
from keras_c2kd.typing import Config
from keras_c2kd.typing import DType
from keras_c2kd.typing import NamedTensors
from keras_c2kd.typing import Network
from keras_c2kd.typing import Outputs
from keras_c2kd.typing import Tensor
from keras_c2kd.utils.argument_checks import check_integer
from keras_c2kd.utils.argument_checks import check_number
from keras_c2kd.utils.final_arguments import FinalArguments

_LEAST_SUM = 1e-30
_MIN_STD = 1e-8


@keras.saving.register_keras_serializable("keras_c2kd")
class OGM(FinalArguments, keras.layers.Layer):
    """Slows down the encoder of the modality that dominates.

    For a network that `fuse` built with a `ConcatFusion`, with the
    contributions `out_u = W_u x_u + b / 2` of both modalities to the logits:

    - `s_u = sum_batch softmax(out_u)[label]`, `rho_second = s_second /
      s_first`, `rho_first = 1 / rho_second`
    - the dominant modality, `rho_u > 1`, gets `k_u = 1 - tanh(alpha rho_u)`,
      the other 1; at a tie the first counts as dominant
    - gradients of the convolution kernels of encoder `u` are multiplied by
      `k_u`
    - with `noise` (OGM-GE), normal noise is added to the kernels' gradients
      of both encoders; its standard deviation is that of the gradient before
      the multiplication, plus 1e-8

    It is given to a method, `MultimodalTeacher(modulation=OGM())` or
    `Supervised(modulation=OGM())`. The losses do not change.

    Args:
        alpha: Float, strength. Defaults to `0.1`; the authors' examples take
            values up to 0.3.
        noise: Whether to add the noise of OGM-GE. Defaults to `False`.
        steps: Integer, for how many training steps it is active, or None
            (default) for all. The authors take the first 51 epochs.
        seed: Integer seed of the noise, or None.
        name: Name of the layer.
        dtype: As for every Keras layer.

    Raises:
        ValueError: If `alpha`, `steps` or `seed` is negative or no number, or
            the network was not built by `fuse` with a `ConcatFusion`.

    Example:
    >>> method = MultimodalTeacher(modulation=OGM(alpha=0.3, noise=True))
    >>> method.modifies_gradients
    True

    Reference: Peng et al., CVPR 2022, Eq. 8 to 11 and 14. The authors
    modulate 4-dimensional parameters, which are the kernels of 2D
    convolutions; here the kernels of convolutions of any dimension.
    """

    taps = {"first_vector": "first_vector", "second_vector": "second_vector"}

    needs_global_batch = True

    def __init__(
        self,
        alpha: float = 0.1,
        noise: bool = False,
        steps: int | None = None,
        seed: int | None = None,
        name: str | None = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype, autocast=False)
        check_number(minimum=0, alpha=alpha)
        if steps is not None:
            check_integer(steps=steps)
        if seed is not None:
            check_integer(seed=seed)
        self.alpha = alpha
        self.noise = noise
        self.steps = steps
        self.seed = seed
        self.generator = keras.random.SeedGenerator(seed)
        self.step = step_counter(self)
        self.built = True

    def attach(self, network: Network) -> None:
        """Find the fusion and the encoders' kernels in a fused network."""
        found = {
            name: layer
            for layer in getattr(network, "layers", ())
            for name in ("fusion", "first_encoder", "second_encoder")
            if layer.name == name
        }
        fusion = found.get("fusion")
        if len(found) != 3 or not isinstance(fusion, ConcatFusion):
            kind = type(fusion).__name__ if fusion is not None else "none"
            raise ValueError(
                "OGM modulates a network that `fuse` built with a "
                "ConcatFusion: only there are the logits a sum of two "
                "contributions. Received: "
                f"{getattr(network, 'name', network)!r} with the fusion "
                f"{kind}."
            )
        # A plain object: the network's variables are not the method's.
        self._network = types.SimpleNamespace(
            fusion=fusion,
            first=_convolution_kernels(found["first_encoder"]),
            second=_convolution_kernels(found["second_encoder"]),
        )

    def factors(
        self, outputs: NamedTensors, labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return `k_first` and `k_second`, scalars.

        Args:
            outputs: Dict with `first_vector` and `second_vector`.
            labels: Integers `(batch,)` or `(batch, 1)`, or one-hot.
        """
        sums: list[Tensor] = []
        # out_u = W_u x_u + b / 2
        for logits in self._network.fusion.contributions(
            [outputs["first_vector"], outputs["second_vector"]]
        ):
            probabilities = ops.softmax(full_precision(logits), axis=-1)
            chosen = probabilities * _one_hot(labels, probabilities)
            # s_u = sum_batch softmax(out_u)[label]; not 0, by which the
            # ratio would be divided.
            sums.append(ops.maximum(ops.sum(chosen), _LEAST_SUM))
        ratio = sums[1] / sums[0]  # rho_second
        second_dominates = ratio > 1.0
        one = ops.ones_like(ratio)
        # k_u = 1 - tanh(alpha rho_u)
        first = 1.0 - ops.tanh(self.alpha / ratio)
        second = 1.0 - ops.tanh(self.alpha * ratio)
        return (
            ops.where(second_dominates, one, first),
            ops.where(second_dominates, second, one),
        )

    def modulate(
        self,
        gradients: list[Tensor | None],
        variables: list[Any],
        outputs: NamedTensors,
        labels: Tensor,
    ) -> list[Tensor | None]:
        """Return the modulated gradients, and count the step.

        Args:
            gradients: List of tensors or None.
            variables: List of variables in the same order.
            outputs: As in `factors`.
            labels: As in `factors`.
        """
        first, second = self.factors(outputs, labels)
        active = True if self.steps is None else self.step < self.steps
        modulated = []
        for gradient, variable in zip(gradients, variables):
            in_first = id(variable) in self._network.first
            if gradient is not None and (
                in_first or id(variable) in self._network.second
            ):
                factor = first if in_first else second
                # k_u times the gradient
                changed = gradient * ops.cast(factor, gradient.dtype)
                if self.noise:  # OGM-GE
                    changed = changed + self._noise_like(gradient)
                gradient = ops.where(active, changed, gradient)
            modulated.append(gradient)
        self.step.assign_add(1)
        return modulated

    def _noise_like(self, gradient: Tensor) -> Tensor:
        size = 1
        for length in gradient.shape:
            size *= length
        variance = ops.var(gradient) * (size / max(size - 1, 1))
        noise = keras.random.normal(
            gradient.shape, dtype=gradient.dtype, seed=self.generator
        )
        return noise * (ops.sqrt(variance) + _MIN_STD)

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "alpha": self.alpha,
            "noise": self.noise,
            "steps": self.steps,
            "seed": self.seed,
        }


class ModulatesGradients:
    """Lets an `OGM` change the gradients of one network, if there is one.

    A base of the methods that take `modulation`.
    """

    modulation: OGM | None
    modulated_role = "student"

    def attach(self, student: Network, teacher: Network | None) -> None:
        """Look for the encoders in the network."""
        if self.modulation is not None:
            networks = {"student": student, "teacher": teacher}
            self.modulation.attach(networks[self.modulated_role])

    @property
    def modifies_gradients(self) -> bool:
        """Whether there is a modulation."""
        return self.modulation is not None

    def modify_gradients(
        self,
        gradients: list[Tensor | None],
        variables: list[Any],
        outputs: Outputs,
        labels: Tensor,
    ) -> list[Tensor | None]:
        """Return the gradients, those of the encoders modulated."""
        if self.modulation is None:
            return gradients
        return self.modulation.modulate(
            gradients, variables, outputs[self.modulated_role], labels
        )


def _convolution_kernels(encoder: Network) -> set[int]:
    """Return the ids of the kernels of all convolutions of a model."""
    return {
        id(layer.kernel)
        for layer in [encoder, *layers_within(encoder)]
        if "Conv" in type(layer).__name__ and hasattr(layer, "kernel")
    }


def _one_hot(labels: Tensor, probabilities: Tensor) -> Tensor:
    """Return labels of any form one-hot, in the probabilities' shape."""
    if len(labels.shape) == len(probabilities.shape):
        if labels.shape[-1] == probabilities.shape[-1]:
            return ops.cast(labels, probabilities.dtype)
        labels = ops.squeeze(labels, -1)
    # A label that is no class, of an ignored or unlabelled sample, has no 1.
    classes = ops.arange(probabilities.shape[-1], dtype="int32")
    is_class = ops.expand_dims(ops.cast(labels, "int32"), -1) == classes
    return ops.cast(is_class, probabilities.dtype)
