"""Loads networks where packages cannot be imported, and predicts.

    python -I predict_alone.py REFUSED,PACKAGES FILE.keras ...

Beside each file lie its inputs, `FILE.npz`; the outputs go to
`FILE.<backend>.npy`. Nothing of this package may be imported here.
"""

import pathlib
import sys


class Refuse:
    """A finder that knows some packages are not installed."""

    def __init__(self, packages):
        self.packages = packages

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.packages:
            raise ModuleNotFoundError(f"{name} is refused", name=name)


def main(refused, *files):
    sys.meta_path.insert(0, Refuse(refused.split(",")))
    import keras
    import numpy as np

    for file in map(pathlib.Path, files):
        inputs = dict(np.load(file.with_suffix(".npz")))
        network = keras.models.load_model(file)
        outputs = network.predict(inputs.get("images", inputs), verbose=0)
        np.save(file.with_suffix(f".{keras.backend.backend()}.npy"), outputs)
    found = {name.partition(".")[0] for name in sys.modules}
    assert not found & set(refused.split(",")), found


if __name__ == "__main__":
    main(*sys.argv[1:])
