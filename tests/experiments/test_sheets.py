"""Tables of text with names that mean something to their format."""

import csv
import io

import pytest

from keras_c2kd.experiments.sheets import BEST
from keras_c2kd.experiments.sheets import SECOND
from keras_c2kd.experiments.sheets import Entry
from keras_c2kd.experiments.sheets import Sheet
from keras_c2kd.experiments.sheets import as_csv
from keras_c2kd.experiments.sheets import as_latex
from keras_c2kd.experiments.sheets import as_markdown
from keras_c2kd.experiments.sheets import as_terminal

pytestmark = pytest.mark.backend_free

HOSTILE = (
    "a|b",
    "100% & more_of #1 {x} ~ $5 ^2 \\end{document}",
    "<script>alert(1)</script>",
    "two\nlines\tand a \x1b[31mcolour",
    "*not bold* `code` [link](http://x)",
    '"quoted", with a comma',
    "[option]",
    "=HYPERLINK(1)",
)


def sheet_of(*texts, styles=("",)):
    rows = [(Entry(text, style),) for text in texts for style in styles]
    return Sheet("Title", ("name",), tuple(rows))


def unescaped_pipes(line):
    return line.replace("\\\\", "").replace("\\|", "").count("|")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_stays_one_cell(name):
    sheet = Sheet(name, (name, "b"), ((Entry(name), Entry("1")),), (name,))
    table = [x for x in as_markdown([sheet]).splitlines() if x.startswith("|")]
    assert [unescaped_pipes(line) for line in table] == [3, 3, 3]
    assert "<script>" not in as_markdown([sheet])
    lines = as_terminal([sheet]).splitlines()
    assert all(line.isprintable() for line in lines)
    assert lines[1].rstrip().endswith("b")
    latex = as_latex([sheet])
    body = latex.split(r"\midrule")[1].split(r"\bottomrule")[0].strip()
    assert body.count("&") - body.count(r"\&") == 1
    assert body.endswith(r"& 1 \\")
    assert latex.count(r"\end{document}") == 0
    written = as_csv(
        [{"name": name, "value": 1.5}, {"name": "x", "value": None}]
    )
    rows = list(csv.DictReader(io.StringIO(written)))
    assert [row["value"] for row in rows] == ["1.5", ""]
    assert rows[0]["name"].lstrip("'") == " ".join(
        "".join(c if c.isprintable() else " " for c in name).split()
    )


def test_latex_special_characters():
    text = as_latex([sheet_of('a_b & 50% {x} #1 $ ~ ^ \\ <|> "q"')])
    for expected in (
        r"a\_b \& 50\% \{x\} \#1 \$ \textasciitilde{} \textasciicircum{}",
        r"\textbackslash{} \textless{}\textbar{}\textgreater{} ''q''",
    ):
        assert expected in text


def test_latex_numbers():
    text = as_latex([sheet_of("-1.5 +- 0.2 [-3.0, +0.1], 0-2, re-view")])
    assert r"$-$1.5 $\pm$ 0.2 {[}$-$3.0, +0.1{]}, 0-2, re-view" in text


def test_a_row_of_latex_cannot_begin_with_an_option():
    """A bracket after the end of a row is read as its spacing."""
    text = as_latex([sheet_of("first", "[second]")])
    assert "\\\\\n{[}second{]} \\\\" in text


@pytest.mark.parametrize("text", ["=1+1", "+KRC", "-x", "@sum"])
def test_spreadsheets_see_no_formula(text):
    written = as_csv([{"label": text, "difference": -0.5}])
    assert written == f"label,difference\n'{text},-0.5\n"
    # Numbers and dashes are none.
    written = as_csv([{"label": "-0.2", "none": "-"}])
    assert written == "label,none\n-0.2,-\n"


def test_styles():
    sheet = sheet_of("9", styles=(BEST, SECOND, ""))
    assert [line.strip() for line in as_terminal([sheet]).splitlines()] == [
        "Title", "name", "-----", "9 (1)", "9 (2)", "9",
    ]  # fmt: skip
    assert "| **9** |\n| <u>9</u> |\n| 9 |" in as_markdown([sheet])
    assert "\\textbf{9} \\\\\n\\underline{9} \\\\\n9 \\\\" in as_latex([sheet])


def test_several_sheets_and_long_notes():
    sheets = [
        Sheet(title, ("a", "bb"), ((Entry("1"), Entry("2")),), ("word " * 40,))
        for title in ("One", "Two")
    ]
    text = as_terminal(sheets)
    assert text.index("One") < text.index("Two")
    assert max(map(len, text.splitlines())) <= 79
    assert as_markdown(sheets).count("### ") == 2
    assert as_latex(sheets).count(r"\begin{table}") == 2
    assert as_latex(sheets).count(r"\end{table}") == 2
