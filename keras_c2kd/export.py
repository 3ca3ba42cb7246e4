"""Export of students to other runtimes, and their outputs there."""

import os
import pathlib
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_c2kd.networks.graph import call_once
from keras_c2kd.networks.graph import graph_ends
from keras_c2kd.networks.graph import graph_input
from keras_c2kd.typing import Array
from keras_c2kd.typing import Network
from keras_c2kd.typing import Shape
from keras_c2kd.typing import Tensors
from keras_c2kd.utils.optional_imports import import_optional
from keras_c2kd.utils.optional_imports import install_command

_RUNNING = "Running an exported network"
# Format of Keras' `export` and the backends that can write it, by ending.
_FORMATS = {
    ".onnx": ("onnx", ("tensorflow", "torch")),
    ".xml": ("openvino", ("tensorflow", "torch")),
    ".tflite": ("litert", ("tensorflow",)),
    ".pt2": ("torch", ("torch",)),
    "": ("tf_saved_model", ("tensorflow", "jax")),
}


def export_network(network: Network, path: str | os.PathLike[str]) -> None:
    """Write a network in the format that the ending of a path names.

    This calls `network.export` after two things that Keras leaves to the
    caller: the network is called once, since Keras refuses one that was just
    loaded, and sizes that are None, such as the batch size, stay free.

    | path | format | backends that write it |
    |---|---|---|
    | `*.onnx` | ONNX | TensorFlow, PyTorch |
    | `*.xml` (and `*.bin`) | OpenVINO | TensorFlow, PyTorch |
    | `*.tflite` | LiteRT | TensorFlow |
    | `*.pt2` | program of `torch.export` | PyTorch |
    | a folder without an ending | SavedModel | TensorFlow, JAX |

    Args:
        network: Functional or sequential `keras.Model`.
        path: Path of the file or folder to write.

    Raises:
        ValueError: If the ending is none of these, the backend in use cannot
            write the format, or the network is no graph of layers.
        ImportError: If a package of the extra `export` is missing.
    """
    path = pathlib.Path(path)
    name, backends = _format_of(path)
    backend = keras.backend.backend()
    if backend not in backends:
        raise ValueError(
            f"Keras writes the format {name!r} with the backends "
            f"{', '.join(backends)}. Received: {path.name!r} with "
            f"KERAS_BACKEND={backend}. A .keras file "
            "belongs to no backend: load it with one of those and export it "
            "there."
        )
    network = _with_input(network)
    call_once(network)
    options = _free_sizes(network, name)
    try:
        network.export(str(path), format=name, verbose=False, **options)
    except ImportError as error:
        raise ImportError(
            f"Exporting to {name} with KERAS_BACKEND={backend} needs a package "
            f"that cannot be imported ({error}). {install_command('export')}"
        ) from error


def load_exported(path: str | os.PathLike[str]) -> Callable[[Tensors], Array]:
    """Load an exported network in the runtime of its format.

    Keras is not used: ONNX Runtime, OpenVINO, LiteRT, PyTorch or TensorFlow
    run the file, in float32 on the CPU.

    Args:
        path: Path that `export_network` has written.

    Returns:
        Function from an array, or a dict of arrays by the names of the
        network's inputs, to the array of its output.

    Raises:
        ValueError: If the ending of the path is none of the formats'.
        ImportError: If the runtime is not installed (extra `export`).
    """
    name, _ = _format_of(pathlib.Path(path))
    return _RUNTIMES[name](str(path))


def random_inputs(
    network: Network, batch_size: int, free_size: int = 16, seed: int = 0
) -> Tensors:
    """Draw inputs for a network: normal floats, integers 0 and 1.

    Args:
        network: Functional or sequential `keras.Model`.
        batch_size: Integer.
        free_size: Integer, for other sizes that are None, such as the number
            of tokens. Defaults to `16`.
        seed: Integer. Defaults to `0`.

    Returns:
        Array, or dict of arrays, as the network takes it.

    Raises:
        ValueError: If the network is no graph of layers.
    """
    random = np.random.default_rng(seed)

    def draw(spec: keras.KerasTensor) -> Array:
        shape = (batch_size, *_free_sizes_as(free_size, spec)[1:])
        if "int" in spec.dtype:
            return random.integers(0, 2, shape).astype(spec.dtype)
        return random.normal(size=shape).astype(spec.dtype)

    return keras.tree.map_structure(draw, _input_of(network))


def relative_difference(
    network: Network, run: Callable[[Tensors], Array], inputs: Tensors
) -> float:
    """Compare an exported network with the one it was exported from.

    Args:
        network: `keras.Model`.
        run: Function that `load_exported` returned.
        inputs: Array or dict of arrays.

    Returns:
        Float: the largest difference of two logits, divided by the
        largest logit.
    """
    # A KerasHub task's own `predict` preprocesses; what is exported does not.
    expected = keras.Model.predict(network, inputs, verbose=0)
    actual = run(inputs)
    if actual.shape != expected.shape:
        return float("inf")
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


def _format_of(path: pathlib.Path) -> tuple[str, tuple[str, ...]]:
    if path.suffix not in _FORMATS:
        raise ValueError(
            "The ending of the path names the format: "
            f"{', '.join(filter(None, _FORMATS))}, or none for the folder of a "
            f"SavedModel. Received: {str(path)!r}"
        )
    return _FORMATS[path.suffix]


def _input_of(network: Network) -> Tensors:
    """Return the symbolic inputs of a network, or refuse one that has none."""
    inputs = graph_input(network)
    if inputs is None:
        raise ValueError(
            "Only functional and sequential models that are built have known "
            f"inputs. Received: {network!r}. Build it with the functional "
            "API, or begin it with keras.Input."
        )
    return inputs


def _with_input(network: Network) -> Network:
    """Return the network, or one of the same layers that has an `input`.

    A sequential model has none, and the file of one built from a list of one
    tensor would want a list.
    """
    inputs = _input_of(network)
    if getattr(network, "input", None) is inputs:
        return network
    return keras.Model(inputs, graph_ends(network)[1], name=network.name)


def _free_sizes(network: Network, name: str) -> dict[str, Any]:
    """Return the arguments of `export` that leave sizes free."""
    if name == "torch":
        # Without it, Keras fixes the batch size to 1.
        free = import_optional("torch", "torch", "Exporting").export.Dim.AUTO
        sizes = keras.tree.map_structure(
            lambda spec: {
                axis: free
                for axis, size in enumerate(_sizes(spec))
                if size is None
            },
            network.input,
        )
        return {"dynamic_shapes": [(sizes,)]}
    if name == "tf_saved_model" and keras.backend.backend() == "jax":
        # Sizes of the same axis have the same name: they are equal. Keras
        # names those of each input differently.
        sizes = keras.tree.map_structure(
            lambda spec: ", ".join(
                f"size_{axis}" if size is None else str(size)
                for axis, size in enumerate(_sizes(spec))
            ),
            network.input,
        )
        return {"jax2tf_kwargs": {"polymorphic_shapes": [sizes]}}
    return {}


def _free_sizes_as(size: int, spec: keras.KerasTensor) -> list[int]:
    return [size if known is None else known for known in _sizes(spec)]


def _sizes(spec: keras.KerasTensor) -> Shape:
    """Return the sizes of an input, the batch's free in any case.

    A sequential model that was built by a call has the batch size of that.
    """
    return (None, *spec.shape[1:])


def _by_name(inputs: Tensors, names: Sequence[object]) -> list[Array]:
    """Match the inputs with the names that a file has for them.

    Args:
        inputs: Array, or dict of arrays.
        names: List of the names of each input: one file names an input
            `tokens`, others `serving_default_tokens:0` or two names at once.

    Returns:
        List of arrays, in the order of the names.
    """
    if not isinstance(inputs, dict):
        return [inputs]
    return [
        next(array for key, array in inputs.items() if key in str(name))
        for name in names
    ]


def _run_with_onnx_runtime(path: str) -> Callable[[Tensors], Array]:
    runtime = import_optional("onnxruntime", "export", _RUNNING)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()]

    def run(inputs: Tensors) -> Array:
        arrays = _by_name(inputs, names)
        return session.run(None, dict(zip(names, arrays)))[0]

    return run


def _run_with_openvino(path: str) -> Callable[[Tensors], Array]:
    openvino = import_optional("openvino", "export", _RUNNING)
    # By default it computes in bfloat16 where the processor can.
    compiled = openvino.Core().compile_model(
        path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    names = [node.get_names() for node in compiled.inputs]

    def run(inputs: Tensors) -> Array:
        return compiled(_by_name(inputs, names))[0]

    return run


def _run_with_litert(path: str) -> Callable[[Tensors], Array]:
    litert = import_optional("ai_edge_litert.interpreter", "export", _RUNNING)
    interpreter = litert.Interpreter(path)
    details = interpreter.get_input_details()
    output = interpreter.get_output_details()[0]["index"]

    def run(inputs: Tensors) -> Array:
        arrays = _by_name(inputs, [detail["name"] for detail in details])
        for detail, array in zip(details, arrays):
            interpreter.resize_tensor_input(detail["index"], array.shape)
        interpreter.allocate_tensors()
        for detail, array in zip(details, arrays):
            interpreter.set_tensor(detail["index"], array)
        interpreter.invoke()
        return interpreter.get_tensor(output)

    return run


def _run_with_torch(path: str) -> Callable[[Tensors], Array]:
    torch = import_optional("torch", "torch", _RUNNING)
    program = torch.export.load(path).module()

    def run(inputs: Tensors) -> Array:
        tensors = keras.tree.map_structure(torch.from_numpy, inputs)
        with torch.no_grad():
            return program(tensors).numpy()

    return run


def _run_with_tensorflow(path: str) -> Callable[[Tensors], Array]:
    tensorflow = import_optional("tensorflow", "tensorflow", _RUNNING)
    network = tensorflow.saved_model.load(path)

    def run(inputs: Tensors) -> Array:
        return network.serve(inputs).numpy()

    return run


_RUNTIMES = {
    "onnx": _run_with_onnx_runtime,
    "openvino": _run_with_openvino,
    "litert": _run_with_litert,
    "torch": _run_with_torch,
    "tf_saved_model": _run_with_tensorflow,
}
