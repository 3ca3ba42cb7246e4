import numpy as np
import pytest

from keras_c2kd.comparison import segmentation

pytestmark = pytest.mark.backend_free


def record(student, method, seed, **test):
    settings = {"student": student, "method": method, "seed": seed}
    return {"settings": {**settings, "student_network": "small"}, "test": test}


def test_pictures_show_both_directions_of_what_is_looked_for_first():
    methods = ("alone", "shake", "dist", "kd", "c2kd")
    records = [
        record(student, method, seed)
        for student in ("rgb", "depth")
        for method in methods
        for seed in (0, 1)
    ]
    shown = [r["settings"] for r in segmentation._shown(records, 1)]
    assert {settings["seed"] for settings in shown} == {1}
    assert [(s["student"], s["method"]) for s in shown] == [
        (student, method)
        for method in ("alone", "kd", "c2kd")
        for student in ("rgb", "depth")
    ]
    few = [r for r in records if r["settings"]["method"] in ("shake", "dist")]
    assert len(segmentation._shown(few, 0)) == 4


def test_the_table_has_the_mean_of_each_class():
    """Over the seeds in which it occurs, in the order of the records."""
    records = [
        record("rgb", "kd", 0, iou_wall=0.5, iou_red_box=None, iou_cat=None),
        record("rgb", "alone", 0, iou_wall=0.25, iou_red_box=1, iou_cat=None),
        record("rgb", "kd", 1, iou_wall=0.75, iou_red_box=0.125, iou_cat=None),
    ]
    text = segmentation.class_table(records, ["wall", "red box", "cat"])
    header, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
    ]
    assert header == ["student", "method", "wall", "red box", "cat"]
    assert rows == [
        ["rgb (small)", "kd", "62.5", "12.5", "-"],
        ["rgb (small)", "alone", "25.0", "100.0", "-"],
    ]


def test_classes_named_by_a_colour_have_it():
    classes = ["wall", "red poster", "blue poster", "floor"]
    found = segmentation.class_colours(classes)
    assert found[1].tolist() == [1, 0, 0] and found[2].tolist() == [0, 0, 1]
    # Others are paler than those, and no two are alike.
    assert (found[[0, 3]].max(-1) - found[[0, 3]].min(-1) < 0.3).all()
    many = segmentation.class_colours([f"class {n}" for n in range(40)])
    assert len(np.unique(many.round(3), axis=0)) == 40
