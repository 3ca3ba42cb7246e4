from keras_c2kd.experiments import segmentation


def test_pictures_show_both_directions_of_what_is_looked_for_first():
    methods = ("without-kd", "shake", "dist", "kd", "c2kd")
    records = [
        {"settings": {"student": student, "method": method, "seed": seed}}
        for student in ("rgb", "depth")
        for method in methods
        for seed in (0, 1)
    ]
    shown = [r["settings"] for r in segmentation._shown(records, 1)]
    assert {settings["seed"] for settings in shown} == {1}
    assert [(s["student"], s["method"]) for s in shown] == [
        (student, method)
        for method in ("without-kd", "kd", "c2kd")
        for student in ("rgb", "depth")
    ]
    few = [r for r in records if r["settings"]["method"] in ("shake", "dist")]
    assert len(segmentation._shown(few, 0)) == 4
