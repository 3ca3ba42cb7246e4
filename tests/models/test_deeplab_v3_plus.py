import keras
import keras_hub
import numpy as np
import pytest

from keras_c2kd import CrossModalDistiller
from keras_c2kd.methods import C2KD
from keras_c2kd.methods import CIRKD
from keras_c2kd.methods import SHAKE
from keras_c2kd.models import DeepLabV3Plus
from keras_c2kd.models import SmallSegmenter
from keras_c2kd.networks.feature_extractor import FeatureExtractor
from keras_c2kd.networks.graph import classifier_of
from tests.helpers.references import random_labels
from tests.helpers.references import random_logits
from tests.helpers.toys import assert_same_weights
from tests.helpers.toys import numpy_weights

IGNORED = 255
every_backbone = pytest.mark.parametrize(
    "backbone", ["resnet18", "mobilenet_v2"]
)


def strided(backbone, shape):
    """The network that is dilated, as others have built it."""
    if backbone == "resnet18":
        return keras_hub.models.ResNetBackbone(
            input_conv_filters=[64],
            input_conv_kernel_sizes=[7],
            stackwise_num_filters=[64, 128, 256, 512],
            stackwise_num_blocks=[2, 2, 2, 2],
            stackwise_num_strides=[1, 2, 2, 2],
            block_type="basic_block",
            image_shape=shape,
        )
    return keras.applications.MobileNetV2(
        input_shape=shape, include_top=False, weights=None
    )


def randomize(model, seed=0):
    """Kernels that keep the signal, and no statistic that is 0 or 1."""
    random = np.random.default_rng(seed)
    for weight in model.weights:
        if len(weight.shape) == 4:
            is_depthwise = weight.shape[-1] == 1
            inputs = np.prod(weight.shape[: 2 if is_depthwise else 3])
            value = random.normal(0.0, np.sqrt(2.0 / inputs), weight.shape)
        elif "seed" not in weight.path:
            value = keras.ops.convert_to_numpy(weight)
            value = value + np.abs(random.normal(0.0, 0.2, weight.shape))
        else:
            continue
        weight.assign(value)


# Parameters; channels of the last map and of the low-level one; parameters of
# the first kernel a channel. As published; of MobileNetV2's 3,504,872 without
# its classifier and its last 1x1 convolution with normalisation.
TRUNKS = {
    "resnet18": (11_176_512, 512, 64, 64 * 49),
    "mobilenet_v2": (
        3_504_872 - 1281 * 1000 - (320 * 1280 + 2 * 1280),
        320,
        24,
        32 * 9,
    ),
}


@pytest.mark.one_backend
@pytest.mark.slow
@every_backbone
def test_as_many_parameters_as_by_hand(backbone):
    trunk, last, low, first = TRUNKS[backbone]
    normalization = 2 * 256
    expected = (
        trunk
        + 2 * (last * 256 + normalization)  # 1x1 and the image's mean
        + 3 * (9 * last * 256 + normalization)
        + 5 * 256 * 256 + normalization
        + low * 48 + 2 * 48
        + 9 * (256 + 48) * 256 + normalization
        + 9 * 256 * 256 + normalization
        + 256 * 40 + 40
    )  # fmt: skip
    documented = {"resnet18": 16_613_064, "mobilenet_v2": 5_820_936}
    assert expected == documented[backbone]
    for channels, output_stride in ((3, 16), (1, 8)):
        model = DeepLabV3Plus(
            backbone, (32, 32, channels), 40, output_stride=output_stride
        )
        found = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
        assert found == expected - (3 - channels) * first


@pytest.mark.slow
@every_backbone
def test_named_maps_of_odd_sizes(backbone):
    channels = {"resnet18": (64, 128, 256, 512)}
    channels = channels.get(backbone, (24, 32, 96, 320))
    for output_stride, last in ((16, (5, 6)), (8, (9, 12))):
        model = DeepLabV3Plus(
            backbone, (65, 94, 1), 7, output_stride=output_stride
        )
        expected = {
            "stage_1": (17, 24, channels[0]),
            "stage_2": (9, 12, channels[1]),
            "stage_3": (*last, channels[2]),
            "stage_4": (*last, channels[3]),
            "aspp": (*last, 256),
            "low_level": (17, 24, 48),
            "pre_classifier": (17, 24, 256),
        }
        found = {
            name: model.get_layer(name).output.shape[1:] for name in expected
        }
        assert found == expected
        assert model.output.shape == (None, 65, 94, 7)


def kept_places(backbone, size, stride, output_stride):
    """Where the strided map's places are in the dilated map.

    A ResNet pads one place on each side and begins at place 0. MobileNetV2
    pads an even size at its end only and begins at place 1, an odd size on
    both sides and begins at 0.
    """
    first, step = 0, 1
    while stride > output_stride * step:
        before = -(-size // (output_stride * step))
        if backbone == "mobilenet_v2" and before % 2 == 0:
            first += step
        step *= 2
    return slice(first, None, step)


@pytest.mark.slow
@every_backbone
@pytest.mark.parametrize(
    ("shape", "output_stride"),
    # Odd and even sizes at both of the strides that are replaced: maps of 11,
    # then 6 rows, of 10, then 5 columns; of 5 rows and 4 columns.
    [((88, 80, 1), 8), ((65, 64, 3), 16)],
)
def test_dilation_keeps_what_the_strides_gave(backbone, shape, output_stride):
    """At the places that they kept, the borders included."""
    reference = strided(backbone, shape)
    randomize(reference)
    last = {"resnet18": "stack3_block1_out"}.get(
        backbone, "block_16_project_BN"
    )
    third = {"resnet18": "stack2_block1_out"}.get(backbone, "block_12_add")
    reference = keras.Model(
        reference.input,
        [reference.get_layer(third).output, reference.get_layer(last).output],
    )
    model = DeepLabV3Plus(backbone, shape, 3, output_stride=output_stride)
    for layer in reference.layers[1:]:
        model.get_layer(layer.name).set_weights(layer.get_weights())
    dilated = keras.Model(
        model.input,
        [model.get_layer(name).output for name in ("stage_3", "stage_4")],
    )
    x = random_logits(1, *shape).astype("float32")
    for stride, expected, actual in zip(
        (16, 32),
        reference.predict(x, verbose=0),
        dilated.predict(x, verbose=0),
    ):
        rows, columns = (
            kept_places(backbone, size, stride, output_stride)
            for size in shape[:2]
        )
        actual = actual[:, rows, columns]
        scale = expected.std()
        assert expected.std(axis=(1, 2)).max() > 0.1 * scale
        np.testing.assert_allclose(actual / scale, expected / scale, atol=1e-4)


def convolve(maps, kernel, rate=1):
    """Same-size convolution of `(height, width, channels)`, tap by tap."""
    height, width = maps.shape[:2]
    reach = rate * (kernel.shape[0] // 2)
    maps = np.pad(maps, ((reach, reach), (reach, reach), (0, 0)))
    return sum(
        maps[row * rate :][:height, column * rate :][:, :width] @ tap
        for row, taps in enumerate(kernel)
        for column, tap in enumerate(taps)
    )


def resize(maps, size):
    """Bilinear, places at the middle of their share, borders repeated."""
    for axis, new in enumerate(size):
        old = maps.shape[axis]
        places = (np.arange(new) + 0.5) * old / new - 0.5
        places = np.clip(places, 0, old - 1)
        lower = np.floor(places).astype(int)
        upper = np.minimum(lower + 1, old - 1)
        share = (places - lower).reshape((-1, 1, 1))
        share = share if axis == 0 else share.reshape((1, -1, 1))
        maps = np.take(maps, lower, axis) * (1 - share) + share * np.take(
            maps, upper, axis
        )
    return maps


def head_by_hand(model, low_level, maps, rates, size):
    """The pyramid, the decoder and the logits at 1/4 and of a size."""

    def weights(name):
        values = model.get_layer(name).get_weights()
        return [value.astype("float64") for value in values]

    def block(maps, name, rate=1):
        (kernel,) = weights(f"{name}_conv")
        gamma, beta, mean, variance = weights(f"{name}_bn")
        maps = convolve(maps, kernel, rate)
        maps = gamma * (maps - mean) / np.sqrt(variance + 1e-5) + beta
        return np.maximum(maps, 0.0)

    image = block(maps.mean(axis=(0, 1), keepdims=True), "aspp_image")
    branches = [block(maps, "aspp_point")]
    branches += [block(maps, f"aspp_rate_{rate}", rate) for rate in rates]
    branches += [np.broadcast_to(image, branches[0].shape)]
    pyramid = block(np.concatenate(branches, axis=-1), "aspp")
    low_level = block(low_level, "low_level")
    pyramid = resize(pyramid, low_level.shape[:2])
    fused = np.concatenate([pyramid, low_level], axis=-1)
    fused = block(block(fused, "refined"), "pre_classifier")
    kernel, bias = weights("logits")
    logits = convolve(fused, kernel) + bias
    return logits, resize(logits, size)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("output_stride", "rates"), [(16, (6, 12, 18)), (8, (12, 24, 36))]
)
def test_head_equals_the_head_by_hand(output_stride, rates):
    """On a map that even the largest rate does not leave, of an odd size."""
    shape = (305, 33, 1)
    model = DeepLabV3Plus("mobilenet_v2", shape, 5, output_stride=output_stride)
    randomize(model)
    names = ("stage_1", "stage_4", "logits")
    maps = [model.get_layer(name).output for name in names]
    taps = keras.Model(model.input, [*maps, model.output])
    x = random_logits(1, *shape).astype("float32")
    low_level, last, logits, resized = (
        tensor[0].astype("float64") for tensor in taps.predict(x, verbose=0)
    )
    assert last.shape[0] > rates[-1]
    expected = head_by_hand(model, low_level, last, rates, shape[:2])
    scale = expected[0].std()
    for actual, wanted in zip((logits, resized), expected):
        np.testing.assert_allclose(actual / scale, wanted / scale, atol=1e-3)


@pytest.mark.slow
def test_logits_at_a_quarter_are_those_that_are_resized():
    shape = (65, 49, 3)
    whole, quarter = (
        DeepLabV3Plus("mobilenet_v2", shape, 5, logits_stride=stride)
        for stride in (1, 4)
    )
    assert whole.output.shape[1:] == (65, 49, 5)
    assert quarter.output.shape[1:] == (17, 13, 5)
    labels = random_labels(2, 65, 49, num_classes=5)
    assert labels[:, ::4, ::4].shape[1:] == quarter.output.shape[1:3]
    _, *names, last = (layer.name for layer in whole.layers)
    assert last == "full_size_logits"
    assert names == [layer.name for layer in quarter.layers[1:]]
    whole.set_weights(quarter.get_weights())
    assert_same_weights(whole, quarter)


@pytest.mark.slow
@every_backbone
def test_weights_of_the_backbone(tmp_path, backbone):
    source = strided(backbone, (224, 224, 3))
    randomize(source)
    if backbone == "resnet18":
        source.save_to_preset(tmp_path)
        weights = str(tmp_path)
    else:
        weights = str(tmp_path / "mobile.weights.h5")
        source.save_weights(weights)
    for channels in (3, 1):
        model = DeepLabV3Plus(backbone, (32, 48, channels), 6, weights=weights)
        names = {layer.name for layer in model.layers}
        shared = [layer for layer in source.layers[1:] if layer.name in names]
        given, own = (
            sum((net.get_layer(x.name).get_weights() for x in shared), [])
            for net in (source, model)
        )
        # All but MobileNetV2's last 1x1 convolution, and nothing of the head.
        unused = 5 if backbone == "mobilenet_v2" else 0
        assert len(given) == len(source.weights) - unused
        if channels == 1:
            # A grey image gives what it gave in colour.
            np.testing.assert_allclose(
                own[0], given[0].sum(axis=2, keepdims=True), atol=1e-6
            )
            given, own = given[1:], own[1:]
        assert_same_weights(own, given)


def test_weights_of_another_network_are_refused(tmp_path):
    source = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 128],
        stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2],
        block_type="basic_block",
    )
    source.save_to_preset(tmp_path)
    with pytest.raises(ValueError, match="the same network"):
        DeepLabV3Plus("resnet18", (64, 64, 3), 6, weights=str(tmp_path))


@pytest.mark.slow
@every_backbone
def test_saves_and_loads(tmp_path, backbone):
    model = DeepLabV3Plus(backbone, (33, 48, 1), 4, output_stride=8)
    model.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    assert_same_weights(copy, model)
    x = random_logits(2, 33, 48, 1).astype("float32")
    np.testing.assert_allclose(
        copy.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-5
    )


CREATED = {
    "c2kd": (C2KD, {}),
    # Its memory grows with the square of the number of places.
    "cirkd": (
        lambda: CIRKD(pixel_memory=20, region_memory=5),
        {"student_features": "aspp", "teacher_features": "aspp"},
    ),
    # The third map is as wide as what the teacher's classifier reads.
    "shake": (SHAKE, {"teacher_features": ["stage_2", "stage_3", "aspp"]}),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("create", "taps"),
    [
        pytest.param(
            *case, id=name, marks=[pytest.mark.one_backend] * (name != "c2kd")
        )
        for name, case in CREATED.items()
    ],
)
def test_a_colour_depth_pair_is_distilled(create, taps):
    """Full-size labels of an odd size, some of them ignored."""
    size = (65, 49)
    distiller = CrossModalDistiller(
        student=DeepLabV3Plus("resnet18", (*size, 3), 4, name="colour"),
        teacher=DeepLabV3Plus("mobilenet_v2", (*size, 1), 4, name="depth"),
        student_modality="colour",
        teacher_modality="depth",
        method=create(),
        **taps,
    )
    distiller.compile(
        optimizer=keras.optimizers.SGD(1e-3),
        loss=keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, ignore_class=IGNORED
        ),
        jit_compile=False
        if keras.backend.backend() == "tensorflow"
        else "auto",
    )
    inputs = {
        "colour": random_logits(2, *size, 3).astype("float32"),
        "depth": random_logits(2, *size, 1, seed=1).astype("float32"),
    }
    labels = random_labels(2, *size, num_classes=4)
    labels[:, :10] = IGNORED
    before = numpy_weights(distiller.student)
    logs = distiller.fit(inputs, labels, verbose=0).history
    assert all(np.isfinite(values).all() for values in logs.values())
    moved = [
        not np.array_equal(old, new)
        for old, new in zip(before, numpy_weights(distiller.student))
    ]
    assert all(moved)


@pytest.mark.slow
def test_the_default_tap_is_what_the_classifier_reads():
    for logits_stride in (1, 4):
        model = DeepLabV3Plus(
            "mobilenet_v2", (32, 32, 1), 3, logits_stride=logits_stride
        )
        taps = FeatureExtractor(model, {"features": None})
        assert taps.paths == {"features": "pre_classifier"}
        assert classifier_of(model) is model.get_layer("logits")


def test_bad_arguments():
    shape = (64, 64, 3)
    with pytest.raises(ValueError, match="resnet18.*backbone='resnet50'"):
        DeepLabV3Plus("resnet50", shape, 4)
    with pytest.raises(ValueError, match=r"\(8, 16\).*output_stride=32"):
        DeepLabV3Plus("resnet18", shape, 4, output_stride=32)
    with pytest.raises(ValueError, match=r"\(1, 4\).*logits_stride=16"):
        DeepLabV3Plus("resnet18", shape, 4, logits_stride=16)
    with pytest.raises(ValueError, match="num_classes=1"):
        DeepLabV3Plus("resnet18", shape, 1)
    for bad in ((None, 64, 3), (64, 31, 3), (64, 64), (2, 64, 64, 3)):
        with pytest.raises(ValueError, match="at least 32 by 32"):
            DeepLabV3Plus("mobilenet_v2", bad, 4)


def test_the_network_for_trials_has_the_same_taps():
    model = SmallSegmenter((33, 50, 1), 5)
    shapes = {
        name: tuple(model.get_layer(name).output.shape[1:])
        for name in ("stage_1", "stage_4", "aspp", "pre_classifier")
    }
    assert shapes == {
        "stage_1": (17, 25, 16),
        "stage_4": (3, 4, 32),
        "aspp": (3, 4, 32),
        "pre_classifier": (17, 25, 32),
    }
    assert model.output.shape == (None, 33, 50, 5)
    for shape in ((16, 50, 1), (None, None, 3)):
        with pytest.raises(ValueError, match="at least 32 by 32"):
            SmallSegmenter(shape, 5)


def test_a_plain_call_is_inference():
    """As who deploys the network calls it, without a word on training."""
    model = SmallSegmenter((32, 48, 3), 4)
    x = random_logits(2, 32, 48, 3).astype("float32")
    before = numpy_weights(model)
    logits = keras.ops.convert_to_numpy(model(x))
    expected = model.predict(x, verbose=0)
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    assert_same_weights(before, numpy_weights(model))
