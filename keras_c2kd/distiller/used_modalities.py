"""Which entries of a batch anything reads; the others stay on the host."""

import warnings
from collections.abc import Iterable
from typing import Any

from keras_c2kd.networks.modalities import has_modality
from keras_c2kd.networks.modalities import modality_keys
from keras_c2kd.typing import Modality
from keras_c2kd.typing import Tensors


class UsedModalities:
    """Leaves out of batches what no network and no method reads.

    Args:
        required: Modality of the student: a key or a tuple of keys.
        optional: Modality of the teacher, used where the batch has it; None
            without a teacher.
        others: Other keys that the method reads; None if that is not known,
            then nothing is left out.
        warned: Set of the keys that a warning has named, shared by all that
            come from one model.
    """

    def __init__(
        self,
        required: Modality,
        optional: Modality | None = None,
        others: Iterable[str] | None = (),
        warned: set[Any] | None = None,
    ) -> None:
        self._required, self._optional = required, optional
        self._others = others
        self._warned = set() if warned is None else warned

    def __call__(self, inputs: Tensors) -> Tensors:
        """Return inputs without what is not used; warn of it once.

        Args:
            inputs: Dict keyed by modality. Anything else is returned as it
                is, and so is a dict without the student's modality: it may be
                the student's own.
        """
        unused = self._unused(inputs)
        if not unused:
            return inputs
        if not self._warned.issuperset(unused):
            self._warned.update(unused)
            warnings.warn(
                "The batches have entries that neither a network nor the "
                f"method reads: {unused}. They are left out, not checked and "
                "not moved to the device. Leave them out of the data if that "
                "is meant, or name one in `student_modality` or "
                "`teacher_modality`.",
                stacklevel=4,
            )
        return {key: inputs[key] for key in inputs if key not in unused}

    def _unused(self, inputs: Tensors) -> list[Any]:
        if self._others is None or not has_modality(inputs, self._required):
            return []
        used = {*modality_keys(self._required), *self._others}
        if self._optional and has_modality(inputs, self._optional):
            used |= set(modality_keys(self._optional))
        return [key for key in inputs if key not in used]

    def of_batch(self, batch: Tensors) -> Tensors:
        """Return `x`, `(x, y)` or `(x, y, weights)` without unused entries."""
        if isinstance(batch, tuple) and batch:
            return (self(batch[0]), *batch[1:])
        return self(batch)

    def of_tf_dataset(self, dataset: Any) -> Any:
        """Return a `tf.data.Dataset` whose batches have no unused entries."""
        spec = dataset.element_spec
        inputs = spec[0] if isinstance(spec, tuple) and spec else spec
        if not self._unused(inputs):
            return dataset
        return dataset.map(
            lambda *batch: self.of_batch(batch if batch[1:] else batch[0])
        )
