import json
import subprocess
import sys

import pytest

from tests import environment
from tests.cross_backend.five_steps import CASES

BACKENDS = ("tensorflow", "torch", "jax")
METHODS = tuple(CASES)


@pytest.fixture(scope="module")
def runs():
    """The logs and weights after five steps, by backend and method."""
    processes = {
        backend: subprocess.Popen(
            [sys.executable, "-m", "tests.cross_backend.five_steps", *METHODS],
            env=environment(backend, TF_CPP_MIN_LOG_LEVEL="3"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for backend in BACKENDS
    }
    results = {}
    for backend, process in processes.items():
        printed, errors = process.communicate()
        assert process.returncode == 0, errors[-2000:]
        results[backend] = json.loads(printed.splitlines()[-1])
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
