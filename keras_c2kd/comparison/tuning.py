"""Search of a method's arguments on the validation split, by Optuna."""

import math
import os
import pathlib
import time
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

from keras_c2kd.comparison.shared_study import SharedStudy
from keras_c2kd.methods.search_space import SearchSpace
from keras_c2kd.utils.argument_checks import check_integer

_PAUSE = 0.2  # Seconds, until it is looked again what other processes did.


def tune_method(
    space: SearchSpace,
    default: Mapping[str, Any],
    evaluate: Callable[[dict[str, Any]], float],
    *,
    trials: int,
    storage: str | os.PathLike[str],
    study_name: str,
    seed: int = 0,
) -> dict[str, Any]:
    """Try settings and return the one with the best validation score.

    The first trial is the default setting. Optuna's TPE proposes the others
    from the scores so far; the seed and these decide what it proposes.
    Several processes that call this with equal arguments share the trials. A
    trial that did not end, because of an error or a kill, is done again.

    Args:
        space: Dict from names to a `SearchRange` or `SearchChoice` each.
        default: Dict from the same names to the values of the first trial.
        evaluate: Function from a setting to its validation score, the higher
            the better. A trial whose score is NaN or infinite, or that raises
            a `FloatingPointError`, has failed and counts as the worst.
        trials: Integer, how many end in all, the failed ones among them.
        storage: Path of the file, an Optuna journal, that keeps them.
        study_name: String. A file holds any number of studies.
        seed: Integer. Defaults to `0`.

    Returns:
        Dict of plain data: `"params"` and `"value"` of the best trial, the
        first one of equals (the default setting and None if all failed), and
        `"trials"`, a list of dicts with `number`, `params`, `value` and
        `failure`. `failure` is None, or a text, and then `value` is None.

    Raises:
        ImportError: If Optuna is not installed (extra `tune`).
        ValueError: If `default` lies outside of the space, or the study was
            begun with another space, default or seed.

    Example:
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     found = tune_method(
    ...         {"weight": SearchRange(0.1, 10.0, log=True)},
    ...         {"weight": 1.0},
    ...         lambda setting: -((setting["weight"] - 2.0) ** 2),
    ...         trials=3,
    ...         storage=os.path.join(folder, "tuning.log"),
    ...         study_name="kd",
    ...     )
    >>> found["trials"][0]
    {'number': 0, 'params': {'weight': 1.0}, 'value': -1.0, 'failure': None}
    """
    check_integer(minimum=1, trials=trials)
    check_integer(seed=seed)
    study = SharedStudy(space, default, pathlib.Path(storage), study_name, seed)
    while open_ones := set(range(trials)) - study.read().keys():
        is_stuck = True
        for number in sorted(open_ones):
            with study.claimed(number) as is_ours:
                # Another process may have ended it before the claim.
                if not is_ours or number in (done := study.read()):
                    continue
                params = study.propose(number, done)
                study.add(number, params, *_score(evaluate, params))
                is_stuck = False
        if is_stuck:
            time.sleep(_PAUSE)
    study.drop_claims(trials)
    done = study.read()
    found = [done[number] for number in range(trials)]
    ended = [trial for trial in found if trial["failure"] is None]
    best = max(ended, key=lambda trial: trial["value"], default=found[0])
    return {"params": best["params"], "value": best["value"], "trials": found}


def _score(
    evaluate: Callable[[dict[str, Any]], float], params: Mapping[str, Any]
) -> tuple[float | None, str | None]:
    """Return the score, or None and why there is none."""
    try:
        value = float(evaluate(dict(params)))
    except FloatingPointError as error:
        return None, str(error) or "FloatingPointError"
    if not math.isfinite(value):
        return None, f"The validation score is {value}."
    return value, None
