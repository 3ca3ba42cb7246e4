"""Two dials of the modality gap: where does which method help?

Answers: when does cross-modal distillation help, and when C2KD more than KD?
Not on a data set, where the gap is what it is, but on GENERATED pairs whose
gap is set by two dials: how much weaker or stronger the teacher's modality is
(imbalance), and how many classes it confuses in another way (soft-label
misalignment). The paper names these two as what makes distillation across
modalities hard (section 3.1) and cannot set them apart. What is found here
holds for these pairs and says nothing about sound or pictures.

Command, from the root of the repository, with any KERAS_BACKEND:

    KERAS_BACKEND=jax python recipes/paper/modality_gap_study.py
    python recipes/paper/modality_gap_study.py --report \
        --folder recipes/results/modality_gap_study

Cost: 2,100 runs of about a second, 20 minutes on 2 CPU cores; finished ones are
kept. The second command trains nothing: it writes the page and the pictures
from `runs.csv` and `settings.json`. `--imbalance 0` (or `--misalignment 0.5`)
keeps a dial at one level, `--methods` takes more methods, `--seeds` and
`--smoke` are as in every recipe, `--processes` is the number of cores if not
given.

Data: `keras_c2kd.data.GaussianFamily`, the Gaussian family of the modality
focusing hypothesis (Xue et al., ICLR 2023, section 4; reference [42] of the
paper) with many classes and the two dials. The dials change the teacher's
modality only: the student's modality, its network's first weights and the
order of its batches are the same in all cells of a seed. Each seed draws class
means, training pairs and test pairs anew: intervals are over the whole problem.

Protocol: as in the other recipes, one comparison a cell. The teacher trains
alone on the same pairs first; 30 epochs of SGD with momentum 0.9 and polynomial
decay from 0.05; the last epoch is tested, once; methods have the package's
default weights. What the dials do is measured without any network, by the exact
posterior probabilities of the test pairs: `table.md` has their Bayes accuracy
and Kendall correlation for each cell.

Written, to `--folder` (`results/modality_gap_study`): `maps.png`, a map a
method; `dials.png`, what the dials do; `table.md`, both in numbers, with
intervals and a correction for many comparisons; `runs.csv`, a line a run;
`settings.json`; the records of each cell.
"""

import argparse
import contextlib
import dataclasses
import io
import itertools
import json
import os
import pathlib
import sys
import time

import keras
import numpy as np
import pandas as pd
from pool import finished
from rows import ROWS
from study_report import write_report

from keras_c2kd.comparison import PaperTraining
from keras_c2kd.comparison import Recipe
from keras_c2kd.comparison import run_plan
from keras_c2kd.comparison import setting
from keras_c2kd.comparison.command_line import parse
from keras_c2kd.comparison.identity import plain
from keras_c2kd.comparison.records import environment
from keras_c2kd.data import GaussianFamily
from keras_c2kd.data import load_gaussian_pairs
from keras_c2kd.ops import exclude_target
from keras_c2kd.ops import kendall_rank_correlation
from keras_c2kd.utils.atomic_files import write_atomically

# The dials are the rows and the columns of the map: their levels, and those of
# a trial.
DIALS = ("imbalance", "misalignment")
LEVELS = ((-1.0, -0.5, 0.0, 0.5, 1.0), (0.0, 0.25, 0.5, 0.75, 1.0))
TRIAL_LEVELS = ((-1.0, 1.0), (0.0, 1.0))
STUDENT, TEACHER = "a", "b"
# Those that read one teacher's logits and nothing else of it.
METHODS = ("alone", "kd", "kd+krc", "kd+random", "tckd", "nckd", "nckd+krc")
METHODS += ("nckd+random", "dkd", "dist", "nkd", "dml", "c2kd-a", "c2kd-b")
METHODS += ("c2kd-nt", "c2kd-ofs", "c2kd-c", "c2kd-top", "c2kd")


@dataclasses.dataclass(frozen=True)
class Settings(PaperTraining):
    """The settings of this study, and the two dials."""

    epochs: int = 30
    batch_size: int = 60
    learning_rate: float = 0.05
    end_learning_rate: float = 5e-4
    warmup_epochs: int = 6
    imbalance: float = setting(
        0.0, "how much weaker (above 0) or stronger the teacher's modality is"
    )
    misalignment: float = setting(
        0.0, "fraction of the classes that the teacher confuses with others"
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


RECIPE = Recipe(
    name="modality_gap_study",
    settings=Settings(),
    load=load,
    networks={STUDENT: {"mlp": network}, TEACHER: {"mlp": network}},
    methods={name: ROWS[name] for name in METHODS},
    default_methods=("kd", "dkd", "dist", "dml", "c2kd"),
    seeds=12,
    data_depend_on_seed=True,
    smoke={"epochs": 2, "pairs": 120, "test_pairs": 600},
    ranked_pairs=60,
)


def measure(settings, seed):
    """Measure what the dials do, by exact posteriors of the test pairs."""
    family = settings.family()
    inputs, labels = family.draw(settings.test_pairs, seed, "test")
    logits = family.bayes_logits(inputs, seed)
    right = {m: np.argmax(z, axis=1) == labels for m, z in logits.items()}
    rest = [exclude_target(z, labels) for z in logits.values()]

    def kendall(*pair):
        return float(keras.ops.mean(kendall_rank_correlation(*pair)))

    return {
        "Bayes accuracy, student's modality": float(right[STUDENT].mean()),
        "Bayes accuracy, teacher's modality": float(right[TEACHER].mean()),
        "Kendall of the posteriors": kendall(*logits.values()),
        "the same without the label's class": kendall(*rest),
    }


def train_cell(words, levels):
    """Train what is not finished of a cell; return its runs and the data."""
    options = parse(RECIPE, "", words)
    dials = dict(zip(DIALS, levels))
    settings = dataclasses.replace(options.settings, **dials)
    plan = options.recipe.plan(
        options.methods, [STUDENT], options.seeds, settings
    )
    folder = "_".join(f"{dial}{level:g}" for dial, level in dials.items())
    with contextlib.redirect_stdout(io.StringIO()):
        result = run_plan(
            plan,
            pathlib.Path(options.folder) / "cells" / folder,
            overwrite=options.overwrite,
            least_seconds=options.state_seconds,
        )
    planned = {(run.method, run.student, run.seed) for run in plan.runs()}
    rows = []
    for record in result.records:
        scores, run = record["scores"], record["settings"]
        if (run["method"], run["student"], run["seed"]) in planned:
            distorted = record["history"].get("rank_distorted_share", [None])
            rows.append(
                {
                    **dials,
                    **{k: run[k] for k in ("seed", "student", "method")},
                    "score": scores["student"],
                    "teacher_before": scores.get("teacher_before"),
                    "teacher_after": scores.get("teacher_after"),
                    "rank_distorted_share": distorted[-1],
                    "seconds": record["seconds"],
                }
            )
    if len(rows) < len(planned):
        raise RuntimeError("\n".join(result.notes))
    return rows, result.records[0]["data"]


def main(arguments=None):
    """Run the study from the command line; write its page and pictures."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--report", action="store_true")
    words = list(sys.argv[1:] if arguments is None else arguments)
    own, words = parser.parse_known_args(words)
    options = parse(RECIPE, __doc__, words)
    for name in ("devices", "profile", "tune"):
        if getattr(options, name):
            raise ValueError(
                "A study has hundreds of small runs, which processes share "
                f"(--processes). Received: --{name} {getattr(options, name)}"
            )
    if options.student not in ("both", STUDENT) or own.processes < 1:
        raise ValueError(
            f"At least one process trains, and the student is {STUDENT!r}: the "
            "dials change the data of the other modality. Received: "
            f"--processes {own.processes} --student {options.student}"
        )
    folder = pathlib.Path(options.folder)
    if not own.report:
        _train(options, words, own.processes, folder)
    write_report(folder, _measured)


def _train(options, words, processes, folder):
    """Train all cells; write `runs.csv` and `settings.json`."""
    levels = [
        [getattr(options, dial)] if getattr(options, dial) is not None else own
        for dial, own in zip(DIALS, TRIAL_LEVELS if options.smoke else LEVELS)
    ]
    cells, rows = list(itertools.product(*levels)), []
    print(
        f"{len(cells)} cells of {len(options.seeds)} seeds on "
        f"{keras.backend.backend()} by {processes} processes",
        flush=True,
    )
    start = time.monotonic()
    for number, (found, data) in enumerate(
        finished(train_cell, [(words, levels) for levels in cells], processes)
    ):
        rows += found
        elapsed = time.monotonic() - start
        left = elapsed * (len(cells) / (number + 1) - 1)
        print(
            f"[{number + 1:2d}/{len(cells)}] elapsed {elapsed:.0f} s, left "
            f"about {left:.0f} s",
            flush=True,
        )
    runs = pd.DataFrame(rows).sort_values([*DIALS], kind="stable")
    told = {
        "settings": {
            name: value
            for name, value in plain(options.settings).items()
            if name not in DIALS
        },
        "levels": dict(zip(DIALS, levels)),
        "methods": list(options.methods),
        "seeds": len(options.seeds),
        "data": {k: data[k] for k in ("data_set", "split", "sizes")},
        "environment": environment(),
    }
    text = runs.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    write_atomically(folder / "runs.csv", text)
    text = json.dumps(told, indent=1) + "\n"
    write_atomically(folder / "settings.json", text)


def _measured(told):
    """Return what the dials do as `{name: {levels: values, one a seed}}`."""
    known = {field.name for field in dataclasses.fields(Settings)}
    stored = {k: v for k, v in told["settings"].items() if k in known}
    numbers = {}
    for levels in itertools.product(*told["levels"].values()):
        settings = Settings(**stored, **dict(zip(DIALS, levels)))
        for seed in range(told["seeds"]):
            for name, value in measure(settings, seed).items():
                place = numbers.setdefault(name, {}).setdefault(levels, [])
                place.append(value)
    return numbers


if __name__ == "__main__":
    main()
