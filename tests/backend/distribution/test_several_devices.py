"""Training on several devices is training on one."""

import json
import socket
import subprocess
import sys

import keras
import pytest
from packaging.version import Version

from tests import QUICK_XLA
from tests import environment
from tests.backend.distribution.train import unlabelled_cases

# Keras on PyTorch has an engine of its own.
KERAS_REDUCES = Version(keras.__version__).release >= (3, 16)
# Processes of torch.distributed, replicas of a strategy, devices of a mesh.
DEVICES = {"torch": 2, "tensorflow": 2, "jax": 4}
# Each takes another way: rows alone, rows related, a part of the teacher
# frozen, state and random draws, gradients that are modified, ignored labels,
# a mean over the rows that are selected on all devices.
# All methods of the contract are compared by
# `python -m tests.backend.distribution.compare`.
CASES = (
    "c2kd",
    "c2kd_top",
    "c2kd_dist",
    "kd_random",
    "dlb",
    "cirkd_whole",
    "ogm_ge",
    "c2kd_ignored",
    "c2kd_unlabeled",
    "c2kd_selected_ignored",
    "c2kd_selected_unlabeled",
    "dkd_unlabeled",
    "cirkd_whole_unlabeled",
    "pseudo_labels_unlabeled",
)
# Where a step needs no compiler, every method with rows without labels.
EVERY = tuple(unlabelled_cases())
OWN_STATISTICS = "c2kd_own_statistics"


def _tensorflow_host(index, ports):
    workers = [f"localhost:{port}" for port in ports]
    task = {"type": "worker", "index": index}
    config = {"cluster": {"worker": workers}, "task": task}
    return {"TF_CONFIG": json.dumps(config)}


def _jax_host(index, ports):
    return {
        "KERAS_DISTRIBUTION_JOB_ADDRESSES": f"localhost:{ports[0]}",
        "KERAS_DISTRIBUTION_NUM_PROCESSES": "2",
        "KERAS_DISTRIBUTION_PROCESS_ID": str(index),
    }


# What tells a process of two that it is the first or the second one.
HOSTS = {"tensorflow": _tensorflow_host, "jax": _jax_host}


def free_ports():
    """Return two ports on which nobody listens."""
    with socket.socket() as one, socket.socket() as other:
        for each in (one, other):
            each.bind(("localhost", 0))
        return one.getsockname()[1], other.getsockname()[1]


def start(backend, number, module, *words, host=None):
    """Start a module on so many devices, or on one of two hosts."""
    command = [sys.executable]
    if backend == "torch" and number > 1:
        command += ["-m", "torch.distributed.run", "--standalone"]
        command += ["--nproc-per-node", str(number), "--max-restarts", "1"]
    command += [
        "-m",
        f"tests.backend.distribution.{module}",
        str(number),
        *words,
    ]
    others = {} if host is None else HOSTS[backend](*host)
    if backend == "jax":
        others["XLA_FLAGS"] = QUICK_XLA
    return subprocess.Popen(
        command,
        env=environment(
            backend,
            TF_CPP_MIN_LOG_LEVEL="3",
            OMP_NUM_THREADS="1",
            JAX_THREEFRY_PARTITIONABLE="0",
            **others,
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def printed(process):
    """Wait for a process; return what it printed as JSON."""
    output, errors = process.communicate()
    assert process.returncode == 0, errors[-3000:]
    return json.loads(output.splitlines()[-1])


def largest_difference(one, several):
    """Return the largest difference of logs and weights, relative above 1."""
    pairs = [
        pair
        for name, values in one["history"].items()
        for pair in zip(values, several["history"][name], strict=True)
    ]
    for weights in zip(one["weights"], several["weights"], strict=True):
        pairs += zip(*weights, strict=True)
    return max(abs(a - b) / max(1.0, abs(a)) for a, b in pairs)


@pytest.fixture(scope="module", params=DEVICES)
def runs(request):
    """The cases on one device and on several of a backend."""
    backend = request.param
    cases = CASES
    if backend == "torch":
        cases = {*CASES, *EVERY, OWN_STATISTICS}
    processes = [
        start(backend, number, "train", *cases)
        for number in (1, DEVICES[backend])
    ]
    return [printed(process) for process in processes]


@pytest.mark.parametrize("case", CASES)
def test_several_devices_train_as_one_does(runs, case):
    one, several = (run[case] for run in runs)
    assert one["history"].keys() == several["history"].keys()
    assert largest_difference(one, several) < 1e-5


@pytest.mark.parametrize("runs", ["torch"], indirect=True)
@pytest.mark.parametrize("case", sorted({*EVERY} - {*CASES}))
def test_every_method_on_unlabelled_rows(runs, case):
    test_several_devices_train_as_one_does(runs, case)


def samples_of_all_processes(runs):
    """Each of 43 samples once in training, each of 21 in evaluation."""
    for run in runs:
        for case in ("c2kd", "ogm_ge"):
            history = run[case]["history"]
            for name in ("samples", "teacher_samples"):
                assert history[name] == [43, 43]
                assert history[f"val_{name}"] == [21, 21]


@pytest.mark.skipif(KERAS_REDUCES, reason="Keras adds up metrics itself")
@pytest.mark.parametrize("runs", ["torch"], indirect=True)
def test_metrics_are_added_up_once_by_our_engine(runs):
    samples_of_all_processes(runs)


@pytest.mark.skipif(not KERAS_REDUCES, reason="Keras 3.16 adds up metrics")
@pytest.mark.parametrize("runs", ["torch"], indirect=True)
def test_metrics_are_added_up_once_by_keras_engine(runs):
    samples_of_all_processes(runs)


@pytest.mark.parametrize("runs", ["torch"], indirect=True)
def test_devices_may_keep_their_own_statistics(runs):
    one, several = (run[OWN_STATISTICS] for run in runs)
    # Smaller batches are normalised: close to it, and not equal.
    assert 1e-3 < largest_difference(one, several) < 0.5


@pytest.mark.parametrize(
    ("backend", "case"), [("tensorflow", "c2kd"), ("jax", "c2kd_even")]
)
def test_two_hosts_train_as_one_device_does(backend, case):
    ports = free_ports()
    hosts = [
        start(backend, 1, "train", case, host=(index, ports))
        for index in range(2)
    ]
    one = printed(start(backend, 1, "train", case))[case]
    several = printed(hosts[0])[case]
    # The first one alone prints, and writes.
    assert case not in hosts[1].communicate()[0]
    if backend == "jax":  # A limit that the manual names: means are right.
        for name in ("val_samples", "val_teacher_samples", "alone_samples"):
            counted = [2 * value for value in one["history"][name]]
            assert several["history"].pop(name) == counted
            del one["history"][name]
    assert largest_difference(one, several) < 1e-5


def test_a_divided_network_trains_as_a_whole_one():
    whole, divided = (
        printed(start("jax", how, "divide_bert")) for how in (1, 4)
    )
    for name, values in whole["history"].items():
        assert divided["history"][name] == pytest.approx(
            values, rel=1e-5, abs=1e-5
        ), name
    parts = divided["parts"]
    assert all(shape == part for shape, part in whole["parts"].values())
    shape, part = parts["transformer_layer_0/self_attention_layer/query/kernel"]
    assert (shape, part) == ([16, 4, 4], [16, 2, 4])
    assert sum(shape != part for shape, part in parts.values()) == 2 * 10 + 3


@pytest.mark.parametrize("backend", DEVICES)
def test_a_killed_training_ends_as_an_uninterrupted_one(backend, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    number = DEVICES[backend]
    uninterrupted = start(backend, number, "interrupted", str(whole))
    dying = start(backend, number, "interrupted", str(killed), "die")
    expected = printed(uninterrupted)
    if backend == "torch":
        # torchrun starts all of its processes again.
        result = printed(dying)
    else:
        dying.communicate()
        assert dying.returncode == -9
        result = printed(
            start(backend, number, "interrupted", str(killed), "die")
        )
    assert (killed / "died").exists()
    assert (expected["began"], result["began"]) == (0, 2)
    assert result["history"] == expected["history"]
    assert result["weights"] == expected["weights"]
