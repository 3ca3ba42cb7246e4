"""A small NYU-Depth V2: MATLAB's layout, classes by colour and by depth.

The pictures are generated. Nothing of the data set is in them but the layout
of its files.
"""

import h5py
import numpy as np
import scipy.io

# Labels that occur, the class from 1 that each is mapped to, its colour and
# its depth in metres.
LABELS = (1, 21, 300, 894)
MAPPED = (1, 2, 5, 40)
COLOURS = ((200, 190, 170), (90, 60, 40), (30, 60, 200), (40, 190, 60))
METRES = (5.0, 3.0, 2.0, 1.2)
NUM_LABELS = 894


def write_nyu_depth_v2(
    folder, num_train=8, num_test=4, size=(24, 40), small_files="5"
):
    """Write the three files.

    Two frames each are of one scene. Every third frame is to test with.

    Args:
        folder: Path, which is created.
        num_train: Integer, even.
        num_test: Integer, even.
        size: Height and width, unequal.
        small_files: MATLAB version of the split and the mapping, `"5"` or
            `"7.3"`.

    Returns:
        Dict of what was written, as MATLAB shows it but frames first:
        `images` `(frames, height, width, 3)`, `depths`, `rawDepths`,
        `labels`, `scenes`, `trainNdxs`, `testNdxs`, `mapClass`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    total = num_train + num_test
    random = np.random.default_rng(0)
    arrays = dict(
        zip(
            ("images", "depths", "rawDepths", "labels"),
            map(np.stack, zip(*[_frame(size, random) for _ in range(total)])),
        )
    )
    kinds = ("kitchen", "office")
    scenes = [f"{kinds[i // 2 % 2]}_{i // 2:04d}" for i in range(total)]
    spread = np.linspace(0, total // 2 - 1, num_test // 2).round().astype(int)
    test = sorted(2 * pair + half + 1 for pair in spread for half in (0, 1))
    train = [n for n in range(1, total + 1) if n not in test]
    mapping = np.arange(NUM_LABELS) % 40 + 1
    mapping[np.subtract(LABELS, 1)] = MAPPED
    small = {
        "splits.mat": {
            "trainNdxs": np.array(train, "uint16")[:, None],
            "testNdxs": np.array(test, "uint16")[:, None],
        },
        "classMapping40.mat": {"mapClass": mapping.astype("uint8")[None]},
    }
    for name, content in small.items():
        if small_files == "5":
            scipy.io.savemat(folder / name, content)
        else:
            with _matlab_file(folder / name) as file:
                for key, array in content.items():
                    file[key] = array.T
    with _matlab_file(folder / "nyu_depth_v2_labeled.mat") as file:
        for key, array in arrays.items():
            # MATLAB's last axis is the first one in the file.
            stored = array.transpose(0, *range(array.ndim - 1, 0, -1))
            file.create_dataset(
                key,
                data=stored,
                chunks=(1, *stored.shape[1:]),
                compression="gzip",
            )
        names = [f"thing {number}" for number in range(1, NUM_LABELS + 1)]
        _write_cells(file, "scenes", scenes)
        _write_cells(file, "names", names)
    return {
        **arrays,
        "scenes": scenes,
        "trainNdxs": train,
        "testNdxs": test,
        "mapClass": mapping,
    }


def _frame(size, random):
    """Draw a wall, a floor and two things; the right edge has no label."""
    height, width = size
    things = np.zeros(size, int)
    things[height // 2 :] = 1
    for thing in (2, 3):
        top = random.integers(height // 2)
        left = random.integers(width - width // 4)
        rows = slice(top, top + height // 3)
        things[rows, left : left + width // 4] = thing
    image = np.array(COLOURS)[things] + random.integers(-15, 16, (*size, 3))
    depth = np.array(METRES)[things] + random.normal(0, 0.02, size)
    depth = depth.astype("float32")
    measured = random.random(size) > 0.1
    labels = np.array(LABELS, "uint16")[things]
    labels[:, -2:] = 0
    return image.astype("uint8"), depth, depth * measured, labels


def _matlab_file(path):
    """Open an HDF5 file behind the 512 bytes by which MATLAB knows it."""
    with h5py.File(path, "w", userblock_size=512):
        pass
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124))
        file.write(b"\x00\x02IM")
    return h5py.File(path, "a")


def _write_cells(file, key, texts):
    """Write a cell array: references to columns of characters."""
    references = [
        file.create_dataset(
            f"#refs#/{key}{number}",
            data=np.array([[ord(letter)] for letter in text], "uint16"),
        ).ref
        for number, text in enumerate(texts)
    ]
    cells = np.array(references, h5py.ref_dtype)[None]
    file.create_dataset(key, data=cells, dtype=h5py.ref_dtype)
