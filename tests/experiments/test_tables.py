"""The statistics, against values computed by hand, and the table."""

import math

import pytest

from keras_c2kd.experiments import compare_methods
from keras_c2kd.experiments import markdown_table
from keras_c2kd.experiments import summarize

pytestmark = pytest.mark.backend_free


def record(method, student, seed, score, **scores):
    teacher = {"image": "audio", "audio": "image"}[student]
    return {
        "settings": {
            "method": method,
            "student": student,
            "student_network": "cnn",
            "teacher": teacher if scores else None,
            "teacher_network": "cnn" if scores else None,
            "seed": seed,
        },
        "scores": {"student": score, **scores},
    }


def test_summary_against_values_computed_by_hand():
    # Mean 3; squared deviations 4 + 1 + 0 + 1 + 4 = 10, 10 / 4 = 2.5.
    # Student's t, 4 degrees of freedom, 97.5%: 2.7764451 (printed tables).
    summary = summarize([1, 2, 3, 4, 5])
    half = 2.7764451 * math.sqrt(2.5 / 5)
    assert summary.mean == 3
    assert summary.deviation == pytest.approx(math.sqrt(2.5))
    assert summary.low == pytest.approx(3 - half, abs=1e-6)
    assert summary.high == pytest.approx(3 + half, abs=1e-6)
    assert summary.count == 5


def test_summary_of_two_values_at_90_percent():
    # t, 1 degree of freedom, 95%: 6.3137515. Deviation of 0 and 2: sqrt 2.
    summary = summarize([0, 2], confidence=0.9)
    assert summary.high == pytest.approx(1 + 6.3137515, abs=1e-6)


def test_one_value_has_no_interval():
    summary = summarize([0.7])
    assert summary.mean == 0.7
    assert math.isnan(summary.deviation)
    assert math.isnan(summary.low)
    assert math.isnan(summary.high)


def test_no_value_is_refused():
    with pytest.raises(ValueError, match="At least one value"):
        summarize([])


def test_equal_values_have_an_interval_of_width_zero():
    summary = summarize([0.5, 0.5, 0.5])
    assert summary.deviation == 0
    assert summary.low == summary.high == 0.5


def test_differences_are_paired_by_seed():
    rows = compare_methods(
        [
            record("without-kd", "image", 0, 0.90),
            record("without-kd", "image", 1, 0.80),
            # The other order of seeds.
            record("c2kd", "image", 1, 0.82, teacher_before=0.7),
            record("c2kd", "image", 0, 0.91, teacher_before=0.6),
        ],
        baseline="without-kd",
    )
    baseline, c2kd = rows
    assert baseline.difference is None
    assert baseline.teacher_before is None
    assert c2kd.accuracy.mean == pytest.approx(0.865)
    assert c2kd.difference.mean == pytest.approx(0.015)
    # Unpaired, the deviation of the difference would be about 0.06.
    assert c2kd.difference.deviation == pytest.approx(0.01 / math.sqrt(2))
    assert c2kd.teacher_before.mean == pytest.approx(0.65)
    assert c2kd.teacher_after is None


def test_rows_are_grouped_by_student():
    rows = compare_methods(
        [
            record(method, student, 0, 0.5)
            for method in ("without-kd", "kd")
            for student in ("image", "audio")
        ],
        baseline="without-kd",
    )
    assert [(row.student, row.method) for row in rows] == [
        ("image", "without-kd"),
        ("image", "kd"),
        ("audio", "without-kd"),
        ("audio", "kd"),
    ]


def test_a_run_without_its_baseline_is_refused():
    records = [
        record("without-kd", "image", 0, 0.9),
        record("kd", "image", 1, 0.9),
    ]
    with pytest.raises(ValueError, match=r"image student and the seeds \[1\]"):
        compare_methods(records, baseline="without-kd")


def test_two_runs_of_one_cell_are_refused():
    records = [record("without-kd", "image", 0, 0.9)] * 2
    with pytest.raises(ValueError, match="Received two of 'without-kd'"):
        compare_methods(records, baseline="without-kd")


def test_the_table_as_printed():
    rows = compare_methods(
        [
            record("without-kd", "image", 0, 0.90),
            record("without-kd", "image", 1, 0.80),
            record("kd", "image", 0, 0.91, teacher_before=0.6, teacher_after=1),
            record("kd", "image", 1, 0.82, teacher_before=0.7, teacher_after=1),
        ],
        baseline="without-kd",
    )
    lines = markdown_table(rows).splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert set(lines[1]) == {"|", "-"}
    assert cells[2] == [
        "image (cnn)", "without-kd", "85.0 +- 7.1", "-", "-", "-", "-", "2",
    ]  # fmt: skip
    # 1.5 +- 12.7062047 * 0.7071 / sqrt(2) points.
    assert cells[3] == [
        "image (cnn)", "kd", "86.5 +- 6.4", "+1.5 [-4.9, +7.9]", "audio (cnn)",
        "65.0 +- 7.1", "100.0 +- 0.0", "2",
    ]  # fmt: skip
    assert len({len(line) for line in lines}) == 1


def test_a_single_seed_is_printed_without_spread():
    rows = compare_methods(
        [
            record("without-kd", "image", 0, 0.90),
            record("kd", "image", 0, 0.88),
        ],
        baseline="without-kd",
    )
    text = markdown_table(rows)
    assert " 88.0 " in text
    assert " -2.0 " in text
    assert "nan" not in text


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_score_that_is_no_number_has_no_interval(value):
    summary = summarize([0.5, value])
    assert summary.count == 2
    assert not math.isfinite(summary.mean)
    assert math.isnan(summary.deviation) and math.isnan(summary.low)
