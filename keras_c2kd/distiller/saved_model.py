"""What is saved of a distiller, shown and exported."""

import keras

from keras_c2kd.distiller.summary import training_summary
from keras_c2kd.networks.graph import call_once


class SavedModel(keras.Model):
    """A distiller's configuration, random state, summary and export."""

    def export(self, filepath, *args, **kwargs):
        """Export the student, the network to deploy.

        Args:
            filepath: As in `keras.Model.export`, as all that follows.
            *args: As in Keras.
            **kwargs: As in Keras.
        """
        call_once(self.student)
        self.student.export(filepath, *args, **kwargs)

    def summary(self, line_length=None, print_fn=None, **kwargs):
        """Print Keras' summary and who is trained by what.

        Args:
            line_length: As in Keras.
            print_fn: As in Keras: receives the text. Defaults to printing.
            **kwargs: As in Keras.
        """
        super().summary(line_length=line_length, print_fn=print_fn, **kwargs)
        (print_fn or print)(training_summary(self))

    # Keras saves weights, but not the state of random generators: without it
    # a run with dropout or random selection would not resume to the same end.

    def _random_state(self):
        others = {id(v) for v in [*self.weights, self.step_seeds.state]}
        return [v for v in self.variables if id(v) not in others]

    def save_own_variables(self, store):
        """Save the state of all random generators."""
        store["step_seeds"] = self.step_seeds.state
        for index, variable in enumerate(self._random_state()):
            store[f"random_state_{index}"] = variable

    def load_own_variables(self, store):
        """Load the state of all random generators."""
        # Older files have none.
        if "step_seeds" in store:
            self.step_seeds.state.assign(store["step_seeds"])
        for index, variable in enumerate(self._random_state()):
            if f"random_state_{index}" in store:
                variable.assign(store[f"random_state_{index}"])

    def get_config(self):
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
    def from_config(cls, config, custom_objects=None):
        """Rebuild the distiller from `get_config()`."""
        config = dict(config)
        for name in ("student", "teacher", "method", "dtype"):
            config[name] = keras.saving.deserialize_keras_object(
                config[name], custom_objects=custom_objects
            )
        return cls(**config)
