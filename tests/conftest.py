import os
import tempfile

from tests import QUICK_XLA

# Tests build the same small networks again and again. On JAX each of them
# would be compiled anew, unless compiled programs are kept for the session.
_COMPILED = tempfile.TemporaryDirectory(prefix="keras_c2kd_tests_")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", _COMPILED.name)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
if os.environ.get("KERAS_BACKEND") == "jax":
    os.environ.setdefault("XLA_FLAGS", QUICK_XLA)
# On the CPU, jax 0.10 compiles the default form of its normal generator for 20
# seconds a shape; the older form takes half a second.
os.environ.setdefault("JAX_THREEFRY_PARTITIONABLE", "0")

import gc  # noqa: E402
import itertools  # noqa: E402
import pathlib  # noqa: E402

import keras  # noqa: E402
import pytest  # noqa: E402

# Tracing and compiling make many objects that live on. To look through all of
# them again and again for rubbish takes a tenth of a run.
gc.freeze()
gc.set_threshold(100_000, 20, 20)

# In these folders every test starts processes, trains a recipe or times a step.
SLOW_FOLDERS = (
    "backend/distribution",
    "benchmarks",
    "cross_backend",
    "engines",
    "recipes",
)

_finished = itertools.count(1)


@pytest.hookimpl(tryfirst=True)  # Before pytest selects by marks.
def pytest_collection_modifyitems(items):
    """Mark folders as slow; the slow ones come first.

    Of two processes, none shall wait at the end for the other's longest test.
    """
    here = pathlib.Path(__file__).parent
    for item in items:
        if any(item.path.is_relative_to(here / slow) for slow in SLOW_FOLDERS):
            item.add_marker("slow")
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(autouse=True)
def reproducible():
    """Every test starts from the same seed and the default precision."""
    keras.utils.set_random_seed(0)
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    # Keras and TensorFlow hold on to the graphs of models: gigabytes in all.
    if next(_finished) % 50 == 0:
        keras.utils.clear_session()
