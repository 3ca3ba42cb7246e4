"""One run of a plan: trained, tested, stored once."""

import pathlib
import sys
import time
from typing import Any

import keras

from keras_c2kd.analysis import RankDistortion
from keras_c2kd.backend import distribution
from keras_c2kd.comparison.plan import Plan
from keras_c2kd.comparison.plan import Run
from keras_c2kd.comparison.records import PARTIAL
from keras_c2kd.comparison.records import Record
from keras_c2kd.comparison.records import RunFiles
from keras_c2kd.comparison.resumable import ResumableTraining
from keras_c2kd.data.epoch_dataset import FollowEpochs
from keras_c2kd.distiller.callbacks import ProfileSteps
from keras_c2kd.distiller.cross_modal_distiller import CrossModalDistiller


class Runner:
    """Trains the runs of a plan and keeps their results.

    Args:
        plan: `Plan`.
        files: `RunFiles`.
        workers: Integer, threads that read batches. Defaults to `1`.
        verbose: As in Keras' `fit`, for each run; a line an epoch in place of
            a bar where the output is no terminal. Defaults to `0`.
        least_seconds: As for `ResumableTraining`. Defaults to `60.0`.
        profile: Folder for a trace of some training steps of each run, in a
            folder of the run's name; None (default) for none.
        has_test: Whether the test samples are seen. Defaults to `True`.
    """

    def __init__(
        self,
        plan: Plan,
        files: RunFiles,
        workers: int = 1,
        verbose: int = 0,
        least_seconds: float = 60.0,
        profile: str | pathlib.Path | None = None,
        has_test: bool = True,
    ) -> None:
        self.plan = plan
        self.files = files
        self.workers = workers
        is_bar = verbose in (1, "auto")
        self.verbose = 2 if is_bar and not sys.stdout.isatty() else verbose
        self.has_test = has_test
        self.least_seconds = least_seconds
        self.profile = None if profile is None else pathlib.Path(profile)

    def identify(self, run: Run) -> tuple[str, dict[str, Any]]:
        """Return the name of a run and all that decides its outcome."""
        return run.name, self.plan.identity(run)

    def record(self, run: Run) -> Record | None:
        """Return the record of a finished run, or None."""
        return self.files.load(*self.identify(run))

    def can_begin(self, run: Run) -> bool:
        """Return whether the networks that a run starts from are there."""
        return all(self.record(one) for one in self.plan.starts_from(run))

    def network(self, run: Run) -> keras.Model:
        """Return a fresh copy of the network of a finished run.

        Raises:
            ValueError: If it is not finished.
        """
        if self.record(run) is None:
            raise ValueError(
                f"{run.name} must be finished before others start from its "
                f"network. Received: no result in {self.files.directory}"
            )
        return self.files.load_network(*self.identify(run))

    def train(self, run: Run) -> Record:
        """Train and test one network, store the result, return its record.

        An interrupted run goes on where it was. On several devices
        (`keras_c2kd.distribute`) they train together.

        Raises:
            ValueError: If the networks that it starts from are not there, or
                the state of an interrupted run is damaged.
        """
        start = time.monotonic()
        # What earlier runs left in memory.
        distribution.clear_session()
        plan, training = self.plan, self.plan.training_of(run)
        name, identity = self.identify(run)
        splits = plan.splits(run.seed)
        classes = splits.provenance["classes"]
        distiller = plan.distiller(run, self.network)
        train = plan.train_data(run)
        train.threads = self.workers
        steps = len(train)
        epochs = training.num_epochs(steps)
        training.compile(distiller, steps, classes)
        # A teacher that stays as it is has been tested before.
        is_fixed = distiller.method.teacher_update == "none"
        seen = (run.student,) if is_fixed else plan.modalities_of(run)
        validation, test = (
            part.select(seen) for part in (splits.validation, splits.test)
        )
        state = self._state(run, distiller)
        state.restore()
        if state.epoch < epochs and not state.is_over:
            distiller.fit(
                train,
                epochs=epochs,
                initial_epoch=state.epoch,
                validation_data=validation,
                callbacks=[*self._callbacks(run, train), state],
                shuffle=False,
                verbose=self.verbose,
            )
        state.finish()
        tested: dict[str, Any] = {}
        if self.has_test:
            tested = distiller.evaluate(test, return_dict=True, verbose=0)
            tested |= training.test_scores(
                distiller.student, run.student, test, classes
            )
        validated = state.history[f"val_{training.metric}"]
        place = state.best_epoch if state.keep_best else len(validated)
        scores = {
            "student": tested.get(training.metric),
            "validation": validated[place - 1],
        }
        if run.teacher is not None:
            before = self._score_before(run)
            after = tested.get(f"teacher_{training.metric}", before)
            scores |= {"teacher_before": before, "teacher_after": after}
        return self.files.save(
            name,
            identity,
            {
                "scores": {k: v for k, v in scores.items() if v is not None},
                "test": tested,
                "history": state.history,
                "updates": len(validated) * steps,
                "parameters": distiller.student.count_params(),
                "seconds": time.monotonic() - start,
                "data": splits.provenance,
            },
            network=distiller.student,
        )

    def _state(
        self, run: Run, distiller: CrossModalDistiller
    ) -> ResumableTraining:
        training = self.plan.training_of(run)
        return ResumableTraining(
            distiller,
            self.files.path(*self.identify(run), PARTIAL),
            monitor=f"val_{training.metric}",
            keep_best=training.protocol == "best_validation",
            patience=training.patience,
            least_seconds=self.least_seconds,
        )

    def _callbacks(
        self, run: Run, train: Any
    ) -> list[keras.callbacks.Callback]:
        found: list[keras.callbacks.Callback] = [FollowEpochs(train)]
        if run.teacher is not None and self.plan.ranked_pairs:
            ranked = self.plan.splits(run.seed).train
            ranked = ranked.select(self.plan.modalities_of(run))
            found.append(
                RankDistortion(ranked.evaluation(self.plan.ranked_pairs))
            )
        if self.profile is not None and distribution.is_first_process():
            found.append(ProfileSteps(self.profile / run.name))
        return found

    def _score_before(self, run: Run) -> float | None:
        """Return the test score of the network that teaches, if it is one."""
        taught_by = self.plan.starts_from(run)
        record = self.record(taught_by[0]) if taught_by else None
        return None if record is None else record["scores"].get("student")
