"""The first training step of a process, with and without kept programs.

The pair of ResNet-18 size of `joint_step.py`, with `C2KD()`. Two fresh
processes build it and train one step: the first start fills an empty folder
with what it compiles, the second start finds it there.

- JAX: `enable_compilation_cache`, which every recipe calls.
- TensorFlow with `jit_compile=True`: XLA's own folder, which must be named in
  the environment before TensorFlow is loaded
  (`TF_XLA_FLAGS=--tf_xla_persistent_cache_directory=FOLDER`). Graphs are traced
  anew by every process. Without XLA, TensorFlow compiles nothing to keep.
- PyTorch runs the operations one by one: there is nothing to keep.

CPU time is of the whole process, all threads, from before the networks are
built until the step is done; imports are not counted. Floors: none.

    KERAS_BACKEND=jax python tests/benchmarks/warm_start.py --out warm.json
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import keras
from joint_step import SMOKE
from joint_step import Settings
from joint_step import batch
from joint_step import distillers
from joint_step import step
from measure import Figure
from measure import arguments
from measure import report

from keras_c2kd.backend import enable_compilation_cache

FIRST, SECOND = "first start", "second start"


def first_step(folder, smoke):
    """Print the seconds from nothing to a trained step, as JSON."""
    settings = SMOKE if smoke else Settings()
    inputs, labels = batch(settings)
    # First: JAX asks where to keep programs when it compiles one.
    enable_compilation_cache(folder)
    # All backends load what they need on their first use.
    keras.ops.zeros(1) + 1
    clocks = (time.process_time, time.perf_counter)
    start = [clock() for clock in clocks]
    distiller = distillers("joint", settings)["joint"]
    # Not PyTorch, where the compilation of a whole step takes minutes.
    distiller.jit_compile = keras.backend.backend() != "torch"
    step(distiller, inputs, labels)
    print(json.dumps([clock() - begun for clock, begun in zip(clocks, start)]))


def in_a_fresh_process(folder, smoke):
    """Return CPU time and wall time of `first_step` in a new process."""
    flag = f"--tf_xla_persistent_cache_directory={folder}"
    code = f"import warm_start; warm_start.first_step({folder!r}, {smoke})"
    finished = subprocess.run(
        [sys.executable, "-c", code],
        cwd=pathlib.Path(__file__).parent,
        env={**os.environ, "TF_XLA_FLAGS": flag},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(finished.stdout.splitlines()[-1])


def programs(folder):
    """Return the names of the kept programs."""
    # JAX writes beside a program when it was used last.
    return {
        path.name
        for path in pathlib.Path(folder).iterdir()
        if not path.name.endswith("-atime")
    }


def main():
    """Measure both starts and report them."""
    asked = arguments(__doc__)
    seconds, kept = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for start in (FIRST, SECOND):
            seconds[start] = in_a_fresh_process(folder, asked.smoke)
            kept[start] = programs(folder)
    figures = [
        Figure(f"{clock}, {start}", values[number], "s")
        for number, clock in enumerate(("CPU time", "wall time"))
        for start, values in seconds.items()
    ]
    ratio = seconds[SECOND][0] / seconds[FIRST][0]
    figures.append(Figure(f"CPU time, {SECOND} / {FIRST}", ratio, "ratio"))
    figures += [
        Figure(f"programs in the folder after the {start}", len(names), "")
        for start, names in kept.items()
    ]
    report(
        "Warm start", SMOKE if asked.smoke else Settings(), figures, asked.out
    )


if __name__ == "__main__":
    main()
