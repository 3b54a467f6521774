"""Plots as SVG within a page: matplotlib draws them, the page colours them, and they hold no link and no id.

matplotlib is imported where something is drawn: that takes half a second.
"""

import io
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Stand for the colours of the page's style, which follow the dark.
INK, PAPER, MILD, MARK, WARN = THEME = ("#000001", "#000002", "#000003", "#000004", "#000005")
NAMES = dict(zip(THEME, ("ink", "paper", "mild", "mark", "warn"), strict=True))
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 10, 34  # px around the axes
LABEL = 13  # px, height of a line of 12 px
STEPS = (0, 1, -1, 2, -2, 3, -3)  # lines that a name may stand above or below its point
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "i2b",
    "path.simplify": False,
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.alpha": 0.25,
    "axes.xmargin": 0.04,
    "axes.ymargin": 0.04,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"), INK),
    **dict.fromkeys(("axes.edgecolor", "grid.color"), MILD),
}
_DEFINITIONS, _TAG = re.compile(r"<defs>.*?</defs>", re.DOTALL), re.compile(r"<[^>]*>")
_SURPLUS = re.compile(r' id="[^"]*_\d+"| clip-path="[^"]*"| font-family: [^;"]*;| transform="rotate\(-0 [^"]*"| (?=\n)')


def plot(
    draw: Callable[["Axes"], object],
    label: str,
    x_name: str = "",
    y_name: str = "",
    *,
    width: int = 320,
    height: int = 250,
    left: int = LEFT,
) -> Markup:
    """Return a picture of `width` x `height` px; `label` says in words what it shows.

    What `draw` gives a `gid` has that as its class.
    """
    import matplotlib
    from matplotlib.figure import Figure

    written = io.StringIO()
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the browser has its own fonts
        figure = Figure((width / 72, height / 72), dpi=72, facecolor="none")
        size = (width - left - RIGHT) / width, (height - TOP - BOTTOM) / height
        axes = figure.add_axes((left / width, BOTTOM / height, *size), facecolor="none")
        axes.set(xlabel=x_name, ylabel=y_name)
        axes.yaxis.set_label_coords(14 / width, 0.5 + 12 / height, transform=figure.transFigure)
        draw(axes)
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    drawn = written.getvalue().partition("<svg")[2].partition(">")[2]
    opening = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(width, height, label)
    return opening + Markup(_TAG.sub(_plain, _DEFINITIONS.sub("", drawn)))


def _plain(tag: re.Match[str]) -> str:
    """Take out of a tag what a page would have twice, and let the page choose the colours."""
    kept = _SURPLUS.sub("", tag[0]).replace(" id=", " class=")
    for hue, name in NAMES.items():
        kept = kept.replace(hue, f"var(--{name})")
    return kept


def dots(
    axes: "Axes", xs: Sequence[float], ys: Sequence[float], colour: str, size: float = 4.5, **more: object
) -> None:
    """Draw dots as one path of lines without length: 357 points stay small."""
    x, y = (np.repeat(np.asarray(values, float), 3) for values in (xs, ys))
    x[2::3] = np.nan
    look: dict[str, Any] = {"color": colour, "alpha": 0.75, "solid_capstyle": "round", **more}
    axes.plot(x, y, linewidth=size, **look)


def log_scale(axes: "Axes") -> None:
    """Set the y axis to logarithms, with ticks at 1, 2 and 5 times the powers of ten, or round ones where few fit."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if high > 5 * low else MaxNLocator(3))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())


def name_points(axes: "Axes", points: Iterable[tuple[float, float, str, str]]) -> list[str]:
    """Write names beside points (x, y, name, colour), to whichever side has more room, elsewhere near where one stands.

    No name lies on another or leaves the axes; those without a place are returned instead.
    """
    axes.autoscale_view()
    frame, taken, unnamed = axes.bbox, list[tuple[float, float, float]](), []
    first, last, lowest, highest = frame.x0, frame.x1 + RIGHT, frame.y0, frame.y1 - LABEL
    for across, up, name, colour in points:
        (at, middle), wide = axes.transData.transform((across, up)), text_width(name)
        sides = (at + 8, at - 8 - wide)
        for left, step in ((left, step) for left in sides[:: 1 if at < 0.6 * last else -1] for step in STEPS):
            base = middle - 4 + LABEL * step
            inside = first <= left and left + wide <= last and lowest <= base <= highest
            if inside and all(abs(base - b) >= LABEL or left >= x + w or x >= left + wide for x, b, w in taken):
                axes.text(left, base, name, color=colour, transform=None, gid="label")
                taken.append((left, base, wide))
                break
        else:
            unnamed.append(name)
    return unnamed


@cache
def text_width(text: str) -> float:
    """Return about how wide 12 px of DejaVu Sans are, among the widest of what `system-ui` may be."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    return float(text_to_path.get_text_width_height_descent(text, FontProperties(size=12), False)[0]) + 2
