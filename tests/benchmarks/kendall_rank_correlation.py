"""The Kendall rank correlation op against SciPy and torchmetrics.

All compute the correlation of each row of two sets of logits.

- This op: compiled on JAX (`jax.jit`) and TensorFlow (`tf.function` with XLA,
  as Keras compiles a training step, and without), eager on PyTorch.
- SciPy: a Python loop over the rows with `scipy.stats.kendalltau`, as in the
  authors' code.
- torchmetrics: `kendall_rank_corrcoef(variant="a")`, one call, rows as
  outputs. It needs PyTorch; without it these figures are left out.

Time is wall time in milliseconds, the best of several calls made in turns.
On dense logits the two others are slow: SciPy gets a part of the rows, and
its time is scaled to all rows (the figure's name says so); torchmetrics,
whose time does not grow with the rows alone, gets all of them, once. All
results must agree. Compile time is the first call of a freshly
compiled function less the best later one, on 64 rows.

Added memory is the peak of a fresh process during the first call, beyond what
it held with both inputs in place; the op has run on a tiny input before. It
holds the result and all that compilation keeps.

Floors: at least 5 times faster than either at (64, 50) and on dense logits;
at most 3 seconds to compile at any number of classes; on the largest logits
at most 3 times the size of one input added. They are printed with "pass" or
"fail" and decide nothing.

    KERAS_BACKEND=jax python tests/benchmarks/kendall_rank_correlation.py
"""

import dataclasses
import importlib.util
import json
import math

import keras
import numpy as np
import scipy.stats
from keras import ops
from measure import MEBIBYTE
from measure import Figure
from measure import arguments
from measure import finish
from measure import in_fresh_processes
from measure import interleaved
from measure import peak_memory
from measure import report
from measure import reset_peak_memory
from measure import resident_memory

from keras_c2kd.ops import kendall_rank_correlation

FASTER = 5.0
SECONDS_TO_COMPILE = 3.0
TIMES_ONE_INPUT = 3.0


@dataclasses.dataclass(frozen=True)
class Settings:
    """Shapes of the logits, and how often each is timed."""

    shapes: tuple = ((64, 50), (64, 309), (256, 1000), (4, 128, 128, 40))
    shapes_with_floor: tuple = ((64, 50), (4, 128, 128, 40))
    classes_to_compile: tuple = (50, 309, 1000)
    largest_shape: tuple = (4, 480, 480, 40)
    rows_of_scipy: int = 4096
    repetitions: int = 5
    compilations: int = 2


SMOKE = Settings(
    shapes=((2, 4, 4, 5),),
    shapes_with_floor=((2, 4, 4, 5),),
    classes_to_compile=(6,),
    largest_shape=(2, 64, 64, 8),
    rows_of_scipy=16,
    repetitions=2,
    compilations=1,
)


def logits(shape):
    """Return two random sets of logits, as correlated as networks are."""
    random = np.random.default_rng(0)
    first = random.standard_normal(shape, dtype="float32")
    second = random.standard_normal(shape, dtype="float32")
    second += first
    return first, second


def forms():
    """Return the ways in which the op is run, the default of Keras first."""
    if keras.backend.backend() == "tensorflow":
        return {"this op": True, "this op without XLA": False}
    return {"this op": True}


def compiled(jit_compile):
    """Return a fresh compiled function, the op itself on PyTorch."""

    def correlation(first, second):
        return kendall_rank_correlation(first, second)

    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(correlation)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(
            correlation, jit_compile=jit_compile, autograph=False
        )
    return correlation


def scipy_loop(first, second):
    """Correlate row by row, as the authors' code does."""
    return np.array(
        [
            scipy.stats.kendalltau(one, other).statistic
            for one, other in zip(first, second)
        ]
    )


def others():
    """Return the functions from two 2D arrays that the op is compared with."""
    found = {"SciPy": scipy_loop}
    if not importlib.util.find_spec("torch"):
        print("PyTorch is not installed: torchmetrics is left out.")
        return found
    import torch
    from torchmetrics.functional import kendall_rank_corrcoef

    def torchmetrics(first, second):
        columns = [torch.from_numpy(rows).T for rows in (first, second)]
        return kendall_rank_corrcoef(*columns, variant="a").numpy()

    return {**found, "torchmetrics": torchmetrics}


def times(shape, settings):
    """Time the op and the others on one shape; return the figures."""
    first, second = logits(shape)
    tensors = [ops.convert_to_tensor(array) for array in (first, second)]
    total = math.prod(shape[:-1])
    rows = min(total, settings.rows_of_scipy)
    everything = [array.reshape(-1, shape[-1]) for array in (first, second)]
    functions = {}
    for name, jit_compile in forms().items():
        function = compiled(jit_compile)
        functions[name] = lambda f=function: finish(f(*tensors))
    scipy_rows = [array[:rows] for array in everything]
    functions["SciPy"] = lambda: scipy_loop(*scipy_rows)
    results = {name: function() for name, function in functions.items()}
    seconds = interleaved(functions, settings.repetitions)
    best = {name: 1e3 * min(values) for name, values in seconds.items()}
    best["SciPy"] *= total / rows
    torchmetrics = others().get("torchmetrics")
    if torchmetrics:
        repetitions = settings.repetitions if rows == total else 1
        results["torchmetrics"] = torchmetrics(*scipy_rows)
        calls = interleaved(
            {"torchmetrics": lambda: torchmetrics(*everything)}, repetitions
        )
        best["torchmetrics"] = 1e3 * min(calls["torchmetrics"])
    for name, result in results.items():
        result = np.ravel(ops.convert_to_numpy(result))[:rows]
        if not np.allclose(result, results["SciPy"], atol=1e-5):
            raise RuntimeError(f"{name} and SciPy disagree on {shape}.")

    part = f", {rows:,} of {total:,} rows, scaled" if rows < total else ""
    found = [
        Figure(f"{shape}: {name}{part if name == 'SciPy' else ''}", value, "ms")
        for name, value in best.items()
    ]
    floor = FASTER if shape in settings.shapes_with_floor else None
    for ours in forms():
        for other in others():
            found.append(
                Figure(
                    f"{shape}: {ours}, faster than {other}",
                    best[other] / best[ours],
                    "times",
                    at_least=floor,
                )
            )
    return found


def compile_times(num_classes, settings):
    """Return the seconds to compile the op for 64 rows, for each form."""
    tensors = [ops.convert_to_tensor(a) for a in logits((64, num_classes))]
    found = []
    for name, jit_compile in forms().items():
        seconds = []
        for _ in range(settings.compilations):
            function = compiled(jit_compile)
            calls = interleaved(
                {name: lambda f=function: finish(f(*tensors))}, 3
            )[name]
            seconds.append(calls[0] - min(calls[1:]))
        found.append(
            Figure(
                f"(64, {num_classes}): {name}, first call",
                min(seconds),
                "s",
                at_most=SECONDS_TO_COMPILE,
            )
        )
    return found


def added_memory(shape):
    """Return what the first call adds to the peak of this process."""
    function = compiled(jit_compile=True)
    finish(function(*[ops.convert_to_tensor(a) for a in logits((4, 3))]))
    # JAX may still be copying what it has already returned. The arrays are
    # held to the end: to let go of them would count as memory saved.
    arrays = logits(shape)
    tensors = finish([ops.convert_to_tensor(array) for array in arrays])
    reset_peak_memory()
    before = resident_memory()
    finish(function(*tensors))
    added = peak_memory() - before
    del arrays
    return max(added, 1)


def memory_figures(settings):
    """Return what a first call adds, each shape in a fresh process."""
    shapes = (*settings.shapes, settings.largest_shape)
    added_to = in_fresh_processes(
        __file__, [name_of(shape) for shape in shapes], settings is SMOKE
    )
    found = []
    for shape, added in zip(shapes, added_to.values()):
        found.append(Figure(f"{shape}: memory added", added / MEBIBYTE, "MiB"))
    one_input = 4 * math.prod(settings.largest_shape)
    found.append(
        Figure(
            f"{settings.largest_shape}: memory added",
            added / one_input,
            "times one input",
            at_most=TIMES_ONE_INPUT,
        )
    )
    return found


def name_of(shape):
    """Return the name of a shape on the command line."""
    return "x".join(map(str, shape))


def main():
    """Measure everything and report it."""
    parts = {
        name_of(shape): shape
        for settings in (Settings(), SMOKE)
        for shape in (*settings.shapes, settings.largest_shape)
    }
    asked = arguments(__doc__, parts)
    if asked.memory_of:
        added = {name: added_memory(parts[name]) for name in asked.memory_of}
        print(json.dumps(added))
        return
    settings = SMOKE if asked.smoke else Settings()
    figures = memory_figures(settings)
    for shape in settings.shapes:
        figures += times(shape, settings)
    for num_classes in settings.classes_to_compile:
        figures += compile_times(num_classes, settings)
    report("Kendall rank correlation", settings, figures, asked.out)


if __name__ == "__main__":
    main()
