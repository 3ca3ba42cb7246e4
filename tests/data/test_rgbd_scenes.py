"""Generated rooms: what is where, who can see it, and that it stays so."""

import json

import keras
import numpy as np
import pytest

from keras_c2kd.data import generated_rooms
from keras_c2kd.data.generated_rooms import BALL
from keras_c2kd.data.generated_rooms import BLUE
from keras_c2kd.data.generated_rooms import BOX
from keras_c2kd.data.generated_rooms import COLUMN
from keras_c2kd.data.generated_rooms import CONE
from keras_c2kd.data.generated_rooms import FLOOR
from keras_c2kd.data.generated_rooms import RED
from keras_c2kd.data.generated_rooms import WALL
from keras_c2kd.data.generated_rooms import draw_rooms
from keras_c2kd.data.generated_rooms import render_rooms
from keras_c2kd.data.rgbd_scenes import CLASSES
from keras_c2kd.data.rgbd_scenes import load_rgbd_scenes

pytestmark = pytest.mark.backend_free

SIZE = (48, 64)
PARTS = ("train", "validation", "test")


def seen(count=40, change=lambda rooms: None):
    """Return colour, depth and kinds of rooms, perhaps changed ones."""
    generators = [np.random.default_rng([7, room]) for room in range(count)]
    rooms = draw_rooms(generators)
    change(rooms)
    return rooms, *render_rooms(rooms, SIZE, generators)


def remove(*kinds):
    def change(rooms):
        for kind in kinds:
            present = rooms["things"][kind]["present"]
            rooms["things"][kind]["present"] = np.zeros_like(present)

    return change


def small(**kwargs):
    counts = {"train": 5, "validation": 3, "test": 4}
    return load_rgbd_scenes(**{**counts, "size": (16, 24), **kwargs})


# Who sees what, exactly.


def test_the_table_names_the_kinds_in_their_order():
    expected = {
        WALL: ("wall", True, True),
        FLOOR: ("floor", True, True),
        RED: ("red poster", True, False),
        BLUE: ("blue poster", True, False),
        BOX: ("hidden box", False, True),
        BALL: ("hidden ball", False, True),
        COLUMN: ("green column", True, True),
        CONE: ("yellow cone", True, True),
    }
    for number, scene_class in enumerate(CLASSES):
        told = ("rgb" in scene_class.told_by, "depth" in scene_class.told_by)
        assert (scene_class.name, *told) == expected[number]


def test_posters_are_in_the_colour_alone():
    def take_down(rooms):
        for poster in rooms["posters"]:
            poster["kind"] = np.full_like(poster["kind"], WALL)

    def exchange(rooms):
        for poster in rooms["posters"]:
            kind = poster["kind"]
            poster["kind"] = np.where(kind == WALL, WALL, RED + BLUE - kind)

    _, colour, depth, kind = seen()
    for change in (take_down, exchange):
        _, other_colour, other_depth, other_kind = seen(change=change)
        np.testing.assert_array_equal(other_depth, depth)
        posters = np.isin(kind, (RED, BLUE))
        np.testing.assert_array_equal(other_kind != kind, posters)
        differs = (other_colour != colour).any(axis=-1)
        assert not differs[~posters].any()
        assert differs[posters].mean() > 0.99


def test_hidden_things_are_in_the_depth_alone():
    _, colour, depth, kind = seen()
    _, other_colour, other_depth, other_kind = seen(change=remove(BOX, BALL))
    np.testing.assert_array_equal(other_colour, colour)
    hidden = np.isin(kind, (BOX, BALL))
    np.testing.assert_array_equal(other_kind != kind, hidden)
    measured = hidden & (depth > 0)
    assert not (other_depth != depth)[~hidden].any()
    # Mostly much nearer; equal where a thing touches the floor.
    assert (other_depth[measured] > depth[measured] + 0.1).mean() > 0.8


def test_hidden_things_stand_before_no_poster():
    _, _, _, kind = seen(change=remove(BOX, BALL))
    _, _, _, with_hidden = seen()
    posters = np.isin(kind, (RED, BLUE))
    np.testing.assert_array_equal(with_hidden[posters], kind[posters])


@pytest.mark.parametrize("thing", [COLUMN, CONE])
def test_all_other_things_are_in_both(thing):
    _, colour, depth, kind = seen(change=remove(BOX, BALL))
    _, other_colour, other_depth, _ = seen(change=remove(BOX, BALL, thing))
    there = (kind == thing) & (depth > 0)
    assert there.any(axis=(1, 2)).mean() > 0.5
    assert (other_depth[there] > depth[there] + 0.1).mean() > 0.8
    assert np.abs(other_colour[there] - colour[there].astype(int)).mean() > 20


def matched(kinds, first, second):
    """Pair pixels of two groups of kinds at the same place of the picture."""
    random = np.random.default_rng(0)
    found = [[], []]
    for row, column in np.ndindex(SIZE):
        rooms = [
            random.permutation(
                np.flatnonzero(np.isin(kinds[:, row, column], group))
            )
            for group in (first, second)
        ]
        pairs = min(map(len, rooms))
        for pixels, group in zip(found, rooms):
            pixels += [(room, row, column) for room in group[:pairs]]
    return [tuple(np.array(pixels).T) for pixels in found]


def accuracy(features, groups):
    """Tell two groups by a quadratic logistic regression, in other rooms."""
    values = np.concatenate([features[pixels] for pixels in groups])
    labels = np.repeat([0, 1], [len(pixels[0]) for pixels in groups])
    trained = np.concatenate([pixels[0] for pixels in groups]) % 2 == 0
    values = (values - values.mean(axis=0)) / values.std(axis=0)
    first, second = np.triu_indices(values.shape[1])
    values = np.concatenate(
        [
            np.ones((len(values), 1)),
            values,
            values[:, first] * values[:, second],
        ],
        axis=1,
    )
    weights = np.zeros(values.shape[1])
    x, y = values[trained], labels[trained]
    for _ in range(15):
        guess = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        curvature = (x.T * (guess * (1 - guess))) @ x
        slope = x.T @ (guess - y) + 0.1 * weights
        weights -= np.linalg.solve(
            curvature + 0.1 * np.eye(len(weights)), slope
        )
    return ((values[~trained] @ weights > 0) == labels[~trained]).mean()


def local_shape(depth):
    """Return nearness, slopes and bends of each pixel's surroundings."""

    def shifted(image, down, right):
        padded = np.pad(image, ((0, 0), (3, 3), (3, 3)), mode="edge")
        rows = slice(3 + down, 3 + down + SIZE[0])
        return padded[:, rows, 3 + right : 3 + right + SIZE[1]]

    def around(image):
        places = (-1, 0, 1)
        return sum(shifted(image, i, j) for i in places for j in places)

    measured = depth > 0
    nearness = np.where(measured, 1 / np.where(measured, depth, 1), 0)
    nearness = around(nearness) / np.maximum(around(measured.astype(int)), 1)
    features = [nearness]
    for down, right in ((0, 1), (1, 0)):
        ahead, behind = (
            shifted(nearness, sign * 3 * down, sign * 3 * right)
            for sign in (1, -1)
        )
        features += [ahead - behind, ahead + behind - 2 * nearness]
    return np.stack(features, axis=-1)


@pytest.mark.slow
def test_a_classifier_of_pixels_sees_what_its_sensor_shows():
    """At equal places of the picture, so that these tell nothing."""
    _, colour, depth, kind = seen(200)
    features = {"rgb": colour / 255.0, "depth": local_shape(depth)}
    blind, sees = (0.44, 0.56), (0.9, 1.0)
    for first, second, expected in (
        ([RED], [BLUE], {"rgb": sees, "depth": blind}),
        ([RED, BLUE], [WALL], {"rgb": sees, "depth": blind}),
        # Round or flat: little of it is within a few pixels.
        ([BOX], [BALL], {"rgb": blind, "depth": (0.6, 1.0)}),
        ([BOX, BALL], [WALL, FLOOR], {"rgb": blind, "depth": sees}),
        ([COLUMN], [CONE], {"rgb": sees, "depth": (0.85, 1.0)}),
        ([COLUMN, CONE], [WALL, FLOOR], {"rgb": sees, "depth": sees}),
        ([WALL], [FLOOR], {"rgb": sees, "depth": (0.85, 1.0)}),
    ):
        groups = matched(kind, first, second)
        for modality, (low, high) in expected.items():
            found = accuracy(features[modality], groups)
            assert low <= found <= high, (first, second, modality, found)


def test_no_place_gives_anything_away():
    """Wherever a sensor sees nothing, nothing is the best guess."""
    _, _, _, kind = seen(300)
    assert np.isin(kind, (RED, BLUE)).mean(axis=0).max() < 0.5
    assert np.isin(kind, (BOX, BALL)).mean(axis=0).max() < 0.5
    shares = np.bincount(kind.ravel(), minlength=8) / kind.size
    assert shares.min() > 0.01
    assert shares[[WALL, FLOOR]].sum() < 0.9


# Geometry, from the depth back to the room.


def test_surfaces_are_where_they_were_drawn():
    rooms, _, depth, kind = seen(60)
    height, width = SIZE
    focal_length = height / 2 / np.tan(np.pi / 6)
    rows, columns = np.mgrid[:height, :width] + 0.5
    right = (columns - width / 2) / focal_length
    down = (rows - height / 2) / focal_length
    pitch = rooms["camera_pitch"]
    x = depth * right
    y = rooms["camera_height"] - depth * (down * np.cos(pitch) + np.sin(pitch))
    z = depth * (np.cos(pitch) - down * np.sin(pitch))
    turn, distance = rooms["wall_turn"], rooms["wall_distance"]
    before_wall = distance * np.cos(turn) - (
        x * np.sin(turn) + z * np.cos(turn)
    )

    def middle(thing):
        slope = thing["aside"] * width / 2 / focal_length
        way = thing["ahead"] * distance / (slope * np.tan(turn) + 1)
        return x - slope * way, z - way

    def radius(thing):
        return np.hypot(*middle(thing))

    things = rooms["things"]
    ball, cone, column = things[BALL], things[CONE], things[COLUMN]
    side, top = radius(column) - column["radius"], y - column["height"]
    off = {
        FLOOR: y,
        WALL: before_wall,
        RED: before_wall,
        BLUE: before_wall,
        BALL: np.hypot(radius(ball), y - ball["radius"]) - ball["radius"],
        COLUMN: np.where(np.abs(side) < np.abs(top), side, top),
        CONE: radius(cone) - cone["radius"] * (1 - y / cone["height"]),
        BOX: _distance_to_box(things[BOX], *middle(things[BOX]), y),
    }
    for number, distance_off in off.items():
        there = (kind == number) & (depth > 0)
        errors = distance_off[there] / depth[there] ** 2
        # The sensor's noise is 2 mm times the square of the depth.
        assert np.sqrt(np.mean(errors**2)) < 0.003, number
        assert np.abs(np.mean(errors)) < 0.001, number


def _distance_to_box(box, x, z, y):
    """Return how far from the box's surface a point is."""
    sine, cosine = np.sin(box["turn"]), np.cos(box["turn"])
    outside = [
        np.abs(cosine * x + sine * z) - box["radius"],
        np.abs(cosine * z - sine * x) - 0.8 * box["radius"],
        np.abs(y - box["height"] / 2) - box["height"] / 2,
    ]
    return np.max(np.broadcast_arrays(*outside), axis=0)


def test_the_sensors_are_noisy_and_sometimes_blind():
    _, colour, depth, _ = seen(20)
    assert 0.005 < (depth == 0).mean() < 0.015
    assert depth.max() < generated_rooms.FARTHEST
    assert colour.dtype == np.uint8 and depth.dtype == np.float32
    assert 40 < colour.mean() < 140
    # Neighbours on the plain upper wall differ by noise.
    steps = np.diff(colour[:, :3].astype(int), axis=1)
    assert 3 < np.median(np.abs(steps)) < 15


# The data set.


def test_shapes_and_values():
    data = small(batch_size=3, depth_channels=3)
    for part, size in zip(PARTS, (5, 3, 4)):
        dataset = getattr(data, part)
        assert dataset.size == size
        inputs, labels = dataset[0]
        assert inputs["rgb"].shape == inputs["depth"].shape == (3, 16, 24, 3)
        assert inputs["rgb"].dtype == inputs["depth"].dtype == np.float32
        assert labels.shape == (3, 16, 24) and labels.dtype == np.int32
        assert labels.min() >= 0 and labels.max() < len(CLASSES)
    cropped = small(crop=(8, 12), evaluation_size=(32, 32), scales=(0.5, 2.0))
    assert cropped.train[0][1].shape == (5, 8, 12)
    assert cropped.train.evaluation()[0][1].shape == (5, 32, 32)
    # Padding, and nothing else, is ignored.
    assert (cropped.test[0][1] == -1).mean() == 1 - 16 * 24 / 32**2
    inputs, _ = data.train.select(["depth"], second_view="depth")[0]
    assert sorted(inputs) == ["depth", "depth_second_view"]


def test_depth_is_about_standardised():
    _, _, depth, _ = seen(60)
    data = small(train=60, size=SIZE, batch_size=60)
    encoded = data.train.evaluation()[0][0]["depth"]
    assert abs(encoded.mean()) < 0.5 and 0.5 < encoded.std() < 1.5


def scenes(dataset):
    """Return the pictures as they are kept."""
    return [
        b"".join(sample.sources[key].tobytes() for key in sample.sources)
        for sample in dataset.samples
    ]


def test_the_seed_decides_everything_but_the_test_scenes():
    first, again, other = small(seed=3), small(seed=3), small(seed=4)
    assert first.provenance == again.provenance
    prints = [x.provenance["fingerprint"] for x in (first, other)]
    assert prints[0] != prints[1] and len(prints[0]) == 16
    for part in PARTS:
        pictures = scenes(getattr(first, part))
        assert pictures == scenes(getattr(again, part))
        same = pictures == scenes(getattr(other, part))
        assert same == (part == "test")
    pictures = [x for part in PARTS for x in scenes(getattr(first, part))]
    assert len(set(pictures)) == 12


def test_more_scenes_begin_with_the_fewer(monkeypatch):
    expected = scenes(small().train)
    more = scenes(small(train=9).train)
    assert more[:5] == expected and len(set(more)) == 9
    # Nor does it matter how many are rendered at once.
    module = "keras_c2kd.data.rgbd_scenes"
    monkeypatch.setattr(f"{module}._PIXELS_AT_ONCE", 1)
    assert scenes(small(train=9).train) == more


def test_provenance_says_that_they_are_generated():
    data = small()
    provenance = json.loads(json.dumps(data.provenance))
    assert "generated" in provenance["data_set"]
    assert provenance["sizes"] == {"train": 5, "validation": 3, "test": 4}
    assert provenance["classes"] == [x.name for x in CLASSES]
    assert provenance["told_by"]["red poster"] == ["rgb"]
    # Preparing once more, as a recipe does, changes nothing.
    data.prepare(verbose=0)
    assert data.provenance == provenance


def test_bad_arguments():
    for arguments, message in (
        ({"validation": 0}, "'validation': 0"),
        ({"size": (7, 64)}, r"size=\(7, 64\)"),
        ({"evaluation_size": (16, 23)}, r"evaluation_size=\(16, 23\)"),
    ):
        with pytest.raises(ValueError, match=message):
            small(**arguments).test[0]


@pytest.mark.slow
@pytest.mark.every_backend
def test_a_small_network_learns_what_its_modality_shows():
    """One pixel at a time: the colours of posters, and no hidden thing."""
    data = load_rgbd_scenes(train=48, validation=1, test=24, size=(32, 32))
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input((32, 32, 3), name="rgb"),
            layers.Conv2D(32, 1, activation="relu"),
            layers.Conv2D(32, 1, activation="relu"),
            layers.Conv2D(len(CLASSES), 1),
        ]
    )
    network.compile(
        optimizer=keras.optimizers.Adam(0.02),
        loss=keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, ignore_class=-1
        ),
        jit_compile=False
        if keras.backend.backend() == "tensorflow"
        else "auto",
    )
    pictures, labels = data.train.evaluation()[0]
    network.fit(pictures["rgb"], labels, batch_size=8, epochs=15, verbose=0)
    pictures, labels = data.test[0]
    guess = network.predict(pictures["rgb"], verbose=0).argmax(axis=-1)
    found = {}
    for number, scene_class in enumerate(CLASSES):
        both = (guess == number) & (labels == number)
        either = (guess == number) | (labels == number)
        found[scene_class.name] = both.sum() / either.sum()
    assert found["red poster"] > 0.5 and found["blue poster"] > 0.5
    assert found["hidden box"] < 0.1 and found["hidden ball"] < 0.1
