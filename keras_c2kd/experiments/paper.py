"""The numbers that the paper prints in its tables, once, as data."""

import dataclasses

from keras_c2kd.experiments.method_rows import BASELINE

# What a number of a table is.
SCORE = "score"  # The student's test score, in percent.
TEACHER = "teacher"  # The teacher's, after the student's training.
TARGET_PROBABILITY = "target_probability"  # Mean of the label's class.


@dataclasses.dataclass(frozen=True)
class PaperNumber:
    """A number as it is printed.

    Attributes:
        value: percent, or a share for a mean target probability.
        deviation: what stands behind the +-, or None. The paper does not say
            what it is; three seeds were run.
    """

    value: float
    deviation: float | None = None


@dataclasses.dataclass(frozen=True)
class PaperColumn:
    """One direction on one data set.

    Attributes:
        data_set: Name of the data set, for headings.
        recipe: Name of its recipe.
        student: Modality of the deployed network.
        student_network: Name of the deployed network.
        teacher: The other modality.
        teacher_network: Name of its network.
        quantity: `"score"` or `"teacher"`.
    """

    data_set: str
    recipe: str
    student: str
    student_network: str
    teacher: str
    teacher_network: str
    quantity: str = SCORE


@dataclasses.dataclass(frozen=True)
class PaperRow:
    """One method.

    Attributes:
        method: Name of our row, see `method_row`.
        label: What the paper calls it.
        numbers: Tuple of a `PaperNumber`, or None where the paper has none,
            for each column.
        reference: Name of the row that this one is compared with, or None.
        quantity: What all its numbers are, or None for what the columns say.
        marks: Names of the modules that are switched on, in Table 5.
    """

    method: str
    label: str
    numbers: tuple
    reference: str | None = BASELINE
    quantity: str | None = None
    marks: tuple = ()

    def quantity_in(self, column):
        """Return what this row's number in a `PaperColumn` is."""
        return self.quantity or column.quantity


@dataclasses.dataclass(frozen=True)
class PaperTable:
    """One table of the paper.

    Attributes:
        number: Integer.
        title: String.
        columns: Tuple of `PaperColumn`.
        rows: Tuple of `PaperRow`.
        metric: Name of the recipes' metric.
        marks: Names of the modules that rows can have switched on.
        notes: Tuple of strings: where the paper contradicts itself.
    """

    number: int
    title: str
    columns: tuple
    rows: tuple
    metric: str = "accuracy"
    marks: tuple = ()
    notes: tuple = ()

    @property
    def source(self):
        """Where the numbers are printed."""
        return f"Huo et al., CVPR 2024, Table {self.number}"

    def of_columns(self, is_wanted):
        """Return some of the columns alone.

        Args:
            is_wanted: Function from a `PaperColumn` to whether it is kept.

        Returns:
            `PaperTable`.
        """
        kept = [
            index
            for index, column in enumerate(self.columns)
            if is_wanted(column)
        ]
        rows = tuple(
            dataclasses.replace(
                row,
                numbers=tuple(row.numbers[index] for index in kept)
                if row.numbers
                else (),
            )
            for row in self.rows
        )
        columns = tuple(self.columns[index] for index in kept)
        return dataclasses.replace(self, columns=columns, rows=rows)


def _both_ways(data_set, recipe, first, second):
    """Return the columns of both directions of `(modality, network)`."""
    return (
        PaperColumn(data_set, recipe, *first, *second),
        PaperColumn(data_set, recipe, *second, *first),
    )


def _with_teachers(columns):
    """Return each column, and after it that of its teacher."""
    return tuple(
        dataclasses.replace(column, quantity=quantity)
        for column in columns
        for quantity in (SCORE, TEACHER)
    )


def _row(method, label, numbers, **kwargs):
    """Return a row from its printed numbers, with `-` where there is none."""
    return PaperRow(
        method, label, tuple(map(_number, numbers.split())), **kwargs
    )


def _number(text):
    if text == "-":
        return None
    value, _, deviation = text.partition("+-")
    return PaperNumber(float(value), float(deviation) if deviation else None)


_VISUAL, _AUDIO = ("visual", "resnet18"), ("audio", "resnet18")
_IMAGE, _TEXT = ("image", "mobilenet_v2"), ("text", "bert_base")
_CREMA_D = _both_ways("CREMA-D", "crema_d", _VISUAL, _AUDIO)
_AVE = _both_ways("AVE", "ave", _VISUAL, _AUDIO)
_VGGSOUND = _both_ways("VGGSound", "vggsound", _VISUAL, _AUDIO)
_CRISIS_MMD = _both_ways("CrisisMMD", "crisis_mmd", _IMAGE, _TEXT)
_NYU_DEPTH = tuple(
    column
    for rgb, depth in (
        ("resnet18", "resnet18"),
        ("resnet18", "mobilenet_v2"),
        ("mobilenet_v2", "resnet18"),
    )
    for column in _both_ways(
        "NYU-Depth V2", "nyu_depth_v2", ("rgb", rgb), ("depth", depth)
    )
)
_IMAGE_ALONE = (
    "The CrisisMMD image network without KD has 66.7 in Tables 3 and 5, and "
    "66.1 in Table 6."
)
_TEXT_TAUGHT = (
    "Plain KD of the CrisisMMD text network has 68.4 in Table 3, and 69.2 in "
    "row (a) of Table 5."
)
_DEVIATION_OF_DIST = (
    "DIST of the AVE audio network has 49.3 +- 0.52 in Table 1, and 49.3 +- "
    "0.29 in Table 3."
)

_TABLE_1 = PaperTable(
    number=1,
    title="Traditional distillation across modalities",
    columns=_AVE + _VGGSOUND,
    rows=(
        _row(
            BASELINE,
            "w/o KD",
            "31.6+-0.18 52.8+-0.11 38.7+-0.16 59.4+-0.16",
            reference=None,
        ),
        _row("kd", "KD", "32.3+-0.35 46.6+-0.24 38.5+-0.50 56.3+-0.46"),
        _row(
            "review-kd",
            "Review",
            "32.1+-0.63 50.6+-0.31 38.2+-0.47 57.9+-0.33",
        ),
        _row("dml", "DML", "31.8+-0.41 48.0+-1.31 38.7+-0.86 58.2+-1.01"),
        _row("shake", "SHAKE", "32.2+-0.59 47.3+-0.72 38.3+-0.41 59.5+-0.34"),
        _row("dkd", "DKD", "32.6+-0.65 48.6+-1.02 38.1+-0.43 57.2+-0.86"),
        _row("dist", "DIST", "29.8+-0.61 49.3+-0.52 38.5+-0.39 58.9+-0.45"),
        _row("nkd", "NKD", "32.9+-0.32 52.2+-0.62 39.2+-0.52 59.3+-0.40"),
        _row("c2kd", "Ours", "34.7+-0.23 54.9+-0.16 40.9+-0.31 61.9+-0.27"),
    ),
    notes=(_DEVIATION_OF_DIST,),
)

_TABLE_2 = PaperTable(
    number=2,
    title="Modality imbalance and soft label misalignment",
    columns=_AVE + _VGGSOUND,
    rows=(
        _row(BASELINE, "w/o KD", "31.6 52.8 38.7 59.4", reference=None),
        _row(
            BASELINE,
            "proba.",
            "0.355 0.901 0.340 0.534",
            reference=None,
            quantity=TARGET_PROBABILITY,
        ),
        _row("kd", "w/ KD", "32.3 46.6 38.5 56.3"),
        _row("kd+random", "KD +Random", "32.1 46.8 38.2 56.4", reference="kd"),
        _row("kd+krc", "KD +KRC", "32.9 47.9 39.2 57.4", reference="kd"),
        _row("tckd", "TCKD", "31.8 48.0 37.9 55.8"),
        _row("nckd", "NCKD", "31.9 50.1 38.5 57.5"),
        _row(
            "nckd+random",
            "NCKD +Random",
            "31.5 50.2 38.5 57.6",
            reference="nckd",
        ),
        _row("nckd+krc", "NCKD +KRC", "33.1 51.0 39.6 58.3", reference="nckd"),
        _row("dkd", "DKD", "32.6 48.6 38.1 57.2"),
    ),
)

_TABLE_3 = PaperTable(
    number=3,
    title="Comparison on visual-audio and image-text data",
    columns=_CREMA_D + _AVE + _VGGSOUND + _CRISIS_MMD,
    rows=(
        _row(
            BASELINE,
            "w/o KD",
            "58.1+-0.33 56.3+-0.22 31.6+-0.18 52.8+-0.11 "
            "38.7+-0.16 59.4+-0.16 66.7+-0.22 68.1+-0.21",
            reference=None,
        ),
        _row(
            "fitnet",
            "FitNet",
            "56.4+-0.47 52.9+-0.32 29.6+-0.63 48.0+-0.81 "
            "37.9+-0.39 57.1+-0.79 - -",
        ),
        _row(
            "review-kd",
            "Review",
            "59.6+-0.45 55.7+-0.36 32.1+-0.63 50.6+-0.31 "
            "38.2+-0.47 57.9+-0.33 - -",
        ),
        _row(
            "kd",
            "KD",
            "57.4+-0.92 53.4+-0.85 32.3+-0.35 46.6+-0.24 "
            "38.5+-0.50 56.3+-0.46 66.3+-0.24 68.4+-0.12",
        ),
        _row(
            "dml",
            "DML",
            "60.3+-1.60 56.4+-0.55 31.8+-0.41 48.0+-1.31 "
            "38.7+-0.86 58.2+-1.01 67.9+-0.18 69.6+-0.24",
        ),
        _row(
            "shake",
            "SHAKE",
            "60.0+-0.35 58.6+-0.61 32.2+-0.59 47.3+-0.72 "
            "38.3+-0.41 59.5+-0.34 68.1+-0.16 69.7+-0.26",
        ),
        _row(
            "rkd",
            "RKD",
            "48.3+-0.68 51.9+-1.36 28.2+-0.71 44.5+-0.73 "
            "33.4+-0.49 41.5+-1.36 67.0+-0.23 67.4+-0.21",
        ),
        _row(
            "dkd",
            "DKD",
            "60.4+-0.82 55.1+-0.65 32.6+-0.65 48.6+-1.02 "
            "38.1+-0.43 57.2+-0.86 68.0+-0.17 69.2+-0.23",
        ),
        _row(
            "dist",
            "DIST",
            "61.1+-1.82 57.9+-0.57 29.8+-0.61 49.3+-0.29 "
            "38.5+-0.39 58.9+-0.45 68.3+-0.21 67.8+-0.18",
        ),
        _row(
            "nkd",
            "NKD",
            "60.6+-0.64 56.1+-0.68 32.9+-0.32 52.2+-0.62 "
            "39.2+-0.52 59.3+-0.40 67.2+-0.26 68.5+-0.16",
        ),
        _row(
            "c2kd-top",
            "Ours (dagger)",
            "62.4+-0.24 60.5+-0.37 34.2+-0.28 54.5+-0.22 "
            "40.8+-0.23 61.6+-0.34 68.2+-0.09 69.8+-0.16",
        ),
        _row(
            "c2kd",
            "Ours (double dagger)",
            "62.8+-0.28 61.4+-0.44 34.7+-0.23 54.9+-0.16 "
            "40.9+-0.31 61.9+-0.27 68.8+-0.15 70.1+-0.12",
        ),
    ),
    notes=(_DEVIATION_OF_DIST, _IMAGE_ALONE, _TEXT_TAUGHT),
)

_TABLE_4 = PaperTable(
    number=4,
    title="Comparison on segmentation in colour and depth",
    columns=_NYU_DEPTH,
    rows=(
        _row(
            BASELINE, "w/o KD", "36.1 30.5 36.1 31.2 36.3 30.5", reference=None
        ),
        _row("kd", "KD", "35.8 30.9 36.2 31.9 36.5 31.8"),
        _row("shake", "SHAKE", "37.1 31.2 37.0 32.7 37.1 32.9"),
        _row("dist", "DIST", "36.9 32.0 36.5 32.9 36.8 33.1"),
        _row("nkd", "NKD", "36.5 30.8 36.4 32.2 36.4 32.7"),
        _row("cirkd", "CIRKD", "37.3 32.6 36.9 32.7 36.7 33.4"),
        _row("c2kd", "Ours", "37.5 32.5 37.2 32.8 37.4 33.1"),
        _row("c2kd+dist", "Ours + DIST", "38.1 33.2 37.7 33.5 37.9 33.7"),
    ),
    metric="mean_iou",
    notes=(
        "The underlined numbers are the best of the compared methods, not the "
        "second best of all; without DIST, Ours is below one of them for each "
        "depth student.",
    ),
)

_TABLE_5 = PaperTable(
    number=5,
    title="Ablation of the modules",
    columns=_AVE + _VGGSOUND + _CRISIS_MMD,
    rows=(
        _row(BASELINE, "(e)", "31.6 52.8 38.7 59.4 66.7 68.1", reference=None),
        _row("c2kd-a", "(a)", "32.3 46.6 38.5 56.3 66.3 69.2"),
        _row("c2kd-b", "(b)", "32.7 47.9 38.8 57.6 67.3 69.2", marks=("BD",)),
        _row(
            "c2kd-c",
            "(c)",
            "34.6 54.3 40.4 61.5 68.5 69.8",
            marks=("OFS", "NT", "BD"),
        ),
        _row(
            "c2kd-nt",
            "NT + BD",
            "33.2 52.9 39.4 60.3 67.9 68.9",
            marks=("NT", "BD"),
        ),
        _row(
            "c2kd-ofs",
            "OFS + BD",
            "34.4 52.5 40.0 59.9 68.0 69.5",
            marks=("OFS", "BD"),
        ),
        _row(
            "c2kd",
            "(d)",
            "34.7 54.9 40.9 61.9 68.8 70.1",
            marks=("Proxy", "OFS", "NT", "BD"),
        ),
    ),
    marks=("Proxy", "OFS", "NT", "BD"),
    notes=(_IMAGE_ALONE, _TEXT_TAUGHT),
)

_TABLE_6 = PaperTable(
    number=6,
    title="Self-distillation",
    columns=_AVE + _VGGSOUND + _CRISIS_MMD,
    rows=(
        _row(
            BASELINE, "w/o KD", "31.6 52.8 38.7 59.4 66.1 68.1", reference=None
        ),
        _row("dlb", "DLB", "32.6 53.3 39.1 60.2 66.9 68.6"),
        _row("zipf-kd", "ZipfKD", "33.3 53.5 40.2 60.3 67.4 68.9"),
        _row("uskd", "USKD", "33.1 53.2 40.0 60.1 67.1 69.0"),
        _row("c2kd", "Ours", "34.7 54.9 40.9 61.9 68.8 70.1"),
    ),
    notes=(_IMAGE_ALONE,),
)

# The teacher's numbers are in italics: each student, then its teacher.
_TABLE_7 = PaperTable(
    number=7,
    title="Multimodal teachers",
    columns=_with_teachers(_AVE + _VGGSOUND),
    rows=(
        _row(
            "nkd",
            "NKD",
            "32.9 52.8 52.2 31.6 39.2 59.4 59.3 38.7",
            reference=None,
        ),
        _row(
            "concat",
            "NKD +Cat",
            "34.0 59.6 52.0 60.2 39.9 62.9 59.9 63.2",
            reference="nkd",
        ),
        _row(
            "film",
            "NKD +FiLM",
            "33.2 57.4 51.7 57.6 39.0 62.1 58.6 62.8",
            reference="nkd",
        ),
        _row(
            "ogm",
            "NKD +OGM",
            "33.6 60.9 52.7 61.6 40.2 65.2 59.8 64.3",
            reference="nkd",
        ),
        _row(
            "c2kd",
            "Ours",
            "34.7 54.2 54.9 34.6 40.9 59.0 61.9 41.6",
            reference="nkd",
        ),
    ),
)

TABLES = {
    table.number: table
    for table in (
        _TABLE_1,
        _TABLE_2,
        _TABLE_3,
        _TABLE_4,
        _TABLE_5,
        _TABLE_6,
        _TABLE_7,
    )
}
