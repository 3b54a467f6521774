"""The time that a part of the bench may take, divided among what it repeats: each is done at least once.

A part says how many measurements it will make, `plan(3)`, and repeats each with `for number in rounds(60)`: that ends
after 60 rounds, or when another one would not fit into its share of the time that is left. A slower machine so gives
fewer rounds, and the n beside each figure says how many. Where no time was set, as in tests, all rounds are done.
"""

import math
import time
from collections.abc import Iterator


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
