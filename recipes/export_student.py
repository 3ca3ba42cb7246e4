r"""A trained student in the formats of other runtimes, compared there.

Writes a student, saved by `distiller.student.save("visual.keras")`, in each
format that the ending of a path names, runs each file in its own runtime (ONNX
Runtime, OpenVINO, LiteRT, PyTorch, TensorFlow) on batches of several sizes,
and prints the largest difference to Keras' own logits. It ends with an error
if one is above the tolerance.

The file may be one of a whole `CrossModalDistiller` instead, such as a
checkpoint of training: its student is exported.

Command, from the root of the repository (extra `export`):

    KERAS_BACKEND=tensorflow python recipes/export_student.py visual.keras \
        visual.onnx visual.tflite visual.xml visual

A folder without an ending is a SavedModel; `visual.pt2`, a program of
PyTorch's, is written with KERAS_BACKEND=torch. The backend need not be the one
that the student was trained with.

Inputs are random, or those of `--inputs`, a NumPy file: `.npy`, or `.npz` with
an array for each input by its name.
"""

import argparse
import pathlib
import sys

import keras
import numpy as np

from keras_c2kd import CrossModalDistiller
from keras_c2kd.export import export_network
from keras_c2kd.export import load_exported
from keras_c2kd.export import random_inputs
from keras_c2kd.export import relative_difference


def main(words=None):
    """Export, compare, print a table; return whether all is equal."""
    options = arguments(words)
    network = load_student(options.student)
    batches = given_batches(options, network)
    print("| file | size, MB | logits | largest difference, share | |")
    print("|---|---|---|---|---|")
    equal = True
    for path in options.files:
        export_network(network, path)
        run = load_exported(path)
        for inputs in batches:
            shape = network.compute_output_shape(shapes_of(inputs))
            difference = relative_difference(network, run, inputs)
            within = difference <= options.tolerance
            equal = equal and within
            print(
                f"| {path} | {size_of(path) / 1e6:.2f} | {tuple(shape)} | "
                f"{difference:.1e} | {'equal' if within else 'DIFFERENT'} |"
            )
    return equal


def arguments(words):
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "student",
        help="the .keras file of the student, or of a CrossModalDistiller, "
        "whose student is taken",
    )
    parser.add_argument(
        "files",
        nargs="+",
        type=pathlib.Path,
        help="what to write: .onnx, .xml, .tflite, .pt2, or a folder",
    )
    parser.add_argument(
        "--batch-sizes",
        nargs="+",
        type=int,
        default=[1, 3, 8],
        help="of the random inputs; default: 1 3 8",
    )
    parser.add_argument(
        "--free-size",
        type=int,
        default=16,
        help="what the random inputs have where the network says None, such "
        "as the number of tokens; default: 16",
    )
    parser.add_argument("--inputs", help="a .npy or .npz file, instead")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=1e-4,
        help="largest difference of two logits, as a share of the largest "
        "logit; default: 1e-4",
    )
    return parser.parse_args(words)


def load_student(path):
    """Return the network of a file, of a distiller's file its student."""
    network = keras.models.load_model(path, compile=False)
    if not isinstance(network, CrossModalDistiller):
        return network
    print(
        f"{path} is a CrossModalDistiller: taking its student "
        f"{network.student.name!r}.\n"
    )
    return network.student


def given_batches(options, network):
    """Return the batches that the files are compared on."""
    if options.inputs is None:
        return [
            random_inputs(network, size, options.free_size, seed=size)
            for size in options.batch_sizes
        ]
    inputs = np.load(options.inputs)
    return [inputs if isinstance(inputs, np.ndarray) else dict(inputs)]


def shapes_of(inputs):
    """Return the shape of an array, or of each in a dict."""
    if isinstance(inputs, dict):
        return {name: array.shape for name, array in inputs.items()}
    return inputs.shape


def size_of(path):
    """Return the bytes of a file, with its weights, or of a folder."""
    files = [path, path.with_suffix(".bin")] if path.suffix else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
