"""Several ways of doing one thing, measured in turn; `bench/pairs.py` is the same for two that are only timed."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.budget import rounds as rounds_in_time


def in_turn(sides: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Call every side once per round, each round beginning with another one; return what each returned (seconds).

    Fewer rounds where the time is short (bench/budget.py).
    """
    names = list(sides)
    found: dict[str, list[float]] = {name: [] for name in names}
    for number in rounds_in_time(rounds):
        first = number % len(names)
        for name in (*names[first:], *names[:first]):
            found[name].append(sides[name]())
    return found


def fitted_line(x: Sequence[float], y: Sequence[float], x_label: str, y_label: str) -> dict[str, Any]:
    """Return points with the line y = intercept + slope * x through them, and how much of y's variance lies on it."""
    slope, intercept = statistics.linear_regression(x, y)
    rest = sum((b - intercept - slope * a) ** 2 for a, b in zip(x, y, strict=True))
    total = sum((b - statistics.fmean(y)) ** 2 for b in y)
    return {
        "x": list(x),
        "y": [round(value, 4) for value in y],
        "x_label": x_label,
        "y_label": y_label,
        "fit": {"slope": float(f"{slope:.4g}"), "intercept": float(f"{intercept:.4g}")},
        "r2": round(1 - rest / total, 4) if total else 1.0,
    }
