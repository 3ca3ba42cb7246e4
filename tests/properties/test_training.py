"""Whatever data a distiller is given: it trains, or says why not and waits."""

import dataclasses

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_c2kd import C2KD
from keras_c2kd import CrossModalDistiller
from keras_c2kd.losses import DISTLoss
from tests.distiller.test_cross_modal_distiller import PairedDataset

pytestmark = pytest.mark.slow

AUDIO, VISUAL, CLASSES, ROWS = "audio", "visual", 3, 6
IGNORED = 100


def as_generator(*arrays):
    dataset = PairedDataset(*arrays)
    return (dataset[index] for index in range(len(dataset)))


def as_tf_dataset(inputs, labels, batch_size, weights):
    tf = pytest.importorskip("tensorflow", reason="tf.data is TensorFlow's")
    arrays = (inputs, labels, weights)[: 2 if weights is None else 3]
    return tf.data.Dataset.from_tensor_slices(arrays).batch(batch_size)


def as_data_loader(inputs, labels, batch_size, weights):
    data = pytest.importorskip(
        "torch.utils.data", reason="DataLoader is PyTorch's"
    )
    arrays = (inputs, labels, weights)[: 2 if weights is None else 3]
    samples = [
        keras.tree.map_structure(lambda x, i=i: x[i], arrays)
        for i in range(len(labels))
    ]
    return data.DataLoader(samples, batch_size=batch_size)


CONTAINERS = {
    "arrays": None,
    "dataset": PairedDataset,
    "generator": as_generator,
    "tf.data": as_tf_dataset,
    "DataLoader": as_data_loader,
}


def network(role, dense):
    """A layer of a dict of two inputs, or of one."""
    shape = (4, 4, 2) if dense else (2,)
    tokens = {name: keras.Input(shape, name=name) for name in ("ids", "mask")}
    inputs = tokens if role == AUDIO else keras.Input(shape)
    x = tokens["ids"] * tokens["mask"] if role == AUDIO else inputs
    x = keras.layers.Dense(8, activation="relu", name="features")(x)
    x = keras.layers.BatchNormalization(name="normalisation")(x)
    x = keras.layers.Dense(CLASSES, name="logits")(x)
    return keras.Model(inputs, x, name=role)


@pytest.fixture(scope="module")
def distillers():
    """By dense and one-hot; built once, as building is what costs time."""
    built = {}
    for dense in (False, True):
        for one_hot in (False, True):
            method = C2KD(
                divergence=DISTLoss(), proxies=False, non_target=False
            )
            distiller = CrossModalDistiller(
                student=network(VISUAL, dense),
                teacher=network(AUDIO, dense),
                student_modality=VISUAL,
                teacher_modality=AUDIO,
                method=C2KD(proxies=False) if one_hot else method,
            )
            loss = keras.losses.CategoricalCrossentropy(from_logits=True)
            if not one_hot:
                loss = keras.losses.SparseCategoricalCrossentropy(
                    from_logits=True, ignore_class=IGNORED
                )
            distiller.compile(
                keras.optimizers.SGD(0.01), loss, jit_compile=False
            )
            built[dense, one_hot] = distiller
    return built


@dataclasses.dataclass(frozen=True)
class Data:
    """What is given to a distiller, and how it differs from good data."""

    dense: bool
    one_hot: bool
    container: str
    call: str
    batch_size: int
    label_dtype: str
    input_dtype: str
    weights: str
    fault: str

    def arrays(self):
        random = np.random.default_rng(0)
        shape = (ROWS, 4, 4) if self.dense else (ROWS,)
        values = random.normal(0, 1, (3, *shape, 2)) * 30
        ids, mask, visual = values.astype(self.input_dtype)
        inputs = {AUDIO: {"ids": ids, "mask": mask}, VISUAL: visual}
        labels = random.integers(0, CLASSES, shape)
        if self.fault == "ignored" and self.label_dtype != "bool":
            labels[:] = IGNORED * (not self.one_hot)
        if self.one_hot:
            labels = np.eye(CLASSES)[labels]
        labels = labels.astype(self.label_dtype)
        weights = np.abs(random.normal(0, 1, shape)).astype("float32")
        weights = {
            "none": None,
            "rows": weights,
            "samples": weights.reshape(ROWS, -1)[:, 0],
            "column": weights.reshape(ROWS, -1)[:, :1],
            "zero": 0 * weights,
            "tiny": 1e-30 * weights,
        }[self.weights]
        return self.broken(inputs, labels, weights)

    def broken(self, inputs, labels, weights):
        one = np.ones(ROWS, "float32")
        if self.fault == "NaN":
            inputs[VISUAL] = np.where(np.arange(2) == 1, np.nan, inputs[VISUAL])
        elif self.fault == "infinity in bfloat16":
            bad = keras.ops.cast(inputs[VISUAL] * np.inf, "bfloat16")
            inputs[VISUAL] = bad
        elif self.fault == "beyond float32":
            inputs[VISUAL] = inputs[VISUAL].astype("float64") * 1e300
        elif self.fault == "half of a modality":
            inputs[AUDIO]["mask"] = inputs[AUDIO]["mask"][:4]
        elif self.fault == "no modality":
            del inputs[AUDIO]
        elif self.fault == "label":
            labels = labels.copy()
            labels.flat[-1] = 77
        elif self.fault == "label shape":
            labels = labels[..., None][:, None]
        elif self.fault == "texts":
            labels = labels.astype(str)
        elif self.fault == "negative weight":
            weights = one - 2 * (np.arange(ROWS) == ROWS - 1)
        elif self.fault == "NaN weight":
            weights = one * np.nan
        elif self.fault == "weight shape":
            weights = np.ones((ROWS, CLASSES + 2), "float32")
        elif self.fault == "empty":
            inputs, labels = keras.tree.map_structure(
                lambda x: x[:0], (inputs, labels)
            )
            weights = None
        return inputs, labels, weights


GOOD = ("none", "ignored")
FAULTS = (
    "NaN",
    "infinity in bfloat16",
    "beyond float32",
    "half of a modality",
    "no modality",
    "label",
    "label shape",
    "texts",
    "negative weight",
    "NaN weight",
    "weight shape",
    "empty",
)


def data(**fixed):
    parts = {
        "dense": st.booleans(),
        "one_hot": st.booleans(),
        "batch_size": st.sampled_from([1, 4, 1000]),
        "label_dtype": st.sampled_from(
            ["bool", "uint8", "int8", "int64", "float16", "float64"]
        ),
        "input_dtype": st.sampled_from(
            ["bool", "uint8", "int16", "float16", "float32", "float64"]
        ),
        "weights": st.sampled_from(
            ["none", "rows", "samples", "column", "zero", "tiny"]
        ),
    }
    return st.builds(Data, **{**parts, **fixed})


def run(distiller, data):
    """Call the distiller; return what it logged."""
    inputs, labels, weights = data.arrays()
    if data.call == "train_on_batch":
        return distiller.train_on_batch(
            inputs, labels, sample_weight=weights, return_dict=True
        )
    if data.call == "evaluate":
        return distiller.evaluate(
            inputs,
            labels,
            sample_weight=weights,
            batch_size=data.batch_size,
            return_dict=True,
            verbose=0,
        )
    source = CONTAINERS[data.container]
    if source is None:
        history = distiller.fit(
            inputs,
            labels,
            sample_weight=weights,
            batch_size=data.batch_size,
            verbose=0,
        )
    else:
        size = min(data.batch_size, ROWS)
        batches = source(inputs, labels, size, weights)
        history = distiller.fit(batches, verbose=0)
    return {key: values[-1] for key, values in history.history.items()}


def state(distiller):
    return [keras.ops.convert_to_numpy(v) for v in distiller.variables]


def assert_untouched(distiller, before):
    for one, other in zip(before, state(distiller)):
        np.testing.assert_array_equal(one, other)


@pytest.mark.skipif(
    keras.backend.backend() != "torch",
    reason="elsewhere, a step is compiled for each of these cases",
)
@given(
    data=data(
        container=st.sampled_from(["arrays", "dataset", "generator"]),
        call=st.sampled_from(["fit", "fit", "train_on_batch", "evaluate"]),
        fault=st.sampled_from(GOOD),
    )
)
def test_good_data_train_with_finite_values(distillers, data):
    distiller = distillers[data.dense, data.one_hot]
    before = distiller.get_weights()
    weights_of = state(distiller)
    try:
        logs = run(distiller, data)
        assert np.isfinite(list(logs.values())).all(), logs
        assert all(np.isfinite(array).all() for array in state(distiller))
        if data.call == "evaluate":
            assert_untouched(distiller, weights_of)
    finally:
        distiller.set_weights(before)


@given(
    data=data(
        container=st.sampled_from(["arrays", "dataset", "generator"]),
        call=st.sampled_from(["fit", "fit", "train_on_batch", "evaluate"]),
        fault=st.sampled_from(FAULTS),
        input_dtype=st.just("float32"),
        label_dtype=st.sampled_from(["uint8", "int64", "float32"]),
        weights=st.just("none"),
    )
)
def test_bad_data_are_refused_before_anything_moves(distillers, data):
    distiller = distillers[data.dense, data.one_hot]
    if data.fault == "no modality" and data.call == "evaluate":
        return  # The teacher's may be missing.
    if data.container != "arrays":
        # A later batch comes when the earlier ones were trained on.
        data = dataclasses.replace(data, batch_size=1000)
    before = state(distiller)
    with pytest.raises(ValueError, match="Received"):
        run(distiller, data)
    assert_untouched(distiller, before)


@pytest.mark.parametrize("container", ["tf.data", "DataLoader"])
@pytest.mark.parametrize("fault", ["none", "NaN", "label", "beyond float32"])
def test_streams_of_the_backends(distillers, container, fault):
    """Their errors come through a pipeline, which wraps them."""
    distiller = distillers[False, False]
    given_data = Data(
        False,
        False,
        container,
        "fit",
        1000,
        "int64",
        "float32",
        "none",
        fault,
    )
    before = state(distiller)
    if fault == "none":
        logs = run(distiller, given_data)
        assert np.isfinite(list(logs.values())).all()
        return
    with pytest.raises(Exception, match="Received"):
        run(distiller, given_data)
    assert_untouched(distiller, before)
