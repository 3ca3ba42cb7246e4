"""Names that are hostile, and names that are not."""

import pytest

from keras_c2kd.utils import plain_text
from tests.helpers.docstrings import run_example

pytestmark = pytest.mark.backend_free


def test_control_characters_are_blank_and_lines_stay():
    assert plain_text.printable("a\x1b[2Jb\rc\u202ed\ne") == "a [2Jb c d\ne"
    assert plain_text.printable("Größe − 3") == "Größe − 3"


def test_markup_is_text():
    found = plain_text.markdown_text("<script>|&\x1b")
    assert found == "&lt;script&gt;\\|&amp; "
    assert plain_text.markdown_text("C2KD(weight=2.0), it's") == (
        "C2KD(weight=2.0), it's"
    )


def test_examples():
    for function in (plain_text.printable, plain_text.markdown_text):
        run_example(function, **{function.__name__: function})
