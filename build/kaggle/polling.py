"""Waiting between two looks at something that takes its time on Kaggle."""

import os
import time
from collections.abc import Callable

from build.core.errors import UsageError

POLL_VARIABLE, POLL_S = "KIT_POLL_S", 30.0  # Kaggle limits requests, and a run takes minutes to hours anyway
LONGEST_S = 3600.0
Tell = Callable[[str], None]  # shows the state of what is waited for


def poll_s() -> float:
    """Return the seconds between two looks: KIT_POLL_S, 30 by default.

    Raises:
        UsageError: it is not a number above 0 and up to an hour.
    """
    return seconds_of(POLL_VARIABLE, POLL_S, LONGEST_S)


def seconds_of(variable: str, default: float, longest: float) -> float:
    """Read a time from the environment.

    Raises:
        UsageError: it is not a number above 0 and up to `longest`.
    """
    text = os.environ.get(variable, "")
    try:
        seconds = float(text or default)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= longest:
        raise UsageError(f"{variable}={text}: seconds above 0 and up to {longest:g}, e.g. {default:g}")
    return seconds


def pause() -> None:
    """Wait until the next look."""
    time.sleep(poll_s())
