"""Runs of a recipe: identified, trained, tested, stored once."""

import dataclasses
import functools
import pathlib
import time

import keras

from keras_c2kd.analysis import RankDistortion
from keras_c2kd.backend import distribution
from keras_c2kd.data.epoch_dataset import FollowEpochs
from keras_c2kd.distiller.callbacks import ProfileSteps
from keras_c2kd.distiller.cross_modal_distiller import CrossModalDistiller
from keras_c2kd.experiments.method_rows import RunContext
from keras_c2kd.experiments.method_rows import method_row
from keras_c2kd.experiments.recipe import baseline_run
from keras_c2kd.experiments.recorded_config import recorded_config
from keras_c2kd.experiments.results import PARTIAL
from keras_c2kd.experiments.resumable import ResumableTraining
from keras_c2kd.experiments.settings import recorded
from keras_c2kd.methods import fuse


class Runner:
    """Trains the runs of a recipe and keeps their results.

    Args:
        recipe: `Recipe`.
        settings: The recipe's settings, perhaps with changes.
        files: `RunFiles`.
        data: The user's folder, as `recipe.load` takes it.
        cache: Folder of prepared arrays, as `recipe.load` takes it.
        max_missing_fraction: Float, share of the samples that may be missing or
            unreadable. Defaults to `0.01`.
        workers: Integer, threads that read batches. Defaults to `1`.
        resume: Whether finished runs are kept and interrupted ones go on.
            Defaults to `True`.
        verbose: As in Keras' `fit`. Defaults to `0`.
        least_seconds: As for `ResumableTraining`. Defaults to `60.0`.
        profile: Folder for a trace of some training steps of each run, in a
            folder of the run's name; None (default) for none.
    """

    def __init__(
        self,
        recipe,
        settings,
        files,
        data=None,
        cache=None,
        max_missing_fraction=0.01,
        workers=1,
        resume=True,
        verbose=0,
        least_seconds=60.0,
        profile=None,
    ):
        self.recipe = recipe
        self.settings = settings
        self.files = files
        self.resume = resume
        self.workers = workers
        self.verbose = verbose
        self.least_seconds = least_seconds
        self.profile = None if profile is None else pathlib.Path(profile)

        @functools.lru_cache(maxsize=1)
        def load(seed):
            splits = recipe.load(settings, seed, data, cache)
            # Of several processes the first one fills the cache.
            for turn in (True, False):
                if distribution.is_first_process() == turn:
                    splits.prepare(
                        max_missing_fraction, verbose=int(bool(verbose))
                    )
                distribution.barrier()
            return splits

        self._load = load
        # To build a method only to know its settings takes time.
        self._identities = {}

    def splits(self, seed):
        """Return the prepared data of a seed, read once."""
        return self._load(seed if self.recipe.data_depend_on_seed else 0)

    def method(self, run):
        """Return a new method for a run."""
        steps = len(self.splits(run.seed).train)
        context = RunContext(
            student=run.student,
            seed=run.seed,
            batch_size=self.settings.batch_size,
            warmup_steps=steps * self.settings.warmup_epochs,
            stages=self.recipe.stages,
        )
        return method_row(run.method).build(context)

    def identify(self, run):
        """Return the name of a run and all that decides its outcome."""
        if run in self._identities:
            return self._identities[run]
        # Layers number their names; a clear session makes them the same in
        # every process, so that a resumed run finds its file.
        distribution.clear_session()
        method = self.method(run)
        found = self._identities[run] = (
            run.name,
            {
                "recipe": self.recipe.name,
                **dataclasses.asdict(run),
                "backend": keras.backend.backend(),
                **recorded(self.settings),
                "method_config": recorded_config(method),
                **self.recipe.taps_of(run.method),
                "data": self.splits(run.seed).provenance["fingerprint"],
            },
        )
        return found

    def record(self, run):
        """Return the record of a finished run, or None."""
        return self.files.load(*self.identify(run))

    def starts_from(self, run):
        """Return the runs whose networks a run starts from."""
        if run.teacher is None:
            return []
        other = self.recipe.other(run.student)
        found = [baseline_run(other, run.teacher_network, run.seed)]
        if method_row(run.method).is_fused:
            own = baseline_run(run.student, run.student_network, run.seed)
            found.append(own)
        return found

    def can_begin(self, run):
        """Return whether the networks that a run starts from are there."""
        return all(self.record(other) for other in self.starts_from(run))

    def train(self, run):
        """Train and test one network, store the result, return its record.

        An interrupted run goes on where it was, if the runner resumes. On
        several devices (`keras_c2kd.distribute`) they train together.

        Raises:
            ValueError: If the networks that it starts from are not there, or
                the state of an interrupted run is damaged.
        """
        start = time.monotonic()
        # What earlier runs left in memory.
        distribution.clear_session()
        name, identity = self.identify(run)
        splits = self.splits(run.seed)
        distiller, scores = self._distiller(run, splits)
        seen = self._seen(run)
        train = splits.train.select(*self._inputs(run))
        train.seed, train.threads = run.seed, self.workers
        validation, test = (
            part.select(seen) for part in (splits.validation, splits.test)
        )
        self.settings.compile(
            distiller,
            len(train) * self.settings.epochs,
            splits.provenance["classes"],
        )
        state = ResumableTraining(
            distiller,
            self.files.path(name, identity, PARTIAL),
            monitor=f"val_{self.recipe.metric}"
            if self.settings.protocol == "best_validation"
            else None,
            least_seconds=self.least_seconds,
        )
        if self.resume:
            state.restore()
        else:
            state.remove()
        callbacks = [FollowEpochs(train)]
        if run.teacher is not None:
            ranked = splits.train.select(seen)
            ranked = ranked.evaluation(self.recipe.ranked_pairs)
            callbacks.append(RankDistortion(ranked))
        if self.profile is not None and distribution.is_first_process():
            callbacks.append(ProfileSteps(self.profile / run.name))
        if state.epoch < self.settings.epochs:
            distiller.fit(
                train,
                epochs=self.settings.epochs,
                initial_epoch=state.epoch,
                validation_data=validation,
                callbacks=[*callbacks, state],
                shuffle=False,
                verbose=self.verbose,
            )
        state.finish()
        tested = distiller.evaluate(test, return_dict=True, verbose=0)
        tested |= self.settings.test_scores(
            distiller.student,
            run.student,
            test,
            splits.provenance["classes"],
        )
        scores["student"] = tested[self.recipe.metric]
        if run.teacher is not None:
            scores["teacher_after"] = tested[f"teacher_{self.recipe.metric}"]
        return self.files.save(
            name,
            identity,
            {
                "scores": scores,
                "test": tested,
                "history": state.history,
                "seconds": time.monotonic() - start,
                "data": splits.provenance,
            },
            network=distiller.student,
        )

    def _seen(self, run):
        """Return the modalities that the networks of a run read."""
        if run.teacher is None:
            return (run.student,)
        return self.recipe.modalities

    def _inputs(self, run):
        """Return the arguments of `select` for the batches of training."""
        row = method_row(run.method)
        second = run.student if row.has_second_view else None
        return self._seen(run), second

    def _distiller(self, run, splits):
        """Build the distiller of a run, and what is known of its teacher."""
        row, scores = method_row(run.method), {}
        teacher, teacher_modality = None, None
        if row.is_fused:
            teacher_modality = self.recipe.modalities
            teacher = self._fused_teacher(run, splits, row)
        elif run.teacher is not None:
            teacher_modality = run.teacher
            alone = baseline_run(run.teacher, run.teacher_network, run.seed)
            record, teacher = self._pre_trained(alone)
            scores["teacher_before"] = record["scores"]["student"]
        method = self.method(run)
        # Seeded twice: equal students whatever the teacher, and equal random
        # states whatever heads the method adds.
        keras.utils.set_random_seed(run.seed)
        student = self.build_network(run.student, run.student_network, splits)
        distiller = CrossModalDistiller(
            student=student,
            teacher=teacher,
            student_modality=run.student,
            teacher_modality=teacher_modality,
            method=method,
            **self.recipe.taps_of(run.method),
        )
        keras.utils.set_random_seed(run.seed)
        return distiller, scores

    def build_network(self, modality, network, splits):
        """Build a network of a modality for the data's shapes."""
        inputs, _ = splits.test.select((modality,)).batch([0])
        shape = keras.tree.map_structure(
            lambda array: array.shape[1:], inputs[modality]
        )
        num_classes = len(splits.provenance["classes"])
        build = self.recipe.networks[modality][network]
        return build(shape, num_classes, self.settings)

    def _pre_trained(self, run):
        """Return the record and a fresh copy of the network of a run."""
        identity = self.identify(run)
        record = self.files.load(*identity)
        if record is None:
            raise ValueError(
                f"{run.name} must be finished before others start from its "
                f"network. Received: no result in {self.files.directory}"
            )
        return record, self.files.load_network(*identity)

    def _fused_teacher(self, run, splits, row):
        """Join the two networks that trained alone; the fusion is new."""
        names = {
            run.student: run.student_network,
            self.recipe.other(run.student): run.teacher_network,
        }
        networks = [
            self._pre_trained(baseline_run(modality, name, run.seed))[1]
            for modality, name in names.items()
        ]
        keras.utils.set_random_seed(run.seed)
        num_classes = len(splits.provenance["classes"])
        student, other = names
        return fuse(
            *networks,
            fusion=None if row.fusion is None else row.fusion(num_classes),
            first_modality=student,
            second_modality=other,
        )
