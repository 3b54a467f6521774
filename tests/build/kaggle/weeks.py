"""Weeks in a moment: a site with a clock of its own, on which our waits pass, and GPU hours that come back.

`SimulatedSite` keeps the account's rules: a run is queued for a quarter of an hour, takes its hours, and uses them up;
on Saturday 00:00 UTC all come back; a push beyond them, or beyond two sessions, is refused in Kaggle's words.
"""

import types
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from build.kaggle.retry import pause
from kernel_src.competitions.held_recipes import EXPERIMENTS
from tests.build.kaggle.bench import training_outputs
from tests.build.kaggle.mishaps import QUOTA, SESSIONS
from tests.build.kaggle.site import Dataset, Kernel, Reply, Site

QUEUED = timedelta(minutes=15)
WEEK = timedelta(days=7)
SATURDAY = datetime(2026, 11, 28, tzinfo=UTC)  # the hours come back
QUEUE = ("v1", "v2", "v7")


class SimulatedSite(Site):
    """What Kaggle knows, at a time of its own."""

    def __init__(self, hours: dict[str, float], now: datetime, used_h: float = 0.0) -> None:
        super().__init__()
        self.hours = hours  # kernel slug → hours that a run of it takes
        self.now = now
        self.total_h = 30.0
        self.used: dict[datetime, float] = {self.week: used_h}  # by the Saturday that the week began with
        self.begun: dict[tuple[str, int], datetime] = {}  # kernel slug, version → when it was pushed
        self.charged: list[tuple[datetime, str]] = []  # when each run was pushed
        self.failing: set[str] = set()  # kernel slugs whose runs end in an error
        furnish(self)

    @property
    def week(self) -> datetime:
        """The Saturday that this week began with."""
        return SATURDAY + (self.now - SATURDAY) // WEEK * WEEK

    def save_kernel(self, body: Reply) -> Reply:
        if len(self.sessions()) >= 2:
            return {"error": SESSIONS}
        if self.used.get(self.week, 0.0) >= self.total_h:
            return {"error": QUOTA}
        reply = super().save_kernel(body)
        slug = body["slug"].partition("/")[2]
        self.begun[slug, reply["versionNumber"]] = self.now
        self.used[self.week] = self.used.get(self.week, 0.0) + self.hours.get(slug, 1.0)
        self.charged.append((self.now, slug))
        return reply

    def sessions(self) -> list[str]:
        return [slug for slug, number in self.begun if self.state(slug, number) in ("QUEUED", "RUNNING")]

    def state(self, slug: str, number: int) -> str:
        passed = self.now - self.begun[slug, number]
        if passed < QUEUED:
            return "QUEUED"
        if passed < QUEUED + timedelta(hours=self.hours.get(slug, 1.0)):
            return "RUNNING"
        return "ERROR" if slug in self.failing else "COMPLETE"

    def get_kernel_session_status(self, body: Reply) -> Reply:
        kernel = self.kernel(body)
        state = self.state(kernel.slug, self.version_of(kernel, body))
        return {"status": state} | ({"failureMessage": self.failure} if state == "ERROR" else {})

    def get_accelerator_quota_statistics(self, body: Reply) -> Reply:
        used_s = int(3600 * min(self.total_h, self.used.get(self.week, 0.0)))
        gpu = {"timeUsed": f"{used_s}s", "totalTimeAllowed": f"{int(3600 * self.total_h)}s"}
        return {"quotaRefreshTime": f"{self.week + WEEK:%Y-%m-%dT%H:%M:%SZ}", "gpuQuota": gpu}


def furnish(site: Site, *names: str) -> None:
    """Give the site what trainings need: their starting weights, and what each run leaves."""
    from build.notebooks.builder import all_cards

    for card in all_cards():
        if card.experiment in (names or QUEUE) and card.kernel == "train":
            for slug in card.datasets:
                files = [{"manifest.json": b"{}"}]
                site.datasets[f"kim/{slug}"] = Dataset("kim", slug, slug, "other", True, files, states=["READY"])
            site.outputs[f"i2b-{card.experiment}-train"] = outputs_of(card.experiment)


def outputs_of(experiment: str) -> dict[str, bytes]:
    import json

    files = training_outputs(Path())
    config = json.loads(files["run/config.json"])
    config["experiment"] = EXPERIMENTS[experiment].as_json()
    return files | {"run/config.json": json.dumps(config).encode()}


def running_elsewhere(site: SimulatedSite, slug: str, *, gpu: bool = True) -> None:
    """Somebody has started another notebook of this account, in the browser."""
    body: dict[str, Any] = {"slug": f"kim/{slug}", "text": "{}", "kernelType": "notebook", "enableGpu": gpu}
    site.kernels[f"kim/{slug}"] = Kernel("kim", slug, [body | {"language": "python"}])
    site.saved.append(f"kim/{slug}")
    site.begun[slug, 1] = site.now


@contextmanager
def passing_on(site: SimulatedSite, patch: pytest.MonkeyPatch, pause_s: float = 900.0) -> Iterator[None]:
    """Let every wait of ours take no time, and pass on the site's clock, which is ours, too."""

    def sleep(seconds: float) -> None:
        site.now += timedelta(seconds=seconds)

    with patch.context() as here:
        here.setenv("KIT_POLL_S", str(pause_s))
        here.setattr("build.kaggle.retry.time", types.SimpleNamespace(sleep=sleep))
        here.setattr("build.kaggle.run_log.RunLog.pause", lambda log: pause())  # which waits for the live log by itself
        here.setattr("build.kaggle.quota.utc_now", lambda: site.now)
        yield
