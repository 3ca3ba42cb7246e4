"""The soak of killed trainings in a cheap setting; see `tests/soaks`."""

import collections
import json
import os
import subprocess
import sys

from tests.recipes.loading import ROOT
from tests.soaks.killed_training import ANY_TIME
from tests.soaks.killed_training import MOMENTS

SCRIPT = str(ROOT / "tests" / "soaks" / "killed_training.py")


def test_killed_at_every_kind_of_moment_it_ends_the_same(tmp_path):
    """The command itself compares, and fails if anything differs."""
    result = tmp_path / "killed.json"
    done = subprocess.run(
        [
            *(sys.executable, SCRIPT, "--fork", "--epochs", "2"),
            *("--kills", "20", "--out", str(result)),
        ],
        env={**os.environ, "KERAS_BACKEND": "torch", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    kills = json.loads(result.read_text())["kills"]
    counts = collections.Counter(name for name, _ in kills)
    assert sum(counts.values()) == 20
    assert set(counts) == {*MOMENTS, ANY_TIME}
