"""Student and teacher as functions of one batch keyed by modality."""

from typing import Any
from typing import Literal
from typing import TypeAlias

import keras

from keras_c2kd.distiller.loss_checks import methods_of_any_loss
from keras_c2kd.methods import DistillationMethod
from keras_c2kd.networks.feature_extractor import FeatureExtractor
from keras_c2kd.networks.feature_extractor import extractor_for_method
from keras_c2kd.networks.modalities import has_modality
from keras_c2kd.networks.modalities import modality_input
from keras_c2kd.networks.network_checks import check_activation
from keras_c2kd.networks.network_checks import check_logits
from keras_c2kd.networks.network_checks import check_pair
from keras_c2kd.typing import Network
from keras_c2kd.typing import Shape
from keras_c2kd.typing import Taps
from keras_c2kd.typing import Tensors

Role: TypeAlias = Literal["student", "teacher"]


class NetworkPair:
    """The extractors of both networks, what they read, and what they give.

    It is a plain object on purpose: as layers, the networks' variables would
    be listed and saved a second time.

    Args:
        student: Built `keras.Model`.
        teacher: Built `keras.Model`, or None.
        modalities: Dict from `"student"` and `"teacher"` to modalities.
        features: Dict from the roles to the user's taps, or None.
        method: `DistillationMethod`.

    Attributes:
        extractors: Dict from the roles to `FeatureExtractor`.
        is_known: Whether the outputs of all networks are known, and fit
            together. Those of some networks are known once they see data.

    Raises:
        ValueError: If the networks cannot be trained together, or a feature
            map is not found.
    """

    def __init__(
        self,
        student: Network,
        teacher: Network | None,
        modalities: dict[Role, Any],
        features: dict[Role, Taps],
        method: DistillationMethod,
    ) -> None:
        check_pair(student, teacher, modalities["teacher"], method)
        self._networks: dict[Role, Network] = {"student": student}
        if teacher is not None:
            self._networks["teacher"] = teacher
        self._modalities = modalities
        self._needs_logits = method.needs_logits
        names: dict[Role, Any] = {
            "student": method.student_features,
            "teacher": method.teacher_features,
        }
        self.extractors: dict[Role, FeatureExtractor] = {
            role: extractor_for_method(
                network, features[role], names[role], role
            )
            for role, network in self._networks.items()
        }
        self.check()

    @property
    def shapes(self) -> dict[str, dict[str, Any]]:
        """Dict from the roles to the shapes of logits and features."""
        return {role: e.shapes for role, e in self.extractors.items()}

    @property
    def logits_shape(self) -> Shape | None:
        """Shape of the student's logits, None if it is not known yet."""
        return self.extractors["student"].shapes["logits"]

    def check(self) -> None:
        """Raise a ValueError if the logits cannot be compared."""
        self._check_logits(self.shapes)
        self.is_known = all(
            shapes["logits"] is not None for shapes in self.shapes.values()
        )

    def check_activations(self, from_logits: bool | None) -> None:
        """Raise a ValueError if a network ends in what the loss cannot use.

        Args:
            from_logits: Whether the supervised loss takes logits; None if it
                does not say.
        """
        for role, network in self._networks.items():
            check_activation(network, role, from_logits, self._needs_logits)

    def learn(self, inputs: Tensors) -> None:
        """Learn from a batch what the networks give, and check it.

        Args:
            inputs: Dict keyed by modality, or the student's input alone.
        """
        if not isinstance(inputs, dict):
            inputs = {self._modalities["student"]: inputs}
        for role, extractor in self.extractors.items():
            if self.has_input(inputs, role):
                extractor.learn_logits(self.input_of(inputs, role))
        self.check()

    def check_outputs(self, outputs: dict[str, dict[str, Any]]) -> None:
        """Raise a ValueError if logits just computed cannot be compared."""
        shapes = {
            role: {"logits": tuple(tensors["logits"].shape)}
            for role, tensors in outputs.items()
        }
        self._check_logits(shapes)

    def _check_logits(self, shapes: dict[str, dict[str, Any]]) -> None:
        check_logits(shapes, self._needs_logits, methods_of_any_loss())

    def has_input(self, inputs: Tensors, role: Role) -> bool:
        """Return whether a batch has the modality of a network."""
        return has_modality(inputs, self._modalities[role])

    def input_of(self, inputs: Tensors, role: Role) -> Tensors:
        """Return what a network reads of a batch.

        Args:
            inputs: Dict keyed by modality, or the student's input alone.
            role: `"student"` or `"teacher"`.

        Raises:
            ValueError: If the batch lacks it.
        """
        modality = self._modalities[role]
        if isinstance(inputs, dict) and modality in inputs:
            return inputs[modality]
        if self.has_input(inputs, role):
            return modality_input(inputs, modality, self._networks[role])
        if role == "student":
            if not isinstance(inputs, dict):
                return inputs
            own = getattr(self._networks[role], "input", None)
            if isinstance(own, dict) and set(own) <= set(inputs):
                return inputs
        modality = f"{role}_modality={modality!r}"
        received = f"{type(inputs).__name__}, not a dict keyed by modality"
        if isinstance(inputs, dict):
            received = f"a batch with the keys {sorted(map(str, inputs))}"
        if role == "teacher":
            raise ValueError(
                f"Training needs both modalities. The batch lacks {modality}. "
                f"Received: {received}"
            )
        raise ValueError(
            "The batch lacks the student's modality. Received: "
            f"{received}; needed: {modality}"
        )


def dtype_policy_of(
    student: Network, teacher: Network | None, method: DistillationMethod
) -> keras.DTypePolicy | None:
    """Return the policy that decides whether the loss is scaled."""
    policy = getattr(student, "dtype_policy", None)
    if method.teacher_update != "none":
        other: Any = getattr(teacher, "dtype_policy", policy)
        return other if other.compute_dtype == "float16" else policy
    return policy


def logits_of(outputs: Tensors, role: Role = "student") -> Any:
    """Return the logits of a network, None if it has not run."""
    if not isinstance(outputs, dict):
        return outputs if role == "student" else None
    return outputs[role]["logits"] if role in outputs else None
