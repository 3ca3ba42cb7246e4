"""How many examples a property is tried on.

The suite's are few and the same every time. A soak draws many new ones:
`KERAS_BACKEND=torch python -m pytest tests/properties -m ""
--hypothesis-profile=soak`.
"""

import hypothesis
import keras

# JAX and TensorFlow compile or trace a program for every shape.
_EXAMPLES = 12 if keras.backend.backend() == "torch" else 2
_COMMON = {
    "deadline": None,
    "suppress_health_check": [
        hypothesis.HealthCheck.too_slow,
        hypothesis.HealthCheck.function_scoped_fixture,
    ],
}
hypothesis.settings.register_profile(
    "suite",
    max_examples=_EXAMPLES,
    derandomize=True,
    database=None,
    **_COMMON,
)
hypothesis.settings.register_profile(
    "soak", max_examples=300, print_blob=True, **_COMMON
)
hypothesis.settings.load_profile("suite")
