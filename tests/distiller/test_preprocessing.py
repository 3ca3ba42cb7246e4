"""KerasHub's tasks as networks: their preprocessors run on raw batches."""

import functools

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf
import torch

from keras_c2kd import CrossModalDistiller
from keras_c2kd.analysis import RankDistortion
from keras_c2kd.export import relative_difference
from keras_c2kd.methods import KnowledgeDistillation
from keras_c2kd.methods import Supervised
from tests.helpers.toys import assert_same_history
from tests.helpers.toys import toy_distiller

CLASSES, SAMPLES, BATCH = 3, 10, 4
WORDS = ["red", "green", "blue"]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", *WORDS]
KINDS = ["arrays", "tf.data", "PyDataset", "DataLoader", "generator"]


def image_task(size=(8, 8), name="image_task"):
    """A task that scales and resizes; its backbone is two layers."""
    inputs = keras.Input((*size, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, name="conv")(inputs)
    x = keras.layers.ReLU(name="relu")(x)
    converter = keras_hub.layers.ImageConverter(
        image_size=size, scale=1 / 255.0, offset=-0.5
    )
    return keras_hub.models.ImageClassifier(
        backbone=keras.Model(inputs, x, name=f"{name}_backbone"),
        num_classes=CLASSES,
        preprocessor=keras_hub.models.ImageClassifierPreprocessor(converter),
        name=name,
    )


def text_task():
    models = keras_hub.models
    tokenizer = models.BertTokenizer(VOCABULARY, lowercase=True)
    return models.BertTextClassifier(
        backbone=models.BertBackbone(
            vocabulary_size=len(VOCABULARY),
            num_layers=1,
            num_heads=1,
            hidden_dim=4,
            intermediate_dim=4,
            dropout=0.0,
            max_sequence_length=5,
        ),
        num_classes=CLASSES,
        dropout=0.0,
        preprocessor=models.BertTextClassifierPreprocessor(
            tokenizer, sequence_length=5
        ),
        name="text_task",
    )


def pair(method=None, **kwargs):
    """A distiller of an image student and a text teacher, always the same."""
    keras.utils.set_random_seed(1)
    student, teacher = image_task(), text_task()
    distiller = CrossModalDistiller(
        student=student,
        teacher=teacher,
        student_modality="image",
        teacher_modality="text",
        method=method or KnowledgeDistillation(),
        **kwargs,
    )
    return compiled(distiller)


def compiled(distiller):
    # On TensorFlow a step is traced longer than these tests run.
    distiller.compile(
        optimizer=keras.optimizers.SGD(0.5),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        run_eagerly=keras.backend.backend() == "tensorflow",
    )
    return distiller


@functools.cache
def raw_data():
    """Pixels of another size than the network's, and texts."""
    random = np.random.default_rng(0)
    labels = (np.arange(SAMPLES) % CLASSES).astype("int32")
    images = random.integers(0, 256, (SAMPLES, 11, 13, 3)).astype("uint8")
    images[np.arange(SAMPLES), ..., labels] //= 3
    texts = np.array([f"A {WORDS[label]}" for label in labels], dtype=object)
    weights = random.uniform(0.5, 2, SAMPLES).astype("float32")
    return {"image": images, "text": texts}, labels, weights


@functools.cache
def prepared_data():
    """The same, prepared by hand; resized pixels are not rounded."""
    inputs, labels, weights = raw_data()
    prepared = {
        "image": image_task().preprocessor(inputs["image"].astype("float32")),
        "text": text_task().preprocessor(inputs["text"].tolist()),
    }
    prepared = keras.tree.map_structure(keras.ops.convert_to_numpy, prepared)
    return prepared, labels, weights


def batches(data):
    for begin in range(0, SAMPLES, BATCH):
        rows = slice(begin, begin + BATCH)
        yield keras.tree.map_structure(lambda array: array[rows], data)


class Batches(keras.utils.PyDataset):
    def __init__(self, data):
        super().__init__()
        self.batches = list(batches(data))

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


class Samples(torch.utils.data.Dataset):
    """Single samples: texts are collated to lists."""

    def __init__(self, data):
        self.data = data

    def __len__(self):
        return SAMPLES

    def __getitem__(self, index):
        return keras.tree.map_structure(lambda a: a[index], self.data)


def source(kind, data):
    """Arguments of `fit` for some data in one kind of source."""
    if kind == "arrays":
        names = ("x", "y", "sample_weight")
        return {**dict(zip(names, data)), "batch_size": BATCH}
    if kind == "tf.data":
        inputs, *rest = data
        inputs = {**inputs, "text": inputs["text"].astype("S")}
        data = tf.data.Dataset.from_tensor_slices((inputs, *rest))
        return {"x": data.batch(BATCH)}
    if kind == "PyDataset":
        return {"x": Batches(data)}
    if kind == "DataLoader":
        loader = torch.utils.data.DataLoader(Samples(data), batch_size=BATCH)
        return {"x": loader}
    return {"x": batches(data)}


@pytest.fixture(scope="module")
def expected():
    """What training and evaluation log on data prepared by hand."""
    data = prepared_data()
    distiller = pair(preprocess=False)
    history = distiller.fit(
        **source("arrays", data),
        shuffle=False,
        validation_data=data,
        validation_batch_size=BATCH,
        verbose=0,
    ).history
    logs = distiller.evaluate(
        **source("arrays", data), verbose=0, return_dict=True
    )
    logits = distiller.predict(data[0], batch_size=BATCH, verbose=0)
    return history, logs, logits


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_raw_batches_train_as_prepared_ones(kind, expected):
    data, distiller = raw_data(), pair()
    validation = source(kind, data)["x"] if kind != "arrays" else data
    history = distiller.fit(
        **source(kind, data),
        shuffle=False,
        validation_data=validation,
        verbose=0,
    ).history
    assert_same_history(history, expected[0], 1e-5)
    if kind != "tf.data":  # Its graph was traced twice already.
        logs = distiller.evaluate(
            **source(kind, data), verbose=0, return_dict=True
        )
        assert_same_history(logs, expected[1], 1e-5)
    logits = distiller.predict(
        **source(kind, data[:1] if kind == "arrays" else data), verbose=0
    )
    np.testing.assert_allclose(logits, expected[2], atol=1e-5)
    # As the task itself, whose own pipeline takes arrays and tf.data.
    alone = distiller.student.predict(data[0]["image"], verbose=0)
    np.testing.assert_allclose(logits, alone, atol=1e-5)


@pytest.mark.slow
def test_single_batches_are_prepared():
    logs = []
    for data, preprocess in ((raw_data(), True), (prepared_data(), False)):
        distiller = pair(preprocess=preprocess)
        logs.append(
            {
                **distiller.train_on_batch(*data, return_dict=True),
                **{
                    f"test_{name}": value
                    for name, value in distiller.test_on_batch(
                        *data, return_dict=True
                    ).items()
                },
                "logits": distiller.predict_on_batch(data[0]),
            }
        )
    assert_same_history(*logs, 1e-5)


@pytest.mark.slow
def test_arrays_are_split_weighted_and_prepared_in_batches():
    histories = []
    for data, preprocess in ((raw_data(), True), (prepared_data(), False)):
        distiller = pair(preprocess=preprocess)
        sizes = spy(distiller.student)
        history = distiller.fit(
            *data[:2],
            batch_size=BATCH,
            validation_split=0.3,
            class_weight={0: 1.0, 1: 3.0, 2: 0.5},
            shuffle=False,
            verbose=0,
        )
        histories.append(history.history)
        assert max(sizes, default=BATCH) == BATCH
    assert_same_history(*histories, 1e-5)


def spy(task):
    """Record how many samples are prepared at a time."""
    sizes, original = [], task.preprocess_samples

    def preprocess_samples(x, *labels):
        sizes.append(len(x))
        return original(x, *labels)

    object.__setattr__(task, "preprocess_samples", preprocess_samples)
    return sizes


@pytest.mark.parametrize("shuffle", [True, False])
def test_arrays_are_shuffled_anew_in_each_epoch(shuffle):
    inputs, _, _ = raw_data()
    distiller = compiled(
        CrossModalDistiller(
            student=image_task(), student_modality="image", method=Supervised()
        )
    )
    seen = []
    original = distiller.student.preprocess_samples
    object.__setattr__(
        distiller.student,
        "preprocess_samples",
        lambda x, y, weights: seen.append(weights) or original(x, y, weights),
    )
    order = np.arange(SAMPLES)
    distiller.fit(
        inputs["image"],
        order % CLASSES,
        sample_weight=order,
        batch_size=SAMPLES,
        epochs=3,
        shuffle=shuffle,
        verbose=0,
    )
    for epoch in seen:
        np.testing.assert_array_equal(np.sort(epoch), order)
    if shuffle:
        assert len({tuple(epoch) for epoch in seen}) >= 3
    else:
        np.testing.assert_array_equal(seen, [order] * len(seen))


@pytest.mark.slow
def test_texts_alone_are_predicted_as_the_task_does(tmp_path):
    inputs, labels, _ = raw_data()
    task = text_task()
    distiller = compiled(
        CrossModalDistiller(
            student=task, student_modality="text", method=Supervised()
        )
    )
    texts = inputs["text"].tolist()
    expected = task.predict(texts, verbose=0)
    for given in (texts, np.array(texts), {"text": texts}, inputs):
        logits = distiller.predict(given, verbose=0)
        np.testing.assert_allclose(logits, expected, atol=1e-6)
    distiller.fit({"text": texts}, labels, batch_size=5, verbose=0)
    distiller.evaluate(texts, labels, verbose=0)
    # As with the task, to do without is to take the preprocessor away.
    task.preprocessor = None
    prepared = prepared_data()[0]["text"]
    np.testing.assert_allclose(
        distiller.predict(prepared, verbose=0),
        task.predict(prepared, verbose=0),
        atol=1e-6,
    )


@pytest.mark.slow
def test_preprocessors_are_saved(tmp_path):
    inputs, labels, _ = raw_data()
    distiller = pair(preprocess=["image", "text"])
    logits = distiller.predict(inputs, verbose=0)
    logs = distiller.evaluate(inputs, labels, verbose=0)
    distiller.save(tmp_path / "distiller.keras")
    loaded = keras.models.load_model(tmp_path / "distiller.keras")
    assert loaded.get_config()["preprocess"] == ["image", "text"]
    np.testing.assert_allclose(
        loaded.predict(inputs, verbose=0), logits, atol=1e-6
    )
    np.testing.assert_allclose(
        loaded.evaluate(inputs, labels, verbose=0), logs, atol=1e-5
    )
    loaded.student.save(tmp_path / "student.keras")
    student = keras.models.load_model(tmp_path / "student.keras")
    np.testing.assert_allclose(
        student.predict(inputs["image"], verbose=0), logits, atol=1e-6
    )


@pytest.mark.slow
def test_one_modality_may_be_prepared_already(expected):
    raw, labels, weights = raw_data()
    prepared, _, _ = prepared_data()
    history = pair(preprocess=["text"]).fit(
        **source("arrays", ({**raw, "image": prepared["image"]}, labels)),
        sample_weight=weights,
        shuffle=False,
        verbose=0,
    )
    assert history.history["loss"] == pytest.approx(expected[0]["loss"], 1e-5)


def test_raw_data_are_checked_before_they_are_prepared():
    inputs, labels, _ = raw_data()
    distiller = pair()
    sizes = spy(distiller.student)
    broken = inputs["image"].astype("float32")
    broken[3, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="sample 3"):
        distiller.fit({**inputs, "image": broken}, labels, verbose=0)
    with pytest.raises(ValueError, match="lacks the modality"):
        distiller.fit({"image": inputs["image"]}, labels, verbose=0)
    with pytest.raises(ValueError, match="same number of samples"):
        distiller.fit({**inputs, "text": ["a"]}, labels, verbose=0)
    assert not sizes
    with pytest.raises(ValueError, match="preprocess=False"):
        distiller.fit(prepared_data()[0], labels, verbose=0)
    # The teacher's texts may be missing where nothing is trained.
    assert "loss" in distiller.evaluate(
        {"image": inputs["image"]}, labels, verbose=0, return_dict=True
    )


@pytest.mark.slow
def test_networks_are_looked_at_as_they_were_trained():
    """What looks at the networks preprocesses once, or not at all."""
    shares = []
    raw, prepared = raw_data()[:2], prepared_data()[:2]
    for data, preprocess in ((raw, True), (prepared, False)):
        distiller = pair(preprocess=preprocess)
        callback = RankDistortion([data], threshold=0.5)
        callback.set_model(distiller)
        logs = {}
        callback.on_epoch_end(0, logs)
        shares.append(logs)
    assert shares[0] == shares[1]
    task, images = distiller.student, prepared[0]["image"]

    def run(images):
        return keras.ops.convert_to_numpy(task(images))

    assert relative_difference(task, run, images) < 1e-5


class Segmenter(keras.Model):
    """A dense task whose preprocessor halves images and their masks."""

    preprocessor = keras.layers.Identity()

    def preprocess_samples(self, x, y=None, sample_weight=None):
        y = None if y is None else y[:, ::2, ::2]
        return keras.utils.pack_x_y_sample_weight(
            x[:, ::2, ::2], y, sample_weight
        )


def test_masks_are_prepared_with_their_images():
    inputs = keras.Input((6, 6, 3))
    outputs = keras.layers.Conv2D(CLASSES, 1)(inputs)
    distiller = compiled(
        CrossModalDistiller(
            student=Segmenter(inputs, outputs),
            student_modality="image",
            method=Supervised(),
        )
    )
    images = np.ones((4, 12, 12, 3), "float32")
    masks = np.ones((4, 12, 12), "int32")
    distiller.fit(images, masks, verbose=0)
    distiller.train_on_batch(images, masks)
    assert distiller.predict(images, verbose=0).shape == (4, 6, 6, CLASSES)


def test_what_cannot_be_prepared_is_refused():
    student = image_task()
    build = functools.partial(
        CrossModalDistiller, student, student_modality="image"
    )
    for wrong in ("image", ["text"], None, 1, ["image", "depth"]):
        with pytest.raises(ValueError, match="preprocess"):
            build(method=Supervised(), preprocess=wrong)
    second = image_task(name="second")
    for teacher, other in ((second, student), (student, second)):
        if teacher is student:
            teacher.preprocessor = None  # One with, and one without.
        with pytest.raises(ValueError, match="key of its own"):
            CrossModalDistiller(
                other,
                teacher,
                student_modality="image",
                teacher_modality="image",
                method=KnowledgeDistillation(),
            )
    CrossModalDistiller(
        second,
        student,
        student_modality="image",
        teacher_modality="image",
        method=KnowledgeDistillation(),
        preprocess=False,
    )
    with pytest.raises(ValueError, match="one modality"):
        CrossModalDistiller(
            second, student_modality=("image", "depth"), method=Supervised()
        )


def test_nothing_is_wrapped_without_a_preprocessor():
    distiller = toy_distiller(Supervised())
    for stage in ("fit", "evaluate", "predict"):
        assert distiller.preparation(stage) is None
    assert distiller.get_config()["preprocess"] is True
    assert pair(preprocess=False).preparation("fit") is None
