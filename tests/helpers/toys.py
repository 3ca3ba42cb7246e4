"""A small pair of two different modalities that a network can learn."""

import keras
import numpy as np

from keras_c2kd.methods import MultimodalTeacher
from keras_c2kd.methods import fuse

NUM_CLASSES = 4
AUDIO, VISUAL = "audio", "visual"
SHAPES = {AUDIO: (12, 10, 1), VISUAL: (8, 8, 3)}
# Where the toy networks have what the methods read by name.
TAPS = {
    "level_1": "relu_0",
    "level_2": "relu_1",
    "level_3": "pool",
    "stage_1": "relu_0",
    "stage_2": "relu_1",
    "stage_3": "relu_1",
}


def toy_network(modality, num_classes=NUM_CLASSES, name=None, seed=0, **kwargs):
    """Two convolutions with batch normalisation, pooling, logits.

    The layer names are the same for every network, on purpose: what tells
    two networks apart must never be the names of their layers.
    """
    layers = keras.layers
    keras.utils.set_random_seed(seed)
    inputs = keras.Input(SHAPES[modality])
    x = inputs
    for index, filters in enumerate((8, 12)):
        x = layers.Conv2D(
            filters,
            3,
            strides=2,
            padding="same",
            use_bias=False,
            name=f"conv_{index}",
            **kwargs,
        )(x)
        x = layers.BatchNormalization(momentum=0.8, name=f"bn_{index}")(x)
        x = layers.ReLU(name=f"relu_{index}")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(num_classes, name="logits")(x)
    return keras.Model(inputs, x, name=name or modality)


FORMS = ("sequential", "sequential_by_call", "list_of_one")


@keras.saving.register_keras_serializable("tests")
class Subclassed(keras.Model):
    """Layers one after the other, by a `call` of its own.

    Args:
        parts: List of layers.
        self_built: Whether it says itself that it is built, so that Keras
            notes no shape.
    """

    def __init__(self, parts, self_built=False, **kwargs):
        super().__init__(**kwargs)
        self.parts = parts
        if self_built:
            self.built = True

    def call(self, inputs, training=False):
        for layer in self.parts:
            inputs = (
                layer(inputs, training=training)
                if isinstance(layer, keras.layers.BatchNormalization)
                else layer(inputs)
            )
        return inputs


def in_form(network, form):
    """The layers of a toy network as another kind of `keras.Model`.

    A sequential model has no `input`; one that a call has built has the batch
    size of that; the `input` of one from a list is a list.
    """
    if form == "functional":
        return network
    if form in ("subclassed", "self_built"):
        model = Subclassed(network.layers[1:], form == "self_built")
        model(np.zeros((2, *network.inputs[0].shape[1:]), "float32"))
        return model
    if form == "list_of_one":
        return keras.Model(network.inputs, network.output, name=network.name)
    shape = network.inputs[0].shape[1:]
    begin = [keras.Input(shape)] if form == "sequential" else []
    model = keras.Sequential([*begin, *network.layers[1:]], name=network.name)
    model(np.zeros((2, *shape), "float32"))
    return model


def toy_teacher(method, num_classes=NUM_CLASSES):
    """The teacher that a method needs, and its modality."""
    if not method.needs_teacher:
        return None, None
    teacher = toy_network(AUDIO, num_classes, seed=1)
    if not isinstance(method, MultimodalTeacher):
        return teacher, AUDIO
    second = toy_network(VISUAL, num_classes, seed=3)
    return fuse(teacher, second), (AUDIO, VISUAL)


def toy_data(samples=64, num_classes=NUM_CLASSES, seed=0):
    """Two noisy views of the class: a bright row, a colour."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, num_classes, samples).astype("int32")
    audio = random.normal(0, 0.5, (samples, *SHAPES[AUDIO]))
    visual = random.normal(0, 0.5, (samples, *SHAPES[VISUAL]))
    for index, label in enumerate(labels):
        audio[index, label * 3] += 2.0
        visual[index, :, :, label % 3] += 1.0 + 0.5 * (label // 3)
    inputs = {
        AUDIO: audio.astype("float32"),
        VISUAL: visual.astype("float32"),
    }
    return inputs, labels


def toy_distiller(method, compiled=True, student=None, teacher=None, **kwargs):
    """A distiller of the visual student and the audio teacher."""
    from keras_c2kd import CrossModalDistiller

    compile_arguments = kwargs.pop("compile", {})
    if teacher is None:
        teacher, teacher_modality = toy_teacher(method)
    else:
        several = isinstance(getattr(teacher, "input", None), dict)
        teacher_modality = tuple(teacher.input) if several else AUDIO
    for role, names in (
        ("student", method.student_features),
        ("teacher", method.teacher_features),
    ):
        if set(names) <= set(TAPS) and names:
            taps = {name: TAPS[name] for name in names}
            kwargs.setdefault(f"{role}_features", taps)
    distiller = CrossModalDistiller(
        student=toy_network(VISUAL, seed=2) if student is None else student,
        teacher=teacher,
        student_modality=kwargs.pop("student_modality", VISUAL),
        teacher_modality=teacher_modality,
        method=method,
        **kwargs,
    )
    if compiled:
        # On TensorFlow, XLA takes longer to compile a step than the few steps
        # of a test take; those that are about compiling ask for it.
        jit = False if keras.backend.backend() == "tensorflow" else "auto"
        distiller.compile(
            **{
                "optimizer": keras.optimizers.SGD(0.05, momentum=0.9),
                "jit_compile": jit,
                "loss": keras.losses.SparseCategoricalCrossentropy(
                    from_logits=True
                ),
                "metrics": ["accuracy"],
                **compile_arguments,
            }
        )
    return distiller


def numpy_weights(model):
    """Copy all weights of a model to numpy."""
    return [keras.ops.convert_to_numpy(w).copy() for w in model.weights]


def assert_same_weights(first, second, tolerance=0.0):
    """Compare two lists of arrays, or two models."""
    if not isinstance(first, list):
        first, second = numpy_weights(first), numpy_weights(second)
    assert len(first) == len(second)
    for one, other in zip(first, second):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


def assert_same_history(first, second, tolerance=1e-4):
    """Compare what two calls of `fit` logged."""
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_allclose(
            first[name],
            second[name],
            rtol=tolerance,
            atol=tolerance,
            err_msg=name,
        )
