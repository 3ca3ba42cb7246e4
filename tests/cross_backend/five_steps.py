"""Five SGD steps from fixed weights; prints the losses as JSON."""

import json
import sys

import keras
import numpy as np

from keras_c2kd.methods import CIRKD
from tests.helpers.method_contract import contract_cases
from tests.helpers.method_contract import run_quickly
from tests.helpers.toys import numpy_weights
from tests.helpers.toys import toy_data
from tests.helpers.toys import toy_distiller

# Random draws differ from backend to backend, and noise does.
CASES = {
    name: create
    for name, create in contract_cases.items()
    if name not in ("kd_random", "cirkd", "ogm_ge")
}
# With memories that are drawn as a whole, the random order does not matter.
CASES["cirkd_whole"] = lambda: CIRKD(
    pixel_memory=400,
    region_memory=100,
    contrast_pixels=1600,
    contrast_regions=400,
)

# A correlation is as steep as the row is flat: the slope is one over the
# deviation of its probabilities. With the weights of the others, one selected
# row has three classes within 0.001, logits whose own rounding (6e-8) is
# 1e-5 of what tells them apart, and five steps make 1.4e-5 of it in float32,
# 2e-6 in float64. With these no row and no column is flatter than 0.012.
SEEDS = {"c2kd_dist": 14}


def five_steps(name):
    """Return the logs of five steps and a fingerprint of the weights."""
    distiller = toy_distiller(
        CASES[name](),
        compile={"optimizer": keras.optimizers.SGD(0.01, momentum=0.9)},
    )
    run_quickly(distiller)
    random = np.random.default_rng(SEEDS.get(name, 7))
    # The same numbers on every backend, in the range of usual weights.
    distiller.set_weights(
        [
            np.abs(w) + 0.5 if "variance" in path or "gamma" in path else w
            for path, w in (
                (v.path, random.normal(0, 0.2, v.shape).astype("float32"))
                for v in distiller.weights
            )
        ]
    )
    logs = []
    for step in range(5):
        inputs, labels = toy_data(16, seed=step)
        distiller.reset_metrics()
        log = distiller.train_on_batch(inputs, labels, return_dict=True)
        logs.append({key: float(value) for key, value in log.items()})
    weights = [float(np.mean(np.abs(w))) for w in numpy_weights(distiller)]
    return {"logs": logs, "weights": weights}


if __name__ == "__main__":
    json.dump({name: five_steps(name) for name in sys.argv[1:]}, sys.stdout)
