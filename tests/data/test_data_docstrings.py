import pathlib
import tempfile

import pytest

from keras_c2kd import data
from tests.helpers.docstrings import run_examples

pytestmark = pytest.mark.backend_free

# Their examples need the files of the data set.
NEED_FILES = (
    "load_ave",
    "load_crema_d",
    "load_crisis_mmd",
    "load_nyu_depth_v2",
    "load_utd_mhad",
    "load_vggsound",
)


def test_examples():
    run_examples(
        data,
        NEED_FILES,
        pathlib=pathlib,
        tempfile=tempfile,
        soundfile=pytest.importorskip("soundfile"),
        Image=pytest.importorskip("PIL.Image"),
    )
