"""UTD-MHAD: actions, seen by a depth camera and felt by a wrist sensor."""

import dataclasses
import itertools
import os
import pathlib
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_c2kd.data.matlab_files import read_matlab_array
from keras_c2kd.data.motion_augmentation import MotionAugmentation
from keras_c2kd.data.motion_augmentation import at_positions
from keras_c2kd.data.motion_augmentation import rotation_matrix
from keras_c2kd.data.paired_arrays import PairedArrays
from keras_c2kd.data.paired_splits import PARTS
from keras_c2kd.data.paired_splits import PairedSplits
from keras_c2kd.utils.argument_checks import check_integer
from keras_c2kd.utils.argument_checks import check_positive

# In the order of the labels: the paper's actions 1 to 27.
ACTIONS = (
    "swipe left",
    "swipe right",
    "wave",
    "clap",
    "throw",
    "arm cross",
    "basketball shoot",
    "draw x",
    "draw circle (clockwise)",
    "draw circle (counter clockwise)",
    "draw triangle",
    "bowling",
    "boxing",
    "baseball swing",
    "tennis swing",
    "arm curl",
    "tennis serve",
    "push",
    "knock",
    "catch",
    "pickup and throw",
    "jog",
    "walk",
    "sit to stand",
    "stand to sit",
    "lunge",
    "squat",
)
TRIALS = (1, 2, 3, 4)
UNLABELED = -1

# Of the 27 x 8 x 4 recordings, those that were never published.
NOT_IN_THE_ORIGINAL = ("a8_s1_t4", "a23_s6_t4", "a27_s8_t4")

# Chosen by training with one of persons 1, 3, 5, 7 and validating on the other
# three. The shift in time is what counts: without it, the skeleton of person 1
# reached 60% there instead of 87%.
SKELETON_AUGMENTATION = MotionAugmentation(
    rotation=20.0, axis="vertical", scale=0.1, shift=0.1, jitter=0.01
)
INERTIAL_AUGMENTATION = MotionAugmentation(
    rotation=45.0, scale=0.2, shift=0.15, jitter=0.05
)

# From a modality to its folder, the array's name, its shape as MATLAB shows it
# and that of one step.
_FILES = {
    "skeleton": ("Skeleton", "d_skel", "(20, 3, frames)", (20, 3)),
    "inertial": ("Inertial", "d_iner", "(samples, 6)", (6,)),
}
_FRAMES_A_SECOND = 30
# Joints that tell how the person stands, in the data set's order.
_NECK, _HIP, _LEFT_SHOULDER, _RIGHT_SHOULDER = 1, 3, 4, 8


def load_utd_mhad(
    folder: str | os.PathLike[str],
    *,
    train_subjects: Sequence[int] = (1, 3, 5, 7),
    test_subjects: Sequence[int] = (2, 4, 6, 8),
    validation_subjects: Sequence[int] = (7,),
    labeled_subjects: Sequence[int] | None = None,
    skeleton_steps: int = 64,
    face_camera: bool = True,
    center_hip: bool = True,
    scale_torso: bool = True,
    velocities: bool = True,
    inertial_steps: int = 128,
    inertial_units: tuple[float, float] = (1.0, 200.0),
    skeleton_augmentation: MotionAugmentation | None = SKELETON_AUGMENTATION,
    inertial_augmentation: MotionAugmentation | None = INERTIAL_AUGMENTATION,
    batch_size: int = 64,
    seed: int = 0,
    **kwargs: Any,
) -> PairedSplits:
    """Read UTD-MHAD's skeletons and its wrist sensor, split by person.

    861 recordings: 27 actions by 8 persons, 4 times each. Read are
    `<folder>/Skeleton/a1_s1_t1_skeleton.mat`, `d_skel` `(20, 3, frames)` of
    the Kinect in metres, and `<folder>/Inertial/a1_s1_t1_inertial.mat`,
    `d_iner` `(samples, 6)` of the sensor on the right wrist (on the right
    thigh for the last six actions): acceleration in g and angular velocity in
    degrees a second. Action, person and trial are counted from 1 in the
    names. Pairs are natural: both sensors recorded one event.

    No person is in two parts. No statistics are computed over recordings, so
    that no part can know another.

    Args:
        folder: Folder of the data set. It is only read.
        train_subjects: Persons to train with, from 1 to 8. Defaults to the
            usual protocol, `(1, 3, 5, 7)`.
        test_subjects: Persons to report, none of those to train with.
            Defaults to the usual protocol, `(2, 4, 6, 8)`.
        validation_subjects: Those of `train_subjects` that choose and are NOT
            trained with. Defaults to `(7,)`. With `()` all of them train, as
            in the usual protocol; the validation part is then the labelled
            training recordings as they are, which tell whether training has
            ended, and nothing else.
        labeled_subjects: Those of the training persons whose labels training
            sees; the recordings of the others have the label -1. Defaults to
            None, all of them. Validation and test keep their labels.
        skeleton_steps: Integer: recordings have 41 to 125 frames, a network
            wants one length. Linear interpolation between the frames.
            Defaults to `64`.
        face_camera: Whether a person is turned about the vertical axis until
            the line between the shoulders of the first frame is parallel to
            the picture: persons stand up to 21 degrees askew, which tells
            nothing of the action. Defaults to `True`.
        center_hip: Whether each frame's hip centre is its origin: where in
            the room a person stands tells nothing of the action. Defaults to
            `True`.
        scale_torso: Whether lengths are divided by the recording's median
            distance from the hip centre to the centre of the shoulders:
            persons are of unequal size. Defaults to `True`.
        velocities: Whether the joints' velocities follow their positions:
            differences of frames as recorded, since the interpolation to one
            length loses how fast a motion was. Defaults to `True`.
        inertial_steps: Integer: recordings have 107 to 326 samples. As
            `skeleton_steps`. Defaults to `128`.
        inertial_units: Two floats, what acceleration (g) and angular velocity
            (degrees a second) are divided by, so that both vary by about 1.
            They are constants, not statistics of the recordings. Defaults to
            `(1.0, 200.0)`.
        skeleton_augmentation: `MotionAugmentation` of the training part, or
            None for none. Defaults to `SKELETON_AUGMENTATION`: a person who
            stands askew, of another size, faster or slower, and a noisy
            camera.
        inertial_augmentation: The same of the wrist sensor. Defaults to
            `INERTIAL_AUGMENTATION`: a sensor that is strapped on askew, a
            stronger or weaker person, faster or slower, and a noisy sensor.
        batch_size: Integer, of all parts. Defaults to `64`.
        seed: Integer, of the order and the augmentation of training. The
            splits do not depend on it. Defaults to `0`.
        **kwargs: As for `PairedArrays`, such as `workers`.

    Returns:
        `PairedSplits`; batches have the modalities `skeleton`, float32
        `(batch, skeleton_steps, 120)` (60 without velocities: x, y, z of joint
        1, then of joint 2, ...), and `inertial`, float32
        `(batch, inertial_steps, 6)`, and int64 labels in the order of
        `ACTIONS`. The `provenance` has the `subjects` of each part, the
        `labeled_subjects`, the `preprocessing` and the `augmentation`;
        `missing` are the recordings that the folder lacks.

    Raises:
        ValueError: If the folder holds no recordings, a file is damaged or of
            another shape, or the persons do not fit together.

    Example:
    ```python
    pairs = load_utd_mhad("/path/to/UTD-MHAD", labeled_subjects=(1,))
    inputs, labels = pairs.train[0]  # Labels of persons 3 and 5 are -1.
    ```

    Reference: Chen et al., "UTD-MHAD: A Multimodal Dataset for Human Action
    Recognition Utilizing a Depth Camera and a Wearable Inertial Sensor", ICIP
    2015.
    """
    preprocessing: dict[str, Any] = {
        "skeleton_steps": skeleton_steps,
        "face_camera": face_camera,
        "center_hip": center_hip,
        "scale_torso": scale_torso,
        "velocities": velocities,
        "inertial_steps": inertial_steps,
        "inertial_units": list(inertial_units),
    }
    augmentations = {
        "skeleton": skeleton_augmentation,
        "inertial": inertial_augmentation,
    }
    augment = {k: x for k, x in augmentations.items() if x is not None}
    subjects = _subjects_of_parts(
        train_subjects, validation_subjects, test_subjects
    )
    labeled = _labeled_subjects(labeled_subjects, subjects["train"])
    recordings = _recordings(pathlib.Path(folder), subjects)
    # Nobody to choose with: what is known of those to train with.
    people = {**subjects, "validation": subjects["validation"] or labeled}

    def part(name: str) -> PairedArrays:
        is_trained = name == "train"
        keys = [key for key in recordings if key[1] in people[name]]
        labels = [
            action - 1 if not is_trained or subject in labeled else UNLABELED
            for action, subject, _ in keys
        ]
        return PairedArrays(
            _inputs([recordings[key] for key in keys], **preprocessing),
            np.array(labels, "int64"),
            augment=augment if is_trained else None,
            batch_size=batch_size,
            training=is_trained,
            seed=seed,
            **kwargs,
        )

    parts = {name: part(name) for name in PARTS}
    split = "by subject"
    if not subjects["validation"]:
        split += ", validation on the labeled training subjects"
    provenance = {
        "data_set": "UTD-MHAD",
        "split": split,
        "subjects": {name: list(x) for name, x in subjects.items()},
        "labeled_subjects": list(labeled),
        "classes": list(ACTIONS),
        "sizes": {name: dataset.size for name, dataset in parts.items()},
        "preprocessing": preprocessing,
        "augmentation": {k: dataclasses.asdict(x) for k, x in augment.items()},
        "missing": _missing(recordings, subjects),
        "unreadable": [],
        "excluded": [],
    }
    return PairedSplits(**parts, provenance=provenance)


def _inputs(
    recordings: Sequence[Mapping[str, pathlib.Path]],
    *,
    skeleton_steps: int,
    inertial_steps: int,
    inertial_units: Sequence[float],
    **steps: Any,
) -> dict[str, NDArray[np.float32]]:
    """Read recordings as `load_utd_mhad` says, an array for each modality."""
    check_integer(2, skeleton_steps=skeleton_steps)
    check_integer(2, inertial_steps=inertial_steps)
    acceleration_unit, angular_velocity_unit = inertial_units
    check_positive(
        acceleration_unit=acceleration_unit,
        angular_velocity_unit=angular_velocity_unit,
    )
    units = np.repeat(inertial_units, 3)
    skeletons, sensors = [], []
    for files in recordings:
        joints = _read(files["skeleton"], "skeleton")
        skeletons.append(prepare_skeleton(joints, skeleton_steps, **steps))
        sensor = _read(files["inertial"], "inertial")
        sensors.append(_resample(sensor, inertial_steps) / units)
    return {
        "skeleton": np.array(skeletons, "float32"),
        "inertial": np.array(sensors, "float32"),
    }


def prepare_skeleton(
    joints: NDArray[np.floating],
    steps: int,
    *,
    face_camera: bool = True,
    center_hip: bool = True,
    scale_torso: bool = True,
    velocities: bool = True,
) -> NDArray[np.floating]:
    """Return a recorded skeleton as a network reads it.

    Args:
        joints: Float array `(frames, 20, 3)`, as `load_utd_mhad` says.
        steps: As `skeleton_steps` of `load_utd_mhad`.
        face_camera: As for `load_utd_mhad`, like the next three.
        center_hip: Defaults to `True`.
        scale_torso: Defaults to `True`.
        velocities: Defaults to `True`.

    Returns:
        Float array `(steps, 120)`, or `(steps, 60)` without velocities.
    """
    if face_camera:
        right = joints[0, _RIGHT_SHOULDER] - joints[0, _LEFT_SHOULDER]
        angle = float(np.arctan2(right[2], right[0]))
        joints = joints @ rotation_matrix(np.array([0.0, 1, 0]), angle).T
    if center_hip:
        joints = joints - joints[:, _HIP : _HIP + 1]
    if scale_torso:
        torso = np.linalg.norm(joints[:, _NECK] - joints[:, _HIP], axis=1)
        joints = joints / max(float(np.median(torso)), 1e-6)
    if velocities:
        # Lengths a second: neighbouring frames differ little.
        moved = np.gradient(joints, axis=0) * _FRAMES_A_SECOND
        joints = np.concatenate([joints, moved], axis=1)
    return _resample(joints.reshape(len(joints), -1), steps)


def _resample(
    sequence: NDArray[np.floating], steps: int
) -> NDArray[np.floating]:
    return at_positions(sequence, np.linspace(0, len(sequence) - 1, steps))


def _subjects_of_parts(
    train: Sequence[int], validation: Sequence[int], test: Sequence[int]
) -> dict[str, tuple[int, ...]]:
    """Return the persons of each part; refuse those on both sides."""
    if both := sorted(set(train) & set(test)):
        raise ValueError(
            "No person may be trained with and tested on. Received: "
            f"subjects {both} in both of train_subjects={tuple(train)} and "
            f"test_subjects={tuple(test)}"
        )
    if others := sorted(set(validation) - set(train)):
        raise ValueError(
            "`validation_subjects` are some of the training subjects. "
            f"Received: {others}, which are not in "
            f"train_subjects={tuple(train)}. Name some of these, or () to "
            "train with all."
        )
    trained = tuple(x for x in train if x not in set(validation))
    if not trained or not test:
        raise ValueError(
            "There must be persons to train with and persons to test on. "
            f"Received: train_subjects={tuple(train)}, of which "
            f"validation_subjects={tuple(validation)} are not trained with, "
            f"and test_subjects={tuple(test)}"
        )
    return {
        "train": trained,
        "validation": tuple(validation),
        "test": tuple(test),
    }


def _labeled_subjects(
    labeled: Sequence[int] | None, trained: Sequence[int]
) -> tuple[int, ...]:
    if labeled is None:
        return tuple(trained)
    if not labeled or not set(labeled) <= set(trained):
        raise ValueError(
            "`labeled_subjects` are some of the persons who are trained with, "
            f"{tuple(trained)}. Received: "
            f"labeled_subjects={tuple(labeled)}. None labels all; persons to "
            "validate with are not trained with."
        )
    return tuple(labeled)


# Action, person and trial, from 1.
_Key = tuple[int, int, int]


def _recordings(
    folder: pathlib.Path, subjects: Mapping[str, Sequence[int]]
) -> dict[_Key, dict[str, pathlib.Path]]:
    """Return the files of the recordings that have both, in their order."""
    people = range(1, 9)
    actions = range(1, len(ACTIONS) + 1)
    paths = {}
    for key in itertools.product(actions, people, TRIALS):
        files = {
            modality: folder / name / f"{_name(key)}_{modality}.mat"
            for modality, (name, *_) in _FILES.items()
        }
        if all(path.is_file() for path in files.values()):
            paths[key] = files
    if not paths:
        raise ValueError(
            "UTD-MHAD has Skeleton/a1_s1_t1_skeleton.mat and "
            "Inertial/a1_s1_t1_inertial.mat, and so on. Received: "
            f"{folder}, without such a pair. Unpack both archives of the data "
            "set there."
        )
    found = {subject for _, subject, _ in paths}
    asked = {subject for part in subjects.values() for subject in part}
    if unknown := sorted(asked - found):
        raise ValueError(
            f"The folder {folder} has recordings of the subjects "
            f"{sorted(found)}. Received: {unknown} among the subjects of "
            f"{dict(subjects)}"
        )
    return paths


def _name(key: _Key) -> str:
    return "a{}_s{}_t{}".format(*key)


def _missing(
    paths: Mapping[_Key, Any], subjects: Mapping[str, Sequence[int]]
) -> list[dict[str, str]]:
    """Return the recordings of the persons asked for that are not there."""
    asked = sorted(subject for part in subjects.values() for subject in part)
    keys = itertools.product(range(1, len(ACTIONS) + 1), asked, TRIALS)
    return [
        {
            "name": _name(key),
            "reason": "is not in the original"
            if _name(key) in NOT_IN_THE_ORIGINAL
            else "has not both of its files in the folder",
        }
        for key in keys
        if key not in paths
    ]


def _read(path: pathlib.Path, modality: str) -> NDArray[np.floating]:
    """Return a recording, its steps first.

    Raises:
        ValueError: If it cannot be read, or is of another shape.
    """
    _, key, layout, shape = _FILES[modality]
    rule = f"{path} must hold {key!r}, {layout} finite numbers, 2 steps or more"
    fix = "Copy it anew from the data set; if it is removed, it is missing."
    try:
        array = read_matlab_array(path, key)
    except KeyError as error:
        raise ValueError(f"{rule}. Received: no {key!r}. {fix}") from error
    except ValueError as error:
        raise ValueError(f"{rule}. Received: {error}. {fix}") from error
    steps = np.moveaxis(array, -1, 0) if modality == "skeleton" else array
    if steps.shape[1:] != shape or len(steps) < 2:
        raise ValueError(f"{rule}. Received: the shape {array.shape}. {fix}")
    if not np.isfinite(steps).all():
        raise ValueError(f"{rule}. Received: NaN or infinity. {fix}")
    return steps.astype("float64")
