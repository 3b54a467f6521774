"""The HTML pages that the kit writes: no script, nothing loaded, readable on a phone and in the dark.

A page is a template beside the module that knows its content. Every value is escaped where it enters; `Markup`, which
is not, is only what a template or matplotlib made.
"""

import base64
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from build.core.errors import CheckFailed, Problem, UsageError

if TYPE_CHECKING:
    from jinja2 import Environment

ROOT = Path(__file__).resolve().parents[2]
COLOURS = ("#2a78b8", "#c9670a", "#2f8a4c", "#9a4fb5", "#8a7a10", "#c0405a")  # of states, folds, samples
NAME = 16  # characters: a longer heading without spaces may break at its underscores
LOADS = re.compile(
    r"<script|<iframe|<object|<embed|@import|<link(?![^>]*href=\"data:)|url\((?!#|data:)"
    r"|<[a-z]+[^>]*\s(?:src|srcset|poster|xlink:href)\s*=\s*(?![\"']?data:)",
    re.IGNORECASE,
)


def web_page(title: str, body: Markup) -> str:
    """Return a whole page; `title` is plain text and its first heading."""
    return str(render("build/core/page.html.jinja", title=title, body=body))


def render(template: str, **values: Any) -> Markup:
    """Fill a template, named by its path from the root."""
    return Markup(_environment().get_template(template).render(**values))


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(ROOT), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.filters |= {one.__name__: one for one in (anchor, breakable, dictlist, flat, fmt, interval, into, short)}
    made.globals |= {"colour": colour, "thumbnail": thumbnail}
    return made


def fmt(value: Any, spec: str, missing: str = "–") -> str:
    """Write a number, or what stands for none."""
    return missing if value is None else format(value, spec)


def interval(value: Any, spec: str, ends: str = "") -> str:
    """Write `estimate [low, high]`; the ends in the format `ends`, if they have one of their own."""
    if value is None:
        return "–"
    return f"{value.estimate:{spec}} [{value.low:{ends or spec}}, {value.high:{ends or spec}}]"


def dictlist(values: Mapping[str, Any], between: str) -> str:
    """Write `name value, name value` of the values that are there."""
    return ", ".join(f"{name}{between}{value}" for name, value in values.items() if value)


def flat(cells: Iterable[Any]) -> Iterator[Any]:
    """Return the cells of a row of which some are given together."""
    for cell in cells:
        if isinstance(cell, Iterable) and not isinstance(cell, str):
            yield from cell
        else:
            yield cell


def into(value: object, pattern: str) -> str:
    """Put a value where a pattern has `{}`."""
    return pattern.format(value)


def short(target: str) -> str:
    """Return a target's name for a narrow heading."""
    from kernel_src.competitions.held_reviews import review

    return review().short(target)


def anchor(title: str) -> str:
    """Return what a link to a section names."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def breakable(heading: str) -> Markup:
    """Let a long name break at its underscores, so that no column is wider than its numbers need."""
    text = escape(heading)
    return text.replace("_", Markup("_<wbr>")) if len(heading) > NAME and " " not in heading else text


def colour(number: int) -> str:
    """Return the colour of the thing with this number in a plot."""
    return COLOURS[number % len(COLOURS)]


def require_place(page: Path | None) -> None:
    """Make sure, before anything is computed, that a page can be written where it was asked for; None: nowhere.

    Raises:
        UsageError: there is no such folder.
    """
    if page is not None and not page.parent.is_dir():
        raise UsageError(f"no folder {page.parent} for the page")


def find_loads(page: str) -> list[str]:
    """Return each place where a page would load something or run a script, with what follows it."""
    return [page[found.start() : found.start() + 80] for found in LOADS.finditer(page)]


def thumbnail(path: Path, width_px: int = 480, quality: int = 70) -> str:
    """Return a photograph as a small JPEG in a data URI.

    Raises:
        CheckFailed: it cannot be read.
    """
    import cv2

    from kernel_src.data.images import ImageError, read_rgb

    try:
        rgb = read_rgb(path, (width_px // 2, width_px))
    except ImageError as error:
        raise CheckFailed([Problem(what=str(error))]) from None
    height, width = rgb.shape[:2]
    if width > width_px:
        rgb = cv2.resize(rgb, (width_px, max(1, round(height * width_px / width))), interpolation=cv2.INTER_AREA)
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    written, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert written
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode('ascii')}"
