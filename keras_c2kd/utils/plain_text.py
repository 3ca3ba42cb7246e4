"""Names that may come from others' files, shown as text and nothing else."""

import html


def printable(text: str) -> str:
    r"""Return a text without what steers a terminal.

    Args:
        text: String, of one or several lines.

    Example:
    >>> printable("clip\x1b[2J")
    'clip [2J'
    """
    return "".join(x if x.isprintable() or x == "\n" else " " for x in text)


def markdown_text(text: str) -> str:
    r"""Return a text, such as a name, that is text in a table of Markdown.

    Args:
        text: String.

    Example:
    >>> markdown_text("<b>|")
    '&lt;b&gt;\\|'
    """
    return html.escape(printable(text), quote=False).replace("|", r"\|")
