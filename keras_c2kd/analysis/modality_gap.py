"""Will distillation help between two networks: one call, one report."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_c2kd.analysis.feature_comparison import MOST_BYTES
from keras_c2kd.analysis.gap_measures import GapMeasures
from keras_c2kd.analysis.gap_measures import measure_gap
from keras_c2kd.analysis.gap_report import ModalityGap
from keras_c2kd.analysis.gap_rules import GapRules
from keras_c2kd.analysis.gap_rules import conclude
from keras_c2kd.analysis.labelled_rows import LabelledRows
from keras_c2kd.analysis.paired_outputs import PairedOutputs
from keras_c2kd.analysis.paired_outputs import run_pair
from keras_c2kd.networks.feature_extractor import FeatureExtractor
from keras_c2kd.networks.modalities import modality_keys
from keras_c2kd.networks.network_checks import check_activation


def modality_gap(
    teacher: keras.Model,
    student: keras.Model,
    data: Any,
    *,
    teacher_modality: str | tuple[str, ...] | None = None,
    student_modality: str | tuple[str, ...] | None = None,
    class_names: Sequence[str] | None = None,
    teacher_features: Any = None,
    student_features: Any = None,
    threshold: float = 0.0,
    rules: GapRules | None = None,
    unlabeled_fraction: float = 0.0,
    ignore_class: int | None = None,
    pixels: int = 256,
    batch_size: int = 64,
    verbose: int = 1,
) -> ModalityGap:
    """Compare two trained networks of two modalities, on held-out samples.

    How good each is, how sure of the right class, how they rank the classes
    (`2 / (C (C - 1)) sum_{i < j} sign(t_i - t_j) sign(s_i - s_j)` of the
    logits `t` and `s`, beside what independent rankings give), where they
    agree, which classes they liken to different ones, how alike their
    features are; and what follows for distilling in either direction, by the
    rules of `GapRules`. Each network runs once a batch, in inference mode,
    and is not changed. Nothing depends on the order of the samples, but for
    noise in what is drawn at random.

    Samples that a network was trained on make it look surer, and the gap
    smaller, than it is: take a validation or test split.

    Args:
        teacher: Built `keras.Model` that ends in logits.
        student: The same for the other modality, with the same classes.
        data: Arrays `({modality: array}, labels)`, or batches of them that
            end: an `EpochDataset` (read in its order, without augmentation),
            a `PyDataset`, a `tf.data.Dataset`, a `DataLoader`, a generator.
            Labels are integers or one-hot. Sample weights are not used.
        teacher_modality: Key of the teacher's input in a batch, or a tuple of
            keys. `None` (default) infers it from the shapes of the inputs,
            and from names if several fit.
        student_modality: The same for the student.
        class_names: List of names, one a class. Defaults to the numbers.
        teacher_features: What the CKA compares: a tap, a list of layer names
            or a dict from names to taps (see `CrossModalDistiller`). `None`
            (default) is the input of the classifier; `[]` compares nothing.
            The features are held until the end, up to 1 GiB for both
            networks together: of more, those of samples drawn at random.
        student_features: The same for the student.
        threshold: Float, the paper's omega. Defaults to 0.
        rules: `GapRules`, the thresholds of the conclusion. `None` (default)
            for `GapRules()`.
        unlabeled_fraction: Float, of the training rows, that decides how much
            a teacher can bring or cost. Defaults to `0.0`.
        ignore_class: Label of samples or pixels that do not count, or None
            (default).
        pixels: Integer. Of dense logits `(batch, height, width, num_classes)`
            at most so many labelled pixels of each image are compared, drawn
            at random, the same ones every time. Defaults to 256.
        batch_size: Integer, for arrays. Defaults to 64.
        verbose: `1` (default) for a progress bar, `0` for silence.

    Returns:
        `ModalityGap`: `print` it, or `save` it as JSON, PNG and HTML.

    Raises:
        ValueError: If a network does not end in logits, or gives a NaN; if
            the networks have unequal classes; if the modalities cannot be
            inferred; if data, labels, names or taps are not as above.

    Example:
    >>> random = np.random.default_rng(0)
    >>> labels = random.integers(3, size=200)
    >>> signal = 3 * np.eye(3)[labels]
    >>> data = {
    ...     "audio": signal + random.normal(size=(200, 3)),
    ...     "visual": signal + 2 * random.normal(size=(200, 3)),
    ... }
    >>> def network(name):  # Its input is its logits.
    ...     logits = keras.Input((3,), name=name)
    ...     return keras.Model(logits, keras.layers.Identity()(logits))
    >>> teacher, student = network("audio"), network("visual")
    >>> gap = modality_gap(teacher, student, (data, labels), verbose=0)

    >>> gap.measures.teacher.modality, gap.measures.samples
    ('audio', 200)
    >>> gap.findings[0].rule, gap.findings[0].holds
    ('accuracy', True)

    Reference: Huo et al., CVPR 2024, section 3.1 with Fig. 1 and Table 2;
    section 5 with Fig. 6 for CKA. The chance level, the correlation over the
    non-target classes and the rules are ours.
    """
    rules = GapRules() if rules is None else rules
    networks = {"teacher": teacher, "student": student}
    modalities = {"teacher": teacher_modality, "student": student_modality}
    if teacher is student and teacher_modality == student_modality:
        raise ValueError(
            "A gap is between two networks. Received the same object as "
            f"teacher and student: {teacher!r}."
        )
    notes: list[str] = []
    features = {"teacher": teacher_features, "student": student_features}
    taps = {
        role: _taps(networks[role], features[role], role, notes)
        for role in networks
    }
    for role, network in networks.items():
        check_activation(network, role, None, needs_logits=True)
    names = None if class_names is None else list(map(_clean, class_names))
    num_classes = None if names is None else len(names)
    rows = LabelledRows(num_classes, ignore_class, pixels)
    outputs = run_pair(
        networks, taps, modalities, data, rows, batch_size, verbose
    )
    if names is None:
        names = [str(i) for i in range(outputs.logits["student"].shape[-1])]
    measures = measure_gap(
        outputs,
        {
            role: (
                " and ".join(
                    map(_clean, modality_keys(outputs.modalities[role]))
                ),
                _clean(network.name),
            )
            for role, network in networks.items()
        },
        names,
        threshold,
        rules.confidence,
    )
    return ModalityGap(
        measures=measures,
        stages={
            role: list(map(_clean, stages))
            for role, stages in outputs.stages.items()
        },
        cka=outputs.cka,
        findings=conclude(measures, outputs.cka, rules, unlabeled_fraction),
        rules=rules,
        notes=notes + _notes(outputs, measures, rules),
    )


def _taps(
    network: keras.Model, features: Any, role: str, notes: list[str]
) -> FeatureExtractor:
    """Return the `FeatureExtractor` for what the user wrote."""
    if features is None:
        bare = FeatureExtractor(network, {}, role)
        try:
            return FeatureExtractor(network, {"classifier input": None}, role)
        except ValueError as error:
            notes.append(f"No CKA: {error}")
            return bare
    if not isinstance(features, dict):
        if not isinstance(features, (list, tuple)):
            features = [features]
        features = {
            getattr(tap, "name", getattr(tap, "__name__", str(tap))): tap
            for tap in features
        }
    if "logits" in features:
        raise ValueError(
            "The name 'logits' stands for the network's output. Received: "
            f"{role}_features with that name. Give the tap another one: "
            "{'scores': 'logits'}."
        )
    return FeatureExtractor(network, features, role)


def _notes(
    outputs: PairedOutputs, measures: GapMeasures, rules: GapRules
) -> list[str]:
    """Say what the figures leave out."""
    notes = []
    if outputs.has_weights:
        notes.append("Sample weights were not used: every sample counts once.")
    if outputs.is_dense:
        notes.append(
            f"{measures.rows} pixels of {measures.samples} images. Tests and "
            "intervals count images; Fractions and means count pixels."
        )
        notes.append(
            "What is expected of a direction was measured where samples are "
            "classified; on pixels it is untried."
        )
    if outputs.cka.size and 0 < outputs.cka_samples < outputs.seen:
        notes.append(
            f"CKA is from {outputs.cka_samples} of {outputs.seen} samples, "
            "drawn at random: the features of all would take more than "
            f"{MOST_BYTES / 2**30:g} GiB."
        )
    few = [row.name for row in measures.classes if not row.rows]
    if few:
        notes.append(f"Classes without a sample: {', '.join(few)}.")
    rare = [
        row.name
        for row in measures.classes
        if 0 < row.rows < rules.fewest_of_a_class
    ]
    if rare:
        notes.append(
            f"Classes with fewer than {rules.fewest_of_a_class} samples, whose "
            f"rows are uncertain: {', '.join(rare)}."
        )
    return notes


def _clean(text: object) -> str:
    """Return printable text on one line."""
    printable = (c if c.isprintable() else " " for c in str(text))
    return " ".join("".join(printable).split())
