"""Two ways of doing one thing, measured in turn: what else runs on the machine then slows both alike."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from bench.budget import rounds

Work = Callable[[], object]
Clock = Callable[[], float]


def alternate(
    ours: Work, theirs: Work, pairs: int, *, warm_up: int = 1, clock: Clock = time.perf_counter
) -> tuple[list[float], list[float]]:
    """Run both `pairs` times, fewer where the time is short (bench/budget.py), and return their seconds.

    Which goes first changes from pair to pair; warm-up runs do not count.
    """
    for _ in range(warm_up):
        ours(), theirs()
    ours_s: list[float] = []
    theirs_s: list[float] = []
    for number in rounds(pairs):
        both = [(ours, ours_s), (theirs, theirs_s)]
        for work, seconds in both if number % 2 == 0 else both[::-1]:
            start = clock()
            work()
            seconds.append(clock() - start)
    return ours_s, theirs_s


def ratio(above_s: Sequence[float], below_s: Sequence[float]) -> dict[str, Any]:
    """Return the ratio of the medians, with the quartiles of the ratios within each pair as its spread.

    Below four pairs the spread is the smallest and the largest ratio.
    """
    each = sorted(above / below for above, below in zip(above_s, below_s, strict=True))
    low, high = each[0], each[-1]
    if len(each) >= 4:
        low, _, high = statistics.quantiles(each, n=4)
    return {
        "value": _figures(statistics.median(above_s) / statistics.median(below_s)),
        "n": len(each),
        "spread": [_figures(low), _figures(high)],
    }


def speedup(
    ours: Work, theirs: Work, pairs: int, *, warm_up: int = 1, clock: Clock = time.perf_counter
) -> dict[str, Any]:
    """Return how many times faster ours is, and the seconds of both.

    `time.process_time` as the clock suits work on one thread: it does not count the time that others had the core.
    """
    ours_s, theirs_s = alternate(ours, theirs, pairs, warm_up=warm_up, clock=clock)
    return ratio(theirs_s, ours_s) | {
        "ours_s": _figures(statistics.median(ours_s)),
        "theirs_s": _figures(statistics.median(theirs_s)),
    }


def amount(values: Sequence[float], unit: str) -> dict[str, Any]:
    """Return the median of repeated measurements of one quantity, its extremes as spread."""
    return {
        "value": _figures(statistics.median(values)),
        "n": len(values),
        "spread": [_figures(min(values)), _figures(max(values))],
        "unit": unit,
    }


def _figures(value: float) -> float:
    """Keep four figures: more were never measured."""
    return float(f"{value:.4g}")
