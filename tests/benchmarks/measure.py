"""What the benchmarks share: clock, memory, fresh processes, table, JSON.

Memory is resident memory as the operating system counts it: the peak is the
high-water mark of the process (`ru_maxrss` where there is no `/proc`). Linux
lets a process reset its mark, so that only what follows is seen; elsewhere
the mark of the whole process stands, and small figures come out too small.
"""

import argparse
import dataclasses
import importlib.metadata
import json
import os
import pathlib
import platform
import re
import subprocess
import sys
import time

import keras
import psutil

MEBIBYTE = 2**20
_PACKAGES = (
    "keras",
    "keras-hub",
    "numpy",
    "jax",
    "tensorflow",
    "tensorflow-cpu",
    "torch",
    "scipy",
    "torchmetrics",
)


@dataclasses.dataclass(frozen=True)
class Figure:
    """One measured number.

    Attributes:
        name: What was measured, at which size.
        value: Float.
        unit: `"ms"`, `"MiB"`, `"ratio"`, ...
        at_most: The floor is an upper bound, or None.
        at_least: The floor is a lower bound, or None.
    """

    name: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None

    @property
    def floor(self):
        """The floor in words, empty if there is none."""
        if self.at_most is not None:
            return f"at most {self.at_most:g}"
        return "" if self.at_least is None else f"at least {self.at_least:g}"

    @property
    def verdict(self):
        """`"pass"` or `"fail"`, empty if there is no floor."""
        if not self.floor:
            return ""
        passed = (
            self.value <= self.at_most
            if self.at_most is not None
            else self.value >= self.at_least
        )
        return "pass" if passed else "fail"


def arguments(description, parts=(), **flags):
    """Read the command line that all benchmarks have.

    Args:
        description: Text for `--help`.
        parts: Names of what `--memory-of` can measure in a fresh process.
        **flags: Further options, by name: a help text of what is there or
            not, or a pair of a default value and a help text.
    """
    parser = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--out", type=pathlib.Path, help="write all figures to this JSON file"
    )
    parser.add_argument(
        "--smoke",
        action="store_true",
        help="tiny sizes, seconds: shows that it runs; the figures mean little",
    )
    if parts:
        parser.add_argument(
            "--memory-of",
            choices=parts,
            nargs="+",
            help="print the memory of some parts and nothing else; the "
            "benchmark starts itself with this in fresh processes",
        )
    for name, flag in flags.items():
        if isinstance(flag, str):
            parser.add_argument(f"--{name}", action="store_true", help=flag)
        else:
            default, text = flag
            parser.add_argument(
                f"--{name}", type=type(default), default=default, help=text
            )
    return parser.parse_args()


def interleaved(functions, repetitions, clock=time.perf_counter):
    """Time functions in turns, so that a disturbance hits all of them.

    Args:
        functions: Dict from names to functions without arguments, which
            return when all their work is done.
        repetitions: Integer.
        clock: Function that returns seconds.

    Returns:
        Dict from the same names to lists of seconds.
    """
    seconds = {name: [] for name in functions}
    for _ in range(repetitions):
        for name, function in functions.items():
            start = clock()
            function()
            seconds[name].append(clock() - start)
    return seconds


def finish(tensors):
    """Wait until tensors are computed: JAX returns before, GPUs too."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        jax.block_until_ready(tensors)
    elif backend == "torch":
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()
    else:
        import tensorflow as tf

        if tf.config.list_physical_devices("GPU"):
            tf.test.experimental.sync_devices()
    return tensors


def resident_memory():
    """Return the memory that the process holds now, in bytes."""
    return psutil.Process().memory_info().rss


def reset_peak_memory():
    """Forget the peak so far, where the system allows it."""
    try:
        pathlib.Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


def peak_memory():
    """Return the peak of the process since the last reset, in bytes."""
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        # Unlike `ru_maxrss`, free of what the parent process held.
        mark = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        if mark:
            return int(mark.group(1)) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def in_fresh_processes(script, parts, smoke, *words):
    """Run `script --memory-of part`, a process a part; one for all if smoke.

    Args:
        script: Path of the benchmark.
        parts: Names of what is measured.
        smoke: Whether it is measured at a tiny size.
        *words: Further words of the command line.

    Returns:
        Dict from the parts to what the script printed for them.
    """
    found = {}
    for names in [list(parts)] if smoke else [[part] for part in parts]:
        command = [sys.executable, str(script), "--memory-of", *names]
        finished = subprocess.run(
            command + ["--smoke"] * smoke + list(words),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        found |= json.loads(finished.stdout.splitlines()[-1])
    return found


def report(benchmark, settings, figures, out=None):
    """Print the figures as a Markdown table and write them to a JSON file.

    Args:
        benchmark: Name of the benchmark.
        settings: Dataclass, what the figures depend on.
        figures: List of `Figure`.
        out: Path of the JSON file, or None.
    """
    machine = describe_machine()
    load = " ".join(f"{value:.1f}" for value in machine["load_average"])
    print(f"\n## {benchmark} on {machine['backend']}\n")
    print(f"{machine['processor']}, {machine['cores']} cores, load {load}")
    print(", ".join(f"{k} {v}" for k, v in machine["versions"].items()))
    settings = dataclasses.asdict(settings)
    print(", ".join(f"{k}: {v}" for k, v in settings.items()) + "\n")
    print("| figure | value | unit | floor | |\n|---|---:|---|---|---|")
    for figure in figures:
        cells = (
            figure.name,
            f"{figure.value:,.4g}",
            figure.unit,
            figure.floor,
            figure.verdict,
        )
        print(f"| {' | '.join(cells)} |")
    if out is None:
        return
    content = {
        "benchmark": benchmark,
        "machine": machine,
        "settings": settings,
        "figures": [
            {
                **dataclasses.asdict(figure),
                "floor": figure.floor,
                "verdict": figure.verdict,
            }
            for figure in figures
        ],
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(content, indent=2) + "\n")


def describe_machine():
    """Return processor, cores, system, versions and backend."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "processor": _processor(),
        "cores": len(psutil.Process().cpu_affinity())
        if hasattr(psutil.Process, "cpu_affinity")
        else os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "system": platform.platform(),
        "load_average": list(os.getloadavg()),
        "threads": os.environ.get("OMP_NUM_THREADS", "default"),
        "backend": keras.backend.backend(),
        "versions": versions,
    }


def _processor():
    table = pathlib.Path("/proc/cpuinfo")
    if table.exists():
        name = re.search(r"model name\s*:\s*(.+)", table.read_text())
        if name:
            return name.group(1)
    return platform.processor() or platform.machine()
