"""One joint C2KD step against the same step written by hand in PyTorch.

A pair of ResNet-18, an image for the student and a spectrogram for the
teacher, batches of 64, 28 and 50 classes. Ours: a `CrossModalDistiller` with
`C2KD()` and the networks of `keras_c2kd.models`, on the backend in use, by
`train_on_batch`. Plain: the loop of `plain_c2kd.py`, with the same weights.
Both log every term of the loss and both accuracies.

Before anything is timed, the terms of the first batch must agree. Then both
run in one process in turns; each repetition gives one ratio, the median
counts. CPU time is that of the whole process, all threads; set
OMP_NUM_THREADS=1 to give PyTorch one, as TensorFlow and JAX take all cores.

Beside it: the time of Kendall and of all losses (with Kendall, and back to
the four logits) alone, as shares of the step. On a GPU everything runs there,
in float32 (without TF32) and in bfloat16 (Keras' mixed_bfloat16 against
autocast), with samples a second and, of fresh processes, the peak of the
device's memory.

Pictures of 112 x 112 keep a step at a few seconds on two cores; choose others
with --size.

Floors: CPU time at most 1.15 times the plain loop with Keras on PyTorch; on a
GPU at least 1.5 times its samples a second. They are printed with "pass" or
"fail" and decide nothing: timings depend on the machine.

    KERAS_BACKEND=torch python tests/benchmarks/plain_torch.py --out plain.json
"""

import dataclasses
import json
import os
import statistics
import time

import keras
import numpy as np
import torch
from keras import ops
from measure import MEBIBYTE
from measure import Figure
from measure import arguments
from measure import finish
from measure import in_fresh_processes
from measure import interleaved
from measure import peak_memory
from measure import report
from measure import reset_peak_memory
from measure import resident_memory
from plain_c2kd import PlainPair
from plain_c2kd import PlainResNet
from plain_c2kd import kendall_by_row
from plain_c2kd import loss_terms

from keras_c2kd import CrossModalDistiller
from keras_c2kd.methods import C2KD
from keras_c2kd.models import ResNet18
from keras_c2kd.ops import kendall_rank_correlation

SIDES = ("student", "teacher")
PARTS = ("ours", "plain")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Sizes of the pair, and how often each step is timed."""

    image: tuple = (112, 112, 3)
    spectrogram: tuple = (112, 112, 1)
    widths: tuple = (64, 128, 256, 512)
    blocks: tuple = (2, 2, 2, 2)
    tapped: int = 3
    num_classes: tuple = (28, 50)
    batch_size: int = 64
    repetitions: int = 7
    steps_for_memory: int = 3
    device: str = "cuda" if torch.cuda.is_available() else "cpu"

    @property
    def shapes(self):
        """The shape of each role's input."""
        return {"student": self.image, "teacher": self.spectrogram}


SMOKE = Settings(
    image=(16, 16, 3),
    spectrogram=(16, 24, 1),
    widths=(),
    blocks=(),
    tapped=0,
    num_classes=(5,),
    batch_size=4,
    repetitions=2,
    steps_for_memory=1,
)


class Ours:
    """The pair as a `CrossModalDistiller`."""

    def __init__(self, settings, num_classes, half=False):
        keras.utils.set_random_seed(0)
        keras.config.set_dtype_policy("mixed_bfloat16" if half else "float32")
        networks = {
            role: network(settings, shape, num_classes, role)
            for role, shape in settings.shapes.items()
        }
        tap = f"stage_{settings.tapped}"
        self.distiller = CrossModalDistiller(
            **networks,
            student_modality="student",
            teacher_modality="teacher",
            method=C2KD(),
            student_features=tap,
            teacher_features=tap,
        )
        keras.config.set_dtype_policy("float32")
        is_tiny = not settings.blocks
        is_tensorflow = keras.backend.backend() == "tensorflow"
        self.distiller.compile(
            optimizer=keras.optimizers.SGD(1e-3, momentum=0.9),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            jit_compile=False if is_tiny and is_tensorflow else "auto",
        )

    def step(self, inputs, labels):
        """Train on one batch; return what was logged."""
        self.distiller.reset_metrics()
        logs = self.distiller.train_on_batch(inputs, labels, return_dict=True)
        finish([variable.value for variable in self.distiller.variables])
        return logs


def network(settings, shape, num_classes, name):
    """Build a ResNet-18, or for the smoke its stem and a classifier."""
    if settings.blocks:
        return ResNet18(shape, num_classes, name=name)
    layers = keras.layers
    inputs = keras.Input(shape)
    maps = layers.ZeroPadding2D(3)(inputs)
    maps = layers.Conv2D(64, 7, strides=2, use_bias=False, name="conv1_conv")(
        maps
    )
    maps = layers.BatchNormalization(
        epsilon=1e-5, momentum=0.9, name="conv1_bn"
    )(maps)
    maps = layers.ZeroPadding2D(1)(layers.ReLU()(maps))
    maps = layers.MaxPooling2D(3, strides=2, name="stage_0")(maps)
    vector = layers.GlobalAveragePooling2D()(maps)
    logits = layers.Dense(num_classes, name="logits")(vector)
    return keras.Model(inputs, logits, name=name)


class Plain:
    """The pair written by hand, with the weights of ours if they are given."""

    def __init__(self, settings, num_classes, half=False, ours=None):
        torch.manual_seed(0)
        networks = {
            role: PlainResNet(
                shape[-1],
                num_classes,
                settings.widths,
                settings.blocks,
                settings.tapped,
            )
            for role, shape in settings.shapes.items()
        }
        width = settings.widths[settings.tapped - 1] if settings.tapped else 64
        self.pair = PlainPair(
            networks, width, num_classes, settings.device, half
        )
        if ours is not None:
            copy_weights(ours.distiller, self.pair)

    def step(self, inputs, labels):
        """Train on one batch; return what was logged."""
        logs = self.pair.step(*(inputs[role] for role in SIDES), labels)
        wait_for_torch()
        return logs


def wait_for_torch():
    """Wait until a GPU has done all that PyTorch gave it."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def copy_weights(distiller, pair):
    """Give the plain pair the weights of the distiller."""
    for role in SIDES:
        layers = {
            layer.name: layer
            for layer in getattr(distiller, role)._flatten_layers()
        }
        network = getattr(pair, role)
        _copy(layers["conv1_conv"], network.stem[0])
        _copy(layers["conv1_bn"], network.stem[1])
        for stack, stage in enumerate(network.stages):
            for index, block in enumerate(stage):
                name = f"stack{stack}_block{index}"
                parts = [block.shortcut, block.first, block.second]
                for number, part in enumerate(parts):
                    if isinstance(part, torch.nn.Sequential):
                        _copy(layers[f"{name}_{number}_conv"], part[0])
                        _copy(layers[f"{name}_{number}_bn"], part[1])
        _copy(layers["logits"], network.classifier)
        ours = getattr(distiller.method, f"{role}_proxy")
        plain = getattr(pair, f"{role}_proxy")
        _copy(ours.adaptation, plain.adaptation[0])
        _copy(ours.normalization, plain.adaptation[1])
        _copy(ours.classifier, plain.classifier)


def _copy(layer, module):
    """Copy the weights of a layer to the module that does the same."""
    weights = [ops.convert_to_numpy(weight) for weight in layer.weights]
    if weights[0].ndim > 1:
        # Kernels: Keras has the inputs' axis before the outputs' at the end.
        axes = (weights[0].ndim - 1, weights[0].ndim - 2, 0, 1)
        weights[0] = weights[0].transpose(axes[: weights[0].ndim])
        own = [module.weight, *([] if module.bias is None else [module.bias])]
    else:
        own = [module.weight, module.bias]
        own += [module.running_mean, module.running_var]
    if len(weights) != len(own):
        raise RuntimeError(f"{layer.name} does not fit {module}.")
    with torch.no_grad():
        for value, tensor in zip(weights, own):
            value = torch.tensor(value).reshape(tensor.shape)
            tensor.copy_(value)


def batch(settings, num_classes):
    """Return a random batch: inputs of ours, inputs of plain, labels."""
    random = np.random.default_rng(0)
    size = settings.batch_size
    inputs = {
        role: random.standard_normal((size, *shape), dtype="float32")
        for role, shape in settings.shapes.items()
    }
    plain_inputs = {
        role: np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        for role, images in inputs.items()
    }
    return inputs, plain_inputs, random.integers(0, num_classes, size)


def check_equal(ours, plain):
    """Raise an error if what both logged of the first batch differs."""
    for name, value in plain.items():
        own = ours[name.replace("student_accuracy", "accuracy")]
        if abs(own - value) > 1e-3 * max(abs(value), 1e-3):
            raise RuntimeError(
                f"Both must compute the same: {name} is {own} in ours and "
                f"{value} in the plain loop."
            )


def both_clocks():
    """Return CPU time and wall time, in seconds."""
    return np.array([time.process_time(), time.perf_counter()])


def pair_figures(settings, num_classes, half):
    """Return the times of both steps, their ratios, and the losses' shares."""
    ours = Ours(settings, num_classes, half)
    plain = Plain(settings, num_classes, half, ours)
    inputs, plain_inputs, labels = batch(settings, num_classes)
    logged = ours.step(inputs, labels), plain.step(plain_inputs, labels)
    if not half:
        check_equal(*logged)
    steps = {
        "ours": lambda: ours.step(inputs, labels),
        "plain": lambda: plain.step(plain_inputs, labels),
    }
    interleaved(steps, 2)
    seconds = interleaved(steps, settings.repetitions, both_clocks)
    parts = losses_of_both(ours, plain, settings, num_classes)
    interleaved(parts, 3)
    part_seconds = interleaved(parts, 3 * settings.repetitions, both_clocks)

    on_gpu = settings.device == "cuda"
    title = f"{num_classes} classes, {'bfloat16' if half else 'float32'}: "
    found = []
    for index, clock in enumerate(("CPU", "wall")):
        times = {name: [t[index] for t in seconds[name]] for name in PARTS}
        for name in PARTS:
            value = statistics.median(times[name])
            found.append(Figure(f"{title}{clock} time, {name}", value, "s"))
        ratios = [own / other for own, other in zip(*times.values())]
        is_judged = (
            clock == "CPU"
            and not (on_gpu or half)
            and keras.backend.backend() == "torch"
        )
        found.append(
            Figure(
                f"{title}{clock} time, ours / plain",
                statistics.median(ratios),
                "ratio",
                at_most=1.15 if is_judged else None,
            )
        )
    speeds = [settings.batch_size / found[index].value for index in (3, 4)]
    for name, speed in zip(PARTS, speeds):
        found.append(Figure(f"{title}samples, {name}", speed, "1/s"))
    if on_gpu:
        name = f"{title}samples, ours / plain"
        ratio = speeds[0] / speeds[1]
        found.append(Figure(name, ratio, "ratio", at_least=1.5))
    # The CPU waits for a GPU: there only the wall's clock tells.
    clock = 1 if on_gpu else 0
    for name, values in part_seconds.items():
        whole = seconds[name.split(", ")[1]]
        share = statistics.median(t[clock] for t in values)
        share /= statistics.median(t[clock] for t in whole)
        found.append(Figure(f"{title}share of {name}", 100 * share, "%"))
    return found


def losses_of_both(ours, plain, settings, num_classes):
    """Return functions that do nothing but Kendall, or all losses.

    The losses are computed from the four logits and back to them.
    """
    random = np.random.default_rng(1)
    names = ("student", "teacher", "student_proxy", "teacher_proxy")
    shape = (settings.batch_size, num_classes)
    logits = {
        name: random.standard_normal(shape, dtype="float32") for name in names
    }
    labels = random.integers(0, num_classes, settings.batch_size)
    kendall, losses = compiled(ours.distiller, logits, labels)
    tensors = {
        name: torch.from_numpy(value).to(settings.device)
        for name, value in logits.items()
    }
    plain_labels = torch.from_numpy(labels).to(settings.device)

    def plain_kendall():
        kendall_by_row(tensors["teacher_proxy"], tensors["student_proxy"])

    def plain_losses():
        leaves = {n: t.clone().requires_grad_() for n, t in tensors.items()}
        sum(loss_terms(leaves, plain_labels).values()).backward()
        wait_for_torch()

    return {
        "Kendall, ours": kendall,
        "Kendall, plain": plain_kendall,
        "all losses, ours": losses,
        "all losses, plain": plain_losses,
    }


def compiled(distiller, logits, labels):
    """Return Kendall and the losses of ours, as the step runs them."""
    logits = {
        name: ops.convert_to_tensor(value) for name, value in logits.items()
    }
    labels = ops.convert_to_tensor(labels)

    def kendall(logits):
        return kendall_rank_correlation(
            logits["teacher_proxy"], logits["student_proxy"]
        )

    def loss(logits):
        outputs = {role: {"logits": logits[role]} for role in SIDES}
        outputs["heads"] = {
            f"{role}_proxy": logits[f"{role}_proxy"] for role in SIDES
        }
        return distiller.compute_loss(y=labels, y_pred=outputs)

    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        def stateless_loss(logits):
            with keras.StatelessScope():
                return loss(logits)

        kendall, gradients = jax.jit(kendall), jax.jit(jax.grad(stateless_loss))
    elif backend == "tensorflow":
        import tensorflow as tf

        def gradients(logits):
            with tf.GradientTape() as tape:
                tape.watch(logits)
                total = loss(logits)
            return tape.gradient(total, logits)

        compile_ = tf.function(jit_compile=distiller.jit_compile)
        kendall, gradients = compile_(kendall), compile_(gradients)
    else:

        def gradients(logits):
            leaves = {n: t.clone().requires_grad_() for n, t in logits.items()}
            loss(leaves).backward()
            return [leaf.grad for leaf in leaves.values()]

    return (
        lambda: finish(kendall(logits)),
        lambda: finish(gradients(logits)),
    )


def memory_of(part, settings):
    """Return the peak memory of a part's steps, in bytes.

    On a GPU that of the device; else (only for the smoke) what the process
    added to what it held.
    """
    name, precision = part.split("-")
    num_classes = settings.num_classes[-1]
    inputs, plain_inputs, labels = batch(settings, num_classes)
    before = resident_memory()
    reset_peak_memory()
    pair = {"ours": Ours, "plain": Plain}[name]
    trained = pair(settings, num_classes, precision == "bfloat16")
    for _ in range(settings.steps_for_memory):
        trained.step(inputs if name == "ours" else plain_inputs, labels)
    if settings.device == "cuda":
        return _peak_of_device(name)
    return max(peak_memory() - before, 1)


def _peak_of_device(name):
    backend = "torch" if name == "plain" else keras.backend.backend()
    if backend == "jax":
        import jax

        return jax.local_devices()[0].memory_stats()["peak_bytes_in_use"]
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.config.experimental.get_memory_info("GPU:0")["peak"]
    return torch.cuda.max_memory_allocated()


def memory_figures(settings, parts, words):
    """Return the peak memory of the parts, each in a fresh process."""
    if settings == SMOKE:
        peaks = {part: memory_of(part, settings) for part in parts}
    else:
        peaks = in_fresh_processes(__file__, parts, False, *words)
    return [
        Figure(f"peak memory, {part}", peak / MEBIBYTE, "MiB")
        for part, peak in peaks.items()
    ]


def use_whole_float32():
    """Let no backend compute float32 by TF32, and share the GPU's memory."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    torch.backends.cudnn.allow_tf32 = False
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        jax.config.update("jax_default_matmul_precision", "highest")
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(False)


def main():
    """Measure everything and report it."""
    size = Settings().image[0]
    parts = [f"{n}-{p}" for n in PARTS for p in ("float32", "bfloat16")]
    asked = arguments(
        __doc__, parts, size=(size, "height and width of both inputs")
    )
    settings = dataclasses.replace(
        Settings(),
        image=(asked.size, asked.size, 3),
        spectrogram=(asked.size, asked.size, 1),
    )
    if asked.smoke:
        settings = SMOKE
    use_whole_float32()
    if asked.memory_of:
        found = {part: memory_of(part, settings) for part in asked.memory_of}
        print(json.dumps(found))
        return
    has_half = settings.device == "cuda"
    if asked.smoke:
        # Compiling a second pair would take the others longest.
        on_torch = keras.backend.backend() == "torch"
        parts = [part for part in parts if on_torch and "bfloat16" in part]
    elif not has_half:
        parts = []
    figures = memory_figures(settings, parts, ["--size", str(asked.size)])
    for half in (False, True)[: 1 + has_half]:
        for num_classes in settings.num_classes:
            figures += pair_figures(settings, num_classes, half)
    title = f"Joint step against plain PyTorch on {settings.device}"
    report(title, settings, figures, asked.out)


if __name__ == "__main__":
    main()
