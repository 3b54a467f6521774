"""A plot with two axes as SVG, drawn by hand: a page must hold itself, and 357 points should stay small.

Colours and lines are classes of the page's style (build/core/pages.py) and follow the dark.
"""

import html
import math
from collections.abc import Sequence

LEFT, RIGHT, TOP, BOTTOM = 44, 10, 10, 34  # room for ticks and names
COLOURS = 6  # classes c0 … c5
LABEL = 13  # height of a line of 12 px
# Widths of letters of 12 px in DejaVu Sans, among the widest of those that `system-ui` may be.
NARROW, LETTER, CAPITAL, WIDE = 5.0, 7.7, 9.5, 12.0
NARROW_LETTERS, WIDE_LETTERS = frozenset("fijlrtIJ .,:;'!|()[]-/"), frozenset("mwMWOQ@%+=<>~")


class Panel:
    """One plot; what lies beyond the ends of an axis is drawn at its end."""

    def __init__(
        self,
        x: tuple[float, float],
        y: tuple[float, float],
        x_name: str,
        y_name: str,
        *,
        width: int = 320,
        height: int = 250,
        log_y: bool = False,
    ) -> None:
        """Draw the axes; `x` and `y` are the ends of the data. `log_y` needs values above zero."""
        self.width, self.height, self.log_y = width, height, log_y
        self.unnamed: list[str] = []  # labels for which there was no room
        self._taken: list[tuple[float, float, float]] = []  # left, base and width of each label
        self.x_ends, self.y_ends = roomy(*x), _roomy_log(*y) if log_y else roomy(*y)
        bottom, right = height - BOTTOM, width - RIGHT
        middle = (TOP + bottom) / 2
        self.parts = [
            f'<path class="axis" d="M{LEFT} {TOP}V{bottom}H{right}"/>',
            f'<text class="name" x="{(LEFT + right) / 2}" y="{height - 4}" text-anchor="middle">{_text(x_name)}</text>',
            f'<text class="name" x="11" y="{middle}" text-anchor="middle" transform="rotate(-90 11 {middle})">'
            f"{_text(y_name)}</text>",
        ]
        for value in ticks(*self.x_ends):
            at = self.x(value)
            self.parts.append(f'<text class="tick" x="{at}" y="{bottom + 14}" text-anchor="middle">{value:g}</text>')
        for value in log_ticks(*self.y_ends) if log_y else ticks(*self.y_ends):
            at = self.y(value)
            self.parts.append(f'<path class="grid" d="M{LEFT} {at}H{right}"/>')
            self.parts.append(f'<text class="tick" x="{LEFT - 4}" y="{at + 4}" text-anchor="end">{value:g}</text>')

    def x(self, value: float) -> float:
        """Return the place of a value, from the left."""
        low, high = self.x_ends
        share = (min(max(value, low), high) - low) / (high - low)
        return round(LEFT + share * (self.width - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        """Return the place of a value, from the top."""
        low, high = self.y_ends
        value = min(max(value, low), high)
        if self.log_y:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return round(self.height - BOTTOM - (value - low) / (high - low) * (self.height - TOP - BOTTOM), 1)

    def line(self, xs: Sequence[float], ys: Sequence[float], kind: str) -> None:
        """Draw a line through points; `kind` is a class of the page's style."""
        points = "L".join(f"{self.x(x):g} {self.y(y):g}" for x, y in zip(xs, ys, strict=True))
        self.parts.append(f'<path class="{kind}" d="M{points}"/>')

    def points(self, xs: Sequence[float], ys: Sequence[float], kind: str) -> None:
        """Draw dots: a path of steps without length, whose round ends are the dots."""
        steps = "".join(f"M{self.x(x):g} {self.y(y):g}h0" for x, y in zip(xs, ys, strict=True))
        self.parts.append(f'<path class="dots {kind}" d="{steps}"/>')

    def circle(self, x: float, y: float, kind: str) -> None:
        """Draw one large dot."""
        self.parts.append(f'<circle class="{kind}" cx="{self.x(x):g}" cy="{self.y(y):g}" r="4"/>')

    def square(self, x: float, y: float, kind: str) -> None:
        """Draw a square."""
        left, top = self.x(x) - 4, self.y(y) - 4
        self.parts.append(f'<rect class="{kind}" x="{left:g}" y="{top:g}" width="8" height="8"/>')

    def text(self, x: float, y: float, text: str, kind: str = "") -> None:
        """Write beside a point, to whichever side there is more room; elsewhere near it where something stands.

        No label lies on another or leaves the frame; one for which there is no place is kept in `unnamed` instead.
        """
        at, base, wide = self.x(x), self.y(y) + 4, text_width(text)
        right = at < self.width * 0.6
        places = [
            (at + 8 if on_right else at - 8 - wide, base + LABEL * step, on_right)
            for on_right in (right, not right)
            for step in (0, 1, -1, 2, -2, 3, -3)
        ]
        free = next((place for place in places if self._is_free(place[0], place[1], wide)), None)
        if free is None:
            self.unnamed.append(text)
            return
        left, base, on_right = free
        self._taken.append((left, base, wide))
        place = f'x="{at + 8:g}"' if on_right else f'x="{at - 8:g}" text-anchor="end"'
        self.parts.append(f'<text class="label {kind}" {place} y="{base:g}">{_text(text)}</text>')

    def _is_free(self, left: float, base: float, wide: float) -> bool:
        inside = left >= LEFT and left + wide <= self.width and TOP + LABEL <= base <= self.height - BOTTOM
        return inside and not any(abs(base - b) < LABEL and left < x + w and x < left + wide for x, b, w in self._taken)

    def svg(self, label: str) -> str:
        """Return the picture; `label` says in words what it shows."""
        return (
            f'<svg viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{html.escape(label)}">'
            f"{''.join(self.parts)}</svg>"
        )


def text_width(text: str) -> float:
    """Return about how wide a label is, rather too much than too little."""

    def of(letter: str) -> float:
        if letter in WIDE_LETTERS or not letter.isascii():
            return WIDE
        if letter in NARROW_LETTERS:
            return NARROW
        return CAPITAL if letter.isupper() else LETTER

    return sum(map(of, text))


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Return round numbers between two ends: steps of 1, 2 or 5 times a power of ten."""
    step = (high - low) / about
    size = 10.0 ** math.floor(math.log10(step))
    step = next(size * k for k in (1, 2, 5, 10) if size * k >= step * (1 - 1e-9))
    return [round(step * k, 10) + 0.0 for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times the powers of ten between two ends; where fewer than two fit, round numbers."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    kept = [k * 10.0**power for power in powers for k in (1, 2, 5) if low <= k * 10.0**power <= high]
    return kept if len(kept) > 1 else ticks(low, high, 3)


def legend(names: Sequence[str]) -> str:
    """Say which colour is which."""
    return (
        '<p class="legend small">'
        + " ".join(f'<span><i class="c{i % COLOURS}"></i>{_text(name)}</span>' for i, name in enumerate(names))
        + "</p>"
    )


def roomy(low: float, high: float) -> tuple[float, float]:
    """Return the ends of an axis that shows its data with some air; a single value gets some too."""
    room = 0.04 * (high - low) if high > low else max(abs(low), 1.0) * 0.04
    return low - room, high + room


def _roomy_log(low: float, high: float) -> tuple[float, float]:
    low, high = roomy(math.log(low), math.log(high))
    return math.exp(low), math.exp(high)


def _text(value: str) -> str:
    return html.escape(value)
