"""A fixture: `pytest_plugins = ["tests.helpers.double_precision"]`."""

import keras
import pytest


@pytest.fixture
def double_precision():
    """The test runs in float64; afterwards the precision is as before."""
    before = keras.config.floatx(), keras.config.dtype_policy()
    _set_precision("float64", "float64")
    yield
    _set_precision(*before)


def _set_precision(floatx, policy):
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)
    if keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_enable_x64", floatx == "float64")
