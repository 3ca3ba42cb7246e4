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

    python recipes/figures.py --figure 4 --results results
    python recipes/figures.py --figure 5 --run --data vggsound=VGGSound
    python recipes/figures.py --figure all --run --substitute av_digits
    python recipes/figures.py --figure 4 --results recipes/results \
        --substitute av_digits --out printed

The options are those of `recipes/tables.py`: without `--run` the records and
networks that the recipes left in `results/<recipe>` are used; the last command
reads the records that come with the repository, without networks. Figures 1
and 6 run networks and need the data (`--data`) in any case. The paper takes AVE
and VGGSound for Fig. 1, VGGSound for Fig. 5 and AVE for Fig. 6; of Figs. 3 and
4 its text does not say, and AVE is taken. `--only crema_d` draws another one.

Written, to `--out` (`<results>/figures`): `figure_<N>.png`, its numbers as
CSV, and a page of Markdown with both and the protocol. What was not run is
`missing`.

Cost: seconds to minutes to draw; to train on AV-digits for five seeds, 260
runs for Fig. 4, 90 for Fig. 5, and 40 for the others.
"""

import argparse
import pathlib

from keras_c2kd.experiments.drawings import dynamics_drawing
from keras_c2kd.experiments.drawings import modality_gap_drawing
from keras_c2kd.experiments.drawings import modules_drawing
from keras_c2kd.experiments.drawings import sensitivity_drawing
from keras_c2kd.experiments.drawings import similarity_drawing
from keras_c2kd.experiments.figure_points import point_values
from keras_c2kd.experiments.figure_points import points_sheet
from keras_c2kd.experiments.reproduction_options import add_options
from keras_c2kd.experiments.reproduction_options import reproduction_of
from keras_c2kd.experiments.results import write_atomically
from keras_c2kd.experiments.settings import HelpFormatter
from keras_c2kd.experiments.sheets import as_csv
from keras_c2kd.experiments.sheets import as_markdown
from keras_c2kd.experiments.sheets import as_terminal

FOLDER = pathlib.Path(__file__).parent
# Where the paper says so; AVE otherwise.
DATA_SETS = {
    1: ("ave", "vggsound"),
    3: ("ave",),
    4: ("ave",),
    5: ("vggsound",),
    6: ("ave",),
}
THRESHOLDS = (-0.4, -0.2, 0.0, 0.2, 0.4, 0.6)
METRICS = {
    "KRC": "kendall",
    "Cos": "cosine",
    "Pearson": "pearson",
    "GradCos": "gradcos",
}
DYNAMICS = ("shake", "nkd", "c2kd")
MODULES = {
    "DIST": {
        "plain": "dist",
        "+BD": "c2kd-b+dist",
        "+OFSD": "c2kd-c+dist",
        "+Proxy": "c2kd+dist",
    },
    "NKD": {
        "plain": "nkd",
        "+BD": "c2kd-b+nkd",
        "+OFSD": "c2kd-c+nkd",
        "+Proxy": "c2kd+nkd",
    },
}


def main(arguments=None):
    """Draw figures, print and write their numbers.

    Args:
        arguments: List of words; None (default) takes the real ones.

    Returns:
        Dict from the number of a figure to its list of `Point`.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=HelpFormatter
    )
    parser.add_argument(
        "--figure",
        action="append",
        required=True,
        choices=[*map(str, DATA_SETS), "all"],
        help="may be repeated",
    )
    parser.add_argument("--out", help="folder; <results>/figures if not given")
    parser.add_argument(
        "--thresholds",
        type=numbers_of,
        default=THRESHOLDS,
        metavar="NUMBER[,NUMBER]",
        help="of the selection, for figure 4: --thresholds=-0.4,0,0.4",
    )
    parser.add_argument(
        "--larger-network",
        help="network of both modalities to compare the default one with, "
        "such as resnet50, for figures 1 and 6",
    )
    add_options(parser)
    options = parser.parse_args(arguments)
    numbers = [*DATA_SETS] if "all" in options.figure else options.figure
    numbers = list(dict.fromkeys(map(int, numbers)))
    try:
        reproduction = reproduction_of(FOLDER, options)
        names = {
            number: choose(reproduction, number, options) for number in numbers
        }
    except ValueError as error:
        parser.error(str(error))
    out = pathlib.Path(options.out or reproduction.results / "figures")
    drawn = {}
    for number, data_sets in names.items():
        # The first figure has all its data sets in one picture.
        groups = [data_sets] if number == 1 else [[x] for x in data_sets]
        for group in groups:
            drawing = FIGURES[number](reproduction, group, options)
            stem = f"figure_{number}"
            if len(groups) > 1:
                stem += f"_{group[0]}"
            write(drawing, stem, out)
            drawn.setdefault(number, []).extend(drawing.points)
    return drawn


def numbers_of(text):
    """Return the numbers of a comma-separated text, each once."""
    return tuple(dict.fromkeys(float(number) for number in text.split(",")))


def choose(reproduction, number, options):
    """Return the names of the recipes that a figure is drawn for.

    Args:
        reproduction: `Reproduction`.
        number: Integer, of the figure.
        options: Namespace.

    Returns:
        List of names.

    Raises:
        ValueError: If nothing is left, or a name is unknown.
    """
    names = options.substitute or options.only or DATA_SETS[number]
    if options.substitute and options.only:
        names = [name for name in names if name in options.only]
    fitting = [x for x in names if reproduction.recipe(x).metric == "accuracy"]
    if not fitting:
        raise ValueError(
            "The figures are of classification. Received: the recipes "
            f"{','.join(names)}"
        )
    reproduction.check_changes(fitting)
    return fitting


def write(drawing, stem, out):
    """Print the numbers of a figure, and write it with them.

    Args:
        drawing: `Drawing`.
        stem: Name of the files without ending.
        out: `pathlib.Path` of the folder.
    """
    told = drawing.points if drawing.told is None else drawing.told
    sheet = points_sheet(drawing.title, told, drawing.notes)
    print(f"\n{as_terminal([sheet])}")
    if not any(point.runs for point in drawing.points):
        print("There is no finished run to draw. Train with --run.")
        return
    drawing.draw(out / f"{stem}.png")
    write_atomically(out / f"{stem}.csv", as_csv(point_values(drawing.points)))
    page = f"![{drawing.title}]({stem}.png)\n\n{as_markdown([sheet])}"
    write_atomically(out / f"{stem}.md", page)
    print(f"Written: {stem}.png, .csv and .md in {out}")


FIGURES = {
    1: lambda reproduction, names, options: modality_gap_drawing(
        reproduction, names, options.larger_network
    ),
    3: lambda reproduction, names, options: dynamics_drawing(
        reproduction, *names, DYNAMICS
    ),
    4: lambda reproduction, names, options: sensitivity_drawing(
        reproduction, *names, METRICS, options.thresholds
    ),
    5: lambda reproduction, names, options: modules_drawing(
        reproduction, *names, MODULES
    ),
    6: lambda reproduction, names, options: similarity_drawing(
        reproduction, *names, options.larger_network
    ),
}


if __name__ == "__main__":
    main()
