"""Gaussian pairs: what each dial changes, and what it leaves as it is."""

import dataclasses
import json

import keras
import numpy as np
import pytest

from keras_c2kd.data import GaussianFamily
from keras_c2kd.data import load_gaussian_pairs
from keras_c2kd.ops import exclude_target
from keras_c2kd.ops import kendall_rank_correlation

pytestmark = pytest.mark.backend_free

LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
SEEDS = range(8)


def noise(family, pairs=1200, seed=3):
    """Return the decisive features without their means."""
    inputs, labels = family.draw(pairs, seed)
    return {
        modality: inputs[modality][:, : family.decisive] - means[labels]
        for modality, means in family.class_means(seed).items()
    }


def bayes_accuracy(family, seed, pairs=6000):
    inputs, labels = family.draw(pairs, seed, "test")
    logits = family.bayes_logits(inputs, seed)
    return {m: np.mean(z.argmax(axis=1) == labels) for m, z in logits.items()}


def posterior_correlations(family, seed, pairs=1200):
    """Mean Kendall of the exact posteriors: all classes, the rest alone."""
    inputs, labels = family.draw(pairs, seed, "test")
    logits = family.bayes_logits(inputs, seed)
    rest = [exclude_target(logits[m], labels) for m in ("a", "b")]
    return [
        float(keras.ops.mean(kendall_rank_correlation(*pair)))
        for pair in ((logits["a"], logits["b"]), rest)
    ]


def over_seeds(function, **dials):
    family = GaussianFamily(**dials)
    return np.mean([function(family, seed) for seed in SEEDS], axis=0)


# What the pairs are.


def test_pairs_have_the_documented_form():
    splits = load_gaussian_pairs(
        24, 36, 48, seed=5, batch_size=10, imbalance=1.0, misalignment=0.5
    )
    inputs, labels = splits.train[0]
    assert set(inputs) == {"a", "b"}
    assert inputs["a"].shape == inputs["b"].shape == (10, 32)
    assert inputs["a"].dtype == inputs["b"].dtype == np.float32
    assert labels.dtype == np.int64
    for part, size in (("train", 24), ("validation", 36), ("test", 48)):
        counts = np.bincount(getattr(splits, part).labels)
        np.testing.assert_array_equal(counts, [size // 12] * 12)
    assert [len(part) for part in (splits.validation, splits.test)] == [1, 1]
    splits.prepare(verbose=0)
    provenance = json.loads(json.dumps(splits.provenance))
    assert "generated" in provenance["data_set"]
    assert provenance["family"] == dataclasses.asdict(
        GaussianFamily(imbalance=1.0, misalignment=0.5)
    )
    assert provenance["sizes"] == {"train": 24, "validation": 36, "test": 48}
    assert provenance["fingerprint"]


def test_noise_is_normal_and_partly_the_same_in_both_modalities():
    family = GaussianFamily(imbalance=0.5, misalignment=0.5)
    a, b = noise(family, pairs=12000).values()
    np.testing.assert_allclose(a[:, :2], b[:, :2], atol=1e-5)
    entries = np.concatenate([a, b[:, 2:]], axis=1)
    np.testing.assert_allclose(np.cov(entries.T), np.eye(6), atol=0.05)
    np.testing.assert_allclose(entries.mean(axis=0), 0, atol=0.05)
    inputs, _ = family.draw(12000, 3)
    distractors = np.concatenate([inputs[m][:, 4:] for m in "ab"], axis=1)
    np.testing.assert_allclose(np.cov(distractors.T), np.eye(56), atol=0.06)


def test_any_share_of_the_features_can_be_general():
    for general in (0, 4):
        a, b = noise(GaussianFamily(general=general)).values()
        same = np.isclose(a, b, atol=1e-5).all(axis=0)
        assert same.tolist() == [number < general for number in range(4)]


def test_posteriors_are_those_of_the_normal_densities():
    stats = pytest.importorskip("scipy.stats")
    family = GaussianFamily(imbalance=0.5, misalignment=0.25)
    inputs, _ = family.draw(24, seed=1)
    logits = family.bayes_logits(inputs, seed=1)
    for modality, means in family.class_means(1).items():
        decisive = inputs[modality][:, :4]
        density = np.stack(
            [
                stats.multivariate_normal(mean, np.eye(4)).pdf(decisive)
                for mean in means
            ],
            axis=1,
        )
        expected = density / density.sum(axis=1, keepdims=True)
        found = np.exp(logits[modality])
        found /= found.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-12)


def test_a_seed_is_a_problem_of_its_own():
    family = GaussianFamily(misalignment=0.5)
    first, labels = family.draw(24, seed=1)
    again, _ = family.draw(24, seed=1)
    more, _ = family.draw(48, seed=1)
    for modality in "ab":
        np.testing.assert_array_equal(first[modality], again[modality])
        np.testing.assert_array_equal(first[modality], more[modality][:24])
        for other in (
            family.draw(24, seed=2)[0],
            family.draw(24, seed=1, part="test")[0],
        ):
            assert not np.isclose(first[modality], other[modality]).any()
        means = [family.class_means(seed)[modality] for seed in (1, 2)]
        assert not np.allclose(*means)
    np.testing.assert_array_equal(labels, np.arange(24) % 12)


# What the dials do.


def test_the_dials_leave_the_student_and_all_noise_as_they_are():
    aligned, _ = GaussianFamily().draw(24, seed=1)
    for imbalance, misalignment in ((1.0, 0.0), (0.0, 1.0), (-0.5, 0.5)):
        family = GaussianFamily(imbalance, misalignment)
        inputs, _ = family.draw(24, seed=1)
        np.testing.assert_array_equal(inputs["a"], aligned["a"])
        assert not np.isclose(inputs["b"][:, :4], aligned["b"][:, :4]).any()
        np.testing.assert_array_equal(inputs["b"][:, 4:], aligned["b"][:, 4:])
        for found, expected in zip(
            noise(family).values(), noise(GaussianFamily()).values()
        ):
            np.testing.assert_allclose(found, expected, atol=1e-5)


def test_without_a_gap_both_modalities_have_the_same_classes():
    means = GaussianFamily(signal=3.0).class_means(seed=1)
    np.testing.assert_array_equal(means["a"], means["b"])
    np.testing.assert_allclose(means["a"].mean(axis=0), 0, atol=1e-12)
    assert np.mean(np.sum(means["a"] ** 2, axis=1)) == pytest.approx(9)


@pytest.mark.parametrize("imbalance", [-1.0, 0.5, 1.0])
def test_imbalance_scales_the_means_of_one_modality(imbalance):
    family = GaussianFamily(imbalance, misalignment=0.5, ratio=3.0)
    aligned = GaussianFamily(misalignment=0.5).class_means(seed=1)["b"]
    found = family.class_means(seed=1)["b"]
    np.testing.assert_allclose(found, aligned * 3.0**-imbalance)


@pytest.mark.parametrize("misalignment", LEVELS[1:])
def test_misalignment_exchanges_the_means_of_so_many_classes(misalignment):
    family = GaussianFamily(misalignment=misalignment)
    assert family.moved == 12 * misalignment
    for seed in SEEDS:
        a, b = family.class_means(seed).values()
        places = [int(np.argmin(np.abs(a - mean).sum(axis=1))) for mean in b]
        np.testing.assert_array_equal(a[places], b)
        # One cycle through all that moved: it comes back after all of them.
        moved = [c for c in range(12) if places[c] != c]
        assert len(moved) == family.moved
        place, steps = places[moved[0]], 1
        while place != moved[0]:
            place, steps = places[place], steps + 1
        assert steps == family.moved


def test_classes_that_moved_stay_among_the_moved():
    for seed in SEEDS:
        before = set()
        for misalignment in LEVELS:
            family = GaussianFamily(misalignment=misalignment)
            a, b = family.class_means(seed).values()
            moved = set(np.flatnonzero((a != b).any(axis=1)).tolist())
            assert before <= moved
            before = moved


def test_misalignment_alone_leaves_the_accuracy_and_lowers_the_correlation():
    accuracies = [over_seeds(_both, misalignment=m) for m in LEVELS]
    a, b = np.transpose(accuracies)
    # Equal test samples in `a`; in `b`, equal but for the sampling: 0.37 is
    # the deviation of one sample, of 48000.
    assert np.ptp(a) == 0
    assert np.ptp(b) < 4 * 0.37 / np.sqrt(48000)
    np.testing.assert_allclose(b, a[0], atol=4 * 0.37 / np.sqrt(48000))
    correlations = [
        over_seeds(posterior_correlations, misalignment=m) for m in LEVELS
    ]
    for found in np.transpose(correlations):
        assert (np.diff(found) < -0.05).all()
    # With independent ranks below a common first: 11 of 66 pairs agree.
    assert correlations[0][0] > 0.75 and correlations[0][1] > 0.7
    assert correlations[-1][0] == pytest.approx(1 / 6, abs=0.1)
    assert correlations[-1][1] == pytest.approx(0, abs=0.1)


def _both(family, seed):
    return list(bayes_accuracy(family, seed).values())


def test_the_same_gaussians_carry_other_names():
    for seed in SEEDS:
        aligned = GaussianFamily().class_means(seed)["b"]
        for misalignment in LEVELS[1:]:
            family = GaussianFamily(misalignment=misalignment)
            found = family.class_means(seed)["b"]
            assert sorted(found.tolist()) == sorted(aligned.tolist())


def test_imbalance_alone_leaves_the_ranks_of_a_class_and_changes_accuracy():
    accuracies = [over_seeds(_both, imbalance=i) for i in (-1, -0.5, 0, 0.5, 1)]
    a, b = np.transpose(accuracies)
    assert np.ptp(a) == 0
    assert (np.diff(b) < -0.03).all()
    assert b[2] == pytest.approx(a[2], abs=0.01)
    for misalignment in (0.0, 0.5):
        ranks = set()
        for imbalance in (-1, 0, 1):
            family = GaussianFamily(imbalance, misalignment)
            means = family.class_means(seed=1)["b"]
            # The logits of a sample that is its class' mean.
            inputs = {m: means for m in "ab"}
            logits = family.bayes_logits(inputs, seed=1)["b"]
            ranks.add(tuple(np.argsort(logits, axis=1).ravel()))
        assert len(ranks) == 1


def test_imbalance_moves_the_correlation_less_than_misalignment_does():
    # Noise is what both modalities do not share: with more of it, samples
    # of one class are ranked less alike. That is documented, and small.
    flat = [over_seeds(posterior_correlations, imbalance=i) for i in (-1, 0, 1)]
    assert np.ptp(flat, axis=0).max() < 0.2
    assert min(all_classes for all_classes, _ in flat) > 0.6


# What is refused.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"misalignment": 0.1}, "0, or 2 to 12 divided by 12.*=0.1"),
        ({"misalignment": 1 / 12}, "one alone cannot be moved"),
        ({"misalignment": 1.25}, "misalignment=1.25"),
        ({"misalignment": -0.25}, "misalignment=-0.25"),
        ({"num_classes": 1}, "at least 2 classes.*num_classes=1"),
        ({"decisive": 0, "general": 0}, "1 decisive feature.*decisive=0"),
        ({"distractors": -1}, "distractors=-1"),
        ({"general": 5}, "some of the decisive ones.*general=5, decisive=4"),
        ({"signal": 0.0}, "signal=0.0"),
        ({"ratio": 1.0}, "ratio=1.0"),
        ({"train": 25}, "multiple of the number of classes, 12.*25 for train"),
        ({"test": 0}, "0 for test"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        load_gaussian_pairs(**arguments)
