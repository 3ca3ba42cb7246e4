"""Search of each method's settings on the validation part, by Optuna.

A trial is a run like any other, stored in the folder `tuning`, but for the
test samples, which it does not see. Optuna's sampler is seeded and proposes
from the scores so far: after a kill, the same trials are proposed again, and
those that are finished are not trained again.
"""

import dataclasses
import os
import pathlib
import zlib
from collections.abc import Mapping
from typing import Any

from keras_c2kd.comparison.candidates import BASELINE
from keras_c2kd.comparison.candidates import Candidate
from keras_c2kd.comparison.plan import Plan
from keras_c2kd.comparison.plan import Run
from keras_c2kd.comparison.processes import Engine
from keras_c2kd.comparison.processes import files_of
from keras_c2kd.comparison.processes import forget_failures
from keras_c2kd.comparison.processes import say
from keras_c2kd.comparison.processes import train_plan
from keras_c2kd.comparison.runner import Runner
from keras_c2kd.methods.search_space import SearchChoice
from keras_c2kd.methods.search_space import SearchRange
from keras_c2kd.methods.search_space import SearchSpace
from keras_c2kd.utils.optional_imports import import_optional

# For every method and for the networks alone: the learning rate, as a factor
# of the training's.
RATE = "learning_rate"
RATE_FACTORS = SearchRange(0.1, 10.0, log=True)


def tuned_plan(
    plan: Plan,
    folder: str | os.PathLike[str],
    trials: int,
    engine: Engine | None = None,
    workers: int = 1,
) -> Plan:
    """Return a plan whose rows have the best settings of a search.

    Equally many trials for each method in each direction, and for each
    network alone; the first of them is the setting as it was given. All are
    trained from the first seed. The networks alone are searched first: their
    best ones are the teachers.

    Args:
        plan: `Plan`.
        folder: Of the comparison.
        trials: Integer.
        engine: As for `run_plan`.
        workers: As for `compare`.

    Raises:
        ImportError: If Optuna is not installed (extra `tune`).
    """
    first = dataclasses.replace(plan, seeds=plan.seeds[:1], tuned={})
    files = files_of(pathlib.Path(folder) / "tuning")
    for is_alone in (True, False):
        rows = [
            run for run in first.runs() if (run.method == BASELINE) == is_alone
        ]
        searches = [_Search(first, run) for run in rows]
        for number in range(trials):
            proposed = {
                (s.run.student, s.run.method): s.propose() for s in searches
            }
            trial = dataclasses.replace(
                first, tuned={**first.tuned, **proposed}
            )
            if is_alone:
                alone = {BASELINE: first.candidates[BASELINE]}
                trial = dataclasses.replace(trial, candidates=alone)
            runner = Runner(trial, files, workers, has_test=False)
            forget_failures(runner)
            failures = train_plan(runner, engine or Engine())
            for search in searches:
                record = runner.record(search.run)
                score = None if record is None else record["scores"]
                search.tell(
                    None if score is None else score["validation"],
                    failures.get(search.run),
                )
        found = {
            (s.run.student, s.run.method): s.best(trials) for s in searches
        }
        first = dataclasses.replace(first, tuned={**first.tuned, **found})
    return dataclasses.replace(plan, tuned=first.tuned)


class _Search:
    """The search of one row in one direction."""

    def __init__(self, plan: Plan, run: Run) -> None:
        optuna = self._optuna = import_optional("optuna", "tune", "Tuning")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.run = run
        self.candidate = plan.candidate(run)
        self._rate = plan.training_of(run).learning_rate
        self._steps = plan.total_steps(run)
        method = plan.method(run)
        self.space, setting = searched_settings(method, self._steps)
        self.space = {RATE: RATE_FACTORS, **self.space}
        words = f"{run.method} {run.student}"
        self._study = optuna.create_study(
            direction="maximize",
            sampler=optuna.samplers.TPESampler(seed=zlib.crc32(words.encode())),
        )
        # Options by their places: Optuna takes no tuples.
        places = {
            name: domain.options.index(setting[name])
            for name, domain in self.space.items()
            if isinstance(domain, SearchChoice)
        }
        self._study.enqueue_trial({RATE: 1.0, **setting, **places})
        self._trial: Any = None

    def propose(self) -> Candidate:
        """Return the candidate of the next trial."""
        domains = {
            name: _distribution(self._optuna, domain)
            for name, domain in self.space.items()
        }
        self._trial = self._study.ask(domains)
        return self._with(self._trial.params)

    def tell(self, score: float | None, failure: str | None) -> None:
        """Note what the trial reached, or that it failed."""
        states = self._optuna.trial.TrialState
        if score is None:
            say(f"{self.run.name}: a trial failed, {failure}")
            self._study.tell(self._trial, state=states.FAIL)
        else:
            self._study.tell(self._trial, score)

    def best(self, trials: int) -> Candidate:
        """Return the candidate with the best settings; say which."""
        done = [t for t in self._study.trials if t.value is not None]
        if not done:
            return self.candidate
        best = max(done, key=lambda trial: trial.value)
        shown = ", ".join(
            f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}"
            for k, v in best.params.items()
        )
        say(
            f"{self.run.method}, {self.run.student} student: best of {trials} "
            f"trials, validation {100 * best.value:.1f}%: {shown}"
        )
        return self._with(best.params)

    def _with(self, params: Mapping[str, Any]) -> Candidate:
        params = dict(params)
        rate = params.pop(RATE)
        changes = {
            name: self._value(self.space[name], value)
            for name, value in params.items()
        }
        if rate != 1.0:
            changes[RATE] = rate * self._rate
        return self.candidate.with_config(changes)

    def _value(self, domain: SearchRange | SearchChoice, value: Any) -> Any:
        if isinstance(domain, SearchChoice):
            return domain.options[value]
        return round(value * self._steps) if domain.of_training else value


def searched_settings(
    method: Any, training_steps: int
) -> tuple[SearchSpace, dict[str, Any]]:
    """Return what is searched of a method, and the values that it has.

    An argument that was given a value outside of its range, such as a weight
    of 0 that switches a term off, is not searched: it stays as it was given.

    Args:
        method: `DistillationMethod`.
        training_steps: Integer, steps of a training.

    Returns:
        The method's `search_space` without these arguments, and a dict from
        its names to values.
    """
    config = method.get_config()
    space: SearchSpace = {}
    setting: dict[str, Any] = {}
    for name, domain in method.search_space.items():
        # A warm-up of no steps stands in no configuration.
        value = config[name] if name in config else getattr(method, name)
        if getattr(domain, "of_training", False):
            value = value / training_steps
        if not domain.contains(value):
            continue
        space[name], setting[name] = domain, value
    return space, setting


def _distribution(optuna: Any, domain: SearchRange | SearchChoice) -> Any:
    kinds = optuna.distributions
    if isinstance(domain, SearchChoice):
        return kinds.CategoricalDistribution(range(len(domain.options)))
    if domain.integer:
        return kinds.IntDistribution(
            int(domain.low), int(domain.high), log=domain.log
        )
    return kinds.FloatDistribution(domain.low, domain.high, log=domain.log)
