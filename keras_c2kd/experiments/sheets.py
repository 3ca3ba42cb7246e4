"""Tables of text, written for the terminal, Markdown, LaTeX and CSV."""

import csv
import dataclasses
import io
import re
import textwrap

BEST, SECOND = "best", "second"


@dataclasses.dataclass(frozen=True)
class Entry:
    """One entry of a table.

    Attributes:
        text: String; `+-` and minus signs are typeset in LaTeX.
        style: `"best"` (bold), `"second"` (underlined) or `""`.
    """

    text: str
    style: str = ""


@dataclasses.dataclass(frozen=True)
class Sheet:
    """One table of text.

    Attributes:
        title: String.
        header: Tuple of strings.
        rows: Tuple of tuples of `Entry`, as long as the header.
        notes: Tuple of strings, one a line below the table.
    """

    title: str
    header: tuple
    rows: tuple
    notes: tuple = ()


def as_terminal(sheets):
    """Return plain text in columns, a `1` or `2` behind the best two.

    Args:
        sheets: List of `Sheet`.
    """
    blocks = []
    for sheet in sheets:
        rows = [[one_line(text) for text in sheet.header]]
        marks = {BEST: " (1)", SECOND: " (2)"}
        rows += [
            [one_line(entry.text) + marks.get(entry.style, "") for entry in row]
            for row in sheet.rows
        ]
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines = [
            "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows
        ]
        lines.insert(1, "  ".join("-" * width for width in widths))
        for note in sheet.notes:
            lines += textwrap.wrap(one_line(note), 79, subsequent_indent="  ")
        blocks.append("\n".join([one_line(sheet.title), *lines]))
    return "\n\n".join(blocks) + "\n"


def as_markdown(sheets):
    """Return Markdown tables, the best in bold, the second underlined.

    Args:
        sheets: List of `Sheet`.
    """
    marks = {BEST: "**{}**", SECOND: "<u>{}</u>"}
    blocks = []
    for sheet in sheets:
        rows = [list(map(markdown_text, sheet.header))]
        rows += [
            [
                marks.get(entry.style, "{}").format(markdown_text(entry.text))
                for entry in row
            ]
            for row in sheet.rows
        ]
        lines = [f"| {' | '.join(row)} |" for row in rows]
        lines.insert(1, "|---" * len(sheet.header) + "|")
        blocks.append(
            f"### {markdown_text(sheet.title)}\n\n" + "\n".join(lines)
        )
        if sheet.notes:
            notes = [f"- {markdown_text(note)}" for note in sheet.notes]
            blocks.append("\n".join(notes))
    return "\n\n".join(blocks) + "\n"


def as_latex(sheets):
    r"""Return LaTeX tables; they need `\usepackage{booktabs}`.

    Args:
        sheets: List of `Sheet`.
    """
    marks = {BEST: r"\textbf{%s}", SECOND: r"\underline{%s}"}
    blocks = []
    for sheet in sheets:
        rows = [
            [marks.get(entry.style, "%s") % _latex(entry.text) for entry in row]
            for row in sheet.rows
        ]
        header = " & ".join(map(_latex, sheet.header))
        body = [f"{' & '.join(row)} \\\\" for row in rows]
        notes = "".join(f" {_latex(note)}" for note in sheet.notes)
        blocks.append(
            "\n".join(
                [
                    r"\begin{table}",
                    r"\centering\footnotesize",
                    r"\begin{tabular}{" + "l" * len(sheet.header) + "}",
                    r"\toprule",
                    f"{header} \\\\",
                    r"\midrule",
                    *body,
                    r"\bottomrule",
                    r"\end{tabular}",
                    f"\\caption{{{_latex(sheet.title)}.{notes}}}",
                    r"\end{table}",
                ]
            )
        )
    return "\n\n".join(blocks) + "\n"


def as_csv(rows):
    """Return comma-separated values of rows with the same keys.

    Args:
        rows: List of dicts from the column to a string, number or None (left
            empty). A text that a spreadsheet would take for a formula, such
            as `+KRC`, begins with an apostrophe.
    """
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _plain(value) for key, value in row.items()})
    return file.getvalue()


def _plain(value):
    """Return a text that no spreadsheet takes for a formula."""
    if not isinstance(value, str):
        return value
    text = one_line(value)
    try:
        float(text)
    except ValueError:
        is_formula = len(text) > 1 and text[0] in "=+-@"
        return f"'{text}" if is_formula else text
    return text


def one_line(text):
    """Return printable text on one line."""
    printable = (c if c.isprintable() else " " for c in str(text))
    return " ".join("".join(printable).split())


def markdown_text(text):
    """Return text that Markdown shows as it is."""
    text = one_line(text)
    for character in "\\`*_[]|~":
        text = text.replace(character, "\\" + character)
    return text.replace("<", "&lt;").replace(">", "&gt;")


_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "%": r"\%",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    # After the end of a row, a bracket would be read as an option.
    "[": "{[}",
    "]": "{]}",
}


def _latex(text):
    """Return text that LaTeX shows as it is."""
    escaped = "".join(_LATEX.get(c, c) for c in one_line(text))
    escaped = escaped.replace("+-", r"$\pm$")
    # Minus signs, not hyphens and not what stands between two numbers.
    return re.sub(r"(?<![\w.])-(?=\d)", "$-$", escaped)
