"""What is left of what Kaggle rations: GPU hours a week, submissions a day, and when there will be more."""

from datetime import UTC, datetime, time, timedelta

from build.kaggle.records import Quota

SATURDAY = 5  # datetime.weekday()
LOW_H = 2.0  # GPU hours: fewer do not last for a training


def next_quota_reset(now: datetime) -> datetime:
    """Return when the GPU hours come back: Saturday 00:00 UTC (facts/kaggle-platform.md, failure 8)."""
    today = datetime.combine(now.astimezone(UTC).date(), time(), UTC)
    return today + timedelta(days=(SATURDAY - today.weekday()) % 7 or 7)


def next_submission_reset(now: datetime) -> datetime:
    """Return when submissions are counted afresh: midnight UTC."""
    return datetime.combine(now.astimezone(UTC).date() + timedelta(days=1), time(), UTC)


def until(moment: datetime, now: datetime) -> str:
    """Say a moment and how far it is, e.g. `Sat 28 Nov 00:00 UTC, in 3 d 12 h`."""
    minutes = max(0, int((moment - now).total_seconds() // 60))
    days, hours = minutes // 1440, minutes // 60 % 24
    distance = f"{days} d {hours} h" if days else f"{hours} h {minutes % 60} min"
    return f"{moment.astimezone(UTC):%a %d %b %H:%M} UTC, in {distance}"


def reset_of(quota: Quota, now: datetime) -> datetime:
    """Return when the GPU hours come back: as Kaggle says, or by its rule where it says nothing or something past."""
    return quota.resets if quota.resets and quota.resets > now else next_quota_reset(now)


def quota_text(quota: Quota, now: datetime) -> str:
    """Say how many GPU hours are left and when there will be more."""
    left = quota.gpu_left_h
    if left is None:
        return "Kaggle does not say how many GPU hours are left"
    return f"{left:.1f} of {quota.gpu_total_h:.0f} GPU hours left, full again {until(reset_of(quota, now), now)}"
