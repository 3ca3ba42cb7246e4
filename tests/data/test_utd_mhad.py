import json

import numpy as np
import pytest

from keras_c2kd.data import MotionAugmentation
from keras_c2kd.data import load_utd_mhad
from keras_c2kd.data.utd_mhad import ACTIONS
from tests.data.utd_mhad_files import HIP
from tests.data.utd_mhad_files import LEFT_SHOULDER
from tests.data.utd_mhad_files import NECK
from tests.data.utd_mhad_files import RIGHT_SHOULDER
from tests.data.utd_mhad_files import write_recording
from tests.data.utd_mhad_files import write_utd_mhad

pytestmark = pytest.mark.backend_free

AS_RECORDED = dict.fromkeys(
    ("face_camera", "center_hip", "scale_torso", "velocities"), False
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("utd")
    write_utd_mhad(path, left_out=["a2_s1_t2"])
    return path


def one(tmp_path, joints=None, inertial=None, **kwargs):
    """The only training recording, read: `(skeleton, inertial)`."""
    write_utd_mhad(tmp_path, actions=[1], subjects=[1, 2, 3], trials=[1])
    skeleton = None if joints is None else np.moveaxis(joints, 0, -1)
    write_recording(tmp_path, "a1_s1_t1", skeleton, inertial)
    pairs = load_utd_mhad(
        tmp_path,
        train_subjects=[1, 2],
        validation_subjects=[2],
        test_subjects=[3],
        **kwargs,
    )
    inputs, _ = pairs.train.evaluation()[0]
    return inputs["skeleton"][0], inputs["inertial"][0]


def standing(frames=3, torso=0.5):
    """A person in front of the camera, shoulders along x, `(frames, 20, 3)`."""
    joints = np.zeros((frames, 20, 3))
    joints[:, :, 2] = 3.0
    joints[:, NECK, 1] = torso
    joints[:, LEFT_SHOULDER] = [-0.2, torso, 3.0]
    joints[:, RIGHT_SHOULDER] = [0.2, torso, 3.0]
    return joints


def test_persons_are_split(folder):
    pairs = load_utd_mhad(folder)
    assert len(ACTIONS) == 27
    parts = pairs.train, pairs.validation, pairs.test
    # Two actions, two trials; one recording of person 1 is missing.
    assert [part.size for part in parts] == [11, 4, 16]
    assert pairs.train.labels.tolist() == [0] * 6 + [1] * 5
    assert pairs.train.training and not pairs.validation.training
    inputs, labels = pairs.test[0]
    assert inputs["skeleton"].shape == (16, 64, 120)
    assert inputs["inertial"].shape == (16, 128, 6)
    assert {array.dtype for array in inputs.values()} == {np.dtype("float32")}
    assert labels.dtype == np.dtype("int64")


def test_a_part_has_the_recordings_of_its_persons(tmp_path):
    written = write_utd_mhad(tmp_path, actions=[5], subjects=[1, 3, 7, 2])
    pairs = load_utd_mhad(
        tmp_path,
        train_subjects=[1, 3, 7],
        test_subjects=[2],
        inertial_steps=7,
        inertial_units=(1.0, 90.0),
    )
    parts = {"train": (1, 3), "validation": (7,), "test": (2,)}
    for part, subjects in parts.items():
        dataset = getattr(pairs, part)
        # The first trial has 7 samples, as many as are read.
        expected = [written[f"a5_s{subject}_t1"][1] for subject in subjects]
        np.testing.assert_allclose(
            dataset.inputs["inertial"][::2],
            np.array(expected) / [1, 1, 1, 90, 90, 90],
            rtol=1e-5,
        )
        assert dataset.labels.tolist() == [4] * 2 * len(subjects)


def test_labels_of_others_are_hidden_from_training(folder):
    pairs = load_utd_mhad(folder, labeled_subjects=[3])
    # In the order of action, person, trial; the persons are 1, 3, 5.
    expected = [-1, -1, 0, 0, -1, -1, -1, 1, 1, -1, -1]
    assert pairs.train.labels.tolist() == expected
    assert pairs.validation.labels.tolist() == [0, 0, 1, 1]
    assert pairs.test.labels.tolist() == [0] * 8 + [1] * 8
    assert pairs.provenance["labeled_subjects"] == [3]


def test_all_train_without_persons_to_validate_with(folder):
    pairs = load_utd_mhad(folder, validation_subjects=(), labeled_subjects=[7])
    assert pairs.train.size == 15
    assert pairs.validation.labels.tolist() == [0, 0, 1, 1]
    person_7 = np.flatnonzero(pairs.train.labels >= 0)
    np.testing.assert_array_equal(
        pairs.validation.inputs["inertial"],
        pairs.train.inputs["inertial"][person_7],
    )
    assert "labeled training subjects" in pairs.provenance["split"]


def test_provenance(tmp_path):
    write_utd_mhad(
        tmp_path, (8, 9), trials=(1, 2, 3, 4), left_out=["a8_s1_t4", "a9_s2_t3"]
    )
    found = load_utd_mhad(tmp_path, inertial_augmentation=None).provenance
    assert json.loads(json.dumps(found)) == found
    assert found["classes"][7] == "draw x"
    assert found["sizes"] == {"train": 23, "validation": 8, "test": 31}
    parts = {"train": [1, 3, 5], "validation": [7], "test": [2, 4, 6, 8]}
    assert found["subjects"] == parts
    reasons = {x["name"]: x["reason"] for x in found["missing"]}
    assert reasons["a8_s1_t4"] == "is not in the original"
    assert "not both of its files" in reasons["a9_s2_t3"]
    assert len(reasons) == 2 + 25 * 8 * 4
    assert found["preprocessing"]["inertial_units"] == [1.0, 200.0]
    assert list(found["augmentation"]) == ["skeleton"]


def test_length_by_interpolation(tmp_path):
    joints = np.zeros((3, 20, 3))
    joints[:, 19, 2] = [0.0, 1.0, 4.0]
    inertial = np.array([[1.0] * 6, [3.0] * 6])
    skeleton, sensor = one(
        tmp_path,
        joints,
        inertial,
        skeleton_steps=5,
        inertial_steps=3,
        inertial_units=(1.0, 10.0),
        **AS_RECORDED,
    )
    np.testing.assert_allclose(skeleton[:, 59], [0.0, 0.5, 1.0, 2.5, 4.0])
    assert not skeleton[:, :59].any()
    np.testing.assert_allclose(
        sensor,
        [
            [1, 1, 1, 0.1, 0.1, 0.1],
            [2, 2, 2, 0.2, 0.2, 0.2],
            [3] * 3 + [0.3] * 3,
        ],
        rtol=1e-6,
    )


def test_a_person_is_turned_to_the_camera(tmp_path):
    """A quarter turn is undone; what happens later is turned as well."""
    joints = standing()
    joints[2, 11] = [0.0, 0.0, 2.0]  # A hand reaches for the camera.
    expected = joints.reshape(3, 60)
    turned = joints[..., [2, 1, 0]] * [1, 1, -1]
    skeleton, _ = one(
        tmp_path,
        turned,
        skeleton_steps=3,
        **{**AS_RECORDED, "face_camera": True},
    )
    np.testing.assert_allclose(skeleton, expected, atol=1e-6)


def test_place_and_size_of_a_person_are_taken_out(tmp_path):
    joints = standing(torso=0.4)
    small, _ = one(tmp_path, joints, skeleton_steps=3)
    walking = np.array([[[0.0, 0, 0]], [[1.0, 0, 0]], [[2.0, 0, 1]]])
    large, _ = one(tmp_path, 2 * joints + walking, skeleton_steps=3)
    np.testing.assert_allclose(large, small, atol=1e-6)
    places = small[:, :60].reshape(3, 20, 3)
    assert not places[:, HIP].any()
    np.testing.assert_allclose(places[0, NECK], [0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(
        places[0, RIGHT_SHOULDER], [0.5, 1, 0], atol=1e-6
    )
    assert not small[:, 60:].any()


def test_velocities_are_those_of_the_recording(tmp_path):
    """At 30 frames a second, whatever the length that is read."""
    joints = np.zeros((4, 20, 3))
    joints[:, 0, 0] = [0.0, 0.1, 0.2, 0.3]
    for steps in (4, 7):
        skeleton, _ = one(
            tmp_path,
            joints,
            skeleton_steps=steps,
            **{**AS_RECORDED, "velocities": True},
        )
        assert skeleton.shape == (steps, 120)
        np.testing.assert_allclose(skeleton[:, 60], 3.0, rtol=1e-5)
        assert not skeleton[:, 61:].any()


def test_training_is_augmented_by_seed_and_epoch(folder):
    pairs = load_utd_mhad(folder)
    plain = pairs.train.evaluation()[0][0]
    first, order = pairs.train[0]
    again = pairs.train[0][0]
    other = load_utd_mhad(folder, seed=1).train[0][0]
    without = load_utd_mhad(folder, skeleton_augmentation=None).train
    for modality in ("skeleton", "inertial"):
        np.testing.assert_array_equal(first[modality], again[modality])
        assert np.abs(first[modality] - other[modality]).max() > 0.1
        assert len(first[modality]) == len(plain[modality]) == 11
    rows = {x.tobytes() for x in plain["skeleton"]}
    assert {x.tobytes() for x in without[0][0]["skeleton"]} == rows
    assert not {x.tobytes() for x in first["skeleton"]} & rows
    pairs.train.on_epoch_end()
    assert pairs.train[0][1].tolist() != order.tolist()


def assert_refused(match, folder, **kwargs):
    with pytest.raises(ValueError, match=match):
        load_utd_mhad(folder, **kwargs)


def test_persons_that_do_not_fit_together(folder):
    assert_refused(r"tested on.*\[3\] in both", folder, test_subjects=(2, 3, 4))
    assert_refused(
        r"some of the training subjects.*\[2\]", folder, validation_subjects=[2]
    )
    assert_refused(
        "persons to train with", folder, validation_subjects=(1, 3, 5, 7)
    )
    assert_refused("persons to test on", folder, test_subjects=())
    for labeled in ((7,), (), (1, 2)):
        assert_refused(
            r"`labeled_subjects` are some.*\(1, 3, 5\)",
            folder,
            labeled_subjects=labeled,
        )
    assert_refused(
        r"subjects \[1, 2, .*\[9\] among", folder, test_subjects=[2, 9]
    )


def test_folders_and_files_that_cannot_be_read(tmp_path):
    assert_refused("Unpack both archives", tmp_path)
    write_utd_mhad(tmp_path)
    path = tmp_path / "Inertial" / "a1_s2_t1_inertial.mat"
    content = path.read_bytes()
    path.write_bytes(content[:200])
    assert_refused(
        r"a1_s2_t1_inertial.mat must hold 'd_iner', \(samples, 6\).*anew",
        tmp_path,
    )
    path.write_bytes(b"no MATLAB")
    assert_refused("Received: no MATLAB file of version 5", tmp_path)
    path.write_bytes(content.replace(b"d_iner", b"d_skel"))
    assert_refused("Received: no 'd_iner'", tmp_path)
    path.unlink()
    assert load_utd_mhad(tmp_path).test.size == 15
    for joints, found in (
        (np.ones((20, 3)), r"the shape \(20, 3\)"),
        (np.ones((25, 3, 9)), r"the shape \(25, 3, 9\)"),
        (np.ones((20, 3, 1)), r"the shape \(20, 3\)|\(20, 3, 1\)"),
        (np.full((20, 3, 4), np.nan), "NaN or infinity"),
    ):
        write_recording(tmp_path, "a2_s2_t1", joints)
        assert_refused(f"d_skel.*Received: {found}", tmp_path)


def test_numbers_without_meaning(folder):
    assert_refused("skeleton_steps=1", folder, skeleton_steps=1)
    assert_refused("inertial_steps=0", folder, inertial_steps=0)
    assert_refused("angular_velocity_unit=0", folder, inertial_units=(1.0, 0))
    for kwargs in ({"rotation": -1}, {"scale": 2}, {"shift": 1}, {"axis": "z"}):
        name = next(iter(kwargs))
        with pytest.raises(ValueError, match=f"`{name}` must be"):
            MotionAugmentation(**kwargs)
