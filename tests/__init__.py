import os

# XLA's programs of the tests are tiny and run a few times: compiling them well
# does not pay. What is compared between backends is compiled as by default.
QUICK_XLA = (
    "--xla_backend_optimization_level=0 "
    "--xla_llvm_disable_expensive_passes=true "
    "--xla_cpu_use_fusion_emitters=false "
    "--xla_cpu_parallel_codegen_split_count=1"
)


def environment(backend, **others):
    """Return the environment of a process on a backend, compiled as usual."""
    variables = dict(os.environ)
    # What tests/conftest.py sets for this process, if it runs on JAX.
    if variables.get("XLA_FLAGS") == QUICK_XLA:
        del variables["XLA_FLAGS"]
    return {**variables, "KERAS_BACKEND": backend, **others}
