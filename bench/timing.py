"""How figures are made: several ways of doing one thing in turn, within the time that a part of the bench may take.

In turn, so that what else runs on the machine slows all of them alike. A part says how many measurements it will make,
`plan(3)`, and repeats each with `for number in rounds(60)`: that ends after 60 rounds, or when another one would not
fit into its share of the time that is left, but not before the first. A slower machine so gives fewer rounds, and the n
beside each figure says how many. Where no time was set, as in tests, all rounds are done.
"""

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Work = Callable[[], object]
Clock = Callable[[], float]


# %% The budget
class Budget:
    """The time of one part."""

    def __init__(self, seconds: float = math.inf) -> None:
        """Begin now."""
        self._end_s = time.monotonic() + seconds
        self._planned = 1

    def plan(self, measurements: int) -> None:
        """Divide the time that is left among so many measurements."""
        self._planned = measurements

    def rounds(self, most: int) -> Iterator[int]:
        """Yield the numbers of the rounds, from 0, of one measurement."""
        begun_s = time.monotonic()
        share_s = max(0.0, self._end_s - begun_s) / max(1, self._planned)
        self._planned -= 1
        longest_s = 0.0
        for number in range(most):
            round_s = time.monotonic()
            if number and round_s + longest_s > begun_s + share_s:
                return
            yield number
            longest_s = max(longest_s, time.monotonic() - round_s)


_current = Budget()


def allow(seconds: float) -> None:
    """Set the time that everything in this process may take from now on."""
    global _current
    _current = Budget(seconds)


def plan(measurements: int) -> None:
    """See `Budget.plan`."""
    _current.plan(measurements)


def rounds(most: int) -> Iterator[int]:
    """See `Budget.rounds`."""
    return _current.rounds(most)


# %% Two ways, or several
def alternate(
    ours: Work, theirs: Work, pairs: int, *, warm_up: int = 1, clock: Clock = time.perf_counter
) -> tuple[list[float], list[float]]:
    """Run both `pairs` times, fewer where the time is short, and return their seconds.

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


def in_turn(sides: Mapping[str, Callable[[], float]], most: int) -> dict[str, list[float]]:
    """Call every side once per round, each round beginning with another one; return what each returned (seconds).

    Fewer rounds where the time is short.
    """
    names = list(sides)
    found: dict[str, list[float]] = {name: [] for name in names}
    for number in rounds(most):
        first = number % len(names)
        for name in (*names[first:], *names[:first]):
            found[name].append(sides[name]())
    return found


def _figures(value: float) -> float:
    """Keep four figures: more were never measured."""
    return float(f"{value:.4g}")
