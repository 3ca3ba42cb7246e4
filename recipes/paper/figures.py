"""The figures of the paper, drawn from our runs.

Reproduces: of Huo et al., CVPR 2024,
Fig. 1, the modality gap: accuracy and mean probability of the label's class of
each modality alone; Kendall correlation of two networks' logits on the test
samples, between the modalities and within one (of two capacities with
`--larger-network`, otherwise of two seeds);
Fig. 3, the training of SHAKE, NKD and C2KD: accuracy (of the validation
samples, where the paper has the test samples: these are tested once) and the
number of samples a batch with a Kendall correlation below 0;
Fig. 4, C2KD over the threshold of its selection by Kendall, cosine, Pearson
and gradient cosine, and without selection;
Fig. 5, DIST and NKD as they are, with bidirectional distillation, with the
selection and non-target classes, and with proxies;
Fig. 6, linear CKA (debiased, over the test samples) of the named stages of
networks that trained alone, between the modalities and within one.

Commands, from the root of the repository, with any KERAS_BACKEND:

    python recipes/paper/figures.py --figure 4
    python recipes/paper/figures.py --figure 5 --run --data vggsound=VGGSound
    python recipes/paper/figures.py --figure all --run --substitute av_digits
    python recipes/paper/figures.py --figure 4 --results recipes/results \
        --substitute av_digits --out printed

The options are those of `tables.py`; the last command reads the records that
come with the repository, without networks. Figures 1 and 6 run networks and
need the data (`--data`) in any case. The paper takes AVE and VGGSound for
Fig. 1, VGGSound for Fig. 5 and AVE for Fig. 6; of Figs. 3 and 4 its text does
not say, and AVE is taken. `--only crema_d` draws another one.

Written, to `--out` (`<results>/figures`): `figure_<N>.png`, and its numbers as
CSV and in a page of Markdown, with the protocol. What was not run is `missing`.

Cost: seconds to minutes to draw; to train on AV-digits for five seeds, 260
runs for Fig. 4, 90 for Fig. 5, and 40 for the others.
"""

import functools
import pathlib
import re

import drawings
import pandas as pd
from cells import NONE
from cells import difference_text
from cells import measured_text
from cells import point
from cells import values_by_seed
from drawings import BETWEEN
from drawings import CKA
from drawings import KENDALL
from drawings import NO_SELECTION
from drawings import WITHIN
from printed import SCORE
from printed import TARGET_PROBABILITY
from reproduction import Reproduction
from reproduction import parser
from rows import BASELINE
from sheets import write

from keras_c2kd.analysis import modality_gap

# Where the paper says so; AVE otherwise.
DATA_SETS = {1: ("ave", "vggsound"), 3: ("ave",), 4: ("ave",)}
DATA_SETS |= {5: ("vggsound",), 6: ("ave",)}
THRESHOLDS = (-0.4, -0.2, 0.0, 0.2, 0.4, 0.6)
METRICS = {"KRC": "kendall", "Cos": "cosine", "Pearson": "pearson"}
METRICS["GradCos"] = "gradcos"
DYNAMICS = ("shake", "nkd", "c2kd")
MODULES = {
    name.upper(): {
        "plain": name,
        "+BD": f"c2kd-b+{name}",
        "+OFSD": f"c2kd-c+{name}",
        "+Proxy": f"c2kd+{name}",
    }
    for name in ("dist", "nkd")
}


def main(arguments=None):
    """Draw figures, print and write their numbers.

    Args:
        arguments: List of words; None (default) takes the real ones.

    Returns:
        Dict from the number of a figure to a data frame of its points.
    """
    options = parser(__doc__)
    options.add_argument(
        "--figure",
        action="append",
        required=True,
        choices=[*map(str, DATA_SETS), "all"],
        help="may be repeated",
    )
    options.add_argument(
        "--thresholds",
        type=numbers_of,
        default=THRESHOLDS,
        metavar="NUMBER[,NUMBER]",
        help="of the selection, for figure 4: --thresholds=-0.4,0,0.4",
    )
    options.add_argument(
        "--larger-network",
        help="network of both modalities to compare the default one with, "
        "such as resnet50, for figures 1 and 6",
    )
    parse_error, options = options.error, options.parse_args(arguments)
    numbers = [*DATA_SETS] if "all" in options.figure else options.figure
    try:
        reproduction = Reproduction(options)
        names = {
            number: choose(reproduction, number, options)
            for number in dict.fromkeys(map(int, numbers))
        }
    except ValueError as error:
        parse_error(str(error))
    out = pathlib.Path(options.out or reproduction.results / "figures")
    drawn = {}
    for number, data_sets in names.items():
        # The first figure has all its data sets in one picture.
        groups = [data_sets] if number == 1 else [[x] for x in data_sets]
        for group in groups:
            stem = f"figure_{number}"
            if len(groups) > 1:
                stem += f"_{group[0]}"
            found = FIGURES[number](reproduction, group, options)
            publish(*found, stem, out)
            drawn.setdefault(number, []).append(found[1])
    return {number: pd.concat(found) for number, found in drawn.items()}


def numbers_of(text):
    """Return the numbers of a comma-separated text, each once."""
    return tuple(dict.fromkeys(float(number) for number in text.split(",")))


def choose(reproduction, number, options):
    """Return the names of the recipes that a figure is drawn for."""
    names = options.substitute or options.only or DATA_SETS[number]
    if options.substitute and options.only:
        names = [name for name in names if name in options.only]
    fitting = [
        name
        for name in names
        if reproduction.recipe(name).settings.metric == "accuracy"
    ]
    if not fitting:
        raise ValueError(
            "The figures are of classification. Received: the recipes "
            f"{','.join(names)}"
        )
    reproduction.check_changes(fitting)
    return fitting


def publish(title, points, notes, draw, stem, out):
    """Print the numbers of a figure, and write it with them."""
    # Of each line over the epochs the last one.
    is_epoch = points["at"].str.startswith("epoch ")
    last = ~points.duplicated(["panel", "series"], keep="last")
    told = points[~is_epoch | last]
    count = told["measured_count"]
    frame = told[["panel", "series", "at"]].assign(
        measured=told.apply(measured_text, axis=1),
        seeds=count.map(lambda x: NONE if pd.isna(x) else f"{x:.0f}"),
    )
    if points["reference"].notna().any():
        frame["difference [95%]"] = told.apply(difference_text, axis=1)
        frame["to"] = told["reference"].fillna(NONE)
    if points["measured_mean"].isna().all():
        print(f"{title}\nThere is no finished run to draw. Train with --run.")
        print("\n".join(notes))
        return
    draw(points, out / f"{stem}.png")
    picture = f"![{title}]({stem}.png)\n\n"
    write(out, stem, [(title, frame, notes)], points, picture, ("md", "csv"))


def draw_gap(reproduction, names, options):
    """Return Fig. 1: each modality alone, and how alike networks rank."""
    points, notes = [], []
    for name in names:
        records, told = alone(reproduction, name, options.larger_network)
        notes += told
        for one in reproduction.wanted(name, [BASELINE]):
            points += [
                point(
                    name,
                    one.student,
                    f"{one.own}, {quantity.replace('_', ' ')}",
                    values_by_seed(records, one.cells()[0], quantity),
                    quantity,
                )
                for quantity in (SCORE, TARGET_PROBABILITY)
            ]
        taus = {}
        for kind, label, seed, gap in gaps(
            reproduction, name, records, options
        ):
            place = taus.setdefault((kind, label), {})
            place[seed] = gap.measures.kendall.mean.value
        points += [
            point(name, kind, label, runs, KENDALL)
            for (kind, label), runs in taus.items()
        ]
    notes.append(
        "Kendall correlation of two networks' logits: mean over the test "
        "samples, then mean and deviation over the pairs of networks."
    )
    title = "Figure 1. The modality gap"
    return title, pd.DataFrame(points), notes, drawings.draw_modality_gap


def draw_dynamics(reproduction, names, options):
    """Return Fig. 3: the score and the rank-distorted samples by epoch."""
    (name,) = names
    wanted = reproduction.wanted(name, DYNAMICS)
    records, points = reproduction.records(wanted), []
    for one in wanted:
        for method, cell in zip(one.methods, one.cells()):
            for key in ("val_accuracy", "rank_distorted_share"):
                runs = {
                    record["settings"]["seed"]: record["history"].get(key, ())
                    for record in records
                    if record["settings"]["method"] == cell[-1]
                    and record["settings"]["student"] == cell[0]
                }
                place = f"{one.student} student", f"{method}, {key}"
                epochs = min(map(len, runs.values()), default=0)
                points += [
                    point(
                        *place,
                        f"epoch {epoch + 1}",
                        {seed: curve[epoch] for seed, curve in runs.items()},
                        key,
                    )
                    for epoch in range(epochs)
                ] or [point(*place, NONE, {}, key)]
    notes = [
        *reproduction.describe(name, records),
        "val_accuracy: of the validation samples (the paper has the test "
        "samples). rank_distorted_share: fraction of the training samples "
        "whose two networks' logits have a Kendall correlation below 0, after "
        "the epoch; the picture has their number in a batch.",
    ]
    batch_size = records[0]["settings"]["batch_size"] if records else 0
    draw = functools.partial(drawings.draw_dynamics, batch_size=batch_size)
    return f"Figure 3. Training, {name}", pd.DataFrame(points), notes, draw


def draw_sensitivity(reproduction, names, options):
    """Return Fig. 4: C2KD over the threshold of each selection."""
    curves = {NO_SELECTION: {NONE: "c2kd@all"}}
    for label, kind in METRICS.items():
        curves[label] = {
            f"{threshold + 0.0:g}": "c2kd"
            # The row itself has this selection.
            if kind == "kendall" and not threshold
            else f"c2kd@{kind}={threshold + 0.0:g}"
            for threshold in options.thresholds
        }
    base = dict.fromkeys(curves, (NO_SELECTION, "c2kd@all"))
    title = f"Figure 4. Metric and threshold of the selection, {names[0]}"
    points, notes = scores(reproduction, names[0], curves, base)
    return title, points, notes, drawings.draw_sensitivity


def draw_modules(reproduction, names, options):
    """Return Fig. 5: methods with more and more modules."""
    base = {
        name: (f"{name}, plain", steps["plain"])
        for name, steps in MODULES.items()
    }
    title = f"Figure 5. Generalisability of the modules, {names[0]}"
    points, notes = scores(reproduction, names[0], MODULES, base)
    return title, points, notes, drawings.draw_modules


def scores(reproduction, name, curves, base):
    """Return points of test scores, one a method and student, and notes.

    `curves` are `{series: {place: method}}`; `base` has what a series' points
    are compared with, its name and its method.
    """
    methods = [method for curve in curves.values() for method in curve.values()]
    wanted = reproduction.wanted(name, methods)
    records, points = reproduction.records(wanted), []
    for one in wanted:
        runs = {
            cell[-1]: values_by_seed(records, cell, SCORE)
            for cell in one.cells()
        }
        for series, curve in curves.items():
            label, other = base[series]
            points += [
                point(
                    f"{one.student} student",
                    series,
                    at,
                    runs[method],
                    reference=None if method == other else label,
                    reference_runs=runs[other],
                )
                for at, method in curve.items()
            ]
    return pd.DataFrame(points), reproduction.describe(name, records)


def draw_similarity(reproduction, names, options):
    """Return Fig. 6: CKA of the stages of networks that trained alone."""
    (name,) = names
    records, notes = alone(reproduction, name, options.larger_network)
    found = {}
    for _, label, seed, gap in gaps(reproduction, name, records, options, True):
        cka = pd.DataFrame(gap.cka, *gap.stages.values())
        for at, value in cka.stack().items():
            at = " / ".join(at)
            found.setdefault((label, at), {})[seed] = float(value)
    points = [
        point(name, label, at, runs, CKA) for (label, at), runs in found.items()
    ]
    points = points or [point(name, "all pairs", NONE, {}, CKA)]
    notes.append("Linear CKA, debiased, over the test samples.")
    title = f"Figure 6. Similarity of the features, {name}"
    return title, pd.DataFrame(points), notes, drawings.draw_similarity


def alone(reproduction, name, larger):
    """Return the records of networks that train alone, and notes."""
    wanted = reproduction.wanted(name, [BASELINE])
    if larger:
        wanted += reproduction.wanted(name, [BASELINE], larger)
    records = reproduction.records(wanted)
    notes = reproduction.describe(name, records)
    if not reproduction.can_train(name):
        notes.append(f"{name}: no --data, so its networks are not compared.")
    return records, notes


def gaps(reproduction, name, records, options, has_stages=False):
    """Compare networks between the modalities, and within each.

    Between: the default networks of a seed. Within: the default network of a
    seed and the larger one where there are any, else the default networks of
    a seed and the next. Yields the kind, which networks, the first one's seed,
    and their `ModalityGap`, of their stages' features too if asked for.
    """
    if not reproduction.can_train(name):
        return
    first, second = reproduction.wanted(name, [BASELINE])
    runs, larger = {}, options.larger_network
    for record in records:
        key = tuple(
            record["settings"][k] for k in ("student", "student_network")
        )
        runs.setdefault(key, {})[record["settings"]["seed"]] = record
    one, other = (first.student, first.own), (second.student, second.own)
    label = f"{one[0]} - {other[0]}, {one[1]}"
    if one[1] != other[1]:
        label = f"{one[0]} {one[1]} - {other[0]} {other[1]}"
    wanted = [(BETWEEN, label, one, other, 0)]
    for modality, network in (one, other):
        key, label = (modality, network), f"{modality}, {network}, two seeds"
        if larger and (modality, larger) in runs:
            label = f"{modality}, {network} - {larger}"
            wanted.append((WITHIN, label, key, (modality, larger), 0))
        else:
            wanted.append((WITHIN, label, key, key, 1))
    pairs = [
        (kind, label, runs[one][seed], runs[other][seed + later])
        for kind, label, one, other, later in wanted
        for seed in sorted(runs.get(one, ()))
        if seed + later in runs.get(other, ())
    ]
    # Data of a seed are read once.
    for kind, label, one, other in sorted(
        pairs, key=lambda pair: pair[2]["settings"]["seed"]
    ):
        data, classes = reproduction.test_data(name, one)
        networks = [reproduction.network(name, run) for run in (one, other)]
        stages = [
            [
                x.name
                for x in network.layers
                if re.fullmatch(r"stage_\d+", x.name)
            ]
            if has_stages
            else []
            for network in networks
        ]
        gap = modality_gap(
            *networks,
            data,
            teacher_modality=one["settings"]["student"],
            student_modality=other["settings"]["student"],
            class_names=classes,
            teacher_features=stages[0],
            student_features=stages[1],
            verbose=0,
        )
        yield kind, label, one["settings"]["seed"], gap


FIGURES = {1: draw_gap, 3: draw_dynamics, 4: draw_sensitivity}
FIGURES |= {5: draw_modules, 6: draw_similarity}


if __name__ == "__main__":
    main()
