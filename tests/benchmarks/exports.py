"""Which backend writes which network in which format, and what it answers.

Trains each network for one step by a distiller, gives its statistics random
values, saves it as a .keras file, and lets a process of each backend load the
file and export it to every format. Each file is run in its own runtime on
batches of 1, 3 and 8, texts with 11, 7 and 16 tokens. A cell of the table is
the largest difference to Keras' logits, as a share of the largest logit, of all
three; `no` where the backend cannot write the format or the file is refused by
its runtime, with the reasons below the table. Tolerance: 1e-4.

    KERAS_BACKEND=torch python tests/benchmarks/exports.py --out exports.json
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import keras
import numpy as np

from keras_c2kd import CrossModalDistiller
from keras_c2kd import models
from keras_c2kd.export import export_network
from keras_c2kd.export import load_exported
from keras_c2kd.export import random_inputs
from keras_c2kd.export import relative_difference
from keras_c2kd.methods import Supervised

BACKENDS = ("tensorflow", "torch", "jax")
FORMATS = {
    "ONNX": ".onnx",
    "OpenVINO": ".xml",
    "LiteRT": ".tflite",
    "torch.export": ".pt2",
    "SavedModel": "",
}
SIZES = ((1, 11), (3, 7), (8, 16))
TOLERANCE = 1e-4


def small_bert(folder):
    """Return a BERT of four layers, by way of a preset."""
    import keras_hub

    keras_hub.models.BertBackbone(
        vocabulary_size=100,
        num_layers=4,
        num_heads=2,
        hidden_dim=64,
        intermediate_dim=256,
        max_sequence_length=64,
    ).save_to_preset(folder)
    return models.BertBase(6, weights=str(folder))


NETWORKS = {
    "ResNet-18": lambda _: models.ResNet18((64, 64, 3), 6),
    "ResNet-18 on frames": lambda _: models.ResNet18((2, 32, 32, 3), 6),
    "MobileNetV2": lambda _: models.MobileNetV2((64, 64, 3), 6),
    "DeepLabV3+": lambda _: models.DeepLabV3Plus("resnet18", (65, 49, 3), 6),
    "BERT": small_bert,
    "SmallConvNet": lambda _: models.SmallConvNet((32, 32, 3), 6),
    "SmallTextNet": lambda _: models.SmallTextNet(6),
    "SmallSegmenter": lambda _: models.SmallSegmenter((48, 64, 3), 6),
}


def train(network):
    """Take one step, then give weights and statistics random values."""
    distiller = CrossModalDistiller(
        student=network, student_modality="sensor", method=Supervised()
    )
    distiller.compile(
        optimizer=keras.optimizers.SGD(1e-3),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    labels = np.zeros((2, *network.output.shape[1:-1]), "int32")
    inputs = random_inputs(network, 2)
    distiller.train_on_batch({"sensor": inputs}, labels)
    random = np.random.default_rng(0)
    for weight in network.weights:
        value = keras.ops.convert_to_numpy(weight)
        if "seed" in weight.path:
            continue
        if len(weight.shape) == 4:
            # Kernels that keep the size of what they are given.
            is_depthwise = weight.shape[-1] == 1
            fan_in = np.prod(weight.shape[: 2 if is_depthwise else 3])
            value = random.normal(0, np.sqrt(2 / fan_in), value.shape)
        else:
            value = value + np.abs(random.normal(0, 0.1, value.shape))
        weight.assign(value)


def export_all(folder, name):
    """Export one student to every format; print a line of JSON for each."""
    network = keras.models.load_model(folder / f"{name}.keras", compile=False)
    backend = keras.backend.backend()
    (folder / name / backend).mkdir(parents=True)
    for form, ending in FORMATS.items():
        path = folder / name / backend / f"exported{ending}"
        row = {"network": name, "backend": backend, "format": form}
        row.update(difference=None, reason=None)
        try:
            export_network(network, path)
            run = load_exported(path)
            row["difference"] = max(
                relative_difference(
                    network, run, random_inputs(network, batch, free, batch)
                )
                for batch, free in SIZES
            )
        except Exception as error:
            row["reason"] = f"{type(error).__name__}: {str(error)[:300]}"
        print(f"\nROW {json.dumps(row)}", flush=True)


def measure(names):
    """Return a row for each network, backend and format."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for name in names:
            network = NETWORKS[name](folder / "preset")
            train(network)
            network.save(folder / f"{name}.keras")
        for backend in BACKENDS:
            process = subprocess.Popen(
                [sys.executable, __file__, "--students", folder, *names],
                env={**os.environ, "KERAS_BACKEND": backend},
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            # Beside the rows, exporters print what they like.
            for line in process.stdout:
                if line.startswith("ROW "):
                    print(line, end="", file=sys.stderr, flush=True)
                    rows.append(json.loads(line.removeprefix("ROW ")))
            process.wait()
    return rows


def table(rows):
    """Return the rows as a table in Markdown, and the reasons below it."""
    lines = ["| network | format | TensorFlow | PyTorch | JAX |"]
    lines.append("|---|---|---|---|---|")
    cells = {(r["network"], r["format"], r["backend"]): r for r in rows}
    for network in dict.fromkeys(row["network"] for row in rows):
        for name in FORMATS:
            words = [
                cell(cells.get((network, name, backend)))
                for backend in BACKENDS
            ]
            lines.append(f"| {network} | {name} | {' | '.join(words)} |")
    lines.append("")
    for row in rows:
        if row["reason"]:
            lines.append(
                f"{row['network']}, {row['format']}, {row['backend']}: "
                f"{' '.join(row['reason'].split())}"
            )
    return "\n".join(lines)


def cell(row):
    """Return the difference, marked if it is too large, or `no`."""
    if row is None or row["difference"] is None:
        return "no"
    mark = "" if row["difference"] <= TOLERANCE else " *differs*"
    return f"{row['difference']:.0e}{mark}"


def main():
    """Measure everything, or export students that are there (`measure`)."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "networks", nargs="*", default=list(NETWORKS), help="default: all"
    )
    parser.add_argument("--out", type=pathlib.Path, help="the rows as JSON")
    parser.add_argument("--students", type=pathlib.Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.students:
        for name in options.networks:
            export_all(options.students, name)
        return
    rows = measure(options.networks)
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1))
    print(table(rows))


if __name__ == "__main__":
    main()
