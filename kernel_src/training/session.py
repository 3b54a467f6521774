"""## The session's end

Kaggle ends a session after 12 hours, in the middle of whatever runs, and keeps nothing of a notebook that did not end
by itself. So the training looks at the clock, stops in time and saves: the next session goes on from there.
"""

import math
import time
from dataclasses import dataclass

from kernel_src.recipes.experiment import Experiment

RESERVE_SHARE = 0.05  # of the limit, kept for saving and for the out-of-fold predictions: 35 minutes of 11.5 hours


class SessionEnded(Exception):
    """The session's time is up; everything is saved, and the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """When the notebook began and how long it may take; both clocks are `time.monotonic`, the same in every process."""

    started_s: float
    limit_s: float  # 0: no limit

    @property
    def left_s(self) -> float:
        """Seconds of work that are left before the reserve."""
        if not self.limit_s:
            return math.inf
        return self.limit_s * (1 - RESERVE_SHARE) - (time.monotonic() - self.started_s)


ENDLESS = Session(started_s=0.0, limit_s=0.0)


def session_of(experiment: Experiment, started_s: float) -> Session:
    """Return the session of a training that began at `started_s` of `time.monotonic`."""
    return Session(started_s=started_s, limit_s=experiment.machine.limit_s)
