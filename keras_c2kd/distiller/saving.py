"""What is saved of a distiller, shown and exported."""

import math
from collections.abc import Callable
from collections.abc import MutableMapping
from collections.abc import Sequence
from typing import Any
from typing import Self

import keras

from keras_c2kd.backend.keras_internals import StepSeeds
from keras_c2kd.distiller.network_pair import NetworkPair
from keras_c2kd.distiller.preprocessing import Preprocessing
from keras_c2kd.methods import DistillationMethod
from keras_c2kd.networks.graph import call_once
from keras_c2kd.networks.modalities import modality_keys
from keras_c2kd.typing import Config
from keras_c2kd.typing import Modality
from keras_c2kd.typing import Network


class SavableModel(keras.Model):
    """A distiller's configuration, random state, summary and export."""

    student: Network
    teacher: Network | None
    method: DistillationMethod
    student_modality: Modality
    teacher_modality: Modality | None
    teacher_top_layers: Sequence[str] | None
    synchronize_batch_norm: bool
    unlabeled_class: int | None
    unlabeled_confidence: float
    check_data: bool
    stop_on_non_finite: bool
    step_seeds: StepSeeds
    _pair: NetworkPair
    _preprocessing: Preprocessing

    def export(self, filepath: str, *args: Any, **kwargs: Any) -> None:
        """Export the student, the network to deploy.

        Args:
            filepath: As in `keras.Model.export`, as all that follows.
            *args: As in Keras.
            **kwargs: As in Keras.
        """
        call_once(self.student)
        self.student.export(filepath, *args, **kwargs)

    def summary(
        self,
        line_length: int | None = None,
        print_fn: Callable[[str], object] | None = None,
        **kwargs: Any,
    ) -> None:
        """Print Keras' summary, and how much of each part is trained.

        Args:
            line_length: As in Keras.
            print_fn: As in Keras: receives the text. Defaults to printing.
            **kwargs: As in Keras.
        """
        super().summary(line_length=line_length, print_fn=print_fn, **kwargs)
        (print_fn or print)(self._training_summary())

    def _training_summary(self) -> str:
        """Return a line for student, teacher and heads: how much trains."""
        method = self.method
        trained = {id(variable) for variable in self.trainable_variables}
        parts: list[tuple[str, Modality, keras.layers.Layer, str]] = [
            ("student", self.student_modality, self.student, "")
        ]
        if self.teacher is not None:
            note = f'teacher_update="{method.teacher_update}"'
            modality = self.teacher_modality or ()
            parts.append(("teacher", modality, self.teacher, note))
        parts.append(("heads", "", method, type(method).__name__))
        lines = ["Who is trained:"]
        for role, modality, layer, note in parts:
            keys = "+".join(modality_keys(modality))
            sizes = {id(v): math.prod(v.shape) for v in layer.weights}
            total = sum(sizes.values())
            some = sum(sizes[key] for key in sizes if key in trained)
            lines.append(
                f"  {role:<8} {keys:<12} {some:>12,} of {total:>12,}"
                f" parameters trained  {note}".rstrip()
            )
        return "\n".join(lines)

    # Keras saves weights, but not the state of random generators: without it
    # a run with dropout or random selection would not resume to the same end.

    def _random_state(self) -> list[keras.Variable]:
        others = {id(v) for v in [*self.weights, self.step_seeds.state]}
        return [v for v in self.variables if id(v) not in others]

    def save_own_variables(self, store: MutableMapping[str, Any]) -> None:
        """Save the state of all random generators."""
        store["step_seeds"] = self.step_seeds.state
        for index, variable in enumerate(self._random_state()):
            store[f"random_state_{index}"] = variable

    def load_own_variables(self, store: MutableMapping[str, Any]) -> None:
        """Load the state of all random generators."""
        # Older files have none.
        if "step_seeds" in store:
            self.step_seeds.state.assign(store["step_seeds"])
        for index, variable in enumerate(self._random_state()):
            if f"random_state_{index}" in store:
                variable.assign(store[f"random_state_{index}"])

    def get_config(self) -> Config:
        """Return the constructor's arguments, taps as layer paths."""
        serialize = keras.saving.serialize_keras_object
        method = serialize(self.method)
        # The distiller builds its method; a built one would be refused.
        method.pop("build_config", None)
        config = {
            "name": self.name,
            "dtype": serialize(self.dtype_policy),
            "student": serialize(self.student),
            "teacher": serialize(self.teacher),
            "method": method,
            "student_modality": self.student_modality,
            "teacher_modality": self.teacher_modality,
            "teacher_top_layers": self.teacher_top_layers,
            "synchronize_batch_norm": self.synchronize_batch_norm,
            "unlabeled_class": self.unlabeled_class,
            "unlabeled_confidence": self.unlabeled_confidence,
            "check_data": self.check_data,
            "preprocess": self._preprocessing.config,
            "stop_on_non_finite": self.stop_on_non_finite,
        }
        for role, extractor in self._pair.extractors.items():
            config[f"{role}_features"] = extractor.paths or None
        return config

    @classmethod
    def from_config(
        cls, config: Config, custom_objects: dict[str, Any] | None = None
    ) -> Self:
        """Rebuild the distiller from `get_config()`."""
        config = dict(config)
        for name in ("student", "teacher", "method", "dtype"):
            config[name] = keras.saving.deserialize_keras_object(
                config[name], custom_objects=custom_objects
            )
        return cls(**config)
