"""The figures, against loops written from their definitions."""

import itertools
import math

import keras
import numpy as np
import pytest
from scipy import stats

from keras_c2kd.analysis import feature_comparison
from keras_c2kd.analysis import modality_gap
from keras_c2kd.analysis.gap_measures import _chance_fraction_below
from keras_c2kd.analysis.gap_measures import wilson_interval
from keras_c2kd.data import PairedArrays
from keras_c2kd.methods import fuse
from keras_c2kd.ops import linear_cka
from tests.analysis.gap_cases import gap_of
from tests.analysis.gap_cases import identity_network
from tests.analysis.gap_cases import random_logits
from tests.helpers.toys import FORMS
from tests.helpers.toys import assert_same_weights
from tests.helpers.toys import in_form
from tests.helpers.toys import numpy_weights
from tests.helpers.toys import toy_data
from tests.helpers.toys import toy_network

SAMPLES, CLASSES = 47, 4


def softmax(row):
    exponentials = [math.exp(x) for x in row]
    return [x / sum(exponentials) for x in exponentials]


def kendall(first, second):
    pairs = list(itertools.combinations(range(len(first)), 2))
    signs = [
        np.sign(first[i] - first[j]) * np.sign(second[i] - second[j])
        for i, j in pairs
    ]
    return sum(signs) / len(pairs)


def without(row, index):
    return [x for i, x in enumerate(row) if i != index]


def unbiased_hsic(first, second):
    """Song et al., 2012, Eq. 5, from Gram matrices without diagonal."""
    count = len(first)
    one, other = first @ first.T, second @ second.T
    np.fill_diagonal(one, 0.0)
    np.fill_diagonal(other, 0.0)
    total = np.trace(one @ other)
    total += one.sum() * other.sum() / ((count - 1) * (count - 2))
    total -= 2 * (one @ other).sum() / (count - 2)
    return total / (count * (count - 3))


@pytest.fixture(scope="module")
def case():
    return random_logits(SAMPLES, CLASSES)


@pytest.fixture(scope="module")
def gap(case):
    return gap_of(*case, batch_size=10)


def test_scores_and_what_both_know(case, gap):
    logits, labels = case
    measures = gap.measures
    right, target = {}, {}
    for side, name in (("teacher", "audio"), ("student", "visual")):
        right[side] = [
            max(range(CLASSES), key=lambda c: row[c]) == label
            for row, label in zip(logits[name], labels)
        ]
        target[side] = [
            softmax(row)[label] for row, label in zip(logits[name], labels)
        ]
        network = getattr(measures, side)
        assert network.modality == network.network == name
        assert network.accuracy.value == pytest.approx(np.mean(right[side]))
        assert network.target_probability == pytest.approx(
            np.mean(target[side]), rel=1e-6
        )
    both = list(zip(right["teacher"], right["student"]))
    shares = {
        outcome: both.count(outcome) / SAMPLES
        for outcome in itertools.product((True, False), repeat=2)
    }
    assert measures.both_right == pytest.approx(shares[True, True])
    assert measures.teacher.only_right == pytest.approx(shares[True, False])
    assert measures.student.only_right == pytest.approx(shares[False, True])
    assert measures.neither_right == pytest.approx(shares[False, False])
    wins, losses = both.count((True, False)), both.count((False, True))
    assert measures.discordant == (wins, losses)
    tail = stats.binom.cdf(min(wins, losses), wins + losses, 0.5)
    assert measures.accuracy_p_value == pytest.approx(min(1.0, 2 * tail))
    difference = np.subtract(target["teacher"], target["student"])
    interval = stats.ttest_1samp(difference, 0).confidence_interval(0.95)
    estimate = measures.probability_gap
    assert estimate.value == pytest.approx(difference.mean(), rel=1e-5)
    assert estimate.low == pytest.approx(interval.low, rel=1e-4)
    assert estimate.high == pytest.approx(interval.high, rel=1e-4)
    assert measures.majority_fraction == max(np.bincount(labels)) / SAMPLES
    assert measures.majority_class == str(np.bincount(labels).argmax())


def test_agreement_of_the_predictions(case, gap):
    logits, _ = case
    first, second = (logits[name].argmax(-1) for name in ("audio", "visual"))
    table = np.zeros((CLASSES, CLASSES))
    for one, other in zip(first, second):
        table[one, other] += 1 / SAMPLES
    expected = sum(table.sum(0) * table.sum(1))
    agreement = np.trace(table)
    assert gap.measures.agreement == pytest.approx(agreement)
    kappa = (agreement - expected) / (1 - expected)
    assert gap.measures.kappa == pytest.approx(kappa)


@pytest.mark.parametrize("threshold", [0.0, 1 / 3])
def test_rank_correlations(case, threshold):
    logits, labels = case
    figures = gap_of(*case, threshold=threshold).measures.kendall
    taus = [kendall(*rows) for rows in zip(logits["audio"], logits["visual"])]
    others = [
        kendall(without(one, label), without(other, label))
        for one, other, label in zip(logits["audio"], logits["visual"], labels)
    ]
    assert figures.mean.value == pytest.approx(np.mean(taus))
    # A third is exact: it is not below a third.
    below = [round(6 * tau) < round(6 * threshold) for tau in taus]
    assert figures.fraction_below == pytest.approx(np.mean(below))
    assert 0 < figures.fraction_below < 1
    assert figures.non_target_mean == pytest.approx(np.mean(others))
    counts, edges = np.histogram(np.round(np.array(taus), 9), 20, (-1, 1))
    np.testing.assert_allclose(figures.edges, edges, atol=1e-9)
    np.testing.assert_allclose(figures.fractions, counts / SAMPLES)


@pytest.mark.parametrize("classes", [2, 3, 4, 6])
def test_chance_is_all_rankings_alike(classes):
    order = range(classes)
    taus = [kendall(order, other) for other in itertools.permutations(order)]
    figures = gap_of(*random_logits(20, classes)).measures.kendall
    assert np.mean(taus) == pytest.approx(0)
    assert figures.chance_standard_deviation == pytest.approx(np.std(taus))
    assert figures.chance_fraction_below == pytest.approx(
        np.mean(np.array(taus) < -1e-9)
    )
    counts, _ = np.histogram(np.round(taus, 9), np.round(figures.edges, 9))
    np.testing.assert_allclose(
        figures.chance_fractions, counts / len(taus), atol=1e-12
    )


def test_chance_with_many_classes_is_normal_to_three_digits():
    values = np.linspace(-0.1, 0.1, 9)
    exact, normal = (_chance_fraction_below(values, n) for n in (200, 201))
    np.testing.assert_allclose(exact, normal, atol=3e-3)


def test_each_class(case, gap):
    logits, labels = case
    assert [row.name for row in gap.measures.classes] == list("0123")
    for label, row in enumerate(gap.measures.classes):
        own = [
            (one, other)
            for one, other, it in zip(logits["audio"], logits["visual"], labels)
            if it == label
        ]
        assert row.rows == len(own)
        firsts = [(np.argmax(one), np.argmax(other)) for one, other in own]
        expected = {
            "teacher_accuracy": [one == label for one, _ in firsts],
            "student_accuracy": [other == label for _, other in firsts],
            "agreement": [one == other for one, other in firsts],
            "teacher_probability": [softmax(one)[label] for one, _ in own],
            "student_probability": [softmax(other)[label] for _, other in own],
            "kendall": [kendall(*rows) for rows in own],
            "non_target_distance": [
                0.5
                * np.abs(
                    np.subtract(*(softmax(without(row, label)) for row in rows))
                ).sum()
                for rows in own
            ],
        }
        for name, values in expected.items():
            assert getattr(row, name) == pytest.approx(
                np.mean(values), rel=1e-5, abs=1e-7
            ), name


def test_classes_that_conflict(case, gap):
    logits, labels = case
    expected = {}
    for label in range(CLASSES):
        means = {}
        for side in logits:
            rows = logits[side][labels == label]
            shares = [softmax(without(row, label)) for row in rows]
            names = without(range(CLASSES), label)
            means[side] = dict(zip(names, np.mean(shares, axis=0)))
        one, other = (max(mean, key=mean.get) for mean in means.values())
        if one != other:
            first, second = means.values()
            strength = first[one] - second[one] + second[other] - first[other]
            opposed = [
                rows[0][one] > rows[0][other] and rows[1][one] < rows[1][other]
                for rows in zip(
                    logits["audio"][labels == label],
                    logits["visual"][labels == label],
                )
            ]
            expected[str(label)] = (
                str(one), str(other), strength / 2, np.mean(opposed),
            )  # fmt: skip
    found = gap.measures.conflicts
    assert len(found) == len(expected) >= 2
    assert [c.strength for c in found] == sorted(
        (c.strength for c in found), reverse=True
    )
    for conflict in found:
        one, other, strength, opposed = expected[conflict.name]
        assert conflict.teacher_favourite == one
        assert conflict.student_favourite == other
        assert conflict.strength == pytest.approx(strength, rel=1e-5)
        assert conflict.opposed == pytest.approx(opposed)


def test_an_example_of_conflict_by_hand():
    """The figure of the paper: female, child and male singing."""
    logits = {
        "audio": np.log([[0.6, 0.3, 0.1]] * 2).astype("float32"),
        "visual": np.log([[0.6, 0.1, 0.3]] * 2).astype("float32"),
    }
    gap = gap_of(logits, [0, 0], class_names=["female", "child", "male"])
    (conflict,) = gap.measures.conflicts
    assert (conflict.name, conflict.rows) == ("female", 2)
    assert conflict.teacher_favourite == "child"
    assert conflict.student_favourite == "male"
    # Among the others: 3/4 and 1/4, and the reverse.
    assert conflict.strength == pytest.approx(0.5)
    assert conflict.opposed == 1
    (female, *_) = gap.measures.classes
    assert female.non_target_distance == pytest.approx(0.5)
    # One pair of three is in opposite order: (2 - 1) / 3.
    assert female.kendall == pytest.approx(1 / 3)


def test_wilson_interval_of_8_in_10_by_hand():
    # (0.8 + 0.19207) / 1.38415 -+ 1.95996 sqrt(0.016 + 0.0096037) / 1.38415.
    interval = wilson_interval(0.8, 10)
    assert interval.low == pytest.approx(0.49016, abs=1e-4)
    assert interval.high == pytest.approx(0.94332, abs=1e-4)
    assert wilson_interval(0.0, 10).low == pytest.approx(0, abs=1e-12)
    assert wilson_interval(0.0, 10).high == pytest.approx(0.2775, abs=1e-4)


def test_cka_of_the_classifier_inputs(case, gap):
    logits, _ = case
    both, own, other = (
        unbiased_hsic(*(logits[name].astype("float64") for name in names))
        for names in (
            ("audio", "visual"),
            ("audio", "audio"),
            ("visual", "visual"),
        )
    )
    assert gap.stages == {
        "teacher": ["classifier input"],
        "student": ["classifier input"],
    }
    expected = both / math.sqrt(own * other)
    np.testing.assert_allclose(gap.cka, [[expected]], rtol=1e-3)
    assert not any("CKA" in note for note in gap.notes)


def features_of_classes(classes, of_each):
    """Two views of classes, whose samples lie in the order of the classes."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes), of_each)
    means = random.normal(size=(classes, classes))
    turn = random.normal(size=(classes, classes)) / math.sqrt(classes)
    views = {"audio": means[labels], "visual": (means @ turn)[labels]}
    for name, rows in views.items():
        rows = rows + random.normal(size=rows.shape)
        views[name] = rows.astype("float32")
    return views, labels


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 30, 64, 900])
def test_cka_does_not_depend_on_the_order_of_the_samples(batch_size):
    views, labels = features_of_classes(classes=30, of_each=30)
    whole = float(linear_cka(views["audio"], views["visual"], debiased=True))
    order = np.random.default_rng(1).permutation(len(labels))
    shuffled = {name: rows[order] for name, rows in views.items()}
    found = [
        gap_of(*data, batch_size=batch_size).cka[0, 0]
        for data in ((views, labels), (shuffled, labels[order]))
    ]
    np.testing.assert_allclose(found, whole, atol=0.02)


@pytest.mark.slow
def test_cka_of_more_features_than_may_be_held(monkeypatch):
    """A tenth of them fits; it is from all over the data."""
    views, labels = features_of_classes(classes=30, of_each=100)
    of_a_sample = sum(rows[0].nbytes for rows in views.values())
    monkeypatch.setattr(feature_comparison, "MOST_BYTES", 300 * of_a_sample)
    gap = gap_of(views, labels)
    whole = float(linear_cka(views["audio"], views["visual"], debiased=True))
    np.testing.assert_allclose(gap.cka, whole, atol=0.06)
    assert any("CKA is from 300 of 3000 samples" in n for n in gap.notes)
    assert gap_of(views, labels).cka == gap.cka


def test_stages_by_name():
    inputs, labels = toy_data(24)
    networks = toy_network("audio", seed=1), toy_network("visual", seed=2)
    gap = modality_gap(
        *networks,
        (inputs, labels),
        teacher_features=["relu_0", "pool"],
        student_features={
            "early": "relu_0",
            "middle": "relu_1",
            "late": "pool",
        },
        batch_size=12,
        verbose=0,
    )
    assert gap.stages["teacher"] == ["relu_0", "pool"]
    assert gap.stages["student"] == ["early", "middle", "late"]
    assert gap.cka.shape == (2, 3)
    alone = modality_gap(
        *networks,
        (inputs, labels),
        teacher_features="pool",
        student_features="relu_1",
        batch_size=12,
        verbose=0,
    )
    np.testing.assert_allclose(alone.cka, gap.cka[1:, 1:2], rtol=1e-4)
    nothing = modality_gap(
        *networks, (inputs, labels), teacher_features=[], verbose=0
    )
    assert nothing.cka.size == 0


def test_fewer_than_four_samples_have_no_cka(case):
    for size, is_there in ((3, False), (4, True)):
        few = {name: rows[:size] for name, rows in case[0].items()}
        gap = gap_of(few, case[1][:size], batch_size=2)
        assert np.isfinite(gap.cka).all() == is_there
        assert not any("CKA" in note for note in gap.notes)


class Batches:
    """Nothing but a length and an index."""

    def __init__(self, batches):
        self._batches = batches

    def __len__(self):
        return len(self._batches)

    def __getitem__(self, index):
        return self._batches[index % len(self)]


def sources(logits, labels):
    """The same samples in all forms, as (name, data, batch order kept)."""
    batches = [
        ({name: rows[i : i + 10] for name, rows in logits.items()}, part)
        for i in range(0, len(labels), 10)
        for part in [labels[i : i + 10]]
    ]
    one_hot = np.eye(CLASSES)[labels]
    weights = np.ones(len(labels))
    return {
        "one-hot labels": (logits, one_hot),
        "a list of labels": (logits, labels.tolist()),
        "a column of labels": (logits, labels[:, None]),
        "tensors": keras.tree.map_structure(
            keras.ops.convert_to_tensor, (logits, labels.astype("int32"))
        ),
        "PairedArrays": PairedArrays(logits, labels, batch_size=10),
        # Shuffled in training; the report reads them in their order.
        "training": PairedArrays(logits, labels, batch_size=10, training=True),
        "list of batches": batches,
        "generator": (batch for batch in batches),
        "index": Batches(batches),
        "weights": (logits, labels, weights),
    }


@pytest.mark.slow
@pytest.mark.parametrize("form", sources(*random_logits(8, CLASSES)))
def test_every_form_of_data_gives_the_same(case, gap, form):
    networks = (identity_network(n, CLASSES) for n in ("audio", "visual"))
    other = modality_gap(
        *networks, sources(*case)[form], batch_size=10, verbose=0
    )
    assert other.measures == gap.measures
    np.testing.assert_allclose(other.cka, gap.cka, rtol=1e-6)
    assert any("weights" in note for note in other.notes) == (form == "weights")


def test_a_tf_data_dataset(case, gap):
    tf = pytest.importorskip("tensorflow")
    dataset = tf.data.Dataset.from_tensor_slices(case)
    networks = [identity_network(n, CLASSES) for n in ("audio", "visual")]
    other = modality_gap(*networks, dataset.batch(10), verbose=0)
    assert other.measures == gap.measures
    with pytest.raises(ValueError, match="no end"):
        modality_gap(*networks, dataset.batch(10).repeat(), verbose=0)


def test_a_torch_data_loader(case, gap):
    data = pytest.importorskip("torch.utils.data")
    logits, labels = case
    samples = [
        ({name: rows[i] for name, rows in logits.items()}, labels[i])
        for i in range(len(labels))
    ]
    networks = [identity_network(n, CLASSES) for n in ("audio", "visual")]
    loader = data.DataLoader(samples, batch_size=10)
    other = modality_gap(*networks, loader, verbose=0)
    assert other.measures == gap.measures


class Counter(keras.layers.Layer):
    """Counts its calls in a variable, so that compiled calls count too."""

    def build(self, shape):
        self.count = self.add_weight(
            shape=(), initializer="zeros", trainable=False, name="count"
        )

    def call(self, inputs):
        self.count.assign_add(1.0)
        return inputs


def test_each_network_runs_once_a_batch(case):
    counters, networks = [], []
    for name in ("audio", "visual"):
        inputs = keras.Input((CLASSES,))
        counters.append(Counter())
        outputs = keras.layers.Dense(CLASSES)(counters[-1](inputs))
        networks.append(keras.Model(inputs, outputs, name=name))
    before = [float(c.count) for c in counters]
    read = []

    def batches():
        for start in range(0, SAMPLES, 10):
            read.append(start)
            yield (
                {n: rows[start : start + 10] for n, rows in case[0].items()},
                case[1][start : start + 10],
            )

    modality_gap(*networks, batches(), verbose=0)
    assert len(read) == 5
    after = [float(c.count) for c in counters]
    assert np.subtract(after, before).tolist() == [5, 5]


def test_the_networks_stay_as_they_are():
    inputs, labels = toy_data(16)
    networks = toy_network("audio"), toy_network("visual")
    before = [numpy_weights(network) for network in networks]
    modality_gap(*networks, (inputs, labels), verbose=0)
    for network, weights in zip(networks, before):
        assert_same_weights(network_weights := numpy_weights(network), weights)
        assert len(network_weights) == len(weights)


def test_modalities_follow_from_shapes():
    inputs, labels = toy_data(8)
    networks = toy_network("audio", name="a"), toy_network("visual", name="b")
    gap = modality_gap(*networks, (inputs, labels), verbose=0)
    assert gap.measures.teacher.modality == "audio"
    assert gap.measures.student.modality == "visual"
    swapped = modality_gap(*networks[::-1], (inputs, labels), verbose=0)
    assert swapped.measures.teacher.modality == "visual"
    assert swapped.measures.teacher.accuracy == gap.measures.student.accuracy
    assert swapped.measures.probability_gap.value == pytest.approx(
        -gap.measures.probability_gap.value
    )


def test_a_sequential_network():
    inputs, labels = toy_data(8)
    student = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Flatten(),
            keras.layers.Dense(6, name="hidden"),
            keras.layers.Dense(4),
        ]
    )
    gap = modality_gap(
        toy_network("audio"),
        student,
        (inputs, labels, None),
        student_features="hidden",
        verbose=0,
    )
    assert gap.measures.student.modality == "visual"
    assert gap.stages["student"] == ["hidden"]


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_modalities_follow_from_shapes_in_any_form(form):
    """Of both networks, whose names are none of the modalities'."""
    inputs, labels = toy_data(8)
    networks = toy_network("audio", name="a"), toy_network("visual", name="b")
    expected = modality_gap(*networks, (inputs, labels), verbose=0)
    same = [in_form(network, form) for network in networks]
    gap = modality_gap(*same, (inputs, labels), verbose=0)
    assert gap.measures.teacher.modality == "audio"
    assert gap.measures.student.modality == "visual"
    assert gap.measures.student.accuracy == expected.measures.student.accuracy
    swapped = modality_gap(*same[::-1], (inputs, labels), verbose=0)
    assert swapped.measures.teacher.modality == "visual"


def test_one_name_decides_between_equal_shapes(case):
    first = identity_network("one", CLASSES)
    second = identity_network("audio", CLASSES)
    gap = modality_gap(first, second, case, verbose=0)
    assert gap.measures.teacher.modality == "visual"
    given = modality_gap(
        first,
        identity_network("other", CLASSES),
        case,
        student_modality="visual",
        verbose=0,
    )
    assert given.measures.teacher.modality == "audio"


def test_modalities_that_do_not_follow_are_asked_for(case):
    networks = [identity_network(name, CLASSES) for name in ("one", "two")]
    with pytest.raises(ValueError, match="Pass `teacher_modality=` and"):
        modality_gap(*networks, case, verbose=0)
    with pytest.raises(ValueError, match=r"teacher could read \[\]"):
        modality_gap(identity_network("three", 3), networks[0], case, verbose=0)
    with pytest.raises(ValueError, match="lacks the modality.*'sound'"):
        modality_gap(
            *networks,
            case,
            teacher_modality="sound",
            student_modality="visual",
            verbose=0,
        )


def test_networks_that_read_several_arrays():
    """A text is a dict of arrays; a fused teacher reads two modalities."""
    random = np.random.default_rng(0)
    tokens = {
        "ids": keras.Input((5,), name="ids"),
        "mask": keras.Input((5,), name="mask"),
    }
    joined = keras.layers.Concatenate()([tokens["ids"], tokens["mask"]])
    text = keras.Model(tokens, keras.layers.Dense(4)(joined), name="text")
    inputs, labels = toy_data(12)
    inputs["words"] = {
        "ids": random.normal(size=(12, 5)).astype("float32"),
        "mask": np.ones((12, 5), "float32"),
    }
    visual = toy_network("visual")
    gap = modality_gap(text, visual, (inputs, labels), verbose=0)
    assert gap.measures.teacher.modality == "words"
    fused = fuse(toy_network("audio", seed=1), toy_network("visual", seed=3))
    gap = modality_gap(
        fused,
        visual,
        (inputs, labels),
        teacher_modality=("audio", "visual"),
        student_modality="visual",
        verbose=0,
    )
    assert gap.measures.teacher.modality == "audio and visual"


def test_two_classes():
    logits = {
        "audio": np.array([[3, 0], [2, 0], [0, 1]], "float32"),
        "visual": np.array([[1, 0], [0, 2], [0, 1]], "float32"),
    }
    measures = gap_of(logits, [0, 0, 1]).measures
    assert measures.kendall.mean.value == pytest.approx(1 / 3)
    assert math.isnan(measures.kendall.non_target_mean)
    assert measures.kendall.chance_standard_deviation == 1
    assert measures.kendall.chance_fraction_below == 0.5
    assert measures.conflicts == []
    assert [row.non_target_distance for row in measures.classes] == [0, 0]


def test_one_sample(case):
    logits = {name: rows[:1] for name, rows in case[0].items()}
    gap = gap_of(logits, case[1][:1])
    assert gap.measures.samples == 1
    assert math.isnan(gap.measures.probability_gap.low)
    assert np.isnan(gap.cka).all()
    assert [finding.rule for finding in gap.findings] == ["few samples"]
    assert gap.summary()


def test_constant_logits_rank_nothing(case):
    logits = {**case[0], "visual": np.zeros((SAMPLES, CLASSES), "float32")}
    measures = gap_of(logits, case[1]).measures
    assert measures.kendall.mean.value == 0
    assert measures.kendall.fraction_below == 0
    assert measures.student.target_probability == pytest.approx(0.25)
    alike = gap_of({n: logits["visual"] for n in logits}, case[1]).measures
    assert math.isnan(alike.kappa)
    assert alike.accuracy_p_value == 1


def test_a_class_without_samples(case):
    logits, labels = case
    kept = labels != 1
    gap = gap_of({n: x[kept] for n, x in logits.items()}, labels[kept])
    row = gap.measures.classes[1]
    assert row.rows == 0
    assert math.isnan(row.agreement) and math.isnan(row.kendall)
    assert any("without a sample: 1." in note for note in gap.notes)
    assert gap.measures.samples == kept.sum()


def test_ignored_samples_do_not_count(case):
    logits, labels = case
    marked = np.where(np.arange(SAMPLES) % 3 == 0, -1, labels)
    kept = marked >= 0
    gap = gap_of(logits, marked, ignore_class=-1)
    other = gap_of({n: x[kept] for n, x in logits.items()}, labels[kept])
    assert gap.measures == other.measures
    with pytest.raises(ValueError, match="none of them with a label"):
        gap_of(logits, np.full(SAMPLES, -1), ignore_class=-1)


def test_pixels_count_and_images_are_the_samples():
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, (6, 4, 5))
    labels[:, 0] = 255
    logits = {
        name: random.normal(size=(6, 4, 5, 3)).astype("float32")
        for name in ("audio", "visual")
    }
    measures = gap_of(logits, labels, ignore_class=255).measures
    assert (measures.samples, measures.rows) == (6, 6 * 15)
    counted = labels != 255
    right = {n: (x.argmax(-1) == labels)[counted] for n, x in logits.items()}
    assert measures.teacher.accuracy.value == right["audio"].mean()
    assert measures.teacher.accuracy == wilson_interval(
        right["audio"].mean(), 6
    )
    by_image = {n: x.reshape(6, 15).sum(1) for n, x in right.items()}
    assert measures.discordant == (
        (by_image["audio"] > by_image["visual"]).sum(),
        (by_image["audio"] < by_image["visual"]).sum(),
    )
    drawn = [
        gap_of(logits, labels, ignore_class=255, pixels=7) for _ in range(2)
    ]
    assert drawn[0].measures.rows == 6 * 7
    assert drawn[0].measures == drawn[1].measures
    assert "42 pixels of 6 images" in drawn[0].notes[0]
    with pytest.raises(ValueError, match=r"shape \(6, 4, 5\)"):
        gap_of(logits, labels[:, :2])


@pytest.mark.parametrize("value, kind", [(np.nan, "NaN"), (1e39, "infinity")])
def test_logits_that_are_not_finite_are_named(case, value, kind):
    network = identity_network("visual", CLASSES)
    kernel = np.eye(CLASSES)
    kernel[1, 1] = value
    with np.errstate(over="ignore"):
        network.set_weights([kernel.astype("float32")])
    with pytest.raises(ValueError, match=f"batch 0: {kind} in the.*student"):
        modality_gap(
            identity_network("audio", CLASSES), network, case, verbose=0
        )


def test_probabilities_are_refused(case):
    class Hidden(keras.Model):
        def call(self, inputs):
            powers = keras.ops.exp(inputs)
            return powers / keras.ops.sum(powers, axis=-1, keepdims=True)

    student = identity_network("visual", CLASSES)
    inputs = keras.Input((CLASSES,))
    open_about_it = keras.Model(
        inputs, keras.layers.Softmax()(inputs), name="audio"
    )
    with pytest.raises(ValueError, match="teacher 'audio' ends in a softmax"):
        modality_gap(open_about_it, student, case, verbose=0)
    hidden = Hidden(name="audio")
    hidden(case[0]["audio"])
    with pytest.raises(ValueError, match="add up to 1.*Remove the softmax"):
        modality_gap(hidden, student, case, verbose=0)


def test_a_model_without_a_graph_has_no_cka(case, gap):
    class Subclassed(keras.Model):
        def call(self, inputs):
            return 1.0 * inputs

    teacher = Subclassed(name="audio")
    teacher(case[0]["audio"])
    other = modality_gap(
        teacher, identity_network("visual", CLASSES), case, verbose=0
    )
    assert other.measures == gap.measures
    assert other.cka.size == 0
    assert other.notes[0].startswith("No CKA: ")


@pytest.mark.parametrize(
    "labels, message",
    [
        (np.full(SAMPLES, 4), "0 to 3. Received in batch 0: 4 at sample 0"),
        (np.full(SAMPLES, -1), "ignore_class="),
        (np.full(SAMPLES, 0.5), "0.5 at sample 0"),
        (np.zeros((SAMPLES, 3)), r"shape \(47, 3\)"),
        (np.array(["a"] * SAMPLES), "type <U1"),
        (np.zeros(SAMPLES - 1), r"shape \(46,\)"),
        (None, "labels of type NoneType"),
    ],
)
def test_bad_labels_are_refused(case, labels, message):
    data = (case[0],) if labels is None else (case[0], labels)
    networks = (identity_network(n, CLASSES) for n in ("audio", "visual"))
    with pytest.raises(ValueError, match=message):
        modality_gap(*networks, data, batch_size=64, verbose=0)


def test_other_bad_input_is_refused(case):
    logits, labels = case
    networks = [identity_network(n, CLASSES) for n in ("audio", "visual")]
    with pytest.raises(ValueError, match="3 names for logits of 4 classes"):
        gap_of(*case, class_names=["a", "b", "c"])
    with pytest.raises(ValueError, match="same object"):
        modality_gap(networks[0], networks[0], case, verbose=0)
    with pytest.raises(ValueError, match="'logits' stands for"):
        gap_of(*case, teacher_features=["logits"])
    with pytest.raises(ValueError, match="There must be labelled samples"):
        modality_gap(*networks, [], verbose=0)
    with pytest.raises(ValueError, match="labels of type dict"):
        modality_gap(*networks, [logits, logits], verbose=0)
    with pytest.raises(ValueError, match="no end or no batches"):
        modality_gap(*networks, 5, verbose=0)
    unequal = {**logits, "visual": logits["visual"][:10]}
    with pytest.raises(ValueError, match="same number of samples"):
        gap_of(unequal, labels)
    broken = {**logits, "audio": np.full_like(logits["audio"], np.nan)}
    with pytest.raises(ValueError, match="NaN or infinity in modality 'audio'"):
        gap_of(broken, labels)
    with pytest.raises(ValueError, match="equally many classes"):
        modality_gap(
            networks[0],
            identity_network("visual", 3),
            ({**logits, "visual": logits["visual"][:, :3]}, labels),
            verbose=0,
        )


def test_half_precision_networks():
    inputs, labels = toy_data(16)
    networks = [
        toy_network(name, dtype="mixed_float16") for name in ("audio", "visual")
    ]
    gap = modality_gap(*networks, (inputs, labels), verbose=0)
    assert 0 < gap.measures.teacher.target_probability < 1
