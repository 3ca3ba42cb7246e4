"""The numbers that the paper prints in its Tables 1 to 7, as data.

`printed.csv` has a line a row of a table, as the paper prints it: `-` where it
has no number, and what stands behind a +- with it (the paper does not say what
that is; three seeds were run).
"""

import dataclasses
import math
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
    """One table of the paper.

    Attributes:
        number: Integer.
        title: String.
        columns: Tuple of tuples with the parts that `COLUMN` names.
        notes: Tuple of strings: where the paper contradicts itself.
        metric: Name of the recipes' metric.
        marks: Names of the modules that rows can have switched on.
    """

    number: int
    title: str
    columns: tuple
    notes: tuple = ()
    metric: str = "accuracy"
    marks: tuple = ()

    @property
    def source(self):
        """Where the numbers are printed."""
        return f"Huo et al., CVPR 2024, Table {self.number}"

    @property
    def rows(self):
        """Data frame of `printed.csv`, a line a row of the table."""
        rows = _LINES[_LINES["table"] == str(self.number)]
        return rows.reset_index(drop=True)

    def cells(self, columns=None):
        """Return the cells of the table, a line each.

        Args:
            columns: Columns of other data, in place of the paper's and
                without its numbers; None (default).

        Returns:
            Data frame with the parts of a column (`COLUMN`), `row` and
            `column` (where it stands), `method`, `label`, `reference` (the
            row that it is compared with, or ""), `marks`, `quantity`, and
            `paper` and `paper_std` as fractions of 1, NaN where it has none.
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
                        "paper": math.nan if text == "-" else float(value),
                        "paper_std": float(spread) if spread else math.nan,
                    }
                )
                lines[-1]["paper"] /= scale
                lines[-1]["paper_std"] /= scale
        return pd.DataFrame(lines)

    def for_other_data(self, recipes):
        """Return the cells for other data sets, without the paper's numbers.

        Args:
            recipes: List of `Recipe`. Each gives its two directions with its
                default networks, and the teachers' if the table has them.
        """
        columns = [
            (
                {c[1]: c[0] for c in self.columns}.get(one.name, one.name),
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
_MODULES = ("Proxy", "OFS", "NT", "BD")

TABLES = {
    table.number: table
    for table in (
        PaperTable(
            1,
            "Traditional distillation across modalities",
            _AVE + _VGGSOUND,
            (_DEVIATION_OF_DIST,),
        ),
        PaperTable(
            2,
            "Modality imbalance and soft label misalignment",
            _AVE + _VGGSOUND,
        ),
        PaperTable(
            3,
            "Comparison on visual-audio and image-text data",
            _CREMA_D + _AVE + _VGGSOUND + _CRISIS_MMD,
            (_DEVIATION_OF_DIST, _IMAGE_ALONE, _TEXT_TAUGHT),
        ),
        PaperTable(
            4,
            "Comparison on segmentation in colour and depth",
            _NYU_DEPTH,
            (_UNDERLINED,),
            metric="mean_iou",
        ),
        PaperTable(
            5,
            "Ablation of the modules",
            _AVE + _VGGSOUND + _CRISIS_MMD,
            (_IMAGE_ALONE, _TEXT_TAUGHT),
            marks=_MODULES,
        ),
        PaperTable(
            6,
            "Self-distillation",
            _AVE + _VGGSOUND + _CRISIS_MMD,
            (_IMAGE_ALONE,),
        ),
        # Each student, then its teacher, whose numbers are in italics.
        PaperTable(
            7,
            "Multimodal teachers",
            tuple(
                (*column[:-1], quantity)
                for column in _AVE + _VGGSOUND
                for quantity in (SCORE, TEACHER)
            ),
        ),
    )
}
