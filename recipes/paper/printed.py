"""The numbers that the paper prints in its Tables 1 to 7, as data.

`printed.csv` has a line a row of a table, as the paper prints it: `-` where it
has no number, and what stands behind a +- with it (the paper does not say what
that is; three seeds were run).
"""

import dataclasses
import pathlib

import pandas as pd

# What a number of a table is.
SCORE = "score"  # The student's test score, in percent.
TEACHER = "teacher"  # The teacher's, after the student's training.
TARGET_PROBABILITY = "target_probability"  # Mean of the label's class.

# A column of a table: one direction on one data set. A network deployed, and
# the teacher's modality and network.
COLUMN = ("data_set", "recipe", "student", "student_network")
COLUMN += ("teacher", "teacher_network", "of")


def _both_ways(data_set, recipe, first, second):
    return (
        (data_set, recipe, *first, *second, SCORE),
        (data_set, recipe, *second, *first, SCORE),
    )


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
_UNDERLINED = (
    "The underlined numbers are the best of the compared methods, not the "
    "second best of all; without DIST, Ours is below one of them for each "
    "depth student."
)


@dataclasses.dataclass(frozen=True)
class PaperTable:
    """One table of the paper; `columns` have the parts that `COLUMN` names."""

    number: int
    title: str
    columns: tuple
    notes: tuple = ()
    metric: str = "accuracy"
    marks: tuple = ()

    @property
    def rows(self):
        """Data frame of `printed.csv`, a line a row of the table."""
        rows = _LINES[_LINES["table"] == str(self.number)]
        return rows.reset_index(drop=True)

    def cells(self, columns=None):
        """Return the cells of the table, a line each.

        The parts of a column (`COLUMN`); `row` and `column`, where it stands;
        `method`, `label`, `marks`; `reference`, the row that it is compared
        with, or `""`; `quantity`; `paper` and `paper_std` as fractions, NaN
        where the paper has none. `columns` of other data have no numbers.
        """
        lines = []
        for number, row in self.rows.iterrows():
            for place, column in enumerate(columns or self.columns):
                parts = dict(zip(COLUMN, column))
                quantity = row["quantity"] or parts["of"]
                scale = 1 if quantity == TARGET_PROBABILITY else 100
                text = "-" if columns else row[str(place + 1)]
                value, _, spread = text.partition("+-")
                lines.append(
                    {
                        **parts,
                        "row": number,
                        "column": place,
                        **row[["method", "label", "marks"]],
                        "reference": row["reference"],
                        "quantity": quantity,
                        "paper": float(value.replace("-", "nan")) / scale,
                        "paper_std": float(spread or "nan") / scale,
                    }
                )
        return pd.DataFrame(lines)

    def for_other_data(self, recipes):
        """Return the cells for other recipes, without the paper's numbers."""
        names = {column[1]: column[0] for column in self.columns}
        columns = [
            (
                names.get(one.name, one.name),
                one.name,
                *(student, one.network(student)),
                *(one.other(student), one.network(one.other(student))),
                quantity,
            )
            for one in recipes
            for student in one.modalities
            for quantity in dict.fromkeys(c[-1] for c in self.columns)
        ]
        return self.cells(columns)


_LINES = pd.read_csv(
    pathlib.Path(__file__).with_name("printed.csv"), dtype=str
).fillna("")
_SOUNDS = _AVE + _VGGSOUND
_MODULES = ("Proxy", "OFS", "NT", "BD")
# Each student, then its teacher, whose numbers are in italics.
_WITH_TEACHERS = tuple(
    (*column[:-1], of) for column in _SOUNDS for of in (SCORE, TEACHER)
)
_TITLES = (
    "Traditional distillation across modalities",
    "Modality imbalance and soft label misalignment",
    "Comparison on visual-audio and image-text data",
    "Comparison on segmentation in colour and depth",
    "Ablation of the modules",
    "Self-distillation",
    "Multimodal teachers",
)
_COLUMNS = (_SOUNDS, _SOUNDS, _CREMA_D + _SOUNDS + _CRISIS_MMD, _NYU_DEPTH)
_COLUMNS += (_SOUNDS + _CRISIS_MMD, _SOUNDS + _CRISIS_MMD, _WITH_TEACHERS)
# Where the paper contradicts itself.
_NOTES = {
    1: (_DEVIATION_OF_DIST,),
    3: (_DEVIATION_OF_DIST, _IMAGE_ALONE, _TEXT_TAUGHT),
    4: (_UNDERLINED,),
    5: (_IMAGE_ALONE, _TEXT_TAUGHT),
    6: (_IMAGE_ALONE,),
}
TABLES = {
    number: PaperTable(
        number,
        title,
        columns,
        _NOTES.get(number, ()),
        metric="mean_iou" if number == 4 else "accuracy",
        marks=_MODULES if number == 5 else (),
    )
    for number, (title, columns) in enumerate(zip(_TITLES, _COLUMNS), start=1)
}
