import tempfile

from keras_c2kd import analysis
from tests.helpers.docstrings import run_examples


def test_examples():
    run_examples(analysis, tempfile=tempfile)
