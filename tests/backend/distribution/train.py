r"""Trains toy pairs on several devices; prints the logs as JSON.

KERAS_BACKEND=jax python -m tests.backend.distribution.train 4 c2kd kd
KERAS_BACKEND=torch torchrun --nproc-per-node 2 \
    -m tests.backend.distribution.train 2 kd
"""

import json
import os
import sys

import keras
import numpy as np

import keras_c2kd
from keras_c2kd.backend import distribution
from keras_c2kd.methods import C2KD
from keras_c2kd.methods import CIRKD
from keras_c2kd.methods import DLB
from keras_c2kd.networks.modalities import predict_on_batch
from tests.helpers.method_contract import contract_cases
from tests.helpers.method_contract import run_quickly
from tests.helpers.toys import numpy_weights
from tests.helpers.toys import toy_data
from tests.helpers.toys import toy_distiller

BATCH_SIZE = 16
# The last batch has 11, which divides by no number of devices.
SAMPLES = 2 * BATCH_SIZE + 11


CASES = {
    **contract_cases,
    # Drawn as a whole, from memories that the data fill.
    "cirkd_whole": lambda: CIRKD(
        pixel_memory=400,
        region_memory=100,
        contrast_pixels=1600,
        contrast_regions=400,
    ),
    "dlb": lambda: DLB(batch_size=BATCH_SIZE),
    "c2kd_ignored": C2KD,
    "c2kd_selected_ignored": contract_cases["c2kd_selected"],
    "c2kd_own_statistics": C2KD,
    # As several hosts need it on JAX.
    "c2kd_even": C2KD,
}


@keras.saving.register_keras_serializable("tests")
class Samples(keras.metrics.Metric):
    """Counts: a sum over processes that is taken twice is not a mean's."""

    def __init__(self, name="samples", **kwargs):
        super().__init__(name=name, **kwargs)
        self.count = self.add_variable((), "zeros", name="count")

    def update_state(self, y_true, y_pred, sample_weight=None):
        rows = keras.ops.cast(keras.ops.shape(y_true)[0], "float32")
        self.count.assign_add(rows)

    def result(self):
        return self.count + 0.0


# Half of the rows have no label, on one of two devices none has.
UNLABELED = "_unlabeled"


def unlabelled_cases():
    """Return the names of all cases with such rows: methods with a teacher."""
    return [
        name + UNLABELED
        for name, create in CASES.items()
        if name != "c2kd_even" and create().needs_teacher
    ]


def train(name, number):
    """Return the history of two epochs and the weights."""
    keras.utils.set_random_seed(0)
    loss = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True,
        ignore_class=3 if "_ignored" in name else None,
    )
    unlabeled = {}
    if name.endswith(UNLABELED):
        unlabeled = {"unlabeled_class": -1, "unlabeled_confidence": 0.3}
    distiller = toy_distiller(
        CASES[name.removesuffix(UNLABELED)](),
        **unlabeled,
        synchronize_batch_norm=name != "c2kd_own_statistics",
        compile={
            "optimizer": keras.optimizers.SGD(0.02, momentum=0.9),
            "loss": loss,
            "metrics": ["accuracy", Samples()],
        },
    )
    if number == 1:
        run_quickly(distiller)
    even = name == "c2kd_even"
    samples = 3 * BATCH_SIZE if even else SAMPLES
    inputs, labels = toy_data(samples)
    validation = toy_data(BATCH_SIZE + (0 if even else 5), seed=1)
    if unlabeled:
        for given in (labels, validation[1]):
            given[np.arange(len(given)) % BATCH_SIZE < BATCH_SIZE // 2] = -1
    history = distiller.fit(
        inputs,
        labels,
        batch_size=BATCH_SIZE,
        epochs=2,
        shuffle=False,
        verbose=0,
        validation_data=validation,
    ).history
    # Without the teacher; of uneven batches as a rule, some unlabelled.
    student = {"visual": validation[0]["visual"]}
    alone = distiller.evaluate(
        student, validation[1], BATCH_SIZE, verbose=0, return_dict=True
    )
    history |= {f"alone_{name}": [value] for name, value in alone.items()}
    predicted = predict_on_batch(distiller.student, inputs["visual"])
    assert len(predicted) == samples
    weights = [w.ravel().tolist() for w in numpy_weights(distiller)]
    return {"history": history, "weights": weights}


def main(number, names):
    """Train each case inside of the backend's own engine."""
    results = {}
    with keras_c2kd.distribute(int(number)):
        for name in names:
            # As between the runs of a recipe.
            distribution.clear_session()
            together = int(number) > 1 or distribution.is_requested()
            assert (distribution.num_devices() > 1) == together
            results[name] = train(name, int(number))
        if distribution.is_first_process():
            print(json.dumps(results), flush=True)
        distribution.barrier()


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main(sys.argv[1], sys.argv[2:])
