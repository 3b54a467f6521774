"""GPU hours: whether this week's last for one more training, and if not, when they come back.

1. What the next session of a training needs at least is computed (build/weights/training_time.py). Where the training
   table is not on this machine, or nothing is known of a kernel, some hours left are enough to try.
2. The hours come back when Kaggle says, or by its rule, Saturday 00:00 UTC. Until some hours after that moment "spent"
   may be last week's answer: then it is asked again soon, instead of a week later.
3. Kaggle's own refusal (`QuotaSpent`) has the last word.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING

from build.core.choosing import usual_data
from build.core.errors import CheckFailed
from build.kaggle.responses import Quota
from build.weights.training_time import SESSION_S, training_time
from kernel_src.competitions.held_facts import facts
from kernel_src.competitions.held_recipes import EXPERIMENTS

if TYPE_CHECKING:
    from build.kaggle.client import Kaggle

SATURDAY = 5  # datetime.weekday()
WEEK = timedelta(days=7)
SETTLES = timedelta(hours=6)  # after the hours came back; two sessions can use 12 of 30 by then
SOON = timedelta(minutes=10)


@dataclass(frozen=True)
class Shortage:
    """Why a training cannot be pushed now, and when it can."""

    why: str  # "0.4 of 30 GPU hours are left this week, and v5 needs at least 3.1 (computed)"
    goes_on: datetime  # UTC


class NoRoom(Exception):
    """The week's GPU hours do not last for a training: nothing was pushed."""

    def __init__(self, shortage: Shortage) -> None:
        """Keep why, and when it goes on."""
        self.shortage = shortage
        super().__init__(shortage.why)


def utc_now() -> datetime:
    """Return the time; tests of weeks replace it."""
    return datetime.now(UTC)


def next_quota_reset(now: datetime) -> datetime:
    """Return when the GPU hours come back: Saturday 00:00 UTC (facts/kaggle-platform.md, failure 8)."""
    today = datetime.combine(now.astimezone(UTC).date(), time(), UTC)
    return today + timedelta(days=(SATURDAY - today.weekday()) % 7 or 7)


def reset_of(quota: Quota | None, now: datetime) -> datetime:
    """Return when the GPU hours come back: as Kaggle says, or by its rule where it names no time or one in the past."""
    return quota.resets if quota and quota.resets and quota.resets > now else next_quota_reset(now)


def goes_on_at(quota: Quota | None, now: datetime) -> datetime:
    """Return when to try again where the hours do not last now."""
    reset = reset_of(quota, now)
    return now + SOON if now - (reset - WEEK) < SETTLES else reset


def until(moment: datetime, now: datetime) -> str:
    """Say a moment and how far it is, e.g. `Sat 28 Nov 00:00 UTC, in 3 d 12 h`."""
    minutes = max(0, int((moment - now).total_seconds() // 60))
    days, hours = minutes // 1440, minutes // 60 % 24
    distance = f"{days} d {hours} h" if days else f"{hours} h {minutes % 60} min"
    return f"{moment.astimezone(UTC):%a %d %b %H:%M} UTC, in {distance}"


def least_hours(experiment: str, sessions: int = 0) -> float | None:
    """Return the hours that the next session of a training takes at least; None where that cannot be computed.

    `sessions` are those that it has had before.
    """
    table = usual_data(experiment) / facts().train_csv
    if experiment not in EXPERIMENTS or not table.is_file():
        return None
    from kernel_src.competitions.held_rules import rules

    whole = training_time(EXPERIMENTS[experiment], len(rules().read_train(table)))
    if whole is None:
        return None
    session_h = (whole.limit_s or SESSION_S) / 3600
    return min(max(0.0, whole.hours - sessions * session_h), session_h)


def shortage(quota: Quota | None, experiment: str, sessions: int, now: datetime) -> Shortage | None:
    """Say why the hours do not last for a training's next session; None where they may, or nobody knows."""
    if quota is None or quota.gpu_left_h is None or quota.gpu_total_h is None:
        return None
    left_h, total_h = quota.gpu_left_h, quota.gpu_total_h
    needs_h = least_hours(experiment, sessions) if 0 < left_h < SESSION_S / 3600 else None
    if left_h > 0 and (needs_h is None or min(needs_h, total_h) <= left_h):
        return None
    why = f"{left_h:.1f} of {total_h:.0f} GPU hours are left this week"
    why += f", and {experiment} needs at least {needs_h:.1f} (computed)" if needs_h and left_h > 0 else ""
    return Shortage(why, goes_on_at(quota, now))


def quota_now(client: "Kaggle") -> Quota | None:
    """Ask for this week's hours; None where Kaggle does not say."""
    try:
        return client.quota()
    except CheckFailed:
        return None
