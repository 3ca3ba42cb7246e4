"""Views of scenes: colour, depth and labels lie on one another."""

import itertools
import pickle

import keras
import numpy as np
import pytest
from PIL import Image

from keras_c2kd.data.paired_dataset import Sample
from keras_c2kd.data.scene_dataset import DEPTH_ENCODINGS
from keras_c2kd.data.scene_dataset import IGNORED
from keras_c2kd.data.scene_dataset import ColourReader
from keras_c2kd.data.scene_dataset import DepthReader
from keras_c2kd.data.scene_dataset import LabelReader
from keras_c2kd.data.scene_dataset import SceneDataset
from keras_c2kd.data.scene_dataset import ScenePlacement
from keras_c2kd.data.scene_dataset import Window

pytestmark = pytest.mark.backend_free

PLAIN = {
    "mean": (0.0,) * 3,
    "standard_deviation": (1 / 255,) * 3,
}  # 0 to 255 as it is.
SCALES = (0.5, 0.7, 1.0, 1.3, 2.0)


def ramps(height=12, width=20):
    """Colour is 10 times the place; a label and a depth for each pixel."""
    rows, columns = np.mgrid[:height, :width]
    colour = np.stack([10 * rows, 10 * columns, 0 * rows + 50], axis=-1)
    labels = rows * width + columns
    depth = (1 + labels / 100).astype("float32")
    return colour.astype("uint8"), depth, labels.astype("uint16")


def dataset(placement, count=3, depth=None, **kwargs):
    colour, metres, labels = ramps()
    sources = {"rgb": colour, "depth": metres, "labels": labels}
    samples = [Sample(str(n), n, sources) for n in range(count)]
    readers = {
        "rgb": ColourReader(placement, **PLAIN),
        "depth": DepthReader(placement, **(depth or {})),
        "labels": LabelReader(placement, classes=np.arange(240)),
    }
    return SceneDataset(samples, readers, batch_size=count, **kwargs)


def metres_of(values, scale=1.0):
    """Undo the encoding as metres."""
    return (values * 1.417 + 2.842) * scale


def test_interpolation_by_hand():
    image = np.array([[0, 10, 40]], "uint8")
    rows = np.array([0])
    for places, expected in (
        ([0.25, 1.5], [2.5, 25]),
        # Beyond the edges the edge goes on.
        ([-0.25, 2.25], [0, 40]),
        ([0, 2], [0, 40]),
    ):
        window = Window((1, 2), rows, np.array(places))
        np.testing.assert_allclose(window.interpolate(image), [expected])
    window = Window((1, 4), rows, np.array([-0.25, 0.4, 0.6, 2.25]))
    np.testing.assert_array_equal(window.take(image), [[0, 0, 10, 40]])


# At other scales places are as near to one pixel as to another.
@pytest.mark.parametrize("scale", [1.34, 2.0])
def test_magnified_images_are_those_of_pillow(scale):
    image = np.random.default_rng(0).integers(0, 256, (12, 24, 3), "uint8")
    size = round(12 * scale), round(24 * scale)
    placement = ScenePlacement(size, scales=(scale,), mirror=False)
    window = placement.window(12, 24, np.random.default_rng(0))
    for method, found in (
        (Image.Resampling.BILINEAR, window.interpolate(image)),
        (Image.Resampling.NEAREST, window.take(image)),
    ):
        resized = Image.fromarray(image).resize(size[::-1], method)
        np.testing.assert_allclose(found, np.asarray(resized), atol=1)


def test_half_the_size_is_the_mean_of_two():
    image = np.array([[0, 10, 40, 60]] * 2, "uint8")
    placement = ScenePlacement((1, 2), scales=(0.5,), mirror=False)
    window = placement.window(2, 4, np.random.default_rng(0))
    np.testing.assert_allclose(window.interpolate(image), [[5, 50]])


@pytest.mark.parametrize("scale_depth", [True, False])
def test_all_parts_are_seen_alike(scale_depth):
    """The label tells the place, which colour and depth must have too."""
    data = dataset(
        ScenePlacement((10, 14), scales=SCALES),
        count=40,
        training=True,
        depth={"scale_depth": scale_depth},
    )
    inputs, labels = data[0]
    shapes = [array.shape for array in (*inputs.values(), labels)]
    assert shapes == [(40, 10, 14, 3), (40, 10, 14, 1), (40, 10, 14)]
    found = set()
    for colour, depth, label in zip(inputs["rgb"], inputs["depth"], labels):
        seen = label != IGNORED
        ratios = (1 + label[seen] / 100) / metres_of(depth[seen][:, 0])
        scale = ratios.mean()
        np.testing.assert_allclose(ratios, scale, rtol=1e-4)
        for channel, place in ((0, label // 20), (1, label % 20)):
            # Bilinear and nearest differ by half a pixel at most.
            error = colour[seen][:, channel] / 10 - place[seen]
            assert np.abs(error).max() <= 0.5 + 1e-4
        assert (colour[~seen] == 0).all() and (depth[~seen] == 0).all()
        columns = (label % 20)[0][seen[0]]
        found.add((round(float(scale), 3), bool(columns[0] > columns[-1])))
    scales = SCALES if scale_depth else (1.0,)
    assert found == set(itertools.product(scales, (True, False)))


def test_crops_are_at_every_place():
    placement = ScenePlacement((10, 18), mirror=False)
    starts = set()
    for seed in range(60):
        window = placement.window(12, 20, np.random.default_rng(seed))
        starts.add((window.rows[0], window.columns[0]))
        assert len(window.rows) == 10 and len(window.columns) == 18
    assert starts == set(itertools.product(range(3), range(3)))


def test_what_is_smaller_than_the_crop_is_padded():
    """Below and at the right, before it is mirrored."""
    placement = ScenePlacement((8, 12), scales=(0.5,))
    data = dataset(placement, count=20, training=True)
    inputs, labels = data[0]
    sides = set()
    for colour, depth, label in zip(inputs["rgb"], inputs["depth"], labels):
        seen = label != IGNORED
        left = bool(seen[0, 0])
        sides.add(left)
        expected = np.zeros((8, 12), bool)
        expected[:6, slice(0, 10) if left else slice(2, 12)] = True
        np.testing.assert_array_equal(seen, expected)
        assert (colour[seen][:, 2] == 50).all()
        assert not colour[~seen].any() and not depth[~seen].any()
    assert sides == {True, False}


def test_evaluation_sees_whole_scenes():
    colour, depth, labels = ramps()
    for size in (None, (16, 24)):
        data = dataset(ScenePlacement((4, 4), size, SCALES), training=True)
        inputs, found = data.evaluation()[0]
        height, width = size or (12, 20)
        assert found.shape == (3, height, width)
        whole = (slice(None), slice(12), slice(20))
        np.testing.assert_allclose(inputs["rgb"][whole], [colour] * 3)
        np.testing.assert_allclose(
            metres_of(inputs["depth"][whole][..., 0]), [depth] * 3, rtol=1e-6
        )
        np.testing.assert_array_equal(found[whole], [labels] * 3)
        padding = np.ones(found.shape, bool)
        padding[whole] = False
        assert (found[padding] == IGNORED).all()
        assert not inputs["rgb"][padding].any()
    data = dataset(ScenePlacement((4, 4), (16, 19)))
    with pytest.raises(ValueError, match=r"\(12, 20\).*\(16, 19\)"):
        data[0]


def test_encodings_by_hand():
    depth = np.array([[2.842, 1.425, 0.0, 30.0, 0.01]], "float32")
    placement = ScenePlacement((1, 5))
    for encoding, expected in (
        ("metres", [0, -1, 0, (10 - 2.842) / 1.417, (0.3 - 2.842) / 1.417]),
        (
            "log",
            [
                (np.log(2.842) - 0.933) / 0.471,
                (np.log(1.425) - 0.933) / 0.471,
                0,
                (np.log(10) - 0.933) / 0.471,
                (np.log(0.3) - 0.933) / 0.471,
            ],
        ),
        (
            "disparity",
            [
                (1 / 2.842 - 0.44) / 0.219,
                (1 / 1.425 - 0.44) / 0.219,
                0,
                (0.1 - 0.44) / 0.219,
                (1 / 0.3 - 0.44) / 0.219,
            ],
        ),
    ):
        reader = DepthReader(placement, encoding=encoding, channels=3)
        view = reader.view(depth)
        assert view.shape == (1, 5, 3) and view.dtype == np.float32
        for channel in range(3):
            np.testing.assert_allclose(view[0, :, channel], expected, atol=1e-5)


def test_depths_are_told_apart_between_limits():
    depth = np.float32([[0.1, 0.5, 3.0, 20.0]])
    reader = DepthReader(ScenePlacement(), nearest=np.float64(1), farthest=2)
    expected = (np.float32([1.0, 1.0, 2.0, 2.0]) - 2.842) / 1.417
    found = reader.view(depth)
    np.testing.assert_allclose(found[0, :, 0], expected, rtol=1e-6)
    assert found.dtype == "float32"
    for limits in ({"nearest": 0}, {"nearest": 2, "farthest": 2}):
        with pytest.raises(ValueError, match="Received: nearest="):
            DepthReader(ScenePlacement(), **limits)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_share_of_mirrored_scenes(share):
    placement = ScenePlacement(mirrored_fraction=share)
    random = np.random.default_rng(0)
    seen = {placement.window(2, 2, random).mirrored for _ in range(20)}
    assert seen == {share == 1.0}
    with pytest.raises(ValueError, match="Received: mirrored_fraction=2"):
        ScenePlacement(mirrored_fraction=2)


def test_the_constants_are_those_of_log_normal_depths():
    _, mean, deviation = DEPTH_ENCODINGS["metres"]
    variance = np.log(1 + (deviation / mean) ** 2)
    middle = np.log(mean) - variance / 2
    draws = np.random.default_rng(0).normal(middle, variance**0.5, 1_000_000)
    for encoding, values in (
        ("metres", np.exp(draws)),
        ("log", draws),
        ("disparity", np.exp(-draws)),
    ):
        constants = DEPTH_ENCODINGS[encoding][1:]
        np.testing.assert_allclose(
            constants, (values.mean(), values.std()), rtol=5e-3
        )


def test_draws_depend_on_seed_epoch_and_sample_alone():
    placement = ScenePlacement((10, 14), scales=SCALES)
    data = dataset(placement, count=4, training=True, seed=3)
    full, labels = data[0]
    # Fewer inputs, another process, a second view: the same draws.
    other = pickle.loads(pickle.dumps(data)).select(["depth"], "rgb")
    inputs, again = other[0]
    assert sorted(inputs) == ["depth", "rgb_second_view"]
    np.testing.assert_array_equal(inputs["depth"], full["depth"])
    np.testing.assert_array_equal(inputs["rgb_second_view"], full["rgb"])
    np.testing.assert_array_equal(again, labels)
    data.on_epoch_end()
    assert not np.array_equal(data[0][1], labels)
    assert not np.array_equal(
        dataset(placement, count=4, training=True, seed=4)[0][1], labels
    )


def test_labels_are_those_of_evaluation_and_read_alone(monkeypatch):
    placement = ScenePlacement((10, 14), scales=SCALES)
    data = dataset(placement, count=4, training=True)
    expected = data.evaluation().batch(range(4))[1]
    monkeypatch.setattr(ColourReader, "view", None)
    np.testing.assert_array_equal(data.labels, expected)


def test_bad_arguments():
    placement = ScenePlacement((4, 4))
    for message, create in (
        (r"crop=\(0, 4\)", lambda: ScenePlacement((0, 4))),
        (r"evaluation_size=\(4,\)", lambda: ScenePlacement((4, 4), (4,))),
        (r"scales=\(\)", lambda: ScenePlacement((4, 4), scales=())),
        (r"scales=\(-1.0,\)", lambda: ScenePlacement((4, 4), scales=(-1.0,))),
        ("'hha'", lambda: DepthReader(placement, encoding="hha")),
        ("channels=0", lambda: DepthReader(placement, channels=0)),
    ):
        with pytest.raises(ValueError, match=message):
            create()


@pytest.mark.every_backend
@pytest.mark.parametrize("everything", [False, True])
def test_ignored_pixels_count_nowhere(everything):
    """The loss, the metric, and no prediction at such a pixel."""
    random = np.random.default_rng(0)
    logits = random.normal(size=(2, 6, 5, 4)).astype("float32")
    labels = random.integers(0, 4, (2, 6, 5)).astype("int32")
    ignored = random.random(labels.shape) < (2 if everything else 0.3)
    labels[ignored] = IGNORED
    loss = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, ignore_class=IGNORED
    )
    metric = keras.metrics.MeanIoU(4, ignore_class=IGNORED, sparse_y_pred=False)
    metric.update_state(labels, logits)
    expected_loss = expected_iou = 0.0
    if not everything:
        rows, kept = logits[~ignored], labels[~ignored]
        rows = rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))
        expected_loss = -rows[np.arange(len(kept)), kept].mean()
        guess = rows.argmax(axis=1)
        expected_iou = np.mean(
            [
                ((guess == c) & (kept == c)).sum()
                / ((guess == c) | (kept == c)).sum()
                for c in range(4)
            ]
        )
    assert float(loss(labels, logits)) == pytest.approx(expected_loss, rel=1e-5)
    assert float(metric.result()) == pytest.approx(expected_iou, rel=1e-5)
