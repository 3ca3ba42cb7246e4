"""Files of UTD-MHAD's layout: the numbers are made up.

Nothing of the data set is in them but the layout of its files.
"""

import itertools

import numpy as np
import scipy.io

# Joints of the layout: neck, hip, shoulders.
NECK, HIP, LEFT_SHOULDER, RIGHT_SHOULDER = 1, 3, 4, 8


def write_utd_mhad(
    folder, actions=(1, 2), subjects=range(1, 9), trials=(1, 2), left_out=()
):
    """Write small recordings.

    Args:
        folder: Path, which is created.
        actions: Integers from 1, like the next two.
        subjects: As above.
        trials: As above.
        left_out: Names such as `"a1_s1_t1"` that are not written.

    Returns:
        Dict from the name to `(skeleton, inertial)` as written.
    """
    written = {}
    for name in ("Skeleton", "Inertial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for action, subject, trial in itertools.product(actions, subjects, trials):
        name = f"a{action}_s{subject}_t{trial}"
        if name in left_out:
            continue
        skeleton = random.normal(size=(20, 3, 3 + trial))
        inertial = random.normal(size=(6 + trial, 6)) * [1, 1, 1, 90, 90, 90]
        write_recording(folder, name, skeleton, inertial)
        written[name] = skeleton, inertial
    return written


def write_recording(folder, name, skeleton=None, inertial=None):
    """Write one or both files of a recording."""
    if skeleton is not None:
        path = folder / "Skeleton" / f"{name}_skeleton.mat"
        scipy.io.savemat(path, {"d_skel": skeleton})
    if inertial is not None:
        path = folder / "Inertial" / f"{name}_inertial.mat"
        scipy.io.savemat(path, {"d_iner": inertial})
