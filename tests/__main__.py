"""Runs all tests on all backends: `python -m tests [pytest arguments]`.

Keras reads KERAS_BACKEND when it is imported, so each backend gets a process
of its own, one after the other. The tests that compare the backends with one
another start their own processes and run once, at the end.
"""

import os
import subprocess
import sys
import time

BACKENDS = ("tensorflow", "torch", "jax")
# These start processes of their own. The comparisons run once; the benchmarks
# take minutes a backend and are run by hand: python -m pytest tests/benchmarks.
COMPARISONS = "tests/cross_backend"
APART = (COMPARISONS, "tests/benchmarks")


def main(arguments):
    """Return 0 if everything passed on every backend."""
    runs = [
        (backend, ["tests", *(f"--ignore={path}" for path in APART)])
        for backend in BACKENDS
    ]
    runs.append(("torch", [COMPARISONS]))
    results = []
    for backend, paths in runs:
        title = f"{' '.join(paths)} on {backend}"
        print(f"\n=== {title} ===", flush=True)
        start = time.time()
        status = subprocess.call(
            [sys.executable, "-m", "pytest", *paths, *arguments],
            env={
                "TF_CPP_MIN_LOG_LEVEL": "3",
                "MPLBACKEND": "Agg",
                **os.environ,
                "KERAS_BACKEND": backend,
            },
        )
        # 5 means that the arguments selected no test.
        results.append((title, status in (0, 5), time.time() - start))
    print()
    for title, passed, seconds in results:
        print(f"{'passed' if passed else 'FAILED'}  {seconds:5.0f} s  {title}")
    return 0 if all(passed for _, passed, _ in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
