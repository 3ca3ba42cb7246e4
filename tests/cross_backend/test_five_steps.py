import json
import os
import subprocess
import sys

import pytest

from tests.cross_backend.five_steps import CASES

BACKENDS = ("tensorflow", "torch", "jax")
METHODS = tuple(CASES)


@pytest.fixture(scope="module")
def runs():
    """The logs and weights after five steps, by backend and method."""
    results = {}
    for backend in BACKENDS:
        result = subprocess.run(
            [sys.executable, "-m", "tests.cross_backend.five_steps", *METHODS],
            env={
                **os.environ,
                "KERAS_BACKEND": backend,
                "TF_CPP_MIN_LOG_LEVEL": "3",
            },
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stderr[-2000:]
        results[backend] = json.loads(result.stdout.splitlines()[-1])
    return results


@pytest.mark.parametrize("backend", ["torch", "jax"])
@pytest.mark.parametrize("method", METHODS)
def test_five_steps_are_equal_on_every_backend(runs, backend, method):
    reference, other = runs["tensorflow"][method], runs[backend][method]
    for one, two in zip(reference["logs"], other["logs"]):
        assert two == pytest.approx(one, rel=1e-5, abs=1e-5)
    assert other["weights"] == pytest.approx(
        reference["weights"], rel=1e-5, abs=1e-5
    )
