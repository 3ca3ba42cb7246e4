"""Can it be told beforehand whether distillation will help?

Many settings, each with the same question: two networks were trained alone;
what can be measured of them on the VALIDATION pairs, before anything is
distilled, and what does KD over all pairs then gain or lose on the TEST pairs?
The settings: pairs of views of a digit, digits seen and heard, a wrist sensor
and a skeleton (if `--utd` names the folder), generated pairs whose gap is set
by two dials; few or all training rows labelled; both directions.

Command, from the root of the repository, with any KERAS_BACKEND:

    KERAS_BACKEND=jax python recipes/paper/rule_study.py --utd UTD-MHAD
    python recipes/paper/rule_study.py --report --folder recipes/results/rule

Cost: about 600 runs of 1 to 30 seconds, an hour on 2 CPU cores; finished ones
are kept. The second command trains nothing: it writes the page and the picture
from `settings.csv`, a line a setting (`runs.csv` has a line a run), and prints
the hit rate of each rule.

Rules that are compared, from the simplest on: the difference of the validation
accuracies; the same times the fraction of rows without a label; agreement;
Kendall correlation. Each is judged on data sets that it was not fitted to: one
is left out at a time. The best is `analysis.expected_gain`.
"""

import argparse
import contextlib
import dataclasses
import io
import itertools
import math
import os
import pathlib
import sys

import numpy as np
import pandas as pd
from modality_gap_study import RECIPE as GAUSSIAN
from pool import finished

from keras_c2kd.analysis import modality_gap
from keras_c2kd.comparison import run_plan
from keras_c2kd.comparison.processes import files_of
from keras_c2kd.comparison.runner import Runner
from keras_c2kd.comparison.statistics import summarize
from keras_c2kd.data import PairedArrays
from keras_c2kd.data import PairedSplits
from keras_c2kd.data import hide_labels
from keras_c2kd.utils.atomic_files import write_atomically
from keras_c2kd.utils.figures import STYLES
from keras_c2kd.utils.figures import figure_style
from keras_c2kd.utils.figures import new_figure
from keras_c2kd.utils.figures import save_figure

RECIPES = pathlib.Path(__file__).parents[1]
sys.path.append(str(RECIPES))

import av_digits  # noqa: E402
import digit_views  # noqa: E402
import utd_mhad  # noqa: E402

VIEW_PAIRS = (
    *(("fourier", "pixels"), ("zernike", "pixels"), ("fourier", "profile")),
    *(("morphology", "karhunen_loeve"), ("zernike", "profile")),
)
SEEDS = 3


@dataclasses.dataclass(frozen=True)
class Study:
    """A data set, a number of labels: a setting in each direction.

    Attributes:
        data_set: What is left out together.
        name: What tells it from the others of the data set.
        recipe: `Recipe`.
        changes: Dict of settings in place of the recipe's.
    """

    data_set: str
    name: str
    recipe: object
    changes: dict


@dataclasses.dataclass(frozen=True)
class FewLabels(type(GAUSSIAN.settings)):
    """The settings of the study under two dials, and few labels."""

    labeled: int = 0


def load_with_few_labels(settings, seed, data, cache):
    """Generate Gaussian pairs of which so many a class have a label."""
    splits = GAUSSIAN.load(settings, seed)
    if not settings.labeled:
        return splits
    train = splits.train
    rows = train.evaluation().batch(range(train.size))
    hidden = hide_labels(train.labels, settings.labeled, seed)
    few = PairedArrays(
        rows[0],
        hidden,
        batch_size=train.batch_size,
        training=True,
        seed=seed,
    )
    kept = ("data_set", "split", "classes", "pairing")
    provenance = {k: v for k, v in splits.provenance.items() if k in kept}
    return PairedSplits(few, splits.validation, splits.test, provenance)


def studies(utd):
    """Return all studies."""
    found = []
    for pair, labeled in itertools.product(VIEW_PAIRS, (5, 20, None)):
        changes = {"labeled": labeled} if labeled else {"all_labels": True}
        found.append(
            Study(
                "digit views",
                f"{'-'.join(pair)}, {labeled or 'all'} a class",
                digit_views.recipe_of(pair),
                changes,
            )
        )
    for labeled in (5, None):
        changes = {"labeled": labeled} if labeled else {"all_labels": True}
        found.append(
            Study(
                "AV-digits",
                f"{labeled or 'all'} a class",
                av_digits.RECIPE,
                changes,
            )
        )
    gaussian = dataclasses.replace(
        GAUSSIAN, settings=FewLabels(), load=load_with_few_labels
    )
    for imbalance, misalignment, labeled in itertools.product(
        (-1.0, 0.0, 1.0), (0.0, 1.0), (2, 10, 0)
    ):
        found.append(
            Study(
                "Gaussian pairs",
                f"imbalance {imbalance:g}, misalignment {misalignment:g}, "
                f"{labeled or 'all'} a class",
                gaussian,
                {
                    "imbalance": imbalance,
                    "misalignment": misalignment,
                    "labeled": labeled,
                },
            )
        )
    if utd:
        found += [
            Study(
                "UTD-MHAD",
                f"subjects {subjects} labelled",
                utd_mhad.RECIPE,
                {"labeled_subjects": subjects},
            )
            for subjects in ("1", "1,3", "1,3,5")
        ]
    return found


def train_study(number, folder, data):
    """Train what is not finished of a study.

    Returns:
        Its two settings, and its runs, as lists of dicts.
    """
    study = studies(data)[number]
    settings = dataclasses.replace(study.recipe.settings, **study.changes)
    seeds = range(SEEDS)
    with contextlib.redirect_stdout(io.StringIO()):
        plan = study.recipe.plan(["kd"], None, seeds, settings, data)
        result = run_plan(plan, folder)
    if result.notes:
        raise RuntimeError("\n".join(result.notes))
    runs = {
        (
            r["settings"]["student"],
            r["settings"]["method"],
            r["settings"]["seed"],
        ): r
        for r in result.records
    }
    first = result.records[0]["data"]
    size = first["sizes"]["train"]
    labeled = first.get("labeled", size)
    runner = Runner(plan.with_baselines(), files_of(folder))
    before = [look(runner, seed) for seed in seeds]
    rows = []
    for place, student in enumerate(plan.students):
        teacher = plan.other(student)

        def gains(method, student=student):
            return [
                runs[student, method, seed]["scores"]["student"]
                - runs[student, "alone", seed]["scores"]["student"]
                for seed in seeds
            ]

        gain = summarize(gains("kd"))
        row = {
            "data_set": study.data_set,
            "setting": study.name,
            "student": student,
            "teacher": teacher,
            "labeled": labeled,
            "unlabeled": size - labeled,
        }
        for name in before[0][place]:
            values = [found[place][name] for found in before]
            row[name] = float(np.mean(values))
        row |= {
            "gain": gain.mean,
            "low": gain.low,
            "high": gain.high,
            "self_training_gain": float(np.mean(gains("self_training")))
            if labeled < size
            else math.nan,
            "seeds": SEEDS,
        }
        rows.append(row)
    trained = [
        {
            "data_set": study.data_set,
            "setting": study.name,
            "student": record["settings"]["student"],
            "method": record["settings"]["method"],
            "seed": record["settings"]["seed"],
            "score": record["scores"]["student"],
            "validation": record["scores"]["validation"],
            "updates": record["updates"],
            "seconds": record["seconds"],
            "data": record["settings"]["data"],
            "backend": record["settings"]["backend"],
            "keras": record["environment"]["keras"],
            "git_commit": record["environment"].get("git_commit"),
        }
        for record in sorted(
            runs.values(),
            key=lambda r: (r["settings"]["method"], r["settings"]["seed"]),
        )
    ]
    return rows, trained


def look(runner, seed):
    """Measure two networks that trained alone, for either student."""
    plan = runner.plan
    one, other = plan.students
    networks = [
        runner.network(plan.alone(m, plan.student_networks[m], seed))
        for m in (one, other)
    ]
    splits = plan.splits(seed)
    gap = modality_gap(
        *networks,
        splits.validation,
        teacher_modality=one,
        student_modality=other,
        teacher_features=[],
        student_features=[],
        verbose=0,
    )
    measures, found = gap.measures, []
    sides = (measures.teacher, measures.student)
    for student, teacher in zip(sides, sides[::-1]):
        found.append(
            {
                "student_accuracy": student.accuracy.value,
                "teacher_accuracy": teacher.accuracy.value,
                "only_teacher_right": teacher.only_right,
                "only_student_right": student.only_right,
                "agreement": measures.agreement,
                "kendall": measures.kendall.mean.value,
            }
        )
    return found


def main(arguments=None):
    """Run the study from the command line; write its page and picture."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--folder", default="results/rule")
    parser.add_argument("--utd", help="folder of UTD-MHAD")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args(arguments)
    folder = pathlib.Path(options.folder)
    if not options.report:
        jobs = [
            (number, folder / "studies" / str(number), options.utd)
            for number in range(len(studies(options.utd)))
        ]
        rows, runs = [], []
        for number, (found, trained) in enumerate(
            finished(train_study, jobs, options.processes), 1
        ):
            rows, runs = rows + found, runs + trained
            first = found[0]
            print(
                f"[{number}/{len(jobs)}] {first['data_set']}, "
                f"{first['setting']}: "
                + "; ".join(f"{r['student']} {r['gain']:+.3f}" for r in found),
                flush=True,
            )
        for name, lines in (("settings", rows), ("runs", runs)):
            frame = pd.DataFrame(lines).sort_values(
                ["data_set", "setting", "student"], kind="stable"
            )
            text = frame.to_csv(
                index=False, float_format="%.5g", lineterminator="\n"
            )
            write_atomically(folder / f"{name}.csv", text)
    print(report(folder))


# From the settings to the rules.

# What is measured before, as columns that the gain is a sum of: points each.
RULES = {
    "u (a_T - a_S)": lambda f: [_share(f) * _difference(f)],
    "a_T - a_S": lambda f: [_difference(f)],
    "u (a_T - a_S), 1, tau": lambda f: [
        *(_share(f) * _difference(f), _one(f), f["kendall"])
    ],
    "u (a_T - a_S), 1, agreement": lambda f: [
        *(_share(f) * _difference(f), _one(f), f["agreement"])
    ],
    "1, u r": lambda f: [_one(f), _share(f) * f["only_teacher_right"]],
    "1, tau": lambda f: [_one(f), f["kendall"]],
    "1, agreement": lambda f: [_one(f), f["agreement"]],
    "1": lambda f: [_one(f)],
}
CHOSEN = "u (a_T - a_S)"


def _one(frame):
    return pd.Series(1.0, frame.index)


def _difference(frame):
    return frame["teacher_accuracy"] - frame["student_accuracy"]


def _share(frame):
    return frame["unlabeled"] / (frame["labeled"] + frame["unlabeled"])


def fit(columns, gain):
    """Return the factors of the columns by least squares."""
    return np.linalg.lstsq(np.stack(columns, axis=1), gain, rcond=None)[0]


def predict_left_out(frame, rule):
    """Return the gain of each setting by factors fitted to other data sets."""
    columns = RULES[rule](frame)
    predicted = pd.Series(0.0, frame.index)
    for name in frame["data_set"].unique():
        own = frame["data_set"] == name
        factors = fit([c[~own] for c in columns], frame["gain"][~own])
        predicted[own] = sum(f * c[own] for f, c in zip(factors, columns))
    return predicted


def constants(frame):
    """Return the slope of `analysis.expected_gain`, and its two ranges.

    Nine in ten errors of the left-out predictions lie in a range: with rows
    without a label, and where all have one.
    """
    (slope,) = fit(RULES[CHOSEN](frame), frame["gain"])
    errors = frame["gain"] - predict_left_out(frame, CHOSEN)
    ranges = [
        tuple(np.quantile(errors[rows], (0.05, 0.95)))
        for rows in (frame["unlabeled"] > 0, frame["unlabeled"] == 0)
    ]
    return slope, *ranges


def report(folder):
    """Write `table.md` and `predicted.png`; return the text."""
    frame = pd.read_csv(folder / "settings.csv")
    gain, told = frame["gain"], (frame["low"] > 0) | (frame["high"] < 0)
    lines, rows = [], []
    few = told & (frame["unlabeled"] > 0)
    for name, rule in RULES.items():
        predicted = predict_left_out(frame, name)
        factors = 100 * fit(rule(frame), gain)
        rows.append(
            {
                "rule": name,
                "factors": ", ".join(f"{x:+.1f}" for x in factors),
                "sign right": _hits(predicted, gain, told),
                "of those with rows without a label": _hits(
                    predicted, gain, few
                ),
                "mean error": f"{100 * (predicted - gain).abs().mean():.1f}",
            }
        )
    predicted = predict_left_out(frame, CHOSEN)
    wrong = frame[told & (np.sign(predicted) != np.sign(gain))].assign(
        predicted=predicted
    )
    counts = frame["data_set"].value_counts(sort=False)
    lines += [
        f"{len(frame)} settings: "
        + ", ".join(f"{n} of {name}" for name, n in counts.items())
        + f". In {told.sum()} of them the gain of KD is told from 0 by its "
        "interval. `a_T`, `a_S`: accuracy of teacher and student alone on the "
        "validation pairs; `u`: fraction of the training rows without a label; "
        "`r`: fraction of the validation pairs on which the teacher alone is "
        "right; `tau`: mean Kendall correlation of the logits. Predicted by "
        "factors that were fitted to the other data sets; the factors here "
        "are of all data sets; gains and errors in points.",
        pd.DataFrame(rows).to_markdown(index=False),
        f"Where `{CHOSEN}` has the wrong sign, or 0:",
        _readable(wrong).to_markdown(index=False) if len(wrong) else "nowhere",
        "All settings, accuracies on validation, gain on test, in percent:",
        _readable(frame.assign(predicted=predicted)).to_markdown(index=False),
    ]
    text = "\n\n".join(lines) + "\n"
    write_atomically(folder / "table.md", text)
    draw(frame, predicted, folder / "predicted.png")
    return "\n\n".join(lines[:4])


def _hits(predicted, gain, told):
    right = (np.sign(predicted) == np.sign(gain)) & told
    return f"{right.sum()} of {told.sum()}"


def _readable(frame):
    """Return settings as texts in percent."""
    shown = frame[["data_set", "setting", "student", "teacher"]].copy()
    shown["no label"] = [f"{100 * x:.0f}%" for x in _share(frame)]
    for name in ("student_accuracy", "teacher_accuracy"):
        shown[name.replace("_", " ")] = [f"{100 * x:.1f}" for x in frame[name]]
    shown["predicted"] = [f"{100 * x:+.1f}" for x in frame["predicted"]]
    shown["gain [95%]"] = [
        f"{100 * g:+.1f} [{100 * a:+.1f}, {100 * b:+.1f}]"
        for g, a, b in zip(frame["gain"], frame["low"], frame["high"])
    ]
    return shown


def draw(frame, predicted, path):
    """Draw predicted against measured gains, with intervals."""
    with figure_style():
        figure, (axes,) = new_figure(1, width=8.0, height=6.5)
        both = 100 * np.array([predicted.min(), predicted.max()])
        axes.plot(both, both, color="#999999", zorder=1)
        axes.axhline(0, color="#999999", linewidth=0.8, zorder=1)
        for number, name in enumerate(frame["data_set"].unique()):
            own = frame["data_set"] == name
            gain = 100 * frame["gain"][own]
            spread = 100 * frame[["low", "high"]][own].sub(
                frame["gain"][own], axis=0
            )
            axes.errorbar(
                100 * predicted[own],
                gain,
                spread.abs().T.to_numpy(),
                fmt=STYLES[number + 1]["marker"],
                color=STYLES[number + 1]["color"],
                elinewidth=1,
                label=name,
                zorder=2,
            )
        axes.set_xlabel(
            "predicted gain of KD, points (rule fitted to the other data sets)"
        )
        axes.set_ylabel("measured gain, points, with 95% interval")
        axes.legend()
        save_figure(figure, path)


if __name__ == "__main__":
    main()
