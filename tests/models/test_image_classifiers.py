import keras
import keras_hub
import numpy as np
import pytest

from keras_c2kd import CrossModalDistiller
from keras_c2kd.methods import C2KD
from keras_c2kd.models import DeepLabV3Plus
from keras_c2kd.models import MobileNetV2
from keras_c2kd.models import ResNet18
from keras_c2kd.models import ResNet50
from keras_c2kd.models import SmallConvNet
from tests.helpers.references import random_logits
from tests.helpers.toys import assert_same_weights

NETWORKS = {"resnet18": ResNet18, "resnet50": ResNet50, "mobile": MobileNetV2}
every_network = pytest.mark.parametrize(
    "create", NETWORKS.values(), ids=NETWORKS
)


def trainable(model):
    return sum(int(np.prod(w.shape)) for w in model.trainable_weights)


@pytest.mark.one_backend
@pytest.mark.slow
@pytest.mark.parametrize(
    ("create", "published"),
    # torchvision's counts; for MobileNetV2 also keras.applications'.
    [(ResNet18, 11_689_512), (ResNet50, 25_557_032), (MobileNetV2, 3_504_872)],
)
def test_as_many_parameters_as_published(create, published):
    assert trainable(create((64, 64, 3), 1000)) == published
    # A spectrogram has one channel: less of the first kernel.
    first = 32 * 9 if create is MobileNetV2 else 64 * 49
    single = create((65, 94, 1), 1000)
    assert trainable(single) == published - 2 * first


def stages_of(model):
    extractor = keras.Model(
        model.input,
        {
            name: model.get_layer(name).output
            for name in ("stage_1", "stage_2", "stage_3", "stage_4", "pool")
        },
    )
    return {name: x.shape[1:] for name, x in extractor.output.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("create", "channels"),
    [
        (ResNet18, (64, 128, 256, 512)),
        (ResNet50, (256, 512, 1024, 2048)),
        (MobileNetV2, (24, 32, 96, 1280)),
    ],
)
def test_named_maps(create, channels):
    found = stages_of(create((64, 96, 3), 6))
    for number, width in enumerate(channels):
        size = (16 >> number, 24 >> number, width)
        assert found[f"stage_{number + 1}"] == size
    assert found["pool"] == (channels[-1],)


@pytest.mark.slow
@every_network
def test_frames_are_averaged(create):
    """Of equal frames the network says what it says of one image."""
    keras.utils.set_random_seed(0)
    image = create((64, 64, 3), 5)
    frames = create((3, 64, 64, 3), 5)
    frames.set_weights(image.get_weights())
    x = random_logits(2, 64, 64, 3).astype("float32")
    expected = image.predict(x, verbose=0)
    repeated = np.repeat(x[:, None], 3, axis=1)
    actual = frames.predict(repeated, verbose=0)
    np.testing.assert_allclose(actual, expected, atol=1e-4)
    # Other frames, other logits, and their order does not matter.
    other = random_logits(2, 3, 64, 64, 3, seed=1).astype("float32")
    np.testing.assert_allclose(
        frames.predict(other, verbose=0),
        frames.predict(other[:, ::-1], verbose=0),
        atol=1e-4,
    )


@pytest.mark.one_backend
@pytest.mark.slow
def test_weights_of_a_preset(tmp_path):
    keras.utils.set_random_seed(0)
    source = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 128, 256, 512],
        stackwise_num_blocks=[2, 2, 2, 2],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="basic_block",
        image_shape=(None, None, 3),
    )
    for weight in source.weights:
        noise = np.random.default_rng(0).normal(0, 0.1, weight.shape)
        weight.assign(keras.ops.convert_to_numpy(weight) + np.abs(noise))
    source.save_to_preset(tmp_path)
    x = random_logits(2, 64, 64, 3).astype("float32") / 10
    expected = source.predict(x, verbose=0).mean(axis=(1, 2))
    model = ResNet18((64, 64, 3), 6, weights=str(tmp_path))
    vectors = keras.Model(model.input, model.get_layer("pool").output)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(
        vectors.predict(x, verbose=0) / scale, expected / scale, atol=1e-5
    )
    # A grey image gives the same in one channel.
    grey = np.repeat(x[..., :1], 3, axis=-1)
    expected = vectors.predict(grey, verbose=0)
    single = ResNet18((64, 64, 1), 6, weights=str(tmp_path))
    vectors = keras.Model(single.input, single.get_layer("pool").output)
    actual = vectors.predict(x[..., :1], verbose=0)
    np.testing.assert_allclose(actual / scale, expected / scale, atol=1e-5)
    with pytest.raises(ValueError, match="the same network"):
        ResNet50((64, 64, 3), 6, weights=str(tmp_path))


# By which an image was normalised, and what its white and black become for
# the weights of ImageNet, red, green, blue. By hand: ImageNet's white is
# (1 - 0.485) / 0.229 = 2.2489, and so on.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALVES = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
RESNET_WHITE, RESNET_BLACK = (2.2489, 2.4286, 2.64), (-2.1179, -2.0357, -1.8044)


def seen_by(network, pixels):
    """What the network's own first layer reads of white and of black."""
    mean, deviation = np.array(pixels)
    shape = network.input.shape[1:]
    images = np.stack([np.ones(shape), np.zeros(shape)])
    images = ((images - mean) / deviation).astype("float32")
    changed = keras.Model(
        network.input, network.get_layer("pixel_range").output
    ).predict(images, verbose=0)
    return changed[0, 0, 0], changed[1, 0, 0]


@pytest.fixture(scope="module")
def mobile_weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("mobile") / "mobile.weights.h5"
    keras.applications.MobileNetV2(
        input_shape=(224, 224, 3), include_top=False, weights=None
    ).save_weights(path)
    return str(path)


@pytest.fixture(scope="module")
def resnet_weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resnet")
    keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 128, 256, 512],
        stackwise_num_blocks=[2, 2, 2, 2],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="basic_block",
        image_shape=(None, None, 3),
    ).save_to_preset(folder)
    return str(folder)


def segmenter(backbone):
    return lambda *args, **kwargs: DeepLabV3Plus(backbone, *args, **kwargs)


@pytest.mark.slow
@pytest.mark.parametrize("create", [MobileNetV2, segmenter("mobilenet_v2")])
def test_mobilenet_s_weights_see_pixels_of_minus_1_to_1(create, mobile_weights):
    model = create((64, 64, 3), 6, weights=mobile_weights, pixels=IMAGENET)
    white, black = seen_by(model, IMAGENET)
    np.testing.assert_allclose(white, 1.0, atol=1e-5)
    np.testing.assert_allclose(black, -1.0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("create", [ResNet18, segmenter("resnet18")])
def test_resnet_s_weights_see_normalised_pixels(create, resnet_weights):
    model = create((64, 64, 3), 6, weights=resnet_weights, pixels=HALVES)
    white, black = seen_by(model, HALVES)
    np.testing.assert_allclose(white, RESNET_WHITE, atol=1e-3)
    np.testing.assert_allclose(black, RESNET_BLACK, atol=1e-3)


@pytest.mark.one_backend
@pytest.mark.slow
def test_the_range_is_changed_before_the_network(mobile_weights, tmp_path):
    """It says of changed pixels what it says of the right ones without."""
    x = np.random.default_rng(0).random((2, 3, 64, 64, 3))
    mean, deviation = np.array(IMAGENET)
    for shape, pixels in (((64, 64, 3), x[:, 0]), ((3, 64, 64, 3), x)):
        changing = MobileNetV2(
            shape, 6, weights=mobile_weights, pixels=IMAGENET
        )
        plain = MobileNetV2(shape, 6, weights=mobile_weights)
        changing.get_layer("logits").set_weights(
            plain.get_layer("logits").get_weights()
        )
        given = ((pixels - mean) / deviation).astype("float32")
        expected = plain.predict(2 * pixels.astype("float32") - 1, verbose=0)
        actual = changing.predict(given, verbose=0)
        np.testing.assert_allclose(actual, expected, atol=1e-4)
        changing.save(tmp_path / "model.keras")
        copy = keras.models.load_model(tmp_path / "model.keras")
        np.testing.assert_allclose(
            copy.predict(given, verbose=0), actual, atol=1e-5
        )


@pytest.mark.one_backend
@pytest.mark.slow
def test_pixels_stay_where_there_is_nothing_to_change(mobile_weights):
    for model in (
        MobileNetV2((64, 64, 3), 6, pixels=IMAGENET),
        MobileNetV2((64, 64, 3), 6, mobile_weights, pixels=HALVES),
        MobileNetV2((64, 64, 3), 6, mobile_weights),
    ):
        assert "pixel_range" not in {layer.name for layer in model.layers}
    with pytest.raises(ValueError, match="images in colour"):
        MobileNetV2((64, 64, 1), 6, mobile_weights, pixels=IMAGENET)


@pytest.mark.slow
def test_weights_of_a_file(tmp_path):
    source = keras.applications.MobileNetV2(
        input_shape=(224, 224, 3), include_top=False, weights=None
    )
    source.save_weights(tmp_path / "mobile.weights.h5")
    model = MobileNetV2(
        (64, 64, 3), 6, weights=str(tmp_path / "mobile.weights.h5")
    )
    for given, own in zip(source.weights, model.weights):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(given), keras.ops.convert_to_numpy(own)
        )


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(33, 48, 1), (2, 32, 32, 3)])
def test_saves_and_loads(tmp_path, shape):
    model = ResNet18(shape, 4)
    model.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    assert_same_weights(copy, model)
    x = random_logits(2, *shape).astype("float32")
    np.testing.assert_allclose(
        copy.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-6
    )


@pytest.mark.slow
def test_an_audio_visual_pair_is_distilled():
    """Both named taps, through nested frames; one pass of each network."""
    distiller = CrossModalDistiller(
        student=ResNet18((2, 32, 32, 3), 4, name="visual"),
        teacher=ResNet18((33, 48, 1), 4, name="audio"),
        student_modality="visual",
        teacher_modality="audio",
        method=C2KD(),
        student_features={"features": "stage_3"},
        teacher_features={"features": "stage_3"},
    )
    distiller.compile(
        optimizer=keras.optimizers.SGD(1e-3),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False
        if keras.backend.backend() == "tensorflow"
        else "auto",
    )
    inputs = {
        "visual": random_logits(4, 2, 32, 32, 3).astype("float32"),
        "audio": random_logits(4, 33, 48, 1).astype("float32"),
    }
    outputs = distiller.compute_outputs(inputs)
    assert tuple(outputs["student"]["features"].shape) == (4, 2, 2, 2, 256)
    logs = distiller.fit(inputs, np.arange(4), verbose=0).history
    assert all(np.isfinite(values).all() for values in logs.values())


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"channels last.*\(64, 64\)"):
        ResNet18((64, 64), 4)
    with pytest.raises(ValueError, match="num_classes=1"):
        MobileNetV2((64, 64, 3), 1)


def test_the_network_for_trials_has_the_same_taps():
    found = stages_of(SmallConvNet((64, 96, 3), 6))
    assert found == {
        "stage_1": (32, 48, 16),
        "stage_2": (16, 24, 16),
        "stage_3": (8, 12, 32),
        "stage_4": (4, 6, 32),
        "pool": (32,),
    }
    # Frames share their layers, as in the others.
    single, frames = (
        SmallConvNet((32, 32, 3), 6),
        SmallConvNet((3, 32, 32, 3), 6),
    )
    assert single.count_params() == frames.count_params() < 20_000
    assert frames.output.shape == (None, 6)
    with pytest.raises(ValueError, match="num_classes=1"):
        SmallConvNet((32, 32, 3), 1)
