"""Runs all tests on all backends: `python -m tests [pytest arguments]`.

Keras reads KERAS_BACKEND when it is imported, so each backend gets processes
of its own, one backend after the other. The tests that compare the backends
with one another, and those of grids of processes and of several devices, start
processes of their own and run once, at the end, a file at a time in each of two
processes.

A test marked `backend_free` reads files, arrays, records, texts or pictures
that NumPy, SciPy or Matplotlib made: whatever the backend, it runs the same
code. Such tests run on PyTorch alone, where the others are fastest. Most are
marked by the module; `every_backend` marks the exceptions there, which train or
look at the backend. One marked `one_backend` trains on its way to what it
tests (the paper's tables, figures and study, made of records; how a recipe's
parts fit together; the second of two data sets of one kind; a form of a method
that has passed): it runs there too, as each kind of recipe, each network and
each method is trained on every backend elsewhere; so do counts of weights, and
that every method learns from images whose pixels have labels: all backends do a
step of each there, and learn with it elsewhere. What is not marked runs on
every backend. `python -m tests --everywhere` runs all but the `backend_free` on
every backend, for a release: it takes twice as long.

A test marked `slow` is left out of a bare `pytest`, the quick path: on one
backend, KERAS_BACKEND's, and in minutes. Slow are those that train for seconds
on TensorFlow, where tracing a step takes one or two, those that build networks
of the usual sizes, and those that start processes; of some folders all, which
tests/conftest.py names. This module runs them too, as `pytest -m ""` does.
"""

import os
import subprocess
import sys
import time

BACKENDS = ("tensorflow", "torch", "jax")
# These start processes of their own, on all backends.
COMPARISONS = "tests/cross_backend"
ENGINES = "tests/engines"
DEVICES = "tests/backend/distribution"
# These need an environment of their own.
OTHERS = "tests/tensorflow_io"
APART = (COMPARISONS, ENGINES, DEVICES, OTHERS)
# One test process a core: most tests are small steps that leave a second
# core idle, and a second thread a process would only spin.
PARALLEL = ("-n", str(max(1, min(4, os.cpu_count() or 1))))
# Where the tests run that need no backend, and what selects all tests, the slow
# ones too, or all that need one.
FREE_ON = "torch"
ALL = ("-m", "")
NOT_FREE = ("-m", "not (backend_free or one_backend) or every_backend")
EVERYWHERE = ("-m", "not backend_free or every_backend")
ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "MPLBACKEND": "Agg",
    "OMP_NUM_THREADS": "1",
}


def main(arguments):
    """Return 0 if everything passed on every backend."""
    others = NOT_FREE
    if "--everywhere" in arguments:
        arguments = [word for word in arguments if word != "--everywhere"]
        others = EVERYWHERE
    apart = [f"--ignore={path}" for path in APART]
    runs = []
    for backend in BACKENDS:
        chosen = ALL if backend == FREE_ON else others
        words = ["tests", *apart, *PARALLEL, "--dist", "loadgroup", *chosen]
        runs.append((backend, words))
    # Two at most, as each has processes of its own; the longest one first.
    last = [DEVICES, COMPARISONS, ENGINES, "-n", "2", "--dist", "loadfile"]
    runs.append(("torch", [*last, *ALL]))
    results = []
    for backend, words in runs:
        title = f"{words[0]} on {backend}"
        print(f"\n=== {title} ===", flush=True)
        start = time.time()
        status = subprocess.call(
            [sys.executable, "-m", "pytest", *words, *arguments],
            env={**ENVIRONMENT, **os.environ, "KERAS_BACKEND": backend},
        )
        # 5 means that the arguments selected no test.
        results.append((title, status in (0, 5), time.time() - start))
    print()
    for title, passed, seconds in results:
        print(f"{'passed' if passed else 'FAILED'}  {seconds:5.0f} s  {title}")
    return 0 if all(passed for _, passed, _ in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
