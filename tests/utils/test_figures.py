"""The look of methods: fixed, told apart, readable on both backgrounds."""

import itertools

import numpy as np
import pytest

from keras_c2kd.utils import figures
from keras_c2kd.utils.figures import assign_styles
from keras_c2kd.utils.figures import figure_style
from keras_c2kd.utils.figures import method_family
from keras_c2kd.utils.figures import method_style
from keras_c2kd.utils.figures import wrap_text

matplotlib = pytest.importorskip("matplotlib")
pytestmark = pytest.mark.backend_free

KNOWN = (
    "alone self_training pseudo_labels kd dkd dml c2kd fitnet review_kd rkd "
    "nkd dist shake cirkd zipf_kd uskd dlb concat film ogm ogm_ge ensemble"
).split()
# These are seen together: no two of them share a colour.
USUAL = KNOWN[:7] + ["ensemble"]
# Machado et al., 2009: what linear RGB is to protanopes and deuteranopes.
SEEN = {
    "all": np.eye(3),
    "protan": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deutan": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}


def linear(color):
    shares = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    low = shares / 12.92
    return np.where(shares <= 0.04045, low, ((shares + 0.055) / 1.055) ** 2.4)


def luminance(color):
    return linear(color) @ [0.2126, 0.7152, 0.0722]


def lab(rgb):
    to_xyz = [
        [0.4124, 0.3576, 0.1805],
        [0.2126, 0.7152, 0.0722],
        [0.0193, 0.1192, 0.9505],
    ]
    x, y, z = np.cbrt(to_xyz @ np.clip(rgb, 0, 1) / [0.9505, 1, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_every_known_method_has_a_look_of_its_own():
    looks = {(style.color, style.marker) for style in map(method_style, KNOWN)}
    assert len(looks) == len(KNOWN) == 22
    assert {method_style(name).linestyle for name in KNOWN} == {"-"}
    assert len({method_style(name).color for name in USUAL}) == 8


@pytest.mark.parametrize("kind", SEEN)
def test_colour_blind_readers_tell_the_usual_methods_apart(kind):
    seen = {
        name: lab(SEEN[kind] @ linear(method_style(name).color))
        for name in USUAL
    }
    for one, other in itertools.combinations(USUAL, 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 11, (one, other)


def test_colours_stand_out_from_both_backgrounds():
    for color in {method_style(name).color for name in KNOWN}:
        for dark in (False, True):
            with figure_style(dark):
                ground = matplotlib.rcParams["figure.facecolor"]
            lightness = sorted([luminance(color), luminance(ground)])
            contrast = (lightness[1] + 0.05) / (lightness[0] + 0.05)
            assert contrast > 2.95, (color, ground)
    # Nor do other lines have yellow on white.
    colors = {style["color"] for style in figures.STYLES}
    assert all(1.05 / (luminance(c) + 0.05) > 2.3 for c in colors)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("kd", "kd"),
        ("KD", "kd"),
        ("KnowledgeDistillation()", "kd"),
        ("C2KD()", "c2kd"),
        ("review-kd", "review_kd"),
        ("ReviewKD", "review_kd"),
        ("ogm-ge", "ogm_ge"),
        ("without-kd", "alone"),
        ("w/o KD", "alone"),
        ("supervised", "alone"),
    ],
)
def test_spellings_of_a_known_method(name, family):
    assert method_family(name) == (family, True)
    assert method_style(name) == method_style(family)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("c2kd-b", "c2kd"),
        ("c2kd+dist", "c2kd"),
        ("c2kd, weight 2", "c2kd"),
        ("C2KD(cross_modal_weight=2.0)", "c2kd"),
        ("kd@cosine=0.2", "kd"),
        ("ogm_ge, alpha 0.3", "ogm_ge"),
        ("nckd", "dkd"),
    ],
)
def test_a_member_has_its_family_s_colour_and_a_marker_of_its_own(name, family):
    assert method_family(name) == (family, False)
    style, head = method_style(name), method_style(family)
    assert style.color == head.color
    assert style.marker not in {method_style(each).marker for each in KNOWN}
    assert style.linestyle != head.linestyle


@pytest.mark.parametrize("name", ["MyMethod", "kdx", "ours", "", "方法"])
def test_an_unknown_name_has_a_look_that_stays(name):
    assert method_family(name) == (None, False)
    style = method_style(name)
    assert style == method_style(name)
    # Neither the baseline nor C2KD could be meant.
    assert style.color not in {
        method_style("alone").color,
        method_style("c2kd").color,
    }
    assert assign_styles(["kd", name, "c2kd"])[name] == {
        "color": style.color,
        "marker": style.marker,
    }


def test_a_hash_that_differs_by_process_would_change_the_look():
    # Python's own `hash` of a string does.
    style = method_style("MyMethod")
    assert (style.color, style.marker) == ("#999933", "<")


def test_many_of_one_colour_are_told_apart_in_a_figure():
    names = ["c2kd", *(f"c2kd-{number}" for number in range(7))]
    styles = assign_styles(names)
    assert {style["color"] for style in styles.values()} == {"#d55e00"}
    assert len({style["marker"] for style in styles.values()}) == 8
    assert assign_styles(reversed(names)) == styles
    # An eighth has to share one.
    assert assign_styles([*names, "c2kd-x"])["c2kd-x"]["marker"] in "<>phd8H"


def test_the_style_ends_with_its_context():
    before = dict(matplotlib.rcParams)
    with figure_style(dark=True):
        assert matplotlib.rcParams["font.size"] == 12
        assert matplotlib.rcParams["figure.facecolor"] == "#0d1117"
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("text", ["alone", "", "a b c", "_$x$_"])
def test_short_texts_stay(text):
    assert wrap_text(text, 3.0) == text


def test_lines_break_behind_punctuation():
    assert wrap_text("C2KD(cross_modal_weight=2.0)", 1.2).split("\n") == [
        "C2KD(cross_",
        "modal_",
        "weight=2.0)",
    ]
    assert wrap_text("one two three", 0.7) == "one two\nthree"


def test_words_wider_than_a_line_are_cut():
    lines = wrap_text("W" * 50, 1.0).split("\n")
    assert "".join(lines) == "W" * 50
    # 12 points of DejaVu Sans: a W is 0.165 inches wide.
    assert [len(line) for line in lines] == [6] * 8 + [2]
