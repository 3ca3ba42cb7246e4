"""Two dials of the modality gap: where does which method help?

Answers: when does cross-modal distillation help, and when C2KD more than KD?
Not on a data set, where the gap is what it is, but on GENERATED pairs whose
gap is set by two dials: how much weaker or stronger the teacher's modality is
(imbalance), and how many classes it confuses in another way (soft-label
misalignment). The paper names these two as what makes distillation across
modalities hard (section 3.1) and cannot set them apart. What is found here
holds for these pairs and says nothing about sound or pictures.

Command, from the root of the repository, with any KERAS_BACKEND:

    KERAS_BACKEND=jax python recipes/modality_gap_study.py --resume

Cost: 1,812 runs of about a second, 15 minutes on 2 CPU cores.
`--imbalance 0` (or `--misalignment 0.5`) keeps a dial at one level, `--method`
takes more methods, `--seeds` and `--smoke` are as in every recipe,
`--processes` is the number of cores if not given.

Data: `keras_c2kd.data.GaussianFamily`, the Gaussian family of the modality
focusing hypothesis (Xue et al., ICLR 2023, section 4; reference [42] of the
paper) with many classes and the two dials. The dials change the teacher's
modality `b` only: the student's modality `a`, its network's first weights and
the order of its batches are the same in all cells of a seed, so one run
without a teacher is compared with all of them, seed by seed. Each seed draws
class means, training pairs and test pairs anew: intervals are over the whole
problem.

Protocol: as in the other recipes. The teacher trains alone on the same pairs
first; 30 epochs of SGD with momentum 0.9 and polynomial decay from 0.05; the
last epoch is tested, once; methods have the package's default weights. What
the dials do is measured without any network, by the exact posterior
probabilities of the test pairs: `table.md` has their Bayes accuracy and
Kendall correlation for each cell.

Written, to `--out` (`results/modality_gap_study`): `maps.png`, a map a method;
`dials.png`, what the dials do; `table.md`, both in numbers, with intervals and
a correction for many comparisons; `runs.csv`, a line a run; `settings.json`.
"""

import dataclasses

import keras
import numpy as np

from keras_c2kd.data import GaussianFamily
from keras_c2kd.data import load_gaussian_pairs
from keras_c2kd.experiments import Recipe
from keras_c2kd.experiments import Training
from keras_c2kd.experiments import setting
from keras_c2kd.experiments.dial_study import Dial
from keras_c2kd.experiments.dial_study import DialStudy
from keras_c2kd.experiments.dial_study import run_study
from keras_c2kd.ops import exclude_target
from keras_c2kd.ops import kendall_rank_correlation


@dataclasses.dataclass(frozen=True)
class Settings(Training):
    """The settings of this recipe, and the two dials."""

    epochs: int = 30
    batch_size: int = 60
    learning_rate: float = 0.05
    end_learning_rate: float = 5e-4
    warmup_epochs: int = 6
    imbalance: float = setting(
        0.0, "how much weaker (above 0) or stronger the teacher's modality is"
    )
    misalignment: float = setting(
        0.0, "share of the classes that the teacher confuses with others"
    )
    pairs: int = setting(240, "training pairs")
    validation_pairs: int = setting(600, "pairs to choose with")
    test_pairs: int = setting(3600, "pairs to report")
    num_classes: int = setting(12, "number of classes")
    decisive: int = setting(4, "features that tell of the class")
    general: int = setting(2, "how many of them both modalities share")
    distractors: int = setting(28, "features that tell nothing")
    signal: float = setting(4.0, "strength of the student's decisive features")
    ratio: float = setting(
        2.0, "factor of the teacher's strength for each step of imbalance"
    )
    width: int = setting(32, "units of a hidden layer")

    def family(self):
        """Return the family of the pairs."""
        names = [field.name for field in dataclasses.fields(GaussianFamily)]
        return GaussianFamily(**{name: getattr(self, name) for name in names})


def load(settings, seed, data=None, cache=None):
    """Generate the pairs of a seed."""
    return load_gaussian_pairs(
        settings.pairs,
        settings.validation_pairs,
        settings.test_pairs,
        seed=seed,
        batch_size=settings.batch_size,
        **dataclasses.asdict(settings.family()),
    )


def network(input_shape, num_classes, settings):
    """Build two hidden layers and a classifier."""
    inputs = features = keras.Input(input_shape)
    for number in (1, 2):
        features = keras.layers.Dense(
            settings.width,
            activation="relu",
            kernel_initializer="he_normal",
            name=f"stage_{number}",
        )(features)
    logits = keras.layers.Dense(num_classes, name="logits")(features)
    return keras.Model(inputs, logits)


def measure(settings, seed):
    """Measure the dials by exact posteriors of the test pairs."""
    family = settings.family()
    inputs, labels = family.draw(settings.test_pairs, seed, "test")
    logits = family.bayes_logits(inputs, seed)
    accuracy = {
        modality: float(np.mean(np.argmax(logits[modality], axis=1) == labels))
        for modality in logits
    }
    kendall = {
        name: float(keras.ops.mean(kendall_rank_correlation(*pair)))
        for name, pair in {
            "all": logits.values(),
            "rest": [exclude_target(z, labels) for z in logits.values()],
        }.items()
    }
    return {
        "Bayes accuracy of a": accuracy["a"],
        "Bayes accuracy of b": accuracy["b"],
        "Kendall of the posteriors": kendall["all"],
        "the same without the target": kendall["rest"],
    }


# Those that read one teacher's logits and nothing else of it.
METHODS = (
    *("without-kd", "kd", "kd+krc", "kd+random", "tckd", "nckd", "nckd+krc"),
    *("nckd+random", "dkd", "dist", "nkd", "dml", "c2kd-a", "c2kd-b"),
    *("c2kd-nt", "c2kd-ofs", "c2kd-c", "c2kd-top", "c2kd"),
)

STUDY = DialStudy(
    recipe=Recipe(
        name="modality_gap_study",
        settings=Settings(),
        load=load,
        networks={"a": {"mlp": network}, "b": {"mlp": network}},
        methods=METHODS,
        default_methods=("kd", "dkd", "dist", "dml", "c2kd"),
        stages=("stage_1", "stage_2"),
        seeds=12,
        data_depend_on_seed=True,
        smoke={"epochs": 2, "pairs": 120, "test_pairs": 600},
        ranked_pairs=60,
        verbose=0,
    ),
    rows=Dial(
        "imbalance",
        "imbalance (+: weaker teacher)",
        levels=(-1.0, -0.5, 0.0, 0.5, 1.0),
        trial_levels=(-1.0, 1.0),
    ),
    columns=Dial(
        "misalignment",
        "misalignment (share of classes)",
        levels=(0.0, 0.25, 0.5, 0.75, 1.0),
        trial_levels=(0.0, 1.0),
    ),
    student="a",
    measure=measure,
)


if __name__ == "__main__":
    run_study(STUDY, __doc__)
