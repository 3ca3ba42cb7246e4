"""Losses and weights after five steps of every method, bit for bit.

Before a change that must not move any number, and after it:

    export KERAS_BACKEND=torch
    python -m tests.helpers.golden_steps before.json
    python -m tests.helpers.golden_steps before.json --compare

The numbers are those of one machine and one set of packages: they are not
kept in the repository. What they have to be is tested elsewhere, by hand.
"""

import argparse
import hashlib
import json
import pathlib
import sys

import keras
import numpy as np

from tests.helpers.method_contract import contract_cases
from tests.helpers.toys import toy_data
from tests.helpers.toys import toy_distiller

# How the distiller is built beside the method.
FORMS = {
    "labeled": {},
    "unlabeled": {"unlabeled_class": -1, "unlabeled_confidence": 0.3},
}
STEPS = 5


def five_steps(create, unlabeled_class=None, **options):
    """Train for five steps; return hexadecimal logs and digests of weights."""
    keras.utils.set_random_seed(0)
    distiller = toy_distiller(
        create(), unlabeled_class=unlabeled_class, **options
    )
    logs = []
    for step in range(STEPS):
        inputs, labels = toy_data(16, seed=step)
        if unlabeled_class is not None:
            labels[::3] = unlabeled_class
        weights = np.linspace(0.5, 1.5, 16).astype("float32")
        distiller.reset_metrics()
        log = distiller.train_on_batch(
            inputs, labels, sample_weight=weights, return_dict=True
        )
        logs.append({name: float(log[name]).hex() for name in sorted(log)})
    distiller.reset_metrics()
    log = distiller.test_on_batch(inputs, labels, return_dict=True)
    logs.append({name: float(log[name]).hex() for name in sorted(log)})
    values = [keras.ops.convert_to_numpy(v) for v in distiller.variables]
    digests = [
        hashlib.sha256(np.ascontiguousarray(v).tobytes()).hexdigest()[:16]
        for v in values
    ]
    # Variables may be listed in another order.
    return {"logs": logs, "weights": sorted(digests)}


def main(arguments):
    """Write the numbers, or compare them; return 0 if they are equal."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("--compare", action="store_true")
    parser.add_argument("--only", nargs="*", help="names of methods")
    options = parser.parse_args(arguments)
    found = {}
    for name, create in contract_cases.items():
        if options.only and name not in options.only:
            continue
        for form, extra in FORMS.items():
            if extra and not create().needs_teacher:
                continue
            found[f"{name} {form}"] = five_steps(create, **extra)
    if not options.compare:
        options.file.write_text(json.dumps(found, indent=1))
        print(f"{len(found)} runs written to {options.file}")
        return 0
    before = json.loads(options.file.read_text())
    wrong = [name for name in found if found[name] != before.get(name)]
    for name in wrong:
        one, other = before.get(name, {}), found[name]
        print(f"{name}: weights {one.get('weights') == other['weights']}")
        for old, new in zip(one.get("logs", []), other["logs"]):
            for key in {*old, *new}:
                if old.get(key) != new.get(key):
                    print(f"  {key}: {old.get(key)} is now {new.get(key)}")
    print(f"{len(found) - len(wrong)} of {len(found)} runs are equal")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
