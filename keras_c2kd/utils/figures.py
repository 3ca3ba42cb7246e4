"""The one style of all figures: methods' looks, text, backgrounds, PNG files.

A method has one colour and one marker in every figure. The colours are those
of Okabe and Ito and of Paul Tol that colour-blind readers tell apart and that
have a contrast of about 3 or more to white as well as to the dark background:
a method keeps its colour on both. Text needs more contrast than any one colour
has on both, so that a figure is drawn for one of them, `dark=False` or `True`,
and brings its background along.
"""

import dataclasses
import io
import os
import re
import zlib
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_c2kd.utils.atomic_files import write_atomically
from keras_c2kd.utils.optional_imports import import_optional

# Lines that are no methods' (metrics, modalities, networks), for grey prints
# told apart by lightness and marker as well as by hue.
STYLES = (
    {"color": "#000000", "marker": "o"},
    {"color": "#d55e00", "marker": "s"},
    {"color": "#56b4e9", "marker": "^"},
    {"color": "#009e73", "marker": "D"},
    {"color": "#cc79a7", "marker": "v"},
    {"color": "#994455", "marker": "P"},
    {"color": "#0072b2", "marker": "X"},
    {"color": "#999999", "marker": "*"},
    {"color": "#882255", "marker": "<"},
    {"color": "#999933", "marker": ">"},
)

_GREY, _VERMILION, _BLUE, _GREEN = "#747474", "#d55e00", "#0072b2", "#009e73"
_PURPLE, _SKY, _OLIVE, _WINE = "#cc79a7", "#6699cc", "#999933", "#994455"

# The methods that are seen together most often have a colour of their own.
_LOOKS = {
    "alone": (_GREY, "o"),
    "self_training": (_OLIVE, "s"),
    "pseudo_labels": (_SKY, "^"),
    "kd": (_BLUE, "D"),
    "dkd": (_GREEN, "v"),
    "dml": (_PURPLE, "P"),
    "c2kd": (_VERMILION, "*"),
    "ensemble": (_WINE, "X"),
    "fitnet": (_BLUE, "o"),
    "review_kd": (_GREEN, "s"),
    "rkd": (_OLIVE, "D"),
    "nkd": (_SKY, "v"),
    "dist": (_WINE, "P"),
    "shake": (_PURPLE, "X"),
    "cirkd": (_GREEN, "o"),
    "zipf_kd": (_PURPLE, "s"),
    "uskd": (_SKY, "D"),
    "dlb": (_OLIVE, "^"),
    "concat": (_BLUE, "^"),
    "film": (_OLIVE, "v"),
    "ogm": (_PURPLE, "o"),
    "ogm_ge": (_SKY, "s"),
}
_ALIASES = {
    "supervised": "alone",
    "without_kd": "alone",
    "w/o KD": "alone",
    "KnowledgeDistillation": "kd",
    "MultimodalTeacher": "concat",
}
_MEMBERS = {"tckd": "dkd", "nckd": "dkd"}
# For members of a family, and for methods of the user's own.
_MORE_MARKERS = ("<", ">", "p", "h", "d", "8", "H")
_MORE_LINES = ("--", "-.", ":")
# Neither the baseline's colour nor C2KD's.
_MORE_COLOURS = (_BLUE, _GREEN, _PURPLE, _SKY, _OLIVE, _WINE)
_DARK, _LIGHT = "#0d1117", "#ffffff"
_TEXT_SIZE = 12


def _letters(name: str) -> list[str]:
    return re.findall("[a-z0-9]+", name.lower())


_KNOWN = {"".join(_letters(name)): name for name in _LOOKS}
_KNOWN |= {"".join(_letters(name)): known for name, known in _ALIASES.items()}
_KNOWN |= _MEMBERS


@dataclasses.dataclass(frozen=True)
class MethodStyle:
    """The look of a method.

    Attributes:
        color: String, `"#rrggbb"`.
        marker: String, matplotlib's name of a marker.
        linestyle: String, matplotlib's name of a line style.
    """

    color: str
    marker: str
    linestyle: str


def method_family(name: str) -> tuple[str | None, bool]:
    """Return which method a name begins with, and whether that is all of it.

    Args:
        name: Name of a method: `"c2kd"`, or a member of its family, such as
            `"c2kd-b"` or `"C2KD(cross_modal_weight=2.0)"`.

    Returns:
        The method's name, such as `"c2kd"`, or None for one that is not
        known; and whether the name has nothing besides.
    """
    words = _letters(name)
    for count in range(len(words), 0, -1):
        start = "".join(words[:count])
        if start in _KNOWN:
            is_all = count == len(words) and start not in _MEMBERS
            return _KNOWN[start], is_all
    return None, False


def method_style(name: str) -> MethodStyle:
    """Return the look that a method has in every figure.

    A member of a family has its family's colour with a marker and a line of
    its own; a method that is not known has a look that follows from its name.

    Args:
        name: Name of the method.
    """
    family, is_all = method_family(name)
    number = zlib.crc32(name.encode())
    color = _MORE_COLOURS[number % len(_MORE_COLOURS)]
    marker = _MORE_MARKERS[number // 8 % len(_MORE_MARKERS)]
    linestyle = "-" if family is None else _MORE_LINES[number % 3]
    if family is not None:
        color, own_marker = _LOOKS[family]
        if is_all:
            marker, linestyle = own_marker, "-"
    return MethodStyle(color, marker, linestyle)


def assign_styles(methods: Iterable[str]) -> dict[str, dict[str, str]]:
    """Give each method of a figure its look, the same one in all figures.

    Of methods that would look alike, those that are not known by name take
    the next free marker of their colour.

    Args:
        methods: Names of the methods.

    Returns:
        Dict from each name to `color` and `marker`, arguments of matplotlib.
    """
    styles = {name: method_style(name) for name in methods}
    own = {name for name in styles if method_family(name)[1]}
    taken = {(styles[name].color, styles[name].marker) for name in own}
    markers = {name: styles[name].marker for name in styles}
    # Sorted, so that the order in which they are given changes nothing.
    for name in sorted(styles.keys() - own):
        color, first = styles[name].color, styles[name].marker
        start = _MORE_MARKERS.index(first)
        turned = (*_MORE_MARKERS[start:], *_MORE_MARKERS[:start])
        free = [marker for marker in turned if (color, marker) not in taken]
        markers[name] = free[0] if free else first
        taken.add((color, markers[name]))
    return {
        name: {"color": style.color, "marker": markers[name]}
        for name, style in styles.items()
    }


def figure_style(dark: bool = False) -> AbstractContextManager[None]:
    """Return the context in which a figure is drawn and saved.

    All its text has 12 points, and no name is read as mathematics.

    Args:
        dark: Whether the background is dark. Defaults to `False`, white.
    """
    ground, ink = (_DARK, "#e6edf3") if dark else (_LIGHT, "#1f2328")
    sizes = (
        *("font.size", "axes.titlesize", "axes.labelsize", "figure.labelsize"),
        *("legend.fontsize", "xtick.labelsize", "ytick.labelsize"),
    )
    inks = (
        *("text.color", "axes.titlecolor", "axes.labelcolor", "xtick.color"),
        *("axes.edgecolor", "ytick.color", "legend.labelcolor"),
    )
    settings: dict[str, Any] = {
        **dict.fromkeys(sizes, _TEXT_SIZE),
        **dict.fromkeys(inks, ink),
        "figure.facecolor": ground,
        "axes.facecolor": ground,
        "savefig.facecolor": "auto",
        "grid.color": "#3d444d" if dark else "#d8dee4",
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "text.parse_math": False,
        "text.usetex": False,
    }
    matplotlib = import_optional("matplotlib", "compare", "Drawing a figure")
    context: AbstractContextManager[None] = matplotlib.rc_context(settings)
    return context


def wrap_text(text: str, inches: float) -> str:
    """Break a text into lines that are no wider than this in a figure.

    Lines end at spaces and behind punctuation, and elsewhere only within
    words that are wider than a line.

    Args:
        text: String, of the size that `figure_style` sets.
        inches: Float, the greatest width.
    """
    purpose = "Drawing a figure"
    paths = import_optional("matplotlib.textpath", "compare", purpose)
    fonts = import_optional("matplotlib.font_manager", "compare", purpose)
    font = fonts.FontProperties(size=_TEXT_SIZE)
    measure = paths.text_to_path.get_text_width_height_descent
    lines = [""]
    # Words with the punctuation behind them; those that are too long, cut.
    for word in re.findall(r"(?:[^\W_]|\.)*[\W_]*", text):
        letters = [word]
        if measure(word.rstrip(), font, False)[0] > 72 * inches:
            letters = list(word)
        for letter in letters:
            longer = lines[-1] + letter
            width = measure(longer.rstrip(), font, False)[0]
            if lines[-1] and width > 72 * inches:
                lines.append(letter)
            else:
                lines[-1] = longer
    return "\n".join(line.strip() for line in lines)


def figure_class() -> Any:
    """Return matplotlib's `Figure`, which leaves pyplot's state alone."""
    return import_optional(
        "matplotlib.figure", "compare", "Drawing a figure"
    ).Figure


def new_figure(
    columns: int, rows: int = 1, width: float = 4.0, height: float = 3.0
) -> tuple[Any, list[Any]]:
    """Return a figure and its panels."""
    figure = figure_class()(
        figsize=(width * columns, height * rows), layout="constrained"
    )
    panels = figure.subplots(rows, columns, squeeze=False)
    return figure, list(panels.flat)


def write_cells(panel: Any, values: NDArray[Any]) -> None:
    """Write the numbers of a matrix on its picture in grey, from 0 to 1."""
    for (row, column), value in np.ndenumerate(values):
        panel.text(
            column,
            row,
            f"{value:.2f}",
            ha="center",
            va="center",
            color="white" if value > 0.5 else "black",
        )


def save_figure(figure: Any, path: str | os.PathLike[str]) -> None:
    """Write a figure as a PNG file."""
    write_atomically(path, as_png(figure))


def as_png(figure: Any) -> bytes:
    """Return a figure as the bytes of a PNG file."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=150)
    return file.getvalue()
