"""Plots as SVG: drawn by hand, since a page must hold itself and 357 points in five panels should stay small."""

import html
from collections.abc import Mapping, Sequence
from math import ceil, floor, log10

import numpy as np

COLOURS = 6  # classes c0 … c5 of the page's style
WIDTH, HEIGHT = 320, 250
LEFT, RIGHT, TOP, BOTTOM = 40, 10, 10, 34


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Return round numbers between two ends."""
    step = (high - low) / about
    size = 10 ** floor(log10(step))
    step = next(size * k for k in (1, 2, 5, 10) if size * k >= step)
    return [step * k for k in range(ceil(low / step), floor(high / step) + 1)]


class Panel:
    """One plot with two axes in grams."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float], x_name: str, y_name: str) -> None:
        """Draw the axes; `x` and `y` are the ends of the data."""
        self.x_ends, self.y_ends = _roomy(*x), _roomy(*y)
        bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
        self.parts = [
            f'<path class="axis" d="M{LEFT} {TOP}V{bottom}H{right}"/>',
            f'<text class="name" x="{(LEFT + right) / 2}" y="{HEIGHT - 4}" text-anchor="middle">{_text(x_name)}</text>',
            f'<text class="name" x="11" y="{(TOP + bottom) / 2}" text-anchor="middle" '
            f'transform="rotate(-90 11 {(TOP + bottom) / 2})">{_text(y_name)}</text>',
        ]
        for value in ticks(*self.x_ends):
            at = self._x(value)
            self.parts.append(f'<text class="tick" x="{at}" y="{bottom + 14}" text-anchor="middle">{value:g}</text>')
        for value in ticks(*self.y_ends):
            at = self._y(value)
            self.parts.append(f'<path class="grid" d="M{LEFT} {at}H{right}"/>')
            self.parts.append(f'<text class="tick" x="{LEFT - 4}" y="{at + 4}" text-anchor="end">{value:g}</text>')

    def _x(self, value: float) -> float:
        low, high = self.x_ends
        return round(LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT), 1)

    def _y(self, value: float) -> float:
        low, high = self.y_ends
        return round(HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM), 1)

    def line(self, xs: Sequence[float], ys: Sequence[float], kind: str) -> None:
        """Draw a line through points; `kind` is a class of the page's style."""
        points = "L".join(f"{self._x(x):g} {self._y(y):g}" for x, y in zip(xs, ys, strict=True))
        self.parts.append(f'<path class="{kind}" d="M{points}"/>')

    def points(self, xs: Sequence[float], ys: Sequence[float], kind: str) -> None:
        """Draw dots: a path of steps without length, whose round ends are the dots."""
        steps = "".join(f"M{self._x(x):g} {self._y(y):g}h0" for x, y in zip(xs, ys, strict=True))
        self.parts.append(f'<path class="dots {kind}" d="{steps}"/>')

    def svg(self, label: str) -> str:
        """Return the picture; `label` says in words what it shows."""
        return (
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(label)}">'
            f"{''.join(self.parts)}</svg>"
        )


def residual_panel(truth: np.ndarray, errors: np.ndarray, labels: np.ndarray, label: str) -> str:
    """Plot errors against truth, each (images,), a colour for each of the `labels` (images,)."""
    panel = Panel((0, float(truth.max())), _ends(errors), "truth, g", "error, g")
    panel.line(panel.x_ends, (0, 0), "zero")
    for i, name in enumerate(sorted(set(labels.tolist()))):
        own = labels == name
        panel.points(truth[own].tolist(), errors[own].tolist(), f"c{i % COLOURS}")
    return panel.svg(label)


def calibration_panel(predicted: Sequence[float], truth: Sequence[float], label: str) -> str:
    """Plot the mean truth of each bin against its mean prediction, beside the diagonal."""
    ends = _ends(np.array([*predicted, *truth, 0.0]))
    panel = Panel(ends, ends, "mean prediction, g", "mean truth, g")
    panel.line(ends, ends, "zero")
    panel.line(predicted, truth, "curve")
    panel.points(predicted, truth, "c0")
    return panel.svg(label)


def distribution_panel(samples: Mapping[str, Sequence[float]], shares: Sequence[float], label: str) -> str:
    """Plot quantiles of several samples, each at the same `shares`, as rising lines."""
    ends = _ends(np.array([value for values in samples.values() for value in values]))
    panel = Panel(ends, (0, 1), "g", "share of images below")
    for i, values in enumerate(samples.values()):
        panel.line(values, shares, f"curve c{i % COLOURS}")
        panel.points(values, shares, f"c{i % COLOURS}")
    return panel.svg(label)


def legend(names: Sequence[str]) -> str:
    """Say which colour is which."""
    return (
        '<p class="legend small">'
        + " ".join(f'<span><i class="c{i % COLOURS}"></i>{_text(name)}</span>' for i, name in enumerate(names))
        + "</p>"
    )


def _ends(values: np.ndarray) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _roomy(low: float, high: float) -> tuple[float, float]:
    room = 0.04 * (high - low) if high > low else 1.0
    return low - room, high + room


def _text(value: str) -> str:
    return html.escape(value)
