"""One joint C2KD step against one supervised step of each of its networks.

A pair of ResNet-18 size (KerasHub's `ResNetBackbone`, global pooling, dense):
an image of 112 x 112 x 3 for the student, a spectrogram of 128 x 256 x 1 for
the teacher, 28 classes, batches of 16. With --dense a pair of DeepLabV3+ on
ResNet-18: colour and depth of 96 x 128, 40 classes, batches of 4.

Joint: a `CrossModalDistiller` with `C2KD()`. Separate: one distiller with
`Supervised()` a network. All take the same compiled path, `train_on_batch`,
with the same optimizer and metrics.

- CPU time: of the whole process, all threads. The three steps are repeated in
  turns; each repetition gives one ratio, the median counts.
- FLOPs: of the whole step. JAX: XLA's cost analysis of the compiled step.
  TensorFlow: the profiler's count of the step's graph. PyTorch: its counter,
  which sees convolutions and matrix products only.
- Peak memory: of fresh processes, beyond what each held after a tiny training
  step. A joint step needs the activations of both networks at once, so it is
  compared with the separate steps held together: a process that trains the
  student plus one that trains the teacher. Beside it stands a process that
  holds both and steps in turns, with the activations of one at a time.

Floors: CPU time at most 1.05, FLOPs at most 1.01, memory at most 1.1 times.
They are printed with "pass" or "fail" and decide nothing: timings depend on
the machine and on what else it does.

    KERAS_BACKEND=jax python tests/benchmarks/joint_step.py --out joint.json
"""

import dataclasses
import json
import math
import statistics
import time

import keras
import numpy as np
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

from keras_c2kd import CrossModalDistiller
from keras_c2kd.methods import C2KD
from keras_c2kd.methods import Supervised
from keras_c2kd.models import DeepLabV3Plus
from keras_c2kd.models import SmallSegmenter

SIDES = ("joint", "student", "teacher")
PARTS = (*SIDES, "in turns")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Sizes of the pair, and how often each step is timed."""

    image: tuple = (112, 112, 3)
    spectrogram: tuple = (128, 256, 1)
    channels: tuple = (64, 128, 256, 512)
    blocks: tuple = (2, 2, 2, 2)
    num_classes: int = 28
    batch_size: int = 16
    repetitions: int = 15
    steps_for_memory: int = 3
    dense: bool = False


SMOKE = Settings(
    image=(16, 16, 3),
    spectrogram=(16, 32, 1),
    channels=(8,),
    blocks=(),
    num_classes=4,
    batch_size=4,
    repetitions=2,
)


DENSE = Settings(
    image=(96, 128, 3),
    spectrogram=(96, 128, 1),
    num_classes=40,
    batch_size=4,
    dense=True,
)
DENSE_SMOKE = dataclasses.replace(
    SMOKE, image=(32, 40, 3), spectrogram=(32, 40, 1), dense=True
)


def classifier(shape, settings, name):
    """Build a ResNet, or for the smoke a convolution, and a classifier."""
    if settings.dense:
        return segmenter(shape, settings, name)
    inputs = keras.Input(shape)
    if not settings.blocks:
        maps = keras.layers.Conv2D(settings.channels[0], 3)(inputs)
        maps = keras.layers.BatchNormalization()(maps)
    else:
        maps = resnet(shape, settings, name)(inputs)
    pooled = keras.layers.GlobalAveragePooling2D()(maps)
    logits = keras.layers.Dense(settings.num_classes)(pooled)
    return keras.Model(inputs, logits, name=name)


def segmenter(shape, settings, name):
    """Build DeepLabV3+, or for the smoke a small network."""
    if settings.blocks:
        return DeepLabV3Plus("resnet18", shape, settings.num_classes, name=name)
    return SmallSegmenter(shape, settings.num_classes, width=8, name=name)


def resnet(shape, settings, name):
    """Build KerasHub's backbone (imported here: that takes seconds)."""
    import keras_hub

    return keras_hub.models.ResNetBackbone(
        input_conv_filters=[settings.channels[0]],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=list(settings.channels),
        stackwise_num_blocks=list(settings.blocks),
        stackwise_num_strides=[1] + [2] * (len(settings.channels) - 1),
        block_type="basic_block",
        image_shape=shape,
        name=f"{name}_backbone",
    )


def distillers(part, settings):
    """Build what a part trains: a dict from names to compiled distillers."""

    def student():
        return classifier(settings.image, settings, "student")

    def teacher():
        return classifier(settings.spectrogram, settings, "teacher")

    built = {}
    if part == "joint":
        built["joint"] = CrossModalDistiller(
            student=student(),
            teacher=teacher(),
            student_modality="image",
            teacher_modality="spectrogram",
            method=C2KD(),
        )
    if part in ("student", "in turns"):
        built["student"] = CrossModalDistiller(
            student=student(), student_modality="image", method=Supervised()
        )
    if part in ("teacher", "in turns"):
        built["teacher"] = CrossModalDistiller(
            student=teacher(),
            student_modality="spectrogram",
            method=Supervised(),
        )
    for distiller in built.values():
        distiller.compile(
            optimizer=keras.optimizers.SGD(1e-3, momentum=0.9),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
    return built


def batch(settings):
    """Return one random paired batch, all modalities."""
    random = np.random.default_rng(0)
    size = settings.batch_size
    inputs = {
        name: random.standard_normal((size, *shape), dtype="float32")
        for name, shape in (
            ("image", settings.image),
            ("spectrogram", settings.spectrogram),
        )
    }
    shape = (size, *settings.image[:2]) if settings.dense else size
    return inputs, random.integers(0, settings.num_classes, shape)


def inputs_of(distiller, inputs):
    """Return the modalities that a distiller reads."""
    wanted = {distiller.student_modality, distiller.teacher_modality}
    return {name: inputs[name] for name in inputs if name in wanted}


def step(distiller, inputs, labels):
    """Train on one batch and wait until every variable is updated."""
    loss = distiller.train_on_batch(inputs_of(distiller, inputs), labels)[0]
    finish([variable.value for variable in distiller.variables])
    if not math.isfinite(loss):
        raise RuntimeError(f"{distiller.name}: the loss became {loss}.")


def flops(distiller, inputs, labels):
    """Return the floating point operations of one training step."""
    count = {
        "jax": _flops_of_jax,
        "tensorflow": _flops_of_tensorflow,
        "torch": _flops_of_torch,
    }[keras.backend.backend()]
    return float(count(distiller, inputs_of(distiller, inputs), labels))


def _flops_of_jax(distiller, inputs, labels):
    import jax

    state = tuple(
        [variable.value for variable in variables]
        for variables in (
            distiller.trainable_variables,
            distiller.non_trainable_variables,
            distiller.optimizer.variables,
            distiller.metrics_variables,
        )
    )
    lowered = jax.jit(distiller.train_step).lower(state, (inputs, labels, None))
    return lowered.compile().cost_analysis()["flops"]


def _flops_of_tensorflow(distiller, inputs, labels):
    import tensorflow as tf

    @tf.function(autograph=False)
    def train_step(inputs, labels):
        return distiller.train_step((inputs, labels))

    graph = train_step.get_concrete_function(
        {name: tf.constant(array) for name, array in inputs.items()},
        tf.constant(labels),
    ).graph
    profiler = tf.compat.v1.profiler
    options = profiler.ProfileOptionBuilder(
        profiler.ProfileOptionBuilder.float_operation()
    ).with_empty_output()
    return profiler.profile(graph, options=options.build()).total_float_ops


def _flops_of_torch(distiller, inputs, labels):
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        distiller.train_on_batch(inputs, labels)
    return counter.get_total_flops()


def memory_of(part, settings):
    """Return the peak memory of a part's steps, in bytes.

    `"before"` is what the process held after a tiny training step, which
    starts the backend and its compiler; `"added"` what the peak, from
    building the networks to the last step, has beyond that.
    """
    train(distillers("student", SMOKE), SMOKE, steps=1)
    before = resident_memory()
    reset_peak_memory()
    train(distillers(part, settings), settings, settings.steps_for_memory)
    return {"before": before, "added": max(peak_memory() - before, 1)}


def train(built, settings, steps):
    """Train distillers in turns on one batch."""
    inputs, labels = batch(settings)
    for _ in range(steps):
        for distiller in built.values():
            step(distiller, inputs, labels)


def memory_figures(settings):
    """Return the peak memory of the parts, each in a fresh process."""
    is_smoke = settings in (SMOKE, DENSE_SMOKE)
    words = ["--dense"] * settings.dense
    peaks = in_fresh_processes(__file__, PARTS, is_smoke, *words)
    added = {part: peak["added"] for part, peak in peaks.items()}
    whole = {part: sum(peak.values()) for part, peak in peaks.items()}
    together = added["student"] + added["teacher"]
    found = [
        Figure(f"peak memory, {part}", value / MEBIBYTE, "MiB")
        for part, value in added.items()
    ]
    return [
        *found,
        Figure(
            "peak memory, joint / (student + teacher)",
            added["joint"] / together,
            "ratio",
            at_most=1.1,
        ),
        Figure(
            "peak memory, joint / in turns",
            added["joint"] / added["in turns"],
            "ratio",
        ),
        Figure(
            "peak memory, joint / in turns, whole process",
            whole["joint"] / whole["in turns"],
            "ratio",
        ),
    ]


def time_figures(built, settings):
    """Return the CPU time of a step of each distiller, and their ratio."""
    inputs, labels = batch(settings)
    steps = {
        name: lambda distiller=distiller: step(distiller, inputs, labels)
        for name, distiller in built.items()
    }
    interleaved(steps, 2)
    seconds = interleaved(steps, settings.repetitions, time.process_time)
    ratios = [
        joint / (student + teacher)
        for joint, student, teacher in zip(*(seconds[n] for n in SIDES))
    ]
    found = [
        Figure(f"CPU time, {name}", statistics.median(values), "s")
        for name, values in seconds.items()
    ]
    name = "CPU time, joint / (student + teacher)"
    ratio = statistics.median(ratios)
    return [*found, Figure(name, ratio, "ratio", at_most=1.05)]


def flops_figures(built, settings):
    """Return the FLOPs of a step of each distiller, and their ratio."""
    counts = {
        name: flops(distiller, *batch(settings)) / 1e9
        for name, distiller in built.items()
    }
    found = [
        Figure(f"FLOPs, {n}", count, "10^9") for n, count in counts.items()
    ]
    name = "FLOPs, joint / (student + teacher)"
    ratio = counts["joint"] / (counts["student"] + counts["teacher"])
    return [*found, Figure(name, ratio, "ratio", at_most=1.01)]


def main():
    """Measure everything and report it."""
    asked = arguments(__doc__, PARTS, dense="a pair with a class a pixel")
    settings = {
        (False, False): Settings(),
        (True, False): SMOKE,
        (False, True): DENSE,
        (True, True): DENSE_SMOKE,
    }[asked.smoke, asked.dense]
    if asked.memory_of:
        parts = {part: memory_of(part, settings) for part in asked.memory_of}
        print(json.dumps(parts))
        return
    figures = memory_figures(settings)
    built = distillers("joint", settings) | distillers("in turns", settings)
    figures += time_figures(built, settings)
    figures += flops_figures(built, settings)
    title = "Joint step, dense" if asked.dense else "Joint step"
    report(title, settings, figures, asked.out)


if __name__ == "__main__":
    main()
