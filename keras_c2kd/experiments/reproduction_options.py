"""The command-line options that tables and figures share."""

import argparse

from keras_c2kd.experiments.reproduction import Reproduction

# Recipes that need no data, for what the paper measures.
STAND_INS = ("av_digits", "rgbd_scenes")


def add_options(parser):
    """Add the options that tables and figures share.

    Args:
        parser: `argparse.ArgumentParser`.
    """
    parser.add_argument(
        "--results",
        default="results",
        help="folder with the result folder of each recipe; "
        "--results recipes/results prints from the records that come with the "
        "repository",
    )
    parser.add_argument(
        "--only",
        type=_names,
        metavar="NAME[,NAME]",
        help="only these data sets (by recipe), students or methods",
    )
    parser.add_argument(
        "--substitute",
        type=_names,
        nargs="?",
        const=STAND_INS,
        metavar="RECIPE[,RECIPE]",
        help="recipes in place of the paper's data sets, without its numbers; "
        f"{','.join(STAND_INS)} if none is named",
    )
    parser.add_argument("--seeds", type=int, help="number of seeds, from 0 on")
    parser.add_argument(
        "--smoke", action="store_true", help="trials: small and short"
    )
    parser.add_argument(
        "--set",
        type=_pair,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of the recipes, such as epochs=12; may be repeated",
    )
    parser.add_argument(
        "--backend", help="which records to take, if there are several"
    )
    parser.add_argument(
        "--run",
        action="store_true",
        help="train the runs that are missing, through the recipes",
    )
    parser.add_argument(
        "--data",
        type=_pair,
        action="append",
        default=[],
        metavar="RECIPE=FOLDER",
        help="folder of a data set, as its recipe takes it; may be repeated",
    )
    parser.add_argument(
        "--cache", default="cache", help="folder for what was decoded"
    )
    parser.add_argument(
        "--max-missing-fraction",
        type=float,
        help="share of the samples that may be missing or unreadable",
    )
    parser.add_argument(
        "--verbose",
        type=int,
        choices=(0, 1, 2),
        default=0,
        help="nothing, a progress bar or a line for each epoch",
    )


def reproduction_of(folder, options):
    """Return the `Reproduction` of the options that `add_options` added.

    Args:
        folder: Path of the folder with the recipes.
        options: Namespace.
    """
    return Reproduction(
        folder,
        options.results,
        run=options.run,
        smoke=options.smoke,
        changes=dict(options.set),
        backend=options.backend,
        seeds=options.seeds,
        data=dict(options.data),
        cache=options.cache,
        max_missing_fraction=options.max_missing_fraction,
        verbose=options.verbose,
    )


def split_names(names, kinds):
    """Sort the names of `--only` by what they name.

    Args:
        names: Sequence of names, or None for no restriction.
        kinds: Dict from a kind, such as `"methods"`, to the names of that
            kind that can be chosen.

    Returns:
        Dict from each kind to a set of names, or None where nothing is
        restricted.

    Raises:
        ValueError: If a name is of no kind.
    """
    known = {name for choices in kinds.values() for name in choices}
    unknown = [name for name in names or () if name not in known]
    if unknown:
        listed = ", ".join(
            f"{kind} {list(choices)}" for kind, choices in kinds.items()
        )
        raise ValueError(f"--only takes {listed}. Received: {unknown}")
    chosen = set(names or ())
    return {
        kind: chosen & set(choices) or None for kind, choices in kinds.items()
    }


def _names(text):
    return tuple(name for name in text.split(",") if name)


def _pair(text):
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"NAME=VALUE, not {text!r}")
    return name.replace("-", "_"), value
