"""CIRKD's terms and memories against loops over their definitions."""

import itertools

import keras
import numpy as np
import pytest

from keras_c2kd.methods import CIRKD
from keras_c2kd.methods import Targets
from tests.helpers import references
from tests.helpers.evaluate import evaluate
from tests.helpers.gradients import gradients
from tests.helpers.references import random_labels
from tests.helpers.references import random_logits
from tests.helpers.toys import AUDIO
from tests.helpers.toys import VISUAL
from tests.helpers.toys import toy_distiller
from tests.methods.by_hand import valid_weights

pytest_plugins = ["tests.helpers.double_precision"]

STATE = ("pixels", "pixel_pointers", "regions", "region_pointers")
IGNORED = 255
# So many that every slot is drawn: the order of the slots has no influence.
ALL = {"contrast_pixels": 10**4, "contrast_regions": 10**4}


class Memory:
    """The slots of each class and the rule by which they are overwritten."""

    def __init__(self, slots):
        self.slots = np.array(slots, "float64")
        self.pointers = [0] * len(self.slots)

    def write(self, label, vectors):
        """Write vectors `(k, width)`; at the end, the last `k` slots."""
        size, count = len(self.slots[label]), len(vectors)
        first = self.pointers[label]
        self.pointers[label] += count
        if first + count >= size:
            first, self.pointers[label] = size - count, 0
        self.slots[label, first : first + count] = vectors


def units(vectors):
    """Unit vectors; the zero vector stays."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(norms, 1e-12)


def write_batch(pixels, regions, features, labels, counted, most=16):
    """Write a batch whose vectors of a class in an image are all equal."""
    vectors = units(features)
    for image, own_labels, own_counted in zip(vectors, labels, counted):
        for label in range(len(pixels.slots)):
            members = image[(own_labels == label) & own_counted]
            if len(members):
                pixels.write(label, members[:most])
                regions.write(label, units(members.mean(axis=0))[None])


def contrast(slots, teacher, student, counted, weights, temperature=0.1):
    """Mean divergence over the places, anchor by anchor."""
    slots = np.reshape(slots, (-1, slots.shape[-1]))
    teacher, student = units(teacher), units(student)
    total = 0.0
    for place in zip(*np.nonzero(counted)):
        total += weights[place[0]] * references.kl(
            slots @ teacher[place] / temperature,
            slots @ student[place] / temperature,
        )
    return total / max(counted.sum(), 1)


def mini_batch(teacher, student, weights, temperature=0.1):
    """Weighted mean over the pairs of images, times the mean weight."""
    teacher, student = (
        units(maps).reshape(len(maps), -1, maps.shape[-1])
        for maps in (teacher, student)
    )
    total = 0.0
    for i, j in itertools.product(range(len(teacher)), repeat=2):
        target = teacher[i] @ teacher[j].T / temperature
        learner = student[i] @ student[j].T / temperature
        pair = weights[i] * weights[j]
        total += pair * references.kl(target, learner).mean()
    return weights.mean() * total / weights.sum() ** 2


def resized(labels, size):
    """The nearest label of each place of a map, rounding down."""
    if labels.ndim == 1:
        labels = labels[:, None, None]
    rows, columns = (
        [place * old // new for place in range(new)]
        for old, new in zip(labels.shape[1:], size)
    )
    return labels[:, rows][:, :, columns]


def build(num_classes, size, width, student_width=None, **options):
    """A method for maps of equal size."""
    method = CIRKD(**{**ALL, **options})
    method.build(
        {
            role: {
                "logits": (None, num_classes),
                "features": (None, *size, channels),
            }
            for role, channels in (
                ("student", student_width or width),
                ("teacher", width),
            )
        }
    )
    return method


def random_batch(labels, num_classes, size, width, scale=1.0):
    """What the networks and heads may give for some labels."""
    maps = (len(labels), *size)
    shapes = {
        "student": (*labels.shape, num_classes),
        "teacher": (*labels.shape, num_classes),
        "map": (*maps, width + 1),
        "projection": (*maps, width),
        "features": (*maps, width),
    }
    batch = {
        name: scale * random_logits(*shape, seed=seed)
        for seed, (name, shape) in enumerate(shapes.items())
    }
    return {"labels": labels, **batch}


def equal_in_class(features, labels):
    """Give each image one vector a class, of another length each time."""
    features, random = features.copy(), np.random.default_rng(9)
    for image, own_labels in zip(features, resized(labels, features.shape[1:])):
        for label in np.unique(own_labels):
            members = own_labels == label
            lengths = random.uniform(0.5, 2.0, (members.sum(), 1))
            image[members] = image[members][0] * lengths
    # As the networks would give it.
    return features.astype("float32").astype("float64")


def compute(method, batch):
    """The terms and the new state; the method's own state stays."""
    labels, logits = batch["labels"], batch["student"]
    weights, valid = batch.get("weights"), batch.get("valid")
    rows = None
    if weights is not None:
        rows = keras.ops.ones_like(logits[..., 0]) * keras.ops.reshape(
            weights, (-1, *[1] * (len(labels.shape) - 1))
        )
    if valid is not None:
        counted = keras.ops.cast(valid, keras.config.floatx())
        counted = keras.ops.divide_no_nan(counted, keras.ops.mean(counted))
        rows = counted if rows is None else rows * counted
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    targets = Targets(
        labels,
        rows,
        valid,
        lambda logits: loss(labels, logits, sample_weight=rows),
        sample_weights=weights,
    )
    outputs = {
        "student": {"logits": logits},
        "teacher": {"logits": batch["teacher"], "features": batch["features"]},
        "heads": {name: batch[name] for name in ("map", "projection")},
    }
    with keras.StatelessScope() as scope:
        losses, diagnostics = method.compute_losses(outputs, targets)
        state = {
            name: scope.get_current_value(getattr(method, name))
            for name in STATE
        }
    assert diagnostics == {}
    return losses, state


def run(method, batch, **kwargs):
    """`compute` in numpy; `kwargs` as for `evaluate`."""
    return evaluate(
        lambda *arrays: compute(method, dict(zip(batch, arrays))),
        *batch.values(),
        **kwargs,
    )


def expected_terms(method, batch, state):
    """All terms but the supervised one, with the memory after the write."""
    labels = batch["labels"]
    size = batch["features"].shape[1:3]
    valid = batch.get("valid", np.ones(labels.shape, bool))
    weights = batch.get("weights", np.ones(len(labels)))
    counted = np.broadcast_to(resized(valid, size), (len(labels), *size))
    rows = references.kl(batch["teacher"], batch["student"])
    rows = rows * valid_weights(valid).reshape(rows.shape)
    rows = rows * weights.reshape(-1, *[1] * (rows.ndim - 1))
    anchors = (batch["features"], batch["projection"], counted, weights)
    return {
        "distillation": rows.mean(),
        "mini_batch": mini_batch(batch["features"], batch["map"], weights),
        "pixel_memory": 0.1 * contrast(state["pixels"], *anchors),
        "region_memory": 0.1 * contrast(state["regions"], *anchors),
    }


def initial(method):
    """The memories as they are now."""
    return [
        Memory(keras.ops.convert_to_numpy(getattr(method, name)))
        for name in ("pixels", "regions")
    ]


def assert_state(state, pixels, regions):
    np.testing.assert_array_equal(state["pixel_pointers"], pixels.pointers)
    np.testing.assert_array_equal(state["region_pointers"], regions.pointers)
    np.testing.assert_allclose(state["pixels"], pixels.slots, atol=1e-6)
    np.testing.assert_allclose(state["regions"], regions.slots, atol=1e-6)


def test_by_hand():
    """One place, two classes, few slots: the unit vectors of the plane."""
    method = build(
        2,
        (1, 1),
        2,
        temperature=1 / np.log(3),
        pixel_memory=1,
        region_memory=2,
    )
    method.pixels.assign([[[0.0, 1.0]], [[0.0, 1.0]]])
    method.regions.assign(np.full((2, 2, 2), [0.0, 1.0]))
    batch = random_batch(np.asarray([0], "int32"), 2, (1, 1), 2)
    batch["features"] = np.asarray([[[[7.0, 0.0]]]])
    batch["projection"] = np.asarray([[[[0.0, 0.5]]]])
    losses, state = run(method, batch)
    # (3/4, 1/4) against (1/4, 3/4) over the two slots.
    np.testing.assert_allclose(
        losses["pixel_memory"], 0.1 * np.log(3) / 2, rtol=1e-5
    )
    np.testing.assert_array_equal(state["pixels"], [[[1, 0]], [[0, 1]]])
    # 1 slot with similarities (1, 0), 3 with (0, 1).
    p, q = 3 / (3 + 3), 1 / (1 + 3 * 3)
    expected = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    np.testing.assert_allclose(
        losses["region_memory"], 0.1 * expected, rtol=1e-5
    )
    np.testing.assert_array_equal(state["regions"][0, 0], [1, 0])
    assert (state["region_pointers"] == [1, 0]).all()
    # There is one place to be similar to: nothing to learn within the batch.
    assert losses["mini_batch"] == 0.0


LABELS = {
    "classification": ((4,), (2, 3)),
    "dense": ((3, 4, 4), (4, 4)),
    "dense, larger": ((3, 7, 5), (4, 3)),
    "sequence": ((3, 7), (5, 1)),
    "one image": ((1, 4, 4), (2, 2)),
    "vectors": ((5,), (1, 1)),
}
every_form = pytest.mark.parametrize(
    ("labels_shape", "size"), LABELS.values(), ids=LABELS
)


@every_form
@pytest.mark.parametrize("num_classes", [2, 3])
def test_equals_the_definition(labels_shape, size, num_classes):
    labels = random_labels(*labels_shape, num_classes=num_classes)
    method = build(num_classes, size, 4, pixel_memory=20, region_memory=3)
    pixels, regions = initial(method)
    batch = random_batch(labels, num_classes, size, 4)
    if labels.ndim == 2:
        as_map = labels[:, :, None]
    else:
        as_map = labels
    batch["features"] = equal_in_class(batch["features"], as_map)
    losses, state = run(method, batch)
    places = np.broadcast_to(resized(as_map, size), (len(labels), *size))
    everywhere = np.ones(places.shape, bool)
    write_batch(pixels, regions, batch["features"], places, everywhere)
    assert_state(state, pixels, regions)
    assert set(losses) == set(method.loss_names)
    expected = expected_terms(method, batch | {"labels": as_map}, state)
    for name, value in expected.items():
        np.testing.assert_allclose(losses[name], value, 1e-3, 1e-6, name)
    np.testing.assert_allclose(
        losses["student_supervised"],
        references.cross_entropy(batch["student"], labels).mean(),
        rtol=1e-5,
    )


def test_weights_of_the_terms_and_temperature():
    labels = random_labels(3, num_classes=3)
    batch = random_batch(labels, 3, (2, 2), 4)
    factors = {
        "distillation": 2.0,
        "mini_batch": 3.0,
        "pixel_memory": 4.0,
        "region_memory": 5.0,
    }
    options = {"pixel_memory": 5, "region_memory": 5, "temperature": 0.5}
    plain, _ = run(build(3, (2, 2), 4, **options), batch)
    scaled, state = run(
        build(
            3,
            (2, 2),
            4,
            distillation_weight=2.0,
            mini_batch_weight=3.0,
            pixel_weight=0.4,
            region_weight=0.5,
            **options,
        ),
        batch,
    )
    for name, factor in factors.items():
        np.testing.assert_allclose(scaled[name], factor * plain[name], 1e-5)
    expected = contrast(
        state["pixels"],
        batch["features"],
        batch["projection"],
        np.ones((3, 2, 2), bool),
        np.ones(3),
        temperature=0.5,
    )
    np.testing.assert_allclose(plain["pixel_memory"], 0.1 * expected, 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("unknown_batch_size", [False, True])
def test_ignored_places_and_weights(unknown_batch_size):
    labels = random_labels(4, 7, 5, num_classes=3)
    random = np.random.default_rng(0)
    batch = random_batch(labels, 3, (4, 3), 4)
    batch["features"] = equal_in_class(batch["features"], labels)
    batch["valid"] = random.random(labels.shape) > 0.4
    batch["weights"] = np.asarray([0.5, 0.0, 2.0, 1.0])
    method = build(3, (4, 3), 4, pixel_memory=30, region_memory=4)
    pixels, regions = initial(method)
    losses, state = run(method, batch, unknown_batch_size=unknown_batch_size)
    counted = resized(batch["valid"], (4, 3)).copy()
    counted[1] = False
    write_batch(
        pixels, regions, batch["features"], resized(labels, (4, 3)), counted
    )
    assert_state(state, pixels, regions)
    for name, value in expected_terms(method, batch, state).items():
        np.testing.assert_allclose(losses[name], value, 1e-3, 1e-6, name)


@pytest.mark.slow
@pytest.mark.parametrize("nothing", ["all ignored", "no weight"])
@every_form
def test_nothing_to_learn_from(nothing, labels_shape, size):
    labels = random_labels(*labels_shape, num_classes=3)
    batch = random_batch(labels, 3, size, 4)
    if nothing == "all ignored":
        batch["valid"] = np.zeros(labels.shape, bool)
        names = {"distillation", "pixel_memory", "region_memory"}
    else:
        batch["weights"] = np.zeros(len(labels))
        names = {"mini_batch", "distillation", "pixel_memory", "region_memory"}
    method = build(3, size, 4, pixel_memory=6, region_memory=3)
    losses, state = run(method, batch)
    assert all(losses[name] == 0.0 for name in names)
    assert_state(state, *initial(method))
    found = gradients_of(method, batch, names)
    assert not any(gradient.any() for gradient in found.values())


def gradients_of(method, batch, names):
    """Gradient of the sum of some terms, by what it is taken to."""
    moved = ("map", "projection", "features", "teacher", "student")
    held = {name: x for name, x in batch.items() if name not in moved}

    def total(*tensors):
        tensors = dict(zip(moved, tensors))
        floatx = keras.config.floatx()
        others = {
            name: keras.ops.convert_to_tensor(
                array, floatx if array.dtype == "float64" else None
            )
            for name, array in held.items()
        }
        losses, _ = compute(method, others | tensors)
        return sum(losses[name] for name in sorted(names))

    found = gradients(total, *(batch[name] for name in moved))
    return dict(zip(moved, found))


def test_gradients(double_precision):
    labels = random_labels(2, 2, 3, num_classes=3)
    batch = random_batch(labels, 3, (2, 3), 4)
    batch["valid"] = np.random.default_rng(0).random(labels.shape) > 0.3
    batch["weights"] = np.asarray([0.5, 2.0])
    method = build(3, (2, 3), 4, pixel_memory=7, region_memory=3)
    _, state = run(method, batch)
    for name, place in (
        ("mini_batch", "map"),
        ("pixel_memory", "projection"),
        ("region_memory", "projection"),
    ):
        found = gradients_of(method, batch, [name])
        # The memory is constant, although the batch is in it.
        expected = references.numerical_gradient(
            lambda moved: expected_terms(method, batch | {place: moved}, state)[
                name
            ],
            batch[place],
        )
        assert np.abs(expected).max() > 1e-3
        np.testing.assert_allclose(found.pop(place), expected, 1e-5, 1e-8)
        assert not any(gradient.any() for gradient in found.values()), name
    found = gradients_of(method, batch, ["distillation"])
    assert found["student"].any() and not found["teacher"].any()


@pytest.mark.parametrize("scale", [0.0, 1e4])
@pytest.mark.parametrize("labels_shape", [(1,), (3,), (3, 4, 4)])
def test_zero_and_huge_features(scale, labels_shape):
    labels = random_labels(*labels_shape, num_classes=2)
    batch = random_batch(labels, 2, (2, 2), 4, scale)
    method = build(2, (2, 2), 4, pixel_memory=6, region_memory=3)
    losses, state = run(method, batch)
    assert all(np.isfinite(value) for value in losses.values())
    assert all(np.isfinite(array).all() for array in state.values())
    for name, value in expected_terms(method, batch, state).items():
        np.testing.assert_allclose(losses[name], value, 1e-3, 1e-5, name)
    found = gradients_of(method, batch, method.loss_names)
    assert all(np.isfinite(gradient).all() for gradient in found.values())
    if scale == 0.0:
        assert not found["map"].any() and not found["projection"].any()


def test_pixels_come_from_their_class():
    """As many as asked for, none twice, and not always the same ones."""
    method = build(2, (5, 6), 4, pixel_memory=7, pixels_per_class=4)
    # Class 1 has 20 places, behind all of class 0.
    labels = np.repeat([0, 1], [10, 20]).reshape(1, 5, 6).astype("int32")
    batch = random_batch(labels, 2, (5, 6), 4)
    own = units(batch["features"]).reshape(30, 4)
    before = keras.ops.convert_to_numpy(method.pixels).copy()
    seen = set()
    for step in range(4):
        method.generator.state.assign([step, 0])
        _, state = run(method, batch)
        assert (state["pixel_pointers"] == 4).all()
        np.testing.assert_array_equal(state["pixels"][:, 4:], before[:, 4:])
        for label in (0, 1):
            similar = state["pixels"][label, :4] @ own.T
            chosen = similar.argmax(axis=1)
            np.testing.assert_allclose(similar.max(axis=1), 1.0, atol=1e-5)
            assert len(set(chosen)) == 4
            assert (labels.reshape(-1)[chosen] == label).all()
            seen |= set(chosen)
    assert len(seen) > 12
    for label in (0, 1):
        members = own[labels.reshape(-1) == label]
        np.testing.assert_allclose(
            state["regions"][label, 0], units(members.mean(axis=0)), atol=1e-6
        )


def test_all_classes_share_the_drawn_slots():
    options = {"contrast_pixels": 5, "contrast_regions": 2}
    labels = random_labels(3, num_classes=3)
    batch = random_batch(labels, 3, (2, 2), 4)
    anchors = (np.ones((3, 2, 2), bool), np.ones(3))
    drawn = set()
    for seed in range(5):
        method = build(
            3,
            (2, 2),
            4,
            pixel_memory=5,
            region_memory=4,
            seed=seed,
            **options,
        )
        losses, state = run(method, batch)
        # 5 // 3 + 1 = 2 slots of 5 a class, and 2 // 3 + 1 = 1 of 4.
        for name, number, term in (
            ("pixels", 2, "pixel_memory"),
            ("regions", 1, "region_memory"),
        ):
            slots = range(state[name].shape[1])
            chosen = [
                subset
                for subset in itertools.combinations(slots, number)
                if np.isclose(
                    losses[term],
                    0.1
                    * contrast(
                        state[name][:, list(subset)],
                        batch["features"],
                        batch["projection"],
                        *anchors,
                    ),
                    rtol=1e-4,
                )
            ]
            assert len(chosen) == 1
            drawn.add((name, *chosen))
    assert len(drawn) > 4


def test_memories_start_from_seeded_unit_vectors():
    one, same, other = (
        [memory.slots for memory in initial(build(3, (2, 2), 4, seed=seed))]
        for seed in (1, 1, 2)
    )
    for memory, again, different, size in zip(one, same, other, (20000, 2000)):
        assert memory.shape == (3, size, 4)
        np.testing.assert_array_equal(memory, again)
        assert not np.array_equal(memory, different)
        lengths = np.linalg.norm(memory, axis=-1)
        np.testing.assert_allclose(lengths, 1.0, atol=1e-6)
        assert np.abs(memory.mean(axis=(0, 1))).max() < 0.05


def test_student_is_resized_and_projected():
    method = CIRKD(pixel_memory=2, region_memory=2)
    method.build(
        {
            "student": {"logits": (None, 3), "features": (None, 2, 3, 5)},
            "teacher": {"logits": (None, 3), "features": (None, 3, 5, 4)},
        }
    )
    random = np.random.default_rng(0)
    first, second = (block.convolution.kernel for block in method.projection)
    kernels = [random.normal(size=kernel.shape) for kernel in (first, second)]
    first.assign(kernels[0])
    second.assign(kernels[1])
    features = random_logits(2, 2, 3, 5)
    heads = evaluate(
        lambda tensor: method.call({"student": {"features": tensor}}), features
    )
    # Corners stay: the middle row is the mean of both rows.
    expected = features[:, [0, 0, 1]]
    expected[:, 1] = features.mean(axis=1)
    between = (expected[:, :, :-1] + expected[:, :, 1:]) / 2
    expected = np.stack(
        [
            expected[:, :, 0],
            between[:, :, 0],
            expected[:, :, 1],
            between[:, :, 1],
            expected[:, :, 2],
        ],
        axis=2,
    )
    np.testing.assert_allclose(heads["map"], expected, rtol=1e-5, atol=1e-5)
    # Moving mean 0 and variance 1: the normalisation does nothing yet.
    hidden = np.maximum(expected @ kernels[0][0, 0] / np.sqrt(1 + 1e-5), 0)
    np.testing.assert_allclose(
        heads["projection"], hidden @ kernels[1][0, 0], rtol=1e-4, atol=1e-4
    )


def network(modality, size, width, num_classes, dense):
    """A map of which the input is what the loss reads, then a classifier."""
    layers = keras.layers
    inputs = keras.Input((*size, width))
    maps = layers.Activation("linear", name="features")(inputs)
    if dense:
        maps = layers.UpSampling2D(2)(maps)
        logits = layers.Conv2D(num_classes, 1, name="logits")(maps)
    else:
        pooled = layers.GlobalAveragePooling2D()(maps)
        logits = layers.Dense(num_classes, name="logits")(pooled)
    return keras.Model(inputs, logits, name=modality)


def fitted(dense, labels, features, epochs=2, **kwargs):
    """Train in batches of 4 images, the last one smaller."""
    taps = {"features": "features"}
    distiller = toy_distiller(
        CIRKD(pixel_memory=13, region_memory=4, pixels_per_class=5, **ALL),
        student=network(VISUAL, (2, 2), 3, 3, dense),
        teacher=network(AUDIO, features.shape[1:3], 4, 3, dense),
        student_features=taps,
        teacher_features=taps,
        compile={
            "loss": keras.losses.SparseCategoricalCrossentropy(
                from_logits=True, ignore_class=IGNORED
            ),
            "metrics": [],
        },
    )
    if dense:
        # The logits of both are of the labels' size.
        assert distiller.student.output_shape[1:3] == labels.shape[1:3]
    before = initial(distiller.method)
    inputs = {
        AUDIO: features.astype("float32"),
        VISUAL: random_logits(len(labels), 2, 2, 3).astype("float32"),
    }
    history = distiller.fit(
        inputs,
        labels,
        batch_size=4,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        **kwargs,
    ).history
    return distiller, inputs, before, history


@pytest.mark.slow
@pytest.mark.parametrize("dense", [False, True])
def test_memories_after_training_equal_a_simulation(dense):
    size = (2, 2)
    labels = random_labels(10, 4, 4, num_classes=3)
    labels[np.random.default_rng(1).random(labels.shape) < 0.2] = IGNORED
    if not dense:
        labels = labels[:, 0, 0]
    features = equal_in_class(random_logits(10, *size, 4), labels)
    weights = np.linspace(0.5, 2.0, 10).astype("float32")
    weights[3] = 0.0
    distiller, inputs, memories, history = fitted(
        dense, labels, features, sample_weight=weights
    )
    assert all(np.isfinite(values).all() for values in history.values())
    places = np.broadcast_to(resized(labels, size), (10, *size))
    counted = (places != IGNORED) & (weights > 0)[:, None, None]
    for _ in range(2):
        write_batch(*memories, features, places, counted, most=5)
    method = distiller.method

    def state():
        return {
            name: keras.ops.convert_to_numpy(getattr(method, name))
            for name in STATE
        }

    assert_state(state(), *memories)
    # Only training writes.
    distiller.evaluate(inputs, labels, verbose=0)
    distiller.predict(inputs, verbose=0)
    assert_state(state(), *memories)


def test_config():
    options = {
        "distillation_weight": 2.0,
        "mini_batch_weight": 3.0,
        "pixel_weight": 4.0,
        "region_weight": 5.0,
        "temperature": 0.2,
        "pixel_memory": 6,
        "region_memory": 7,
        "pixels_per_class": 8,
        "contrast_pixels": 9,
        "contrast_regions": 10,
        "seed": 11,
    }
    method = CIRKD(**options)
    config = method.get_config()
    assert options.items() <= config.items()
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(method)
    )
    assert type(copy) is CIRKD and copy.get_config() == config


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"teacher_update": "all"}, "is fixed.*'all'"),
        ({"pixel_memory": 0}, "at least one slot.*pixel_memory=0"),
        ({"region_memory": 0}, "at least one slot.*region_memory=0"),
        ({"pixels_per_class": 0}, "at least one pixel.*pixels_per_class=0"),
        ({"temperature": 0.0}, "positive.*0.0"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message.replace(".*", "(?s:.*)")):
        CIRKD(**options)


def test_maps_of_unknown_size_are_refused():
    with pytest.raises(ValueError, match="known size"):
        build(3, (None, 4), 4)
