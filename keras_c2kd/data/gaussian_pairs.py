"""Pairs of Gaussian features whose modality gap has two parameters.

These are GENERATED numbers, made to study methods under known conditions:
what a method reaches on them says nothing about sound or pictures.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_c2kd.data.paired_arrays import PairedArrays
from keras_c2kd.data.paired_splits import PARTS
from keras_c2kd.data.paired_splits import PairedSplits

MODALITIES = ("a", "b")

# What is drawn from streams of their own does not depend on them.
_MEANS, _ORDER, _FEATURES = range(3)


@dataclasses.dataclass(frozen=True)
class GaussianFamily:
    """Two modalities of Gaussian features, and how they differ.

    A pair of the class `y` is, in the modality `m` of `a` and `b`,

    `x_m = [s_m mu_m(y) + e_m, d_m]`

    with decisive features `s_m mu_m(y) + e_m` and distractors `d_m`, all
    noise of variance 1. Class means `mu(1), ..., mu(C)` are drawn from a
    normal distribution, centred, and scaled to a mean squared length of 1.
    The first `general` entries of `e_a` and `e_b` are the same draw: the
    modality-general decisive features, by which soft labels of one modality
    know something of the sample in the other. All else is drawn apart.
    Classes are equally frequent.

    Modality `a` is the same whatever imbalance and misalignment are; they
    change `b`:

    - Imbalance `i` is how much weaker the class means of `b` are,
      `s_a = signal`, `s_b = signal * ratio ** -i`. Bayes accuracy of `b`
      falls with it. The ranks of `mu_b(y) . mu_b(c) - |mu_b(c)|^2 / 2` over
      the classes `c`, those of the expected logits of a class, stay exactly
      as they are: they know no `s_b`.
    - Misalignment `m` is the fraction of the classes that exchange their means:
      `mu_a(c) = mu(c)`, `mu_b(c) = mu(p(c))`, where the permutation `p` moves
      `m C` classes in one cycle and no other. Similarities between the
      classes of `b` become others. Its Bayes accuracy stays exactly as it is:
      the same Gaussians carry other names. The classes that a smaller `m`
      moves are among those that a larger one moves.

    At `i = m = 0` both modalities have the same class means. The family is
    that of the modality focusing hypothesis, whose one parameter is the
    fraction of modality-general decisive features (`general / decisive`
    here), extended to many classes and by these two parameters; there, a
    hyperplane separates two classes.

    Args:
        imbalance: Float, `i`; positive where `b` is the weaker modality.
            Defaults to `0.0`.
        misalignment: Float from 0 to 1, `m`; with the number of classes it
            gives a whole number of classes, other than 1. Defaults to `0.0`.
        num_classes: Integer, `C`. Defaults to `12`.
        decisive: Integer, number of decisive features. Defaults to `4`: in
            few dimensions some classes are near to each other and others far.
        general: Integer, how many of them are modality-general. Defaults to
            `2`.
        distractors: Integer, number of features that know nothing of the
            class. Defaults to `28`.
        signal: Positive float, `s_a`. Defaults to `4.0`.
        ratio: Float above 1. Defaults to `2.0`.

    Raises:
        ValueError: If a parameter or a number are out of range.

    Example:
    >>> family = GaussianFamily(imbalance=1.0, num_classes=4)
    >>> inputs, labels = family.draw(pairs=8, seed=0)
    >>> inputs["a"].shape, inputs["b"].shape, labels
    ((8, 32), (8, 32), array([0, 1, 2, 3, 0, 1, 2, 3]))
    >>> family.bayes_logits(inputs, seed=0)["a"].shape
    (8, 4)

    Reference: Xue et al., ICLR 2023, section 4, for the family with
    modality-general and modality-specific decisive features; Huo et al., CVPR
    2024, section 3.1, for what the two parameters vary.
    """

    imbalance: float = 0.0
    misalignment: float = 0.0
    num_classes: int = 12
    decisive: int = 4
    general: int = 2
    distractors: int = 28
    signal: float = 4.0
    ratio: float = 2.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.num_classes < 2 or self.decisive < 1 or self.distractors < 0:
            raise ValueError(
                "There are at least 2 classes and 1 decisive feature, and no "
                "negative number of distractors. Received: "
                f"num_classes={self.num_classes}, decisive={self.decisive}, "
                f"distractors={self.distractors}"
            )
        if not 0 <= self.general <= self.decisive:
            raise ValueError(
                "Modality-general features are some of the decisive ones. "
                f"Received: general={self.general}, decisive={self.decisive}"
            )
        if self.signal <= 0 or self.ratio <= 1:
            raise ValueError(
                "`signal` is positive and `ratio` above 1. Received: "
                f"signal={self.signal}, ratio={self.ratio}"
            )
        moved = self.misalignment * self.num_classes
        is_whole = abs(moved - round(moved)) < 1e-6
        if not (0 <= self.misalignment <= 1 and is_whole) or self.moved == 1:
            raise ValueError(
                "`misalignment` is a fraction of the classes, of which one "
                "alone cannot be moved: 0, or 2 to "
                f"{self.num_classes} divided by {self.num_classes}. Received: "
                f"misalignment={self.misalignment}"
            )

    @property
    def moved(self) -> int:
        """Number of classes whose means are exchanged."""
        return round(self.misalignment * self.num_classes)

    def class_means(self, seed: int) -> dict[str, NDArray[np.float64]]:
        """Return what the decisive features are on average, by class.

        Args:
            seed: Integer.

        Returns:
            Dict from the modality to an array `(num_classes, decisive)`,
            `s_m mu_m`.
        """
        shape = self.num_classes, self.decisive
        means = np.random.default_rng([seed, _MEANS]).normal(size=shape)
        means -= means.mean(axis=0)
        means /= np.sqrt(np.mean(np.sum(means**2, axis=1)))
        order = np.random.default_rng([seed, _ORDER])
        moved = order.permutation(self.num_classes)[: self.moved]
        positions = np.arange(self.num_classes)
        positions[moved] = np.roll(moved, 1)
        strength = self.signal * self.ratio**-self.imbalance
        return {"a": self.signal * means, "b": strength * means[positions]}

    def draw(
        self, pairs: int, seed: int, part: str = "train"
    ) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.int64]]:
        """Draw pairs, the classes in turn.

        Args:
            pairs: Integer, a multiple of the number of classes.
            seed: Integer, also of the class means.
            part: `"train"` (default), `"validation"` or `"test"`.

        Returns:
            `(inputs, labels)`: dict from the modality to a float32 array
            `(pairs, decisive + distractors)`, and int64 `(pairs,)`.

        Raises:
            ValueError: If the classes would not be equally frequent.
        """
        if pairs < 1 or pairs % self.num_classes:
            raise ValueError(
                "The number of pairs is a positive multiple of the number of "
                f"classes, {self.num_classes}. Received: {pairs} for {part}"
            )
        labels = np.arange(pairs) % self.num_classes
        features = {
            modality: np.random.default_rng(
                [seed, _FEATURES, PARTS.index(part), number]
            ).normal(size=(pairs, self.decisive + self.distractors))
            for number, modality in enumerate(MODALITIES)
        }
        features["b"][:, : self.general] = features["a"][:, : self.general]
        for modality, means in self.class_means(seed).items():
            features[modality][:, : self.decisive] += means[labels]
        inputs = {
            modality: array.astype("float32")
            for modality, array in features.items()
        }
        return inputs, labels

    def bayes_logits(
        self, inputs: Mapping[str, NDArray[Any]], seed: int
    ) -> dict[str, NDArray[np.float64]]:
        """Return logits of the exact posterior probabilities.

        `z(c) = s mu(c) . x - |s mu(c)|^2 / 2`, with the decisive features
        `x`: up to a constant, `log p(c | x)` in one modality alone.

        Args:
            inputs: As `draw` returns them.
            seed: Integer, that of `draw`.

        Returns:
            Dict from the modality to an array `(pairs, num_classes)`.
        """
        return {
            modality: inputs[modality][:, : self.decisive] @ means.T
            - np.sum(means**2, axis=1) / 2
            for modality, means in self.class_means(seed).items()
        }


def load_gaussian_pairs(
    train: int = 360,
    validation: int = 600,
    test: int = 3600,
    seed: int = 0,
    batch_size: int = 60,
    **family: Any,
) -> PairedSplits:
    """Generate Gaussian pairs whose modality gap has two parameters.

    GENERATED data, see `GaussianFamily` for what they are and what imbalance
    and misalignment do. A seed has class means and pairs of its own, the test
    pairs too: all statistics over seeds are over draws of the whole problem.

    Args:
        train: Integer, number of training pairs, like the other two a
            multiple of the number of classes. Defaults to `360`.
        validation: Integer, pairs to choose with. Defaults to `600`.
        test: Integer, pairs to report. Defaults to `3600`.
        seed: Integer, draws everything. Defaults to `0`.
        batch_size: Integer, of training; the other parts are one batch each.
            Defaults to `60`.
        **family: As for `GaussianFamily`, such as `imbalance` and
            `misalignment`.

    Returns:
        `PairedSplits`, ready to use; batches have the modalities `a` and `b`,
        float32 `(batch, decisive + distractors)`, and int64 labels. The
        `provenance` says that they are generated, and holds the `family`.

    Raises:
        ValueError: As `GaussianFamily` and its `draw`.

    Example:
    >>> pairs = load_gaussian_pairs(imbalance=0.5, misalignment=0.25)
    >>> inputs, labels = pairs.train[0]
    >>> inputs["a"].shape, inputs["b"].shape, labels.shape
    ((60, 32), (60, 32), (60,))
    """
    gaussians = GaussianFamily(**family)
    sizes = {"train": train, "validation": validation, "test": test}
    parts = {
        part: PairedArrays(
            *gaussians.draw(size, seed, part),
            batch_size=batch_size if part == "train" else size,
            training=part == "train",
            seed=seed,
        )
        for part, size in sizes.items()
    }
    provenance = {
        "data_set": "Gaussian pairs (generated)",
        "split": "each part drawn anew for each seed",
        "classes": [str(label) for label in range(gaussians.num_classes)],
        "sizes": sizes,
        "family": dataclasses.asdict(gaussians),
    }
    return PairedSplits(**parts, provenance=provenance)
