import keras
import pytest


@pytest.fixture(autouse=True)
def reproducible():
    """Every test starts from the same seed and the default precision."""
    keras.utils.set_random_seed(0)
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    keras.utils.clear_session(free_memory=False)
