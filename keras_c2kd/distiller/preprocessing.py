"""KerasHub's preprocessors: what tasks do to raw inputs before they run."""

import functools
import importlib.util
import sys
from collections.abc import Collection
from typing import Any

import keras

from keras_c2kd.distiller.batch_sources import BatchFunction
from keras_c2kd.networks.modalities import has_modality
from keras_c2kd.networks.modalities import modality_keys
from keras_c2kd.typing import Array
from keras_c2kd.typing import Modality
from keras_c2kd.typing import Network
from keras_c2kd.typing import Tensors
from keras_c2kd.utils.array_batches import as_array
from keras_c2kd.utils.array_batches import as_arrays
from keras_c2kd.utils.array_batches import map_arrays

_ALREADY = (
    "Where batches are preprocessed already, pass preprocess=False, or a list "
    "of the modalities that are raw."
)


class Preprocessing:
    """Runs the preprocessors of student and teacher on raw batches.

    A network with a `preprocessor` is a KerasHub task: its own `fit` and
    `predict` put each batch through its `preprocess_samples`. Here that is
    done to the entry of its modality. As there, `preprocessor` may be set to
    another one or to None at any time.

    Args:
        student: Tuple of the student's modality and the student.
        teacher: The same for the teacher, whose network may be None.
        preprocess: `True`, `False`, or a list of the modalities whose batches
            are raw.

    Raises:
        ValueError: If a modality is named that no preprocessor reads; if two
            networks read a raw modality; if a preprocessor is to make several
            modalities.
    """

    def __init__(
        self,
        student: tuple[Modality, Network],
        teacher: tuple[Modality | None, Network | None],
        preprocess: bool | Collection[Any],
    ) -> None:
        self._student, self._teacher = student, teacher
        self._given = preprocess
        if isinstance(preprocess, (list, tuple, set, frozenset)):
            self._given = list(preprocess)
            known = [m for m, network in (student, teacher) if _is_raw(network)]
            if not set(preprocess) <= set(known):
                raise ValueError(
                    "`preprocess` names modalities whose network has a "
                    f"preprocessor: {known}. Received: {preprocess!r}"
                )
        elif not isinstance(preprocess, bool):
            raise ValueError(
                "`preprocess` is True, False, or a list of the modalities "
                f"whose batches are raw. Received: {preprocess!r}"
            )
        self._tasks()

    def _tasks(self) -> dict[Any, Network]:
        """Return a dict from each raw modality to the task that reads it."""
        tasks: dict[Any, Network] = {}
        pairs: Any = (self._student, self._teacher)
        for (modality, network), (other, second) in zip(pairs, pairs[::-1]):
            if not _is_raw(network) or self._given is False:
                continue
            if self._given is not True and modality not in self._given:
                continue
            if isinstance(modality, tuple):
                raise ValueError(
                    "A preprocessor makes the input of one modality. Received: "
                    f"{network.name!r} with a preprocessor, of {modality}. "
                    "Nest its inputs under one key of the batch. " + _ALREADY
                )
            if second is not None and modality in modality_keys(other):
                raise ValueError(
                    "A raw modality is preprocessed for one network. Received: "
                    f"{modality!r}, which {network.name!r} (with a "
                    f"preprocessor) and {second.name!r} read. Give each "
                    "network a key of its own, the same data under both. "
                    + _ALREADY
                )
            tasks[modality] = network
        return tasks

    @property
    def modalities(self) -> tuple[Any, ...]:
        """Tuple of the keys whose entries are raw."""
        return tuple(self._tasks())

    @property
    def config(self) -> bool | list[Any]:
        """The argument, without modalities that have no preprocessor now."""
        if isinstance(self._given, bool):
            return self._given
        return [name for name in self._given if name in self._tasks()]

    def of_batches(self, student_alone: bool = False) -> BatchFunction | None:
        """Return what prepares batches, for `batch_sources.mapped`.

        Args:
            student_alone: Whether all but the student's modality is dropped.

        Returns:
            `BatchFunction`, or None if there is nothing to prepare.
        """
        tasks = self._tasks()
        if not tasks:
            return None
        return functools.partial(self._prepared, tasks, student_alone)

    def _prepared(
        self,
        tasks: dict[Any, Network],
        student_alone: bool,
        x: Tensors,
        y: Tensors,
        sample_weight: Tensors,
    ) -> tuple[Tensors, Tensors, Tensors]:
        own = self._student[0]
        task = tasks.get(own)
        if task is not None and not isinstance(x, dict):
            x = {own: x}
        if task is not None and own not in x:
            _check_is_raw(task, own, x)
        if student_alone and has_modality(x, own):
            x = {key: x[key] for key in modality_keys(own)}
        if not isinstance(x, dict):
            return x, y, sample_weight
        x = dict(x)
        for modality, task in tasks.items():
            if modality not in x:
                continue
            _check_is_raw(task, modality, x[modality])
            labels = (y, sample_weight) if modality == own else (None, None)
            try:
                batch = _run(task, x[modality], *labels)
            except Exception as error:
                error.add_note(
                    f"Raised by the preprocessor of {task.name!r}, modality "
                    f"{modality!r}. " + _ALREADY
                )
                raise
            x[modality], *labels = keras.utils.unpack_x_y_sample_weight(batch)
            if modality == own:  # A mask of labels is resized, for example.
                y, sample_weight = labels
        return x, y, sample_weight


def _is_raw(network: Network | None) -> bool:
    """Whether a network has a preprocessor that Keras does not run in it."""
    return (
        hasattr(network, "preprocess_samples")
        and getattr(network, "preprocessor", None) is not None
    )


def _check_is_raw(task: Network, modality: Any, value: Tensors) -> None:
    names = getattr(task, "input", None)
    if isinstance(names, dict) and isinstance(value, dict):
        if set(names) <= set(value):
            raise ValueError(
                f"{task.name!r} has a preprocessor and takes raw inputs. "
                f"Received for modality {modality!r}: its prepared inputs, "
                f"{sorted(value)}. " + _ALREADY
            )


def _run(task: Network, *batch: Tensors) -> Tensors:
    """Return `task.preprocess_samples` of a batch, in numpy if it came so."""
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None and not tensorflow.executing_eagerly():
        return task.preprocess_samples(*batch)  # Within tf.data.
    x, *labels = as_arrays(batch)
    with keras.device("cpu"):
        batch = task.preprocess_samples(map_arrays(_readable, x), *labels)
        return keras.tree.map_structure(_on_host, batch)


def _readable(array: Array) -> Tensors:
    """Return an array as a task's own `predict` gives it to preprocessors."""
    if array.dtype.kind in "OSU":
        return _decoded(array.tolist())
    if array.dtype.kind == "f" or (
        array.dtype.kind in "iu" and _resizes_to_floats()
    ):
        return array.astype(keras.config.floatx(), copy=False)
    return array


@functools.cache
def _resizes_to_floats() -> bool:
    """Whether KerasHub's own pipeline resizes integers to floats.

    That of TensorFlow does; it takes grain where that is installed, and
    resizes integers to integers there.
    """
    return importlib.util.find_spec("grain") is None


def _decoded(texts: Any) -> Any:
    if isinstance(texts, list):
        return [_decoded(text) for text in texts]
    return texts.decode("utf-8") if isinstance(texts, bytes) else texts


def _on_host(tensor: Any) -> Array:
    array = as_array(tensor)
    # Not every reader of batches knows the type.
    return array.astype("float32") if array.dtype.name == "bfloat16" else array
