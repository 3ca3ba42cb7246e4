import keras
import numpy as np
import pytest

from keras_c2kd.layers import ProxyHead
from tests.helpers.evaluate import evaluate
from tests.helpers.gradients import gradients

to_numpy = keras.ops.convert_to_numpy


def random_features(*shape, seed=0):
    features = np.random.default_rng(seed).normal(1.0, 2.0, shape)
    return features.astype("float32")


def built_head(features_shape, **kwargs):
    """A head whose weights are all random, the statistics included."""
    head = ProxyHead(5, **kwargs)
    head.build(features_shape)
    random = np.random.default_rng(7)
    for variable in head.variables:
        variable.assign(random.uniform(0.5, 1.5, variable.shape))
    for kernel in (head.adaptation.kernel, head.classifier.kernel):
        kernel.assign(random.normal(size=kernel.shape))
    return head


def reference(head, features, training):
    """`Dense(activation(BN(Conv1x1(GAP(features)))))` in numpy."""
    channels = features.shape[-1]
    x = features.astype("float64").reshape(len(features), -1, channels)
    x = x.mean(axis=1) @ to_numpy(head.adaptation.kernel)
    normalization = head.normalization
    mean = to_numpy(normalization.moving_mean)
    variance = to_numpy(normalization.moving_variance)
    if training:
        mean, variance = x.mean(axis=0), x.var(axis=0)
    x = (x - mean) / np.sqrt(variance + head.epsilon)
    x = x * to_numpy(normalization.gamma) + to_numpy(normalization.beta)
    x = np.where(x > 0, x, head.negative_slope * x)
    return x @ to_numpy(head.classifier.kernel) + to_numpy(head.classifier.bias)


@pytest.mark.slow
@pytest.mark.parametrize(
    "shape", [(6, 3), (6, 7, 3), (6, 4, 5, 3), (6, 2, 4, 5, 3)]
)
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("negative_slope", [0.1, 0.0])
def test_equals_the_reference(shape, training, negative_slope):
    head = built_head(shape, negative_slope=negative_slope)
    features = random_features(*shape)
    expected = reference(head, features, training)
    logits = to_numpy(head(features, training=training))
    assert logits.shape == head.compute_output_shape(shape) == (6, 5)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


def test_by_hand():
    # One channel, doubled; the batch has mean 4 and variance 4; slope 0.1.
    head = ProxyHead(2, epsilon=0.0)
    head.build((None, 1))
    head.adaptation.kernel.assign([[2.0]])
    head.classifier.kernel.assign([[1.0, -3.0]])
    head.classifier.bias.assign([0.0, 1.0])
    logits = head(np.asarray([[1.0], [3.0]], "float32"), training=True)
    np.testing.assert_allclose(
        to_numpy(logits), [[-0.1, 1.3], [1.0, -2.0]], rtol=1e-5
    )
    # Momentum 0.9, from mean 0 and variance 1.
    normalization = head.normalization
    np.testing.assert_allclose(to_numpy(normalization.moving_mean), [0.4])
    np.testing.assert_allclose(
        to_numpy(normalization.moving_variance), [1.3], rtol=1e-6
    )


def test_moving_statistics_move_in_training_only():
    features = random_features(6, 4, 4, 3)
    head = built_head(features.shape)
    statistics = head.non_trainable_variables[:2]
    before = [to_numpy(variable).copy() for variable in statistics]
    head(features)
    for old, variable in zip(before, statistics):
        np.testing.assert_array_equal(to_numpy(variable), old)
    head(features, training=True)
    pooled = features.mean(axis=(1, 2)) @ to_numpy(head.adaptation.kernel)
    batch = pooled.mean(axis=0), pooled.var(axis=0)
    for old, new, variable in zip(before, batch, statistics):
        np.testing.assert_allclose(
            to_numpy(variable), 0.9 * old + 0.1 * new, rtol=1e-5
        )


def test_initial_weights():
    head = ProxyHead(10)
    head.build((None, 4, 4, 256))
    kernel = to_numpy(head.adaptation.kernel)
    assert kernel.shape == (256, 256)
    # He-normal by fan-out, not truncated: about 0.3 % lie beyond 3 sigma.
    sigma = np.sqrt(2.0 / 256)
    np.testing.assert_allclose(kernel.std(), sigma, rtol=0.02)
    np.testing.assert_allclose(kernel.mean(), 0.0, atol=0.02 * sigma)
    assert 0.001 < (np.abs(kernel) > 3.0 * sigma).mean() < 0.006
    assert not head.adaptation.use_bias
    assert (to_numpy(head.normalization.gamma) == 1.0).all()
    assert not to_numpy(head.normalization.beta).any()
    assert not to_numpy(head.classifier.bias).any()
    assert len(head.trainable_variables) == 5


def test_pooling_does_not_see_places():
    features = random_features(2, 4, 5, 3)
    head = built_head(features.shape)
    expected = to_numpy(head(features))
    np.testing.assert_allclose(
        to_numpy(head(features[:, ::-1, ::-1].copy())), expected, rtol=1e-4
    )


@pytest.mark.parametrize("value", [None, 0.0, 1.0, 1e4])
def test_batch_of_one_and_constant_features(value):
    features = random_features(1, 4, 4, 3)
    if value is not None:
        features = np.full((6, 4, 4, 3), value, "float32")
    head = built_head(features.shape)
    assert np.isfinite(to_numpy(head(features, training=True))).all()
    for gradient in gradients(
        lambda x: keras.ops.sum(keras.ops.square(head(x))), features
    ):
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    head = ProxyHead(5, dtype=policy)
    logits = head(random_features(6, 4, 4, 3), training=True)
    compute_dtype = policy.removeprefix("mixed_")
    assert keras.backend.standardize_dtype(logits.dtype) == compute_dtype
    assert all(variable.dtype == "float32" for variable in head.variables)


def test_compiled_with_unknown_batch_size():
    features = random_features(4, 8, 8, 3)
    head = built_head((None, 8, 8, 3))
    logits = evaluate(
        lambda x: head(x, training=False), features, unknown_batch_size=True
    )
    np.testing.assert_allclose(
        logits, reference(head, features, False), rtol=1e-4, atol=1e-4
    )


def test_in_a_model_and_saved(tmp_path):
    inputs = keras.Input((4, 5, 3))
    outputs = ProxyHead(5, negative_slope=0.0, momentum=0.5)(inputs)
    assert outputs.shape == (None, 5)
    model = keras.Model(inputs, outputs)
    features = random_features(6, 4, 5, 3)
    model.layers[-1](features, training=True)
    model.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    assert copy.layers[-1].get_config() == model.layers[-1].get_config()
    np.testing.assert_array_equal(
        to_numpy(copy(features)), to_numpy(model(features))
    )


@pytest.mark.parametrize(
    "shape", [(6,), (6, 1, 2, 3, 4, 5), (None, None, None, None)]
)
def test_rejects_features_it_cannot_read(shape):
    with pytest.raises(ValueError, match="features of shape.*Tap another"):
        ProxyHead(5).build(shape)


def test_rejects_a_single_class():
    with pytest.raises(ValueError, match="at least 2.*num_classes=1"):
        ProxyHead(1)
