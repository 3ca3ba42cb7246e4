import numpy as np
import pytest

from keras_c2kd.data import MotionAugmentation
from keras_c2kd.data.motion_augmentation import at_positions
from keras_c2kd.data.motion_augmentation import rotation_matrix

pytestmark = pytest.mark.backend_free

RECORDING = np.random.default_rng(0).normal(size=(50, 6)).astype("float32")


def drawn(count=30, array=RECORDING, **kwargs):
    augmentation = MotionAugmentation(**kwargs)
    found = [
        augmentation(array, np.random.default_rng(i)) for i in range(count)
    ]
    assert {(x.shape, x.dtype) for x in found} == {(array.shape, array.dtype)}
    return np.array(found)


def test_nothing_changes_by_default():
    np.testing.assert_array_equal(drawn(2)[1], RECORDING)


def test_turned_vectors_keep_their_lengths_and_angles():
    """Both vectors of a step are turned alike, by up to the angle."""
    before = RECORDING.reshape(-1, 3)
    for axis in ("any", "vertical"):
        found = drawn(rotation=20.0, axis=axis).reshape(30, -1, 3)
        for after in found:
            np.testing.assert_allclose(
                after @ after.T, before @ before.T, atol=1e-4
            )
        up = np.allclose(found[..., 1], before[:, 1], atol=1e-6)
        assert up == (axis == "vertical")
        turns = [np.linalg.lstsq(before, x, rcond=None)[0] for x in found]
        # A turn by an angle has the trace 1 + 2 cos(angle).
        cosines = [(np.trace(turn) - 1) / 2 for turn in turns]
        assert 15 < np.degrees(np.arccos(min(cosines))) <= 20.01
        np.testing.assert_allclose(np.linalg.det(turns), 1, atol=1e-4)


def test_one_factor_for_all_numbers():
    factors = drawn(scale=0.2) / RECORDING
    assert np.ptp(factors, axis=(1, 2)).max() < 1e-3
    ends = factors[:, 0, 0].min(), factors[:, 0, 0].max()
    assert 0.8 <= ends[0] < 0.85 and 1.15 < ends[1] <= 1.2


def test_beginning_and_end_are_moved():
    ramp = np.repeat(np.linspace(0, 1, 101, dtype="float32")[:, None], 3, 1)
    found = drawn(60, ramp, shift=0.1)[..., 0]
    # Evenly from the drawn beginning to the drawn end, held outside of both.
    steps = np.diff(found, axis=1)
    assert steps.min() >= -1e-6
    assert steps[:, 50].min() >= 0.0079 and steps[:, 50].max() <= 0.0121
    begins, ends = found[:, 0], found[:, -1]
    assert 0.08 < begins.max() <= 0.1 and 0.9 <= ends.min() < 0.92
    assert (begins == 0).sum() > 15 and (ends == 1).sum() > 15


def test_noise():
    noise = drawn(jitter=0.3) - RECORDING
    assert noise.std() == pytest.approx(0.3, rel=0.05)
    assert noise.mean() == pytest.approx(0, abs=0.02)


def test_between_the_steps():
    sequence = np.array([[0.0, 0], [1, 10], [5, 50]])
    found = at_positions(sequence, np.array([0, 0.25, 1.5, 2]))
    np.testing.assert_allclose(found, [[0, 0], [0.25, 2.5], [3, 30], [5, 50]])


def test_a_quarter_turn():
    turn = rotation_matrix(np.array([0.0, 0, 2]), np.pi / 2)
    np.testing.assert_allclose(turn @ [1, 2, 3], [-2, 1, 3], atol=1e-12)
