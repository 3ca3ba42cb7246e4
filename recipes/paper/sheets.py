"""Tables of text in four forms: terminal, Markdown, LaTeX and CSV.

Entries are Markdown: `**best**` and `<u>second</u>`; `+-` and minus signs are
typeset in LaTeX.
"""

import re
import textwrap

from keras_c2kd.utils.atomic_files import write_atomically

ENDINGS = ("txt", "md", "csv", "tex")
_BEST, _SECOND = r"\*\*(.+?)\*\*", r"<u>(.+?)</u>"
_LATEX_SIGNS = re.compile(r"([&%$#_{}])")


def as_text(title, frame, notes=()):
    """Return plain text in columns, a `1` or `2` behind the best two."""
    frame = frame.replace({_BEST: r"\1 (1)", _SECOND: r"\1 (2)"}, regex=True)
    table = frame.to_markdown(
        index=False, tablefmt="simple", disable_numparse=True
    )
    lines = [
        line
        for note in notes
        for line in textwrap.wrap(note, 79, subsequent_indent="  ")
    ]
    return "\n".join([title, "", table, *lines]) + "\n"


def as_markdown(title, frame, notes=()):
    """Return a Markdown table with notes below."""
    table = frame.to_markdown(index=False, disable_numparse=True)
    below = "".join(f"- {note}\n" for note in notes)
    return f"### {title}\n\n{table}\n" + f"\n{below}" * bool(notes)


def as_latex(title, frame, notes=()):
    r"""Return a LaTeX table; it needs `\usepackage{booktabs}`."""
    style = frame.style.hide(axis="index").format(escape="latex")
    style = style.format_index(escape="latex", axis="columns")
    caption = " ".join([f"{title}.", *notes])
    text = style.to_latex(
        hrules=True,
        position_float="centering",
        environment="table",
        caption=_LATEX_SIGNS.sub(r"\\\1", caption),
    )
    text = re.sub(_BEST, r"\\textbf{\1}", text)
    text = re.sub(_SECOND, r"\\underline{\1}", text).replace("+-", r"$\pm$")
    # Minus signs, not hyphens and not what stands between two numbers.
    return re.sub(r"(?<![\w.])-(?=\d)", "$-$", text)


def as_csv(frame):
    """Return comma-separated values, with no text that is a formula."""
    guarded = frame.map(
        lambda value: (
            f"'{value}"
            if isinstance(value, str) and len(value) > 1 and value[0] in "=+@"
            else value
        )
    )
    return guarded.to_csv(index=False, lineterminator="\n")


def write(folder, stem, sheets, numbers, before="", endings=ENDINGS):
    """Print `(title, frame, notes)` sheets; write them and all numbers."""
    text = "\n".join(as_text(*sheet) for sheet in sheets)
    page = before + "\n".join(as_markdown(*sheet) for sheet in sheets)
    latex = "\n".join(as_latex(*sheet) for sheet in sheets)
    forms = dict(zip(ENDINGS, (text, page, as_csv(numbers), latex)))
    for ending in endings:
        write_atomically(folder / f"{stem}.{ending}", forms[ending])
    print(f"\n{text}\nWritten: {stem}.{', .'.join(endings)} in {folder}")
