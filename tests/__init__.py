# XLA's programs of the tests are tiny and run a few times: compiling them well
# does not pay. What is compared between backends is compiled as by default.
QUICK_XLA = (
    "--xla_backend_optimization_level=0 "
    "--xla_llvm_disable_expensive_passes=true "
    "--xla_cpu_use_fusion_emitters=false "
    "--xla_cpu_parallel_codegen_split_count=1"
)
