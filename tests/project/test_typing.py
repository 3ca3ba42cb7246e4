"""The package's annotations, as mypy sees them and shows them to a user."""

import pathlib
import re
import subprocess
import sys

import pytest

import keras_c2kd

pytestmark = pytest.mark.backend_free

AT_THE_ROOT = (
    "CrossModalDistiller",
    "CrossModalDistiller.modify_gradients",
    "CrossModalDistiller.summary",
    "ProfileSteps",
    "distribute",
)
ROOMS = ("ops", "losses", "selection", "layers", "methods", "models")
# What is Keras', which has no annotations: options of its layers, policies of
# dtypes, initializers, meshes, symbolic tensors as taps, variables, losses,
# models and layers to fuse.
OF_KERAS = (
    "**kwargs: Any",
    "**options: Any",
    "dtype: str | Any | None",
    "device_mesh: Any",
    "kernel_initializer: Any",
    "str | Any | (def (Any) -> Any) | None",
    "variables: list[Any]",
    "outputs: dict[str, Any]",
    "divergence: Any | None",
    "first: Any",
    "second: Any",
    "fusion: Any | None",
)
BEGIN = """
import numpy as np
import keras
from keras_c2kd import CrossModalDistiller, ProfileSteps, Supervised, distribute
from keras_c2kd import layers, losses, methods, models, ops, selection

logits = np.zeros((2, 3))
labels = np.zeros((2,), "int32")
targets = methods.Targets(labels, None, None, lambda logits: logits)
network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
distiller = CrossModalDistiller(
    network, student_modality="a", method=Supervised()
)
"""
TENSOR = "keras_c2kd.typing.Tensor"
ARRAY = "numpy.ndarray[tuple[Any, ...], numpy.dtype[Any]]"
SHOWN = {
    "ops.kendall_rank_correlation(logits, logits)": TENSOR,
    "2.0 * ops.kl_divergence(logits, logits)[0]": TENSOR,
    "ops.linear_cka(logits, logits, debiased=True)": TENSOR,
    "ops.map_shape((None, 3))": "tuple[int | None, ...]",
    "losses.KLDivergence().temperature": "float",
    "losses.KLDivergence().call(logits, logits)": TENSOR,
    "losses.DISTLoss()(logits, logits)": TENSOR,
    "selection.KendallSelection().call(logits, logits, labels)": (
        f"tuple[{TENSOR}, {TENSOR}]"
    ),
    "layers.ProxyHead(3).call(logits)": TENSOR,
    "methods.C2KD().loss_names": "tuple[str, ...]",
    "methods.NKD(selection=selection.SelectAll()).distillation_weight": "float",
    "methods.DML().compute_losses({}, targets)": (
        f"tuple[dict[str, {TENSOR}], dict[str, {TENSOR}]]"
    ),
    "models.word_vocabulary(['a text'])": "list[str]",
    "distiller": "keras_c2kd.distiller.cross_modal_distiller."
    "CrossModalDistiller",
    "distiller.teacher_modality": "str | tuple[str, ...] | None",
    "distiller.unlabeled_confidence": "float",
    "distiller.call(logits)": TENSOR,
    "distiller.compute_outputs({'a': logits})": "dict[str, Any]",
    "distiller.compute_loss(None, labels, {})": TENSOR,
    "distiller.compute_metrics(None, labels, logits)": f"dict[str, {TENSOR}]",
    "distiller.predict({'a': logits})": ARRAY,
    "distiller.get_config()": "dict[str, Any]",
    "ProfileSteps('trace').steps": "int",
    "distribute(2)": "contextlib.AbstractContextManager[None, bool | None]",
}
REFUSED = (
    "ops.kendall_rank_correlation(logits)",
    "ops.kendall_rank_correlation(logits, logits, 'c')",
    "ops.exclude_target('logits', labels)",
    "ops.kl_divergence(logits, logits, temperature='4')",
    "losses.KLDivergence(temperature='4')",
    "losses.DKDLoss(target_weight=None)",
    "selection.KendallSelection(on=3)",
    "selection.RandomSelection(like='kendall')",
    "layers.ProxyHead('3')",
    "layers.FiLMFusion(3, condition_on='third')",
    "methods.C2KD(cross_modal_weight='1')",
    "methods.DKD(temperature=None)",
    "methods.FitNet(regressor='dense')",
    "methods.NKD(selection='kendall')",
    "models.ResNet18((32, 32, 3), '5')",
    "models.DeepLabV3Plus('vgg', (32, 32, 3), 5)",
    "models.word_vocabulary(3)",
    "CrossModalDistiller('network', student_modality='a')",
    "CrossModalDistiller(network, None, 'a')",
    "CrossModalDistiller(network, student_modality=3)",
    "CrossModalDistiller(network, student_modality='a', method='c2kd')",
    "CrossModalDistiller("
    "network, student_modality='a', unlabeled_confidence='high'"
    ")",
    "distiller.fit(epochs='3')",
    "ProfileSteps('trace', first='4')",
    "distribute('2')",
)


@pytest.fixture(scope="module")
def check(tmp_path_factory):
    """Return a function that runs mypy on a path with our configuration."""
    cache = tmp_path_factory.mktemp("mypy")
    root = pathlib.Path(keras_c2kd.__file__).parents[1]

    def run(path):
        words = [sys.executable, "-m", "mypy", "--config-file=pyproject.toml"]
        words += [f"--cache-dir={cache}", "--no-pretty", str(path)]
        result = subprocess.run(words, cwd=root, capture_output=True, text=True)
        assert result.returncode in (0, 1), result.stdout + result.stderr
        return result.stdout.splitlines()

    return run


@pytest.fixture(scope="module")
def messages(check, tmp_path_factory):
    """Return what mypy says to each line of a user's file, and the others."""
    names = [*AT_THE_ROOT]
    names += [
        f"{room}.{name}"
        for room in ROOMS
        for name in getattr(keras_c2kd, room).__all__
    ]
    lines = [f"reveal_type({words})" for words in (*names, *SHOWN)]
    lines += REFUSED
    path = tmp_path_factory.mktemp("user") / "user.py"
    path.write_text("\n".join([*BEGIN.splitlines(), *lines]))
    begin = len(BEGIN.splitlines())
    found = {words: [] for words in (*names, *SHOWN, *REFUSED)}
    order = list(found)
    for message in check(path):
        known = re.match(rf"{re.escape(str(path))}:(\d+): (.*)", message)
        if known is not None:
            number = int(known[1]) - begin - 1
            assert number >= 0, message
            found[order[number]].append(known[2])
    return found


def test_the_package_has_no_error(check):
    *errors, summary = check("keras_c2kd")
    assert summary.startswith("Success"), "\n".join(errors)


def test_public_names_have_types(messages):
    for name, found in messages.items():
        if name in SHOWN or name in REFUSED:
            continue
        (note,) = found
        shown = re.fullmatch(r'note: Revealed type is "(.*)"', note)[1]
        for words in OF_KERAS:
            shown = shown.replace(words, "")
        if name.startswith(("models.", "methods.fuse")):
            shown = shown.removesuffix("-> Any")  # A Keras model.
        assert shown and "Any" not in shown, f"{name}: {note}"


@pytest.mark.parametrize("expression", SHOWN)
def test_types_of_results(messages, expression):
    expected = f'note: Revealed type is "{SHOWN[expression]}"'
    assert messages[expression] == [expected]


@pytest.mark.parametrize("statement", REFUSED)
def test_wrong_arguments_are_errors(messages, statement):
    assert any(note.startswith("error: ") for note in messages[statement])
