"""Loads networks where packages cannot be imported, and predicts.

    python -I predict_alone.py FILE.keras ... --keras_hub FILE.keras ...

Files behind `--keras_hub` may import KerasHub, those before it may not. Beside
each file lie its inputs, `FILE.npz`; the outputs go to `FILE.<backend>.npy`.
Nothing of this package may be imported here.
"""

import pathlib
import sys

refused = ["keras_c2kd", "keras_hub"]


class Refuse:
    """A finder for which the refused packages are not installed."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in refused:
            raise ModuleNotFoundError(f"{name} is refused", name=name)


def main(words):
    sys.meta_path.insert(0, Refuse())
    import keras
    import numpy as np

    for word in words:
        if word == "--keras_hub":
            refused.remove("keras_hub")
            continue
        file = pathlib.Path(word)
        inputs = dict(np.load(file.with_suffix(".npz")))
        network = keras.models.load_model(file)
        outputs = network.predict(inputs.get("images", inputs), verbose=0)
        np.save(file.with_suffix(f".{keras.backend.backend()}.npy"), outputs)
    assert "keras_c2kd" not in sys.modules


if __name__ == "__main__":
    main(sys.argv[1:])
