"""Two networks over the same samples: logits and CKA in one pass."""

import dataclasses
import types
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from keras_c2kd.analysis.feature_comparison import FeatureComparison
from keras_c2kd.analysis.labelled_rows import ROLES
from keras_c2kd.analysis.labelled_rows import LabelledRows
from keras_c2kd.distiller.batch_spec import BatchSpec
from keras_c2kd.networks.feature_extractor import FeatureExtractor
from keras_c2kd.networks.graph import graph_input
from keras_c2kd.networks.modalities import modality_input
from keras_c2kd.networks.modalities import modality_keys
from keras_c2kd.typing import Modality
from keras_c2kd.utils.array_batches import as_array
from keras_c2kd.utils.array_batches import as_arrays
from keras_c2kd.utils.array_batches import map_arrays

# By role: a key, or a tuple of keys; None where it is to be inferred.
Modalities = dict[str, str | tuple[str, ...] | None]


@dataclasses.dataclass(frozen=True)
class PairedOutputs:
    """The outputs of both networks, from one pass over the data.

    A row is a sample, or with dense logits a pixel.

    Attributes:
        modalities: Dict from the role to the key that was read.
        logits: Dict from the role to an array `(rows, num_classes)`.
        labels: Integer array `(rows,)`.
        sample_of: Integer array `(rows,)`, which sample a row is from.
        stages: Dict from the role to the names of the compared features.
        cka: Array `(teacher stages, student stages)`, NaN if there were
            fewer than 4 samples.
        seen: Integer, how many samples there were.
        cka_samples: Integer, how many of them the CKA is from.
        has_weights: Whether the batches came with sample weights.
        is_dense: Whether the logits are dense.
    """

    modalities: dict[str, Modality]
    logits: dict[str, NDArray[Any]]
    labels: NDArray[Any]
    sample_of: NDArray[Any]
    stages: dict[str, list[str]]
    cka: NDArray[Any]
    seen: int
    cka_samples: int
    has_weights: bool
    is_dense: bool


def run_pair(
    networks: Mapping[str, keras.Model],
    taps: Mapping[str, FeatureExtractor],
    modalities: Modalities,
    data: Any,
    rows: LabelledRows,
    batch_size: int,
    verbose: int,
) -> PairedOutputs:
    """Run both networks once over the data.

    Args:
        networks: Dict from the role to a `keras.Model`.
        taps: Dict from the role to its `FeatureExtractor`.
        modalities: Dict from the role to a key, a tuple of keys, or None to
            infer it from the first batch.
        data: See `modality_gap`.
        rows: `LabelledRows` without any rows yet.
        batch_size: Integer, for arrays.
        verbose: `1` for a progress bar, `0` for silence.

    Returns:
        `PairedOutputs`.

    Raises:
        ValueError: If data or logits are not what they must be.
    """
    batches, total = _batches(data, batch_size)
    progress = keras.utils.Progbar(total, verbose=verbose, unit_name="batch")
    pair, comparison = None, FeatureComparison(taps)
    number, has_weights = -1, False
    chosen: dict[str, Modality] = {}
    for number, batch in enumerate(batches):
        where = f"batch {number}"
        inputs, labels, weights = _arrays(batch, where)
        has_weights |= weights is not None
        if pair is None:
            chosen = choose_modalities(networks, modalities, inputs)
            pair = _Pair(networks, taps, chosen)
        outputs = pair.outputs(inputs, where)
        logits = {role: outputs[role].pop("logits") for role in ROLES}
        rows.add(logits, labels, where)
        comparison.update(outputs, len(labels))
        progress.update(number + 1, finalize=False)
    progress.update(number + 1, finalize=True)
    logits, labels, sample_of = rows.result()
    return PairedOutputs(
        modalities=chosen,
        logits=logits,
        labels=labels,
        sample_of=sample_of,
        stages=comparison.stages,
        cka=comparison.result(),
        seen=rows.seen,
        cka_samples=comparison.samples,
        has_weights=has_weights,
        is_dense=rows.is_dense,
    )


def choose_modalities(
    networks: Mapping[str, keras.Model],
    modalities: Modalities,
    inputs: Mapping[str, Any],
) -> dict[str, Modality]:
    """Return which network reads which modality of a batch.

    What is given stays. Otherwise the two networks read two modalities: the
    pair of keys whose shapes fit, and of several such pairs the one whose
    keys are names of the networks or of their inputs.

    Args:
        networks: Dict from the role to a `keras.Model`.
        modalities: Dict from the role to a key, a tuple of keys, or None.
        inputs: Dict keyed by modality, one batch.

    Returns:
        Dict from the role to a key.

    Raises:
        ValueError: If not exactly one pair is left.
    """
    given = {role: key for role, key in modalities.items() if key is not None}
    if len(given) == len(modalities):
        return given
    candidates: dict[str, list[Modality]] = {
        role: [given[role]]
        if role in given
        else [key for key in inputs if _fits(networks[role], inputs[key])]
        for role in ROLES
    }
    pairs = [
        (one, other)
        for one in candidates["teacher"]
        for other in candidates["student"]
        if one != other
    ]
    named = [
        sum(key in _names(networks[role]) for role, key in zip(ROLES, pair))
        for pair in pairs
    ]
    if len(pairs) > 1 and named.count(max(named)) == 1:
        pairs = [pairs[named.index(max(named))]]
    if len(pairs) != 1:
        shapes = keras.tree.map_structure(np.shape, inputs)
        raise ValueError(
            "Which network reads which modality must follow from the shapes "
            "of the inputs, or from names. Received: a batch of the shapes "
            f"{shapes}; by its input's shape the teacher could read "
            f"{candidates['teacher']} and the student "
            f"{candidates['student']}. Pass `teacher_modality=` and "
            "`student_modality=`."
        )
    return dict(zip(ROLES, pairs[0]))


def _fits(network: keras.Model, value: Any) -> bool:
    """Whether a network's input could be this entry of a batch."""
    expected = graph_input(network)
    if expected is None:
        return True  # The shape is not known.
    if isinstance(expected, keras.KerasTensor) and not isinstance(value, dict):
        expected, value = {"": expected}, {"": value}
    if not (isinstance(expected, dict) and isinstance(value, dict)):
        return False
    if not set(expected) <= set(value):
        return False
    return all(
        len(tensor.shape) == np.ndim(value[key])
        and all(
            length in (None, actual)
            for length, actual in zip(
                # Without the batch's, which a call may have fixed.
                tensor.shape[1:],
                np.shape(value[key])[1:],
            )
        )
        for key, tensor in expected.items()
    )


def _names(network: keras.Model) -> set[str]:
    """Return what a network calls itself and its inputs."""
    inputs = keras.tree.flatten(graph_input(network))
    return {network.name, *(getattr(tensor, "name", "") for tensor in inputs)}


def _batches(data: Any, batch_size: int) -> tuple[Iterable[Any], int | None]:
    """Return an iterable of batches, and their number or None."""
    if isinstance(data, (tuple, list)) and data and isinstance(data[0], dict):
        arrays = tuple(
            as_arrays(list(part) if isinstance(part, tuple) else part)
            for part in data
            if part is not None
        )
        largest = max(map(len, keras.tree.flatten(arrays)))
        starts = range(0, largest, batch_size)
        return (
            map_arrays(lambda array: array[i : i + batch_size], arrays)
            for i in starts
        ), len(starts)
    # An `EpochDataset`, read in its order and without augmentation.
    if hasattr(data, "evaluation"):
        data = data.evaluation()
    if not hasattr(data, "__iter__") and hasattr(data, "__getitem__"):
        return (data[i] for i in range(len(data))), len(data)
    if _is_endless(data) or not hasattr(data, "__iter__"):
        raise ValueError(
            "`data` is (inputs, labels), or batches of them that end. "
            f"Received: {data!r}, which has no end or no batches."
        )
    try:
        return data, len(data)
    except (TypeError, NotImplementedError):
        return data, None


def _is_endless(data: Any) -> bool:
    """Whether a PyDataset or a tf.data.Dataset says that it never ends."""
    if isinstance(data, keras.utils.PyDataset):
        return data.num_batches is None
    return hasattr(data, "cardinality") and int(data.cardinality()) == -1


def _arrays(batch: Any, where: str) -> tuple[dict[str, Any], NDArray[Any], Any]:
    """Return inputs, labels and weights (or None) of a batch in numpy."""
    inputs, labels, weights = keras.utils.unpack_x_y_sample_weight(batch)
    if not isinstance(inputs, dict) or isinstance(labels, (dict, type(None))):
        raise ValueError(
            "A batch is ({modality: array, ...}, labels). Received in "
            f"{where}: inputs of type {type(inputs).__name__} and labels of "
            f"type {type(labels).__name__}."
        )
    return as_arrays(inputs), as_array(labels), weights


class _Pair(keras.Model):
    """Both networks as one model, so that a batch is one compiled call."""

    def __init__(
        self,
        networks: Mapping[str, keras.Model],
        taps: Mapping[str, FeatureExtractor],
        modalities: Mapping[str, Modality],
    ) -> None:
        super().__init__(name="pair", autocast=False)
        self.networks = [networks[role] for role in ROLES]
        keys = [key for s in ROLES for key in modality_keys(modalities[s])]
        self.keys = tuple(dict.fromkeys(keys))
        # Not tracked: the taps have the layers of the networks.
        self._roles = types.SimpleNamespace(taps=taps, modalities=modalities)
        self.built = True

    def call(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {
            role: self._roles.taps[role](
                modality_input(inputs, self._roles.modalities[role], network),
                training=False,
            )
            for role, network in zip(ROLES, self.networks)
        }

    def outputs(
        self, inputs: Mapping[str, Any], where: str
    ) -> dict[str, dict[str, NDArray[Any]]]:
        """Check a batch, and return the outputs by role in numpy."""
        inputs = {key: inputs[key] for key in self.keys if key in inputs}
        BatchSpec(self.keys, num_classes=None).check(inputs, where=where)
        return self.predict_on_batch(inputs)
