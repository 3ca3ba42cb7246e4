"""Student and teacher as functions of one batch keyed by modality."""

from keras_c2kd.distiller.loss_checks import methods_of_any_loss
from keras_c2kd.networks.feature_extractor import extractor_for_method
from keras_c2kd.networks.modalities import has_modality
from keras_c2kd.networks.modalities import modality_input
from keras_c2kd.networks.network_checks import check_logits
from keras_c2kd.networks.network_checks import check_pair


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
            together. Some networks tell theirs only when they see data.

    Raises:
        ValueError: If the networks cannot be trained together, or a feature
            map is not found.
    """

    def __init__(self, student, teacher, modalities, features, method):
        check_pair(student, teacher, modalities["teacher"], method)
        self._networks = {"student": student}
        if teacher is not None:
            self._networks["teacher"] = teacher
        self._modalities = modalities
        self._needs_logits = method.needs_logits
        names = {
            "student": method.student_features,
            "teacher": method.teacher_features,
        }
        self.extractors = {
            role: extractor_for_method(
                network, features[role], names[role], role
            )
            for role, network in self._networks.items()
        }
        self.check()

    @property
    def shapes(self):
        """Dict from the roles to the shapes of logits and features."""
        return {role: e.shapes for role, e in self.extractors.items()}

    @property
    def logits_shape(self):
        """Shape of the student's logits, None if it is not known yet."""
        return self.extractors["student"].shapes["logits"]

    def check(self):
        """Raise a ValueError if the logits cannot be compared."""
        self._check_logits(self.shapes)
        self.is_known = all(
            shapes["logits"] is not None for shapes in self.shapes.values()
        )

    def learn(self, inputs):
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

    def check_outputs(self, outputs):
        """Raise a ValueError if logits just computed cannot be compared."""
        shapes = {
            role: {"logits": tuple(tensors["logits"].shape)}
            for role, tensors in outputs.items()
        }
        self._check_logits(shapes)

    def _check_logits(self, shapes):
        check_logits(shapes, self._needs_logits, methods_of_any_loss())

    def has_input(self, inputs, role):
        """Return whether a batch has the modality of a network."""
        return has_modality(inputs, self._modalities[role])

    def input_of(self, inputs, role):
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


def logits_of(outputs, role="student"):
    """Return the logits of a network, None if it has not run."""
    if not isinstance(outputs, dict):
        return outputs if role == "student" else None
    return outputs[role]["logits"] if role in outputs else None
