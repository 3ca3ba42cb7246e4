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
        help="folder with the result folder of each recipe",
    )
    parser.add_argument(
        "--only",
        type=_names,
        metavar="NAME[,NAME]",
        help="only these data sets (by recipe) or methods",
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
        "--largest-share",
        type=float,
        help="share of the samples that may be missing or unreadable",
    )
    parser.add_argument("--verbose", type=int, choices=(0, 1, 2), default=0)


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
        largest_share=options.largest_share,
        verbose=options.verbose,
    )


def split_names(names, recipes, methods):
    """Tell the names of recipes from those of methods.

    Args:
        names: Sequence of names, or None for no restriction.
        recipes: Names of the recipes that can be chosen.
        methods: Names of the methods that can be chosen.

    Returns:
        Two sets, or None where nothing is restricted.

    Raises:
        ValueError: If a name is neither.
    """
    unknown = [x for x in names or () if x not in {*recipes, *methods}]
    if unknown:
        raise ValueError(
            f"--only takes the data sets {sorted(recipes)} and the methods "
            f"{list(methods)}. Received: {unknown}"
        )
    chosen = set(names or ())
    return chosen & set(recipes) or None, chosen & set(methods) or None


def _names(text):
    return tuple(name for name in text.split(",") if name)


def _pair(text):
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"NAME=VALUE, not {text!r}")
    return name.replace("-", "_"), value
