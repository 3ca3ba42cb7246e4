"""Teachers that read both modalities."""

from typing import Any

import keras

from keras_c2kd import losses
from keras_c2kd.layers import ConcatFusion
from keras_c2kd.losses.kinds import compares_numbers
from keras_c2kd.methods.gradient_modulation import OGM
from keras_c2kd.methods.gradient_modulation import ModulatesGradients
from keras_c2kd.methods.logit_distillation import LogitDistillation
from keras_c2kd.methods.method_options import TeacherUpdate
from keras_c2kd.networks.graph import classifier_and_input
from keras_c2kd.networks.graph import graph_ends
from keras_c2kd.selection import SelectAll
from keras_c2kd.typing import Config
from keras_c2kd.typing import Network
from keras_c2kd.typing import Tensors


def fuse(
    first: Network,
    second: Network,
    fusion: keras.layers.Layer | None = None,
    first_modality: str = "audio",
    second_modality: str = "visual",
    name: str = "multimodal_teacher",
) -> Network:
    """Join two classifiers of one modality each into one of both.

    The new network holds the two without their classifiers, layers and
    weights shared with them, and a fusion of the two vectors that entered
    the classifiers.

    Args:
        first: Functional or sequential `keras.Model` that ends in a `Dense`
            classifier on a vector.
        second: The same for the other modality.
        fusion: Layer from a list of two vectors to logits, named "fusion".
            Defaults to `ConcatFusion(number of classes)`; or
            `FiLMFusion(num_classes)`.
        first_modality: Key of the first network's input.
        second_modality: Key of the second network's input.
        name: Name of the model.

    Returns:
        A `keras.Model` from the dict `{first_modality: ..., second_modality:
        ...}` to logits. Its layers `first_vector`, `second_vector`,
        `first_encoder`, `second_encoder` and `fusion` have these names. In a
        `CrossModalDistiller` its modality is the tuple of both keys.

    Raises:
        ValueError: If a network does not end in a classifier on a vector, or
            the class counts differ.

    Example:
    >>> def network():
    ...     return keras.Sequential([keras.Input((8,)), keras.layers.Dense(5)])
    >>> teacher = fuse(network(), network(), FiLMFusion(num_classes=5))
    >>> sorted(teacher.input)
    ['audio', 'visual']

    Reference: Huo et al., CVPR 2024, Table 7.
    """
    if first_modality == second_modality:
        raise ValueError(
            "The two modalities must have different keys. Received: "
            f"{first_modality!r} twice."
        )
    networks = {"first": first, "second": second}
    keys = {"first": first_modality, "second": second_modality}
    inputs: dict[str, Tensors] = {}
    vectors: list[keras.KerasTensor] = []
    counts: list[int] = []
    for role, network in networks.items():
        classifier, vector = classifier_and_input(network, role)
        if len(vector.shape) != 2:
            raise ValueError(
                "A fusion joins feature vectors. Received: the classifier of "
                f"{network.name!r} reads {tuple(vector.shape)}. Pool before "
                "the classifier."
            )
        counts.append(classifier.kernel.shape[-1])
        inputs[keys[role]] = _new_input(network, keys[role])
        own = graph_ends(network)[0]
        encoder = keras.Model(own, vector, name=f"{role}_encoder")
        mark = keras.layers.Identity(name=f"{role}_vector")
        vectors.append(mark(encoder(inputs[keys[role]])))
    if len(set(counts)) > 1:
        raise ValueError(
            "Both networks must have equally many classes. Received: "
            f"{counts[0]} and {counts[1]}"
        )
    if fusion is None:
        fusion = ConcatFusion(counts[0])
    fusion.name = "fusion"
    return keras.Model(inputs, fusion(vectors), name=name)


def _new_input(network: Network, key: str) -> Tensors:
    """Return an input of the network's form, named by its key."""
    tensors = graph_ends(network)[0]
    if isinstance(tensors, dict):
        return {
            name: keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=name)
            for name, tensor in tensors.items()
        }
    return keras.Input(tensors.shape[1:], dtype=tensors.dtype, name=key)


@keras.saving.register_keras_serializable("keras_c2kd")
class MultimodalTeacher(ModulatesGradients, LogitDistillation):
    """The student learns from a teacher of both modalities, which learns too.

    `L = H(f_S, y) + H(f_T, y) + w_d D(f_T, f_S)`, the target of the divergence
    held constant. `fuse` builds the teacher from two pre-trained networks;
    its modality in the distiller is a tuple,
    `teacher_modality=("audio", "visual")`.

    Args:
        divergence: Loss of `keras_c2kd.losses`. Defaults to `NKDLoss()`. With a
            loss of Keras that compares numbers, such as
            `keras.losses.MeanSquaredError()`, networks may predict numbers;
            no correlation is logged then.
        modulation: `OGM`, which balances the teacher's encoders, or None
            (default). Needs a `ConcatFusion`.
        teacher_update: `"all"` (default), `"top"` or `"none"`.
        **kwargs: `warmup_steps`, `supervised_weight`, `distillation_weight`,
            `selection`, `update_frozen_statistics`, `name` and `dtype`, see
            `LogitDistillation`.

    Raises:
        ValueError: If the gradients of a fixed teacher are to be modulated.

    Example:
    >>> method = MultimodalTeacher(teacher_update="top")
    >>> method.loss_names
    ('student_supervised', 'distillation', 'teacher_supervised')

    Reference: Huo et al., CVPR 2024, Table 7 and its text: both networks are
    pre-trained and updated, the student distils by NKD.
    """

    modulated_role = "teacher"

    def __init__(
        self,
        divergence: keras.losses.Loss | None = None,
        modulation: OGM | None = None,
        teacher_update: TeacherUpdate = "all",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            # D(f_T, f_S)
            losses.NKDLoss() if divergence is None else divergence,
            teacher_update=teacher_update,
            **kwargs,
        )
        if modulation is not None and teacher_update == "none":
            raise ValueError(
                "`modulation` changes the teacher's gradients, and a fixed "
                'teacher has none. Received: teacher_update="none".'
            )
        self.modulation = modulation
        if modulation is not None:
            self.teacher_features = modulation.taps

    # Properties in place of the base's attributes: `selection` may change.
    @property
    def needs_logits(self) -> bool:  # type: ignore[override]
        """Whether divergence, selection or modulation compares classes."""
        return (
            self.modulation is not None
            or type(self.selection) is not SelectAll
            or not compares_numbers(self.divergence)
        )

    @property
    def diagnostic_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the figures of the selection; none without classes."""
        return super().diagnostic_names if self.needs_logits else ()

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "divergence": serialize(self.divergence),
            "modulation": serialize(self.modulation),
        }
