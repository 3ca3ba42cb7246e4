"""The command line that every recipe has."""

import argparse
import contextlib
import dataclasses
import pathlib
import sys

import keras

from keras_c2kd.backend import distribution
from keras_c2kd.backend import enable_compilation_cache
from keras_c2kd.experiments.grid import train_all
from keras_c2kd.experiments.grid import train_in_processes
from keras_c2kd.experiments.grid import train_on_ray
from keras_c2kd.experiments.grid import train_under_torchrun
from keras_c2kd.experiments.method_rows import BASELINE
from keras_c2kd.experiments.method_rows import base_row
from keras_c2kd.experiments.method_rows import method_row
from keras_c2kd.experiments.recipe import plan_runs
from keras_c2kd.experiments.report import report
from keras_c2kd.experiments.results import RunFiles
from keras_c2kd.experiments.runner import Runner
from keras_c2kd.experiments.settings import HelpFormatter
from keras_c2kd.experiments.settings import metadata_of
from keras_c2kd.experiments.sheets import one_line


def run_recipe(recipe, description, arguments=None):
    """Run a recipe from the command line.

    Args:
        recipe: `Recipe`.
        description: String, printed by `--help`; a recipe's docstring.
        arguments: List of words; None (default) takes the real ones.

    Returns:
        List of `Comparison`, the rows of the table; None with `--prepare`.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = parse(recipe, description, words)
    together = contextlib.nullcontext()
    if _trains_together(options) and not _starts_processes(options):
        together = distribution.distribute(options.devices)
    with together:
        return _run(options, words)


def _run(options, words):
    """Do what the options say, in one of perhaps several processes."""
    recipe = options.recipe
    enable_compilation_cache()
    is_first = distribution.is_first_process()
    files = RunFiles(options.out)
    if not options.prepare:
        # Not after hours of decoding and training.
        files.check_writable()
    runner = Runner(
        recipe,
        options.settings,
        files,
        data=options.data,
        cache=options.cache,
        max_missing_fraction=options.max_missing_fraction,
        workers=options.workers,
        resume=options.resume,
        verbose=options.verbose if is_first else 0,
        least_seconds=options.state_seconds,
        profile=options.profile,
    )
    plan = plan_runs(
        recipe,
        options.methods,
        options.students,
        range(options.seeds),
        options.student_network,
        options.teacher_network,
    )
    splits = runner.splits(plan[0].seed)
    if is_first and not options.worker:
        show_data(splits.provenance)
    if options.prepare:
        return None
    records = _train(runner, plan, options, words)
    if options.worker or not is_first:
        return None
    directory = pathlib.Path(options.out)
    comparisons = report(recipe, records, directory, options.students)
    if recipe.illustrate is not None:
        recipe.illustrate(runner, records, directory)
    return comparisons


def _trains_together(options):
    """Return whether several devices train each run."""
    return distribution.is_requested() or (options.devices or 1) > 1


def _starts_processes(options):
    """Return whether PyTorch's processes are still to be started."""
    is_torch = keras.backend.backend() == "torch"
    is_started = distribution.is_requested()
    return is_torch and _trains_together(options) and not is_started


def _train(runner, plan, options, words):
    """Train what is not finished, where the options say."""
    script = runner.recipe.script
    if options.only_run is not None:
        plan = [run for run in plan if run.name == options.only_run]
    starts_processes = _starts_processes(options)
    elsewhere = (
        options.engine == "ray" or options.processes > 1 or starts_processes
    )
    if elsewhere and not options.resume:
        # The processes share a folder, from which nothing may be taken that
        # was there before.
        for run in plan:
            runner.files.remove(*runner.identify(run))
    if options.engine == "ray":
        train_on_ray(script, words, runner, plan, options.gpus_per_run)
    elif options.processes > 1:
        train_in_processes(script, words, options.processes)
    elif starts_processes:
        train_under_torchrun(script, words, options.devices)
    if elsewhere:
        runner.resume = True
    return train_all(runner, plan)


def show_data(provenance):
    """Print what there is, and what is left out with its reason."""
    sizes = ", ".join(
        f"{size} {part}" for part, size in provenance["sizes"].items()
    )
    print(f"{provenance['data_set']}: {sizes} samples")
    for kind in ("missing", "unreadable", "excluded"):
        entries = provenance[kind]
        for entry in entries[:MOST_NAMED]:
            what = f"{entry['modality']} " if "modality" in entry else ""
            # Names of files may have characters that steer a terminal.
            text = f"{kind}: {entry['name']}: {what}{entry['reason']}"
            print(f"  {one_line(text)}")
        if len(entries) > MOST_NAMED:
            print(f"  {kind}: {len(entries) - MOST_NAMED} more")


# Of each kind; the result files have all of them.
MOST_NAMED = 10


def parse(recipe, description, arguments=None):
    """Read and check the command line.

    Args:
        recipe: `Recipe`.
        description: String, printed by `--help`.
        arguments: List of words; None (default) takes the real ones.

    Returns:
        Namespace with all options, and `recipe` (of a trial with `--smoke`),
        `settings`, `methods` and `students`.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=HelpFormatter
    )
    _add_choices(parser, recipe)
    _add_folders(parser, recipe)
    _add_engine(parser)
    group = parser.add_argument_group(
        "settings of this recipe, stored with every result"
    )
    for field in dataclasses.fields(recipe.settings):
        _add_setting(group, recipe.settings, field.name)
    options = parser.parse_args(arguments)
    recipe = options.recipe = recipe.trial() if options.smoke else recipe
    numbers = ("seeds", "epochs", "batch_size", "workers", "processes")
    for name in (*numbers, "devices"):
        number = getattr(options, name)
        if number is not None and number < 1:
            word = name.replace("_", "-")
            parser.error(f"--{word} must be at least 1. Received: {number}")
    options.methods = _methods(parser, recipe, options)
    options.students = (
        list(recipe.modalities)
        if options.student == "both"
        else [options.student]
    )
    _check_networks(parser, recipe, options)
    options.settings = _settings(recipe, options)
    options.seeds = options.seeds or recipe.seeds
    if options.verbose is None:
        options.verbose = recipe.verbose
    elsewhere = options.engine == "ray" or options.processes > 1
    if elsewhere and _trains_together(options):
        parser.error(
            "--devices train each run together, --processes and --engine "
            "share the runs: choose one of them"
        )
    elsewhere |= _starts_processes(options)
    if elsewhere and recipe.script is None:
        parser.error("several processes need a recipe that names its script")
    return options


def _add_choices(parser, recipe):
    parser.add_argument(
        "--student",
        choices=(*recipe.modalities, "both"),
        default="both",
        help="modality of the deployed network",
    )
    parser.add_argument(
        "--method",
        action="append",
        metavar="NAME[,NAME]",
        help=f"some of {', '.join(recipe.methods)}, or all; may be repeated; "
        "kd@cosine=0.2 is kd with another selection; "
        f"{BASELINE} is always run; {','.join(recipe.default_methods)} if "
        "not given",
    )
    for side in ("student", "teacher"):
        parser.add_argument(
            f"--{side}-network",
            metavar="NAME",
            help=f"network of the {side}; "
            + "; ".join(
                f"{modality}: {', '.join(names)}"
                for modality, names in recipe.networks.items()
            )
            + "; the first is the default",
        )
    parser.add_argument(
        "--seeds",
        type=int,
        help=f"number of seeds, from 0 on; {recipe.seeds} if not given",
    )
    parser.add_argument(
        "--smoke",
        action="store_true",
        help="a trial: small networks, coarse inputs, few epochs, one seed",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="keep finished runs that have the same settings, and go on with "
        "the one that was interrupted",
    )


def _add_folders(parser, recipe):
    parser.add_argument(
        "--out",
        default=f"results/{recipe.name}",
        help="folder of the results",
    )
    has_media = recipe.data_folder is not None
    if has_media:
        parser.add_argument(
            "--data", required=True, help=f"folder with {recipe.data_folder}"
        )
        parser.add_argument(
            "--cache",
            default=f"cache/{recipe.name}",
            help="folder for what was decoded; never in --data",
        )
        parser.add_argument(
            "--prepare",
            action="store_true",
            help="only decode all files into the cache, and tell what cannot "
            "be read",
        )
        parser.add_argument(
            "--max-missing-fraction",
            type=float,
            default=recipe.max_missing_fraction,
            help="fraction of the samples that may be missing or unreadable",
        )
    else:
        parser.set_defaults(
            data=None, cache=None, prepare=False, max_missing_fraction=0.0
        )
    parser.add_argument(
        "--workers", type=int, default=1, help="threads that read batches"
    )
    parser.add_argument(
        "--state-seconds",
        type=float,
        default=60.0,
        help="pause between two states from which --resume goes on",
    )
    parser.add_argument(
        "--profile",
        metavar="FOLDER",
        help="write the backend's trace of three training steps of each run "
        "into a folder of its name in here",
    )
    parser.add_argument(
        "--verbose",
        type=int,
        choices=(0, 1, 2),
        help="nothing, a progress bar or a line for each epoch",
    )


def _add_engine(parser):
    parser.add_argument(
        "--processes",
        type=int,
        default=1,
        help="processes on this machine that share the runs",
    )
    parser.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="train on this machine, or on the Ray cluster of RAY_ADDRESS",
    )
    parser.add_argument(
        "--gpus-per-run",
        type=float,
        default=0.0,
        help="GPUs, or the share of one, that Ray gives to a run",
    )
    parser.add_argument(
        "--devices",
        type=int,
        help="devices of this machine that train each run together; all that "
        "there are under torchrun or TF_CONFIG, else 1",
    )
    # What the processes of a grid are started with.
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--only-run", help=argparse.SUPPRESS)


def _add_setting(parser, settings, name):
    """Add the option of one setting; None means not given."""
    value, metadata = getattr(settings, name), metadata_of(settings, name)
    shown = value if value != "" else "none"
    kind = {"action": argparse.BooleanOptionalAction}
    if not isinstance(value, bool):
        kind = {
            "type": type(value),
            "choices": metadata.get("choices"),
            "metavar": None if "choices" in metadata else "VALUE",
        }
    parser.add_argument(
        "--" + name.replace("_", "-"),
        default=None,
        help=f"{metadata.get('help', '')} (default: {shown})".strip(),
        **kind,
    )


def _methods(parser, recipe, options):
    default = recipe.default_methods
    names = ",".join(options.method or default).split(",")
    if "all" in names:
        names = [*recipe.methods, *(name for name in names if "@" in name)]
    unknown = [name for name in names if base_row(name) not in recipe.methods]
    if unknown:
        parser.error(
            f"--method must name some of {', '.join(recipe.methods)}, or all. "
            f"Received: {', '.join(unknown)}"
        )
    for name in names:
        try:
            method_row(name)
        except ValueError as error:
            parser.error(f"--method: {error}")
    # Stable: selections of a row stand in the order in which they are given.
    order = {name: number for number, name in enumerate(recipe.methods)}
    return sorted(dict.fromkeys(names), key=lambda name: order[base_row(name)])


def _check_networks(parser, recipe, options):
    """Fill in and check the networks of both sides, in each direction."""
    for student in options.students:
        for side, modality in (
            ("student", student),
            ("teacher", recipe.other(student)),
        ):
            try:
                recipe.network(modality, getattr(options, f"{side}_network"))
            except ValueError as error:
                parser.error(f"--{side}-network: {error}")


def _settings(recipe, options):
    """Return the recipe's settings with those given."""
    changes = {}
    for field in dataclasses.fields(recipe.settings):
        given = getattr(options, field.name)
        if given is not None:
            changes[field.name] = given
    return dataclasses.replace(recipe.settings, **changes)
