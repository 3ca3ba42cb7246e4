import numpy as np
import pytest
import scipy.io

from keras_c2kd.data.matlab_files import read_matlab_array

pytestmark = pytest.mark.backend_free

SHAPES = [(1, 1), (1, 3), (7, 1), (3, 5), (2, 3, 4), (0, 0)]


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", "int32", "int64", "float32", "float64"]
)
def test_equals_scipy(dtype, compressed, tmp_path):
    path, random = tmp_path / "x.mat", np.random.default_rng(0)
    for shape in SHAPES:
        array = random.integers(0, 100, shape).astype(dtype)
        content = {"other": np.ones((2, 2)), "long_name": array, "z": 1.0}
        scipy.io.savemat(path, content, do_compression=compressed)
        found = read_matlab_array(path, "long_name")
        np.testing.assert_array_equal(
            found, scipy.io.loadmat(path)["long_name"]
        )
        assert read_matlab_array(path, "z") == 1.0
    with pytest.raises(KeyError, match="absent"):
        read_matlab_array(path, "absent")


def test_damaged_files(tmp_path):
    """SciPy's own reader ends the process at some of these."""
    path = tmp_path / "x.mat"
    scipy.io.savemat(path, {"numbers": np.arange(6, dtype="uint16")})
    content = path.read_bytes()
    for place in range(126, len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 8
        path.write_bytes(damaged)
        try:
            found = read_matlab_array(path, "numbers")
        except (KeyError, ValueError):
            continue
        assert found.size <= 6 and found.dtype.kind in "iuf"
    for length in range(len(content) - 4):
        path.write_bytes(content[:length])
        with pytest.raises((KeyError, ValueError)):
            read_matlab_array(path, "numbers")
