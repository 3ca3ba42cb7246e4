"""The command line that every recipe has, and tables of one's own."""

import argparse
import ast
import dataclasses
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from keras_c2kd.backend import distribution
from keras_c2kd.comparison.candidates import candidates_of
from keras_c2kd.comparison.compare import run_plan
from keras_c2kd.comparison.plan import Plan
from keras_c2kd.comparison.processes import Engine
from keras_c2kd.comparison.processes import files_of
from keras_c2kd.comparison.processes import say
from keras_c2kd.comparison.recipe import Recipe
from keras_c2kd.comparison.result import ComparisonResult
from keras_c2kd.comparison.runner import Runner
from keras_c2kd.comparison.training import Training

# Of each kind of samples left out; the records have all of them.
MOST_NAMED = 20


class HelpFormatter(
    argparse.ArgumentDefaultsHelpFormatter,
    argparse.RawDescriptionHelpFormatter,
):
    """Keeps the lines of a description, and tells defaults that there are."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False:
            return action.help
        return super()._get_help_string(action)


def run_recipe(
    recipe: Recipe, description: str, arguments: Sequence[str] | None = None
) -> ComparisonResult | None:
    """Run a recipe from the command line.

    Args:
        recipe: `Recipe`.
        description: String, printed by `--help`; a recipe's docstring.
        arguments: List of words; None (default) takes the real ones.

    Returns:
        `ComparisonResult`; None with `--prepare`, `--dry-run`, and in all but
        the first of several processes.
    """
    options = parse(recipe, description, arguments)
    if not (options.prepare or options.dry_run):
        # Not after hours of decoding.
        files_of(options.folder).check_writable()
    plan = options.recipe.plan(
        options.methods,
        options.students,
        options.seeds,
        options.settings,
        options.data,
        options.cache,
        options.student_network,
        options.teacher_network,
        options.max_missing_fraction,
        verbose=1 if options.prepare else options.verbose,
    )
    _show_data(plan.splits(plan.seeds[0]).provenance)
    if options.prepare:
        return None
    if options.dry_run:
        _show_plan(plan.with_baselines(), options.folder)
        return None
    result = run_plan(
        plan,
        options.folder,
        Engine(
            options.processes,
            options.devices,
            options.engine,
            options.gpus_per_run,
        ),
        tune=options.tune,
        overwrite=options.overwrite,
        workers=options.workers,
        verbose=options.verbose if distribution.is_first_process() else 0,
        least_seconds=options.state_seconds,
        profile=options.profile,
    )
    if not distribution.is_first_process():
        return None
    say(f"\n{result}")
    result.save(options.folder)
    say(
        "\nWritten: table.md, table.csv, runs.csv, table.png and curves.png "
        f"in {options.folder}"
    )
    if options.recipe.illustrate is not None:
        options.recipe.illustrate(plan, result, options.folder)
    return result


def _show_data(provenance: Mapping[str, Any]) -> None:
    """Print what there is, and what is left out with its reason."""
    sizes = ", ".join(
        f"{size} {part}" for part, size in provenance["sizes"].items()
    )
    say(f"{provenance['data_set']}: {sizes} samples")
    for kind in ("missing", "unreadable", "excluded"):
        entries = provenance[kind]
        for entry in entries[:MOST_NAMED]:
            what = f"{entry['modality']} " if "modality" in entry else ""
            say(f"  {kind}: {entry['name']}: {what}{entry['reason']}")
        if len(entries) > MOST_NAMED:
            say(f"  {kind}: {len(entries) - MOST_NAMED} more")


def _show_plan(plan: Plan, folder: str) -> None:
    """Print what would be trained, and what it costs."""
    plan.check()
    runner = Runner(plan, files_of(folder))
    updates, seconds, kept = 0, [], 0
    for run in plan.runs():
        record = runner.record(run)
        steps = len(plan.train_data(run))
        number = steps * plan.training_of(run).num_epochs(steps)
        if record is not None:
            kept += 1
            seconds.append(record["seconds"])
        else:
            updates += number
        state = "finished" if record else f"{number} updates"
        say(f"  {run.name}: {state}")
    left = len(plan.runs()) - kept
    say(f"{left} runs to train, {updates} updates; {kept} are finished.")
    if seconds:
        each = sum(seconds) / len(seconds)
        say(f"Finished runs took {each:.1f} s each: about {each * left:.0f} s.")


def parse(
    recipe: Recipe, description: str, arguments: Sequence[str] | None = None
) -> argparse.Namespace:
    """Read and check the command line.

    Args:
        recipe: `Recipe`.
        description: String, printed by `--help`.
        arguments: List of words; None (default) takes the real ones.

    Returns:
        Namespace with all options, and `recipe` (of a trial with `--smoke`),
        `settings`, `methods` (dict of candidates), `students` and `seeds`.
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
    options.students = (
        list(recipe.modalities)
        if options.student == "both"
        else [options.student]
    )
    try:
        options.methods = _methods(recipe, options)
        for student in options.students:
            recipe.network(student, options.student_network)
            recipe.network(recipe.other(student), options.teacher_network)
        options.settings = _settings(recipe, options)
        Engine(options.processes, options.devices, options.engine)
        if options.seeds is not None and options.seeds < 1:
            raise ValueError(
                f"--seeds is at least 1. Received: {options.seeds}"
            )
    except ValueError as error:
        parser.error(str(error))
    options.seeds = range(options.seeds or recipe.seeds)
    return options


def _add_choices(parser: argparse.ArgumentParser, recipe: Recipe) -> None:
    names = ", ".join(candidates_of(recipe.methods))
    parser.add_argument(
        "--student",
        choices=(*recipe.modalities, "both"),
        default="both",
        help="modality of the deployed network",
    )
    parser.add_argument(
        "--methods",
        action="append",
        metavar="NAME[,NAME]",
        help=f"some of {names}, or all; may be repeated; alone is always run; "
        f"{','.join(recipe.default_methods)} if not given",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="METHOD.NAME=VALUE",
        help="an argument of a method, such as c2kd.cross_modal_weight=2; may "
        "be repeated",
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
        "--tune",
        type=int,
        default=0,
        metavar="TRIALS",
        help="search each method's settings on the validation part",
    )
    parser.add_argument(
        "--smoke",
        action="store_true",
        help="a trial: small networks, coarse inputs, few epochs, one seed",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the plan and its cost, and train nothing",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="remove the finished runs of this plan and train them anew; "
        "without it they are kept, and an interrupted one goes on",
    )


def _add_folders(parser: argparse.ArgumentParser, recipe: Recipe) -> None:
    parser.add_argument(
        "--folder",
        default=f"results/{recipe.name}",
        help="folder of the results",
    )
    if recipe.data_folder is not None:
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
            data=None, cache=None, prepare=False, max_missing_fraction=None
        )
    parser.add_argument(
        "--workers", type=int, default=1, help="threads that read batches"
    )
    parser.add_argument(
        "--state-seconds",
        type=float,
        default=60.0,
        help="pause between two states from which an interrupted run goes on",
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
        default=0,
        help="nothing, a progress bar or a line for each epoch",
    )


def _add_engine(parser: argparse.ArgumentParser) -> None:
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


def _metadata(settings: Training, name: str) -> dict[str, Any]:
    """Return description and choices of a setting, from where it began."""
    found: dict[str, Any] = {}
    for kind in reversed(type(settings).__mro__):
        field = vars(kind).get("__dataclass_fields__", {}).get(name)
        if field is not None:
            found |= field.metadata
    return found


def _add_setting(parser: Any, settings: Training, name: str) -> None:
    """Add the option of one setting; None means not given."""
    value, metadata = getattr(settings, name), _metadata(settings, name)
    kind: dict[str, Any] = {"action": argparse.BooleanOptionalAction}
    if not isinstance(value, bool):
        kind = {
            "type": type(value),
            "choices": metadata.get("choices"),
            "metavar": None if "choices" in metadata else "VALUE",
        }
    parser.add_argument(
        "--" + name.replace("_", "-"),
        default=None,
        help=f"{metadata.get('help', '')} (default: {value})".strip(),
        **kind,
    )


def _methods(recipe: Recipe, options: argparse.Namespace) -> dict[str, Any]:
    """Return the candidates that were chosen, with what was set."""
    known = candidates_of(recipe.methods)
    names = ",".join(options.methods or recipe.default_methods).split(",")
    names = [*known] if "all" in names else names
    chosen = candidates_of(recipe.chosen(names))
    for word in options.set:
        where, equals, text = word.partition("=")
        method, dot, name = where.rpartition(".")
        if not (equals and dot) or method not in chosen:
            raise ValueError(
                "--set takes METHOD.NAME=VALUE of a method that is compared, "
                f"one of {', '.join(chosen)}. Received: {word}"
            )
        try:
            value = ast.literal_eval(text)
        except (SyntaxError, ValueError):
            value = text
        chosen[method] = chosen[method].with_config({name: value})
    return chosen


def _settings(recipe: Recipe, options: argparse.Namespace) -> Training:
    """Return the recipe's settings with those given."""
    changes = {
        field.name: getattr(options, field.name)
        for field in dataclasses.fields(recipe.settings)
        if getattr(options, field.name) is not None
    }
    return dataclasses.replace(recipe.settings, **changes)
